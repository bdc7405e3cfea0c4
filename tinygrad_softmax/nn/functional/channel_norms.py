"""Normalisation of channels: over the batch, over a sample, over groups of channels.

The mean is taken first and the variance from what is left, which loses no digits where
the mean is large; 16-bit inputs are computed in float32 and come back in their own
dtype.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ... import ops
from ...autograd import primitive
from ...backends import backend_of, check_devices, there
from ...backends.dtypes import working_dtype
from ...ops.cross_entropy_checks import check_floating
from .precision import wide

__all__ = ["batch_norm", "group_norm", "instance_norm"]


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel, axis 1.

    In training the mean and the biased variance are those of the batch, and the running
    ones move towards them: `running = (1 - momentum) running + momentum batch`, with
    the unbiased variance. They are written in place, without a graph; `tg.checkpoint`
    runs the forward pass twice and so moves them twice, as PyTorch's does.

    Source: Ioffe & Szegedy, "Batch normalization", 2015.

    Args:
        input: shape (N, C, ...), floating.
        running_mean, running_var: shape (C,); None in training keeps none.
        weight, bias: shape (C,), or None.
        training: normalise by the batch, or by the running values.
        momentum: a number, or a 0-dimensional array where it changes on the device.

    Raises:
        ValueError: fewer than two axes, a shape other than (C,), one value per channel
            in training, or no running values outside it.

    >>> x = tg.tensor([[1.0], [3.0]])
    >>> batch_norm(x, None, None, training=True, eps=0.0)
    tensor([[-1.],
            [ 1.]])
    """
    _check_channels("batch_norm", input, running_mean, running_var, weight, bias)
    if training:
        if input.size == input.shape[1] != 0:
            raise ValueError(
                f"batch_norm: the input of shape {tuple(input.shape)} has one value "
                "per channel, whose variance is 0; mend: a larger batch in training, "
                "or module.eval()"
            )
        _check_running("batch_norm", input, running_mean, running_var)
        running = _array(running_mean), _array(running_var), momentum
        return _batch_norm(input, weight, bias, eps=eps, running=running)
    if running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm: running_mean and running_var are needed outside training; "
            "mend: training=True normalises by the batch"
        )
    scale = 1.0 / ops.sqrt(wide(running_var) + eps)
    scale = scale if weight is None else scale * weight
    mean = wide(running_mean) * 1.0  # a copy: it may move before a gradient is wanted
    return _channel_affine(input, mean, scale, bias)


@primitive(name="batch_norm", residuals=("mean", "scale"))
def _batch_norm(input, weight, bias, *, eps, running=None):
    """(x - mean) * scale * weight + bias, with scale = 1 / sqrt(var + eps).

    running: (mean, var, momentum), which the batch's mean and var move in place.
    """
    backend = backend_of(input)
    mean, var = backend.channel_moments(input)
    if running is not None and input.size:
        count = input.size // input.shape[1]
        _move_towards(running[0], mean, running[2])
        _move_towards(running[1], var, running[2], count / (count - 1))
    scale = 1.0 / backend.xp.sqrt(var + eps)
    slope = scale if weight is None else scale * weight
    return backend.channel_affine(input, mean, slope, bias), mean, scale


@_batch_norm.vjp("input", "weight", "bias")
def _(g, input, weight, eps):
    # That of layer norm, in backends/norms.py, over other axes.
    x, g, over = wide(input), wide(g), _over(input)
    share = input.shape[1] / (input.size or 1)
    centred = x - ops.sum(x, over, keepdims=True) * share
    var = ops.sum(ops.square(centred), over, keepdims=True) * share
    scale = 1.0 / ops.sqrt(var + eps)
    normal, h = centred * scale, g * _per_channel(weight, input)
    along = ops.sum(h * normal, over, keepdims=True) * share
    dx = (h - ops.sum(h, over, keepdims=True) * share - normal * along) * scale
    return dx, ops.sum(g * normal, over), ops.sum(g, over)


@_batch_norm.fused("input", "weight", "bias")
def _(g, input, weight, mean, scale, needs):
    backend = backend_of(input)
    sums = needs[2] or needs[0], needs[1] or needs[0]
    dbias, product = backend.channel_sums(g, input, mean, sums)
    dx, dweight = None, None if product is None else product * scale
    if needs[0]:
        share = input.shape[1] / (input.size or 1)
        slope = scale if weight is None else scale * weight
        parts = dbias * slope * share, dweight * slope * scale * share, slope
        dx = backend.channel_blend(g, input, mean, *parts)
    return dx, dweight, dbias


