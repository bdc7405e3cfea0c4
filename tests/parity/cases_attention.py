"""scaled_dot_product_attention, MultiheadAttention, the Transformer's layers."""

from __future__ import annotations

import numpy as np
from parity.harness import Case, values


def attention(lib):
    """PyTorch's faster kernels have no second derivative, so they are switched off."""
    if lib.__name__ == "torch":
        lib.backends.cuda.enable_flash_sdp(False)
        lib.backends.cuda.enable_mem_efficient_sdp(False)
    return lib.nn.functional.scaled_dot_product_attention


def module(name, *args, **options):
    def make(lib):
        attention(lib)
        return getattr(lib.nn, name)(*args, **options)

    return make


def heads(**options):
    return module("MultiheadAttention", 4, 2, **options)


def encoder(**options):
    return module("TransformerEncoderLayer", 4, 2, 6, 0.0, **options)


def decoder(**options):
    return module("TransformerDecoderLayer", 4, 2, 6, 0.0, **options)


def a_function(lib):
    attention(lib)
    act = lib.nn.functional.relu
    return lib.nn.TransformerEncoderLayer(4, 2, 6, 0.0, lambda x: act(x) * x)


def stack(lib):
    layer = encoder(batch_first=True)(lib)
    return lib.nn.TransformerEncoder(layer, 2, lib.nn.LayerNorm(4), False)


def decoder_stack(lib):
    return lib.nn.TransformerDecoder(decoder()(lib), 2)


Q, K, V = (
    values("q", (2, 3, 4)),
    values("k", (2, 5, 4)),
    values("v", (2, 5, 3)),
)
Q4, K4, V4 = (values(n, (2, 2, 3, 2)) for n in ("q4", "k4", "v4"))
FLOAT_MASK = values("mask", (3, 5))
BOOL_MASK = values("bools", (3, 5)) > -0.3
BOOL_MASK[:, 0] = True
EMPTY_ROW = BOOL_MASK.copy()
EMPTY_ROW[1] = False
MINUS_INF = np.where(EMPTY_ROW, 0.5, -np.inf)
SQUARE = np.triu(np.ones((3, 3), bool), 1)  # True: does not take part
CAUSAL = np.where(SQUARE, -np.inf, 0.0)

X = values("x", (3, 2, 4))  # (L, N, E)
Y = values("y", (5, 2, 4))
PADDING = np.array(
    [[False, False, False, True, True], [False, True, False, False, True]]
)
PADDING_X = np.array([[False, False, True], [False, False, False]])
CROSS = ~BOOL_MASK
CROSS_3D = np.stack([np.roll(CROSS, i, 0) for i in range(4)])
KD, VD = values("kd", (5, 2, 3)), values("vd", (5, 2, 6))

