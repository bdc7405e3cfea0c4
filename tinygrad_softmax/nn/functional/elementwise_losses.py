"""Losses that compare two tensors element by element, or row by row.

Input and target have one shape; a difference raises where PyTorch broadcasts with a
warning. 16-bit inputs are computed in float32, and so is their loss. PyTorch's
deprecated `size_average` and `reduce` are left out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from .activations import hardtanh, without_graph
from .precision import wide
from .reducing import REDUCTIONS, check_reduction, pair, reduced, same_shape

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


def mse_loss(
    input: Any, target: Any, reduction: str = "mean", weight: Any = None
) -> Any:
    """(x - y)^2.

    Args:
        input, target: of one shape.
        reduction: "mean", "sum" or "none".
        weight: of that shape, or None; the mean then divides by its sum.

    Raises:
        ValueError: shapes differ, or a wrong reduction.

    >>> mse_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]))
    tensor(2.)
    """
    check_reduction("mse_loss", reduction)
    x, y = pair("mse_loss", input, target)
    return _weighted_mean("mse_loss", ops.square(x - y), reduction, weight)


def l1_loss(
    input: Any, target: Any, reduction: str = "mean", weight: Any = None
) -> Any:
    """|x - y|; the gradient is 0 where they are equal. Arguments as `mse_loss`.

    >>> l1_loss(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0]))
    tensor(1.)
    """
    check_reduction("l1_loss", reduction)
    x, y = pair("l1_loss", input, target)
    return _weighted_mean("l1_loss", ops.abs(x - y), reduction, weight)


def smooth_l1_loss(
    input: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Any:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = x - y.

    beta 0 is `l1_loss`. Source: Girshick, "Fast R-CNN", 2015, equation 3.

    >>> smooth_l1_loss(tg.tensor([0.5, 4.0]), tg.zeros(2), "none")
    tensor([0.125, 3.5  ])
    """
    check_reduction("smooth_l1_loss", reduction)
    x, y = pair("smooth_l1_loss", input, target)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta was given as {beta}; expected >= 0")
    if beta == 0:
        return reduced(ops.abs(x - y), reduction)
    return reduced(_huber(x - y, beta) * (1.0 / beta), reduction)


def huber_loss(
    input: Any,
    target: Any,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Any = None,
) -> Any:
    """d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), with d = x - y.

    weight: of the input's shape, or None; the mean divides by the number of elements,
        as PyTorch's does.

    Source: Huber, "Robust estimation of a location parameter", 1964.

    >>> huber_loss(tg.tensor([0.5, 4.0]), tg.zeros(2), "none", delta=2.0)
    tensor([0.125, 6.   ])
    """
    check_reduction("huber_loss", reduction)
    x, y = pair("huber_loss", input, target)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta was given as {delta}; expected > 0")
    losses = _huber(x - y, delta)
    if weight is not None:
        losses = losses * same_shape("huber_loss", weight, losses)
    return reduced(losses, reduction)


def _huber(d: Any, delta: float) -> Any:
    """a d - a^2 / 2 with d limited to a: without a branch that squares a large d."""
    a = hardtanh(d, -delta, delta)
    return a * (d - 0.5 * a)


