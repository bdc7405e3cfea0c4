"""Picking elements, putting them back, and putting them in order.

An index is what NumPy takes: integers, slices, `...`, None, integer arrays and bool
masks, also as tensors. Slices share memory with their input, as in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Variable, primitive
from ..backends import backend_of, check_devices, namespace, numbers_there
from ..backends.registry import several_devices
from .axes import check_axis
from .comparisons import argsort
from .shaping import moveaxis, reshape


@primitive(name="getitem")
def _getitem(x, *, index):
    return x[index]


@_getitem.vjp("x")
def _(g, x_shape, index):
    return _scatter(g, index=index, shape=x_shape)


@primitive(name="scatter")
def _scatter(x, *, index, shape):
    """Zeros of `shape`, with x added at `index`: getitem reversed."""
    out = namespace(x).zeros(shape, x.dtype)
    _add_at(out, index, x)
    return out


@_scatter.vjp("x")
def _(g, x_shape, index):
    return _getitem(g, index=index)


def _add_at(out: Any, index: Any, values: Any) -> None:
    """out[index] += values; elements that are named twice get both."""
    if _may_repeat(index):
        backend_of(out).scatter_add(out, index, values)
    else:
        out[index] += values


def _may_repeat(index: Any) -> bool:
    """Whether an index holds integer arrays, which may name an element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(hasattr(p, "dtype") and p.dtype.kind in "iu" and p.ndim for p in parts)


def plain_index(index: Any, x: Any) -> Any:
    """An index with raw arrays in place of tensors and lists, on x's device."""
    if isinstance(index, tuple):
        return tuple(plain_index(part, x) for part in index)
    array = getattr(x, "array", x)
    if isinstance(index, Variable) or type(index) in several_devices:
        index = getattr(index, "array", index)
        check_devices("getitem", array, index, ("the tensor", "the index"))
    elif isinstance(index, list) or (
        isinstance(index, np.ndarray) and not isinstance(array, np.ndarray)
    ):
        backend, host = backend_of(array), np.asarray(index)
        host = host if host.size else host.astype(np.int64)
        index = backend.asarray(host, device=backend.device_of(array))
    if getattr(index, "dtype", None) is not None and index.dtype.kind not in "iub":
        raise IndexError(
            f"getitem: an index of dtype {index.dtype} was given; expected integers, "
            "bools, slices, None or ...; mend: index.astype(int)"
        )
    if isinstance(index, (np.ndarray, np.generic)) and not index.ndim:
        return index if index.dtype.kind == "b" else int(index)
    return index  # (on a GPU an integer stays there: int() would wait for it)


def getitem(x, index):
    """x[index].

    >>> tg.arange(6.0)[1:4]
    tensor([1., 2., 3.])
    """
    return _getitem(x, index=plain_index(index, x))


@primitive(name="index_add")
def _index_add(x, values, *, index):
    out = x.copy()
    _add_at(out, index, values)
    return out


@_index_add.vjp("x")
def _(g):
    return g


@_index_add.vjp("values")
def _(g, index):
    return _getitem(g, index=index)


def index_add(x, index, values):
    """A copy of x with `values` added at `index`; an element named twice gets both.

    values: a tensor, array or number that broadcasts to the shape of x[index].

    >>> tg.index_add(tg.zeros(3), [0, 0, 2], 1.0)
    tensor([2., 0., 1.])
    """
    return _index_add(x, values, index=plain_index(index, x))


@primitive(name="index_update")
def _index_update(x, values, *, index):
    out = x.copy()
    out[index] = values
    return out


@_index_update.vjp("x")
def _(g, index):
    return _index_update(g, 0.0, index=index)


@_index_update.vjp("values")
def _(g, x_shape, index):
    # Where an element is named twice, only the value that stayed gets its gradient.
    picked = _getitem(g, index=index)
    return picked * _stayed(picked, index=index, shape=x_shape)


@primitive(differentiable=False)
def _stayed(picked, *, index, shape):
    """1 for each value that an update at `index` leaves in place, else 0."""
    xp = namespace(picked)
    if not _may_repeat(index):
        return xp.ones_like(picked)
    order = xp.arange(picked.size).reshape(picked.shape)
    last = xp.full(shape, -1)
    last[index] = order
    return (last[index] == order).astype(picked.dtype)


def index_update(x, index, values):
    """A copy of x with `values` at `index`: what x[index] = values would make of it.

    values: a tensor, array or number that broadcasts to the shape of x[index]. Where an
        element is named twice the last value stays (on a GPU: one of them), and only
        that one gets a gradient.

    >>> tg.index_update(tg.zeros(3), 1, 5.0)
    tensor([0., 5., 0.])
    """
    return _index_update(x, values, index=plain_index(index, x))


def take(x, indices, axis=None):
    """The elements at `indices` along an axis (None: of the flattened array).

    Returns shape x.shape[:axis] + indices.shape + x.shape[axis + 1:].

    >>> tg.take(tg.tensor([1.0, 2.0, 3.0]), [2, 0])
    tensor([3., 1.])
    """
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = check_axis("take", axis, x)
    return _getitem(x, index=(slice(None),) * axis + (plain_index(indices, x),))


def take_along_axis(x, indices, axis=-1):
    """The elements of x at `indices` along an axis, row by row.

    indices: integers, with as many axes as x; the other axes broadcast.

    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> tg.take_along_axis(x, tg.tensor([[0], [1]]), axis=1)
    tensor([[1.],
            [4.]])
    """
    axis = check_axis("take_along_axis", axis, x)
    indices = plain_index(indices, x)
    if getattr(indices, "ndim", 0) != x.ndim:
        raise ValueError(
            f"take_along_axis: the indices have shape {getattr(indices, 'shape', ())}, "
            f"but x has shape {x.shape}; mend: give them as many axes"
        )
    index = []
    for i, n in enumerate(x.shape):
        open_shape = [1] * x.ndim
        open_shape[i] = n
        places = indices if i == axis else numbers_there(indices, n).reshape(open_shape)
        index.append(places)
    return _getitem(x, index=tuple(index))


def diagonal(x, offset=0, axis1=0, axis2=1):
    """The diagonal of two axes, as a new last axis.

    offset: 0 for the main diagonal, positive above it, negative below.

    >>> tg.diagonal(tg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    axis1, axis2 = check_axis("diagonal", axis1, x), check_axis("diagonal", axis2, x)
    if axis1 == axis2:
        raise ValueError(f"diagonal: axis1 and axis2 are both {axis1}; give two axes")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    n = max(0, min(x.shape[-2] + min(offset, 0), x.shape[-1] - max(offset, 0)))
    array, starts = getattr(x, "array", x), (max(-offset, 0), max(offset, 0))
    return _getitem(x, index=(..., *(numbers_there(array, n, i) for i in starts)))


def sort(x, axis=-1, descending=False):
    """x in order along an axis. The gradient goes back to where each element came from.

    Equal elements keep their order; nan comes last (first if descending).

    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]))
    tensor([1., 2., 3.])
    """
    axis = check_axis("sort", axis, x)
    return take_along_axis(x, argsort(x, axis, descending), axis)
