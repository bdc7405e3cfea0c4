"""A strict double of CuPy, over NumPy: for catching host/device mistakes without a GPU.

It computes what NumPy computes and refuses, or counts, what hurts on a GPU: mixing
with NumPy's arrays, implicit copies to the host, waiting for the device, functions and
keywords that CuPy 14 lacks, two devices in one operation. Integer arrays as indices
wrap where they are out of range, as CuPy's do; floating-point errors are silent. CUDA
kernels are compiled by g++ and run on the CPU: strict_kernels.py, cuda_shim/. Where
there is no g++, there is no RawModule, and the backend takes its reference kernels.
cuBLAS is in strict_cublas.py.

It says nothing about what a GPU would compute: no result of it is a result on a GPU.

    with strict_cuda() as cuda:
        x = tg.ones(3, device="cuda", requires_grad=True)
        with cuda.counting() as seen:
            (x * x).sum().backward()
        assert not seen.waits
"""

from __future__ import annotations

import linecache
import operator
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import cuda_shim
import numpy as np
import scipy.special
import strict_cublas
import strict_kernels

from tinygrad_softmax.backends import Backend, register_backend, registry
from tinygrad_softmax.backends import cupy as backend_module
from tinygrad_softmax.backends.cupy import make_backend

DEVICES = 2
CAPABILITY = "90"  # an H100's
SCALARS = (bool, int, float, complex, np.generic)

# What there is, as CuPy 14.2 has it: functions element by element, and functions with
# their parameters; those after a `*` can only be given by name.
UFUNCS = """
    abs absolute acos acosh add arccos arccosh arcsin arcsinh arctan arctan2 arctanh
    asin asinh atan atan2 atanh bitwise_and bitwise_or bitwise_xor cbrt ceil copysign
    cos cosh deg2rad divide equal exp exp2 expm1 fabs floor floor_divide fmax fmin fmod
    greater greater_equal heaviside hypot invert isfinite isinf isnan ldexp less
    less_equal log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not
    logical_or logical_xor maximum minimum mod multiply negative nextafter not_equal
    positive pow power rad2deg reciprocal remainder rint sign signbit sin sinh sqrt
    square subtract tan tanh true_divide trunc
"""
CREATING = """
    arange start stop step dtype
    eye N M k dtype order
    full shape fill_value dtype order
    linspace start stop num endpoint retstep dtype axis
    ones shape dtype order
    tri N M k dtype
    zeros shape dtype order
"""
TAKING_ARRAYS = """
    all a axis out keepdims
    amax a axis out keepdims
    amin a axis out keepdims
    any a axis out keepdims
    argmax a axis dtype out keepdims
    argmin a axis dtype out keepdims
    argsort a axis kind
    argwhere a
    broadcast_to array shape
    clip a a_min a_max out
    concatenate tup axis out * dtype casting
    count_nonzero a axis
    cumprod a axis dtype out
    cumsum a axis dtype out
    diagonal a offset axis1 axis2
    dot a b out
    einsum * optimize dtype
    expand_dims a axis
    flatnonzero a
    flip a axis
    full_like a fill_value dtype order subok shape
    max a axis out keepdims
    mean a axis dtype out keepdims
    min a axis out keepdims
    moveaxis a source destination
    nonzero a
    ones_like a dtype order subok shape
    outer a b out
    pad array pad_width mode constant_values
    prod a axis dtype out keepdims
    ravel a order
    repeat a repeats axis
    reshape a newshape order * copy
    roll a shift axis
    round a decimals out
    sort a axis kind
    squeeze a axis
    stack tup axis out * dtype casting
    std a axis dtype out ddof keepdims
    sum a axis dtype out keepdims
    swapaxes a axis1 axis2
    take a indices axis out
    take_along_axis a indices axis
    tensordot a b axes
    tile A reps
    trace a offset axis1 axis2 dtype out
    transpose a axes
    tril m k
    triu m k
    unique ar return_index return_inverse return_counts axis
    var a axis dtype out ddof keepdims
    zeros_like a dtype order subok shape
"""
METHODS = """
    all any argmax argmin argsort clip cumprod cumsum diagonal dot max mean min nonzero
    prod ravel repeat round squeeze std sum swapaxes take trace var
"""
SHARING_MEMORY = """
    broadcast_to diagonal expand_dims flip moveaxis ravel reshape squeeze swapaxes
    transpose
"""
NO_BFLOAT16 = "clip round tril triu"  # and where: they give float32
WAITING = "argwhere count_nonzero flatnonzero nonzero unique"
ADDED_ATOMICALLY = "int32 int64 float16 float32 float64 uint32 uint64"


