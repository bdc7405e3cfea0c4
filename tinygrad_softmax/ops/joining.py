"""Joining and cutting along an axis, repeating, padding."""

from __future__ import annotations

import operator
from math import prod

import numpy as np

from ..autograd import primitive
from ..autograd.core_ops import broadcast_to as _broadcast_to
from ..backends import backend_of, namespace
from .axes import check_array, check_axis, check_lengths
from .indexing import _getitem, take
from .shaping import _reshape, expand_dims


@primitive(name="concatenate")
def _concatenate(*arrays, axis):
    return namespace(*arrays).concatenate(arrays, axis=axis)


@_concatenate.vjp("arrays")
def _(g, position, arrays_shape, axis):
    start = sum(shape[axis] for shape in arrays_shape[:position])
    part = slice(start, start + arrays_shape[position][axis])
    return _getitem(g, index=(slice(None),) * axis + (part,))


def concatenate(arrays, axis=0):
    """Arrays joined along an existing axis; their other lengths must agree.

    >>> tg.concatenate([tg.tensor([1.0]), tg.tensor([2.0, 3.0])])
    tensor([1., 2., 3.])
    """
    arrays = list(arrays)
    check_array("concatenate", *arrays)
    if not arrays:
        raise ValueError("concatenate: no arrays were given; it needs at least one")
    if axis is None:
        return _concatenate(
            *(_reshape(x, shape=(prod(x.shape),)) for x in arrays), axis=0
        )
    return _concatenate(*arrays, axis=check_axis("concatenate", axis, arrays[0]))


def stack(arrays, axis=0):
    """Arrays of one shape joined along a new axis.

    >>> tg.stack([tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0])]).shape
    (2, 2)
    """
    arrays = list(arrays)
    check_array("stack", *arrays)
    if len({tuple(x.shape) for x in arrays}) != 1:
        raise ValueError(
            f"stack: the shapes are {[tuple(x.shape) for x in arrays]}; it needs one "
            "or more arrays of the same shape"
        )
    axis = check_axis("stack", axis, expand_dims(arrays[0], 0))
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def split(x, indices_or_sections, axis=0):
    """x cut along an axis: in so many equal parts, or before each of the indices.

    >>> [part.shape for part in tg.split(tg.zeros(6), 3)]
    [(2,), (2,), (2,)]
    """
    axis = check_axis("split", axis, x)
    n = x.shape[axis]
    if hasattr(indices_or_sections, "__index__"):
        parts = operator.index(indices_or_sections)
        if parts < 1 or n % parts:
            raise ValueError(
                f"split: length {n} along axis {axis} can't be cut in {parts} equal "
                "parts; mend: give the indices to cut at"
            )
        cuts = [i * (n // parts) for i in range(parts + 1)]
    else:
        cuts = [0, *(operator.index(i) for i in indices_or_sections), n]
    before = (slice(None),) * axis
    return [
        _getitem(x, index=(*before, slice(start, max(start, stop))))
        for start, stop in zip(cuts[:-1], cuts[1:], strict=True)
    ]


def repeat(x, repeats, axis=None):
    """Each element repeated `repeats` times along an axis (None: of the flat array).

    repeats: a number, or one for each element along the axis.

    >>> tg.repeat(tg.tensor([1.0, 2.0]), 2)
    tensor([1., 1., 2., 2.])
    """
    check_array("repeat", x)
    if axis is None:
        x, axis = _reshape(x, shape=(prod(x.shape),)), 0
    axis = check_axis("repeat", axis, x)
    repeats = getattr(repeats, "array", repeats)
    if hasattr(repeats, "dtype"):  # the result's shape depends on their values
        repeats = backend_of(repeats).to_host(repeats)
    counts = check_lengths("repeat", "repeats", repeats)
    fits = not np.ndim(repeats) or len(counts) == x.shape[axis]
    if not fits or any(n < 0 for n in counts):
        raise ValueError(
            f"repeat: repeats was given as {repeats}; expected a number >= 0, or one "
            f"for each of the {x.shape[axis]} elements along axis {axis}"
        )
    if np.ndim(repeats):
        return take(x, np.repeat(np.arange(x.shape[axis]), counts), axis)
    (n,) = counts
    shape = list(x.shape)
    shape.insert(axis + 1, n)
    wide = _broadcast_to(expand_dims(x, axis + 1), shape=tuple(shape))
    shape[axis : axis + 2] = [shape[axis] * n]
    return _reshape(wide, shape=tuple(shape))


@primitive(name="pad")
def _pad(x, *, pad_width, constant_values):
    xp, width = namespace(x), pad_width or 0  # NumPy takes no () for a 0-d array
    return xp.pad(x, width, mode="constant", constant_values=constant_values)


@_pad.vjp("x")
def _(g, x_shape, pad_width):
    pairs = zip(pad_width, x_shape, strict=True)
    return _getitem(g, index=tuple(slice(b, b + n) for (b, _), n in pairs))


def pad(x, pad_width, mode="constant", constant_values=0):
    """x with more elements before and after it, along each axis.

    pad_width: a number for every side, a pair (before, after) for every axis, or one
        pair for each axis.
    mode: "constant" (of `constant_values`, a number), or "edge", "reflect",
        "symmetric", "wrap", which repeat elements of x as NumPy's do.

    >>> tg.pad(tg.tensor([1.0, 2.0]), 1)
    tensor([0., 1., 2., 0.])
    """
    check_array("pad", x)
    widths = np.asarray(pad_width)
    fits = widths.shape in ((), (1,), (2,), (1, 2), (x.ndim, 1), (x.ndim, 2))
    if not fits or widths.dtype.kind not in "iu" or (widths < 0).any():
        raise ValueError(
            f"pad: pad_width was given as {pad_width!r}; expected integers >= 0: one, "
            f"a pair, or a pair for each of the {x.ndim} axes"
        )
    widths = np.broadcast_to(widths, (x.ndim, 2))
    widths = tuple((int(before), int(after)) for before, after in widths)
    if mode == "constant":
        return _pad(x, pad_width=widths, constant_values=constant_values)
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise ValueError(
            f"pad: mode was given as {mode!r}; expected 'constant', 'edge', 'reflect', "
            "'symmetric' or 'wrap'"
        )
    for axis, width in enumerate(widths):
        if width != (0, 0):
            order = np.pad(np.arange(x.shape[axis]), width, mode=mode)
            x = take(x, order.tolist(), axis)
    return x
