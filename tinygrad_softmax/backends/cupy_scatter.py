"""Adding by index on a CUDA device, by cuda/scatter.cu."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from .base import Array
from .cuda import geometry
from .cuda.kernels import TYPES
from .cupy_kernels import CudaKernels
from .determinism import are_deterministic_algorithms_enabled
from .dtypes import float32, int32, int64, is_half, working_dtype

WIDE_ROWS = 32  # elements of a row from which on 16-bit floats are sorted: beside that
# much, their order is nothing


class _Rows(NamedTuple):
    """`out[index]` as rows: out is (outer, rows, inner), of which `key` names some."""

    outer: int
    rows: int
    inner: int
    key: Array  # integers of one axis, perhaps out of range
    shape: tuple[int, ...]  # of out[index]


class CudaScatter(CudaKernels):
    """`out[index] += values`, with elements that are named twice.

    Kernels take rows: integer arrays side by side, after and before whole axes. The
    rest, and integers, are CuPy's.
    """

    cupyx: Any

    def scatter_add(self, out: Array, index: Any, values: Array) -> None:
        """`out[index] += values` in place; an element named twice gets both.

        32- and 64-bit floats are added atomically, in no fixed order: sums may differ
        in the last digits from run to run, unless `use_deterministic_algorithms(True)`
        was called. 16-bit floats add up in float32 and are rounded once; their rows are
        sorted and so have a fixed order, unless they are short.
        """
        if self.kernels is None or out.dtype.name not in TYPES or not out.size:
            self._add_by_cupy(out, index, values)
            return
        sort = are_deterministic_algorithms_enabled()
        if not out.flags.c_contiguous:
            copy = self.xp.ascontiguousarray(out)
            self.scatter_add(copy, index, values)
            out[...] = copy
            return
        found = self._scatter_rows(out.shape, index)
        if found is None and not sort:
            self._add_by_cupy(out, index, values)
            return
        if found is None:  # the place of every single element
            place = self.xp.arange(out.size).reshape(out.shape)[index]
            found = _Rows(1, out.size, 1, place.reshape(-1), place.shape)
        values = self.xp.asarray(values, out.dtype)
        values = self.xp.ascontiguousarray(self.xp.broadcast_to(values, found.shape))
        if not values.size:
            return
        if sort or (is_half(out.dtype) and found.inner >= WIDE_ROWS):
            self._add_sorted(out, found, values)
        else:
            self._add_atomically(out, found, values)

    def _add_atomically(self, out: Array, to: _Rows, values: Array) -> None:
        total = out.astype(working_dtype(out.dtype), copy=False)
        index = self.xp.ascontiguousarray(to.key.astype(int64, copy=False))
        launch, get = self._scattering(to, len(index), out, values)
        sizes = (to.outer, len(index), to.rows, to.inner)
        get("scatter_atomic")(*launch[:2], (values, index, total, *sizes))
        if total is not out:
            out[...] = total

    def _add_sorted(self, out: Array, to: _Rows, values: Array) -> None:
        xp = self.xp
        keys = to.key.astype(int64, copy=False) % to.rows
        # (A sort takes as many passes as a key has bytes.)
        short = keys.astype(int32) if to.rows < 2**31 else keys
        order = xp.argsort(short, kind="stable")
        keys, n = keys[order], len(keys)
        packs = to.outer * to.inner * out.itemsize // geometry.ACCESS
        chunk = geometry.chunk(n, packs)
        chunks = -(-n // chunk)
        work = working_dtype(out.dtype)
        borders = xp.empty((2, to.outer, chunks, to.inner), work)
        launch, get = self._scattering(to, chunks, out, values)
        sizes = (to.outer, n, to.rows, to.inner, chunk)
        arrays = (values, order, keys, out, borders)
        get("scatter_chunks")(*launch[:2], (*arrays, *sizes))
        get("scatter_borders")(*launch[:2], (keys, out, borders, *sizes))

    def _scattering(self, to: _Rows, items: int, out: Array, values: Array) -> Any:
        """The shape of a launch, and a function that gives the kernel of a name."""
        kernels = self.kernels
        assert kernels is not None
        size = out.itemsize
        wide = geometry.is_wide(to.inner, size, values.data.ptr, out.data.ptr)
        packs = -(-to.inner * size // geometry.ACCESS) if wide else to.inner
        launch = geometry.items(to.outer * items, packs)

        def get(name: str) -> Any:
            return kernels.get("scatter.cu", name, out.dtype, WIDE=int(wide))

        return launch, get

    def _scatter_rows(self, shape: tuple[int, ...], index: Any) -> _Rows | None:
        """How an index names rows; None if it is of another form."""
        parts = list(index) if isinstance(index, tuple) else [index]
        dots = [i for i, part in enumerate(parts) if part is Ellipsis]
        if dots:
            missing = len(shape) - (len(parts) - 1)
            parts[dots[0] : dots[0] + 1] = [slice(None)] * missing
        if len(dots) > 1 or len(parts) > len(shape):
            return None
        parts += [slice(None)] * (len(shape) - len(parts))
        named = [i for i, part in enumerate(parts) if not _is_whole(part)]
        if not named:
            return None
        first, last = named[0], named[-1]
        lengths = shape[first : last + 1]
        chosen = parts[first : last + 1]
        if not all(map(_is_index, chosen, lengths)):
            return None
        key = chosen[0]
        if len(chosen) > 1:
            key = 0
            for part, length in zip(chosen, lengths, strict=True):
                part = part if isinstance(part, int) else part.astype(int64, copy=False)
                key = key * length + part % length
        if isinstance(key, int):
            return None
        return _Rows(
            prod(shape[:first]),
            prod(lengths),
            prod(shape[last + 1 :]),
            key.reshape(-1),
            shape[:first] + key.shape + shape[last + 1 :],
        )

    def _add_by_cupy(self, out: Array, index: Any, values: Array) -> None:
        """What CUDA can't add goes through float32 (16-bit floats) or int32."""
        wide = _atomic_dtype(out.dtype)
        if wide == out.dtype:
            self.cupyx.scatter_add(out, index, values)
            return
        total = out.astype(wide)
        if hasattr(values, "dtype"):
            values = values.astype(wide)
        self.cupyx.scatter_add(total, index, values)
        out[...] = total


def _is_whole(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _is_index(part: Any, length: int) -> bool:
    """An integer in range, or an array of integers."""
    if isinstance(part, int) and not isinstance(part, bool):
        return -length <= part < length
    return getattr(getattr(part, "dtype", None), "kind", "") in ("i", "u")


def _atomic_dtype(dtype: np.dtype) -> np.dtype:
    """What CUDA adds atomically in place of `dtype`."""
    if is_half(dtype):
        return float32
    return int32 if dtype.kind in "iub" and dtype.itemsize < 4 else dtype
