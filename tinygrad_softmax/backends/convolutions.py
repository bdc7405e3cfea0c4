"""The three products of convolution in plain array code; `Backend` has them.

With x (N, C, *lengths), weight w (O, C / groups, *kernel) and y (N, O, *positions):

    y[n, o, p] = sum over c, k of w[o, c, k] x[n, c, at(p, k)]     convolution
    x[n, c, l] = sum over o, p, k with at(p, k) = l of w y         its transpose
    w[o, c, k] = sum over n, p of y[n, o, p] x[n, c, at(p, k)]     correlation

at(p, k) = p * stride - padding + k * dilation. Each is a product of matrices, with the
windows of x as columns (Chellapilla, Puri and Simard, "High Performance Convolutional
Neural Networks for Document Processing", 2006), made for a few samples at a time.
16-bit floats are accumulated in float32.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .dtypes import working_dtype
from .windows import Array, Window, WindowKernels


class ConvolutionKernels(WindowKernels):
    """Convolution, its transpose and the correlation that gives a weight's gradient."""

    matmul: Any  # the backend's product of matrices

    def convolution(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        window: Window,
        positions: tuple[int, ...],
        groups: int,
    ) -> Array:
        """The products of the weight with every window of x, plus the bias (O,)."""
        n, dtype = x.shape[0], self.xp.result_type(x.dtype, weight.dtype)
        w = _grouped(weight, groups).astype(dtype, copy=False)
        out = self.xp.empty((n, len(weight), *positions), dtype)
        for some in self._blocks(n, x.shape[1], window, positions, dtype):
            part = x[some].astype(dtype, copy=False)
            y = self._product(w, self._columns(part, window, positions, groups))
            out[some] = y.reshape(len(weight), len(part), *positions).swapaxes(0, 1)
        if bias is None:
            return out
        return out + bias.reshape((-1,) + (1,) * len(positions))

    def transposed_convolution(
        self,
        y: Array,
        weight: Array,
        window: Window,
        lengths: tuple[int, ...],
        groups: int,
    ) -> Array:
        """Each element of y times the weight, added up where the windows overlap."""
        n, _, *positions = y.shape
        dtype = self.xp.result_type(y.dtype, weight.dtype)
        w = _grouped(weight, groups).astype(working_dtype(dtype), copy=False)
        channels = groups * weight.shape[1]
        out = self.xp.empty((n, channels, *lengths), dtype)
        for some in self._blocks(n, channels, window, positions, w.dtype):
            part = y[some].astype(w.dtype, copy=False)
            columns = self._product(w.swapaxes(1, 2), _rows(part, groups))
            shape = (channels, *window.kernel, len(part), *positions)
            out[some] = self.col2im(columns.reshape(shape), window, lengths)
        return out

    def kernel_correlation(
        self, x: Array, y: Array, window: Window, groups: int
    ) -> Array:
        """For every element of the window, what it sees of x times y, summed."""
        channels, (n, outputs, *positions) = x.shape[1], y.shape
        dtype = self.xp.result_type(x.dtype, y.dtype)
        work = working_dtype(dtype)
        columns, rows = channels // groups * window.size, outputs // groups
        total = self.xp.zeros((groups, rows, columns), work)
        for some in self._blocks(n, channels, window, positions, work):
            part = x[some].astype(work, copy=False)
            right = self._columns(part, window, tuple(positions), groups)
            left = _rows(y[some].astype(work, copy=False), groups)
            total += self._product(left, right.swapaxes(1, 2))
        shape = (outputs, channels // groups, *window.kernel)
        return total.astype(dtype, copy=False).reshape(shape)

    # -- as products of matrices, one for each group -----------------------------

    def _columns(
        self, x: Array, window: Window, positions: tuple[int, ...], groups: int
    ) -> Array:
        """The windows of x as (groups, C / groups * kernel, n * positions)."""
        n, channels = x.shape[:2]
        columns = self.im2col(x, window, positions)
        rows = channels // groups * window.size
        return columns.reshape(groups, rows, n * prod(positions))

    def _product(self, a: Array, b: Array) -> Array:
        """a @ b; of a single group as the product of two plain matrices."""
        if len(a) == 1:
            return self.matmul(a[0], b[0])[None]
        return self.matmul(a, b)

    def _blocks(
        self, n: int, channels: int, window: Window, positions: Any, dtype: Any
    ) -> list[slice]:
        """Slices of the batch, each with about `column_bytes` of columns."""
        sample = channels * window.size * prod(positions) * dtype.itemsize
        step = max(1, self.column_bytes // max(1, sample))
        return [slice(start, min(n, start + step)) for start in range(0, n, step)]


def _grouped(weight: Array, groups: int) -> Array:
    """A weight (O, C / groups, *kernel) as matrices (groups, O / groups, -)."""
    outputs, *rest = weight.shape
    return weight.reshape(groups, outputs // groups, prod(rest))


def _rows(y: Array, groups: int) -> Array:
    """(n, O, *positions) as matrices (groups, O / groups, n * positions)."""
    n, outputs, *positions = y.shape
    return y.swapaxes(0, 1).reshape(groups, outputs // groups, n * prod(positions))
