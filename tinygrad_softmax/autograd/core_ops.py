"""The four ops that the engine itself needs: add, sum_to, broadcast_to, cast."""

from __future__ import annotations

from ..backends import backend_of, namespace
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
    axes = tuple(range(extra))
    if shape == x.shape[extra:]:
        out = backend_of(x).sum(x, axes) if axes else x
    else:
        axes += tuple(
            [i for i in range(extra, x.ndim) if shape[i - extra] != x.shape[i]]
        )
        out = backend_of(x).sum(x, axes, keepdims=True).reshape(shape)
    return out if out.dtype is x.dtype else out.astype(x.dtype)


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
    return backend_of(x).cast(x, dtype)


@cast.vjp("x")
def _(g):
    return g
