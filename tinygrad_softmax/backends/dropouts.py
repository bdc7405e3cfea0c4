"""Dropout, in plain array code: a mask of one draw, which is kept for the gradient."""

from __future__ import annotations

from typing import Any

from .dtypes import float32

Array = Any


class DropoutKernels:
    """The kernels of dropout in plain array code; `Backend` has them.

    A `draw` (random.py) says which numbers a mask is made of, whenever it is made.
    """

    xp: Any

    def native_generator(self, seed: tuple[int, int]) -> Any:
        raise NotImplementedError

    def kept(self, shape: tuple[int, ...], p: float, draw: Any) -> Array:
        """A mask that is True with probability 1 - p, to 2^-24."""
        native = self.native_generator((draw.seed, draw.number))
        return native.random(shape, dtype=float32) >= p

    def dropout(
        self, x: Array, p: float, draw: Any, shape: tuple[int, ...], with_grad: bool
    ) -> tuple[Array, Any]:
        """x times a mask of `shape` and 1 / (1 - p), and the two latter as one array.

        None for that without `with_grad`, and where the gradient is dropout, with the
        same draw, of the gradient. shape: that of x, with a 1 for each of the last axes
        which is dropped as a whole.
        """
        one = x.dtype.type
        kept = self.xp.asarray(self.kept(shape, p, draw))  # (shape (): NumPy's scalar)
        mask = kept * one(1.0 / (1.0 - p))  # (`where` would have to branch)
        return x * mask, mask if with_grad else None
