"""Losses."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ... import ops
from ...backends import backend_of, check_devices, there
from ...backends.dtypes import is_floating, working_dtype
from ...backends.targets import Targets, label_error

__all__ = ["cross_entropy", "nll_loss"]


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """The softmax cross-entropy as PyTorch has it: classes on axis 1.

    `torch.nn.functional.cross_entropy`, over the op `tg.softmax_cross_entropy`, which
    has the formula. One difference: the loss of float16 logits is float32.

    Args:
        input: logits, shape (N, C) or (N, C, d1, ...), or (C,) for a single sample.
        target: class labels, integers of shape (N,) or (N, d1, ...), or () for a single
            sample; or probabilities, floats of the input's shape.
        weight: a weight for each class, shape (C,).
        ignore_index: rows with this label count for nothing. With probabilities, which
            have no labels, a negative one is accepted and means nothing.
        reduction: "mean" (over labels: weighted by `weight`), "sum" or "none".
        label_smoothing: share of the target that is spread evenly over the classes.

    Raises:
        IndexError: a label is not in [0, C).
        TypeError, ValueError: a target of the wrong dtype or shape, or a non-negative
            `ignore_index` with probabilities.

    >>> import tinygrad_softmax as tg
    >>> logits = tg.tensor([[5.0, 2.0, -1.0, 3.0]])
    >>> round(cross_entropy(logits, tg.tensor([1])).item(), 4)
    3.1719
    """
    if not hasattr(target, "dtype"):
        raise TypeError(
            f"cross_entropy: the target is a {type(target).__name__}; expected a "
            "tensor or an array, of labels or of probabilities; mend: tg.tensor(target)"
        )
    label: int | None = ignore_index
    if is_floating(target.dtype):
        if ignore_index >= 0:
            raise ValueError(
                f"cross_entropy: ignore_index={ignore_index} was given with "
                f"probabilities, which have no labels; mend: leave it out"
            )
        label = None
    return ops.softmax_cross_entropy(
        input,
        target,
        axis=_class_axis(input),
        reduction=reduction,
        weight=weight,
        ignore_index=label,
        label_smoothing=label_smoothing,
    )


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Any:
    """Minus the input at the target's class, `torch.nn.functional.nll_loss`.

    With the logarithms of probabilities as input it is the negative log-likelihood, so
    that `nll_loss(log_softmax(x, 1), y)` is `cross_entropy(x, y)`; the latter is
    faster, and exact where this one loses digits.

    Args:
        input: log-probabilities, shaped as the input of `cross_entropy`.
        target: class labels, integers, shaped as there.
        weight, ignore_index, reduction: as there.

    Raises:
        IndexError: a label is not in [0, C).
        TypeError, ValueError: a target of the wrong dtype or shape.

    >>> import numpy as np
    >>> nll_loss(np.log(np.array([[0.3, 0.2, 0.1, 0.4]])), np.array([1])).round(4)
    np.float64(1.6094)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"nll_loss: reduction was given as {reduction!r}; expected 'mean', "
            f"'sum' or 'none'"
        )
    rows, targets, shape = _rows_and_targets(input, target, weight, ignore_index)
    with there(targets.values):
        labels, xp = targets.labels(), targets.xp
        weights = targets.row_weights(working_dtype(rows.dtype))
        if targets.bad is not None:  # a GPU reports them later; until then they are nan
            weights = xp.where(targets.bad, weights.dtype.type(np.nan), weights)
        places, ignored = xp.arange(len(labels)), targets.values == ignore_index
        divisor, minus = weights.sum(), -weights
    picked = ops.getitem(rows, (places, labels))
    losses = ops.where(ignored, 0.0, picked) * minus  # else 0 * -inf
    if reduction == "none":
        return ops.reshape(losses, shape)
    total = ops.sum(losses)
    if reduction == "sum":
        return total
    with np.errstate(invalid="ignore"):  # the mean of no rows is nan
        return total / divisor


def _class_axis(input: Any) -> int:
    """PyTorch's place of the classes: axis 1, and axis 0 of a single sample."""
    return 0 if input.ndim == 1 else 1


def _rows_and_targets(
    input: Any, target: Any, weight: Any, ignore_index: int
) -> tuple[Any, Targets, tuple[int, ...]]:
    """The input as rows of classes, its labels and options, and the target's shape."""
    axis = _class_axis(input)
    shape = tuple(n for i, n in enumerate(input.shape) if i != axis)
    labels = getattr(target, "array", target)
    if labels.dtype.kind not in "iu" or labels.shape != shape:
        raise (TypeError if labels.shape == shape else ValueError)(
            f"nll_loss: the target is {labels.dtype} of shape {labels.shape}; expected "
            f"integer labels of shape {shape} for an input of shape {input.shape}"
        )
    classes = input.shape[axis]
    rows = ops.reshape(ops.moveaxis(input, axis, -1), (-1, classes))
    array = getattr(rows, "array", rows)
    check_devices("nll_loss", array, labels, ("the input", "the target"))
    backend = backend_of(array)
    if weight is not None:
        weight = getattr(weight, "array", weight)
        if not isinstance(weight, (list, tuple)):
            check_devices("nll_loss", array, weight, ("the input", "weight"))
        weight = backend.asarray(weight, device=backend.device_of(array))
        if weight.shape != (classes,):
            raise ValueError(
                f"nll_loss: weight has shape {weight.shape}; expected a weight for "
                f"each of the {classes} classes"
            )
    error = partial(label_error, name="nll_loss")
    bad = backend.check_labels(labels, classes, ignore_index, error)
    labels = labels.reshape(-1)
    bad = None if bad is None else bad.reshape(-1)
    return rows, Targets(backend.xp, labels, weight, ignore_index, bad=bad), shape
