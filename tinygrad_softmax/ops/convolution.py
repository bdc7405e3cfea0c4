"""Convolution: three products that are one another's gradients.

With x (N, C, *lengths), weight w (O, C / groups, *kernel) and y (N, O, *positions),
over any number of spatial axes, each product sums over what the other two share:

    y[n, o, p] = sum over c, k of w[o, c, k] x[n, c, at(p, k)]     convolution
    x[n, c, l] = sum over o, p, k with at(p, k) = l of w y         its transpose
    w[o, c, k] = sum over n, p of y[n, o, p] x[n, c, at(p, k)]     correlation

at(p, k) = p * stride - padding + k * dilation. The sum of w x y over everything is
linear in each of the three, and these are its derivatives by y, x and w. So the
gradients of one are the other two, and every order is made of the same three forwards.

Each is a product of matrices, with the windows of x as columns (Chellapilla, Puri and
Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006),
made for a few samples at a time. It is PyTorch's convolution, mathematicians'
cross-correlation; `tg.nn.functional.conv2d` and its like check what users give.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ..autograd import primitive
from ..backends import backend_of
from ..backends.dtypes import working_dtype


@primitive
def convolution(x, weight, *, window, positions, groups):
    """The products of the weight with every window of x."""
    backend, n = backend_of(x), x.shape[0]
    dtype = backend.xp.result_type(x.dtype, weight.dtype)
    w = _grouped(weight, groups).astype(dtype, copy=False)
    out = backend.xp.empty((n, len(weight), *positions), dtype)
    for some in _blocks(backend, n, x.shape[1], window, positions, dtype):
        part = x[some].astype(dtype, copy=False)
        columns = _columns(backend, part, window, positions, groups)
        y = _product(backend, w, columns)
        out[some] = y.reshape(len(weight), len(part), *positions).swapaxes(0, 1)
    return out


@primitive
def transposed_convolution(y, weight, *, window, lengths, groups):
    """Every element of y times the weight, added up where the windows overlap."""
    backend, (n, _, *positions) = backend_of(y), y.shape
    dtype = backend.xp.result_type(y.dtype, weight.dtype)
    w = _grouped(weight, groups).astype(working_dtype(dtype), copy=False)
    channels = groups * weight.shape[1]
    out = backend.xp.empty((n, channels, *lengths), dtype)
    for some in _blocks(backend, n, channels, window, positions, w.dtype):
        part = y[some].astype(w.dtype, copy=False)
        columns = _product(backend, w.swapaxes(1, 2), _rows(part, groups))
        shape = (channels, *window.kernel, len(part), *positions)
        out[some] = backend.col2im(columns.reshape(shape), window, lengths)
    return out


@primitive
def kernel_correlation(x, y, *, window, groups):
    """For every element of the window, what it sees of x times y, summed."""
    backend, (n, outputs, *positions) = backend_of(x), y.shape
    dtype = backend.xp.result_type(x.dtype, y.dtype)
    work, channels = working_dtype(dtype), x.shape[1]
    columns, rows = channels // groups * window.size, outputs // groups
    total = backend.xp.zeros((groups, rows, columns), work)
    for some in _blocks(backend, n, channels, window, positions, work):
        part = x[some].astype(work, copy=False)
        right = _columns(backend, part, window, tuple(positions), groups)
        left = _rows(y[some].astype(work, copy=False), groups)
        total += _product(backend, left, right.swapaxes(1, 2))
    shape = (outputs, channels // groups, *window.kernel)
    return total.astype(dtype, copy=False).reshape(shape)


@convolution.vjp("x")
def _(g, x_shape, weight, window, groups):
    options = dict(window=window, lengths=x_shape[2:], groups=groups)
    return transposed_convolution(g, weight, **options)


@convolution.vjp("weight")
def _(g, x, window, groups):
    return kernel_correlation(x, g, window=window, groups=groups)


@transposed_convolution.vjp("y")
def _(g, y_shape, weight, window, groups):
    options = dict(window=window, positions=y_shape[2:], groups=groups)
    return convolution(g, weight, **options)


@transposed_convolution.vjp("weight")
def _(g, y, window, groups):
    return kernel_correlation(g, y, window=window, groups=groups)


@kernel_correlation.vjp("x")
def _(g, x_shape, y, window, groups):
    options = dict(window=window, lengths=x_shape[2:], groups=groups)
    return transposed_convolution(y, g, **options)


@kernel_correlation.vjp("y")
def _(g, x, y_shape, window, groups):
    return convolution(x, g, window=window, positions=y_shape[2:], groups=groups)


# -- as products of matrices, one for each group ---------------------------------------


def _grouped(weight: Any, groups: int) -> Any:
    """A weight (O, C / groups, *kernel) as matrices (groups, O / groups, -)."""
    outputs, *rest = weight.shape
    return weight.reshape(groups, outputs // groups, prod(rest))


def _rows(y: Any, groups: int) -> Any:
    """(n, O, *positions) as matrices (groups, O / groups, n * positions)."""
    n, outputs, *positions = y.shape
    return y.swapaxes(0, 1).reshape(groups, outputs // groups, n * prod(positions))


def _columns(backend: Any, x: Any, window: Any, positions: tuple, groups: int) -> Any:
    """The windows of x as matrices (groups, C / groups * kernel, n * positions)."""
    n, channels = x.shape[:2]
    columns = backend.im2col(x, window, positions)
    rows = channels // groups * window.size
    return columns.reshape(groups, rows, n * prod(positions))


def _product(backend: Any, a: Any, b: Any) -> Any:
    """a @ b; of a single group as the product of two plain matrices."""
    if len(a) == 1:
        return backend.matmul(a[0], b[0])[None]
    return backend.matmul(a, b)


def _blocks(backend: Any, n: int, channels: int, window: Any, positions, dtype: Any):
    """Slices of the batch, each with about `column_bytes` of columns."""
    sample = channels * window.size * prod(positions) * dtype.itemsize
    step = max(1, backend.column_bytes // max(1, sample))
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]
