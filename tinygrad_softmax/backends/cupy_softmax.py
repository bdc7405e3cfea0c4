"""The softmax family on a CUDA device, by cuda/softmax.cu and cuda/softmax_vjp.cu.

Backend's kernels in base.py are the definition, and what these are tested against. They
still do what has no kernel: integers and arrays without elements.
"""

from __future__ import annotations

from .base import Array
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .dtypes import working_dtype

HELD = (32, 64, 128)  # bytes of a row that a thread keeps in registers
HELD_OF_TWO = (32, 64)  # where it keeps two rows, and only 32 by single elements: the
# compiler then needs registers for addresses


class CudaSoftmax(CudaKernels):
    """The kernels of base.py over rows (n, C), one launch each."""

    def softmax(self, x: Array) -> Array:
        """softmax over the last axis of x, shape (n, C)."""
        if self.kernels is None or not takes(x):
            return super().softmax(x)
        return self._softmax_launched("softmax.cu", "softmax", x.shape, HELD, x)

    def log_softmax(self, x: Array) -> Array:
        """log(softmax) over the last axis of x, shape (n, C)."""
        if self.kernels is None or not takes(x):
            return super().log_softmax(x)
        return self._softmax_launched("softmax.cu", "log_softmax", x.shape, HELD, x)

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis of x, shape (n, C)."""
        if self.kernels is None or not takes(x):
            return super().logsumexp(x)
        return self._softmax_launched("softmax.cu", "logsumexp", x.shape[:1], HELD, x)

    def softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of softmax's input, from its output's and its output."""
        if self.kernels is None or not takes(g, out):
            return super().softmax_vjp(g, out)
        return self._softmax_launched(
            "softmax_vjp.cu", "softmax_vjp", out.shape, HELD_OF_TWO, g, out
        )

    def log_softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of log_softmax's input, from its output's and its output."""
        if self.kernels is None or not takes(g, out):
            return super().log_softmax_vjp(g, out)
        return self._softmax_launched(
            "softmax_vjp.cu", "log_softmax_vjp", out.shape, HELD_OF_TWO, g, out
        )

    def _softmax_launched(
        self,
        file: str,
        name: str,
        shape: tuple[int, ...],
        held: tuple[int, ...],
        *inputs: Array,
    ) -> Array:
        """A kernel's result, of `shape`, for rows (n, C) of the inputs."""
        assert self.kernels is not None
        inputs = tuple(map(self.xp.ascontiguousarray, inputs))
        (n, columns), dtype = inputs[0].shape, inputs[0].dtype
        out = self.xp.empty(shape, dtype)
        pointers = (each.data.ptr for each in (*inputs, out))
        wide = geometry.is_wide(columns, dtype.itemsize, *pointers)
        itemsize = working_dtype(dtype).itemsize
        if not wide and held is HELD_OF_TWO:
            held = held[:1]
        launch = geometry.rows(n, columns, itemsize, held)
        kernel = self.kernels.get(file, name, dtype, WIDE=int(wide), HELD=launch.held)
        kernel(launch.grid, launch.block, (*inputs, out, n, columns))
        return out
