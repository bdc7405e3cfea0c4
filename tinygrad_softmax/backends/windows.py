"""Windows that slide over the last axes of an array, and the kernels that use them.

A window's place along an axis is p = 0, 1, ...; its element i is at coordinate

    p * stride - padding + i * dilation.

The elements of a window are numbered in row-major order. What lies outside the array
reads as zeros (for a maximum as -inf), and what is added there is lost. So padding is
only where the windows begin: how far they go, asymmetric padding and PyTorch's
`ceil_mode` are all in `positions`, how many windows there are along each axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, prod
from typing import Any, NamedTuple

import numpy as np

from .dtypes import working_dtype

Array = Any


class Window(NamedTuple):
    """The form of a window: along each axis, how many elements, and their places.

    >>> Window((2,), (1,), (0,), (3,)).parts((4,))
    [(slice(0, 4, 1),), (slice(3, 7, 1),)]
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]  # in front: where the first window begins
    dilation: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many elements a window has."""
        return prod(self.kernel)

    def offsets(self) -> Iterator[tuple[int, ...]]:
        """The index in the window of each of its elements, in order."""
        return np.ndindex(self.kernel)

    def parts(self, positions: tuple[int, ...]) -> list[tuple[slice, ...]]:
        """For each element of the window, the slices of the frame where it stands."""
        return [
            tuple(
                slice(i * d, i * d + (p - 1) * s + 1, s)
                for i, d, p, s in zip(
                    offset, self.dilation, positions, self.stride, strict=True
                )
            )
            for offset in self.offsets()
        ]

    def frame(
        self, positions: tuple[int, ...], lengths: tuple[int, ...]
    ) -> tuple[tuple[int, ...], tuple[slice, ...]]:
        """The lengths of a frame that holds an array and all its windows, and the
        slices where the array is."""
        ends = (
            (p - 1) * s + (k - 1) * d + 1
            for p, s, k, d in zip(
                positions, self.stride, self.kernel, self.dilation, strict=True
            )
        )
        inside = tuple(
            slice(before, before + n)
            for before, n in zip(self.padding, lengths, strict=True)
        )
        return tuple(map(max, ends, (part.stop for part in inside))), inside


class WindowKernels:
    """The kernels of convolution and pooling in plain array code; `Backend` has them.

    Leading axes: (N, C), a batch and channels.
    """

    xp: Any = np
    column_bytes: int = 1 << 28  # make so many bytes of columns at a time

    # -- convolution: windows as columns of a matrix -----------------------------

    def im2col(self, x: Array, window: Window, positions: tuple[int, ...]) -> Array:
        """x (N, C, *lengths) as columns (C, *kernel, N, *positions)."""
        xp, (n, channels) = self.xp, x.shape[:2]
        frame = self._framed(x, window, positions, 0.0).swapaxes(0, 1)
        columns = xp.empty((channels, window.size, n, *positions), x.dtype)
        for number, part in enumerate(window.parts(positions)):
            columns[:, number] = frame[(..., *part)]
        return columns.reshape(channels, *window.kernel, n, *positions)

    def col2im(self, columns: Array, window: Window, lengths: tuple[int, ...]) -> Array:
        """Columns (C, *kernel, N, *positions) added up to (N, C, *lengths): the
        transpose of `im2col`."""
        axes = len(lengths)
        channels, n, *_ = (columns.shape[0], *columns.shape[1 + axes :])
        positions = columns.shape[2 + axes :]
        columns = columns.reshape(channels, window.size, n, *positions)
        shape, inside = window.frame(positions, lengths)
        frame = self.xp.zeros((channels, n, *shape), columns.dtype)
        for number, part in enumerate(window.parts(positions)):
            frame[(..., *part)] += columns[:, number]
        return frame[(..., *inside)].swapaxes(0, 1)

    # -- pooling -----------------------------------------------------------------

    def window_max(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        with_numbers: bool = True,
    ) -> tuple[Array, Array | None]:
        """The largest element under each window, and its number in the window.

        x (N, C, *lengths) gives (N, C, *positions). Of equals it is the first; a nan
        counts as larger than all before it. None in place of the numbers if they are
        not wanted.
        """
        xp, numbers = self.xp, None
        frame = self._framed(x, window, positions, -inf)
        parts = window.parts(positions)
        best = frame[(..., *parts[0])].copy()
        if with_numbers:
            kind = np.dtype(np.uint8 if window.size <= 256 else np.int32)
            numbers = xp.zeros(best.shape, kind)
            numbers += self._first_inside(window, positions).astype(kind)
        for number, part in enumerate(parts[1:], 1):
            here = frame[(..., *part)].copy()  # read several times below
            if numbers is not None:
                better = (here > best) | (here != here)
                numbers = xp.maximum(numbers, better * numbers.dtype.type(number))
            best = xp.maximum(best, here)
        return best, numbers

    def window_sum(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        """The sum of the elements under each window, or just that of the given number.

        x (N, C, *lengths), numbers (N, C, *positions). 16-bit floats are summed in
        float32.
        """
        x = x.astype(working_dtype(x.dtype), copy=False)
        frame = self._framed(x, window, positions, 0.0)
        total = self.xp.zeros((*x.shape[:2], *positions), x.dtype)
        for number, part in enumerate(window.parts(positions)):
            total += self._where_number(frame[(..., *part)], numbers, number)
        return total

    def window_spread(
        self,
        y: Array,
        window: Window,
        lengths: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        """Each element of y (N, C, *positions) added to all elements of its window, or
        just to that of the given number: the transpose of `window_sum`."""
        y = y.astype(working_dtype(y.dtype), copy=False)
        positions = y.shape[2:]
        shape, inside = window.frame(positions, lengths)
        frame = self.xp.zeros((*y.shape[:2], *shape), y.dtype)
        for number, part in enumerate(window.parts(positions)):
            frame[(..., *part)] += self._where_number(y, numbers, number)
        return frame[(..., *inside)]

    def _where_number(self, values: Array, numbers: Array | None, number: int) -> Array:
        if numbers is None:
            return values
        return self.xp.where(numbers == number, values, values.dtype.type(0))

    def _framed(
        self, x: Array, window: Window, positions: tuple[int, ...], fill: float
    ) -> Array:
        """x with `fill` around it, so that every window is inside."""
        shape, inside = window.frame(positions, x.shape[2:])
        if shape == x.shape[2:]:
            return x
        frame = self.xp.full((*x.shape[:2], *shape), fill, x.dtype)
        frame[(..., *inside)] = x
        return frame

    def _first_inside(self, window: Window, positions: tuple[int, ...]) -> Array:
        """For each window, the number of its first element that is in the array: the
        largest where all are -inf."""
        xp, numbers = self.xp, self.xp.zeros((), np.int64)
        for p, s, before, k, d in zip(
            positions,
            window.stride,
            window.padding,
            window.kernel,
            window.dilation,
            strict=True,
        ):
            start = xp.arange(p) * s - before
            first = xp.maximum(-(start // d), 0)
            numbers = xp.expand_dims(numbers, -1) * k + first
        return numbers
