"""Normalisation: over the batch, over a layer, over groups of channels, of a vector.

Each is a composition of ops, so its gradients are exact to any order. The mean is taken
first and the variance from what is left, which loses no digits where the mean is large;
16-bit inputs are computed in float32 and come back in their own dtype.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import ops
from ...autograd import primitive
from ...backends import backend_of, there
from ...backends.dtypes import is_half, working_dtype
from ...ops.cross_entropy_checks import check_floating
from .precision import wide

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "normalize",
    "rms_norm",
]


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
    shape = _channel_shape("batch_norm", input, running_mean, running_var, weight, bias)
    x = wide(input)
    if training:
        count = input.size // max(1, input.shape[1])
        if count == 1:
            raise ValueError(
                f"batch_norm: the input of shape {tuple(input.shape)} has one value "
                "per channel, whose variance is 0; mend: a larger batch in training, "
                "or module.eval()"
            )
        if not input.size:
            return _affine(x, weight, bias, shape, input.dtype)
        axes = (0, *range(2, input.ndim))
        mean, centred, var = _moments(x, axes)
        _move_towards(running_mean, mean, momentum)
        _move_towards(running_var, var, momentum, count / (count - 1))
    else:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: running_mean and running_var are needed outside training; "
                "mend: training=True normalises by the batch"
            )
        centred = x - ops.reshape(wide(running_mean), shape)
        var = ops.reshape(wide(running_var), shape)
    scale = 1.0 / ops.sqrt(var + eps)
    if weight is not None:  # first with the scale: both are small
        scale = scale * ops.reshape(weight, shape)
    return _affine(centred * scale, None, bias, shape, input.dtype)


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
    shape = _channel_shape(name, input, running_mean, running_var, weight, bias)
    places = prod(input.shape[2:])
    if places == 1:
        raise ValueError(
            f"{name}: the input of shape {tuple(input.shape)} has one place per "
            "channel, whose variance is 0; mend: give more than one"
        )
    x, axes = wide(input), tuple(range(2, input.ndim))
    if not input.size:
        return _affine(x, weight, bias, shape, input.dtype)
    mean, centred, var = _moments(x, axes)
    if running_mean is not None:
        _move_towards(running_mean, mean.mean(axis=0), momentum)
    if running_var is not None:
        unbiased = places / (places - 1)
        _move_towards(running_var, var.mean(axis=0), momentum, unbiased)
    normal = centred * (1.0 / ops.sqrt(var + eps))
    return _affine(normal, weight, bias, shape, input.dtype)


def layer_norm(
    input: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axes together.

    Source: Ba, Kiros & Hinton, "Layer normalization", 2016.

    Args:
        input: shape (..., *normalized_shape), floating.
        normalized_shape: an integer or several: the lengths of the last axes.
        weight, bias: of that shape, or None.

    Raises:
        ValueError: the input doesn't end in that shape, or weight or bias hasn't it.

    >>> layer_norm(tg.tensor([[1.0, 3.0]]), 2, eps=0.0)
    tensor([[-1.,  1.]])
    """
    shape = _last_axes("layer_norm", input, normalized_shape, weight, bias)
    return _layer_norm(input, weight, bias, axes=len(shape), eps=eps)


@primitive(name="layer_norm", residuals=("mean", "scale"))
def _layer_norm(input, weight, bias, *, axes, eps):
    """Over the last `axes` axes. Weight and bias have their shape, or are None."""
    rows = _rows(input, axes)
    weight, bias = _shaped(weight, rows.shape[1:]), _shaped(bias, rows.shape[1:])
    out, mean, scale = backend_of(input).layer_norm(rows, weight, bias, eps)
    return _shaped(out, input.shape), mean, scale


@_layer_norm.vjp("input", "weight", "bias")
def _(g, input, weight, axes, eps):
    # The derivation's source is beside the kernel, in backends/norms.py.
    x, over = wide(input), tuple(range(input.ndim - axes, input.ndim))
    _, centred, var = _moments(x, over)
    scale = 1.0 / ops.sqrt(var + eps)
    normal, g = centred * scale, wide(g)
    h = g if weight is None else g * weight
    along = ops.mean(h * normal, over, keepdims=True)
    dx = (h - ops.mean(h, over, keepdims=True) - normal * along) * scale
    return dx, g * normal, g


@_layer_norm.fused("input", "weight", "bias")
def _(g, input, weight, axes, mean, scale, needs):
    shape = input.shape[input.ndim - axes :]
    flat = _shaped(weight, (prod(shape),))
    found = backend_of(input).layer_norm_grad(
        _rows(g, axes), _rows(input, axes), flat, mean, scale, needs
    )
    return tuple(map(_shaped, found, (input.shape, shape, shape)))


