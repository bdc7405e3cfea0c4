"""Shapes: the same elements in another arrangement.

Results share memory with their input where NumPy's do.
"""

from __future__ import annotations

import operator
from math import prod

from ..autograd import primitive
from ..autograd.core_ops import broadcast_to as _broadcast_to
from ..backends import namespace
from .axes import check_array, check_axes, check_axis, check_lengths


@primitive(name="reshape")
def _reshape(x, *, shape):
    return x.reshape(shape)


@_reshape.vjp("x")
def _(g, x_shape):
    return _reshape(g, shape=x_shape)


def reshape(x, shape):
    """x with another shape of as many elements; one length may be -1.

    >>> tg.reshape(tg.arange(4.0), (2, 2))
    tensor([[0., 1.],
            [2., 3.]])
    """
    check_array("reshape", x)
    shape = check_lengths("reshape", "shape", shape)
    known, size = prod(n for n in shape if n != -1), prod(x.shape)
    if shape.count(-1) > 1 or any(n < -1 for n in shape):
        raise ValueError(
            f"reshape: shape {shape} may hold one -1 and no other negative"
        )
    if (-1 in shape and (known == 0 or size % known)) or (
        -1 not in shape and known != size
    ):
        raise ValueError(
            f"reshape: {size} elements of shape {x.shape} can't take shape {shape}; "
            "mend: give lengths whose product is the same, or one -1"
        )
    return _reshape(x, shape=shape)


@primitive(name="permute_dims")
def _permute(x, *, axes):
    return namespace(x).transpose(x, axes)


@_permute.vjp("x")
def _(g, axes):
    back = sorted(range(len(axes)), key=axes.__getitem__)
    return _permute(g, axes=tuple(back))


