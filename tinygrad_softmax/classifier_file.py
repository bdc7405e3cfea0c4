"""A trained classifier as one safetensors file.

The tensors are the model's `state_dict` under PyTorch's keys and shapes and nothing
else, so that `torch.nn.Module.load_state_dict` takes them as they are. What is needed
besides to label a new row (scaling, class and column names, layer sizes) is JSON in the
file's metadata, where a float64 keeps every digit. (`tg.save` would add a tree of its
own to it. This format is older, and says more than that there are some tensors.)
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier, make_model
from .data import StandardScaler
from .extras import MissingExtraError
from .saving import CheckpointError
from .saving.tensor_files import read_tensors, write_tensors

__all__ = ["ModelFileError", "load_classifier", "save_classifier"]

FORMAT = "tinygrad_softmax.classifier.v1"


class ModelFileError(ValueError):
    """A file does not hold a classifier of this library, or only part of one."""


def save_classifier(path: str | Path, classifier: Classifier) -> None:
    """Write `classifier` to `path`, whole or not at all.

    Raises:
        MissingExtraError: safetensors is not installed.
        OSError: the file cannot be written.
    """
    state = classifier.model.state_dict()
    tensors = {
        key: np.ascontiguousarray(value.to("cpu").numpy())
        for key, value in state.items()
    }
    about = {
        "layers": list(classifier.sizes),
        "activation": "relu",
        "classes": list(classifier.class_names),
        "columns": list(classifier.feature_names),
        "target": classifier.target_name,
        "source": classifier.source,
        "held_out": [int(row) for row in classifier.held_out],
        "mean": classifier.scaler.mean.tolist(),
        "scale": classifier.scaler.scale.tolist(),
    }
    metadata = {"format": FORMAT, "classifier": json.dumps(about, ensure_ascii=False)}
    write_tensors(path, tensors, metadata)


def load_classifier(path: str | Path) -> Classifier:
    """Read a file that `save_classifier` wrote.

    Every size and number is checked before a model is built from it, and nothing in
    the file is ever executed.

    Raises:
        MissingExtraError: safetensors is not installed.
        ModelFileError: there is no such file, it is damaged, or another program's; the
            message says which.
    """
    path = Path(path)
    tensors, metadata = _read(path)
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} holds tensors but no classifier of this library (its metadata has "
            f"no format {FORMAT!r}): give a file that `train` wrote"
        )
    try:
        about = _About(json.loads(metadata["classifier"]))
        sizes = about.integers("layers")
        columns, classes = about.texts("columns"), about.texts("classes")
        if len(sizes) < 2 or (sizes[0], sizes[-1]) != (len(columns), len(classes)):
            raise ValueError("its layers do not fit its columns and classes")
        if min(sizes) < 1:
            raise ValueError("it has a layer of no units")
        scaler = StandardScaler(about.floats("mean"), about.floats("scale"))
        if not len(scaler.mean) == len(scaler.scale) == len(columns):
            raise ValueError("its scaling does not fit its columns")
        if not (scaler.scale > 0).all():
            raise ValueError("its scaling is not positive")
        _check_tensors(tensors, sizes)
        target, source = about.text("target"), about.text("source")
        held_out = about.integers("held_out")
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ModelFileError(
            f"{path} is a damaged model ({why}): train and save it again"
        ) from None
    model = make_model(sizes)
    model.load_state_dict(tensors)
    return Classifier(model, sizes, scaler, columns, classes, target, source, held_out)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    try:
        return read_tensors(path)
    except FileNotFoundError:
        raise ModelFileError(
            f"there is no model file {path}: check the path, or make one with `train`"
        ) from None
    except MissingExtraError:
        raise
    except (
        CheckpointError,
        OSError,
        ImportError,
    ) as error:  # no ml_dtypes for bfloat16
        why = str(error).removeprefix(f"{path} ")
        raise ModelFileError(
            f"{path} is not a model file, or a damaged one ({why}): give a file that "
            f"`train` wrote"
        ) from None


def _check_tensors(tensors: dict[str, np.ndarray], sizes: tuple[int, ...]) -> None:
    """ValueError unless the tensors are the state of a model of these sizes."""
    expected: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        expected[f"{2 * layer}.weight"] = (outputs, inputs)
        expected[f"{2 * layer}.bias"] = (outputs,)
    if expected.keys() != tensors.keys():
        raise ValueError(f"its tensors are {', '.join(sorted(tensors)) or 'none'}")
    for key, shape in expected.items():
        value = tensors[key]
        if value.shape != shape or value.dtype != np.float32:
            raise ValueError(f"{key} is {value.dtype} of shape {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{key} holds a number that is not finite")


class _About:
    """The description in the metadata, each entry checked as it is taken."""

    def __init__(self, entries: Any) -> None:
        if not isinstance(entries, dict):
            raise TypeError("its description is not an object")
        self._entries = entries

    def text(self, key: str) -> str:
        if not isinstance(self._entries[key], str):
            raise TypeError(f"its {key} is not text")
        return self._entries[key]

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._list(key, str))

    def integers(self, key: str) -> tuple[int, ...]:
        values = self._list(key, int)
        if any(value < 0 for value in values):
            raise ValueError(f"its {key} holds a negative number")
        return tuple(values)

    def floats(self, key: str) -> np.ndarray:
        values = np.array([float(value) for value in self._list(key, int, float)])
        if not np.isfinite(values).all():
            raise ValueError(f"its {key} holds a number that is not finite")
        return values

    def _list(self, key: str, *kinds: type) -> list[Any]:
        values = self._entries[key]
        if not isinstance(values, list) or not all(type(v) in kinds for v in values):
            raise TypeError(f"its {key} is not a list of what it should hold")
        return values
