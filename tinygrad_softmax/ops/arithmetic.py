"""Functions of two or three arrays, element by element, with NumPy's broadcasting.

Inputs are tensors, arrays or numbers. A number beside a tensor is weak: it takes the
tensor's dtype. The engine sums a gradient down to its input's shape: rules never do.
"""

from __future__ import annotations

from ..autograd import primitive
from ..autograd.core_ops import add as add
from ..backends import backend_of, namespace


@primitive(differentiable=False)
def zeros_as(x):
    """Zeros of x's shape and dtype, as a constant: the gradient of a step function."""
    return namespace(x).zeros_like(x)


@primitive
def subtract(a, b):
    """a - b.

    >>> tg.subtract(tg.tensor([1.0, 2.0]), 0.5)
    tensor([0.5, 1.5])
    """
    return a - b


@subtract.vjp("a")
def _(g):
    return g


@subtract.vjp("b")
def _(g):
    return -g


@primitive
def negative(x):
    """-x.

    >>> tg.negative(tg.tensor([1.0, -2.0]))
    tensor([-1.,  2.])
    """
    return -x


@negative.vjp("x")
def _(g):
    return -g


@primitive
def multiply(a, b):
    """a * b. d(ab)/da = b.

    >>> tg.multiply(tg.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    return a * b


@multiply.vjp("a")
def _(g, b):
    return g * b


@multiply.vjp("b")
def _(g, a):
    return g * a


@primitive
def divide(a, b):
    """a / b. d(a/b)/da = 1 / b, d(a/b)/db = -(a/b) / b.

    >>> tg.divide(tg.tensor([1.0, 2.0]), 4)
    tensor([0.25, 0.5 ])
    """
    return a / b


@divide.vjp("a")
def _(g, b):
    return g / b


@divide.vjp("b")
def _(g, b, out):
    return -g * out / b


@primitive
def remainder(a, b):
    """a - floor(a / b) b, with the sign of b. d/da = 1, d/db = -floor(a / b).

    >>> tg.remainder(tg.tensor([5.0, -5.0]), 3.0)
    tensor([2., 1.])
    """
    return namespace(a, b).remainder(a, b)


@remainder.vjp("a")
def _(g):
    return g


@remainder.vjp("b")
def _(g, a, b):
    return -g * floor_divide(a, b)


@primitive
def floor_divide(a, b):
    """floor(a / b). The gradient is 0, at the steps too.

    >>> tg.floor_divide(tg.tensor([5.0, -5.0]), 3.0)
    tensor([ 1., -2.])
    """
    return namespace(a, b).floor_divide(a, b)


for _input in ("a", "b"):
    floor_divide.vjp(_input)(lambda g: zeros_as(g))


@primitive
def maximum(a, b):
    """The larger of a and b; nan if either is. Where they tie each gets half of g.

    >>> tg.maximum(tg.tensor([1.0, 3.0]), 2.0)
    tensor([2., 3.])
    """
    return namespace(a, b).maximum(a, b)


@maximum.vjp("a")
def _(g, a, b):
    return where(a > b, g, where(a == b, 0.5 * g, 0.0))


@maximum.vjp("b")
def _(g, a, b):
    return where(a < b, g, where(a == b, 0.5 * g, 0.0))


@primitive
def minimum(a, b):
    """The smaller of a and b; nan if either is. Where they tie each gets half of g.

    >>> tg.minimum(tg.tensor([1.0, 3.0]), 2.0)
    tensor([1., 2.])
    """
    return namespace(a, b).minimum(a, b)


@minimum.vjp("a")
def _(g, a, b):
    return where(a < b, g, where(a == b, 0.5 * g, 0.0))


@minimum.vjp("b")
def _(g, a, b):
    return where(a > b, g, where(a == b, 0.5 * g, 0.0))


@primitive
def where(condition, a, b):
    """a where `condition` holds, else b. The condition gets no gradient.

    >>> tg.where(tg.tensor([True, False]), tg.tensor([1.0, 2.0]), 0.0)
    tensor([1., 0.])
    """
    for x in (condition, a, b):
        if hasattr(x, "__setitem__"):
            return backend_of(x).where(condition, a, b)
    return backend_of(condition).where(condition, a, b)


@where.vjp("a")
def _(g, condition):
    return where(condition, g, 0.0)


@where.vjp("b")
def _(g, condition):
    return where(condition, 0.0, g)


@primitive(name="clip")
def _clip(x, min, max):
    out, xp = x, namespace(x, min, max)
    if min is not None:
        out = xp.maximum(out, min)
    return out + 0 if max is None else xp.minimum(out, max)


@_clip.vjp("x")
def _(g, x, min, max):
    if min is not None:
        g = where(x >= min, g, 0.0)
    return g if max is None else where(x <= max, g, 0.0)


@_clip.vjp("min")
def _(g, x, min, max):
    g = where(x < min, g, 0.0)
    return g if max is None else where(min <= max, g, 0.0)


@_clip.vjp("max")
def _(g, x, min, max):
    over = x > max
    if min is None:
        return where(over, g, 0.0)
    return where(over, g, where(min > max, g, 0.0))


def clip(x, min=None, max=None):
    """x limited to [min, max]; a limit of None is no limit.

    The gradient goes to x where min <= x <= max (at the limits too, as in PyTorch),
    else to the limit that holds.

    >>> tg.clip(tg.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0. , 0.5, 1. ])
    """
    if min is None and max is None:
        raise ValueError("clip: neither min nor max was given; give one of them")
    return _clip(x, min, max)