def permute_dims(x, axes):
    """x with its axes in another order: axis i of the result is axis axes[i] of x.

    >>> tg.permute_dims(tg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    axes = check_axes("permute_dims", tuple(axes), x)
    if len(axes) != x.ndim:
        raise ValueError(
            f"permute_dims: axes {axes} do not name each of the {x.ndim} axes of shape "
            f"{x.shape} once"
        )
    return _permute(x, axes=axes)


def transpose(x, axes=None):
    """x with its axes reversed, or in the order `axes`.

    >>> tg.transpose(tg.zeros((2, 3))).shape
    (3, 2)
    """
    check_array("transpose", x)
    return permute_dims(x, range(x.ndim)[::-1] if axes is None else axes)


def swapaxes(x, axis1, axis2):
    """x with two axes exchanged.

    >>> tg.swapaxes(tg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    check_array("swapaxes", x)
    order = list(range(x.ndim))
    first, second = check_axis("swapaxes", axis1, x), check_axis("swapaxes", axis2, x)
    order[first], order[second] = second, first
    return _permute(x, axes=tuple(order))


def moveaxis(x, source, destination):
    """x with some axes moved to other places; the others keep their order.

    >>> tg.moveaxis(tg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    source = check_axes("moveaxis", source, x)
    destination = check_axes("moveaxis", destination, x)
    if len(source) != len(destination):
        raise ValueError(
            f"moveaxis: {len(source)} axes can't move to {len(destination)} places"
        )
    order = [axis for axis in range(x.ndim) if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return _permute(x, axes=tuple(order))


def expand_dims(x, axis):
    """x with new axes of length 1 at the places `axis` of the result.

    >>> tg.expand_dims(tg.zeros(3), 0).shape
    (1, 3)
    """
    check_array("expand_dims", x)
    axes = (axis,) if hasattr(axis, "__index__") else tuple(axis)
    ndim = x.ndim + len(axes)
    places = {operator.index(each) % ndim for each in axes if -ndim <= each < ndim}
    if len(places) != len(axes):
        raise ValueError(
            f"expand_dims: axis {axis} must name distinct places in {-ndim}.."
            f"{ndim - 1} for shape {x.shape}"
        )
    lengths = iter(x.shape)
    shape = tuple(1 if i in places else next(lengths) for i in range(ndim))
    return _reshape(x, shape=shape)


def squeeze(x, axis=None):
    """x without its axes of length 1, or without the ones named.

    >>> tg.squeeze(tg.zeros((1, 3, 1))).shape
    (3,)
    """
    check_array("squeeze", x)
    if axis is None:
        axes = tuple(i for i, n in enumerate(x.shape) if n == 1)
    else:
        axes = check_axes("squeeze", axis, x)
    if any(x.shape[i] != 1 for i in axes):
        raise ValueError(
            f"squeeze: axis {axis} of shape {x.shape} does not have length 1"
        )
    return _reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def broadcast_to(x, shape):
    """x repeated along new axes and axes of length 1 until it has `shape`.

    Backward sums over what was repeated: each element had a part in every copy.

    >>> tg.broadcast_to(tg.tensor([1.0, 2.0]), (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return _broadcast_to(x, shape=check_lengths("broadcast_to", "shape", shape))


@primitive(name="flip")
def _flip(x, *, axis):
    return namespace(x).flip(x, axis)


@_flip.vjp("x")
def _(g, axis):
    return _flip(g, axis=axis)


def flip(x, axis=None):
    """x in reversed order along some axes, or all.

    >>> tg.flip(tg.tensor([1.0, 2.0, 3.0]))
    tensor([3., 2., 1.])
    """
    return _flip(x, axis=check_axes("flip", axis, x))


@primitive(name="roll")
def _roll(x, *, shift, axis):
    return namespace(x).roll(x, shift, axis)


@_roll.vjp("x")
def _(g, shift, axis):
    back = tuple(-n for n in shift) if isinstance(shift, tuple) else -shift
    return _roll(g, shift=back, axis=axis)


def roll(x, shift, axis=None):
    """x shifted along some axes; what leaves at one end enters at the other.

    >>> tg.roll(tg.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    if axis is not None:
        axis = check_axes("roll", axis, x)
        shift = (shift,) * len(axis) if hasattr(shift, "__index__") else tuple(shift)
    return _roll(x, shift=shift, axis=axis)


def tile(x, reps):
    """x laid out `reps` times along each axis.

    >>> tg.tile(tg.tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    check_array("tile", x)
    reps = check_lengths("tile", "reps", reps)
    if any(n < 0 for n in reps):
        raise ValueError(f"tile: reps was given as {reps}; expected 0 or more")
    ndim = max(x.ndim, len(reps))
    reps = (1,) * (ndim - len(reps)) + reps
    shape = (1,) * (ndim - x.ndim) + tuple(x.shape)
    apart = _reshape(x, shape=tuple(n for length in shape for n in (1, length)))
    pairs = tuple(n for pair in zip(reps, shape, strict=True) for n in pair)
    full = tuple(r * n for r, n in zip(reps, shape, strict=True))
    return _reshape(_broadcast_to(apart, shape=pairs), shape=full)


@primitive(name="tril")
def _tril(x, *, k):
    return namespace(x).tril(x, k)


@_tril.vjp("x")
def _(g, k):
    return _tril(g, k=k)


def tril(x, k=0):
    """The lower triangle of the last two axes, zero above diagonal number k.

    >>> tg.tril(tg.ones((2, 2)))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return _tril(_matrix("tril", x), k=k)


@primitive(name="triu")
def _triu(x, *, k):
    return namespace(x).triu(x, k)


@_triu.vjp("x")
def _(g, k):
    return _triu(g, k=k)


def triu(x, k=0):
    """The upper triangle of the last two axes, zero below diagonal number k.

    >>> tg.triu(tg.ones((2, 2)))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return _triu(_matrix("triu", x), k=k)


def _matrix(name, x):
    check_array(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name}: shape {x.shape} has no matrix; it needs two axes")
    return x