@primitive(name="channel_affine")
def _channel_affine(input, mean, scale, shift):
    """(x - mean) * scale + shift for each channel; None leaves a step out."""
    return backend_of(input).channel_affine(input, mean, scale, shift)


@_channel_affine.vjp("input")
def _(g, scale):
    return g * _per_channel(scale, g)


@_channel_affine.fused("input")
def _(g, scale):
    return backend_of(g).channel_affine(g, None, scale, None)


@_channel_affine.vjp("mean")
def _(g, scale):
    return -ops.sum(wide(g) * _per_channel(scale, g), _over(g))


@_channel_affine.vjp("scale", "shift")
def _(g, input, mean):
    g, y, over = wide(g), wide(input), _over(input)
    y = y if mean is None else y - _per_channel(mean, input)
    return ops.sum(g * y, over), ops.sum(g, over)


@_channel_affine.fused("scale", "shift")
def _(g, input, mean, needs):
    backend = backend_of(input)
    dshift, dscale = backend.channel_sums(g, input, mean, needs[::-1])
    return dscale, dshift


def _over(x: Any) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return (0, *range(2, x.ndim))


def _per_channel(values: Any, x: Any) -> Any:
    """One number for each channel, as a shape beside x; 1 instead of None."""
    if values is None:
        return 1.0
    return ops.reshape(values, (-1, *(1,) * (x.ndim - 2)))


def _array(x: Any) -> Any:
    return getattr(x, "array", x)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """`batch_norm` for each sample by itself: each channel over its places.

    The running values move towards the averages over the batch. Without
    `use_input_stats` they are what is normalised by, as in `batch_norm`.

    Source: Ulyanov, Vedaldi & Lempitsky, "Instance normalization", 2016.

    Args: as those of `batch_norm`; input of shape (N, C, ...) with three axes or more.

    Raises:
        ValueError: as `batch_norm`, and where a channel has one place only.

    >>> instance_norm(tg.tensor([[[1.0, 3.0], [5.0, 5.0]]]), eps=1e-20)
    tensor([[[-1.,  1.],
            [ 0.,  0.]]])
    """
    name = "instance_norm"
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    _check_channels(name, input, running_mean, running_var, weight, bias)
    places = prod(input.shape[2:])
    if places == 1:
        raise ValueError(
            f"{name}: the input of shape {tuple(input.shape)} has one place per "
            "channel, whose variance is 0; mend: give more than one"
        )
    if not input.size:
        return _channel_affine(input, None, weight, bias)
    if not (running_mean is None and running_var is None):
        _check_running(name, input, running_mean, running_var)
        x, samples = _array(input), input.shape[0]
        with there(x):
            each = x.reshape(1, samples * x.shape[1], places)
            found = backend_of(x).channel_moments(each)
            mean, var = (v.reshape(samples, -1).mean(axis=0) for v in found)
        _move_towards(running_mean, mean, momentum)
        _move_towards(running_var, var, momentum, places / (places - 1))
    return _group_norm(input, weight, bias, groups=input.shape[1], eps=eps)


def group_norm(
    input: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """Each sample by itself, its channels in groups of neighbours, each normalised.

    Source: Wu & He, "Group normalization", 2018.

    Args:
        input: shape (N, C, ...), floating.
        num_groups: divides C.
        weight, bias: shape (C,), or None.

    Raises:
        ValueError: `num_groups` doesn't divide C, a shape other than (C,), or a group
            that is a single value in a batch of one (PyTorch's condition).

    >>> group_norm(tg.tensor([[1.0, 3.0, 7.0, 5.0]]), 2, eps=0.0)
    tensor([[-1.,  1.,  1., -1.]])
    """
    _check_channels("group_norm", input, weight, bias)
    channels = input.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: {num_groups} groups were asked for, which does not divide "
            f"the {channels} channels of the input of shape {tuple(input.shape)}"
        )
    if input.size == num_groups:
        raise ValueError(
            f"group_norm: the input of shape {tuple(input.shape)} has one value in "
            f"each of its {num_groups} groups, whose variance is 0; mend: fewer groups"
        )
    if not input.size:
        return _channel_affine(input, None, weight, bias)
    return _group_norm(input, weight, bias, groups=num_groups, eps=eps)


