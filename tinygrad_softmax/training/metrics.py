"""What is measured beside the loss, and how batches are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import backend_of, check_devices, namespace, there
from ..creation import asarray
from ..tensor import Tensor

__all__ = ["Means", "accuracy", "confusion_matrix", "top_k_accuracy"]


def accuracy(output: Any, target: Any) -> Any:
    """The share of samples whose largest output is the target's class.

    Args:
        output: logits or probabilities, shape (N, C) or (N, C, d1, ...).
        target: class labels, integers, shape (N,) or (N, d1, ...).

    Returns:
        A 0-d tensor: nothing waits for the device until it is read.

    >>> accuracy(tg.tensor([[0.1, 0.9], [0.8, 0.2]]), tg.tensor([1, 1])).item()
    0.5
    """
    output, target = _labelled("accuracy", output, target)
    with there(output):
        return _share(output.argmax(axis=1) == target)


def top_k_accuracy(output: Any, target: Any, k: int = 5) -> Any:
    """The share of samples whose target is among the k largest outputs.

    Shapes as `accuracy`; of equal outputs the later class counts as the larger.

    >>> scores = tg.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    >>> top_k_accuracy(scores, tg.tensor([2, 2]), k=2).item()
    0.5
    """
    output, target = _labelled("top_k_accuracy", output, target)
    classes = output.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(f"top_k_accuracy: k is {k}; expected 1 to {classes} classes")
    xp = namespace(output)
    with there(output):
        best = xp.moveaxis(xp.argsort(output, axis=1), 1, -1)[..., classes - k :]
        return _share((best == target[..., None]).any(axis=-1))


def _labelled(name: str, output: Any, target: Any) -> tuple[Any, Any]:
    """The raw arrays, after a check that they are outputs and labels."""
    output, target = (getattr(each, "array", each) for each in (output, target))
    expected = (output.shape[0], *output.shape[2:]) if output.ndim > 1 else None
    if target.shape != expected or target.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: the target is {target.dtype} of shape {target.shape}, the output "
            f"has shape {output.shape}; expected an output (N, C, ...) and integer "
            "labels (N, ...)"
        )
    check_devices(name, output, target, ("the output", "the target"))
    return output, target


def _share(hits: Any) -> Tensor:
    """The share of what is true, in float64."""
    backend = backend_of(hits)
    return Tensor(backend.asarray(hits.mean(dtype="float64")))


def confusion_matrix(
    target: np.ndarray, predicted: np.ndarray, classes: int
) -> np.ndarray:
    """Counts of rows by true class (first axis) and predicted class (second).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    pairs = np.bincount(classes * target + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


class Means:
    """Means over samples of what is given batch by batch, summed in float64.

    Sums stay on the device and are read when somebody asks for them.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Any] = {}
        self.count = 0

    def add(self, values: Mapping[str, Any], samples: int) -> None:
        """Count a batch of so many samples with these means."""
        for name, value in values.items():
            array = getattr(value, "array", value)
            if hasattr(array, "astype"):
                array = array.astype("float64")
            term = array * float(samples)
            before = self.sums.get(name)
            self.sums[name] = term if before is None else before + term
        self.count += samples

    def read(self, prefix: str = "") -> dict[str, float]:
        """The means so far, by name; waits for the device."""
        totals = {k: asarray(total, "float64").item() for k, total in self.sums.items()}
        return {prefix + k: total / self.count for k, total in totals.items()}

    def state_dict(self) -> dict[str, Any]:
        sums = {name: asarray(total, "float64") for name, total in self.sums.items()}
        return {"sums": sums, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any], device: str) -> None:
        self.count = state["count"]
        self.sums = {name: s.to(device).array for name, s in state["sums"].items()}
