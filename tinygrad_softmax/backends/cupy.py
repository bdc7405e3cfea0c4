"""The CUDA backend: CuPy's arrays and functions, and CUDA kernels.

The kernels are in cuda/*.cu, launched by the cupy_*.py beside this file; what has none
is done by the reference kernels of base.py.

Nothing here waits for the GPU but `to_host`, `synchronize` and the one check at the
start. `make_backend` imports CuPy; it is called when "cuda" is first asked for.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np

from .base import Array
from .cuda.kernels import Kernels
from .cupy_activations import CudaActivations
from .cupy_attention import CudaAttention
from .cupy_casts import CudaCasts
from .cupy_channels import CudaChannels
from .cupy_checks import check, imported
from .cupy_convolutions import CudaConvolutions
from .cupy_cross_entropy import CudaCrossEntropy
from .cupy_dropout import CudaDropout
from .cupy_labels import BadLabels
from .cupy_norms import CudaNorms
from .cupy_optimizers import CudaOptimizers
from .cupy_scatter import CudaScatter
from .cupy_softmax import CudaSoftmax
from .dtypes import float32, is_floating, is_half
from .targets import LabelError, label_error


class CupyBackend(
    CudaCrossEntropy,
    CudaSoftmax,
    CudaNorms,
    CudaChannels,
    CudaConvolutions,
    CudaAttention,
    CudaScatter,
    CudaOptimizers,
    CudaActivations,
    CudaDropout,
    CudaCasts,
):
    """Arrays in the memory of CUDA devices, computed by CuPy.

    cupy: the module. cupyx: its companion; by default imported when first needed.

    CuPy wraps an index that is out of range in an integer array, where NumPy raises.
    """

    name = "cuda"

    def __init__(self, cupy: Any, cupyx: Any = None) -> None:
        self.xp = _Namespace(cupy)
        self.array_type = cupy.ndarray
        self._cupyx = cupyx
        if hasattr(cupy, "RawModule"):  # (a double of CuPy may lack a compiler)
            self.kernels = Kernels(cupy)
        self.bad_label_records = BadLabels(cupy)
        self._uploading: list[tuple[Any, np.ndarray]] = []  # (event, pinned array)
        self._lock = threading.Lock()  # over it: two threads may upload

    # -- placement ---------------------------------------------------------------

    def device_count(self) -> int:
        """How many CUDA devices this process sees."""
        return self.xp.cuda.runtime.getDeviceCount()

    def device_name(self, index: int | None = None) -> str:
        """ "cuda:1" for device number 1; the current device for None."""
        if index is None:
            return f"cuda:{self.xp.cuda.runtime.getDevice()}"
        count = self.device_count()
        if index >= count:
            there = "is 1 CUDA device, 'cuda:0'"
            if count > 1:
                there = f"are {count} CUDA devices, 'cuda:0' to 'cuda:{count - 1}'"
            raise ValueError(
                f"device 'cuda:{index}' was asked for, but there {there}; mend: "
                "device='cuda'"
            )
        return f"cuda:{index}"

    def device_of(self, array: Array) -> str:
        """The device string of the device that holds `array`."""
        return f"cuda:{array.device.id}"

    def on(self, device: str) -> AbstractContextManager:
        """A context in which new arrays are made on `device`."""
        index = device.partition(":")[2]
        return self.xp.cuda.Device(int(index) if index else None)

    def asarray(self, data: Any, dtype: Any = None, device: str | None = None) -> Array:
        """`data` (a host array, a nested list, a CuPy array) on `device`.

        An array of CuPy stays where it is unless `device` says otherwise; other data
        goes to the current device. Nothing is waited for.
        """
        if isinstance(data, self.array_type):
            if dtype is not None and data.dtype != dtype:
                with data.device:
                    data = data.astype(dtype)
            chosen: Any = None if device is None else self.on(device)
            if device is None or chosen.id == data.device.id:
                return data
            return self._from_another(data, device)
        with nullcontext() if device is None else self.on(device):
            return self.xp.asarray(data, dtype=dtype)

    def _from_another(self, array: Array, device: str) -> Array:
        """A copy on `device` of an array of another one.

        The current streams of the two wait for each other: the copy begins when the
        array is computed, and the array's memory is used anew when it is copied. CuPy
        sees to neither, and can't copy what isn't contiguous.
        """
        cuda = self.xp.cuda
        with array.device:
            if not array.flags.c_contiguous:
                array = array.copy()
            origin = cuda.get_current_stream()
            computed = origin.record()
        with self.on(device):
            stream = cuda.get_current_stream()
            stream.wait_event(computed)
            result = self.xp.asarray(array)
            copied = stream.record()
        with array.device:
            origin.wait_event(copied)
        return result

    def pinned(self, array: np.ndarray) -> np.ndarray:
        """A copy in page-locked memory, of CuPy's pool."""
        memory = self.xp.cuda.alloc_pinned_memory(max(1, array.nbytes))
        copy = np.ndarray(array.shape, array.dtype, memory)
        copy[...] = array
        return copy

    def upload(self, array: np.ndarray, device: str) -> Array:
        """What `pinned` returned, on `device`; copied by the current stream.

        The host array is kept until the copy is done: its memory would go back to the
        pool, and be written to, at once.
        """
        with self.on(device):
            result = self.xp.empty(array.shape, array.dtype)
            result.set(array)
            event = self.xp.cuda.get_current_stream().record()
        with self._lock:
            self._forget_uploaded()
            self._uploading.append((event, array))
        return result

    def _forget_uploaded(self) -> None:
        """Let go of the host arrays that have been copied."""
        self._uploading = [each for each in self._uploading if not each[0].done]

    def for_another_thread(self) -> AbstractContextManager:
        """This thread's current device, and its current stream of every device."""
        cuda = self.xp.cuda
        count = self.device_count()
        streams = [cuda.get_current_stream(index) for index in range(count)]
        return _current(cuda, cuda.Device(), streams)

    def to_host(self, array: Array) -> np.ndarray:
        """A copy as a `numpy.ndarray`.

        Waits until it is computed. If a bad label was met meanwhile (`check_labels`),
        raises its IndexError, once.
        """
        host = array.get() if isinstance(array, self.array_type) else np.asarray(array)
        self.bad_label_records.raise_first()
        return host

    def synchronize(self, device: str | None = None) -> None:
        """Wait until a device (the current one) has done what was asked of it."""
        with self.on(device or self.name) as chosen:
            chosen.synchronize()

    def memory_stats(self, device: str | None = None) -> dict[str, int]:
        """Bytes of a device (the current one).

        pool_used: in arrays. pool_total: held by CuPy, which keeps what arrays gave
        back. device_used, device_total: of the whole device, by all its programs.
        """
        with self.on(device or self.name):  # which CuPy's pool is asked about
            pool = self.xp.get_default_memory_pool()
            free, total = self.xp.cuda.runtime.memGetInfo()
            return {
                "pool_used": pool.used_bytes(),
                "pool_total": pool.total_bytes(),
                "device_used": total - free,
                "device_total": total,
            }

    def empty_cache(self) -> None:
        """Give back what CuPy's pools of every device, and of the host, keep unused."""
        for index in range(self.device_count()):
            with self.xp.cuda.Device(index):
                self.xp.get_default_memory_pool().free_all_blocks()
        with self._lock:
            self._forget_uploaded()
        self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def native_generator(self, seed: tuple[int, int]) -> Any:
        """CuPy's Generator over Philox, whose state is made fastest."""
        random = self.xp.random
        return random.Generator(random.Philox4x3210(np.random.SeedSequence(seed)))

    # -- labels ------------------------------------------------------------------

    def check_labels(
        self,
        labels: Array,
        classes: int,
        ignore_index: int | None,
        error: LabelError = label_error,
    ) -> Array | None:
        """A mask of the labels out of range, without waiting for the device.

        The first of them is noted on the device; the next `to_host` raises its error.
        """
        options = (labels.shape, classes, ignore_index, error)
        with labels.device:
            bad = self.bad_labels(labels, classes, ignore_index)
            if bad is not None and bad.size:
                self.bad_label_records.on(labels.device).note(bad, labels, options)
        return bad

    # -- kernels -----------------------------------------------------------------

    def assign(self, array: Array, mask: Array, value: float) -> None:
        """`array[mask] = value`; CuPy's own counts the mask's elements and waits."""
        mask = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
        self.xp.copyto(array, value, where=mask)

    def erf(self, x: Array) -> Array:
        """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
        return self._special("erf", x)

    def erfc(self, x: Array) -> Array:
        """1 - erf(x), without the cancellation for large x."""
        return self._special("erfc", x)

    def _special(self, name: str, x: Array) -> Array:
        function = getattr(self.cupyx.scipy.special, name)
        if is_half(x.dtype):  # CuPy would make float64 of it
            return function(x.astype(float32)).astype(x.dtype)
        return function(x if is_floating(x.dtype) else x.astype("float64"))

    @property
    def cupyx(self) -> Any:
        """CuPy's companion module, with its special functions."""
        if self._cupyx is None:
            importlib.import_module("cupyx.scipy.special")
            self._cupyx = importlib.import_module("cupyx")
        return self._cupyx


