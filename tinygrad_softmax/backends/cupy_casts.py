"""Casts between 16-bit floats and float32 on a CUDA device, by cuda/cast.cu.

CuPy reads and writes them one element at a time. It still does all other casts, and
those of arrays with gaps or without elements.
"""

from __future__ import annotations

from typing import Any

from .base import Array
from .cuda import geometry
from .cupy_kernels import CudaKernels
from .dtypes import float32, is_half


class CudaCasts(CudaKernels):
    """The cast of base.py, in one launch."""

    def cast(self, x: Array, dtype: Any) -> Array:
        """x in another dtype; x itself if it has it."""
        if is_half(x.dtype) and dtype == float32:
            name, narrow = "widened", x.dtype
        elif x.dtype == float32 and is_half(dtype):
            name, narrow = "narrowed", dtype
        else:
            return super().cast(x, dtype)
        if self.kernels is None or not x.size or not x.flags.c_contiguous:
            return super().cast(x, dtype)
        out = self.xp.empty(x.shape, dtype)
        kernel = self.kernels.get("cast.cu", name, narrow, WIDE=1)
        launch = geometry.casts(x.size)
        kernel(launch.grid, launch.block, (x, out, x.size))
        return out