@primitive(name="group_norm", residuals=("mean", "scale"))
def _group_norm(input, weight, bias, *, groups, eps):
    """Each of the `groups` of neighbouring channels of each sample by itself."""
    backend, (samples, channels) = backend_of(input), input.shape[:2]
    xp, rows = backend.xp, samples * groups
    mean, var = backend.channel_moments(input.reshape(1, rows, -1))
    scale = 1.0 / xp.sqrt(var + eps)
    of_channels = [xp.repeat(v, channels // groups) for v in (mean, scale)]
    weight, bias = (None if v is None else xp.tile(v, samples) for v in (weight, bias))
    slope = of_channels[1] if weight is None else of_channels[1] * weight
    x = input.reshape(1, samples * channels, prod(input.shape[2:]))
    out = backend.channel_affine(x, of_channels[0], slope, bias)
    return out.reshape(input.shape), mean, scale


@_group_norm.vjp("input", "weight", "bias")
def _(g, input, weight, groups, eps):
    # That of layer norm, in backends/norms.py: a group of a sample is a row.
    g, over, shape = wide(g), _over(input), (input.shape[0] * groups, -1)
    x = ops.reshape(wide(input), shape)
    centred = x - ops.mean(x, 1, keepdims=True)
    var = ops.mean(ops.square(centred), 1, keepdims=True)
    scale = 1.0 / ops.sqrt(var + eps)
    normal, h = centred * scale, ops.reshape(g * _per_channel(weight, input), shape)
    along = ops.mean(h * normal, 1, keepdims=True)
    dx = (h - ops.mean(h, 1, keepdims=True) - normal * along) * scale
    dweight = ops.sum(g * ops.reshape(normal, input.shape), over)
    return ops.reshape(dx, input.shape), dweight, ops.sum(g, over)


@_group_norm.fused("input", "weight", "bias")
def _(g, input, weight, groups, mean, scale, needs):
    backend, (samples, channels) = backend_of(input), input.shape[:2]
    xp, each = backend.xp, channels // groups
    shape = 1, samples * channels, prod(input.shape[2:])
    x, h = input.reshape(shape), g.reshape(shape)
    means, scales = (xp.repeat(v, each) for v in (mean, scale))
    sums: Any = backend.channel_sums(h, x, means, (True, True))
    plain, product = sums
    dbias = plain.reshape(samples, channels)
    dweight = (product * scales).reshape(samples, channels)
    dx = None
    if needs[0]:
        share = 1.0 / (each * shape[2])
        offset, along = (v if weight is None else v * weight for v in (dbias, dweight))
        offset, along = (
            backend.sum(v.reshape(samples * groups, each), (1,)) * scale * share
            for v in (offset, along)
        )
        slope = scales if weight is None else scales * xp.tile(weight, samples)
        parts = xp.repeat(offset, each), xp.repeat(along * scale, each), slope
        dx = backend.channel_blend(h, x, means, *parts).reshape(input.shape)
    return dx, dweight, dbias  # (the engine sums over the samples)


def _move_towards(running: Any, batch: Any, momentum: Any, factor: float = 1.0) -> None:
    """running = (1 - momentum) running + momentum factor batch, in place, no graph."""
    if running is None:
        return
    array, batch = getattr(running, "array", running), getattr(batch, "array", batch)
    with there(array):
        old = array.astype(working_dtype(array.dtype), copy=False)
        new = batch.reshape(array.shape) * factor
        array[...] = (1.0 - momentum) * old + momentum * new


def _check_running(name: str, input: Any, *running: Any) -> None:
    """The running values are where the input is: they are written to in place."""
    for each in running:
        if each is not None:
            what = "the input", "a running value"
            check_devices(name, _array(input), _array(each), what)


def _check_channels(name: str, input: Any, *per_channel: Any) -> None:
    """An input of shape (N, C, ...), and (C,) for the others."""
    check_floating(name, "the input is", input)
    if input.ndim < 2:
        raise ValueError(
            f"{name}: the input has shape {tuple(input.shape)}; expected (N, C, ...)"
        )
    channels = input.shape[1]
    for each in per_channel:
        if each is not None and tuple(each.shape) != (channels,):
            raise ValueError(
                f"{name}: the input of shape {tuple(input.shape)} has {channels} "
                f"channels, but a weight, bias or running value has shape "
                f"{tuple(each.shape)}; expected {(channels,)}"
            )