CASES = [
    Case("attention", attention, (Q, K, V)),
    Case("attention of matrices", attention, (Q[0], K[0], V[0])),
    Case("attention, float mask", attention, (Q, K, V, FLOAT_MASK)),
    Case("attention, bool mask", attention, (Q, K, V), {"attn_mask": BOOL_MASK}),
    Case("attention, an empty row", attention, (Q, K, V), {"attn_mask": EMPTY_ROW}),
    Case("attention, a row of -inf", attention, (Q, K, V, MINUS_INF)),
    Case("attention, mask per batch", attention, (Q, K, V, values("m", (2, 1, 5)))),
    Case("attention, causal", attention, (Q4, K4, V4), {"is_causal": True}),
    Case("attention, causal, fewer queries", attention, (Q, K, V), {"is_causal": True}),
    Case("attention, causal, fewer keys", attention, (K, Q, Q), {"is_causal": True}),
    Case("attention, scale", attention, (Q, K, V), {"scale": 0.3}),
    Case("attention, no keys", attention, (Q, K[:, :0], V[:, :0]), second=False),
    Case(
        "attention, shared heads",
        attention,
        (values("gq", (1, 4, 3, 2)), K4[:1], V4[:1]),
        {"enable_gqa": True},
    ),
    Case("heads", heads(), (X, Y, Y)),
    Case("heads, itself", heads(), (X,), call=lambda made, x: made(x, x, x)),
    Case("heads, batch first", heads(batch_first=True), (Q, K, K)),
    Case("heads, unbatched", heads(batch_first=True), (Q[0], K[0], K[0])),
    Case("heads, no bias", heads(bias=False), (X, Y, Y)),
    Case("heads, no weights", heads(), (X, Y, Y), {"need_weights": False}),
    Case("heads, each", heads(), (X, Y, Y), {"average_attn_weights": False}),
    Case("heads, eval", heads(), (X, Y, Y), train=False),
    Case("heads, bias_kv", heads(add_bias_kv=True), (X, Y, Y)),
    Case("heads, zero attention", heads(add_zero_attn=True), (X, Y, Y)),
    Case(
        "heads, all keys, masks",
        heads(add_zero_attn=True, add_bias_kv=True),
        (X, Y, Y),
        {"attn_mask": CROSS, "key_padding_mask": PADDING},
    ),
    Case("heads, kdim and vdim", heads(kdim=3, vdim=6), (X, KD, VD)),
    Case("heads, kdim, no bias", heads(kdim=3, bias=False), (X, KD, Y)),
    Case("heads, 2-d mask", heads(), (X, Y, Y), {"attn_mask": CROSS}),
    Case("heads, 3-d mask", heads(), (X, Y, Y), {"attn_mask": CROSS_3D}),
    Case("heads, float mask", heads(), (X, Y, Y), {"attn_mask": FLOAT_MASK}),
    Case("heads, padding", heads(), (X, Y, Y), {"key_padding_mask": PADDING}),
    Case(
        "heads, padding of floats, mask of floats",
        heads(),
        (X, Y, Y),
        {
            "key_padding_mask": np.where(PADDING, -np.inf, 0.1),
            "attn_mask": CROSS_3D * 0.7,
            "need_weights": False,
        },
    ),
    Case(
        "heads, padding unbatched",
        heads(),
        (X[:, 0], Y[:, 0], Y[:, 0]),
        {"key_padding_mask": PADDING[0], "attn_mask": CROSS, "need_weights": False},
    ),
    Case(
        "heads, everything masked",
        heads(),
        (X, Y, Y),
        {
            "key_padding_mask": np.array([[True] * 5, [False] * 5]),
            "need_weights": False,
        },
    ),
    Case(
        "heads, causal hint",
        heads(),
        (X, X, X),
        {"attn_mask": SQUARE, "is_causal": True, "need_weights": False},
    ),
    Case(
        "heads, causal hint, weights",
        heads(),
        (X, X, X),
        {"attn_mask": SQUARE, "is_causal": True},
    ),
    Case("encoder layer", encoder(), (X,)),
    Case("encoder layer, norm first", encoder(norm_first=True), (X,)),
    Case("encoder layer, gelu", encoder(activation="gelu"), (X,)),
    Case("encoder layer, a function", a_function, (X,)),
    Case("encoder layer, eps", encoder(layer_norm_eps=0.1), (X,)),
    Case("encoder layer, no bias", encoder(bias=False), (X,)),
    Case("encoder layer, unbatched", encoder(batch_first=True), (X[:, 0],)),
    Case(
        "encoder layer, masks",
        encoder(),
        (X,),
        {"src_mask": SQUARE, "src_key_padding_mask": PADDING_X},
    ),
    Case(
        "encoder layer, causal",
        encoder(batch_first=True, norm_first=True),
        (Q,),
        {"src_mask": CAUSAL, "is_causal": True},
    ),
    Case("encoder", stack, (Q,), {"src_key_padding_mask": PADDING_X}),
    Case("encoder, causal", stack, (Q,), {"mask": CAUSAL}),
    Case("decoder layer", decoder(), (X, Y)),
    Case("decoder layer, norm first", decoder(norm_first=True), (X, Y)),
    Case(
        "decoder layer, masks",
        decoder(),
        (X, Y),
        {
            "tgt_mask": SQUARE,
            "memory_mask": CROSS,
            "tgt_key_padding_mask": PADDING_X,
            "memory_key_padding_mask": PADDING,
            "tgt_is_causal": True,
        },
    ),
    Case("decoder", decoder_stack, (X, Y), {"tgt_mask": CAUSAL}),
    Case(
        "transformer",
        module("Transformer", 4, 2, 1, 1, 6, 0.0, "gelu", batch_first=True),
        (K, Q),
        {"tgt_mask": CAUSAL, "src_key_padding_mask": PADDING},
    ),
    Case(
        "causal mask",
        lambda lib: lib.nn.Transformer.generate_square_subsequent_mask,
        (),
        {"sz": 4},
    ),
]
