"""An activation of x + bias, and its gradient, in plain array code."""

from __future__ import annotations

from collections.abc import Callable
from operator import mul
from typing import Any

Array = Any
Product = Callable[[Any, Any], Any]
APPROXIMATE = {"gelu": "none", "gelu_tanh": "tanh"}


class BiasKernels:
    """The kernels of a bias and an activation in plain array code; `Backend` has them.

    activation: "relu", "gelu" or "gelu_tanh".
    """

    xp: Any

    def relu(self, x: Array) -> Array:
        raise NotImplementedError

    def relu_grad(self, g: Array, out: Array) -> Array:
        raise NotImplementedError

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        raise NotImplementedError

    def gelu_grad(
        self, g: Array, x: Array, slope: Any, approximate: str, product: Product = mul
    ) -> Array:
        raise NotImplementedError

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        raise NotImplementedError

    def bias_activation(
        self, x: Array, bias: Array, activation: str, with_grad: bool
    ) -> tuple[Array, Any]:
        """activation(x + bias), and what `bias_activation_grad` wants, or None.

        x: shape (..., C), which nobody needs any more: it may be written over.
        bias: shape (C,).
        """
        if x.dtype == bias.dtype:
            x += bias
        else:
            x = x + bias
        if activation == "relu":
            out = self.relu(x)
            return out, out if with_grad else None
        approximate = APPROXIMATE[activation]
        out, slope = self.gelu(x, approximate, with_grad)
        if with_grad and slope is None:
            slope = self.gelu_grad(self.xp.ones_like(x), x, None, approximate)
        return out, slope

    def bias_activation_grad(
        self,
        g: Array,
        kept: Array,
        bias: Array,
        activation: str,
        needs_bias: bool,
        product: Product = mul,
    ) -> tuple[Array, Array | None]:
        """The gradients of x and of the bias (None if not needed).

        kept: what `bias_activation` returned. product: of it and g; the engine's
        `scaled` writes it over `kept` where nobody needs that any more.
        """
        if activation == "relu":
            dx = self.relu_grad(g, kept)
        else:
            dx = product(kept, g).astype(g.dtype, copy=False)
        if not needs_bias:
            return dx, None
        return dx, self.sum(dx, tuple(range(dx.ndim - 1)))