@contextmanager
def _current(cuda: Any, device: Any, streams: list[Any]) -> Iterator[None]:
    """The current device, and stream of each device, of the thread that enters."""
    with ExitStack() as stack:
        for index, stream in enumerate(streams):
            stack.enter_context(cuda.Device(index))  # only there, and left there too
            stack.enter_context(stream)
        stack.enter_context(device)
        yield


class _Namespace:
    """CuPy's functions, of which some keep bfloat16 and `where` takes a plain bool.

    `where`, `clip`, `round`, `tril` and `triu` of CuPy 14 have no bfloat16 version and
    give float32.
    """

    def __init__(self, cupy: Any) -> None:
        vars(self).update(vars(cupy))
        self._where = cupy.where
        self.where = self._where_keeping_bfloat16
        for name in ("clip", "round", "tril", "triu"):
            vars(self)[name] = self._keeping_dtype(getattr(cupy, name))

    def _where_keeping_bfloat16(self, condition: Array, a: Any, b: Any) -> Array:
        if isinstance(condition, bool):
            condition = np.bool_(condition)
        out = self._where(condition, a, b)
        dtypes = [each.dtype for each in (a, b) if hasattr(each, "dtype")]
        if dtypes and all(dtype.name == "bfloat16" for dtype in dtypes):
            return out.astype(dtypes[0], copy=False)
        return out

    @staticmethod
    def _keeping_dtype(function: Any) -> Any:
        return lambda x, *args: function(x, *args).astype(x.dtype, copy=False)


def make_backend(cupy: Any = None, cupyx: Any = None) -> CupyBackend:
    """The CUDA backend, after a check that CuPy, a driver, a device and its libraries
    work; `cupy` and `cupyx` are the modules, imported if they are not given.

    Raises RuntimeError that says what was found and what to install.
    """
    cupy = imported() if cupy is None else cupy
    check(cupy)
    return CupyBackend(cupy, cupyx)