class CUDARuntimeError(RuntimeError):
    """CuPy's error of the CUDA runtime."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


# -- what is counted -----------------------------------------------------------------


@dataclass
class Seen:
    """Where the device was waited for and where memory was copied, line by line.

    launches: the names of our kernels, in order; two of these are equal without them.
    """

    launches: list[str] = field(default_factory=list, compare=False)
    waits: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)


_PASSED_THROUGH = (__file__, backend_module.__file__)
_counters: list[Seen] = []
_thread = threading.local()


def _note(kind: str, what: str) -> None:
    """Write one event down, with the line that called this file or the backend."""
    if not _counters:
        return
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename in _PASSED_THROUGH:
        frame = frame.f_back
    name, line = frame.f_code.co_filename, frame.f_lineno
    text = f"{what} at {name}:{line}: {linecache.getline(name, line).strip()}"
    for counter in _counters:
        getattr(counter, kind).append(text)


def note_launch(name: str) -> None:
    """Write a kernel's launch down."""
    for counter in _counters:
        counter.launches.append(name)


# -- the array -----------------------------------------------------------------------


class ndarray:  # noqa: N801  (CuPy's name)
    """An array on a pretended device: holds a NumPy array, and is none."""

    __slots__ = ("__weakref__", "base", "device", "host")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray, device: int, base: ndarray | None) -> None:
        self.host, self.base, self.device = host, base, Device(device)

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    size = property(lambda self: self.host.size)
    dtype = property(lambda self: self.host.dtype)
    itemsize = property(lambda self: self.host.itemsize)
    nbytes = property(lambda self: self.host.nbytes)
    strides = property(lambda self: self.host.strides)
    flags = property(lambda self: self.host.flags)
    T = property(lambda self: self.transpose())
    data = property(lambda self: MemoryPointer(self))

    # What copies to the host, or waits.

    def get(self) -> np.ndarray:
        _note("waits", "get")
        _note("downloads", "get")
        return self.host.copy()

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kw: Any) -> Any:
        """An operator whose left side is a NumPy scalar, `np.float32(1) / x`."""
        known = ufunc.__name__ in _ufuncs and method == "__call__" and not kw
        return _ufuncs[ufunc.__name__](*inputs) if known else NotImplemented

    def __array_function__(self, func: Any, *rest: Any) -> Any:
        raise TypeError(f"np.{func.__name__} was called with an array of the device")

    def __repr__(self) -> str:
        return f"strict_cupy.ndarray({self.host!r}, device={self.device.id})"

    # Indexing.

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[ndarray]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> ndarray:
        parts, advanced = _index(self, index)
        if not advanced:
            return _view(self.host[parts], self)
        _check_devices([self])
        return _new(np.array(self.host[parts]))

    def __setitem__(self, index: Any, value: Any) -> None:
        parts, _ = _index(self, index)
        _check_devices([self, *_arrays([value])])
        with np.errstate(all="ignore"):
            self.host[parts] = _host(value)

    # Shapes, copies and the rest.

    def reshape(self, *shape: Any) -> ndarray:
        shape = shape[0] if len(shape) == 1 else shape
        return _view(self.host.reshape(shape), self)

    def transpose(self, *axes: Any) -> ndarray:
        return _view(self.host.transpose(*axes), self)

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        _check_devices([self])
        with np.errstate(all="ignore"):
            return _new(self.host.astype(dtype))

    def copy(self, order: str = "C") -> ndarray:
        """A copy on the current device, as CuPy's is, wherever this array lives."""
        if self.device.id != _current():
            _copy_between_devices(self)
        return _new(self.host.copy(order))

    def flatten(self) -> ndarray:
        return _new(self.host.flatten())

    def view(self, dtype: Any = None) -> ndarray:
        return _view(self.host.view(dtype or self.dtype), self)

    def fill(self, value: Any) -> None:
        self[...] = value

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Copy a host array here; only from page-locked memory without a wait."""
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype:
            raise TypeError(f"{arr!r} cannot be set to a {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"shape mismatch: {arr.shape}, {self.shape}")
        _check_devices([self])
        _note("uploads", "set")
        if not isinstance(arr.base, PinnedMemory):
            _note("waits", "set from pageable memory")
        self.host[...] = arr

    def scatter_add(self, index: Any, value: Any) -> None:
        _add_at(self, index, value)


class MemoryPointer:
    """Where an array begins."""

    def __init__(self, array: ndarray) -> None:
        self.array, self.ptr = array, array.host.__array_interface__["data"][0]
        _remember(self.ptr, array)


def _remember(address: int, array: ndarray) -> None:
    def forget(gone: weakref.ref[ndarray]) -> None:
        if addresses.get(address) is gone:
            del addresses[address]

    addresses[address] = weakref.ref(array, forget)


addresses: dict[int, weakref.ref[ndarray]] = {}  # where arrays are that were asked


def owner_of(address: int) -> tuple[np.ndarray, ndarray]:
    """The memory that has an address, as an array, and an array in it.

    Known are the arrays whose `data` was asked for, and what they are views of.
    """
    known = [addresses.get(address), *list(addresses.values())]
    for array in (each() for each in known if each is not None):
        if array is None:
            continue
        owner = array.host
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        low, high = np.lib.array_utils.byte_bounds(owner)
        if low <= address < high:
            return owner, array
    raise CUDARuntimeError(700, f"an illegal memory access: {address:#x} is no array's")


def _new(host: Any) -> ndarray:
    """A result, on the current device; NumPy's scalars become 0-d arrays."""
    return ndarray(np.asarray(host), _current(), None)


