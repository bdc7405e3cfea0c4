"""Convolution: three products that are one another's gradients.

With x (N, C, *lengths), weight w (O, C / groups, *kernel) and y (N, O, *positions),
over any number of spatial axes, each product sums over what the other two share:

    y[n, o, p] = sum over c, k of w[o, c, k] x[n, c, at(p, k)]     convolution
    x[n, c, l] = sum over o, p, k with at(p, k) = l of w y         its transpose
    w[o, c, k] = sum over n, p of y[n, o, p] x[n, c, at(p, k)]     correlation

at(p, k) = p * stride - padding + k * dilation. The sum of w x y over everything is
linear in each of the three, and these are its derivatives by y, x and w. So the
gradients of one are the other two, and every order is made of the same three forwards.

The kernels are in backends/convolutions.py. It is PyTorch's convolution,
mathematicians' cross-correlation; `tg.nn.functional.conv2d` and its like check what
users give.
"""

from __future__ import annotations

from ..autograd import primitive
from ..backends import backend_of
from .reductions import sum


@primitive
def convolution(x, weight, bias=None, *, window, positions, groups):
    """The products of the weight with every window of x, plus the bias (O,)."""
    kernel = backend_of(x).convolution
    return kernel(x, weight, bias, window, positions, groups)


@primitive
def transposed_convolution(y, weight, *, window, lengths, groups):
    """Every element of y times the weight, added up where the windows overlap."""
    return backend_of(y).transposed_convolution(y, weight, window, lengths, groups)


@primitive
def kernel_correlation(x, y, *, window, groups):
    """For every element of the window, what it sees of x times y, summed."""
    return backend_of(x).kernel_correlation(x, y, window, groups)


@convolution.vjp("x")
def _(g, x_shape, weight, window, groups):
    options = dict(window=window, lengths=x_shape[2:], groups=groups)
    return transposed_convolution(g, weight, **options)


@convolution.vjp("weight")
def _(g, x, window, groups):
    return kernel_correlation(x, g, window=window, groups=groups)


@convolution.vjp("bias")
def _(g):
    return sum(g, axis=(0, *range(2, g.ndim)))


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
