"""cuBLAS of the strict double of CuPy: the product, with the arguments of CuPy 14.2.

It gets addresses, as cuBLAS does, and refuses what cuBLAS would take and go wrong with:
an address that is no array's, of another type or device, a matrix that does not fit
into its array, an integer above 32 bits, factors that are on the device, sums of which
parts may be rounded to 16 bits.
"""

# ruff: noqa: N803  (cuBLAS's names)

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import strict_cupy

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_GEMM_DEFAULT, CUBLAS_GEMM_DEFAULT_TENSOR_OP = -1, 99
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 77
CUBLAS_COMPUTE_64F = 70
TYPES = {0: "float32", 1: "float64", 2: "float16", 14: "bfloat16"}
SUPPORTED = {  # (compute type: types of A and B, and of C)
    CUBLAS_COMPUTE_32F: {
        *(("float16", "float16"), ("float16", "float32")),
        *(("bfloat16", "bfloat16"), ("bfloat16", "float32"), ("float32", "float32")),
    },
    CUBLAS_COMPUTE_32F_FAST_TF32: {("float32", "float32")},
    CUBLAS_COMPUTE_64F: {("float64", "float64")},
}
FULL_SUMS = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION
HANDLE = 1000  # of device 0
modes: dict[int, int] = {}  # the math mode of handles, 0 by default
calls: list[dict[str, Any]] = []  # what was asked for, the last call last


class CUBLASError(RuntimeError):
    """CuPy's error of cuBLAS."""


def get_cublas_handle() -> int:
    """That of the current device."""
    return HANDLE + strict_cupy._current()


def getMathMode(handle: int) -> int:  # noqa: N802  (cuBLAS's name)
    return modes.get(handle, 0)


def setMathMode(handle: int, mode: int) -> None:  # noqa: N802  (cuBLAS's name)
    modes[handle] = mode


def gemmStridedBatchedEx(  # noqa: N802  (cuBLAS's name)
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    strideA: int,
    B: int,
    Btype: int,
    ldb: int,
    strideB: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    strideC: int,
    batchCount: int,
    computeType: int,
    algo: int,
) -> None:
    """C = alpha op(A) op(B) + beta C, for each of a batch; columns are contiguous."""
    given = dict(locals())
    for name, value in given.items():
        if type(value) is not int:
            raise TypeError(f"{name}: an integer is required, not {value!r}")
    for name in ("m", "n", "k", "lda", "ldb", "ldc", "batchCount"):
        if not -(2**31) <= given[name] < 2**31:
            raise OverflowError(f"{name}: value too large to convert to int")
    if handle != get_cublas_handle():
        raise CUBLASError("CUBLAS_STATUS_NOT_INITIALIZED: another device's handle")
    types = TYPES[Atype], TYPES[Ctype]
    if Atype != Btype or types not in SUPPORTED[computeType]:
        raise CUBLASError("CUBLAS_STATUS_NOT_SUPPORTED")
    if types[1].endswith("16") and not getMathMode(handle) & FULL_SUMS:
        raise CUBLASError("parts of the sums may be rounded to 16 bits")
    wide = np.float64 if computeType == CUBLAS_COMPUTE_64F else np.float32
    of_a = _matrices(
        A, types[0], (k, m) if transa else (m, k), lda, strideA, batchCount
    )
    of_b = _matrices(
        B, types[0], (n, k) if transb else (k, n), ldb, strideB, batchCount
    )
    of_c = _matrices(C, types[1], (m, n), ldc, strideC, batchCount)
    apart = strideC >= ldc * (n - 1) + m  # one after the other, or in one another
    apart = apart or (m <= strideC and (batchCount - 1) * strideC + m <= ldc)
    if batchCount > 1 and not apart:
        raise CUBLASError("the results overlap")
    factor_a, factor_c = _factor(alpha, wide), _factor(beta, wide)
    with np.errstate(all="ignore"):
        a = (of_a.swapaxes(1, 2) if transa else of_a).astype(wide)
        b = (of_b.swapaxes(1, 2) if transb else of_b).astype(wide)
        total = factor_a * np.matmul(a, b)
        if factor_c:  # (else C is not read)
            total += factor_c * of_c.astype(wide)
        of_c[...] = total
    calls.append(given)


def _factor(address: int, dtype: Any) -> Any:
    if address in strict_cupy.addresses:
        raise CUBLASError("a factor on the device, in host pointer mode")
    kind = ctypes.c_double if dtype is np.float64 else ctypes.c_float
    return dtype(kind.from_address(address).value)


def _matrices(
    address: int, dtype: str, shape: tuple[int, int], ld: int, stride: int, count: int
) -> np.ndarray:
    """A batch of matrices at an address, column after column."""
    rows, columns = shape
    if ld < max(1, rows) or min(rows, columns, count) < 0 or stride < 0:
        raise CUBLASError(f"CUBLAS_STATUS_INVALID_VALUE: ld {ld}, {rows} rows")
    owner, array = strict_cupy.owner_of(address)
    if array.dtype.name != dtype:
        raise CUBLASError(f"an array of {array.dtype} was given as {dtype}")
    strict_cupy._check_devices([array])
    size = array.itemsize
    low, high = np.lib.array_utils.byte_bounds(owner)
    extent = (count - 1) * stride + (columns - 1) * ld + rows
    if not low <= address <= address + extent * size <= high:
        raise CUBLASError("CUDA_ERROR_ILLEGAL_ADDRESS: matrices are outside an array")
    bytes_ = (ctypes.c_byte * (extent * size)).from_address(address)
    flat = np.frombuffer(bytes_, array.dtype)
    return np.lib.stride_tricks.as_strided(
        flat, (count, rows, columns), (stride * size, size, ld * size)
    )
