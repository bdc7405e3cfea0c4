"""Attention and its gradient, in plain array code.

With P = softmax(scale Q K^T) over the keys and O = P V, a gradient G of O gives

    dV = P^T G,    dP = G V^T,    dS = P * (dP - rowsum(P * dP)),
    dQ = scale dS K,    dK = scale dS^T Q

(T. Dao et al., "FlashAttention", NeurIPS 2022, appendix B.2.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
Grads = tuple[Array | None, Array | None, Array | None]


class AttentionKernels:
    """The kernels of attention in plain array code; `Backend` has them."""

    xp: Any

    def matmul(self, a: Array, b: Array) -> Array:
        raise NotImplementedError

    def softmax(self, x: Array) -> Array:
        raise NotImplementedError

    def softmax_vjp(self, g: Array, out: Array) -> Array:
        raise NotImplementedError

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        scale: float,
        causal: bool,
        with_grad: bool,
    ) -> tuple[Array, Array | None]:
        """softmax(scale query key^T) value, and what `attention_grad` wants, or None.

        query: (..., L, E), key: (..., S, E), value: (..., S, Ev), of one float dtype,
        with the same leading axes; nothing is empty. With `causal` query i sees keys 0
        to i.
        """
        scores = self.matmul(query * scale, key.swapaxes(-1, -2))
        if causal:
            hidden = self.xp.full(scores.shape[-2:], -np.inf, scores.dtype)
            scores += self.xp.triu(hidden, 1)
        weights = self.softmax(scores.reshape(-1, scores.shape[-1]))
        weights = weights.reshape(scores.shape)
        return self.matmul(weights, value), weights if with_grad else None

    def attention_grad(
        self,
        g: Array,
        query: Array,
        key: Array,
        value: Array,
        weights: Array,
        scale: float,
        causal: bool,
        needs: tuple[bool, bool, bool],
    ) -> Grads:
        """The gradients of query, key and value; None for those not in `needs`.

        `weights` is what `attention` returned, and is not written to.
        """
        dv = self.matmul(weights.swapaxes(-1, -2), g) if needs[2] else None
        if not (needs[0] or needs[1]):
            return None, None, dv
        rows = (-1, weights.shape[-1])
        ds = self.matmul(g, value.swapaxes(-1, -2)).reshape(rows)
        ds = self.softmax_vjp(ds, weights.reshape(rows)).reshape(weights.shape) * scale
        dq = self.matmul(ds, key) if needs[0] else None
        dk = self.matmul(ds.swapaxes(-1, -2), query) if needs[1] else None
        return dq, dk, dv
