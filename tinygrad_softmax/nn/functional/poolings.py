"""Pooling along one axis and in the plane: the largest, or the average, of windows.

Max pooling and average pooling are in ops/pooling.py; here are PyTorch's arguments and
what is checked of them. Adaptive pooling cuts an axis of length L into P windows, from
floor(i L / P) to ceil((i + 1) L / P).
"""

from __future__ import annotations

from math import prod
from typing import Any

from ... import ops
from ...autograd import is_grad_enabled
from ...backends import numbers_there, there
from ...backends.dtypes import working_dtype
from ...backends.windows import Window
from ...ops.linalg import _matmul
from ...ops.pooling import average_pool, max_pool, max_pool_indices
from .geometry import check_input, lengths_of, on_a_batch

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
]


def max_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element under each window, `torch.nn.functional.max_pool1d`.

    Of equal elements the first one gets the gradient. A nan under a window is its
    largest element.

    Args:
        input: shape (N, C, L), or (C, L) for a single sample.
        kernel_size: the window's length.
        stride: from one window to the next; the window's length by default.
        padding: how much of -inf there is on both sides; at most half the window.
        dilation: from one element of the window to the next.
        ceil_mode: a last window may reach past the end, if it begins before it.
        return_indices: return also where each element was, as int64 indices into the
            input's last axes, flattened.

    Returns:
        Shape (N, C, P), P = (L + 2 padding - dilation (kernel_size - 1) - 1) / stride
        + 1, rounded down, or up with `ceil_mode`.

    Raises:
        ValueError: the input's shape, or an option, does not fit.
        TypeError: the input holds no floats.

    >>> max_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[3., 2.]])
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pooled("max_pool1d", 1, input, *options)


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element under each window, `torch.nn.functional.max_pool2d`.

    As `max_pool1d`, in the plane: (N, C, H, W) or (C, H, W). Each option is one number
    for both axes, or a pair. The first of equal elements is that in row-major order.

    >>> x = tg.ones((1, 2, 4), requires_grad=True)
    >>> max_pool2d(x, 2).sum().backward()
    >>> x.grad
    tensor([[[1., 0., 1., 0.],
             [0., 0., 0., 0.]]])
    """
    options = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pooled("max_pool2d", 2, input, *options)


def avg_pool1d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The average under each window, `torch.nn.functional.avg_pool1d`.

    Args:
        input, kernel_size, stride, ceil_mode: as those of `max_pool1d`.
        padding: how many zeros there are on both sides; at most half the window.
        count_include_pad: whether those zeros count in the average.

    Returns:
        Shape (N, C, P) as of `max_pool1d`. What of a window lies past the padding (with
        `ceil_mode`) never counts.

    >>> avg_pool1d(tg.tensor([[1.0, 3.0, 2.0, 0.0]]), 2)
    tensor([[2., 1.]])
    """
    options = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _averaged("avg_pool1d", 1, input, *options)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The average under each window, `torch.nn.functional.avg_pool2d`.

    As `avg_pool1d`, in the plane.

    divisor_override: what every sum is divided by, in place of a count.

    >>> avg_pool2d(tg.tensor([[[1.0, 3.0], [2.0, 0.0]]]), 2)
    tensor([[[1.5]]])
    """
    options = (stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _averaged("avg_pool2d", 2, input, kernel_size, *options)


def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Averages of `output_size` windows that cover (N, C, L) or (C, L).

    `torch.nn.functional.adaptive_avg_pool1d`.

    >>> adaptive_avg_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2)
    tensor([[1.5, 4. ]])
    """
    return _adaptive_average("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """Averages of windows that cover (N, C, H, W) or (C, H, W).

    `torch.nn.functional.adaptive_avg_pool2d`.

    output_size: how many windows there are along each axis: a number, or a pair in
        which None stands for the input's own length.

    >>> adaptive_avg_pool2d(tg.ones((2, 3, 5, 7)), 1).shape
    (2, 3, 1, 1)
    """
    return _adaptive_average("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_max_pool1d(
    input: Any, output_size: Any, return_indices: bool = False
) -> Any:
    """The largest of each of `output_size` windows that cover (N, C, L) or (C, L).

    `torch.nn.functional.adaptive_max_pool1d`; `return_indices` as of `max_pool1d`.

    >>> adaptive_max_pool1d(tg.tensor([[1.0, 2.0, 6.0]]), 2)
    tensor([[2., 6.]])
    """
    name = "adaptive_max_pool1d"
    return _adaptive_max(name, 1, input, output_size, return_indices)


def adaptive_max_pool2d(
    input: Any, output_size: Any, return_indices: bool = False
) -> Any:
    """The largest of each window that covers (N, C, H, W) or (C, H, W).

    `torch.nn.functional.adaptive_max_pool2d`; `output_size` as of
    `adaptive_avg_pool2d`.

    >>> adaptive_max_pool2d(tg.ones((2, 3, 5, 7)), (2, None)).shape
    (2, 3, 2, 7)
    """
    name = "adaptive_max_pool2d"
    return _adaptive_max(name, 2, input, output_size, return_indices)


# -- windows of one size ---------------------------------------------------------------


def _max_pooled(
    name, axes, input, kernel, stride, padding, dilation, ceil_mode, return_indices
) -> Any:
    window, positions = _window(
        name, axes, input, kernel, stride, padding, dilation, ceil_mode
    )
    return on_a_batch(
        input, axes, lambda x: _largest(x, window, positions, return_indices)
    )


def _largest(x: Any, window: Window, positions: tuple, return_indices: bool) -> Any:
    options = dict(window=window, positions=positions)
    with_grad = is_grad_enabled() and getattr(x, "node", None) is not None
    out = max_pool(x, with_grad=with_grad, **options)
    return (out, max_pool_indices(x, **options)) if return_indices else out


def _averaged(
    name, axes, input, kernel, stride, padding, ceil_mode, include_pad, divisor
) -> Any:
    window, positions = _window(
        name, axes, input, kernel, stride, padding, 1, ceil_mode
    )
    if divisor is not None and (not hasattr(divisor, "__index__") or not divisor):
        raise ValueError(
            f"{name}: divisor_override was given as {divisor!r}; expected an integer "
            "that is not 0"
        )
    limits = tuple(
        (-pad, n + pad) if include_pad else (0, n)
        for n, pad in zip(input.shape[-axes:], window.padding, strict=True)
    )
    ends = zip(positions, window.stride, window.kernel, window.padding, limits)
    if divisor is None and all(
        low <= -pad and (p - 1) * s - pad + k <= high
        for p, s, k, pad, (low, high) in ends
    ):
        divisor = window.size  # every element of every window counts
    options = dict(window=window, positions=positions, limits=limits, divisor=divisor)
    return on_a_batch(input, axes, lambda x: average_pool(x, **options))


def _window(
    name, axes, input, kernel, stride, padding, dilation, ceil_mode
) -> tuple[Window, tuple[int, ...]]:
    """The window, and how many of them there are along each axis."""
    check_input(name, input, axes)
    kernel = lengths_of(name, "kernel_size", kernel, axes, 1)
    stride = kernel if stride is None else lengths_of(name, "stride", stride, axes, 1)
    padding = lengths_of(name, "padding", padding, axes, 0)
    dilation = lengths_of(name, "dilation", dilation, axes, 1)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    if any(2 * pad > span for pad, span in zip(padding, spans, strict=True)):
        raise ValueError(
            f"{name}: padding was given as {padding}; expected at most half of the "
            f"window, which is {spans} long"
        )
    positions = []
    for n, s, pad, span in zip(
        input.shape[-axes:], stride, padding, spans, strict=True
    ):
        spare = n + 2 * pad - span
        count = -(-spare // s) + 1 if ceil_mode else spare // s + 1
        if ceil_mode and (count - 1) * s >= n + pad:
            count -= 1  # it would begin behind the input
        positions.append(count)
    if min(positions) < 1 or min(input.shape[-axes:]) < 1:
        raise ValueError(
            f"{name}: an input of shape {tuple(input.shape)} with padding {padding} "
            f"has no place for a window {spans} long; mend: a smaller kernel_size"
        )
    return Window(kernel, stride, padding, dilation), tuple(positions)


# -- so many windows, of sizes that may differ -----------------------------------------


def _adaptive_average(name: str, axes: int, input: Any, output_size: Any) -> Any:
    counts = _counts(name, axes, input, output_size)
    even = _even_window(input, counts)
    if even is not None:
        limits = tuple((0, n) for n in input.shape[-axes:])
        options = dict(limits=limits, divisor=prod(even.kernel))
        return on_a_batch(
            input,
            axes,
            lambda x: average_pool(x, window=even, positions=counts, **options),
        )
    dtype = working_dtype(input.dtype)
    out = ops.astype(input, dtype)
    for axis, count in enumerate(counts, -axes):
        shares = _shares(input, input.shape[axis], count, dtype)
        last = ops.moveaxis(out, axis, -1)
        out = ops.moveaxis(_matmul(last, shares), -1, axis)  # (as it is: no autocast)
    return ops.astype(out, input.dtype)


def _adaptive_max(
    name: str, axes: int, input: Any, output_size: Any, return_indices: bool
) -> Any:
    """Irregular windows are laid out side by side first, each filled up with its own
    last element: that ties, and the first of equals counts."""
    counts = _counts(name, axes, input, output_size)
    lengths, wide = tuple(input.shape[-axes:]), input
    longest = tuple(map(_longest, lengths, counts))
    window, uneven = _even_window(input, counts), []
    if window is None:
        window = Window(longest, longest, (0,) * axes, (1,) * axes)
        uneven = list(zip(longest, lengths, counts, strict=True))
        array = getattr(input, "array", input)
        for axis, sizes in enumerate(uneven, -axes):
            with there(array):
                places = _place(numbers_there(array, sizes[0] * sizes[2]), *sizes)
            wide = ops.take(wide, places, axis)
    out = on_a_batch(wide, axes, lambda x: _largest(x, window, counts, return_indices))
    if not (return_indices and uneven):
        return out
    values, index = out
    column = _place(index % wide.shape[-1], *uneven[-1])
    if axes == 1:
        return values, column
    return values, _place(index // wide.shape[-1], *uneven[0]) * lengths[1] + column


def _longest(length: int, count: int) -> int:
    """The longest of `count` windows that cover an axis."""
    return max(
        -(-(i + 1) * length // count) - i * length // count for i in range(count)
    )


def _place(wide: Any, longest: int, length: int, count: int) -> Any:
    """Where an element was, given its place among windows laid out side by side."""
    window, offset = wide // longest, wide % longest
    last = -(-(window + 1) * length // count) - 1
    return ops.minimum(window * length // count + offset, last)


def _counts(name: str, axes: int, input: Any, output_size: Any) -> tuple[int, ...]:
    """The output's lengths, with the input's for None."""
    check_input(name, input, axes)
    lengths = tuple(input.shape[-axes:])
    if isinstance(output_size, (tuple, list)) and len(output_size) == axes:
        output_size = tuple(
            n if given is None else given
            for given, n in zip(output_size, lengths, strict=True)
        )
    if min(lengths) < 1:
        raise ValueError(
            f"{name}: the input has shape {tuple(input.shape)}; expected at least one "
            "element along each axis that is pooled"
        )
    return lengths_of(name, "output_size", output_size, axes, 1)


def _even_window(input: Any, counts: tuple[int, ...]) -> Window | None:
    """The window of an adaptive pooling whose windows are all alike."""
    axes = len(counts)
    lengths = input.shape[-axes:]
    if any(n % count for n, count in zip(lengths, counts, strict=True)):
        return None
    kernel = tuple(n // count for n, count in zip(lengths, counts, strict=True))
    return Window(kernel, kernel, (0,) * axes, (1,) * axes)


def _shares(input: Any, length: int, count: int, dtype: Any) -> Any:
    """The matrix (length, count) that averages over the windows."""
    array = getattr(input, "array", input)
    number, places = numbers_there(array, count), numbers_there(array, length)[:, None]
    with there(array):
        start, stop = number * length // count, -(-(number + 1) * length // count)
        inside = (places >= start) & (places < stop)
        return inside.astype(dtype) / (stop - start).astype(dtype)
