"""MultiheadAttention."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..backends.dtypes import is_floating
from ..creation import zeros
from ..ops.linalg import _matmul
from . import functional, init
from .functional.attention import additive, attention_weights, check_mask
from .linear import Linear
from .module import Module, Parameter

__all__ = ["MultiheadAttention"]


class MultiheadAttention(Module):
    """Attention in several heads, `torch.nn.MultiheadAttention`.

    Queries, keys and values are projected, cut into `num_heads` parts along the
    features, attended to part by part (`functional.scaled_dot_product_attention`),
    joined and projected once more. Source: A. Vaswani et al., "Attention is all you
    need", NeurIPS 2017, section 3.2.2. The input projection starts as `xavier_uniform_`
    has it, the output projection as in `Linear`, biases at 0.

    Args:
        embed_dim: features of the query and of the result; `num_heads` divides it.
        num_heads: how many heads.
        dropout: the share of attention weights that is dropped in training.
        bias: whether the projections have one.
        add_bias_kv: append a learned key and value.
        add_zero_attn: append a key and a value of zeros.
        kdim, vdim: features of key and value, by default `embed_dim`.
        batch_first: whether inputs are (N, L, E), rather than (L, N, E).

    >>> attention = MultiheadAttention(4, 2, batch_first=True)
    >>> x = tg.zeros((3, 5, 4))
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 4), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention was given embed_dim={embed_dim} and "
                f"num_heads={num_heads}; expected positive numbers, the first a "
                "multiple of the second"
            )

        def parameter(*shape: int) -> Parameter:
            return Parameter(zeros(shape, dtype, device))

        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.head_dim = embed_dim // num_heads
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        self.in_proj_weight = self.q_proj_weight = None
        self.k_proj_weight = self.v_proj_weight = None
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
        else:
            self.q_proj_weight = parameter(embed_dim, embed_dim)
            self.k_proj_weight = parameter(embed_dim, self.kdim)
            self.v_proj_weight = parameter(embed_dim, self.vdim)
        self.in_proj_bias = parameter(3 * embed_dim) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.bias_k = parameter(1, 1, embed_dim) if add_bias_kv else None
        self.bias_v = parameter(1, 1, embed_dim) if add_bias_kv else None
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for name, value in self.named_parameters(recurse=False):
            if name.endswith("_weight"):
                init.xavier_uniform_(value)
            elif name in ("bias_k", "bias_v"):
                init.xavier_normal_(value)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """The attended values, and the weights (or None).

        In a mask of booleans True means, as in PyTorch and other than in
        `scaled_dot_product_attention`, that a key does NOT take part; a mask of floats
        is added to the scores.

        Args:
            query: shape (L, N, E), or (N, L, E) with `batch_first`; (L, E) unbatched.
            key: shape (S, N, kdim), and so on.
            value: shape (S, N, vdim), and so on.
            key_padding_mask: shape (N, S), or (S,) unbatched.
            need_weights: return the weights too. Without them a query whose keys are
                all masked gives zeros before the output projection; with them, nan.
            attn_mask: shape (L, S), or (N * num_heads, L, S).
            average_attn_weights: the mean of the weights over the heads, shape
                (N, L, S); False: all of them, (N, num_heads, L, S).
            is_causal: says that `attn_mask` is the causal mask, which then need not be
                looked at; an error without it.

        Raises:
            ValueError: shapes that do not fit, or `is_causal` without `attn_mask`.
            TypeError: a mask of integers.
        """
        self._check(query, key, value, key_padding_mask, attn_mask, is_causal)
        batched = query.ndim == 3
        if not batched:
            query, key, value = (ops.expand_dims(x, 0) for x in (query, key, value))
            if key_padding_mask is not None:
                key_padding_mask = ops.expand_dims(key_padding_mask, 0)
        batch_first = self.batch_first or not batched
        # Axes of (N, heads, length, features) in (first, second, heads, features).
        axes = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)
        q, k, v = (self._split(x, axes) for x in self._project(query, key, value))
        k, v, extra = self._with_more_keys(k, v)
        causal = is_causal and key_padding_mask is None and not need_weights
        mask = None if causal else attn_mask
        mask = self._merged(mask, key_padding_mask, k.shape, extra)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = attention_weights(q, k, mask, None)
            weights = functional.dropout(weights, dropout) if dropout else weights
            attended = ops.astype(_matmul(weights, v), q.dtype)
            weights = ops.astype(weights, q.dtype)
            weights = ops.mean(weights, axis=1) if average_attn_weights else weights
        else:
            attended = functional.scaled_dot_product_attention(
                q, k, v, mask, dropout, causal
            )
        joined = ops.permute_dims(
            attended, (0, 2, 1, 3) if batch_first else (2, 0, 1, 3)
        )
        output = self.out_proj(ops.reshape(joined, query.shape))
        if not batched:
            output = ops.squeeze(output, 0)
            weights = None if weights is None else ops.squeeze(weights, 0)
        return output, weights

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"

    def _project(self, *inputs: Any) -> list[Any]:
        """Query, key and value, each with embed_dim features.

        Each has a product of its own: one product with all of in_proj_weight would have
        to be cut, and backward would fill a gradient of its size for every part.
        """
        n = self.embed_dim
        parts = [slice(i * n, (i + 1) * n) for i in range(3)]
        whole, bias = self.in_proj_weight, self.in_proj_bias
        if whole is None:
            weights: list[Any] = [self.q_proj_weight, self.k_proj_weight]
            weights.append(self.v_proj_weight)
        else:
            weights = [whole[part] for part in parts]
        biases = [None if bias is None else bias[part] for part in parts]
        return list(map(functional.linear, inputs, weights, biases))

    def _split(self, x: Any, axes: tuple[int, ...]) -> Any:
        """The heads of x: shape (N, num_heads, length, head_dim)."""
        x = ops.reshape(x, (*x.shape[:2], self.num_heads, self.head_dim))
        return ops.permute_dims(x, axes)

    def _with_more_keys(self, k: Any, v: Any) -> tuple[Any, Any, int]:
        """Keys and values with those of `add_bias_kv` and `add_zero_attn` appended."""
        shape, extra = (k.shape[0], self.num_heads, 1, self.head_dim), 0
        if self.bias_k is not None and self.bias_v is not None:
            one = (1, self.num_heads, 1, self.head_dim)
            k, v = (
                ops.concatenate([x, ops.broadcast_to(b.reshape(one), shape)], axis=2)
                for x, b in ((k, self.bias_k), (v, self.bias_v))
            )
            extra += 1
        if self.add_zero_attn:
            zero = zeros(shape, k.dtype, k.device)
            k, v = (ops.concatenate([x, zero], axis=2) for x in (k, v))
            extra += 1
        return k, v, extra

    def _merged(self, mask: Any, padding: Any, k_shape: Any, extra: int) -> Any:
        """Both masks as one for `scaled_dot_product_attention`; more keys are seen."""
        batch, heads, keys, _ = k_shape
        masks = []
        if mask is not None:
            shape = mask.shape if mask.ndim == 2 else (batch, heads, *mask.shape[1:])
            masks.append(ops.reshape(mask, shape))
        if padding is not None:
            masks.append(ops.reshape(padding, (batch, 1, 1, keys - extra)))
        if not masks:
            return None
        if extra:
            masks = [ops.pad(m, [(0, 0)] * (m.ndim - 1) + [(0, extra)]) for m in masks]
        masks = [m if is_floating(m.dtype) else ops.logical_not(m) for m in masks]
        if len(masks) == 1:
            return masks[0]
        if not any(is_floating(m.dtype) for m in masks):
            return ops.logical_and(*masks)
        return ops.add(*map(additive, masks))

    def _check(
        self,
        query: Any,
        key: Any,
        value: Any,
        padding: Any,
        mask: Any,
        is_causal: bool,
    ) -> None:
        q, k, v = (tuple(x.shape) for x in (query, key, value))
        features = (self.embed_dim, self.kdim, self.vdim)
        form = "(N, length, features)" if self.batch_first else "(length, N, features)"
        batch = 0 if self.batch_first else 1
        fits = len(q) in (2, 3) and len(q) == len(k) == len(v) and k[:-1] == v[:-1]
        fits = fits and (q[-1], k[-1], v[-1]) == features
        if not fits or (len(q) == 3 and q[batch] != k[batch]):
            raise ValueError(
                f"MultiheadAttention: query, key and value have shapes {q}, {k} and "
                f"{v}; expected {form} each, or (length, features), with {features} "
                "features, the same N, and key and value of one length"
            )
        if is_causal and mask is None:
            raise ValueError(
                "MultiheadAttention: is_causal=True was given without attn_mask, and "
                "only says what that mask is; mend: attn_mask="
                "nn.Transformer.generate_square_subsequent_mask(L)"
            )
        length, keys = (q[1 - batch], k[1 - batch]) if len(q) == 3 else (q[0], k[0])
        n = q[batch] if len(q) == 3 else 1
        wanted = {
            "key_padding_mask": [(n, keys) if len(q) == 3 else (keys,)],
            "attn_mask": [(length, keys), (n * self.num_heads, length, keys)],
        }
        for name, given in (("key_padding_mask", padding), ("attn_mask", mask)):
            if given is None:
                continue
            if tuple(given.shape) not in wanted[name]:
                raise ValueError(
                    f"MultiheadAttention: {name} has shape {tuple(given.shape)}; "
                    f"expected {' or '.join(map(str, wanted[name]))}"
                )
            check_mask("MultiheadAttention", name, given)
