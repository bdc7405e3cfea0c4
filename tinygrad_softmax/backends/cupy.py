"""The CUDA backend: CuPy's arrays and functions, and CUDA kernels.

The kernels are in cuda/*.cu, launched by the cupy_*.py beside this file; what has none
is done by the reference kernels of base.py.

Nothing here waits for the GPU but `to_host`, `synchronize` and the one check at the
start. `make_backend` imports CuPy; it is called when "cuda" is first asked for.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import prod
from typing import Any

import numpy as np

from .base import Array
from .cuda.kernels import Kernels
from .cupy_activations import CupyActivations
from .cupy_dropout import CupyDropout
from .cupy_softmax import SoftmaxKernels
from .dtypes import float32, int32, int64, is_floating, is_half
from .targets import LabelError, label_error

CUPY_NEEDED = 14  # NumPy 2's promotion, and bfloat16
NO_DRIVER, NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice


class CupyBackend(CupyActivations, CupyDropout, SoftmaxKernels):
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
        self._bad_labels: dict[int, _FirstBadLabel] = {}  # by device
        self._uploading: list[tuple[Any, np.ndarray]] = []  # (event, pinned array)

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
        mine = isinstance(data, self.array_type)
        if mine and device is None:
            if dtype is None or data.dtype == dtype:
                return data
            device = self.device_of(data)
        with nullcontext() if device is None else self.on(device):
            return self.xp.asarray(data, dtype=dtype)

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
        self._uploading = [each for each in self._uploading if not each[0].done]
        self._uploading.append((event, array))
        return result

    def for_another_thread(self) -> AbstractContextManager:
        """This thread's current device and stream."""
        return _current(self.xp.cuda.Device(), self.xp.cuda.get_current_stream())

    def to_host(self, array: Array) -> np.ndarray:
        """A copy as a `numpy.ndarray`.

        Waits until it is computed. If a bad label was met meanwhile (`check_labels`),
        raises its IndexError, once.
        """
        host = array.get() if isinstance(array, self.array_type) else np.asarray(array)
        for first in list(self._bad_labels.values()):
            error = first.read()
            if error is not None:
                raise error
        return host

    def synchronize(self) -> None:
        """Wait until the current device has done what was asked of it."""
        self.xp.cuda.Device().synchronize()

    def memory_stats(self) -> dict[str, int]:
        """Bytes of the current device.

        pool_used: in arrays. pool_total: held by CuPy, which keeps what arrays gave
        back. device_used, device_total: of the whole device, by all its programs.
        """
        pool = self.xp.get_default_memory_pool()
        free, total = self.xp.cuda.runtime.memGetInfo()
        return {
            "pool_used": pool.used_bytes(),
            "pool_total": pool.total_bytes(),
            "device_used": total - free,
            "device_total": total,
        }

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
        device = labels.device.id
        options = (labels.shape, classes, ignore_index, error)
        with labels.device:
            bad = self.bad_labels(labels, classes, ignore_index)
            if bad is not None and bad.size:
                if device not in self._bad_labels:
                    self._bad_labels[device] = _FirstBadLabel(self.xp)
                self._bad_labels[device].note(bad, labels, options)
        return bad

    # -- kernels -----------------------------------------------------------------

    def assign(self, array: Array, mask: Array, value: float) -> None:
        """`array[mask] = value`; CuPy's own counts the mask's elements and waits."""
        mask = mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
        self.xp.copyto(array, value, where=mask)

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product; 16-bit operands are accumulated in float32.

        Many matrices times one are one product of all their rows: CuPy's batched
        product copies transposed operands. A product of two 16-bit matrices of one
        dtype is cuBLAS's own, in float32 inside.
        """
        if a.ndim > 2 and b.ndim <= 2:
            rows = a.reshape(prod(a.shape[:-1]), a.shape[-1])
            return self.matmul(rows, b).reshape(a.shape[:-1] + b.shape[1:])
        # (A single dot product CuPy would multiply in 16 bits.)
        single = a.ndim == 1 or b.ndim == 1 or a.shape[-2] == b.shape[-1] == 1
        if is_half(a.dtype) and a.dtype == b.dtype and not single and b.ndim == 2:
            return self.xp.matmul(a, b)
        return super().matmul(a, b)

    def scatter_add(self, out: Array, index: Any, values: Array) -> None:
        """`out[index] += values` in place, by atomic additions.

        In no fixed order: float sums may differ in the last digits from run to run.
        Types that CUDA can't add so go through float32 (16-bit floats) or int32.
        """
        wide = _atomic_dtype(out.dtype)
        if wide == out.dtype:
            self.cupyx.scatter_add(out, index, values)
            return
        total = out.astype(wide)
        if hasattr(values, "dtype"):
            values = values.astype(wide)
        self.cupyx.scatter_add(total, index, values)
        out[...] = total

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
def _current(device: Any, stream: Any) -> Iterator[None]:
    """The current device and stream of the thread that enters."""
    with device, stream:
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


def _atomic_dtype(dtype: np.dtype) -> np.dtype:
    """What CUDA adds atomically in place of `dtype`."""
    if is_half(dtype):
        return float32
    return int32 if dtype.kind in "iub" and dtype.itemsize < 4 else dtype


class _FirstBadLabel:
    """The first bad label of a device, kept there until somebody reads a value.

    It is three numbers in the device's memory: which check, which row, which label. The
    checks' options stay on the host; a program has few different ones.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.lock = threading.Lock()
        self.options: dict[tuple, int] = {}
        self.record = xp.zeros(3, int64)

    def note(self, bad: Array, labels: Array, options: tuple) -> None:
        """Keep the first True of `bad`, unless an earlier one is kept already."""
        with self.lock:
            number = self.options.setdefault(options, len(self.options) + 1)
        bad, labels = bad.reshape(-1), labels.reshape(-1)
        first = bad.argmax()
        found = self.xp.empty(3, int64)
        found[0] = bad[first] * number  # 0 where no label is bad
        found[1] = first
        found[2] = labels[first]
        self.xp.copyto(self.record, found, where=self.record[:1] == 0)

    def read(self) -> IndexError | None:
        """The error of the label that was kept, which is then forgotten."""
        number, row, value = self.record.get().tolist()
        if not number:
            return None
        with self.record.device:
            self.record.fill(0)
        with self.lock:
            shape, *options, error = list(self.options)[number - 1]
        place = tuple(int(i) for i in np.unravel_index(row, shape))
        return error(place, value, *options)


