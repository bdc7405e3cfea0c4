"""Layer normalisation of rows, and its gradient, in plain array code.

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
    """The kernels of layer normalisation in plain array code; `Backend` has them."""

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
