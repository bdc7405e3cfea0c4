"""The softmax cross-entropy, whose backward is y-hat - y.

With lp = log_softmax(logits), w the class weights and t the (smoothed) target row, the
loss of a row is -sum(w t lp), and its gradient is softmax(logits) sum(w t) - w t. For a
target that sums to 1, without weights, that is y-hat - y.

The gradient is made in the forward pass, by the backend's kernel, and kept as a
residual: backward only scales it. The formulas are the definition: they run for higher
orders, and the kernel is tested against them.
"""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import numpy as np

from ..autograd import Variable, is_grad_enabled, primitive, scaled
from ..autograd.core_ops import cast, sum_to
from ..backends import backend_of, is_number, namespace
from ..backends.dtypes import is_floating, is_half, working_dtype
from ..backends.targets import Targets
from .arithmetic import where
from .axes import check_axis, kept_shape
from .shaping import expand_dims
from .softmaxes import _softmax, log_softmax, softmax

REDUCTIONS = ("mean", "sum", "none")


@primitive(name="softmax_cross_entropy", residuals=("grad_logits", "scale"))
def _cross_entropy(
    logits,
    target,
    *,
    axis,
    reduction,
    weight,
    ignore_index,
    label_smoothing,
    with_grad,
):
    xp = namespace(logits)
    classes, options = logits.shape[axis], (weight, ignore_index, label_smoothing)
    targets = row_targets(logits, classes, target, axis, *options, check=True)
    scale = mean_scale(targets, reduction, working_dtype(logits.dtype))
    last = xp.moveaxis(logits, axis, -1)
    rows = last.reshape(prod(last.shape[:-1]), last.shape[-1])
    grad_logits = part = grad_rows = None
    if with_grad:
        # Written in place where the rows of an array of logits' shape are a view of it.
        grad_logits = xp.empty(logits.shape, logits.dtype)
        part = xp.moveaxis(grad_logits, axis, -1)
        is_view = logits.ndim <= 2 or axis == logits.ndim - 1
        grad_rows = part.reshape(rows.shape) if is_view else xp.empty_like(rows)
    losses = backend_of(logits).softmax_cross_entropy(
        rows, targets, grad_rows, early_scale(scale, logits)
    )
    if part is not None and not is_view:
        part[...] = grad_rows.reshape(part.shape)
    loss = reduced(losses, targets, reduction, last.shape[:-1])
    return loss, grad_logits, scale


def early_scale(scale: Any, logits: Any) -> Any:
    """What the kernel multiplies the gradient by: 1/n would flush 16-bit ones to 0, so
    theirs is left to backward."""
    return 1.0 if is_half(logits.dtype) else scale


def mean_scale(targets: Targets, reduction: str, dtype: Any) -> Any:
    """1 / divisor of the mean, and 0 where the divisor is 0; 1 for the others."""
    if reduction != "mean":
        return 1.0
    divisor = _divisor(targets, dtype)
    if isinstance(divisor, int):
        return 1.0 / max(divisor, 1)
    xp, one = targets.xp, dtype.type(1)
    return xp.where(
        divisor == 0, dtype.type(0), one / xp.where(divisor == 0, one, divisor)
    )


def _divisor(targets: Targets, dtype: Any) -> Any:
    """A number of rows, or (on the device) the sum of the kept rows' weights."""
    plain = targets.weight is None and targets.ignored() is None
    if plain or not targets.are_labels:
        return len(targets.values)
    return targets.row_weights(dtype).sum()


@np.errstate(all="ignore")  # the mean of no rows is nan, silently
def reduced(losses: Any, targets: Targets, reduction: str, shape: tuple) -> Any:
    """The losses of the rows, reduced; nan for the mean of no rows."""
    if reduction == "none":
        return losses.reshape(shape)
    total = losses.sum()
    if reduction == "sum":
        return total
    divisor = _divisor(targets, losses.dtype)
    return (
        total / losses.dtype.type(divisor)
        if isinstance(divisor, int)
        else total / divisor
    )