# -- is there a GPU? -------------------------------------------------------------------


def make_backend(cupy: Any = None, cupyx: Any = None) -> CupyBackend:
    """The CUDA backend, after a check that CuPy, a driver, a device and its libraries
    work; `cupy` and `cupyx` are the modules, imported if they are not given.

    Raises RuntimeError that says what was found and what to install.
    """
    cupy = _imported() if cupy is None else cupy
    _check_version(cupy)
    _check_device(cupy)
    _check_libraries(cupy)
    return CupyBackend(cupy, cupyx)


def _imported() -> Any:
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            raise RuntimeError(
                'device "cuda" needs CuPy, which is not installed; mend: pip install '
                '"tinygrad-softmax[cuda13]", or [cuda12] for an older NVIDIA driver'
            ) from None
        raise _broken(error) from error
    except ImportError as error:
        raise _broken(error) from error


def _broken(error: ImportError) -> RuntimeError:
    return RuntimeError(
        f'device "cuda": CuPy is installed but can\'t be imported ({_line(error)}); '
        'mend: pip install --force-reinstall "tinygrad-softmax[cuda13]", or [cuda12]'
    )


def _check_version(cupy: Any) -> None:
    major = cupy.__version__.partition(".")[0]
    if major.isdecimal() and int(major) < CUPY_NEEDED:
        raise RuntimeError(
            f'device "cuda": CuPy {cupy.__version__} was found, but {CUPY_NEEDED} or '
            'later is needed; mend: pip install --upgrade "tinygrad-softmax[cuda13]", '
            "or [cuda12]"
        )


def _check_device(cupy: Any) -> None:
    """Raise if there is no driver, too old a one, or no device."""
    if cupy.cuda.is_available():
        return
    runtime = cupy.cuda.runtime
    found = f'device "cuda": CuPy {cupy.__version__} was found'
    try:
        runtime.getDeviceCount()
        status, text = NO_DEVICE, ""
    except Exception as error:
        status, text = getattr(error, "status", None), _line(error)
    if status == NO_DEVICE:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        also = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r})"
        raise RuntimeError(
            f"{found} and an NVIDIA driver, but no CUDA device{also}; mend: run on a "
            'machine with an NVIDIA GPU, or use device="cpu"'
        )
    if status == NO_DRIVER and not runtime.driverGetVersion():
        raise RuntimeError(
            f"{found}, but no NVIDIA driver; mend: install the driver of the GPU "
            '(nvidia-smi must work), or use device="cpu"'
        )
    if status == NO_DRIVER:
        raise RuntimeError(
            f"{found}, built for CUDA {_version(runtime.runtimeGetVersion())}, but the "
            f"NVIDIA driver supports only CUDA {_version(runtime.driverGetVersion())}; "
            'mend: update the driver, or pip uninstall CuPy and pip install "tinygrad-'
            'softmax[cuda12]"'
        )
    raise RuntimeError(
        f"{found}, but CUDA does not start: {text}; mend: see that nvidia-smi works, "
        'or use device="cpu"'
    )


def _check_libraries(cupy: Any) -> None:
    """Run one elementwise function and one matrix product: they load the libraries."""
    library = "NVRTC, CUDA's compiler,"
    try:
        ones = cupy.ones((2, 2), float32)
        sums = ones + cupy.exp(ones - ones)
        library = "cuBLAS, CUDA's matrix library,"
        works = cupy.matmul(sums, sums).get().tolist() == [[8.0, 8.0], [8.0, 8.0]]
    except Exception as error:
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        raise RuntimeError(
            f'device "cuda": CuPy {cupy.__version__} and a CUDA device were found, but '
            f"{library} does not work ({type(error).__name__}: {_line(error)}); mend: "
            f'pip install "tinygrad-softmax[cuda{major}]", which brings it'
        ) from error
    if not works:
        raise RuntimeError(
            f'device "cuda": CuPy {cupy.__version__} and a CUDA device were found, but '
            "the product of two 2 x 2 matrices came out wrong; mend: update the NVIDIA "
            "driver and CuPy"
        )


def _version(number: int) -> str:
    """CUDA's 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
