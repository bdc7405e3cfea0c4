"""Comparisons, logic and positions. Their results are bools or integers.

Not differentiable: their results never require a gradient, whatever the inputs do.
"""

from __future__ import annotations

from ..autograd import primitive
from ..backends import namespace
from ..backends.dtypes import working_dtype
from .axes import check_axis


@primitive(differentiable=False)
def equal(a, b):
    """a == b, element by element, with broadcasting. Not differentiable.

    >>> tg.equal(tg.tensor([1.0, 2.0]), 2.0)
    tensor([False,  True])
    """
    return a == b


@primitive(differentiable=False)
def not_equal(a, b):
    """a != b, element by element, with broadcasting. Not differentiable.

    >>> tg.not_equal(tg.tensor([1.0, 2.0]), 2.0)
    tensor([ True, False])
    """
    return a != b


@primitive(differentiable=False)
def less(a, b):
    """a < b, element by element, with broadcasting. Not differentiable.

    >>> tg.less(tg.tensor([1.0, 2.0]), 2.0)
    tensor([ True, False])
    """
    return a < b


@primitive(differentiable=False)
def less_equal(a, b):
    """a <= b, element by element, with broadcasting. Not differentiable.

    >>> tg.less_equal(tg.tensor([1.0, 2.0]), 2.0)
    tensor([ True,  True])
    """
    return a <= b


@primitive(differentiable=False)
def greater(a, b):
    """a > b, element by element, with broadcasting. Not differentiable.

    >>> tg.greater(tg.tensor([1.0, 2.0]), 2.0)
    tensor([False, False])
    """
    return a > b


@primitive(differentiable=False)
def greater_equal(a, b):
    """a >= b, element by element, with broadcasting. Not differentiable.

    >>> tg.greater_equal(tg.tensor([1.0, 2.0]), 2.0)
    tensor([False,  True])
    """
    return a >= b


@primitive(differentiable=False)
def logical_and(a, b):
    """Whether both hold, element by element. Not differentiable.

    >>> tg.logical_and(tg.tensor([True, False]), True)
    tensor([ True, False])
    """
    return namespace(a, b).logical_and(a, b)


@primitive(differentiable=False)
def logical_or(a, b):
    """Whether one of them holds, element by element. Not differentiable.

    >>> tg.logical_or(tg.tensor([True, False]), True)
    tensor([ True,  True])
    """
    return namespace(a, b).logical_or(a, b)


@primitive(differentiable=False)
def logical_xor(a, b):
    """Whether exactly one of them holds, element by element. Not differentiable.

    >>> tg.logical_xor(tg.tensor([True, False]), True)
    tensor([False,  True])
    """
    return namespace(a, b).logical_xor(a, b)


@primitive(differentiable=False)
def logical_not(x):
    """Whether it does not hold, element by element. Not differentiable.

    >>> tg.logical_not(tg.tensor([True, False]))
    tensor([False,  True])
    """
    return namespace(x).logical_not(x)


@primitive(differentiable=False)
def isnan(x):
    """Whether each element is nan. Not differentiable.

    >>> tg.isnan(tg.tensor([1.0, float("inf"), float("nan")]))
    tensor([False, False,  True])
    """
    return namespace(x).isnan(x)


@primitive(differentiable=False)
def isinf(x):
    """Whether each element is infinite. Not differentiable.

    >>> tg.isinf(tg.tensor([1.0, float("inf"), float("nan")]))
    tensor([False,  True, False])
    """
    return namespace(x).isinf(x)


@primitive(differentiable=False)
def isfinite(x):
    """Whether each element is neither infinite nor nan. Not differentiable.

    >>> tg.isfinite(tg.tensor([1.0, float("inf"), float("nan")]))
    tensor([ True, False, False])
    """
    return namespace(x).isfinite(x)


@primitive(name="any", differentiable=False)
def _any(x, *, axis, keepdims):
    return namespace(x).any(x, axis=axis, keepdims=keepdims)


def any(x, axis=None, keepdims=False):
    """Whether some element holds, over all axes or the given ones. Not differentiable.

    >>> tg.any(tg.tensor([True, False]))
    tensor(True)
    """
    return _any(x, axis=axis, keepdims=keepdims)


@primitive(name="all", differentiable=False)
def _all(x, *, axis, keepdims):
    return namespace(x).all(x, axis=axis, keepdims=keepdims)


def all(x, axis=None, keepdims=False):
    """Whether every element holds, over all axes or the given ones. Not differentiable.

    >>> tg.all(tg.tensor([True, False]))
    tensor(False)
    """
    return _all(x, axis=axis, keepdims=keepdims)


@primitive(name="argmax", differentiable=False)
def _argmax(x, *, axis, keepdims):
    return namespace(x).argmax(x, axis=axis, keepdims=keepdims)


def argmax(x, axis=None, keepdims=False):
    """The position of the largest element, the first one where they tie.

    axis: None means the position in the flattened array. Not differentiable: the result
    is an integer tensor, which never requires a gradient.

    >>> tg.argmax(tg.tensor([[1.0, 3.0], [4.0, 2.0]]), axis=1)
    tensor([1, 0])
    """
    if axis is not None:
        check_axis("argmax", axis, x)
    return _argmax(x, axis=axis, keepdims=keepdims)


@primitive(name="argmin", differentiable=False)
def _argmin(x, *, axis, keepdims):
    return namespace(x).argmin(x, axis=axis, keepdims=keepdims)


def argmin(x, axis=None, keepdims=False):
    """The position of the smallest element, the first one where they tie.

    axis: None means the position in the flattened array. Not differentiable: the result
    is an integer tensor, which never requires a gradient.

    >>> tg.argmin(tg.tensor([[1.0, 3.0], [4.0, 2.0]]), axis=1)
    tensor([0, 1])
    """
    if axis is not None:
        check_axis("argmin", axis, x)
    return _argmin(x, axis=axis, keepdims=keepdims)


@primitive(name="argsort", differentiable=False)
def _argsort(x, *, axis, descending):
    xp = namespace(x)
    x = x.astype(working_dtype(x.dtype), copy=False)  # CuPy sorts no bfloat16
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    backwards = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return xp.flip(x.shape[axis] - 1 - backwards, axis)


def argsort(x, axis=-1, descending=False):
    """The positions that sort x along an axis; equal elements keep their order.

    Not differentiable; `sort` is.

    >>> tg.argsort(tg.tensor([3.0, 1.0, 2.0]))
    tensor([1, 2, 0])
    """
    check_axis("argsort", axis, x)
    return _argsort(x, axis=axis, descending=descending)
