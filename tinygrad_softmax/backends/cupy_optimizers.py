"""Optimizers on a CUDA device: cuda/optimizers.cu and cuda/gradients.cu.

OptimizerKernels in optimizers.py is the definition. One launch serves up to MOST_ARRAYS
arrays, whose addresses are part of it, as are a rule's numbers: a step copies nothing
to the device and waits for nothing. (So a step that a CUDA graph has captured is
repeated with the numbers, and for the gradients, that it was captured with.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from .base import Array
from .cuda import geometry
from .cuda.geometry import MOST_ARRAYS
from .cuda.kernels import TYPES, takes
from .cupy_kernels import CudaKernels
from .dtypes import float64, working_dtype
from .updates import Rule

RULES = get_args(Rule)  # those that optimizers.cu has
MOST_PARTS = 1024  # blocks of a norm: few partial results, the same ones on any device
BLOCK = (geometry.CHUNK_THREADS,)

# The structs of arrays.cuh and optimizers.cu. CuPy gives a kernel a NumPy array of one
# element by value.
ARRAYS = np.dtype(
    [
        ("at", np.uint64, MOST_ARRAYS),
        ("place", np.int64, MOST_ARRAYS),
        ("chunks", np.int32, MOST_ARRAYS),
        ("rest", np.int32, MOST_ARRAYS),
    ]
)
STEP = np.dtype([("numbers", np.float64, 12), ("gradients", ARRAYS)])


class CudaOptimizers(CudaKernels):
    """The kernels of optimizers.py, one launch for many arrays."""

    def updates_at_once(self, dtype: np.dtype) -> bool:
        """Whether there is a kernel for parameters of a dtype."""
        return self.kernels is not None and dtype.name in TYPES

    def update_at_once(
        self,
        rule: Rule,
        values: Array,
        state: Mapping[str, Array],
        places: Sequence[int],
        grads: Sequence[Array],
    ) -> None:
        """One step of `rule` for the parts of `values` that begin at `places`.

        A gradient with gaps, or one made of the parameters' own memory, is copied
        first. One of another dtype has no kernel, nor has a rule from elsewhere.
        """
        if self.kernels is None or type(rule) not in RULES or not takes(values):
            super().update_at_once(rule, values, state, places, grads)
            return
        ours: list[tuple[int, Array]] = []
        for place, grad in zip(places, grads):
            if takes(grad, values):
                ours.append((place, self._gradient_apart(grad, values)))
            elif grad.size:
                super().update_at_once(rule, values, state, [place], [grad])
        macros = {"WIDE": 1, "RULE": type(rule).__name__}
        kernel = self.kernels.get("optimizers.cu", "update", values.dtype, **macros)
        states = [None if each is None else state[each] for each in rule.states()]
        step = np.zeros((), STEP)
        step["numbers"][: len(rule)] = rule
        for table, count in _tables([grad for _, grad in ours], [at for at, _ in ours]):
            step["gradients"] = table
            grid = (min(count, geometry.MOST_BLOCKS),)
            kernel(grid, BLOCK, (step, count, values, *states))

    def _gradient_apart(self, grad: Array, values: Array) -> Array:
        """A gradient without gaps that is no part of the parameters (p.grad = p)."""
        if grad.base is values:
            return grad.copy()
        return self.xp.ascontiguousarray(grad)

    def vector_norms(self, arrays: Sequence[Array], order: float) -> list[Array]:
        """Norms whose norm is that of all elements: of order 2 one for each dtype. Of
        other orders there is no kernel.

        The squares of neighbouring elements are added up in the working dtype and those
        sums in float64, in an order that depends on nothing but the sizes.
        """
        found = []
        alike: dict[np.dtype, list[Array]] = {}
        for array in arrays:
            if self.kernels is not None and order == 2.0 and takes(array):
                alike.setdefault(array.dtype, []).append(array)
            else:
                found += super().vector_norms([array], order)
        return found + [self._norm_of_all(each) for each in alike.values()]

    def _norm_of_all(self, arrays: list[Array]) -> Array:
        assert self.kernels is not None
        xp, dtype = self.xp, arrays[0].dtype
        arrays = [xp.ascontiguousarray(array) for array in arrays]
        launches = [
            (each, min(count, MOST_PARTS), count) for each, count in _tables(arrays)
        ]
        parts = xp.empty(sum(blocks for _, blocks, _ in launches), float64)
        kernel = self.kernels.get("gradients.cu", "norm_parts", dtype, WIDE=1)
        done = 0
        for table, blocks, count in launches:
            kernel((blocks,), BLOCK, (table, count, parts[done:]))
            done += blocks
        norm = xp.empty((), working_dtype(dtype))
        total = self.kernels.get("gradients.cu", "norm_total", dtype, WIDE=1)
        total((1,), BLOCK, (parts, done, norm))
        return norm

    def clip_to_norm(
        self, arrays: Sequence[Array], norm: Array, max_norm: float
    ) -> None:
        """array *= min(1, max_norm / (norm + 1e-6)) for each array, in place."""
        alike, others = self._scaled_in_place(arrays)
        if others:
            super().clip_to_norm(others, norm, max_norm)
        for dtype, some in alike.items():
            norm_of_dtype = norm.astype(working_dtype(dtype), copy=False)
            self._scale_all("clip_to_norm", some, norm_of_dtype, float(max_norm))

    def unscale(self, arrays: Sequence[Array], factor: float) -> Array:
        """array *= factor for each array; whether all of them were finite before."""
        alike, others = self._scaled_in_place(arrays)
        finite = super().unscale(others, factor)
        for some in alike.values():
            self._scale_all("unscale", some, float(factor), finite)
        return finite

    def _scale_all(self, name: str, arrays: list[Array], *arguments: Any) -> None:
        assert self.kernels is not None
        kernel = self.kernels.get("gradients.cu", name, arrays[0].dtype, WIDE=1)
        for table, count in _tables(arrays):
            grid = (min(count, geometry.MOST_BLOCKS),)
            kernel(grid, BLOCK, (table, count, *arguments))

    def _scaled_in_place(
        self, arrays: Sequence[Array]
    ) -> tuple[dict[np.dtype, list[Array]], list[Array]]:
        """The arrays that a kernel may change, by dtype, and the others: those with
        gaps, of no dtype that has a kernel, or given a second time."""
        alike: dict[np.dtype, list[Array]] = {}
        others, seen = [], set[int]()
        for array in arrays:
            fits = self.kernels is not None and takes(array)
            if fits and array.flags.c_contiguous and array.data.ptr not in seen:
                seen.add(array.data.ptr)
                alike.setdefault(array.dtype, []).append(array)
            else:
                others.append(array)
        return alike, others


def _tables(
    arrays: Sequence[Array], places: Sequence[int] | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """For each launch over these arrays: its ARRAYS, and the number of chunks."""
    for start in range(0, len(arrays), MOST_ARRAYS):
        some = arrays[start : start + MOST_ARRAYS]
        at = places[start : start + MOST_ARRAYS] if places else [0] * len(some)
        table, count = _table(tuple(each.size for each in some), tuple(at))
        table = table.copy()
        table["at"][: len(some)] = [each.data.ptr for each in some]
        yield table, count


@functools.lru_cache(maxsize=64)
def _table(sizes: tuple[int, ...], places: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """An ARRAYS without addresses, and the number of chunks."""
    table = np.zeros((), ARRAYS)
    chunks, rest = geometry.array_chunks(sizes)
    table["place"][: len(sizes)] = places
    table["chunks"] = np.iinfo(np.int32).max
    table["chunks"][: len(sizes)] = chunks
    table["rest"][: len(sizes)] = rest
    return table, chunks[-1]
