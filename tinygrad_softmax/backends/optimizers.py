"""The kernels of optimizers over many arrays at once, in plain array code.

The definition of what `cupy_optimizers.py` does in one launch for all parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .dtypes import working_dtype
from .updates import Rule

Array = Any  # an array of some backend


class OptimizerKernels:
    """Updates, norms and scales of many arrays of one device."""

    xp: Any
    # Whether `update_at_once` is worth calling: it has a kernel, so that the gradients
    # need not be copied together.
    updates_at_once: bool = False

    def update(
        self, rule: Rule, p: Array, grad: Array, state: Mapping[str, Array], out: Array
    ) -> None:
        """One step of `rule`: change p and the state in place; grad and the scratch
        array `out` may be written to. All have one shape and a working dtype."""
        rule.apply(self.xp, p, grad, state, out)

    def update_at_once(
        self,
        rule: Rule,
        values: Array,
        state: Mapping[str, Array],
        stretches: Sequence[tuple[int, int]],
        grads: Sequence[Array],
        numbers: Array | None = None,
    ) -> None:
        """One step of `rule` for stretches (start, stop) of the flat array `values`.

        state: flat arrays of that size and dtype, by name. grads: the gradient of each
            stretch, of its size and of any shape and floating dtype; only read.
        numbers: `rule_numbers(rule)`, float64 on the device: these are taken and not
            those of `rule`, so that a captured step can be repeated with new ones.

        16-bit floats are computed in float32 and rounded once.
        """
        if numbers is not None:
            rule = type(rule)(*numbers.tolist()[: len(rule)])
        wide = working_dtype(values.dtype)
        for (start, stop), grad in zip(stretches, grads):
            stored = {"": values[start:stop]}
            stored |= {name: array[start:stop] for name, array in state.items()}
            used = {name: array.astype(wide) for name, array in stored.items()}
            grad = grad.reshape(-1).astype(wide)
            scratch = self.xp.empty_like(grad)
            self.update(rule, used[""], grad, used, scratch)
            for name, array in stored.items():
                array[...] = used[name]

    def prepare_update(self, stretches: Sequence[tuple[int, int]]) -> None:
        """Make on the current device what `update_at_once` of these stretches needs, so
        that no step copies anything there."""

    def norms(self, arrays: Sequence[Array], order: float) -> list[Array]:
        """Norms of order `order`, shape (), whose norm is that of all elements as one
        vector: here one for each array. 16-bit floats are computed in float32."""
        return [self._norm(array, order) for array in arrays]

    def _norm(self, values: Array, order: float) -> Array:
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

    def clip_all(self, arrays: Sequence[Array], norm: Array, max_norm: float) -> None:
        """array *= min(1, max_norm / (norm + 1e-6)) for each array, in place.

        norm: without axes, in a working dtype. A kernel multiplies 16-bit floats in
        float32; here the factor is rounded to 16 bits before.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            factor = self.xp.minimum(max_norm / (norm + 1e-6), 1.0)
            for array in arrays:
                array *= factor.astype(array.dtype, copy=False)

    def unscale(self, arrays: Sequence[Array], factor: float) -> Array:
        """array *= factor for each array, in place; whether all of them were finite
        before, as a bool without axes on the device."""
        xp, finite = self.xp, None
        with np.errstate(invalid="ignore", over="ignore"):
            for array in arrays:
                here = xp.isfinite(array).all()
                finite = here if finite is None else xp.logical_and(finite, here)
                array *= factor
        return xp.ones((), bool) if finite is None else finite


def rule_numbers(rule: Rule) -> tuple[float, ...]:
    """A rule as floats, in the order in which kernels take them."""
    return tuple(map(float, rule))
