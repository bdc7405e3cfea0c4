"""What the softmax cross-entropy is given, checked and made plain."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from ..autograd import Variable
from ..backends import backend_of, check_devices
from ..backends.dtypes import is_floating, working_dtype
from .axes import check_axis

REDUCTIONS = ("mean", "sum", "none")


def check_logits(name: str, logits: Any, axis: int) -> int:
    """The axis of the classes as a number from 0, after the checks."""
    check_floating(name, "the logits are", logits)
    if not logits.ndim:
        raise ValueError(
            f"{name}: the logits are 0-dimensional; they need a class axis"
        )
    axis = check_axis(name, axis, logits)
    if not logits.shape[axis]:
        raise ValueError(f"{name}: logits of shape {logits.shape} have no classes")
    return axis


def check_floating(name: str, what: str, x: Any) -> None:
    """Raise TypeError unless x is a floating tensor or array."""
    if not hasattr(x, "ndim") or not is_floating(x.dtype):
        found = getattr(x, "dtype", type(x).__name__)
        raise TypeError(
            f"{name}: {what} {found}; expected a floating tensor or array; mend: "
            "tg.tensor(...) or .astype(tg.float32)"
        )


def check_options(
    array: Any,
    shape: tuple[int, ...],
    target: Any,
    axis: int,
    reduction: str,
    weight: Any,
    ignore_index: int | None,
    label_smoothing: float,
    name: str = "softmax_cross_entropy",
    weight_name: str = "weight",
) -> dict[str, Any]:
    """The options of the op, checked and made plain. `array` is on the device at hand
    and has the dtype of the logits; `shape` is the logits' shape."""
    raw = getattr(array, "array", array)
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{name}: reduction was given as {reduction!r}; expected one of "
            f"{REDUCTIONS}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"{name}: label_smoothing was given as {label_smoothing}; expected 0..1"
        )
    if weight is not None:
        weight = _class_weights(name, weight_name, weight, shape[axis], raw)
    target = _check_target(name, target, shape, axis, raw)
    if ignore_index is not None:
        _check_ignore_index(name, ignore_index, target)
    if target.dtype.kind in "iu" and target.dtype not in (np.int32, np.int64):
        target = _as_int64(target, backend_of(raw))
    return dict(target=target, reduction=reduction, weight=weight,
                ignore_index=ignore_index, label_smoothing=label_smoothing)  # fmt: skip


def _class_weights(name: str, what: str, weight: Any, classes: int, raw: Any) -> Any:
    if isinstance(weight, Variable):
        if weight.node is not None:
            raise TypeError(
                f"{name}: {what} requires a gradient, but class weights are constants; "
                f"mend: {what}.detach()"
            )
        weight = weight.array
    backend = backend_of(raw)
    if not isinstance(weight, (list, tuple)):
        check_devices(name, raw, weight, ("the input", what))
    weight = backend.asarray(weight, working_dtype(raw.dtype), backend.device_of(raw))
    if weight.shape != (classes,):
        raise ValueError(
            f"{name}: {what} has shape {weight.shape}; expected one number for each of "
            f"the {classes} classes, shape {(classes,)}"
        )
    return weight


def _check_ignore_index(name: str, ignore_index: Any, target: Any) -> None:
    if is_floating(target.dtype):
        raise ValueError(
            f"{name}: ignore_index={ignore_index} was given with rows of target values,"
            " which have no label to compare with; mend: leave it out, or give labels"
        )
    try:
        index(ignore_index)
    except TypeError:
        raise TypeError(
            f"{name}: ignore_index was given as {ignore_index!r}; expected an integer"
        ) from None


def _check_target(name: str, target: Any, shape: tuple, axis: int, raw: Any) -> Any:
    if isinstance(target, np.integer) or type(target) is int:
        backend = backend_of(raw)
        target = backend.asarray(target, device=backend.device_of(raw))
    if not hasattr(target, "__setitem__") or isinstance(target, list):
        raise TypeError(
            f"{name}: the target is a {type(target).__name__}; expected a tensor or an "
            "array, of labels or of target values; mend: tg.tensor(target)"
        )
    array = getattr(target, "array", target)
    check_devices(name, raw, array, ("the input", "the target"))
    rows = shape[:axis] + shape[axis + 1 :]
    given = tuple(target.shape)
    if is_floating(target.dtype):
        if given == shape:
            return target
        mend = ".astype(int)" if given == rows else "check its shape"
    elif given == shape:
        mend = "one-hot rows are target values: .astype(float)"
    elif target.dtype.kind == "b":
        mend = ".astype(int) if these are labels 0 and 1"
    elif given == rows:
        return target
    else:
        mend = "check its shape, and axis, the classes' axis"
    raise (TypeError if given in (rows, shape) else ValueError)(
        f"{name}: the target is {target.dtype} of shape {given}; expected integer "
        f"labels of shape {rows} or floating values of shape {shape}, for logits of "
        f"shape {shape} with the classes on axis {axis}; mend: {mend}"
    )


def _as_int64(labels: Any, backend: Any) -> Any:
    array = getattr(labels, "array", labels)
    if array.dtype == np.uint64:  # not to be wrapped to a negative ignore_index
        array = backend.xp.minimum(array, np.uint64(2**63 - 1))
    array = backend.asarray(array, dtype=np.int64)
    return labels.result_class(array) if isinstance(labels, Variable) else array
