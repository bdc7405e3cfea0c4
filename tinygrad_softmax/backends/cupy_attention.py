"""Attention on a CUDA device: products by cuBLAS, weights by cuda/attention.cu.

attention.py is the definition. Forward is two products and a kernel, backward four and
one. The scores are in memory, (queries, keys) for each head: the weights take their
place, and of a causal mask nothing is there but which keys a kernel reads.
"""

from __future__ import annotations

from math import prod

from .base import Array
from .cuda import gemm, geometry
from .cupy_products import CudaProducts
from .cupy_softmax import HELD_OF_TWO
from .dtypes import float32, float64

Grads = tuple[Array | None, Array | None, Array | None]


class CudaAttention(CudaProducts):
    """Attention in float32 and float64, of as many keys as a block keeps in registers:
    8192 in float32, if a row of them is a multiple of 16 bytes, else 4096. The rest is
    the definition's."""

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        scale: float,
        causal: bool,
        with_grad: bool,
    ) -> tuple[Array, Array | None]:
        """softmax(scale query key^T) value, and the weights for `attention_grad`."""
        if not self._attends(query, key, value):
            return super().attention(query, key, value, scale, causal, with_grad)
        weights = self.product(query, key.swapaxes(-1, -2), alpha=scale)
        self._weigh("attention_weights", causal, weights)
        out = self.product(weights, value, self._beside(query, value.shape[-1]))
        return out, weights if with_grad else None

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
        """The gradients of query, key and value; None for those not in `needs`."""
        arrays = query, key, value, weights
        if not self._attends(*arrays, g, kept=(weights,)):
            return super().attention_grad(g, *arrays, scale, causal, needs)
        dq = dk = dv = None
        if needs[2]:
            like = self._beside(value, value.shape[-1])
            dv = self.product(weights.swapaxes(-1, -2), g, like)
        if needs[0] or needs[1]:
            ds = self.product(g, value.swapaxes(-1, -2))
            weights = self.xp.ascontiguousarray(weights)
            self._weigh("attention_weights_vjp", causal, ds, weights)
            if needs[0]:
                like = self._beside(query, query.shape[-1])
                dq = self.product(ds, key, like, alpha=scale)
            if needs[1]:
                like = self._beside(key, key.shape[-1])
                dk = self.product(ds.swapaxes(-1, -2), query, like, alpha=scale)
        return dq, dk, dv

    def _weigh(self, name: str, causal: bool, scores: Array, *others: Array) -> None:
        """A kernel over the rows of the scores, in place."""
        kernels = self.kernels
        assert kernels is not None
        *lead, length, keys = scores.shape
        n, arrays = prod(lead) * length, (scores, *others)
        launch, wide = _launch(n, keys, scores.itemsize, arrays)
        macros = dict(WIDE=int(wide), HELD=launch.held)
        kernel = kernels.get("attention.cu", name, scores.dtype, **macros)
        kernel(launch.grid, launch.block, (*arrays, n, length, keys, int(causal)))

    def _attends(
        self, query: Array, key: Array, *others: Array, kept: tuple[Array, ...] = ()
    ) -> bool:
        """Whether there is a kernel for these; kept: those that it gets as they are."""
        dtype = query.dtype
        if self.kernels is None or dtype not in (float32, float64):
            return False
        if any(x.dtype != dtype or not x.size for x in (query, key, *others)):
            return False
        launch, _ = _launch(1, key.shape[-2], dtype.itemsize, kept)
        return launch.held > 0

    def _beside(self, like: Array, width: int) -> Array | None:
        """Memory for a result of the shape of `like` but for the last axis, laid out as
        it is: heads side by side, so that they are joined without a copy. None where
        that would take too many calls."""
        if like.ndim != 4 or like.strides[1] >= like.strides[2]:
            return None
        samples, heads, length, _ = like.shape
        out = self.xp.empty((samples, length, heads, width), like.dtype)
        out = out.swapaxes(1, 2)
        strides = tuple(step // out.itemsize for step in out.strides[:2])
        calls = gemm.batches(out.shape[:2], strides).calls
        return out if gemm.are_worth(calls, out.nbytes) else None


def _launch(
    n: int, keys: int, itemsize: int, arrays: tuple[Array, ...]
) -> tuple[geometry.Launch, bool]:
    """The shape of a launch over rows of so many keys, and whether it is wide."""
    wide = geometry.is_wide(keys, itemsize, *(each.data.ptr for each in arrays))
    held = HELD_OF_TWO if wide else HELD_OF_TWO[:1]
    return geometry.rows(n, keys, itemsize, held), wide
