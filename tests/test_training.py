"""The training loop, the main job, the model file and the picture."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from itertools import chain

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from matplotlib import image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix as reference_confusion_matrix
from sklearn.metrics import log_loss

import tinygrad_softmax as tg
from tinygrad_softmax import extras
from tinygrad_softmax.classifier import (
    Classifier,
    default_epochs,
    make_model,
    train_classifier,
)
from tinygrad_softmax.classifier_file import (
    ModelFileError,
    load_classifier,
    save_classifier,
)
from tinygrad_softmax.data import (
    LabelledRows,
    StandardScaler,
    load_digits,
    stratified_split,
)
from tinygrad_softmax.figures import training_figure
from tinygrad_softmax.optim import SGD
from tinygrad_softmax.training import (
    DivergedError,
    History,
    confusion_matrix,
    evaluate,
    fit,
    predict_proba,
)


def blobs(rows: int = 120, classes: int = 3, seed: int = 0) -> LabelledRows:
    """Clouds that overlap a little, one a class."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    centres = 2.0 * rng.normal(size=(classes, 2))
    features = centres[target] + rng.normal(size=(rows, 2))
    names = tuple(f"class {i}" for i in range(classes))
    return LabelledRows("blobs", features, target, ("x", "y"), names, "kind")


@pytest.fixture(scope="module")
def digits() -> LabelledRows:
    return load_digits()


# -- the loop --------------------------------------------------------------------


def test_fit_reaches_the_optimum_of_logistic_regression(device):
    rows = blobs()
    x, y = rows.features.astype(np.float32), rows.target
    tg.manual_seed(0)
    model = make_model([2, 3]).to(device)
    optimizer = SGD(model.parameters(), lr=0.3, momentum=0.9)
    fit(model, optimizer, (x, y), (x, y), epochs=500, batch_size=len(x))
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    np.testing.assert_allclose(
        predict_proba(model, x), reference.predict_proba(x), atol=2e-3
    )


def test_evaluate_measures_loss_and_accuracy(device, monkeypatch):
    monkeypatch.setattr("tinygrad_softmax.training.ROWS_AT_ONCE", 50)
    rows = blobs()
    x, y = rows.features.astype(np.float32), rows.target
    model = make_model([2, 5, 3]).to(device)
    probabilities = predict_proba(model, x)
    assert probabilities.shape == (120, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    loss, accuracy = evaluate(model, x, y)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert loss == pytest.approx(log_loss(y, exact), rel=1e-5)
    assert accuracy == (probabilities.argmax(axis=1) == y).mean()


def test_every_row_is_visited_once_an_epoch_in_a_new_order():
    x = np.arange(10, dtype=np.float32)[:, None]
    y = np.zeros(10, dtype=np.int64)
    seen: list[list[float]] = []

    class Spy(type(make_model([1, 2]))):
        def forward(self, input):
            if tg.is_grad_enabled():
                seen.append(input.numpy()[:, 0].tolist())
            return super().forward(input)

    model = Spy(*[layer for _, layer in make_model([1, 2]).named_children()])
    optimizer = SGD(model.parameters())
    fit(model, optimizer, (x, y), (x, y), epochs=2, batch_size=4, seed=7)
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = list(chain(*seen[:3])), list(chain(*seen[3:]))
    assert sorted(first) == sorted(second) == x[:, 0].tolist()
    assert first != second
    again = list(seen)
    seen.clear()
    fit(model, optimizer, (x, y), (x, y), epochs=2, batch_size=4, seed=7)
    assert seen == again


def test_the_history_has_an_entry_for_each_epoch_and_is_told():
    rows = blobs()
    told = []

    def on_epoch(epoch, epochs, history):
        told.append((epoch, epochs, history.test_accuracy[-1]))

    run = train_classifier(rows, epochs=3, on_epoch=on_epoch)
    history = run.history
    for values in vars(history).values():
        assert len(values) == 3
    assert told == [(i + 1, 3, history.test_accuracy[i]) for i in range(3)]
    assert history.train_loss[2] < history.train_loss[0]


def test_a_loss_that_is_lost_stops_the_training():
    with pytest.raises(DivergedError, match="in epoch 1: lower the learning rate"):
        train_classifier(blobs(), hidden=[8], lr=1e30)


def test_confusion_counts_true_by_predicted():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, (2, 100))
    ours = confusion_matrix(true, predicted, 5)
    reference = reference_confusion_matrix(true, predicted, labels=range(5))
    np.testing.assert_array_equal(ours, reference)


