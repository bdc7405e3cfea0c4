"""Optimizers on a CUDA device: cuda/optimizers.cu and cuda/gradients.cu.

OptimizerKernels in optimizers.py is the definition. One launch serves up to MOST_ARRAYS
arrays: their addresses are part of the launch, and where they are cut into chunks is a
table in the device's memory, which is made once for arrays of such sizes. So nothing is
copied to the device in a step, and a step can be captured in a graph.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .base import Array
from .cuda import geometry
from .cuda.geometry import MOST_ARRAYS
from .cuda.kernels import TYPES, takes
from .cupy_kernels import CudaKernels
from .dtypes import float64, working_dtype
from .optimizers import rule_numbers
from .updates import Rule

MOST_TABLES = 64  # tables of chunks that are kept
MOST_PARTS = 1024  # blocks of a norm: few partial results, the same ones on any device
MOST_NUMBERS = 12  # of a rule, as in optimizers.cu
KINDS = {2.0: 0, 1.0: 1, float("inf"): 2}  # of norms that have a kernel, as in it

# The structs of common.cuh and optimizers.cu, which are part of a launch.
ARRAYS = np.dtype([("at", np.uint64, MOST_ARRAYS)])
STEP = np.dtype([("numbers", np.float64, MOST_NUMBERS), ("gradients", ARRAYS)])


class _Part(NamedTuple):
    """The arrays `which` of a list, which one launch serves, and its table."""

    which: slice
    chunks: Array
    count: int


class CupyOptimizerKernels(CudaKernels):
    """The kernels of optimizers.py, some launches for all arrays together."""

    def update_at_once(
        self,
        rule: Rule,
        values: Array,
        state: Mapping[str, Array],
        stretches: Sequence[tuple[int, int]],
        grads: Sequence[Array],
        numbers: Array | None = None,
    ) -> None:
        """One step of `rule` for stretches of `values`, as `OptimizerKernels` says.

        A gradient that isn't contiguous, has another dtype or is part of `values` is
        copied first.
        """
        if self.kernels is None or values.dtype.name not in TYPES:
            super().update_at_once(rule, values, state, stretches, grads, numbers)
            return
        name, used = rule.kernel()
        kernel = self.kernels.get("optimizers.cu", name, values.dtype, WIDE=1)
        states = [state[each] for each in used] + [None] * (3 - len(used))
        grads = [self._apart(grad, values) for grad in grads]
        step = np.zeros((), STEP)
        fields = rule_numbers(rule)
        step["numbers"][: len(fields)] = fields
        for which, chunks, count in self._parts_of(stretches):
            _write_addresses(step["gradients"], grads[which])
            grid, block = (min(count, geometry.MOST_BLOCKS),), (geometry.CHUNK_THREADS,)
            kernel(grid, block, (step, chunks, count, values, *states, numbers))

    def prepare_update(self, stretches: Sequence[tuple[int, int]]) -> None:
        """Make the table of chunks of these stretches."""
        if self.updates_at_once:
            self._parts_of(stretches)

    @property
    def updates_at_once(self) -> bool:  # type: ignore[override]
        """Whether there are kernels."""
        return self.kernels is not None

    def norms(self, arrays: Sequence[Array], order: float) -> list[Array]:
        """Norms whose norm is that of all elements: one for each dtype with a kernel.

        Elements are added up in the working dtype 4 or 8 at a time, and then in
        float64, in an order that depends on nothing but the sizes.
        """
        kind, found = KINDS.get(order), []
        alike: dict[np.dtype, list[Array]] = {}
        for array in arrays:
            if self.kernels is not None and kind is not None and takes(array):
                alike.setdefault(array.dtype, []).append(array)
            else:
                found += super().norms([array], order)
        return found + [self._norm_of_all(each, kind) for each in alike.values()]

    def _norm_of_all(self, arrays: list[Array], kind: int | None) -> Array:
        assert self.kernels is not None
        xp, dtype = self.xp, arrays[0].dtype
        arrays = [xp.ascontiguousarray(array) for array in arrays]
        launches = self._parts(tuple(array.size for array in arrays))
        starts = [0]
        for _, _, count in launches:
            starts.append(starts[-1] + min(count, MOST_PARTS))
        parts = xp.empty(starts[-1], float64)
        kernel = self.kernels.get("gradients.cu", "norm_parts", dtype, WIDE=1)
        block = (geometry.CHUNK_THREADS,)
        for (which, chunks, count), start in zip(launches, starts):
            table = _write_addresses(np.zeros((), ARRAYS), arrays[which])
            grid = (min(count, MOST_PARTS),)
            kernel(grid, block, (table, chunks, count, parts[start:], kind))
        norm = xp.empty((), working_dtype(dtype))
        total = self.kernels.get("gradients.cu", "norm_total", dtype, WIDE=1)
        total((1,), block, (parts, starts[-1], norm, kind))
        return norm

    def clip_all(self, arrays: Sequence[Array], norm: Array, max_norm: float) -> None:
        """array *= min(1, max_norm / (norm + 1e-6)) for each array, in place."""
        alike, others = self._in_place(arrays)
        if others:
            super().clip_all(others, norm, max_norm)
        for dtype, some in alike.items():
            of_dtype = norm.astype(working_dtype(dtype), copy=False)
            self._scale("clip_by_norm", some, of_dtype, float(max_norm))

    def unscale(self, arrays: Sequence[Array], factor: float) -> Array:
        """array *= factor for each array; whether all of them were finite before."""
        alike, others = self._in_place(arrays)
        finite = super().unscale(others, factor)
        for some in alike.values():
            self._scale("unscale", some, float(factor), finite)
        return finite

    def _scale(self, name: str, arrays: list[Array], *arguments: Any) -> None:
        assert self.kernels is not None
        kernel = self.kernels.get("gradients.cu", name, arrays[0].dtype, WIDE=1)
        for which, chunks, count in self._parts(tuple(a.size for a in arrays)):
            table = _write_addresses(np.zeros((), ARRAYS), arrays[which])
            grid, block = (min(count, geometry.MOST_BLOCKS),), (geometry.CHUNK_THREADS,)
            kernel(grid, block, (table, chunks, count, *arguments))

    def _in_place(
        self, arrays: Sequence[Array]
    ) -> tuple[dict[np.dtype, list[Array]], list[Array]]:
        """The arrays that a kernel may change, by dtype, and the others: not
        contiguous, of no floating dtype, or given twice."""
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

    def _apart(self, grad: Array, values: Array) -> Array:
        """A gradient as a kernel takes it."""
        if grad.dtype != values.dtype:
            return self.xp.ascontiguousarray(grad).astype(values.dtype)
        if grad.base is not None and grad.base is values:
            return grad.copy()
        return self.xp.ascontiguousarray(grad)

    # -- tables of chunks --------------------------------------------------------------

    @functools.cached_property
    def _tables(self) -> dict[tuple, list[_Part]]:
        """Those that were made. (A captured graph must not outlive its table.)"""
        return {}

    def _parts_of(self, stretches: Sequence[tuple[int, int]]) -> list[_Part]:
        begins = tuple(start for start, _ in stretches)
        return self._parts(tuple(stop - start for start, stop in stretches), begins)

    def _parts(
        self, sizes: tuple[int, ...], begins: tuple[int, ...] | None = None
    ) -> list[_Part]:
        """What is launched for arrays of these sizes on the current device."""
        key = self.device_name(), sizes, begins
        found = self._tables.get(key)
        if found is None:
            if len(self._tables) >= MOST_TABLES:
                self._tables.clear()
            found = self._make_parts(sizes, begins or (0,) * len(sizes))
            self._tables[key] = found
        return found

    def _make_parts(
        self, sizes: tuple[int, ...], begins: tuple[int, ...]
    ) -> list[_Part]:
        parts = []
        for start in range(0, len(sizes), MOST_ARRAYS):
            which = slice(start, start + MOST_ARRAYS)
            chunks = geometry.chunks(sizes[which], begins[which])
            if len(chunks):
                there = self.upload(self.pinned(chunks), self.device_name())
                parts.append(_Part(which, there, len(chunks)))
        return parts


def _write_addresses(table: np.ndarray, arrays: Sequence[Array]) -> np.ndarray:
    """Fill in an ARRAYS."""
    table["at"][: len(arrays)] = [array.data.ptr for array in arrays]
    return table
