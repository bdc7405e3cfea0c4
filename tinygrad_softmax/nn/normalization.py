"""Normalisation as modules."""

from __future__ import annotations

from typing import Any

from ..backends import there
from ..creation import ones, zeros
from . import functional, init
from .functional.normalizations import shape_of
from .module import Module, Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "RMSNorm",
]


class _ChannelNorm(Module):
    """What batch and instance norm share: a weight and a bias, and running values."""

    axes: tuple[int, ...] = ()  # how many an input may have
    momentum: float | None
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self,
        num_features: int,
        eps: float,
        affine: bool,
        track_running_stats: bool,
        device: str | None,
        dtype: Any,
        bias: bool,
    ) -> None:
        self.num_features = num_features
        self.eps = eps
        self.affine = affine
        self.track_running_stats = track_running_stats
        like = dict(dtype=dtype, device=device)
        self.weight = Parameter(ones(num_features, **like)) if affine else None
        self.bias = Parameter(zeros(num_features, **like)) if affine and bias else None
        mean = var = count = None
        if track_running_stats:
            mean, var = zeros(num_features, **like), ones(num_features, **like)
            count = zeros((), "int64", device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Forget the running values: mean 0, variance 1, no batches."""
        if self.track_running_stats:
            for name, value in (
                ("running_mean", 0),
                ("running_var", 1),
                ("num_batches_tracked", 0),
            ):
                init.constant_(self.get_buffer(name), value)

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and `reset_running_stats`."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )

    def _check_axes(self, input: Any) -> None:
        if input.ndim not in self.axes:
            expected = " or ".join(map(str, self.axes))
            raise ValueError(
                f"{type(self).__name__}: the input has shape {tuple(input.shape)}; "
                f"expected {expected} axes"
            )

    def _check_channels(self, channels: int) -> None:
        if channels != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: the input has {channels} channels; expected "
                f"num_features={self.num_features}"
            )


class _BatchNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, affine, track_running_stats, device, dtype, bias
        )
        self.momentum = momentum

    def forward(self, input: Any) -> Any:
        self._check_axes(input)
        self._check_channels(input.shape[1])
        momentum: Any = self.momentum
        if self.training and self.num_batches_tracked is not None:
            count = self.num_batches_tracked.array
            with there(count):
                count += 1
                if momentum is None:  # computed where it lives: nothing waits for it
                    momentum = 1.0 / count
        keeps_none = self.running_mean is None and self.running_var is None
        return functional.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or keeps_none,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """`functional.batch_norm` for inputs of shape (N, C) or (N, C, L).

    Buffers: running_mean (C,), running_var (C,), num_batches_tracked (). In training
    the batch is normalised by itself and the running values move; after `eval()` they
    are what is normalised by, unless `track_running_stats=False` keeps none.

    momentum: how far the running values move; None makes them plain averages of all
        batches.
    affine: learn a weight (from 1) and, unless `bias=False`, a bias (from 0): (C,).

    Raises:
        ValueError: another number of axes or channels, or one value per channel in
            training.

    >>> BatchNorm1d(2)(tg.tensor([[1.0, 0.0], [3.0, 4.0]])).shape
    (2, 2)
    """

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for inputs of shape (N, C, H, W).

    >>> sorted(BatchNorm2d(3).state_dict())
    ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight']
    """

    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for inputs of shape (N, C, D, H, W).

    >>> BatchNorm3d(2)(tg.ones((2, 2, 1, 1, 3))).shape
    (2, 2, 1, 1, 3)
    """

    axes = (5,)


class _InstanceNorm(_ChannelNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, affine, track_running_stats, device, dtype, bias
        )
        self.momentum = momentum

    def forward(self, input: Any) -> Any:
        self._check_axes(input)
        single = input.ndim == self.axes[0]
        batch = input.reshape(1, *input.shape) if single else input
        self._check_channels(batch.shape[1])
        out = functional.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum or 0.0,
            self.eps,
        )
        return out.reshape(input.shape) if single else out


class InstanceNorm1d(_InstanceNorm):
    """`functional.instance_norm` for inputs of shape (C, L) or (N, C, L).

    The options are those of `BatchNorm1d`, but `affine` and `track_running_stats` are
    False by default.

    >>> InstanceNorm1d(1, eps=1e-20)(tg.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]])
    """

    axes = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for inputs of shape (C, H, W) or (N, C, H, W).

    >>> InstanceNorm2d(3)(tg.ones((3, 2, 2))).shape
    (3, 2, 2)
    """

    axes = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for inputs of shape (C, D, H, W) or (N, C, D, H, W).

    >>> InstanceNorm3d(3)(tg.ones((3, 1, 2, 2))).shape
    (3, 1, 2, 2)
    """

    axes = (4, 5)


class LayerNorm(Module):
    """`functional.layer_norm` with a weight (from 1) and a bias (from 0).

    normalized_shape: the lengths of the last axes, an integer or several; the shape of
        weight and bias.
    elementwise_affine: False leaves both out, `bias=False` the bias.

    >>> LayerNorm(2, eps=0.0)(tg.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]], requires_grad=True)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = affine = elementwise_affine
        self.weight = Parameter(ones(shape, dtype, device)) if affine else None
        self.bias = Parameter(zeros(shape, dtype, device)) if affine and bias else None

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        return functional.layer_norm(
            input, self.normalized_shape, self.weight, self.bias, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(Module):
    """`functional.rms_norm` with a weight (from 1).

    The options are those of `LayerNorm`; there is no bias. eps None is the machine
    epsilon of the dtype.

    >>> RMSNorm(2)(tg.tensor([[3.0, 3.0]]))
    tensor([[1., 1.]], requires_grad=True)
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.normalized_shape = shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = affine = elementwise_affine
        self.weight = Parameter(ones(shape, dtype, device)) if affine else None

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Any:
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """`functional.group_norm` with a weight (from 1) and a bias (from 0), both (C,).

    affine: False leaves both out, `bias=False` the bias.

    Raises:
        ValueError: `num_groups` doesn't divide `num_channels`.

    >>> GroupNorm(2, 4, affine=False, eps=0.0)(tg.tensor([[1.0, 3.0, 7.0, 5.0]]))
    tensor([[-1.,  1.,  1., -1.]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} does not divide "
                f"num_channels={num_channels}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        n = num_channels
        self.weight = Parameter(ones(n, dtype, device)) if affine else None
        self.bias = Parameter(zeros(n, dtype, device)) if affine and bias else None

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Any) -> Any:
        return functional.group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.affine}"
        )
