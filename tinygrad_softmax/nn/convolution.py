"""Conv1d, Conv2d and their transposes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..creation import zeros
from . import functional, init
from .functional.geometry import check_input, lengths_of
from .module import Module, Parameter

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class _Convolution(Module):
    """What the four have in common; `axes` is how many axes the kernel has."""

    axes: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: str | None,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"{name} was given {in_channels} input and {out_channels} output "
                "channels; expected at least 1 of each"
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups was given as {groups}; expected a divisor of the "
                f"numbers of channels, {in_channels} and {out_channels}"
            )
        modes = ["zeros"] if self.transposed else ["zeros", *PADDING_MODES]
        if padding_mode not in modes:
            raise ValueError(
                f"{name}: padding_mode was given as {padding_mode!r}; expected "
                f"{', '.join(map(repr, modes))}"
            )

        def checked(what: str, given: Any, least: int) -> tuple[int, ...]:
            return lengths_of(name, what, given, self.axes, least)

        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = checked("kernel_size", kernel_size, 1)
        self.stride = checked("stride", stride, 1)
        self.dilation = checked("dilation", dilation, 1)
        self.output_padding = checked("output_padding", output_padding, 0)
        if isinstance(padding, str) and not self.transposed:
            self._check_named(padding)
            self.padding: Any = padding
        else:
            self.padding = checked("padding", padding, 0)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = out_channels, in_channels // groups
        if self.transposed:
            first, second = in_channels, out_channels // groups
        shape = (first, second, *self.kernel_size)
        self.weight = Parameter(zeros(shape, dtype, device))
        self.bias = Parameter(zeros(out_channels, dtype, device)) if bias else None
        self.reset_parameters()

    def _check_named(self, padding: str) -> None:
        name = type(self).__name__
        if padding not in ("same", "valid"):
            raise ValueError(
                f"{name}: padding was given as {padding!r}; expected an integer, "
                "several, 'same' or 'valid'"
            )
        if padding == "same" and max(self.stride) > 1:
            raise ValueError(
                f"{name}: padding='same' was given with stride {self.stride}; expected "
                "stride 1; mend: give the padding as a number"
            )

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1.0 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        ones, none = (1,) * self.axes, (0,) * self.axes
        parts = [
            f"{self.in_channels}, {self.out_channels}",
            f"kernel_size={self.kernel_size}, stride={self.stride}",
        ]
        for what, default in (
            ("padding", none),
            ("dilation", ones),
            ("output_padding", none),
            ("groups", 1),
        ):
            if getattr(self, what) != default:
                parts.append(f"{what}={getattr(self, what)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    # -- forward, of the two kinds --------------------------------------------------

    def _convolve(self, function: Callable, input: Any) -> Any:
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._padded(input), 0
        options = (self.stride, padding, self.dilation, self.groups)
        return function(input, self.weight, self.bias, *options)

    def _padded(self, input: Any) -> Any:
        """The input with what `padding_mode` repeats of it on both sides."""
        name = type(self).__name__
        check_input(name, input, self.axes)
        widths = []
        for i, n in enumerate(input.shape[-self.axes :]):
            both = self.dilation[i] * (self.kernel_size[i] - 1)
            if self.padding == "same":
                width = both // 2, both - both // 2
            else:
                width = (0, 0) if self.padding == "valid" else (self.padding[i],) * 2
            most = {"reflect": n - 1, "circular": n}.get(self.padding_mode, max(width))
            if max(width) > most or (n == 0 and max(width)):
                raise ValueError(
                    f"{name}: padding of {width} was asked for with padding_mode="
                    f"{self.padding_mode!r}, but an axis of length {n} has only "
                    f"{max(most, 0)} to repeat; mend: less padding, or 'zeros'"
                )
            widths.append(width)
        before = [(0, 0)] * (input.ndim - self.axes)
        return ops.pad(input, before + widths, PADDING_MODES[self.padding_mode])

    def _transpose(self, function: Callable, input: Any, output_size: Any) -> Any:
        extra = self.output_padding
        if output_size is not None:
            extra = self._extra_for(input, output_size)
        options = (self.stride, self.padding, extra, self.groups, self.dilation)
        return function(input, self.weight, self.bias, *options)

    def _extra_for(self, input: Any, output_size: Any) -> tuple[int, ...]:
        """The output_padding that gives an output of the lengths asked for."""
        name = type(self).__name__
        check_input(name, input, self.axes)
        wanted = tuple(output_size) if hasattr(output_size, "__iter__") else output_size
        if isinstance(wanted, tuple) and len(wanted) == input.ndim:
            wanted = wanted[-self.axes :]
        wanted = lengths_of(name, "output_size", wanted, self.axes, 1)
        least = tuple(
            (p - 1) * s - 2 * before + d * (k - 1) + 1
            for p, s, before, d, k in zip(
                input.shape[-self.axes :],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        )
        most = tuple(n + s - 1 for n, s in zip(least, self.stride, strict=True))
        if any(not a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)):
            raise ValueError(
                f"{name}: output_size was given as {output_size!r}, but an input of "
                f"shape {tuple(input.shape)} gives lengths from {least} to {most}"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class Conv1d(_Convolution):
    """`functional.conv1d` with a weight and a bias that are learnt.

    Weight (out_channels, in_channels / groups, kernel_size) and bias (out_channels,)
    start uniform in +-1 / sqrt(in_channels / groups * kernel_size), PyTorch's choice.

    padding_mode: what is around the input: "zeros"; "reflect", its mirror image
        without the edge; "replicate", its edge; "circular", its other end.

    >>> Conv1d(16, 33, 3, stride=2)
    Conv1d(16, 33, kernel_size=(3,), stride=(2,))  # 1,617 parameters
    """

    axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation)
        super().__init__(*sizes, 0, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Any) -> Any:
        return self._convolve(functional.conv1d, input)


class Conv2d(_Convolution):
    """`functional.conv2d` with a weight and a bias that are learnt.

    As `Conv1d`, for (N, C, H, W) or (C, H, W); each option is one number or a pair.

    >>> Conv2d(3, 6, 5, padding="same")(tg.zeros((1, 3, 8, 8))).shape
    (1, 6, 8, 8)
    """

    axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation)
        super().__init__(*sizes, 0, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Any) -> Any:
        return self._convolve(functional.conv2d, input)


class ConvTranspose1d(_Convolution):
    """`functional.conv_transpose1d` with a weight and a bias that are learnt.

    Weight (in_channels, out_channels / groups, kernel_size), drawn as that of `Conv1d`.
    Called with `output_size`, it takes the output_padding that gives that length.

    >>> up = ConvTranspose1d(4, 2, 3, stride=2, padding=1)
    >>> up(tg.zeros((1, 4, 5))).shape, up(tg.zeros((1, 4, 5)), output_size=[10]).shape
    ((1, 2, 9), (1, 2, 10))
    """

    axes = 1
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation)
        options = (output_padding, groups, bias, padding_mode, device, dtype)
        super().__init__(*sizes, *options)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return self._transpose(functional.conv_transpose1d, input, output_size)


class ConvTranspose2d(_Convolution):
    """`functional.conv_transpose2d` with a weight and a bias that are learnt.

    As `ConvTranspose1d`, for (N, C, H, W) or (C, H, W).

    >>> ConvTranspose2d(4, 2, 2, stride=2)(tg.zeros((1, 4, 7, 7))).shape
    (1, 2, 14, 14)
    """

    axes = 2
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation)
        options = (output_padding, groups, bias, padding_mode, device, dtype)
        super().__init__(*sizes, *options)

    def forward(self, input: Any, output_size: Any = None) -> Any:
        return self._transpose(functional.conv_transpose2d, input, output_size)
