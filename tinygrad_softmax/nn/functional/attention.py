"""Attention: in one op where it can be, else composed of products and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...autograd import is_grad_enabled, primitive
from ...backends import backend_of, there
from ...backends.dtypes import is_floating, working_dtype
from ...ops.linalg import _matmul
from ...tensor import Tensor
from .dropouts import dropout
from .precision import wide

__all__ = ["scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """softmax(scale query key^T + mask) value: a mean of values for each query.

    `torch.nn.functional.scaled_dot_product_attention`. A query whose keys are all
    masked gets zeros, and no gradient, as in PyTorch. 16-bit floats are computed in
    float32, under `tg.autocast` too.

    Source: A. Vaswani et al., "Attention is all you need", NeurIPS 2017, equation 1.

    Args:
        query: shape (..., L, E).
        key: shape (..., S, E).
        value: shape (..., S, Ev). The leading axes of all three broadcast.
        attn_mask: broadcasts to (..., L, S). Booleans: True takes part. Floats are
            added to the scores, and may require a gradient.
        dropout_p: the share of weights that is dropped; 0 outside training.
        is_causal: query i sees keys 0 to i; with L != S counted from the first of each.
        scale: 1 / sqrt(E) by default.
        enable_gqa: query heads, on axis -3, share the fewer heads of key and value in
            groups (J. Ainslie et al., "GQA", EMNLP 2023).

    Returns:
        Shape (..., L, Ev), in the query's dtype.

    Raises:
        ValueError: shapes that do not fit, a mask together with `is_causal`, or a
            `dropout_p` outside [0, 1].
        TypeError: a mask of integers.

    >>> x = tg.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[1.        , 0.        ],
            [0.33023845, 0.66976154]])
    """
    if enable_gqa:
        key, value = _shared_heads(query, key, value)
    _check_shapes(query, key, value, attn_mask)
    if attn_mask is not None and is_causal:
        raise ValueError(
            "scaled_dot_product_attention: attn_mask and is_causal=True were both "
            "given; expected one of them; mend: put the causal mask into attn_mask"
        )
    if not 0.0 <= dropout_p <= 1.0:
        raise ValueError(
            f"scaled_dot_product_attention: dropout_p was given as {dropout_p}; "
            "expected a probability in [0, 1]"
        )
    plain = not dropout_p and attn_mask is None and not isinstance(scale, Tensor)
    if plain and _alike(query, key, value):
        return _attended(query, key, value, scale, is_causal)
    alone = None
    if is_causal:
        attn_mask = causal_mask(query, key.shape[-2])
    elif attn_mask is not None:
        attn_mask, alone = _without_empty_rows(attn_mask)
    weights = attention_weights(query, key, attn_mask, scale)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    output = _matmul(weights, wide(value))
    if alone is not None:
        output = ops.where(alone, 0.0, output)
    return ops.astype(output, query.dtype)


@primitive(name="attention", residuals=("weights",))
def _attention(query, key, value, *, scale, causal, with_grad):
    kernel = backend_of(query).attention
    return kernel(query, key, value, scale, causal, with_grad)


@_attention.vjp("query", "key", "value")
def _(g, query, key, value, scale, causal):
    mask = causal_mask(query, key.shape[-2]) if causal else None
    p = attention_weights(query, key, mask, scale)
    dp = _matmul(g, ops.swapaxes(value, -1, -2))
    ds = p * (dp - ops.sum(p * dp, axis=-1, keepdims=True)) * scale
    dv = _matmul(ops.swapaxes(p, -1, -2), g)
    return _matmul(ds, key), _matmul(ops.swapaxes(ds, -1, -2), query), dv


@_attention.fused("query", "key", "value")
def _(g, query, key, value, scale, causal, needs, weights):
    kernel = backend_of(g).attention_grad
    return kernel(g, query, key, value, weights, scale, causal, needs)


def _alike(query: Any, key: Any, value: Any) -> bool:
    """Whether the leading axes are the same, nothing is empty, and dtypes agree."""
    lead = query.shape[:-2]
    if key.shape[:-2] != lead or value.shape[:-2] != lead:
        return False
    if not query.dtype == key.dtype == value.dtype:
        return False
    return 0 not in query.shape and 0 not in value.shape


def _attended(query: Any, key: Any, value: Any, scale: Any, is_causal: bool) -> Any:
    """`scaled_dot_product_attention` without a mask other than the causal one."""
    with_grad = is_grad_enabled() and any(
        getattr(x, "node", None) is not None for x in (query, key, value)
    )
    output = _attention(
        wide(query),
        wide(key),
        wide(value),
        scale=_usual_scale(query) if scale is None else scale,
        causal=bool(is_causal),
        with_grad=with_grad,
    )
    return ops.astype(output, query.dtype)


def _usual_scale(query: Any) -> float:
    return 1.0 / math.sqrt(max(1, query.shape[-1]))


def attention_weights(query: Any, key: Any, mask: Any, scale: float | None) -> Any:
    """softmax(scale query key^T + mask) over the keys; 16-bit floats give float32.

    mask: as `attn_mask`, or None. A row that is masked everywhere is nan.
    """
    if scale is None:
        scale = _usual_scale(query)
    # The query has L E elements and the scores L S, so the query is scaled.
    scores = _matmul(wide(query) * scale, ops.swapaxes(wide(key), -1, -2))
    if mask is not None:
        scores = scores + ops.astype(additive(mask), scores.dtype)
    return ops.softmax(scores, axis=-1) if key.shape[-2] else scores


def additive(mask: Any) -> Any:
    """A mask to add to scores: of booleans, 0 where True and -inf where False."""
    return mask if is_floating(mask.dtype) else ops.where(mask, 0.0, -math.inf)


def causal_mask(query: Any, keys: int) -> Tensor:
    """0 where a key does not come after the query, else -inf; shape (L, keys)."""
    array = getattr(query, "array", query)
    xp, dtype = backend_of(array).xp, working_dtype(array.dtype)
    with there(array):
        return Tensor(xp.triu(xp.full((array.shape[-2], keys), -np.inf, dtype), 1))


def _without_empty_rows(mask: Any) -> tuple[Any, Any]:
    """An additive mask whose all -inf rows are 0, and which rows those were.

    So softmax never divides 0 by 0; what these rows then give is put to 0.
    """
    empty = (
        ops.equal(mask, -math.inf) if is_floating(mask.dtype) else ops.logical_not(mask)
    )
    alone = ops.all(empty, axis=-1, keepdims=True)
    return ops.where(alone, 0.0, additive(mask)), alone


def _shared_heads(query: Any, key: Any, value: Any) -> tuple[Any, Any]:
    """Key and value with each head repeated for the queries that share it."""
    shapes = [tuple(x.shape) for x in (query, key, value)]
    heads = [shape[-3] if len(shape) > 2 else 0 for shape in shapes]
    if not all(heads) or heads[0] % heads[1] or heads[0] % heads[2]:
        raise ValueError(
            f"scaled_dot_product_attention: enable_gqa=True was given with shapes "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}; expected heads on axis -3, "
            "those of query a multiple of those of key and value"
        )
    return tuple(
        ops.repeat(x, heads[0] // n, axis=-3)
        for x, n in zip((key, value), heads[1:], strict=True)
    )


def _check_shapes(query: Any, key: Any, value: Any, mask: Any) -> None:
    q, k, v = (tuple(x.shape) for x in (query, key, value))
    expected = "expected (..., L, E), (..., S, E) and (..., S, Ev)"
    lead: tuple[int, ...] = ()
    fits = min(len(q), len(k), len(v)) > 1 and q[-1] == k[-1] and k[-2] == v[-2]
    try:
        lead = np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
    except ValueError:
        fits, expected = False, f"{expected}, with leading axes that broadcast"
    if not fits:
        raise ValueError(
            f"scaled_dot_product_attention: query, key and value have shapes {q}, {k} "
            f"and {v}; {expected}"
        )
    if mask is None:
        return
    wanted = (*lead, q[-2], k[-2])
    try:
        fits = np.broadcast_shapes(mask.shape, wanted) == wanted
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"scaled_dot_product_attention: attn_mask has shape {tuple(mask.shape)}; "
            f"expected one that broadcasts to {wanted}"
        )
    check_mask("scaled_dot_product_attention", "attn_mask", mask)


def check_mask(caller: str, name: str, mask: Any) -> None:
    """Raise TypeError for a mask that is neither of booleans nor of floats."""
    if not is_floating(mask.dtype) and mask.dtype.kind != "b":
        raise TypeError(
            f"{caller}: {name} is {mask.dtype}; expected booleans or floats; mend: "
            f"{name}.astype(bool)"
        )
