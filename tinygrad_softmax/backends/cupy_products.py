"""Products of matrices on a CUDA device: cuBLAS's, of views as they lie in memory.

CuPy's own product of two matrices is as good, but for 16-bit ones, which it lets cuBLAS
sum partly in 16 bits; that of more than two axes copies transposed operands.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .base import Array
from .cuda import gemm
from .cupy_kernels import CudaKernels
from .dtypes import is_floating, is_half, working_dtype

BFLOAT16_FROM = 80  # the compute capability whose cuBLAS multiplies bfloat16
FULL_SUMS = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: else, where several
# blocks share a sum, their parts may be rounded to 16 bits
CUDA_TYPES = {  # cudaDataType_t
    "float16": "CUDA_R_16F",
    "bfloat16": "CUDA_R_16BF",
    "float32": "CUDA_R_32F",
    "float64": "CUDA_R_64F",
}


class _Operand(NamedTuple):
    """An array as cuBLAS takes it."""

    array: Array
    layout: gemm.Layout
    strides: tuple[int, ...]  # of the batch axes, in elements


class CudaProducts(CudaKernels):
    """Products in the dtype of their operands; 16-bit ones are summed in float32.

    Float32 is multiplied in full precision unless CuPy was told to use TF32, by
    CUPY_TF32=1, which its product of two matrices heeds too.
    """

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product; 16-bit operands are accumulated in float32.

        Many matrices times one are one product of all their rows, if those lie in
        order. Integers are multiplied by CuPy.
        """
        if not _fit(a, b) or not (is_floating(a.dtype) and is_floating(b.dtype)):
            return super().matmul(a, b)
        n = prod(a.shape[:-1])
        if a.ndim > 2 >= b.ndim and a.flags.c_contiguous and n <= gemm.MOST:
            rows = a.reshape(n, a.shape[-1])
            return self.matmul(rows, b).reshape(a.shape[:-1] + b.shape[1:])
        if self._is_cupys(a, b):
            m = prod(b.shape[1:])
            if max(n, m) > 1:  # (of dot products it has its own)
                gemm.check(n, a.shape[-1], m)
            return self.xp.matmul(a, b)
        row, column = a.ndim == 1, b.ndim == 1
        out = self.product(a[None] if row else a, b[:, None] if column else b)
        if row:
            out = out[..., 0, :]
        return out[..., 0] if column else out

    def _is_cupys(self, a: Array, b: Array) -> bool:
        """Whether CuPy's own product is as good: of one or two axes, not in 16 bits."""
        half = is_half(a.dtype) or is_half(b.dtype)
        return max(a.ndim, b.ndim) <= 2 and not half

    def product(
        self,
        a: Array,
        b: Array,
        out: Array | None = None,
        alpha: float = 1.0,
        beta: float = 0.0,
    ) -> Array:
        """alpha a b + beta out, by cuBLAS; 16-bit operands are summed in float32.

        a: (..., n, k), b: (..., k, m), of floats; the leading axes broadcast. out:
        (..., n, m) of the product's dtype or of the one it is summed in, its rows
        contiguous; a new array by default. It is written to and returned.
        """
        dtype = self.xp.result_type(a.dtype, b.dtype)
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape += (a.shape[-2], b.shape[-1])
        gemm.check(a.shape[-2], a.shape[-1], b.shape[-1])
        out = self.xp.empty(shape, dtype) if out is None else out
        assert out is not None
        assert out.shape == shape, (out.shape, shape)
        if not out.size:
            return out
        if not a.shape[-1]:
            if beta:
                out *= beta
            else:
                out.fill(0)
            return out
        # What cuBLAS has no product of is multiplied wider, and rounded at the end.
        wide = dtype if self._has_product(dtype, a, b) else working_dtype(dtype)
        a, b = a.astype(wide, copy=False), b.astype(wide, copy=False)
        if out.dtype not in (wide, working_dtype(wide)):
            total = out.astype(wide)
            self._gemm(a, b, total, alpha, beta)
            out[...] = total
        else:
            self._gemm(a, b, out, alpha, beta)
        return out

    def _has_product(self, dtype: np.dtype, a: Array, b: Array) -> bool:
        if not is_half(dtype):
            return True
        if not a.dtype == b.dtype == dtype:
            return False
        if dtype.name != "bfloat16":
            return True
        return int(self.xp.cuda.device.get_compute_capability()) >= BFLOAT16_FROM

    def _gemm(self, a: Array, b: Array, out: Array, alpha: float, beta: float) -> None:
        lead, (n, m), k = out.shape[:-2], out.shape[-2:], a.shape[-1]
        first, second, into = self._operands(a, b, out)
        plan = gemm.batches(lead, first.strides, second.strides, into.strides)
        cuda = self.xp.cuda
        cublas, runtime = cuda.cublas, cuda.runtime
        compute, scalar = self._compute(cublas, a.dtype)
        factors = np.array([alpha, beta], scalar)  # read by the call, on the host
        numbers = factors.ctypes.data
        kind, result = (getattr(runtime, CUDA_TYPES[x.dtype.name]) for x in (a, out))
        handle = cuda.get_cublas_handle()
        # To cuBLAS, each matrix is its transpose: (A B)^T = B^T A^T.
        places = itertools.product(*(range(length) for length, _ in plan.loops))
        with _summed_fully(cublas, handle):
            for place in places:
                pointers = [
                    x.array.data.ptr
                    + x.array.itemsize
                    * sum(
                        i * steps[which]
                        for i, (_, steps) in zip(place, plan.loops, strict=True)
                    )
                    for which, x in enumerate((first, second, into))
                ]
                cublas.gemmStridedBatchedEx(
                    handle,
                    int(second.layout.transposed),
                    int(first.layout.transposed),
                    *(m, n, k, numbers),
                    *(pointers[1], kind, second.layout.ld, plan.strides[1]),
                    *(pointers[0], kind, first.layout.ld, plan.strides[0]),
                    numbers + factors.itemsize,
                    *(pointers[2], result, into.layout.ld, plan.strides[2]),
                    *(plan.size, compute, cublas.CUBLAS_GEMM_DEFAULT),
                )

    def _operands(self, a: Array, b: Array, out: Array) -> tuple[_Operand, ...]:
        """Operands, copied if they must be, and the result, as cuBLAS takes them.

        A matrix that it can't take is copied once, not for all that it is multiplied
        with.
        """
        lead = out.shape[:-2]
        into = _operand(out)
        assert into is not None, "the result's rows are contiguous"
        assert not into.layout.transposed, "the result's rows are contiguous"
        both = []
        for x in (a, b):
            x = x if _operand(x) else self._copied(x)
            found = _operand(self.xp.broadcast_to(x, lead + x.shape[-2:]))
            assert found is not None, "a contiguous array is taken"
            both.append(found)
        copied = gemm.to_copy(
            lead,
            tuple(each.strides for each in both),
            into.strides,
            tuple(each.array.nbytes for each in both),
        )
        for i, copy in enumerate(copied):
            made = _operand(self._copied(both[i].array)) if copy else None
            both[i] = both[i] if made is None else made
        return (*both, into)

    def _copied(self, x: Array) -> Array:
        return self.xp.ascontiguousarray(x)

    def _compute(self, cublas: Any, dtype: np.dtype) -> tuple[int, type]:
        """What cuBLAS sums in, and the type of the factors."""
        if dtype.itemsize == 8:
            return cublas.CUBLAS_COMPUTE_64F, np.float64
        if dtype.itemsize == 4 and int(os.environ.get("CUPY_TF32", "0")):
            return cublas.CUBLAS_COMPUTE_32F_FAST_TF32, np.float32
        return cublas.CUBLAS_COMPUTE_32F, np.float32


@contextmanager
def _summed_fully(cublas: Any, handle: int) -> Iterator[None]:
    """A context in which cuBLAS rounds no part of a sum to 16 bits."""
    before = cublas.getMathMode(handle)
    cublas.setMathMode(handle, before | FULL_SUMS)
    try:
        yield
    finally:
        cublas.setMathMode(handle, before)


def _fit(a: Array, b: Array) -> bool:
    """Whether there is something to multiply; CuPy says what is wrong with others."""
    if not (a.ndim and b.ndim and a.size and b.size):
        return False
    if a.shape[-1] != b.shape[max(-2, -b.ndim)]:
        return False
    pairs = zip(a.shape[-3::-1], b.shape[-3::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def _operand(x: Array) -> _Operand | None:
    """None for what cuBLAS can't take, or does not say that it takes: steps back from
    matrix to matrix, as a flipped array has them."""
    strides = tuple(step // x.itemsize for step in x.strides)
    found = gemm.layout(x.shape, strides)
    if found is None or min(strides[:-2], default=0) < 0:
        return None
    return _Operand(x, found, strides[:-2])