def kl_div(
    input: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Any:
    """t (log(t) - x), of log-probabilities x and probabilities t: KL(t || e^x).

    A target of 0 costs 0, also where x is -inf (PyTorch: nan).

    Source: Kullback & Leibler, "On information and sufficiency", 1951.

    Args:
        input: log-probabilities, any shape.
        target: probabilities, or their logarithms with `log_target`; of that shape.
        reduction: "batchmean", the sum divided by the first length, which is the
            definition; "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: shapes differ, or a wrong reduction.

    >>> p = tg.tensor([[0.5, 0.5]])
    >>> kl_div(tg.log(p), p, reduction="batchmean")
    tensor(0.)
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    x, y = pair("kl_div", input, target)
    if log_target:
        losses = ops.exp(y) * (y - x)
    else:
        empty = y == 0
        log = ops.log(ops.where(empty, 1.0, y))
        losses = y * (log - ops.where(empty, 0.0, x))
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return ops.sum(losses) * (1.0 / x.shape[0] if x.ndim and x.shape[0] else 1.0)


def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Any:
    """exp(x) - t x, or with `log_input=False` x - t log(x + eps).

    full: add Stirling's t log(t) - t + log(2 pi t) / 2 for log(t!), where t > 1.

    >>> poisson_nll_loss(tg.tensor([0.0]), tg.tensor([3.0]))
    tensor(1.)
    """
    name = "poisson_nll_loss"
    check_reduction(name, reduction)
    x, y = pair(name, input, target)
    losses = ops.exp(x) - y * x if log_input else x - y * ops.log(x + eps)
    if full:
        many = y > 1
        t = ops.where(many, y, 1.0)
        stirling = t * ops.log(t) - t + 0.5 * ops.log(2.0 * math.pi * t)
        losses = losses + ops.where(many, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:
    """(log(v) + (x - t)^2 / v) / 2, with v = max(var, eps).

    The limit is for the numbers alone: the gradient of var is that at v, as PyTorch's.

    Source: Nix & Weigend, "Estimating the mean and variance of the target probability
    distribution", 1994.

    Args:
        input, target: of one shape.
        var: a number, or of that shape, or with the last axis missing, or with one
            length 1 in place of another.
        full: add log(2 pi) / 2.

    Raises:
        ValueError: a wrong shape or reduction, or a negative variance (which on a GPU,
            which is not waited for, counts as eps).

    >>> gaussian_nll_loss(tg.tensor([1.0]), tg.tensor([3.0]), tg.tensor([1.0]))
    tensor(2.)
    """
    name = "gaussian_nll_loss"
    check_reduction(name, reduction)
    x, y = pair(name, input, target)
    if isinstance(var, (int, float)):
        var = x.dtype.type(var) + without_graph(x) * 0.0
    shape, given = tuple(x.shape), tuple(var.shape)
    if given != shape and given == shape[:-1]:
        var = ops.expand_dims(var, -1)
    elif given != shape:
        unlike = [b for a, b in zip(shape, given, strict=False) if a != b]
        if len(given) != len(shape) or unlike != [1]:
            raise ValueError(
                f"{name}: var has shape {given}; expected the input's, {shape}, or "
                "without its last axis, or with one length 1"
            )
    v = wide(var)
    values = getattr(v, "array", v)
    if isinstance(values, np.ndarray) and (values < 0).any():
        raise ValueError(f"{name}: var has negative entries; a variance is >= 0")
    v = _at_least(v, eps)
    losses = 0.5 * (ops.log(v) + ops.square(x - y) / v)
    return reduced(
        losses + 0.5 * math.log(2.0 * math.pi) if full else losses, reduction
    )


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along axis `dim`; broadcasts.

    The limit is for the numbers alone: the gradient of a norm passes it, as in PyTorch.

    >>> cosine_similarity(tg.tensor([[3.0, 4.0]]), tg.tensor([[4.0, 3.0]]))
    tensor([0.96])
    """
    a, b = wide(x1), wide(x2)
    length = _at_least(ops.norm(a, axis=dim, keepdims=True), eps)
    other = _at_least(ops.norm(b, axis=dim, keepdims=True), eps)
    return ops.sum((a / length) * (b / other), axis=dim)


def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """1 - cos where the target is 1; max(0, cos - margin) where it is -1.

    Args:
        input1, input2: shape (N, D), or (D,).
        target: 1 or -1, shape (N,), or ().

    Raises:
        ValueError: wrong shapes, or a wrong reduction.

    >>> x = tg.tensor([[3.0, 4.0]])
    >>> cosine_embedding_loss(x, x, tg.tensor([-1]))
    tensor(1.)
    """
    name = "cosine_embedding_loss"
    check_reduction(name, reduction)
    a, b = pair(name, input1, input2)
    if a.ndim not in (1, 2) or tuple(target.shape) != tuple(a.shape[:-1]):
        raise ValueError(
            f"{name}: the inputs have shape {tuple(a.shape)} and the target "
            f"{tuple(target.shape)}; expected (N, D) and (N,), or (D,) and ()"
        )
    squares = [ops.sum(ops.square(x), axis=-1) + 1e-12 for x in (a, b)]
    cos = ops.sum(a * b, axis=-1) / ops.sqrt(squares[0] * squares[1])
    apart = ops.where(target == -1, ops.clip(cos - margin, 0.0), 0.0)
    return reduced(ops.where(target == 1, 1.0 - cos, apart), reduction)


def _at_least(x: Any, low: float) -> Any:
    """max(x, low), through which the gradient passes everywhere."""
    return x + ops.clip(low - without_graph(x), 0.0)


def _weighted_mean(name: str, losses: Any, reduction: str, weight: Any) -> Any:
    """Reduced; with weights the mean divides by their sum."""
    if weight is None:
        return reduced(losses, reduction)
    losses = losses * same_shape(name, weight, losses)
    if reduction == "mean":
        return ops.sum(losses) / ops.sum(weight)
    return reduced(losses, reduction)