def _view(host: np.ndarray, of: ndarray) -> ndarray:
    """A result that may share memory, on the device of what it shares it with."""
    host, base = np.asarray(host), of if of.base is None else of.base
    if not np.may_share_memory(host, of.host):
        return ndarray(host, of.device.id, None)
    return ndarray(host, of.device.id, base)


def _arrays(values: Any) -> Iterator[ndarray]:
    """The arrays among some arguments; a NumPy array there is an error."""
    for value in values:
        if isinstance(value, ndarray):
            yield value
        elif isinstance(value, np.ndarray):
            raise TypeError(f"Unsupported type {type(value)}")
        elif isinstance(value, (list, tuple)):
            yield from _arrays(value)


def _host(value: Any) -> Any:
    """Arguments for NumPy."""
    if isinstance(value, ndarray):
        return value.host
    if isinstance(value, (list, tuple)):
        return type(value)(_host(each) for each in value)
    return value


def _copy_between_devices(array: ndarray) -> None:
    """What CuPy leaves to its caller, when an array is copied to the current device."""
    if not array.flags.c_contiguous and not array.flags.f_contiguous:
        raise NotImplementedError(
            "CuPy cannot copy non-contiguous array between devices."
        )
    recorded = _current_stream(array.device.id).events[-1:]
    if not recorded or recorded[0] not in _current_stream().waited:
        raise AssertionError("the copy may begin before the array is computed")


def _check_devices(arrays: Any) -> None:
    for array in arrays:
        if array.device.id != _current():
            raise ValueError(
                f"The device where the array resides ({array.device.id}) is different "
                f"from the current device ({_current()}). Peer access is unavailable "
                "between these devices."
            )


