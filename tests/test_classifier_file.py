"""The classifier's file: whole or not at all, and nothing in it is trusted."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from blobs import blobs

from tinygrad_softmax import extras
from tinygrad_softmax.classifier import (
    Classifier,
    train_classifier,
)
from tinygrad_softmax.classifier_file import (
    ModelFileError,
    load_classifier,
    save_classifier,
)
from tinygrad_softmax.data import LabelledRows


@pytest.fixture
def trained() -> Classifier:
    rows = blobs()
    names = ("naïve, quoted", "猫", 'with "quotes"\nand a line')
    rows = LabelledRows(**{**vars(rows), "class_names": names})
    return train_classifier(rows, hidden=[5, 4], epochs=2).classifier


def test_a_saved_classifier_comes_back_whole(trained, tmp_path):
    path = tmp_path / "a folder" / "model.safetensors"
    save_classifier(path, trained)
    loaded = load_classifier(path)
    for name in ("sizes", "feature_names", "class_names", "target_name", "source"):
        assert getattr(loaded, name) == getattr(trained, name)
    assert loaded.held_out == trained.held_out
    np.testing.assert_array_equal(loaded.scaler.mean, trained.scaler.mean)
    np.testing.assert_array_equal(loaded.scaler.scale, trained.scaler.scale)
    features = blobs(seed=3).features
    np.testing.assert_array_equal(
        loaded.predict_proba(features), trained.predict_proba(features)
    )


def test_the_tensors_are_a_state_dict_and_nothing_else(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    save_classifier(path, trained)
    tensors = safetensors.numpy.load_file(path)
    shapes = {key: value.shape for key, value in tensors.items()}
    assert shapes == {
        "0.weight": (5, 2),
        "0.bias": (5,),
        "2.weight": (4, 5),
        "2.bias": (4,),
        "4.weight": (3, 4),
        "4.bias": (3,),
    }
    assert os.listdir(tmp_path) == ["model.safetensors"]


def damaged(path, metadata=None, **changes) -> None:
    """Write the file again with parts of its description or tensors replaced."""
    with safetensors.safe_open(path, "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        kept = file.metadata()
    about = json.loads(kept["classifier"])
    for key, value in changes.items():
        if "." in key:
            tensors[key] = value
        else:
            about[key] = value
    about = {key: value for key, value in about.items() if value is not None}
    tensors = {key: value for key, value in tensors.items() if value is not None}
    kept["classifier"] = json.dumps(about)
    kept.update(metadata or {})
    path.write_bytes(safetensors.numpy.save(tensors, kept))


DAMAGES = {
    "another format": {"metadata": {"format": "pt"}},
    "no JSON": {"metadata": {"classifier": "{"}},
    "deep JSON": {"metadata": {"classifier": "[" * 100_000}},
    "a long number": {"metadata": {"classifier": "1" * 10_000}},
    "a list": {"metadata": {"classifier": "[]"}},
    "no layers": {"layers": None},
    "enormous layers": {"layers": [2, 10**15, 4, 3]},
    "layers of text": {"layers": ["2", "3"]},
    "negative layers": {"layers": [2, -5, 4, 3]},
    "empty layers": {"layers": [2, 0, 4, 3]},
    "one layer": {"layers": [2]},
    "a class too many": {"classes": ["a", "b", "c", "d"]},
    "nameless classes": {"classes": [1, 2, 3]},
    "a mean too few": {"mean": [0.0]},
    "no scale": {"scale": None},
    "a scale of 0": {"scale": [1.0, 0.0]},
    "an infinite scale": {"scale": [1.0, float("inf")]},
    "an enormous mean": {"mean": [10**400, 0]},
    "a mean of truth": {"mean": [True, False]},
    "a target of none": {"target": 3},
    "rows held out below 0": {"held_out": [-1]},
    "a missing tensor": {"2.bias": None},
    "a tensor too many": {"9.bias": np.zeros(3, np.float32)},
    "a misshapen tensor": {"2.bias": np.zeros(5, np.float32)},
    "another dtype": {"2.bias": np.zeros(4, np.int32)},
    "nan": {"2.bias": np.full(4, np.nan, np.float32)},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_gives_one_error(trained, tmp_path, name):
    path = tmp_path / "model.safetensors"
    save_classifier(path, trained)
    damaged(path)
    load_classifier(path)  # rewriting alone does no damage
    damaged(path, **DAMAGES[name])
    with pytest.raises(ModelFileError, match=r"model\.safetensors"):
        load_classifier(path)


def test_bytes_cut_off_or_changed_give_one_error_or_a_model(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    save_classifier(path, trained)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load_classifier(path)
    for position in range(0, len(content), 3):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        with suppress(ModelFileError):
            load_classifier(path)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="there is no model file"):
        load_classifier(tmp_path / "nowhere")
    with pytest.raises(ModelFileError, match="is not a model file"):
        load_classifier(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(3)}, foreign)
    with pytest.raises(ModelFileError, match="holds tensors but no classifier"):
        load_classifier(foreign)
    header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    foreign.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ModelFileError):
        load_classifier(foreign)


def test_a_classifier_without_safetensors_says_what_to_install(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(extras.MissingExtraError, match=r"tinygrad-softmax\[demo\]"):
        save_classifier("never written", trained)
