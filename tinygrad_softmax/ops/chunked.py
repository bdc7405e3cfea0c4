"""A linear layer and the softmax cross-entropy in one, a chunk of rows at a time.

With many classes the logits x W^T + b are by far the largest array of a step. Here only
a chunk of their rows exists at any time: its losses are computed, its gradient is
multiplied into those of x, W and b, and it is forgotten.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from ..autograd import is_grad_enabled, primitive, scaled
from ..autograd.core_ops import cast, sum_to
from ..backends import backend_of
from ..backends.dtypes import is_floating, scales_late, working_dtype
from ..backends.targets import Targets, label_error
from .cross_entropy import (
    early_scale,
    logits_gradient,
    mean_scale,
    of_kept_rows,
    reduced,
    row_targets,
    target_gradient,
)
from .cross_entropy_checks import check_floating, check_options
from .linalg import _matmul
from .shaping import reshape, swapaxes

CHUNK_BYTES = 16 * 1024 * 1024  # of logits at a time, unless `chunk` says otherwise


class _Sums(NamedTuple):
    """What going through the chunks leaves: losses, and gradients where wanted."""

    losses: Any
    x: Any
    weight: Any
    bias: Any


def _through_chunks(x, weight, bias, targets: Targets, chunk, needs, scale, rows=None):
    """Losses of all rows, and `scale` (and, for each row, `rows`) times the gradients
    of the inputs marked in `needs`. x is (n, D), weight (C, D), bias (C,) or None."""
    backend, work = backend_of(x), working_dtype(x.dtype)
    xp, n = backend.xp, len(x)
    w = weight.astype(work, copy=False)
    b = None if bias is None else bias.astype(work, copy=False)
    losses = xp.empty(n, work)
    dx = xp.empty_like(x) if needs[0] else None
    dw = xp.zeros(w.shape, work) if needs[1] else None
    db = xp.zeros(w.shape[0], work) if needs[2] else None
    change = xp.empty(w.shape, work) if needs[1] else None
    # Fresh memory for each chunk would cost page faults, as much as its arithmetic. The
    # gradient of the logits takes their place.
    buffer = xp.empty((min(chunk, n), w.shape[0]), work)
    for start in range(0, n, chunk):
        part = slice(start, min(start + chunk, n))
        some = x[part].astype(work, copy=False)
        logits = xp.matmul(some, w.T, out=buffer[: len(some)])
        if b is not None:
            logits += b
        g = logits if any(needs) else None
        losses[part] = backend.softmax_cross_entropy(logits, targets[part], g, scale)
        if g is None:
            continue
        if rows is not None:
            g *= rows[part][:, None]
        if dx is not None:
            dx[part] = g @ w
        if dw is not None and not start:
            xp.matmul(g.T, some, out=dw)
        elif dw is not None:
            dw += xp.matmul(g.T, some, out=change)
        if db is not None:
            db += g.sum(axis=0)
    return _Sums(losses, dx, dw, db)


@primitive(
    name="linear_cross_entropy",
    residuals=("grad_x", "grad_weight", "grad_bias", "scale"),
)
def _linear_cross_entropy(
    x,
    weight,
    target,
    bias=None,
    *,
    chunk,
    reduction,
    class_weight,
    ignore_index,
    label_smoothing,
    with_grad,
):
    options = (class_weight, ignore_index, label_smoothing)
    targets = row_targets(x, len(weight), target, -1, *options)
    scale = mean_scale(targets, reduction, working_dtype(x.dtype))
    # Row by row, the gradients wait for the rows' own: see the fused body.
    needs = with_grad if reduction != "none" else (False, False, False)
    early = early_scale(scale, x)
    sums = _through_chunks(x, weight, bias, targets, chunk, needs, early)
    loss = reduced(sums.losses, targets, reduction, (len(x),))
    return loss, sums.x, sums.weight, sums.bias, scale


@_linear_cross_entropy.vjp("x", "weight", "bias")
def _(
    g,
    x,
    weight,
    target,
    bias,
    reduction,
    class_weight,
    ignore_index,
    label_smoothing,
    needs,
):
    logits = _logits(x, weight, bias)
    options = dict(axis=1, reduction=reduction, weight=class_weight)
    options.update(ignore_index=ignore_index, label_smoothing=label_smoothing)
    d = logits_gradient(g, logits, target, **options)
    return (
        _matmul(d, weight) if needs[0] else None,
        _matmul(swapaxes(d, 0, 1), x) if needs[1] else None,
        sum_to(d, shape=bias.shape) if needs[2] else None,
    )


@_linear_cross_entropy.fused("x", "weight", "bias")
def _(
    g,
    x,
    weight,
    target,
    bias,
    reduction,
    class_weight,
    ignore_index,
    label_smoothing,
    chunk,
    needs,
    grad_x,
    grad_weight,
    grad_bias,
    scale,
):
    if reduction == "none":
        options = (class_weight, ignore_index, label_smoothing)
        targets = row_targets(x, len(weight), target, -1, *options)
        g = of_kept_rows(g, target, ignore_index)
        return _through_chunks(x, weight, bias, targets, chunk, needs, 1.0, g)[1:]
    g = g * scale if scales_late(x.dtype) else g
    grads = (grad_x, grad_weight, grad_bias)
    return tuple(None if each is None else scaled(each, g) for each in grads)


@_linear_cross_entropy.vjp("target")
def _(g, x, weight, target, bias, reduction, class_weight, label_smoothing):
    options = dict(axis=1, weight=class_weight, label_smoothing=label_smoothing)
    logits = _logits(x, weight, bias)
    return target_gradient(g, logits, target, reduction=reduction, **options)


def _logits(x, weight, bias):
    work = working_dtype(x.dtype)
    logits = _matmul(cast(x, dtype=work), cast(swapaxes(weight, 0, 1), dtype=work))
    return logits if bias is None else logits + bias


def linear_cross_entropy(
    x: Any,
    weight: Any,
    target: Any,
    bias: Any = None,
    *,
    chunk: int | None = None,
    reduction: str = "mean",
    class_weight: Any = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Any:
    """softmax_cross_entropy(x @ weight.T + bias, target), never holding all the logits.

    x: (..., D) floating inputs.
    weight: (C, D), bias: (C,) or None: a linear layer's, as in `nn.Linear`.
    target: integer labels of shape (...), or floating target values of shape (..., C).
    chunk: how many rows go through at a time; by default as many as have 8 MiB of
        logits, or D if that is more: as many logits as weights.
    reduction, ignore_index, label_smoothing: as in `softmax_cross_entropy`.
    class_weight: (C,) class weights: `weight` there.

    First derivatives are made chunk by chunk in the forward pass (with
    reduction="none" in backward, which computes the chunks again). Higher orders are
    exact too, and hold the logits.

    Returns the loss, of the dtype that `softmax_cross_entropy` gives. Raises what it
    raises, and ValueError where the shapes of x, weight and bias do not fit.

    Source: Wijmans et al., "Cut your losses in large-vocabulary language models", 2024.

    >>> x, weight = tg.tensor([[1.0, 2.0]]), tg.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> tg.linear_cross_entropy(x, weight, tg.tensor([1]))
    tensor(0.3132617)
    """
    name = "linear_cross_entropy"
    _check_layer(name, x, weight, bias)
    shape, classes = tuple(x.shape), weight.shape[0]
    rows, axis = shape[:-1], len(shape) - 1
    options = check_options(
        x, (*rows, classes), target, axis, reduction, class_weight, ignore_index,
        label_smoothing, name, "class_weight",
    )  # fmt: skip
    target = options.pop("target")
    options["class_weight"] = options.pop("weight")
    values: tuple[int, ...] = (classes,)
    if not is_floating(target.dtype):
        raw, values = getattr(target, "array", target), ()
        error = partial(label_error, name=name)
        backend_of(raw).check_labels(raw, classes, ignore_index, error)
    needs = tuple(
        is_grad_enabled() and getattr(each, "node", None) is not None
        for each in (x, weight, bias)
    )
    losses = _linear_cross_entropy(
        reshape(x, (prod(rows), shape[-1])),
        weight,
        reshape(target, (prod(rows), *values)),
        bias,
        chunk=_rows_at_a_time(name, chunk, weight.shape, x.dtype),
        with_grad=needs,
        **options,
    )
    return reshape(losses, rows) if reduction == "none" else losses


def _check_layer(name: str, x: Any, weight: Any, bias: Any) -> None:
    check_floating(name, "x is", x)
    check_floating(name, "the weight is", weight)
    shapes = f"x has shape {tuple(x.shape)} and weight {tuple(weight.shape)}"
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name}: {shapes}; expected (..., D) and (C, D); mend: weight holds one "
            "row of x's length for each class"
        )
    if not weight.shape[0]:
        raise ValueError(f"{name}: {shapes}; it has no classes")
    if bias is None:
        return
    check_floating(name, "the bias is", bias)
    if tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(
            f"{name}: bias has shape {tuple(bias.shape)}; expected one number for each "
            f"class, shape {(weight.shape[0],)}"
        )


def _rows_at_a_time(name: str, chunk: Any, shape: Any, dtype: Any) -> int:
    if chunk is None:  # each chunk's share is added to a gradient of weight's shape
        some = CHUNK_BYTES // (shape[0] * working_dtype(dtype).itemsize)
        return max(1, some, shape[1])
    if not isinstance(chunk, (int, np.integer)) or chunk < 1:
        raise ValueError(
            f"{name}: chunk was given as {chunk!r}; expected an integer of 1 or more"
        )
    return int(chunk)
