"""The CPU backend: NumPy, with the loops that pay arranged for the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Backend
from .dtypes import working_dtype
from .targets import Targets

GELU_BYTES = 128 * 1024  # of x; there are some eight arrays of that size on the way
BLOCK_BYTES = 512 * 1024  # measured best among 128 KB .. 2 MB; fits a core's L2
COLUMN_BYTES = 1024 * 1024  # measured best among 256 KB .. 8 MB, 16 to 32 channels


class NumpyBackend(Backend):
    """Arrays in host memory, computed by NumPy."""

    name = "cpu"
    xp = np
    block_bytes = BLOCK_BYTES
    column_bytes = COLUMN_BYTES
    array_type = np.ndarray

    def softmax_cross_entropy(
        self,
        logits: Array,
        targets: Targets,
        grad: Array | None = None,
        scale: Any = 1.0,
    ) -> Array:
        """The reference kernel, block of rows by block of rows.

        A block stays in cache: logits are read from memory once, the gradient is
        written once, and nothing else of their size is ever allocated.
        """
        n, classes = logits.shape
        limit = self.block_bytes or logits.nbytes
        step = max(1, limit // max(1, classes * logits.itemsize))
        if n <= step:
            return super().softmax_cross_entropy(logits, targets, grad, scale)
        parts = []
        for start in range(0, n, step):
            rows = slice(start, start + step)
            part = None if grad is None else grad[rows]
            block = super().softmax_cross_entropy(
                logits[rows], targets[rows], part, scale
            )
            parts.append(block)
        return np.concatenate(parts)

    def _where_number(self, values: Array, numbers: Array | None, number: int) -> Array:
        """Bit by bit: twice as fast as `where`, which can't predict its branches."""
        if numbers is None:
            return values
        bits = values.view(f"i{values.itemsize}")
        mask = (numbers == number).astype(bits.dtype)
        np.negative(mask, out=mask)
        mask &= bits
        return mask.view(values.dtype)

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """The reference kernel, block by block: what it makes stays in cache."""
        step = GELU_BYTES // max(1, x.itemsize)
        if x.size <= step or x.dtype.kind != "f":
            return super().gelu(x, approximate, with_grad)
        flat = np.ascontiguousarray(x).reshape(-1)
        out = np.empty_like(flat)
        slope = np.empty(flat.shape, working_dtype(x.dtype)) if with_grad else None
        for start in range(0, flat.size, step):
            part = slice(start, start + step)
            out[part], found = super().gelu(flat[part], approximate, with_grad)
            if slope is not None:
                slope[part] = found
        return out.reshape(x.shape), None if slope is None else slope.reshape(x.shape)