def _index(array: ndarray, index: Any) -> tuple[tuple, bool]:
    """An index for NumPy, with integer arrays wrapped; and whether there are arrays."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(isinstance(part, list) for part in parts):
        parts = [_asarray(p) if isinstance(p, list) else p for p in parts]
    _check_devices(_arrays(parts))
    used = sum(_axes(part) for part in parts)
    axis, advanced, result = 0, False, []
    for part in parts:
        if part is Ellipsis:
            axis += array.ndim - used
        elif isinstance(part, ndarray):
            advanced = True
            if part.dtype.kind == "b":
                _note("waits", "a boolean mask")
            elif part.dtype.kind not in "iu":
                raise IndexError("arrays used as indices must be integers or bools")
            elif axis < array.ndim and array.shape[axis]:
                part = _new(np.asarray(part.host % array.shape[axis]))
        elif part is not None and not isinstance(part, slice):
            part = operator.index(part)
        axis += _axes(part)
        result.append(_host(part))
    return tuple(result), advanced


def _axes(part: Any) -> int:
    """How many axes a part of an index is for."""
    if part is None or part is Ellipsis:
        return 0
    is_mask = isinstance(part, ndarray) and part.dtype.kind == "b"
    return part.ndim if is_mask else 1


def _add_at(array: ndarray, index: Any, value: Any) -> None:
    parts, advanced = _index(array, index)
    _check_devices([array, *_arrays([value])])
    if advanced and array.dtype.name not in ADDED_ATOMICALLY.split():
        raise TypeError(f"cupy.add.at only supports {ADDED_ATOMICALLY} as data type")
    with np.errstate(all="ignore"):
        np.add.at(array.host, parts, np.asarray(_host(value)).astype(array.dtype))


# -- the functions -------------------------------------------------------------------


class ufunc:  # noqa: N801  (CuPy's name)
    """A function of one or two arrays or numbers, element by element."""

    def __init__(self, name: str) -> None:
        self.__name__, self.function = name, getattr(np, name)

    def __call__(
        self,
        *inputs: Any,
        out: Any = None,
        casting: Any = "same_kind",
        dtype: Any = None,
    ) -> ndarray:
        for value in inputs:
            if not isinstance(value, (ndarray, *SCALARS)):
                raise TypeError(f"Unsupported type {type(value)}")
        _check_devices(_arrays([*inputs, out]))
        kw = {} if out is None else {"out": out.host}
        with np.errstate(all="ignore"):
            result = self.function(
                *map(_host, inputs), casting=casting, dtype=dtype, **kw
            )
        return _new(result) if out is None else out

    def at(self, array: ndarray, index: Any, value: Any) -> None:
        if self.__name__ != "add":
            raise NotImplementedError(f"`{self.__name__}.at` is not supported yet")
        _add_at(array, index, value)


_ufuncs = {name: ufunc(name) for name in UFUNCS.split()}


def _function(line: str, creates: bool) -> tuple[str, Callable]:
    """NumPy's function of that name, with CuPy's parameters."""
    name, *parameters = line.split()
    by_place = parameters.index("*") if "*" in parameters else len(parameters)
    numpys = getattr(np, name)

    def function(*args: Any, **kw: Any) -> Any:
        if not set(kw) <= set(parameters) or (
            len(args) > by_place and name != "einsum"
        ):
            raise TypeError(f"cupy.{name} takes ({', '.join(parameters)}), not {kw}")
        if kw.get("kind") not in (None, "stable"):
            raise ValueError("only kind='stable' is supported")
        arrays, out = list(_arrays([*args, *kw.values()])), kw.get("out")
        if not arrays and not creates:
            raise TypeError(f"cupy.{name} takes an array of CuPy, not {type(args[0])}")
        if name in ("argsort", "sort") and arrays[0].dtype == _bfloat16():
            raise NotImplementedError("Sorting arrays with dtype 'bfloat16'")
        if name in WAITING.split() or (name == "repeat" and len(arrays) > 1):
            _note("waits", name)
        kw = {key: _host(value) for key, value in kw.items()}
        if name in SHARING_MEMORY.split():
            return _view(numpys(*map(_host, args), **kw), arrays[0])
        _check_devices(arrays)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "mean of empty slice"
            result = numpys(*map(_host, args), **kw)
        if name in NO_BFLOAT16.split() and arrays[0].dtype == _bfloat16():
            result = result.astype("float32")
        if isinstance(result, tuple):
            return tuple(map(_new, result))
        return _new(result) if out is None else out

    return name, function


def _where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    """CuPy's `where` has no version for bfloat16 and makes float32 of it."""
    if x is None or y is None:
        return condition.nonzero()
    _check_devices(_arrays([condition, x, y]))
    if isinstance(condition, bool):
        raise AttributeError("'bool' object has no attribute 'astype'")
    x, y = (
        each.astype("float32") if getattr(each, "dtype", None) == _bfloat16() else each
        for each in (x, y)
    )
    return _new(np.where(_host(condition), _host(x), _host(y)))


