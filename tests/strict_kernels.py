"""RawModule and RawKernel of the strict double of CuPy: kernels run by cuda_shim.

They take what CuPy 14.2 takes, and refuse what it would pass on wrongly: CuPy copies an
argument's bytes and looks at no type. A Python int becomes 8 bytes, a float a double,
None a null pointer, an array its address, whatever its strides and device.
"""

from __future__ import annotations

import ctypes
from typing import Any

import cuda_shim
import numpy as np
import strict_cupy

PLAIN_SHARED, OPT_IN_SHARED = 48 * 1024, 227 * 1024  # an H100's
ATTRIBUTES = {
    "MaxSharedMemoryPerBlock": PLAIN_SHARED,
    "MaxSharedMemoryPerBlockOptin": OPT_IN_SHARED,
    "MaxThreadsPerBlock": 1024,
    "MultiProcessorCount": 3,  # few, so that a grid has more blocks than that
    "WarpSize": 32,
}
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_THREADS = (1024, 1024, 64)


class CompileException(Exception):  # noqa: N818  (CuPy's name)
    """CuPy's error of the compiler."""


class RawModule:
    """Kernels of one source text."""

    def __init__(
        self,
        *,
        code: str | None = None,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Any = None,
        jitify: bool = False,
    ) -> None:
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` must be given.")
        if code is None or backend != "nvrtc" or name_expressions or jitify:
            raise NotImplementedError("the double compiles extern C kernels' sources")
        if not isinstance(options, tuple):
            raise TypeError(f"Expected tuple, got {type(options).__name__}")
        self.code, self.options = code, options

    def get_function(self, name: str) -> RawKernel:
        """The kernel; compiled now, for the current device."""
        return RawKernel(self.code, name, self.options)

    def compile(self, log_stream: Any = None) -> None:
        _library(self.code, self.options)


def _library(code: str, options: tuple[str, ...]) -> cuda_shim.Library:
    try:
        return cuda_shim.library(code, options)
    except cuda_shim.CompileError as error:
        raise CompileException(str(error)) from None


class RawKernel:
    """A kernel; called, it has run when the call returns."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
    ) -> None:
        self.library, self.name = _library(code, options), name
        if name not in self.library.names:
            raise strict_cupy.CUDARuntimeError(500, "CUDA_ERROR_NOT_FOUND")
        self._dynamic: dict[int, int] = {}

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """What a launch on the current device may ask for, beside what the kernel
        declares itself."""
        plain = PLAIN_SHARED - self.library.static_shared
        return self._dynamic.get(strict_cupy._current(), plain)

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, value: int) -> None:
        if not 0 <= value <= OPT_IN_SHARED - self.library.static_shared:
            raise strict_cupy.CUDARuntimeError(1, "CUDA_ERROR_INVALID_VALUE")
        self._dynamic[strict_cupy._current()] = value

    def __call__(
        self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0
    ) -> None:
        self._check_shape(grid, block, shared_mem)
        strict_cupy.note_launch(self.name)
        parameters = self.library.parameters[self.name]
        if len(args) != len(parameters):
            raise TypeError(
                f"{self.name} has {len(parameters)} parameters, {parameters}, and was "
                f"given {len(args)} arguments"
            )
        passed = [
            _passed(value, parameter, f"{self.name}, argument {i}")
            for i, (value, parameter) in enumerate(zip(args, parameters, strict=True))
        ]
        self.library.launch(self.name, grid, block, passed, shared_mem)

    def _check_shape(self, grid: tuple, block: tuple, shared_mem: int) -> None:
        for what, shape, most in (
            ("grid", grid, MOST_BLOCKS),
            ("block", block, MOST_THREADS),
        ):
            if not isinstance(shape, tuple) or not 1 <= len(shape) <= 3:
                raise TypeError(f"{self.name}: the {what} {shape!r}: 1 to 3 ints")
            if not all(type(k) is int for k in shape):
                raise TypeError(f"{self.name}: the {what} {shape!r} has no Python ints")
            if not all(1 <= k <= limit for k, limit in zip(shape, most, strict=False)):
                # (CuPy makes 1 of 0: a block runs that was not meant to.)
                raise strict_cupy.CUDARuntimeError(1, f"{self.name}: {what} {shape}")
        threads = int(np.prod(block))
        if threads > self.library.bounds[self.name]:
            raise strict_cupy.CUDARuntimeError(
                1, f"{self.name}: {threads} threads, above its launch bounds"
            )
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise strict_cupy.CUDARuntimeError(
                1, f"{self.name}: {shared_mem} bytes of shared memory were not allowed"
            )


def _passed(value: Any, parameter: str, where: str) -> Any:
    """One argument as a C value, if it is what the kernel's parameter is."""
    wanted = parameter.rpartition("*")[2]
    if "*" in parameter:
        if value is None:
            return ctypes.c_void_p(None)
        if isinstance(value, strict_cupy.MemoryPointer):
            value = value.array
        if not isinstance(value, strict_cupy.ndarray):
            raise TypeError(f"{where}: {parameter} was given {value!r}")
        if wanted not in ("void", value.dtype.name):
            raise TypeError(f"{where}: {parameter} was given an array {value.dtype}")
        if not value.flags.c_contiguous:
            raise ValueError(f"{where}: an array with strides {value.strides}")
        strict_cupy._check_devices([value])
        return ctypes.c_void_p(value.host.__array_interface__["data"][0])
    scalar = {bool: "bool", int: "int64", float: "float64"}.get(type(value))
    if scalar is None and isinstance(value, np.generic):
        scalar = value.dtype.name
    unsigned = scalar == "int64" and wanted == "uint64" and value >= 0
    if scalar != wanted and not unsigned:
        raise TypeError(
            f"{where}: the parameter is {wanted}, and CuPy would pass {value!r} as "
            f"{scalar}"
        )
    return np.ctypeslib.as_ctypes_type(np.dtype(wanted))(
        value.item() if isinstance(value, np.generic) else value
    )
