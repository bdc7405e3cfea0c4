"""Convolutions and their transposes along one axis and in the plane.

The sums are in ops/convolution.py; here are PyTorch's arguments and what is checked of
them. An output is (L + padding in front and behind - dilation (kernel - 1) - 1) //
stride + 1 long (V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep
learning", 2016, relation 6 with dilation).
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends.windows import Window
from ...ops.autocasting import lowered
from ...ops.axes import check_array
from ...ops.convolution import convolution, transposed_convolution
from ...ops.cross_entropy_checks import check_floating
from .geometry import check_input, lengths_of, on_a_batch

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """A weight slid along the last axis, `torch.nn.functional.conv1d`.

    y[o, p] = bias[o] + sum over c, k of weight[o, c, k] x[c, p stride - padding +
    k dilation]: a cross-correlation, the weight is not flipped. Outside the input x is
    0. 16-bit floats are accumulated in float32.

    Args:
        input: shape (N, C, L), or (C, L) for a single sample.
        weight: shape (O, C / groups, kernel).
        bias: shape (O,), or None.
        stride, dilation: integers >= 1.
        padding: an integer >= 0 for both sides, "valid" for none, or "same" for as
            many as keep the length (the odd one behind; stride 1 only).
        groups: how many parts the channels fall into, each with its own outputs.

    Returns:
        Shape (N, O, P), or (O, P) for a single sample.

    Raises:
        ValueError: the shapes do not fit, the kernel is longer than the padded input,
            or an option is out of range.
        TypeError: input or weight hold no floats.

    >>> x = tg.tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> conv1d(x, tg.tensor([[[1.0, 0.0, -1.0]]]))
    tensor([[-2., -2.]])
    """
    options = (stride, padding, dilation, groups)
    return _convolved("conv1d", 1, input, weight, bias, *options)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """A weight slid over the last two axes, `torch.nn.functional.conv2d`.

    As `conv1d`, in the plane: (N, C, H, W) or (C, H, W), weight (O, C / groups, kH,
    kW). Each option is one number for both axes, or a pair.

    >>> conv2d(tg.ones((1, 1, 3, 3)), tg.ones((1, 1, 2, 2)), tg.tensor([0.5]))
    tensor([[[[4.5, 4.5],
              [4.5, 4.5]]]])
    """
    options = (stride, padding, dilation, groups)
    return _convolved("conv2d", 2, input, weight, bias, *options)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of `conv1d`, `torch.nn.functional.conv_transpose1d`.

    Each element of the input adds its multiple of the weight to the output: the
    gradient of a convolution by its input (V. Dumoulin and F. Visin, 2016, section 4).

    Args:
        input: shape (N, C, P), or (C, P) for a single sample.
        weight: shape (C, O / groups, kernel).
        bias: shape (O,), or None.
        stride, padding, dilation, groups: those of the convolution that is transposed.
        output_padding: how much longer than the shortest possible the output is; less
            than stride or dilation.

    Returns:
        Shape (N, O, L) or (O, L), L = (P - 1) stride - 2 padding +
        dilation (kernel - 1) + output_padding + 1.

    Raises:
        ValueError: the shapes do not fit, nothing is left of the output, or an option
            is out of range.
        TypeError: input or weight hold no floats.

    >>> conv_transpose1d(tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 3.0]]]), stride=2)
    tensor([[1., 3., 2., 6.]])
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose1d", 1, input, weight, bias, *options)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    """The transpose of `conv2d`, `torch.nn.functional.conv_transpose2d`.

    As `conv_transpose1d`, in the plane; weight (C, O / groups, kH, kW).

    >>> conv_transpose2d(tg.ones((1, 2, 2)), tg.ones((1, 1, 2, 2)))
    tensor([[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]])
    """
    options = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose2d", 2, input, weight, bias, *options)


def _convolved(
    name, axes, input, weight, bias, stride, padding, dilation, groups
) -> Any:
    kernel = _check(name, axes, input, weight, bias, groups, transposed=False)
    stride = lengths_of(name, "stride", stride, axes, 1)
    dilation = lengths_of(name, "dilation", dilation, axes, 1)
    spans = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    if isinstance(padding, str):
        before, after = _named_padding(name, padding, stride, spans)
    else:
        before = after = lengths_of(name, "padding", padding, axes, 0)
    lengths = tuple(input.shape[-axes:])
    padded = tuple(map(sum, zip(before, lengths, after, strict=True)))
    if any(n <= span for n, span in zip(padded, spans, strict=True)):
        raise ValueError(
            f"{name}: the padded input is {padded} long, less than the kernel {kernel} "
            f"with dilation {dilation}; mend: more padding, or a smaller kernel"
        )
    positions = tuple(
        (n - span - 1) // s + 1
        for n, span, s in zip(padded, spans, stride, strict=True)
    )
    options = dict(
        window=Window(kernel, stride, before, dilation),
        positions=positions,
        groups=groups,
    )
    input, weight, bias = lowered(input, weight, bias)
    return on_a_batch(input, axes, lambda x: convolution(x, weight, bias, **options))


def _transposed(
    name, axes, input, weight, bias, stride, padding, extra, groups, dilation
) -> Any:
    kernel = _check(name, axes, input, weight, bias, groups, transposed=True)
    stride = lengths_of(name, "stride", stride, axes, 1)
    padding = lengths_of(name, "padding", padding, axes, 0)
    extra = lengths_of(name, "output_padding", extra, axes, 0)
    dilation = lengths_of(name, "dilation", dilation, axes, 1)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError(
            f"{name}: output_padding is {extra}; expected less than stride {stride} or "
            f"dilation {dilation} along each axis"
        )
    sizes = zip(
        input.shape[-axes:], kernel, stride, padding, dilation, extra, strict=True
    )
    lengths = tuple(
        (p - 1) * s - 2 * before + d * (k - 1) + more + 1
        for p, k, s, before, d, more in sizes
    )
    if min(lengths) < 1:
        raise ValueError(
            f"{name}: an input of shape {tuple(input.shape)} gives an output that is "
            f"{lengths} long; mend: less padding, or a larger kernel"
        )
    options = dict(
        window=Window(kernel, stride, padding, dilation), lengths=lengths, groups=groups
    )
    input, weight, bias = lowered(input, weight, bias)
    return on_a_batch(
        input,
        axes,
        lambda y: _plus(transposed_convolution(y, weight, **options), bias, axes),
    )


def _check(
    name, axes, input, weight, bias, groups, *, transposed: bool
) -> tuple[int, ...]:
    """Check the shapes of what is given; returns the kernel's lengths."""
    check_input(name, input, axes)
    check_array(name, weight)
    check_floating(name, "the weight is", weight)
    channels, shape = input.shape[-axes - 1], tuple(weight.shape)
    order = "(C, O / groups" if transposed else "(O, C / groups"
    if len(shape) != axes + 2 or 0 in shape:
        raise ValueError(
            f"{name}: the weight has shape {shape}; expected {order}, "
            f"{'kernel' if axes == 1 else 'kH, kW'})"
        )
    if not hasattr(groups, "__index__") or groups < 1 or shape[0] % groups:
        raise ValueError(
            f"{name}: groups was given as {groups!r}; expected an integer >= 1 that "
            f"divides the weight's first length, {shape[0]}"
        )
    expected = shape[0] if transposed else shape[1] * groups
    if channels != expected:
        raise ValueError(
            f"{name}: the input has {channels} channels (shape {tuple(input.shape)}), "
            f"but the weight, of shape {shape}, takes {expected} with groups={groups}"
        )
    outputs = shape[1] * groups if transposed else shape[0]
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(
            f"{name}: the bias has shape {tuple(bias.shape)}; expected ({outputs},), a "
            "number for each output channel"
        )
    return shape[2:]


def _named_padding(name, padding, stride, spans) -> tuple[tuple, tuple]:
    """How much "same" and "valid" pad in front and behind."""
    if padding not in ("same", "valid"):
        raise ValueError(
            f"{name}: padding was given as {padding!r}; expected an integer, several, "
            "'same' or 'valid'"
        )
    if padding == "valid":
        return (0,) * len(spans), (0,) * len(spans)
    if max(stride) > 1:
        raise ValueError(
            f"{name}: padding='same' was given with stride {stride}; expected 1; mend: "
            "give the padding as a number"
        )
    before = tuple(span // 2 for span in spans)
    return before, tuple(span - n for span, n in zip(spans, before, strict=True))


def _plus(out: Any, bias: Any, axes: int) -> Any:
    return out if bias is None else out + ops.reshape(bias, (-1,) + (1,) * axes)
