"""Pooling on the CPU: some samples at a time, so that little is made on the way.

On one thread: a second made the largest of windows two times slower, not faster.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from .buffers import empty
from .dtypes import working_dtype
from .windows import Array, Window, WindowKernels

SAMPLE_BYTES = 1600 * 1024  # of x at a time; measured best among 64 KB .. 1.6 MB
BITS = {2: np.int16, 4: np.int32, 8: np.int64}


class NumpyPooling(WindowKernels):
    """The kernels of pooling, block of samples by block of samples."""

    def window_max(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        with_numbers: bool = True,
    ) -> tuple[Array, Array | None]:
        if x.dtype.kind != "f" or not x.size or 0 in positions:
            return super().window_max(x, window, positions, with_numbers)
        rows = _merged(x)
        best = empty((len(rows), 1, *positions), x.dtype)
        kind = np.dtype(np.uint8 if window.size <= 256 else np.int32)
        numbers = empty(best.shape, kind) if with_numbers else None
        first = self._first_inside(window, positions).astype(kind)

        def work(some: slice) -> None:
            target = best[some]
            found = None if numbers is None else numbers[some]
            frame = self._framed(rows[some], window, positions, -inf)
            _largest(frame, window.parts(positions), target, found, first)
            # Only where a nan came through does the order of comparisons matter.
            if found is not None and np.isnan(np.max(target)):
                plain = super(NumpyPooling, self).window_max
                found[...] = np.asarray(plain(rows[some], window, positions)[1])

        _by_samples(work, rows)
        shape = (*x.shape[:2], *positions)
        return best.reshape(shape), None if numbers is None else numbers.reshape(shape)

    def window_sum(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        if x.dtype.kind != "f" or not x.size or 0 in positions:
            return super().window_sum(x, window, positions, numbers)
        rows, chosen = _merged(x), None if numbers is None else _merged(numbers)
        out = empty((len(rows), 1, *positions), working_dtype(x.dtype))

        def work(some: slice) -> None:
            found = None if chosen is None else chosen[some]
            part = rows[some].astype(out.dtype, copy=False)
            frame = self._framed(part, window, positions, 0.0)
            total = out[some]
            for number, part in enumerate(window.parts(positions)):
                here = self._where_number(frame[(..., *part)], found, number)
                if number:
                    total += here
                else:
                    total[...] = here

        _by_samples(work, rows)
        return out.reshape(*x.shape[:2], *positions)

    def window_spread(
        self,
        y: Array,
        window: Window,
        lengths: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        if y.dtype.kind != "f" or not y.size or 0 in lengths:
            return super().window_spread(y, window, lengths, numbers)
        rows, chosen = _merged(y), None if numbers is None else _merged(numbers)
        positions = y.shape[2:]
        shape, inside = window.frame(positions, lengths)
        parts = window.parts(positions)
        out = empty((len(rows), 1, *lengths), working_dtype(y.dtype))
        apart = all(map(_apart, window.kernel, window.stride, window.dilation))
        covered = apart and shape == tuple(map(_product, window.kernel, positions))

        def work(some: slice) -> None:
            part = rows[some].astype(out.dtype, copy=False)
            found = None if chosen is None else chosen[some]
            whole = shape == tuple(lengths)
            frame = out[some] if whole else np.empty((len(part), 1, *shape), out.dtype)
            if not covered:
                frame.fill(0)
            for number, place in enumerate(parts):
                target = frame[(..., *place)]
                if apart:
                    self._put_number(target, part, found, number)
                else:
                    target += self._where_number(part, found, number)
            if not whole:
                out[some] = frame[(..., *inside)]

        _by_samples(work, rows)
        return out.reshape(*y.shape[:2], *lengths)

    def _where_number(self, values: Array, numbers: Array | None, number: int) -> Array:
        """Bit by bit: twice as fast as `where`, which can't predict its branches."""
        if numbers is None:
            return values
        out = np.empty(values.shape, values.dtype)
        self._put_number(out, values, numbers, number)
        return out

    def _put_number(
        self, out: Array, values: Array, numbers: Array | None, number: int
    ) -> None:
        """`out` = values where they have the number, else 0."""
        if numbers is None:
            out[...] = values
            return
        bits = BITS[values.itemsize]
        chosen = (numbers == number).astype(bits)
        np.multiply(chosen, values.view(bits), out=out.view(bits))


def _largest(
    frame: Array,
    parts: list[tuple[slice, ...]],
    best: Array,
    numbers: Array | None,
    first: Array,
) -> None:
    """The largest element under each window, and its number: of equals the first."""
    if numbers is None:
        np.copyto(best, frame[(..., *parts[0])])
        for part in parts[1:]:
            np.maximum(best, frame[(..., *part)], out=best)
        return
    numbers[...] = first
    best[...] = frame[(..., *parts[0])]
    here, better = np.empty_like(best), np.empty(best.shape, bool)
    kind = numbers.dtype.type
    for number, part in enumerate(parts[1:], 1):
        np.copyto(here, frame[(..., *part)])  # read twice
        np.greater(here, best, out=better)
        np.maximum(best, here, out=best)
        np.maximum(numbers, better * kind(number), out=numbers)


def _merged(x: Array) -> Array:
    """(N, C, ...) as (N C, 1, ...): the samples of a block may be parts of one."""
    return np.ascontiguousarray(x).reshape(-1, 1, *x.shape[2:])


def _apart(kernel: int, stride: int, dilation: int) -> bool:
    """Whether no two windows share an element, along one axis."""
    return kernel == 1 or (dilation == 1 and stride >= kernel)


def _product(a: int, b: int) -> int:
    return a * b


def _by_samples(work: Callable[[slice], None], rows: Any) -> None:
    """`work` on blocks of the rows."""
    step = max(1, SAMPLE_BYTES // max(1, rows[0].nbytes))
    for start in range(0, len(rows), step):
        work(slice(start, start + step))