def _bfloat16() -> Any:
    """The dtype, if ml_dtypes was imported; else something that no dtype equals."""
    module = sys.modules.get("ml_dtypes")
    return object() if module is None else np.dtype(module.bfloat16)


def _matmul(a: ndarray, b: ndarray, *, out: Any = None, dtype: Any = None) -> ndarray:
    arrays = list(_arrays([a, b]))
    _check_devices(arrays)
    if max(a.ndim, b.ndim) > 2 and any(x.dtype == _bfloat16() for x in arrays):
        raise TypeError("the batched product does not support bfloat16")
    with np.errstate(all="ignore"):
        result = np.matmul(a.host, b.host)
    if out is not None:
        _check_devices([a, out])
        np.copyto(out.host, result, casting="same_kind")
        return out
    return _new(np.asarray(result, np.promote_types(a.dtype, b.dtype)))


def _copyto(
    dst: ndarray, src: Any, casting: str = "same_kind", where: ndarray | None = None
) -> None:
    _check_devices(_arrays([dst, src, where]))
    mask = True if where is None else where.host
    np.copyto(dst.host, _host(src), casting=casting, where=mask)


def _asarray(
    a: Any,
    dtype: Any = None,
    order: Any = None,
    *,
    copy: Any = None,
    blocking: Any = False,
) -> ndarray:
    """A list or NumPy array is copied to the current device; so is another device's."""
    if isinstance(a, ndarray):
        if a.device.id != _current():
            a = a.copy()
        return a if dtype is None else a.astype(dtype, copy=False)
    host = np.array(a, dtype=dtype)
    if host.ndim:  # (a number is an argument of a kernel)
        _note("uploads", "asarray")
    return _new(host)


def _array(obj: Any, dtype: Any = None, copy: Any = True, order: str = "K") -> ndarray:
    result = _asarray(obj, dtype)
    return result.copy() if copy and result is obj else result


def _ascontiguousarray(a: ndarray, dtype: Any = None) -> ndarray:
    """The array itself, if it is; else a copy on the current device. Of one without
    axes a view with one."""
    a = _asarray(a, dtype)
    if a.flags.c_contiguous:
        return a if a.ndim else a.reshape(1)
    _check_devices([a])
    return _new(np.ascontiguousarray(a.host))


