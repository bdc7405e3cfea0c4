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

from ..autograd import is_grad_enabled, primitive, scaled
from ..autograd.callers import users_frame
from ..autograd.core_ops import cast, sum_to
from ..backends import backend_of, namespace
from ..backends.dtypes import is_floating, scales_late, working_dtype
from ..backends.targets import Targets
from .arithmetic import where
from .axes import kept_shape
from .cross_entropy_checks import check_logits, check_options
from .elementwise import exp
from .shaping import expand_dims
from .softmaxes import _softmax, log_softmax


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
    found = backend_of(logits).cross_entropy(
        logits,
        target,
        axis=axis,
        reduction=reduction,
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        with_grad=with_grad,
    )
    if found is not None:
        return found
    classes, options = logits.shape[axis], (weight, ignore_index, label_smoothing)
    targets = row_targets(logits, classes, target, axis, *options, check=True)
    scale = mean_scale(targets, reduction, working_dtype(logits.dtype))
    grad_logits = None
    if with_grad:
        grad_logits = backend_of(logits).empty(logits.shape, logits.dtype)
    early = early_scale(scale, logits)
    losses = _row_losses(logits, target, targets, axis, grad_logits, early)
    shape = logits.shape[:axis] + logits.shape[axis + 1 :]
    return reduced(losses, targets, reduction, shape), grad_logits, scale


def _row_losses(logits, target, targets: Targets, axis, grad, scale):
    """The losses of the rows along `axis`; into `grad`, `scale` times their gradient.

    The kernel takes rows, (n, C). With axes before and after the classes the logits are
    several matrices of them: large ones are views, small ones are copied, a block of
    them at a time.
    """
    backend, classes = backend_of(logits), logits.shape[axis]
    xp, after = backend.xp, prod(logits.shape[axis + 1 :])
    if after == 1:
        shape = (targets.count, classes)
        if not targets.are_labels:
            targets = targets.having(target.reshape(shape), targets.bad)
        part = None if grad is None else grad.reshape(shape)
        return backend.softmax_cross_entropy(
            logits.reshape(shape), targets, part, scale
        )

    def matrices(x):
        return xp.swapaxes(x.reshape(prod(x.shape[:axis]), classes, after), 1, 2)

    x, values = matrices(logits), None if targets.are_labels else matrices(target)
    g = None if grad is None else matrices(grad)
    count, n, _ = x.shape
    limit = backend.block_bytes
    size = count if limit is None else limit // max(1, n * classes * x.itemsize)
    losses = xp.empty(count * n, working_dtype(x.dtype))
    for start in range(0, count, max(1, size)):
        part = slice(start, start + max(1, size))
        some, rows = x[part].reshape(-1, classes), slice(part.start * n, part.stop * n)
        chosen = targets[rows]
        if values is not None:
            chosen = targets.having(values[part].reshape(-1, classes), targets.bad)
        single = g is not None and len(g[part]) == 1
        out = g if g is None else g[start] if single else xp.empty_like(some)
        losses[rows] = backend.softmax_cross_entropy(some, chosen, out, scale)
        if g is not None and out is not None and not single:
            g[part] = out.reshape(g[part].shape)
    return losses


def early_scale(scale: Any, logits: Any) -> Any:
    """What the kernel multiplies the gradient by; the rest is left to backward."""
    return 1.0 if scales_late(logits.dtype) else scale


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
        return targets.count
    return targets.row_weights(dtype).sum()


def reduced(losses: Any, targets: Targets, reduction: str, shape: tuple) -> Any:
    """The losses of the rows, reduced; nan for the mean of no rows."""
    if reduction == "none":
        return losses.reshape(shape)
    with np.errstate(all="ignore"):  # the mean of no rows is nan, silently
        total = losses.sum()
        if reduction == "sum":
            return total
        divisor, dtype = _divisor(targets, losses.dtype), losses.dtype
        if isinstance(divisor, int):
            return total / dtype.type(divisor)
        # (Smoothing leaves a total where the weights of all labels are 0.)
        return targets.xp.where(divisor == 0, dtype.type(np.nan), total / divisor)