def _shaped(x: Any, shape: tuple[int, ...]) -> Any:
    """x in this shape; itself, not a view, if it has it, so that a leaf may keep it."""
    return x if x is None or x.shape == shape else x.reshape(shape)


def _rows(x: Any, axes: int) -> Any:
    """x as a matrix whose rows are its last `axes` axes."""
    outer = x.ndim - axes
    return _shaped(x, (prod(x.shape[:outer]), prod(x.shape[outer:])))


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """x / sqrt(mean(x^2) + eps) * weight over the last axes together.

    Source: Zhang & Sennrich, "Root mean square layer normalization", 2019.

    Args: as those of `layer_norm`. eps: None is the machine epsilon of the dtype that
        is computed in, float32 for 16-bit inputs.

    >>> rms_norm(tg.tensor([[3.0, 3.0]]), 2)
    tensor([[1., 1.]])
    """
    shape = _last_axes("rms_norm", input, normalized_shape, weight)
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    x = wide(input)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    mean_square = ops.mean(ops.square(x), axis=axes, keepdims=True)
    normal = x * (1.0 / ops.sqrt(mean_square + eps))
    return _affine(normal, weight, None, None, input.dtype)


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
    shape = _channel_shape("group_norm", input, weight, bias)
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
        return _affine(wide(input), weight, bias, shape, input.dtype)
    groups = ops.reshape(wide(input), (input.shape[0], num_groups, -1))
    _, centred, var = _moments(groups, (2,))
    normal = ops.reshape(centred * (1.0 / ops.sqrt(var + eps)), input.shape)
    return _affine(normal, weight, bias, shape, input.dtype)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """x / max(norm(x), eps) along axis `dim`, with the p-norm of `tg.norm`.

    >>> normalize(tg.tensor([[3.0, 4.0]]))
    tensor([[0.6, 0.8]])
    """
    check_floating("normalize", "the input is", input)
    norms = ops.norm(input, ord=p, axis=dim, keepdims=True)
    return input / ops.clip(norms, eps)


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """(mean, x - mean, biased variance), the reduced axes kept with length 1."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centred = x - mean
    return mean, centred, ops.mean(ops.square(centred), axis=axes, keepdims=True)


def _affine(x: Any, weight: Any, bias: Any, shape: Any, dtype: Any) -> Any:
    """x * weight + bias; they are reshaped if a `shape` is given. A 16-bit dtype is
    come back to."""
    if weight is not None:
        x = x * (weight if shape is None else ops.reshape(weight, shape))
    if bias is not None:
        x = x + (bias if shape is None else ops.reshape(bias, shape))
    return ops.astype(x, dtype) if is_half(dtype) else x


def _move_towards(running: Any, batch: Any, momentum: Any, factor: float = 1.0) -> None:
    """running = (1 - momentum) running + momentum factor batch, in place, no graph."""
    if running is None:
        return
    array, batch = getattr(running, "array", running), getattr(batch, "array", batch)
    with there(array):
        old = array.astype(working_dtype(array.dtype), copy=False)
        new = batch.reshape(array.shape) * factor
        array[...] = (1.0 - momentum) * old + momentum * new


def _channel_shape(name: str, input: Any, *per_channel: Any) -> tuple[int, ...]:
    """The shape that lays (C,) along axis 1 of the input, after the checks."""
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
    return (1, channels, *(1,) * (input.ndim - 2))


def _last_axes(name: str, input: Any, normalized_shape: Any, *affine: Any) -> tuple:
    """`normalized_shape` as a tuple, after the checks."""
    check_floating(name, "the input is", input)
    shape = shape_of(normalized_shape)
    given = tuple(input.shape)
    if not shape or given[-len(shape) :] != shape:
        raise ValueError(
            f"{name}: normalized_shape is {shape}; expected the last lengths of the "
            f"input's shape, {given}"
        )
    for each in affine:
        if each is not None and tuple(each.shape) != shape:
            raise ValueError(
                f"{name}: weight or bias has shape {tuple(each.shape)}; expected "
                f"normalized_shape, {shape}"
            )
    return shape


def shape_of(normalized_shape: Any) -> tuple[int, ...]:
    """An integer or several, as a tuple."""
    if hasattr(normalized_shape, "__index__"):
        return (int(normalized_shape),)
    return tuple(normalized_shape)
