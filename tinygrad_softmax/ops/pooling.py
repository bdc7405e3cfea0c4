"""Pooling: the largest element under each window, or the average.

Below both are two linear ops, each the other's gradient: the sum of what is under a
window, and its transpose, which spreads a value over a window. With `numbers` they
take one element of each window, the one of that number in row-major order.

`tg.nn.functional.max_pool2d` and its like check what users give.
"""

from __future__ import annotations

from ..autograd import primitive
from ..autograd.core_ops import cast
from ..backends import backend_of, namespace, there
from ..backends.dtypes import working_dtype


@primitive
def window_sum(x, numbers=None, *, window, positions):
    """Sums under the windows of x (N, C, *lengths): (N, C, *positions)."""
    total = backend_of(x).window_sum(x, window, positions, numbers)
    return total.astype(x.dtype, copy=False)


@primitive
def window_spread(y, numbers=None, *, window, lengths):
    """y (N, C, *positions) added to the elements of its windows: (N, C, *lengths)."""
    total = backend_of(y).window_spread(y, window, lengths, numbers)
    return total.astype(y.dtype, copy=False)


@window_sum.vjp("x")
def _(g, x_shape, numbers, window):
    return window_spread(g, numbers, window=window, lengths=x_shape[2:])


@window_spread.vjp("y")
def _(g, y_shape, numbers, window):
    return window_sum(g, numbers, window=window, positions=y_shape[2:])


@primitive(residuals=("numbers",))
def max_pool(x, *, window, positions, with_grad=True):
    """The largest element under each window; of equals, the first has the gradient."""
    return backend_of(x).window_max(x, window, positions, with_grad)


@max_pool.vjp("x")
def _(g, x, x_shape, window, positions):
    numbers = _winners(x, window=window, positions=positions)
    return window_spread(g, numbers, window=window, lengths=x_shape[2:])


@max_pool.fused("x")
def _(g, numbers, x_shape, window):
    return window_spread(g, numbers, window=window, lengths=x_shape[2:])


@primitive(differentiable=False)
def _winners(x, *, window, positions):
    """The number, in each window, of its largest element."""
    return backend_of(x).window_max(x, window, positions)[1]


@primitive(differentiable=False)
def max_pool_indices(x, *, window, positions):
    """Where the largest element is: its index in the flattened axes that are pooled."""
    xp, numbers = namespace(x), _winners(x, window=window, positions=positions)
    index, inner = 0, window.size
    for axis, length in enumerate(x.shape[2:]):
        inner //= window.kernel[axis]
        offset = numbers.astype("int64") // inner % window.kernel[axis]
        start = xp.arange(positions[axis]) * window.stride[axis] - window.padding[axis]
        start = start.reshape((-1,) + (1,) * (x.ndim - 3 - axis))
        index = index * length + start + offset * window.dilation[axis]
    return index


def average_pool(x, *, window, positions, limits, divisor=None):
    """The sum under each window by `divisor`, or by how many elements count: those at
    coordinates within `limits`, a pair for each axis."""
    total = window_sum(
        cast(x, dtype=working_dtype(x.dtype)), window=window, positions=positions
    )
    if divisor is not None:
        return cast(total * (1.0 / divisor), dtype=x.dtype)
    array = getattr(total, "array", total)
    xp, shares = namespace(array), 1.0
    with there(array):
        for axis, (low, high) in enumerate(limits):
            step, padding = window.stride[axis], window.padding[axis]
            start = xp.arange(positions[axis]) * step - padding
            stop = xp.minimum(start + window.kernel[axis], high)
            counts = xp.maximum(stop - xp.maximum(start, low), 1)
            counts = counts.reshape((-1,) + (1,) * (len(limits) - 1 - axis))
            shares = shares / counts.astype(array.dtype)
    return cast(total * shares, dtype=x.dtype)
