"""Dropout on a CUDA device, by a kernel that makes its own random numbers.

Number i of a draw is word i of Philox4x32-10 (cuda/dropout.cu): it is dropped with the
probability p rounded to a multiple of 2^-32. The gradient is the same kernel, so no
mask is kept. A draw that is captured in a CUDA graph is looked up on the device at each
replay (`CapturedDraws`).

DropoutKernels in dropouts.py is the definition but for which numbers are drawn: a seed
drops others on the CPU. It still does integers and arrays without elements.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .base import Array
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .dtypes import float32
from .random import captured_draws, signed


class CudaDropout(CudaKernels):
    """The kernels of dropouts.py, one launch each."""

    redraws = True

    def kept(self, shape: tuple[int, ...], p: float, draw: Any) -> Array:
        """A mask that is True with probability 1 - p, to 2^-32."""
        size = prod(shape)
        if self.kernels is None or not size:
            return super().kept(shape, p, draw)
        mask = self.xp.empty(shape, bool)
        kernel = self.kernels.get("dropout.cu", "kept", float32, WIDE=1)
        launch = geometry.flat(size, 4, geometry.FLAT_THREADS)
        kernel(launch.grid, launch.block, (mask, size, limit(p), *placed(draw)))
        return mask

    def dropout(self, x: Array, p: float, draw: Any, shape: tuple[int, ...]) -> Array:
        """x times a mask of `shape` and 1 / (1 - p)."""
        if self.kernels is None or not takes(x):
            return super().dropout(x, p, draw, shape)
        out = self.xp.empty(x.shape, x.dtype)
        x = self.xp.ascontiguousarray(x)  # () becomes (1,)
        launch = geometry.elements(x.size, x.itemsize, 1)
        each = x.size // prod(shape)
        name = "dropout" if each == 1 else "dropout_channels"
        kernel = self.kernels.get("dropout.cu", name, x.dtype, WIDE=1)
        given = (x, out, x.size, limit(p), 1.0 / (1.0 - p), *placed(draw))
        kernel(launch.grid, launch.block, given if each == 1 else (*given, each))
        return out


def limit(p: float) -> int:
    """A word of 32 bits is dropped below it.

    >>> limit(0.5) == 2**31, limit(0.1) / 2**32
    (True, 0.10000000009313226)
    """
    return round(float(p) * 2.0**32)


def placed(draw: Any) -> tuple[int, int, Any]:
    """What a kernel is told of a draw: seed, count, and where a replay finds both."""
    captured = captured_draws()
    place = None if captured is None else captured.place(draw)
    if place is None:
        return signed(draw.seed), draw.number, None
    state, number = place
    return 0, number, state