def test_make_model_refuses_sizes_that_are_none():
    for sizes in ([3], [3, 0, 2]):
        with pytest.raises(ValueError, match="each at least 1"):
            make_model(sizes)


# -- the main job ----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hidden", [(), (64,)])
def test_digits_reach_95_percent(digits, hidden, seed, device):
    run = train_classifier(digits, hidden=hidden, seed=seed, device=device)
    assert run.history.test_accuracy[-1] >= (0.97 if hidden else 0.95)
    assert len(run.test_rows) == 449
    right = np.trace(run.confusion)
    assert run.history.test_accuracy[-1] == pytest.approx(right / 449)


def test_held_out_rows_teach_nothing(device):
    """Whatever stands in the held-out rows, the model is the same."""
    rows = blobs()
    _, test = stratified_split(rows.target, seed=1)
    features = rows.features.copy()
    features[test] = 1e3
    other = LabelledRows(**{**vars(rows), "features": features})
    one, two = (
        train_classifier(each, epochs=2, seed=1, device=device).classifier
        for each in (rows, other)
    )
    np.testing.assert_array_equal(one.scaler.mean, two.scaler.mean)
    for key, value in one.model.state_dict().items():
        np.testing.assert_array_equal(
            value.numpy(), two.model.state_dict()[key].numpy()
        )


def test_one_seed_gives_one_result():
    runs = [train_classifier(blobs(), hidden=[4], epochs=3, seed=s) for s in (5, 5, 6)]
    assert runs[0].history == runs[1].history
    assert runs[0].history != runs[2].history


def test_small_tables_get_more_epochs():
    assert default_epochs(1348, 32) == 40
    assert default_epochs(10**6, 32) == 40
    assert default_epochs(32, 32) == default_epochs(3, 32) == 1600


def test_constant_and_enormous_columns_are_harmless():
    rows = blobs()
    features = np.column_stack([rows.features * 1e200, np.full(120, 3.0)])
    names = ("x", "y", "constant")
    other = LabelledRows(**{**vars(rows), "features": features, "feature_names": names})
    one, two = (train_classifier(each, epochs=30) for each in (rows, other))
    assert two.history.test_accuracy[-1] >= one.history.test_accuracy[-1] - 0.1
    assert np.isfinite(two.classifier.predict_proba(features)).all()


# -- the model file --------------------------------------------------------------


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


# -- the picture -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "epochs"), [(2, 1), (3, 5), (10, 40), (40, 3), (150, 3)]
)
def test_the_picture_is_a_png_of_its_size(classes, epochs):
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 9, (classes, classes))
    confusion[0] = 0  # a class without held-out rows
    curve = np.linspace(1.0, 0.1, epochs).tolist()
    history = History(curve, curve, curve, curve)
    names = tuple(rf"$\frac{i}$ 猫" for i in range(classes))
    png = training_figure(history, confusion, names, "a $title$")
    picture = image.imread(io.BytesIO(png), format="png")
    assert picture.shape == (768, 1560, 4)
    assert picture[..., :3].std() > 0.05  # something is drawn


def test_scaling_is_part_of_prediction():
    model = make_model([1, 2])
    model.load_state_dict(
        {"0.weight": np.array([[1.0], [0.0]]), "0.bias": np.array([0.0, 0.0])}
    )
    scaler = StandardScaler(np.array([10.0]), np.array([2.0]))
    classifier = Classifier(model, (1, 2), scaler, ("x",), ("a", "b"), "y", "test")
    # (14 - 10) / 2 = 2 against 0: the logistic function at 2.
    expected = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        classifier.predict_proba(np.array([[14.0]]))[0, 0], expected, rtol=1e-6
    )
