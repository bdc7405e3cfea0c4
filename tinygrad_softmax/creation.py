"""Functions that make tensors. Names are NumPy's; `device` says where."""

from __future__ import annotations

from typing import Any

import numpy as np

from .autograd import Variable, make_leaf
from .backends import backend_of, resolve_device, there
from .backends.dtypes import as_dtype, get_default_dtype, is_floating
from .backends.random import default_generator
from .tensor import Tensor


def tensor(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of `data`.

    data: a number, nested lists, an array, or a tensor (its values, not its graph).
    dtype: by default an array's own; the default dtype (float32) for Python floats,
        int64 for Python integers, bool for bools.
    device: "cpu", "cuda", "cuda:1"; by default where an array is, else the default.
    requires_grad: record what is done with it, for `backward`.

    Raises TypeError for complex numbers, strings and objects, ValueError for ragged
    lists, and RuntimeError for a device that is not there.

    >>> tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    tensor([[1., 2.],
            [3., 4.]])
    """
    array = _placed(data, dtype, device)
    if array is data or _may_share(data):
        with there(array):
            array = array.copy()
    return _finished(array, requires_grad)


def asarray(
    data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor over `data`: without a copy if it is an array as asked for.

    Writing to the array then changes the tensor. A tensor is returned as it is. Other
    data, dtypes and devices are as in `tensor`.

    >>> import numpy as np
    >>> a = np.zeros(2)
    >>> t = tg.asarray(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 0.], dtype=float64)
    """
    if isinstance(data, Tensor) and dtype is None and device is None:
        return data.requires_grad_() if requires_grad else data
    return _finished(_placed(data, dtype, device), requires_grad)


def _placed(data: Any, dtype: Any, device: str | None) -> Any:
    """`data` as a raw array of the dtype on the device, sharing memory if it can."""
    if isinstance(data, Variable):
        data = data.array
    dtype = None if dtype is None else as_dtype(dtype)
    if not hasattr(data, "dtype"):
        data = _from_python(data, dtype)
    as_dtype(data.dtype)  # complex, strings and objects end here
    if device is None and not isinstance(data, np.generic):
        backend = backend_of(data)
        if backend.name != "cpu":
            return backend.asarray(data, dtype, backend.device_of(data))
    backend, name = resolve_device(device)
    here = backend_of(data)
    if here is not backend:
        data = here.to_host(data)
    return backend.asarray(data, dtype, name)


def _from_python(data: Any, dtype: Any) -> np.ndarray:
    if isinstance(data, (list, tuple)):
        data = _unwrapped(data)
    try:
        array = np.array(data)
    except ValueError as error:
        raise ValueError(
            f"tensor: the nested lists are ragged ({error}); mend: give rows of equal "
            "lengths"
        ) from None
    if array.dtype.kind in "OSU":
        raise TypeError(
            f"tensor: {type(data).__name__} data became {array.dtype}; expected "
            "numbers or bools, in nested lists of equal lengths"
        )
    if dtype is None and array.dtype.kind == "f" and not _has_arrays(data):
        return array.astype(get_default_dtype())
    return array


def _unwrapped(data: Any) -> Any:
    """Nested lists with arrays on the host in place of tensors."""
    if isinstance(data, Variable):
        return backend_of(data.array).to_host(data.array)
    if isinstance(data, (list, tuple)):
        return [_unwrapped(each) for each in data]
    return data


def _has_arrays(data: Any) -> bool:
    """Whether nested lists hold arrays, whose dtype is kept, rather than floats."""
    if isinstance(data, (list, tuple)):
        return any(map(_has_arrays, data))
    return isinstance(data, (np.ndarray, np.generic))


def _may_share(data: Any) -> bool:
    return hasattr(data, "dtype") and not isinstance(data, np.generic)


def _finished(array: Any, requires_grad: bool) -> Tensor:
    result = Tensor(array)
    if requires_grad:
        make_leaf(result)
    return result


def from_dlpack(x: Any) -> Tensor:
    """A tensor over the memory of another library's array, through DLPack.

    x: an object with `__dlpack__`: a PyTorch, JAX, CuPy or NumPy array, on the CPU or a
        CUDA device.

    >>> import numpy as np
    >>> tg.from_dlpack(np.ones(2, np.float32))
    tensor([1., 1.])
    """
    if not hasattr(x, "__dlpack__"):
        raise TypeError(
            f"from_dlpack: a {type(x).__name__} has no __dlpack__; mend: tg.tensor(...)"
        )
    kind, index = x.__dlpack_device__()
    name = f"cuda:{index}" if kind == 2 else "cpu"  # kDLCUDA is 2 in DLPack
    backend, _ = resolve_device(name)
    return _placed_tensor(backend.xp.from_dlpack(x))


def _placed_tensor(array: Any) -> Tensor:
    as_dtype(array.dtype)
    return Tensor(array)


def _shape(shape: Any) -> tuple[int, ...]:
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"shape {shape} has a negative length")
    return shape