def _empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Memory with the worst that could be in it."""
    host = np.empty(shape, dtype)
    kind = host.dtype.kind
    host.fill(True if kind == "b" else np.iinfo(dtype).max if kind in "iu" else np.nan)
    return _new(host)


# -- devices -------------------------------------------------------------------------


def _current() -> int:
    return getattr(_thread, "device", 0)


class Device:
    """A device; as a context, the current one."""

    def __init__(self, device: int | None = None) -> None:
        self.id = _current() if device is None else int(device)

    def __enter__(self) -> Device:
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError(101, "cudaErrorInvalidDevice")
        _thread.before = [*getattr(_thread, "before", []), _current()]
        _thread.device = self.id
        return self

    def __exit__(self, *exc: object) -> None:
        _thread.device = _thread.before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]

    @property
    def attributes(self) -> dict[str, int]:
        """Some of what CuPy tells, without `cudaDevAttr` in front; CuPy asks the driver
        for a hundred of them each time."""
        return dict(strict_kernels.ATTRIBUTES)

    def synchronize(self) -> None:
        _note("waits", "synchronize")


class Event:
    """A mark in a stream; `done` once the program has come by, when a test says so.

    stream: where it was recorded.
    """

    def __init__(self, stream: Stream) -> None:
        self.done, self.stream = False, stream


class Stream:
    """A stream; as a context, the current one of its thread and of its device.

    waited: the events that it was told to wait for, in order.
    """

    def __init__(self, null: bool = False) -> None:
        self.events: list[Event] = []
        self.waited: list[Event] = []
        self.device_id = -1 if null else _current()
        self.capturing = False

    def __enter__(self) -> Stream:
        if self.device_id not in (-1, _current()):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not "
                f"match with the current device ({_current()})"
            )
        stack = [*getattr(_thread, "streams", []), (_current(), self)]
        _thread.streams = stack
        return self

    def __exit__(self, *exc: object) -> None:
        device, _ = _thread.streams.pop()
        assert device == _current(), "CuPy resets the stream of the current device"

    def record(self) -> Event:
        if self.device_id not in (-1, _current()):
            raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle")
        self.events.append(Event(self))
        return self.events[-1]

    def wait_event(self, event: Event) -> None:
        if self.capturing != event.stream.capturing:
            raise CUDARuntimeError(905, "cudaErrorStreamCaptureIsolation")
        self.waited.append(event)

    def begin_capture(self, mode: Any = None) -> None:
        """From here on (here: all the same) what is launched goes into a graph."""
        self.capturing = True

    def end_capture(self) -> None:
        self.capturing = False

    def is_capturing(self) -> bool:
        return self.capturing


_null_streams = [Stream(null=True) for _ in range(DEVICES)]


def _current_stream(device_id: int = -1) -> Stream:
    device = _current() if device_id == -1 else device_id
    entered = [s for d, s in getattr(_thread, "streams", []) if d == device]
    return entered[-1] if entered else _null_streams[device]


class Pool:
    """CuPy's memory pool: it is asked about the current device."""

    def __init__(self) -> None:
        self.freed: list[int] = []  # the devices whose blocks were given back

    def used_bytes(self) -> int:
        return 1 + _current() << 20

    def total_bytes(self) -> int:
        return 1 + _current() << 21

    def free_all_blocks(self) -> None:
        self.freed.append(_current())


def _properties(device: int) -> dict[str, Any]:
    numbers = {"major": 9, "minor": 0, "multiProcessorCount": 132}
    sizes = {"totalGlobalMem": 1 + device << 32, "l2CacheSize": 50 << 20}
    return {"name": f"Double {device}".encode(), **numbers, **sizes}


class PinnedMemory(bytearray):
    """Page-locked host memory."""


class Generator:
    """CuPy's random generator, with NumPy's numbers."""

    def __init__(self, bit_generator: np.random.SeedSequence) -> None:
        self.native, self.device = np.random.default_rng(bit_generator), _current()

    def random(self, size: Any = None, dtype: Any = np.float64) -> ndarray:
        return _new(self.native.random(size, dtype))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> ndarray:
        return _new(self.native.standard_normal(size, dtype))

    def integers(self, low: int, high: int | None = None, size: Any = None) -> ndarray:
        return _new(self.native.integers(low, high, size))


# -- operators and modules -----------------------------------------------------------

_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
}
_COMPARISONS = {
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _operator(function: Callable, order: int = 1, in_place: bool = False) -> Callable:
    def method(self: ndarray, other: Any) -> Any:
        if not isinstance(other, (ndarray, np.ndarray, *SCALARS)):
            return NotImplemented  # such as a Tensor, which knows better
        pair = (self, other)[::order]
        return function(*pair, out=self) if in_place else function(*pair)

    return method


for _name, _ufunc in _OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufuncs[_ufunc]))
    setattr(ndarray, f"__r{_name}__", _operator(_ufuncs[_ufunc], order=-1))
    setattr(ndarray, f"__i{_name}__", _operator(_ufuncs[_ufunc], in_place=True))
for _name, _ufunc in _COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", _operator(_ufuncs[_ufunc]))
for _name, _ufunc in _UNARY.items():
    setattr(ndarray, f"__{_name}__", lambda self, f=_ufuncs[_ufunc]: f(self))
ndarray.__matmul__ = _operator(_matmul)  # type: ignore[attr-defined]


