"""Losses of yes-or-no questions: the target is the probability of yes.

PyTorch's deprecated `size_average` and `reduce` are left out. 16-bit inputs are
computed in float32, and so is their loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...autograd import primitive
from ...backends import namespace
from .reducing import check_reduction, pair, reduced

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]

_LEAST_LOG = -100.0  # what PyTorch limits the logarithms to, and x (1 - x), which
_LEAST_SLOPE = 9.999999960041972e-13  # the gradient divides by: its 1e-12 is a float32


@primitive(name="binary_cross_entropy")
def _binary_cross_entropy(input, target):
    xp = namespace(input, target)
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = xp.maximum(xp.log(input), _LEAST_LOG)
        no = xp.maximum(xp.log1p(-input), _LEAST_LOG)
    return -(target * yes + (1.0 - target) * no)


@_binary_cross_entropy.vjp("input")
def _(g, input, target):
    # -t/x + (1 - t)/(1 - x) = (x - t) / (x (1 - x))
    return g * (input - target) / ops.maximum(input * (1.0 - input), _LEAST_SLOPE)


@_binary_cross_entropy.vjp("target")
def _(g, input):
    return g * (_limited_log(1.0 - input) - _limited_log(input))


def _limited_log(x):
    """max(log(x), -100), whose slope is 0 where it is limited; not inf times 0."""
    return ops.clip(ops.log(ops.clip(x, 1e-45)), _LEAST_LOG)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Any:
    """-w (t log(x) + (1 - t) log(1 - x)), the logarithms limited to -100 and above.

    `binary_cross_entropy_with_logits` of the scores is more exact than this of their
    sigmoid.

    Args:
        input: probabilities, any shape.
        target: probabilities, of the input's shape.
        weight: broadcasts to that shape, or None. The mean divides by the number of
            elements.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, a wrong reduction, or an input outside [0, 1]; on a
            GPU, which is not waited for, that gives nan.

    >>> binary_cross_entropy(tg.tensor([0.5, 0.0]), tg.tensor([1.0, 1.0]), None, "none")
    tensor([  0.6931472, 100.       ])
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    x, y = pair(name, input, target)
    _check_probabilities(name, getattr(x, "array", x))
    losses = _binary_cross_entropy(x, y)
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:
    """w (p t softplus(-x) + (1 - t) softplus(x)): `binary_cross_entropy` of sigmoid(x).

    Computed from the scores x, without overflow; both terms are positive, so that a
    small loss keeps its digits.

    Args:
        input: scores, any shape.
        target: probabilities, of the input's shape.
        weight: w, broadcasts to that shape, or None.
        reduction: "mean" (over the elements), "sum" or "none".
        pos_weight: p, broadcasts to that shape, or None: what a yes counts.

    Raises:
        ValueError: shapes differ, or a wrong reduction.

    >>> x = tg.tensor([0.0, 1000.0])
    >>> binary_cross_entropy_with_logits(x, tg.tensor([1.0, 0.0]), reduction="none")
    tensor([6.9314718e-01, 1.0000000e+03])
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    x, y = pair(name, input, target)
    yes = y if pos_weight is None else y * pos_weight
    losses = yes * ops.softplus(-x) + (1.0 - y) * ops.softplus(x)
    return reduced(losses if weight is None else losses * weight, reduction)


def _check_probabilities(name: str, x: Any) -> None:
    """Raise for the first entry outside [0, 1], if it can be seen without waiting."""
    if not isinstance(x, np.ndarray):
        return
    bad = ~((x >= 0) & (x <= 1))
    if bad.any():
        place = tuple(int(i) for i in np.unravel_index(bad.argmax(), x.shape))
        raise ValueError(
            f"{name}: the input at {place} is {x[place]:g}; expected probabilities, "
            f"0..1; mend: apply sigmoid, or use binary_cross_entropy_with_logits"
        )
