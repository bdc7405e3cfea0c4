"""The same values elsewhere: another dtype, another device, another piece of memory."""

from __future__ import annotations

from ..autograd import Variable, primitive
from ..autograd.core_ops import cast
from ..backends import backend_of, resolve_device
from ..backends.dtypes import as_dtype, is_floating


@primitive
def copy(x):
    """x in memory of its own. The gradient goes through.

    >>> tg.copy(tg.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return x.copy()


@copy.vjp("x")
def _(g):
    return g


@primitive(name="astype", differentiable=False)
def _to_integer(x, *, dtype):
    return x.astype(dtype)


def astype(x, dtype):
    """x with another dtype; x itself if it has it.

    Differentiable between floating dtypes; an integer or bool result has no graph.

    >>> tg.astype(tg.tensor([1.0, 2.5]), tg.int64)
    tensor([1, 2])
    """
    dtype = as_dtype(dtype)
    if dtype == x.dtype:
        return x
    return cast(x, dtype=dtype) if is_floating(dtype) else _to_integer(x, dtype=dtype)


@primitive(name="to_device")
def _to_device(x, *, device, origin):
    backend, name = resolve_device(device)
    here = backend_of(x)
    return backend.asarray(x if here is backend else here.to_host(x), device=name)


@_to_device.vjp("x")
def _(g, device, origin):
    return _to_device(g, device=origin, origin=device)


def to_device(x, device):
    """x on a device: "cpu", "cuda", "cuda:1"; x itself if it is there.

    Differentiable: the gradient comes back to x's device.

    >>> tg.to_device(tg.tensor([1.0]), "cpu").device
    'cpu'
    """
    array = x.array if isinstance(x, Variable) else x
    origin = backend_of(array).device_of(array)
    device = resolve_device(device)[1]
    return x if device == origin else _to_device(x, device=device, origin=origin)