def row_targets(
    array, classes, target, axis, weight, ignore_index, label_smoothing, check=False
) -> Targets:
    """Raw targets as rows on the device of `array`; with `check`, bad labels raise."""
    backend, bad = backend_of(array), None
    if is_floating(target.dtype):
        rows = backend.xp.moveaxis(target, axis, -1)
        target = rows.reshape(prod(rows.shape[:-1]), classes)
    else:
        find = backend.check_labels if check else backend.bad_labels
        bad = find(target, classes, ignore_index)
        bad, target = bad if bad is None else bad.reshape(-1), target.reshape(-1)
    return Targets(backend.xp, target, weight, ignore_index, label_smoothing, bad)


@_cross_entropy.vjp("logits")
def _(g, logits, target, axis, reduction, weight, ignore_index, label_smoothing):
    options = dict(axis=axis, weight=weight, label_smoothing=label_smoothing)
    options.update(ignore_index=ignore_index, reduction=reduction)
    return logits_gradient(g, logits, target, **options)


@_cross_entropy.fused("logits")
def _(g, grad_logits, scale, axis, reduction):
    if reduction == "none":
        g = expand_dims(g, axis)
    return scaled(grad_logits, g * scale if is_half(grad_logits.dtype) else g)


@_cross_entropy.vjp("target")
def _(g, logits, target, axis, reduction, weight, label_smoothing):
    options = dict(axis=axis, weight=weight, label_smoothing=label_smoothing)
    return target_gradient(g, logits, target, reduction=reduction, **options)


def target_gradient(g, logits, target, *, axis, reduction, weight, label_smoothing):
    """The gradient of rows of target values: -w lp (1 - e), as a formula."""
    logits = cast(logits, dtype=working_dtype(logits.dtype))
    options = dict(axis=axis, reduction=reduction, weight=weight, ignore_index=None)
    factor = _row_factor(logits, target, **options)
    w = 1.0 if weight is None else _along(weight, axis, logits.ndim)
    g = expand_dims(g, axis) if reduction == "none" else g
    return log_softmax(logits, axis) * w * ((label_smoothing - 1.0) * factor * g)


def logits_gradient(
    g, logits, target, *, axis, reduction, weight, ignore_index, label_smoothing
):
    """The gradient of the logits, as a formula of primitives.

    p S - u with u = w t and S = sum(u). At the largest logit that cancels; there it is
    p (S - u) - u (1 - p), with S - u and 1 - p summed over the other classes.
    """
    logits = cast(logits, dtype=working_dtype(logits.dtype))
    kept = kept_shape(logits.shape, (axis,))
    options = dict(axis=axis, weight=weight, ignore_index=ignore_index)
    factor = _row_factor(logits, target, reduction=reduction, **options)
    if is_floating(target.dtype):
        u = cast(target, dtype=logits.dtype)
        if label_smoothing:
            u = (1.0 - label_smoothing) * u + label_smoothing / logits.shape[axis]
        u = u if weight is None else u * _along(weight, axis, logits.ndim)
    else:
        u = _dense(logits, target, label_smoothing=label_smoothing, **options)
    p, top = softmax(logits, axis), _first_max(logits, axis=axis)
    rest = sum_to(where(top, 0.0, p), shape=kept)
    other = sum_to(where(top, 0.0, u), shape=kept)
    gradient = where(top, p * other - u * rest, p * sum_to(u, shape=kept) - u)
    g = expand_dims(g, axis) if reduction == "none" else g
    return where(factor == 0, 0.0, gradient * (factor * g))


def _along(weight, axis, ndim):
    """Class weights, shaped to broadcast along the classes' axis."""
    return weight.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


@primitive(differentiable=False)
def _first_max(logits, *, axis):
    """Whether an entry is the (first) largest of its row."""
    xp = namespace(logits)
    shape = tuple(-1 if i == axis else 1 for i in range(logits.ndim))
    places = xp.arange(logits.shape[axis]).reshape(shape)
    return places == xp.expand_dims(xp.argmax(logits, axis=axis), axis)