def make_modules() -> tuple[ModuleType, SimpleNamespace]:
    """The doubles of the modules cupy and cupyx."""
    cupy, functions = ModuleType("cupy"), dict[str, Any](_ufuncs)
    for creates, table in ((True, CREATING), (False, TAKING_ARRAYS)):
        functions |= dict(
            _function(each, creates) for each in table.strip().split("\n")
        )
    functions |= {"where": _where, "matmul": _matmul, "copyto": _copyto}
    functions |= {"array": _array, "asarray": _asarray, "empty": _empty}
    functions["ascontiguousarray"] = _ascontiguousarray
    if cuda_shim.available():
        functions |= {
            name: getattr(strict_kernels, name) for name in ("RawKernel", "RawModule")
        }
    functions["empty_like"] = lambda a, dtype=None: _empty(a.shape, dtype or a.dtype)
    functions["result_type"] = lambda *values: np.result_type(*map(_host, values))
    functions |= {"inf": np.inf, "nan": np.nan, "pi": np.pi, "newaxis": None}
    functions |= {"ndarray": ndarray, "ufunc": ufunc, "__version__": "14.2.0"}
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        CUDA_R_16BF=14,
        CUDA_R_16F=2,
        CUDA_R_32F=0,
        CUDA_R_64F=1,
        getDevice=_current,
        getDeviceCount=lambda: DEVICES,
        getDeviceProperties=_properties,
        memGetInfo=lambda: (3 << 30, 1 + _current() << 32),
        runtimeGetVersion=lambda: 13020,
    )
    pool, pinned_pool = Pool(), Pool()
    vars(cupy).update(
        functions,
        cuda=SimpleNamespace(
            Device=Device,
            Stream=Stream,
            alloc_pinned_memory=PinnedMemory,
            get_current_stream=_current_stream,
            get_cublas_handle=lambda: strict_cublas.get_cublas_handle(),
            cublas=strict_cublas,
            device=SimpleNamespace(get_compute_capability=lambda: CAPABILITY),
            is_available=lambda: True,
            runtime=runtime,
        ),
        random=SimpleNamespace(Generator=Generator, Philox4x3210=lambda seed: seed),
        get_default_memory_pool=lambda: pool,
        get_default_pinned_memory_pool=lambda: pinned_pool,
    )
    special = SimpleNamespace(erf=_special("erf"), erfc=_special("erfc"))
    scipys = SimpleNamespace(special=special)
    return cupy, SimpleNamespace(scatter_add=_add_at, scipy=scipys)


def _special(name: str) -> Callable:
    def function(x: ndarray) -> ndarray:
        _check_devices([x])
        wide = np.float64 if x.dtype == np.float16 else x.dtype
        return _new(getattr(scipy.special, name)(x.host.astype(wide)))

    return function


def _method(name: str, function: Callable) -> Callable:
    def method(self: ndarray, *args: Any, **kw: Any) -> Any:
        return function(self, *args, **kw)

    method.__name__ = name
    return method


for _name in METHODS.split():
    setattr(ndarray, _name, _method(_name, vars(make_modules()[0])[_name]))


# -- registering it as "cuda" ----------------------------------------------------------


class StrictCuda:
    """What `strict_cuda` gives: the backend, and a way to count."""

    def __init__(self, backend: Backend) -> None:
        self.backend, self.xp, self.array_type = backend, backend.xp, ndarray

    @contextmanager
    def counting(self) -> Iterator[Seen]:
        """A context whose value knows, as it grows, what was waited for and copied."""
        seen = Seen()
        _counters.append(seen)
        try:
            yield seen
        finally:
            _counters.remove(seen)


@contextmanager
def strict_cuda() -> Iterator[StrictCuda]:
    """A context in which device="cuda" is this double; two devices are there."""
    tables: list[Any] = [registry._by_name, registry._by_type]
    tables.append(registry.several_devices)
    before = [table.copy() for table in tables]
    backend = make_backend(*make_modules())
    register_backend(backend, ndarray)
    try:
        yield StrictCuda(backend)
    finally:
        _thread.__dict__.clear()
        for table, old in zip(tables, before, strict=True):
            table.clear()
            table.update(old)
