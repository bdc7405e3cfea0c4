"""Normalisation over the last axes: of a layer, and of a vector.

Layer norm takes the mean first and the variance from what is left, which loses no
digits where the mean is large; 16-bit inputs are computed in float32 and come back in
their own dtype.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ... import ops
from ...autograd import primitive
from ...backends import backend_of
from ...backends.dtypes import working_dtype
from ...ops.cross_entropy_checks import check_floating
from .precision import wide

__all__ = [
    "layer_norm",
    "normalize",
    "rms_norm",
]


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
    centred = x - ops.mean(x, over, keepdims=True)
    var = ops.mean(ops.square(centred), over, keepdims=True)
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
    if eps is None:
        eps = float(np.finfo(working_dtype(input.dtype)).eps)
    return _rms_norm(input, weight, axes=len(shape), eps=eps)


@primitive(name="rms_norm", residuals=("scale",))
def _rms_norm(input, weight, *, axes, eps):
    """Over the last `axes` axes. Weight has their shape, or is None."""
    rows = _rows(input, axes)
    flat = _shaped(weight, rows.shape[1:])
    out, scale = backend_of(input).rms_norm(rows, flat, eps)
    return _shaped(out, input.shape), scale


@_rms_norm.vjp("input", "weight")
def _(g, input, weight, axes, eps):
    # With n = x s: ds/dx = -s^2 n / C, so that dx = (h - n mean(h n)) s.
    x, over = wide(input), tuple(range(input.ndim - axes, input.ndim))
    scale = 1.0 / ops.sqrt(ops.mean(ops.square(x), over, keepdims=True) + eps)
    normal, g = x * scale, wide(g)
    h = g if weight is None else g * weight
    along = ops.mean(h * normal, over, keepdims=True)
    return (h - normal * along) * scale, g * normal


@_rms_norm.fused("input", "weight")
def _(g, input, weight, axes, scale, needs):
    shape = input.shape[input.ndim - axes :]
    flat = _shaped(weight, (prod(shape),))
    found = backend_of(input).rms_norm_grad(
        _rows(g, axes), _rows(input, axes), flat, scale, needs
    )
    return tuple(map(_shaped, found, (input.shape, shape)))


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """x / max(norm(x), eps) along axis `dim`, with the p-norm of `tg.norm`.

    >>> normalize(tg.tensor([[3.0, 4.0]]))
    tensor([[0.6, 0.8]])
    """
    check_floating("normalize", "the input is", input)
    norms = ops.norm(input, ord=p, axis=dim, keepdims=True)
    return input / ops.clip(norms, eps)


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
