"""Dropout, in plain array code."""

from __future__ import annotations

from typing import Any

from .dtypes import float32

Array = Any


class DropoutKernels:
    """The kernels of dropout in plain array code; `Backend` has them.

    A `draw` (random.py) says which numbers a mask is made of, whenever it is made.

    redraws: whether the gradient makes the mask again, rather than keep it.
    """

    xp: Any
    redraws = False

    def native_generator(self, seed: tuple[int, int]) -> Any:
        raise NotImplementedError

    def kept(self, shape: tuple[int, ...], p: float, draw: Any) -> Array:
        """A mask that is True with probability 1 - p, to 2^-24."""
        native = self.native_generator((draw.seed, draw.number))
        return native.random(shape, dtype=float32) >= p

    def dropout(self, x: Array, p: float, draw: Any, shape: tuple[int, ...]) -> Array:
        """x times a mask of `shape` and 1 / (1 - p).

        shape: that of x, with a 1 for each of the last axes that is dropped as a whole.
        """
        one = x.dtype.type  # (`where` would have to branch)
        return x * (self.kept(shape, p, draw) * one(1.0 / (1.0 - p)))
