"""The four ops that the engine itself needs: add, sum_to, broadcast_to, cast."""

from __future__ import annotations

from ..backends import namespace
from ..backends.dtypes import is_half, working_dtype
from .primitive import primitive


@primitive
def add(a, b):
    """Elementwise sum, with broadcasting. d(a + b)/da = d(a + b)/db = 1.

    >>> tg.add(tg.tensor([1.0, 2.0]), 0.5)
    tensor([1.5, 2.5])
    """
    return a + b


@add.vjp("a")
def _(g):
    return g


@add.vjp("b")
def _(g):
    return g


@primitive
def sum_to(x, *, shape):
    """Sum x down to `shape`, a shape that broadcasts to x's: broadcast_to reversed.

    16-bit floats are summed in float32.
    """
    extra = x.ndim - len(shape)
    ones = tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and x.shape[extra + i] != 1
    )
    axes = tuple(range(extra)) + ones
    if not axes:
        return x
    wide = working_dtype(x.dtype) if is_half(x.dtype) else None
    out = namespace(x).sum(x, axis=axes, dtype=wide, keepdims=True)
    return out.astype(x.dtype, copy=False).reshape(shape)


@sum_to.vjp("x")
def _(g, x_shape):
    return broadcast_to(g, shape=x_shape)


@primitive
def broadcast_to(x, *, shape):
    """x repeated along new or length-1 axes until it has `shape`, without a copy."""
    return namespace(x).broadcast_to(x, shape)


@broadcast_to.vjp("x")
def _(g, x_shape):
    return sum_to(g, shape=x_shape)


@primitive
def cast(x, *, dtype):
    """x with another floating dtype. The engine casts the gradient back."""
    return x.astype(dtype, copy=False)


@cast.vjp("x")
def _(g):
    return g