def _float(dtype: Any) -> Any:
    return get_default_dtype() if dtype is None else as_dtype(dtype)


def full(
    shape: Any,
    value: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value; its dtype is that of `tensor(value)` by default.

    >>> tg.full((2,), 7.0)
    tensor([7., 7.])
    """
    backend, name = resolve_device(device)
    if dtype is None:
        dtype = tensor(value, device="cpu").dtype
    value = value.item() if hasattr(value, "item") else value
    with backend.on(name):
        array = backend.xp.full(_shape(shape), value, as_dtype(dtype))
    return _finished(array, requires_grad)


def zeros(
    shape: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros, of the default dtype unless `dtype` says otherwise.

    >>> tg.zeros((2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    return full(shape, 0, _float(dtype), device, requires_grad)


def ones(
    shape: Any,
    dtype: Any = None,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones, of the default dtype unless `dtype` says otherwise.

    >>> tg.ones(3)
    tensor([1., 1., 1.])
    """
    return full(shape, 1, _float(dtype), device, requires_grad)


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of x's shape, dtype and device.

    >>> tg.zeros_like(tg.tensor([1, 2]))
    tensor([0, 0])
    """
    return full_like(x, 0, dtype, requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of x's shape, dtype and device.

    >>> tg.ones_like(tg.tensor([1, 2]))
    tensor([1, 1])
    """
    return full_like(x, 1, dtype, requires_grad)


def full_like(
    x: Any, value: Any, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value, of x's shape, dtype and device.

    >>> tg.full_like(tg.tensor([1.0, 2.0]), 7)
    tensor([7., 7.])
    """
    x = asarray(x)
    dtype = x.dtype if dtype is None else dtype
    return full(x.shape, value, dtype, x.device, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    k: int = 0,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """An n x m matrix (n x n by default) with ones on diagonal number k.

    >>> tg.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    backend, name = resolve_device(device)
    with backend.on(name):
        return Tensor(backend.xp.eye(n, m, k, dtype=_float(dtype)))


def arange(
    start: Any,
    stop: Any = None,
    step: Any = 1,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """Numbers from `start` (0 if only one is given) up to, without, `stop`.

    Integers give int64, floats the default dtype.

    >>> tg.arange(3), tg.arange(0.0, 1.0, 0.25)
    (tensor([0, 1, 2]), tensor([0.  , 0.25, 0.5 , 0.75]))
    """
    if stop is None:
        start, stop = 0, start
    host = np.arange(start, stop, step)
    if dtype is None:
        dtype = get_default_dtype() if is_floating(host.dtype) else np.dtype("int64")
    backend, name = resolve_device(device)
    return Tensor(backend.asarray(host.astype(as_dtype(dtype)), device=name))


def linspace(
    start: float,
    stop: float,
    num: int = 50,
    dtype: Any = None,
    device: str | None = None,
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, both included.

    >>> tg.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    backend, name = resolve_device(device)
    host = np.linspace(start, stop, num).astype(_float(dtype))
    return Tensor(backend.asarray(host, device=name))


def rand(*shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Uniform random numbers in [0, 1), from the default generator: `manual_seed`.

    >>> _ = tg.manual_seed(0)
    >>> tg.rand(2, 3).shape
    (2, 3)
    """
    return _random("random", shape, dtype, device)


def randn(*shape: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """Standard normal random numbers, from the default generator: `manual_seed`.

    >>> _ = tg.manual_seed(0)
    >>> tg.randn(2, 3).shape
    (2, 3)
    """
    return _random("standard_normal", shape, dtype, device)


def _random(method: str, shape: tuple, dtype: Any, device: str | None) -> Tensor:
    shape = _shape(shape[0] if len(shape) == 1 else shape)
    backend, name = resolve_device(device)
    with backend.on(name):
        native = default_generator.next(backend)
        drawn = getattr(native, method)(shape).astype(_float(dtype))
        return Tensor(backend.asarray(drawn))
