"""The kernels of optimizers over many arrays at once, in plain array code.

The definition of what `cupy_optimizers.py` does in one launch for all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .dtypes import working_dtype

if TYPE_CHECKING:
    from .updates import Rule

Array = Any  # an array of some backend


class OptimizerKernels:
    """Updates, norms and scales of many arrays of one device."""

    xp: Any

    def updates_at_once(self, dtype: np.dtype) -> bool:
        """Whether `update_at_once` has a kernel for parameters of a dtype: then
        optimizers call it, and do not gather gradients block by block."""
        return False

    def update_at_once(
        self,
        rule: Rule,
        values: Array,
        state: Mapping[str, Array],
        places: Sequence[int],
        grads: Sequence[Array],
    ) -> None:
        """One step of `rule` for some parameters, which are parts of the flat array
        `values`.

        state: flat arrays of that size and dtype, by name.
        places: where each parameter begins.
        grads: their gradients, of any shape and floating dtype; only read.

        16-bit floats are computed in float32 and rounded once.
        """
        wide = working_dtype(values.dtype)
        for place, grad in zip(places, grads):
            part = slice(place, place + grad.size)
            stored = {"": values[part]}
            stored |= {name: array[part] for name, array in state.items()}
            used = {name: array.astype(wide) for name, array in stored.items()}
            grad = grad.reshape(-1).astype(wide)
            rule.apply(self.xp, used[""], grad, used, self.xp.empty_like(grad))
            for name, array in stored.items():
                array[...] = used[name]

    def vector_norms(self, arrays: Sequence[Array], order: float) -> list[Array]:
        """Norms of order `order`, shape (), whose norm is that of all elements as one
        vector: here one for each array. 16-bit floats are computed in float32."""
        return [self._vector_norm(array, order) for array in arrays]

    def _vector_norm(self, values: Array, order: float) -> Array:
        xp = self.xp
        values = values.reshape(-1).astype(working_dtype(values.dtype), copy=False)
        if order == 2.0:
            return xp.sqrt(values @ values)
        if not values.size:
            return xp.zeros((), values.dtype)
        magnitudes = xp.abs(values)
        if order == float("inf"):
            return magnitudes.max()
        if order == -float("inf"):
            return magnitudes.min()
        if order == 0.0:
            return (magnitudes != 0).sum().astype(values.dtype)
        return (magnitudes**order).sum() ** (1.0 / order)

    def clip_to_norm(
        self, arrays: Sequence[Array], norm: Array, max_norm: float
    ) -> None:
        """array *= min(1, max_norm / (norm + 1e-6)) for each array, in place.

        norm: shape (), of a working dtype. (A kernel multiplies 16-bit floats in
        float32; here the factor is rounded to 16 bits before.)
        """
        with np.errstate(over="ignore", invalid="ignore"):
            factor = self.xp.minimum(max_norm / (norm + 1e-6), 1.0)
            for array in arrays:
                array *= factor.astype(array.dtype, copy=False)

    def unscale(self, arrays: Sequence[Array], factor: float) -> Array:
        """array *= factor for each array, in place; whether all of them were finite
        before, as a bool of shape () on the device. (A kernel multiplies 16-bit floats
        in float32.)"""
        xp, finite = self.xp, None
        with np.errstate(invalid="ignore", over="ignore"):
            for array in arrays:
                here = xp.isfinite(array).all()
                finite = here if finite is None else xp.logical_and(finite, here)
                array *= factor
        return xp.ones((), bool) if finite is None else finite
