"""Whether CUDA works here; if not, one error says what is there and what to install."""

from __future__ import annotations

import importlib
import os
from typing import Any

from .dtypes import float32

CUPY_NEEDED = 14  # NumPy 2's promotion, and bfloat16
NO_DRIVER, NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice


def check(cupy: Any) -> None:
    """Raise RuntimeError unless CuPy is new enough and finds a driver, a device and
    CUDA's libraries."""
    _check_version(cupy)
    _check_device(cupy)
    _check_libraries(cupy)


def imported() -> Any:
    """The module `cupy`."""
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
