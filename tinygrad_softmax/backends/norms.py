"""Layer, RMS and batch normalisation, and their gradients, in plain array code.

With n = (x - mean) / sqrt(var + eps) and h = g * weight, the gradient of a row is

    dx = (h - mean(h) - n * mean(h * n)) / sqrt(var + eps)

(J. Ba, J. Kiros & G. Hinton, "Layer normalization", 2016; the derivation is in K. Xu et
al., "Understanding and improving layer normalization", 2019, section 3.2.)
"""

from __future__ import annotations

from typing import Any

from .dtypes import is_half, working_dtype

Array = Any


class NormKernels:
    """The kernels of layer and RMS norm in plain array code; `Backend` has them."""

    xp: Any

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        raise NotImplementedError

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """(x - mean) / sqrt(var + eps) * weight + bias for each row of x, shape (n, C).

        Also returns the mean and 1 / sqrt(var + eps) of each row, shape (n, 1).
        16-bit floats are computed, and these two kept, in float32.
        """
        scale_of, dtype = 1.0 / max(1, x.shape[1]), x.dtype
        x = x.astype(working_dtype(dtype), copy=False)
        mean = self.sum(x, (1,), keepdims=True) * scale_of
        out = x - mean
        var = self.sum(out * out, (1,), keepdims=True) * scale_of
        scale = 1.0 / self.xp.sqrt(var + eps)
        out = out * scale
        if weight is not None:
            out = out * weight
        if bias is not None:
            out = out + bias
        return out.astype(dtype) if is_half(dtype) else out, mean, scale

    def layer_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        mean: Array,
        scale: Array,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x, weight and bias; None for those not in `needs`."""
        dx = dweight = None
        g = g.astype(working_dtype(g.dtype), copy=False)
        normal = (x - mean) * scale
        if needs[1]:
            dweight = self.sum(g * normal, (0,))
        if needs[0]:
            h, scale_of = g if weight is None else g * weight, 1.0 / max(1, x.shape[1])
            along = self.sum(h * normal, (1,), keepdims=True) * scale_of
            dx = h - self.sum(h, (1,), keepdims=True) * scale_of
            dx = (dx - normal * along) * scale
        return dx, dweight, self.sum(g, (0,)) if needs[2] else None

    def rms_norm(
        self, x: Array, weight: Array | None, eps: float
    ) -> tuple[Array, Array]:
        """x / sqrt(mean(x^2) + eps) * weight for each row of x, shape (n, C).

        Also returns 1 / sqrt(mean(x^2) + eps) of each row, shape (n, 1). 16-bit floats
        are computed, and this kept, in float32.
        """
        share, dtype = 1.0 / max(1, x.shape[1]), x.dtype
        x = x.astype(working_dtype(dtype), copy=False)
        mean_square = self.sum(x * x, (1,), keepdims=True) * share
        scale = 1.0 / self.xp.sqrt(mean_square + eps)
        out = x * scale
        if weight is not None:
            out = out * weight
        return out.astype(dtype) if is_half(dtype) else out, scale

    def rms_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        scale: Array,
        needs: tuple[bool, bool],
    ) -> tuple[Array | None, Array | None]:
        """The gradients of x and weight; None for those not in `needs`.

        With n = x scale and h = g weight it is dx = (h - n mean(h n)) scale.
        """
        dx = None
        g = g.astype(working_dtype(g.dtype), copy=False)
        normal = x * scale
        if needs[0]:
            h, share = g if weight is None else g * weight, 1.0 / max(1, x.shape[1])
            along = self.sum(h * normal, (1,), keepdims=True) * share
            dx = (h - normal * along) * scale
        return dx, self.sum(g * normal, (0,)) if needs[1] else None


class ChannelKernels:
    """What batch norm is made of, in plain array code; `Backend` has it.

    Arrays have the shape (N, C, ...); there is one number of each other kind for each
    channel, of shape (C,), or None. 16-bit floats are computed in float32.
    """

    xp: Any

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        raise NotImplementedError

    def channel_moments(self, x: Array) -> tuple[Array, Array]:
        """The mean and the biased variance of each channel."""
        x = x.astype(working_dtype(x.dtype), copy=False)
        share, over = x.shape[1] / (x.size or 1), _over(x)
        mean = self.sum(x, over) * share
        x = x - _beside(x, mean)
        return mean, self.sum(x * x, over) * share

    def channel_affine(
        self, x: Array, mean: Array | None, scale: Array | None, shift: Array | None
    ) -> Array:
        """(x - mean) * scale + shift, in the dtype of x if that has 16 bits."""
        dtype = x.dtype
        out = x.astype(working_dtype(dtype))
        if mean is not None:
            out = out - _beside(x, mean)
        if scale is not None:
            out = out * _beside(x, scale)
        if shift is not None:
            out = out + _beside(x, shift)
        return out.astype(dtype) if is_half(dtype) else out

    def channel_sums(
        self, g: Array, x: Array, mean: Array | None, needs: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """The sums of g and of g * (x - mean); None for what is not in `needs`."""
        g = g.astype(working_dtype(g.dtype), copy=False)
        product = None
        if needs[1]:
            y = x.astype(working_dtype(x.dtype), copy=False)
            y = y if mean is None else y - _beside(x, mean)
            product = self.sum(g * y, _over(x))
        return self.sum(g, _over(x)) if needs[0] else None, product

    def channel_blend(
        self, g: Array, x: Array, mean: Array, offset: Array, slope: Array, scale: Array
    ) -> Array:
        """g * scale - (x - mean) * slope - offset."""
        g = g.astype(working_dtype(g.dtype), copy=False)
        y = x.astype(working_dtype(x.dtype), copy=False) - _beside(x, mean)
        y = y * _beside(x, slope) + _beside(x, offset)
        return g * _beside(x, scale) - y


def _over(x: Array) -> tuple[int, ...]:
    """All axes but that of the channels."""
    return (0, *range(2, x.ndim))


def _beside(x: Array, values: Array) -> Array:
    """One number for each channel, in a shape that goes beside x."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))