def row_targets(
    array, classes, target, axis, weight, ignore_index, label_smoothing, check=False
) -> Targets:
    """Raw targets, on the device of `array`: labels as (n,), rows of values with the
    classes last, as a view. With `check`, bad labels raise."""
    backend, bad = backend_of(array), None
    if is_floating(target.dtype):
        target = backend.xp.moveaxis(target, axis, -1)
    else:
        if check:
            bad, ignore_index = backend.examine_labels(target, classes, ignore_index)
        else:
            bad = backend.bad_labels(target, classes, ignore_index)
        bad, target = bad if bad is None else bad.reshape(-1), target.reshape(-1)
    return Targets(backend.xp, target, weight, ignore_index, label_smoothing, bad)


@_cross_entropy.vjp("logits")
def _(g, logits, target, axis, reduction, weight, ignore_index, label_smoothing):
    options = dict(axis=axis, weight=weight, label_smoothing=label_smoothing)
    options.update(ignore_index=ignore_index, reduction=reduction)
    return logits_gradient(g, logits, target, **options)


@_cross_entropy.fused("logits")
def _(g, target, grad_logits, scale, axis, reduction, ignore_index):
    if reduction == "none":
        g = expand_dims(of_kept_rows(g, target, ignore_index), axis)
    return scaled(grad_logits, g * scale if scales_late(grad_logits.dtype) else g)


@_cross_entropy.vjp("target")
def _(g, logits, target, axis, reduction, weight, label_smoothing):
    options = dict(axis=axis, weight=weight, label_smoothing=label_smoothing)
    return target_gradient(g, logits, target, reduction=reduction, **options)


def target_gradient(g, logits, target, *, axis, reduction, weight, label_smoothing):
    """The gradient of rows of target values: -w lp (1 - e), as a formula."""
    logits = cast(logits, dtype=working_dtype(logits.dtype))
    options = dict(axis=axis, reduction=reduction, weight=weight, ignore_index=None)
    factor = _row_factor(logits, target, **options)
    lp = log_softmax(logits, axis)
    if weight is not None:
        w = _along(weight, axis, logits.ndim)
        lp = where(w == 0, 0.0, lp) * w  # (0 x -inf is 0 here)
    g = expand_dims(g, axis) if reduction == "none" else g
    return lp * ((label_smoothing - 1.0) * factor * g)


def of_kept_rows(g, target, ignore_index):
    """The gradient of each row's loss, with 0 for ignored rows: also where it is
    infinite, as it is behind a square root of their losses."""
    return g if ignore_index is None else where(target == ignore_index, 0.0, g)


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
    logits = where(factor == 0, 0.0, logits)  # an ignored row may hold nan
    p, top = exp(log_softmax(logits, axis)), _first_max(logits, axis=axis)
    rest = sum_to(where(top, 0.0, p), shape=kept)
    other = sum_to(where(top, 0.0, u), shape=kept)
    gradient = where(top, p * other - u * rest, p * sum_to(u, shape=kept) - u)
    if reduction == "none":
        g = expand_dims(of_kept_rows(g, target, ignore_index), axis)
    return gradient * (factor * g)


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
    factor = xp.ones(targets.count, dtype)
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
    raw = getattr(logits, "array", logits)
    axis = check_logits("softmax_cross_entropy", raw, axis)
    _warn_of_probabilities(logits, axis)
    options = check_options(raw, raw.shape, target, axis, reduction, weight,
                            ignore_index, label_smoothing)  # fmt: skip
    with_grad = is_grad_enabled() and getattr(logits, "node", None) is not None
    target = options.pop("target")
    return _cross_entropy(logits, target, axis=axis, with_grad=with_grad, **options)


def _warn_of_probabilities(logits: Any, axis: int) -> None:
    """The commonest beginner's mistake, and the graph is there to see it."""
    node = getattr(logits, "node", None)
    if node is None or node.plan is None or node.plan.op is not _softmax:
        return
    if node.saved and node.saved[0][-1] != axis:  # the rule's (out, axis)
        return  # along another axis: these rows need not sum to 1
    warnings.warn(
        "softmax_cross_entropy was given the output of softmax; it applies softmax "
        "itself, and doing so twice trains badly; mend: give it the scores (logits)",
        UserWarning,
        stacklevel=users_frame()[1],
    )
