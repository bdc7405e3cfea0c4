"""Convolution on a CUDA device: columns by cuda/windows.cu, products by cuBLAS.

convolutions.py is the definition. What differs is the columns' order: those of a sample
are a matrix, so that a product's result is where it is wanted, and nothing is
transposed. The gradient of the weight sums over the samples: there columns are as in
the definition, and y is transposed. A window of one element needs no columns.
"""

from __future__ import annotations

from math import prod

from .base import Array
from .convolutions import _grouped, _rows
from .cuda.kernels import TYPES
from .cupy_products import CudaProducts
from .cupy_windows import CudaWindows
from .dtypes import working_dtype
from .windows import Window


class CudaConvolutions(CudaWindows, CudaProducts):
    """The three products of convolution; 16-bit floats are summed in float32."""

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
        dtype = self.xp.result_type(x.dtype, weight.dtype)
        joined = bias is not None and bias.dtype == dtype
        fits = self._has_window_kernel(x, window, positions, x.shape[2:])
        if not (fits and weight.size) or dtype.name not in TYPES:
            return super().convolution(x, weight, bias, window, positions, groups)
        x, w = x.astype(dtype, copy=False), _grouped(weight, groups)
        n, outputs, each = len(x), len(weight), prod(positions)
        out = self.xp.empty((n, outputs, *positions), dtype)
        if bias is not None and joined:  # what the product is added to
            out[...] = bias.reshape((-1,) + (1,) * len(positions))
        matrices = out.reshape(n, groups, outputs // groups, each)
        for some in self._convolution_parts(x, window, positions, dtype):
            columns = self._columns_of_samples(x[some], window, positions, groups)
            self.product(w, columns, matrices[some], beta=float(joined))
        if bias is None or joined:
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
        n, outputs, *rest = y.shape
        positions, channels = tuple(rest), groups * weight.shape[1]
        dtype = self.xp.result_type(y.dtype, weight.dtype)
        fits = weight.size and self._has_window_kernel(y, window, positions, lengths)
        if not fits or dtype.name not in TYPES:
            return super().transposed_convolution(y, weight, window, lengths, groups)
        each = prod(positions)
        w = _grouped(weight, groups).swapaxes(1, 2)
        y = self.xp.ascontiguousarray(y).reshape(n, groups, outputs // groups, each)
        out = self.xp.empty((n, channels, *lengths), dtype)
        if _is_point(window, positions, lengths):
            self.product(w, y, out.reshape(n, groups, channels // groups, each))
            return out
        work, rows = working_dtype(dtype), channels * window.size
        strides = (rows * each, window.size * each, each)
        for some in self._blocks(n, channels, window, positions, work):
            m = len(range(n)[some])
            columns = self.xp.empty((m, groups, rows // groups, each), work)
            self.product(w, y[some], columns)
            self._col2im(columns, out[some], strides, window, positions)
        return out

    def kernel_correlation(
        self, x: Array, y: Array, window: Window, groups: int
    ) -> Array:
        """For every element of the window, what it sees of x times y, summed."""
        channels, (_, outputs, *rest) = x.shape[1], y.shape
        positions, dtype = tuple(rest), self.xp.result_type(x.dtype, y.dtype)
        fits = y.size and self._has_window_kernel(x, window, positions, x.shape[2:])
        if not fits or dtype.name not in TYPES:
            return super().kernel_correlation(x, y, window, groups)
        x, y = x.astype(dtype, copy=False), y.astype(dtype, copy=False)
        rows = channels // groups * window.size
        total = self.xp.empty((groups, outputs // groups, rows), working_dtype(dtype))
        for some in self._convolution_parts(x, window, positions, dtype):
            if _is_point(window, positions, x.shape[2:]):
                columns = _rows(x[some], groups)
            else:
                columns = self._columns(x[some], window, positions, groups)
            left = _rows(y[some], groups)
            beta = 1.0 if some.start else 0.0
            self.product(left, columns.swapaxes(1, 2), total, beta=beta)
        shape = (outputs, channels // groups, *window.kernel)
        return total.astype(dtype, copy=False).reshape(shape)

    def _columns_of_samples(
        self, x: Array, window: Window, positions: tuple[int, ...], groups: int
    ) -> Array:
        """The windows of x as (n, groups, C / groups * kernel, positions)."""
        n, channels = x.shape[:2]
        each, rows = prod(positions), channels * window.size
        shape = (n, groups, rows // groups, each)
        if _is_point(window, positions, x.shape[2:]):
            return self.xp.ascontiguousarray(x).reshape(shape)
        columns = self.xp.empty(shape, x.dtype)
        strides = (rows * each, window.size * each, each)
        self._im2col(x, columns, strides, window, positions)
        return columns

    def _convolution_parts(
        self, x: Array, window: Window, positions: tuple[int, ...], dtype: object
    ) -> list[slice]:
        """Slices of the batch: all of it, where no columns are made."""
        if _is_point(window, positions, x.shape[2:]):
            return [slice(0, len(x))]
        return self._blocks(len(x), x.shape[1], window, positions, dtype)


def _is_point(
    window: Window, positions: tuple[int, ...], lengths: tuple[int, ...]
) -> bool:
    """Whether each window is one element, of all in order."""
    apart = set(window.stride) == {1} and not any(window.padding)
    return window.size == 1 and apart and tuple(positions) == tuple(lengths)
