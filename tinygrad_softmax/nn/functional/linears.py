"""Products with a weight matrix."""

from __future__ import annotations

from math import prod
from typing import Any

from ...autograd import primitive
from ...backends import backend_of
from ...ops.autocasting import lowered
from ...ops.axes import check_array
from ...ops.cross_entropy_checks import check_floating
from ...ops.linalg import _matmul
from ...ops.shaping import _reshape

__all__ = ["linear"]


@primitive(name="linear")
def _linear(input, weight, bias=None):
    out = backend_of(input).matmul(input, weight.T)
    if bias is None:
        return out
    if out.dtype != bias.dtype:
        return out + bias
    out += bias  # nobody else holds it
    return out


@_linear.vjp("input")
def _(g, weight):
    return _matmul(g, weight)


@_linear.vjp("weight")
def _(g, input):
    # Y = X W^T gives dW = dY^T X, one product of all rows.
    if input.ndim == 2:
        return _matmul(g.T, input)
    n = prod(input.shape[:-1])
    rows = _reshape(g, shape=(n, g.shape[-1]))
    return _matmul(rows.T, _reshape(input, shape=(n, input.shape[-1])))


@_linear.vjp("bias")
def _(g):
    return g


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """`input @ weight.T + bias`, `torch.nn.functional.linear`.

    Args:
        input: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.

    Returns:
        Shape (..., out_features).

    Raises:
        ValueError: shapes that do not fit.
        TypeError: an input that is not floating.

    >>> import tinygrad_softmax as tg
    >>> linear(tg.tensor([1.0, 2.0]), tg.tensor([[3.0, 4.0]]), tg.tensor([5.0]))
    tensor([16.])
    """
    rows, matrix = getattr(input, "array", input), getattr(weight, "array", weight)
    check_array("linear", rows, matrix)
    if rows.dtype.kind != "f":
        check_floating("linear", "the input is", rows)
    x, w = rows.shape, matrix.shape
    b = None if bias is None else bias.shape
    if not x or len(w) != 2 or x[-1] != w[1] or b not in (None, w[:1]):
        raise ValueError(
            f"linear: input, weight and bias have shapes {x}, {w} and {b}; expected "
            "(..., in_features), (out_features, in_features) and (out_features,)"
            + (
                f"; mend: the input's last axis, of length {x[-1]}, must have {w[1]}"
                if x and len(w) == 2 and x[-1] != w[1]
                else ""
            )
        )
    return _linear(*lowered(input, weight, bias))