@primitive(differentiable=False)
def _dense(logits, target, *, axis, weight, ignore_index, label_smoothing):
    """Labels as rows u = w t, in the logits' arrangement."""
    classes, options = logits.shape[axis], (weight, ignore_index, label_smoothing)
    targets = row_targets(logits, classes, target, axis, *options)
    u = targets.dense(classes, logits.dtype)
    xp = namespace(logits)
    last = xp.moveaxis(logits, axis, -1).shape
    return xp.moveaxis(u.reshape(last), -1, axis)


@primitive(differentiable=False)
def _row_factor(logits, target, *, axis, reduction, weight, ignore_index):
    """What the mean multiplies each row by; 0 for ignored rows, nan for bad labels."""
    xp, dtype = namespace(logits), logits.dtype
    classes, options = logits.shape[axis], (weight, ignore_index, 0.0)
    targets = row_targets(logits, classes, target, axis, *options)
    factor = xp.ones(len(targets.values), dtype)
    for mask, value in ((targets.ignored(), 0.0), (targets.bad, np.nan)):
        if mask is not None:
            factor = xp.where(mask, dtype.type(value), factor)
    factor = factor * mean_scale(targets, reduction, dtype)
    return factor.reshape(kept_shape(logits.shape, (axis,)))


def softmax_cross_entropy(
    logits: Any,
    target: Any,
    *,
    axis: int = -1,
    reduction: str = "mean",
    weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """The cross-entropy of softmax(logits) against a target: -sum(t log softmax).

    logits: floating scores (not probabilities) of any shape, with C classes along
        `axis`. They are never written to. 16-bit ones are computed in float32.
    target: integer labels, of the logits' shape without `axis`; or rows of target
        values (probabilities, or any real numbers), floating, of the logits' shape.
    reduction: "mean", "sum", or "none" for one loss a row.
    weight: (C,) class weights w, constants.
    ignore_index: rows with this label have loss 0 and gradient 0.
    label_smoothing: e in t' = (1 - e) t + e / C (Szegedy et al., 2016).

    A row's loss is -sum_c w[c] t'[c] lp[c], lp = log_softmax(logits). The mean divides
    by the sum of w[label] over the kept rows for labels, and by the number of rows for
    target values. A mean over nothing is nan, with gradient 0.

    Returns a scalar, or the losses of the rows; float32 for 16-bit logits, else of the
    logits' dtype. The gradient is softmax(logits) sum(w t') - w t' over the divisor:
    y-hat - y.

    Raises IndexError for a label out of range, naming the first row (on a GPU when a
    value is next read; until then that row is nan), TypeError or ValueError for a
    target of the wrong dtype or shape. Warns if given what `softmax` returned.

    Source: Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.4.

    >>> logits = tg.tensor([[5.0, 2.0, -1.0, 3.0]], requires_grad=True)
    >>> loss = tg.softmax_cross_entropy(logits, tg.tensor([1]))
    >>> loss
    tensor(3.1719353, requires_grad=True)
    >>> loss.backward()
    >>> logits.grad
    tensor([[ 0.84203357, -0.9580776 ,  0.00208719,  0.11395685]])
    """
    axis = check_logits("softmax_cross_entropy", logits, axis)
    _warn_of_probabilities(logits, axis)
    shape = tuple(logits.shape)
    options = check_options(logits, shape, target, axis, reduction, weight,
                            ignore_index, label_smoothing)  # fmt: skip
    with_grad = is_grad_enabled() and getattr(logits, "node", None) is not None
    return _cross_entropy(logits, options.pop("target"), axis=axis,
                          with_grad=with_grad, **options)  # fmt: skip


def check_logits(name: str, logits: Any, axis: int) -> int:
    """The axis of the classes as a number from 0, after the checks."""
    if not hasattr(logits, "ndim") or not is_floating(logits.dtype):
        found = getattr(logits, "dtype", type(logits).__name__)
        raise TypeError(
            f"{name}: the logits are {found}; expected a floating tensor or array; "
            "mend: tg.tensor(...) or .astype(tg.float32)"
        )
    if not logits.ndim:
        raise ValueError(
            f"{name}: the logits are 0-dimensional; they need a class axis"
        )
    axis = check_axis(name, axis, logits)
    if not logits.shape[axis]:
        raise ValueError(f"{name}: logits of shape {logits.shape} have no classes")
    return axis


def check_options(
    array, shape, target, axis, reduction, weight, ignore_index, label_smoothing
) -> dict[str, Any]:
    """The options of the op, checked and made plain. `array` is on the device at hand
    and has the dtype of the logits; `shape` is the logits' shape."""
    name, raw = "softmax_cross_entropy", getattr(array, "array", array)
    backend = backend_of(raw)
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"{name}: reduction was given as {reduction!r}; expected one of {REDUCTIONS}"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(
            f"{name}: label_smoothing was given as {label_smoothing}; expected 0..1"
        )
    if weight is not None:
        weight = _class_weights(name, weight, shape[axis], raw)
    target = _check_target(name, target, shape, axis, raw)
    if is_floating(target.dtype) and ignore_index is not None:
        raise ValueError(
            f"{name}: ignore_index={ignore_index} was given with rows of target values, "
            "which have no label to compare with; mend: leave it out, or give labels"
        )
    if target.dtype.kind in "iu" and target.dtype not in (np.int32, np.int64):
        target = _as_int64(target, backend)
    return dict(target=target, reduction=reduction, weight=weight,
                ignore_index=ignore_index, label_smoothing=label_smoothing)  # fmt: skip


def _class_weights(name: str, weight: Any, classes: int, raw: Any) -> Any:
    if isinstance(weight, Variable):
        if weight.node is not None:
            raise TypeError(
                f"{name}: weight requires a gradient, but class weights are constants; "
                "mend: weight.detach()"
            )
        weight = weight.array
    weight = backend_of(raw).asarray(weight, dtype=working_dtype(raw.dtype))
    if weight.shape != (classes,):
        raise ValueError(
            f"{name}: weight has shape {weight.shape}; expected one number for each of "
            f"the {classes} classes, shape {(classes,)}"
        )
    return weight


def _check_target(name: str, target: Any, shape: tuple, axis: int, raw: Any) -> Any:
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        target = backend_of(raw).asarray(target)
    if isinstance(target, (list, tuple)) or is_number(target):
        raise TypeError(
            f"{name}: the target is a {type(target).__name__}; mend: tg.tensor(target)"
        )
    here, there = backend_of(raw), backend_of(getattr(target, "array", target))
    if here is not there:
        raise ValueError(
            f"{name}: the logits are on {here.device_of(raw)!r} and the target is on "
            f"{there.name!r}; mend: target.to({here.device_of(raw)!r})"
        )
    rows = shape[:axis] + shape[axis + 1 :]
    expected = f"integer labels of shape {rows} or floating values of shape {shape}"
    found = f"{name}: the target is {target.dtype} of shape {tuple(target.shape)}"
    if is_floating(target.dtype):
        if tuple(target.shape) == shape:
            return target
        mend = ".astype(int)" if tuple(target.shape) == rows else "check its shape"
    elif tuple(target.shape) == shape:
        mend = "one-hot rows are target values: .astype(float)"
    elif target.dtype.kind == "b":
        mend = ".astype(int) if these are labels 0 and 1"
    elif tuple(target.shape) == rows:
        return target
    else:
        mend = "check its shape, and axis, the classes' axis"
    kind = TypeError if tuple(target.shape) in (rows, shape) else ValueError
    raise kind(f"{found}; expected {expected}, for logits of shape {shape} with the "
               f"classes on axis {axis}; mend: {mend}")  # fmt: skip


def _as_int64(labels: Any, backend: Any) -> Any:
    array = getattr(labels, "array", labels)
    if array.dtype == np.uint64:
        array = backend.xp.minimum(array, np.uint64(2**63 - 1))
    array = array.astype(np.int64)
    return labels.result_class(array) if isinstance(labels, Variable) else array


def _warn_of_probabilities(logits: Any, axis: int) -> None:
    """The commonest beginner's mistake, and the graph is there to see it."""
    plan = getattr(getattr(logits, "node", None), "plan", None)
    if plan is None or plan.op is not _softmax:
        return
    warnings.warn(
        "softmax_cross_entropy was given the output of softmax; it applies softmax "
        "itself, and doing so twice trains badly; mend: give it the scores (logits)",
        UserWarning,
        stacklevel=3,
    )
