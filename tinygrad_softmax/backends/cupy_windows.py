"""Columns and pooling on a CUDA device, by cuda/windows.cu.

windows.py is the definition. It still does what has no kernel: integers, arrays without
elements, windows over more than three axes, and planes (what a sample has of one
channel) of more than 2^30 elements.
"""

from __future__ import annotations

from math import prod

import numpy as np

from .base import Array
from .cuda import geometry
from .cuda.kernels import TYPES
from .cupy_kernels import CudaKernels
from .dtypes import working_dtype
from .windows import Window

AXES = 3
MOST = 2**30  # (counters go past what they count)


class CudaWindows(CudaKernels):
    """The kernels of `windows.py`, one launch each; x is read once, mostly."""

    def im2col(self, x: Array, window: Window, positions: tuple[int, ...]) -> Array:
        """x (N, C, *lengths) as columns (C, *kernel, N, *positions)."""
        n, channels = x.shape[:2]
        fits = self._has_window_kernel(x, window, positions, x.shape[2:])
        if not fits or n * channels >= 2 * MOST:
            return super().im2col(x, window, positions)
        columns = self.xp.empty((channels, *window.kernel, n, *positions), x.dtype)
        each = prod(positions)
        strides = (each, window.size * n * each, n * each)
        self._im2col(x, columns, strides, window, positions)
        return columns

    def col2im(self, columns: Array, window: Window, lengths: tuple[int, ...]) -> Array:
        """Columns (C, *kernel, N, *positions) added up to (N, C, *lengths), each
        element's in the order of its window: the transpose of `im2col`."""
        axes = len(lengths)
        channels, n = columns.shape[0], columns.shape[1 + axes]
        positions = columns.shape[2 + axes :]
        fits = self._has_window_kernel(columns, window, positions, lengths)
        if not fits or n * channels >= 2 * MOST:
            return super().col2im(columns, window, lengths)
        each, x = prod(positions), self.xp.empty((n, channels, *lengths), columns.dtype)
        strides = (each, window.size * n * each, n * each)
        columns = columns.astype(working_dtype(x.dtype), copy=False)
        self._col2im(columns, x, strides, window, positions)
        return x

    def window_max(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        with_numbers: bool = True,
    ) -> tuple[Array, Array | None]:
        """The largest element under each window, and its number in the window."""
        lengths = x.shape[2:]
        if not self._has_window_kernel(x, window, positions, lengths):
            return super().window_max(x, window, positions, with_numbers)
        shape, numbers = (*x.shape[:2], *positions), None
        out = self.xp.empty(shape, x.dtype)
        if with_numbers:
            kind = np.uint8 if window.size <= 256 else np.int32
            numbers = self.xp.empty(shape, kind)
        x, planes = self.xp.ascontiguousarray(x), prod(x.shape[:2])
        args = (x, out, *_pair(numbers), planes, *_sizes(window, positions, lengths))
        self._window_launch("window_max", x.dtype, planes, prod(positions), args)
        return out, numbers

    def window_sum(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        """The sum of the elements under each window, or just that of the given number.

        16-bit floats are summed in float32, and rounded once. A window that is the
        whole plane is summed by CuPy: in the kernel one thread would have all of it.
        """
        lengths = x.shape[2:]
        if not self._has_window_kernel(x, window, positions, lengths, numbers):
            return super().window_sum(x, window, positions, numbers)
        if numbers is None and _covers(window, positions, lengths):
            total = self.sum(x, tuple(range(2, x.ndim)), keepdims=True)
            return total.astype(x.dtype, copy=False)
        out = self.xp.empty((*x.shape[:2], *positions), x.dtype)
        self._pool("window_sum", x, out, window, positions, lengths, numbers)
        return out

    def window_spread(
        self,
        y: Array,
        window: Window,
        lengths: tuple[int, ...],
        numbers: Array | None = None,
    ) -> Array:
        """Each element of y (N, C, *positions) added to all elements of its window, or
        just to that of the given number: the transpose of `window_sum`.

        16-bit floats are summed in float32, and rounded once.
        """
        positions = y.shape[2:]
        if not self._has_window_kernel(y, window, positions, lengths, numbers):
            return super().window_spread(y, window, lengths, numbers)
        out = self.xp.empty((*y.shape[:2], *lengths), y.dtype)
        self._pool("window_spread", y, out, window, positions, lengths, numbers)
        return out

    def _pool(
        self,
        name: str,
        x: Array,
        out: Array,
        window: Window,
        positions: tuple[int, ...],
        lengths: tuple[int, ...],
        numbers: Array | None,
    ) -> None:
        x = self.xp.ascontiguousarray(x)
        if numbers is not None:
            numbers = self.xp.ascontiguousarray(numbers)
        planes, sizes = prod(x.shape[:2]), _sizes(window, positions, lengths)
        args = (x, *_pair(numbers), out, planes, *sizes)
        self._window_launch(name, x.dtype, planes, prod(out.shape[2:]), args)

    def _im2col(
        self,
        x: Array,
        columns: Array,
        strides: tuple[int, int, int],
        window: Window,
        positions: tuple[int, ...],
    ) -> None:
        """columns[sample, channel, element, place] = x there; strides: of the first
        three, in elements."""
        x, (n, channels) = self.xp.ascontiguousarray(x), x.shape[:2]
        sizes = _sizes(window, positions, x.shape[2:])
        args = (x, columns, n, channels, *strides, *sizes)
        self._window_launch("im2col", x.dtype, n * channels, prod(positions), args)

    def _col2im(
        self,
        columns: Array,
        x: Array,
        strides: tuple[int, int, int],
        window: Window,
        positions: tuple[int, ...],
    ) -> None:
        """x = the sum of what columns have for it; columns are of the working dtype."""
        columns, (n, channels, *lengths) = self.xp.ascontiguousarray(columns), x.shape
        sizes = _sizes(window, positions, tuple(lengths))
        args = (columns, x, n, channels, *strides, *sizes)
        self._window_launch("col2im", x.dtype, n * channels, prod(lengths), args)

    def _window_launch(
        self, name: str, dtype: np.dtype, planes: int, places: int, args: tuple
    ) -> None:
        assert self.kernels is not None
        launch = geometry.items(planes, places)
        kernel = self.kernels.get("windows.cu", name, dtype)
        kernel(launch.grid, launch.block, args)

    def _has_window_kernel(
        self,
        x: Array,
        window: Window,
        positions: tuple[int, ...],
        lengths: tuple[int, ...],
        numbers: Array | None = None,
    ) -> bool:
        """Whether there is a kernel for these arrays and this window."""
        if self.kernels is None or x.dtype.name not in TYPES or not x.size:
            return False
        if numbers is not None and numbers.dtype not in (np.uint8, np.int32):
            return False
        spans = (
            (p - 1) * s + (k - 1) * d + n + before
            for n, p, k, s, before, d in zip(lengths, positions, *window, strict=True)
        )
        fits = all(0 < span <= MOST for span in spans) and 0 not in positions
        sizes = (prod(positions), prod(lengths), window.size)
        return len(lengths) <= AXES and fits and all(0 < n <= MOST for n in sizes)


def _pair(numbers: Array | None) -> tuple[Array | None, Array | None]:
    """Numbers as the kernels take them: bytes, or ints."""
    if numbers is None:
        return None, None
    return (numbers, None) if numbers.itemsize == 1 else (None, numbers)


def _covers(
    window: Window, positions: tuple[int, ...], lengths: tuple[int, ...]
) -> bool:
    """Whether there is one window, of all elements in order."""
    alone = set(positions) == {1} and not any(window.padding)
    return alone and window.kernel == lengths and set(window.dilation) == {1}


def _sizes(
    window: Window, positions: tuple[int, ...], lengths: tuple[int, ...]
) -> tuple[int, ...]:
    """The numbers of each of three axes, in the kernels' order."""
    axes = list(zip(lengths, positions, *window, strict=True))
    axes = [(1, 1, 1, 1, 0, 1)] * (AXES - len(axes)) + axes
    return tuple(int(n) for axis in axes for n in axis)
