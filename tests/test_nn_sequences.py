"""Attention, Transformer, RNN, LSTM, GRU: what comparing with PyTorch can't show."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from strict_cupy import strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.nn import functional

attention = functional.scaled_dot_product_attention
LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


def random(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def by_hand(query, key, value, allowed):
    """Attention query by query, in float64, over the keys that `allowed` names."""
    out = np.zeros((len(query), value.shape[1]))
    for i, q in enumerate(query):
        keys = [j for j in range(len(key)) if allowed[i, j]]
        weights = [math.exp(q @ key[j] / math.sqrt(len(q))) for j in keys]
        for weight, j in zip(weights, keys, strict=True):
            out[i] += weight / sum(weights) * value[j]
    return out


# -- attention -----------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (5, 3), (1, 1)])
def test_causal_attention_sees_prefixes(sizes, device):
    queries, keys = sizes
    q, k, v = random(queries, 2), random(keys, 2, seed=1), random(keys, 3, seed=2)
    x = [tg.tensor(each, device=device) for each in (q, k, v)]
    expected = by_hand(q, k, v, np.tri(queries, keys, dtype=bool))
    out = attention(*x, is_causal=True)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-12)
    for i in range(min(sizes)):  # a query sees no more than its prefix
        prefix = attention(x[0][i : i + 1], x[1][: i + 1], x[2][: i + 1])
        np.testing.assert_allclose(out.numpy()[i : i + 1], prefix.numpy(), rtol=1e-12)


def test_a_bool_mask_lets_true_take_part(device):
    q, k, v = random(3, 2), random(4, 2, seed=1), random(4, 3, seed=2)
    mask = random(3, 4, seed=3) > 0
    mask[:, 1] = True
    x = [tg.tensor(each, device=device) for each in (q, k, v)]
    out = attention(*x, attn_mask=tg.tensor(mask, device=device))
    np.testing.assert_allclose(out.numpy(), by_hand(q, k, v, mask), rtol=1e-12)


@pytest.mark.parametrize("kind", ["bool", "float"])
def test_an_empty_row_gives_zeros_and_no_gradient(kind, device):
    q, k, v = (
        tg.tensor(random(2, 3, 2, seed=i), device=device, requires_grad=True)
        for i in range(3)
    )
    mask = np.array([[True, False, True], [False] * 3, [True] * 3])
    given = mask if kind == "bool" else np.where(mask, 0.0, -np.inf)
    out = attention(q, k, v, tg.tensor(given, device=device))
    np.testing.assert_array_equal(out.detach().numpy()[:, 1], 0.0)
    out.sum().backward()
    np.testing.assert_array_equal(q.grad.numpy()[:, 1], 0.0)
    for each in (q, k, v):
        assert np.isfinite(each.grad.numpy()).all()
        assert each.grad.numpy().any()


@pytest.mark.parametrize("large", [60.0, 250.0])
def test_float16_attention_is_computed_in_float32(large, device):
    """The scores, up to 62,500 * 2, are beyond float16; the weights are not coarse."""
    q = np.array([[large, large], [1.0, -1.0]], "float16")
    k = np.array([[large, large], [large, large - 0.5]], "float16")
    v = random(2, 3, dtype="float16")
    out = attention(*(tg.tensor(x, device=device) for x in (q, k, v)))
    assert out.dtype == np.float16
    wide = (x.astype("float64") for x in (q, k, v))
    with np.errstate(over="ignore"):
        scores = next(wide) @ next(wide).T / math.sqrt(2)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(out.numpy(), weights @ next(wide), rtol=2e-3, atol=1e-6)


def test_attention_dropout_repeats_with_its_seed(device):
    q, k, v = (tg.tensor(random(4, 6, 2, seed=i), device=device) for i in range(3))

    def dropped(seed):
        tg.manual_seed(seed)
        return attention(q, k, v, dropout_p=0.5).numpy()

    plain = attention(q, k, v).numpy()
    np.testing.assert_array_equal(dropped(1), dropped(1))
    assert (dropped(1) != dropped(2)).any()
    assert (dropped(1) != plain).any()
    np.testing.assert_array_equal(attention(q, k, v, dropout_p=1.0).numpy(), 0.0)
    mean = np.mean([dropped(seed) for seed in range(2000)], axis=0)
    np.testing.assert_allclose(mean, plain, atol=0.15)


def test_attention_takes_plain_arrays():
    q, k, v = random(3, 2), random(4, 2, seed=1), random(4, 3, seed=2)
    out = attention(q, k, v, np.ones((3, 4), bool))
    np.testing.assert_allclose(
        np.asarray(out), by_hand(q, k, v, np.ones((3, 4), bool)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(3, 2), (4, 3), (4, 3)], {}, r"\(3, 2\), \(4, 3\) and \(4, 3\); expected"),
        ([(3, 2), (4, 2), (5, 2)], {}, r"expected \(..., L, E\), \(..., S, E\)"),
        ([(2,), (4, 2), (4, 2)], {}, "query, key and value have shapes"),
        ([(2, 3, 2), (3, 4, 2), (3, 4, 2)], {}, "leading axes that broadcast"),
        ([(3, 2)] * 3, {"attn_mask": np.ones((2, 3))}, r"broadcasts to \(3, 3\)"),
        ([(3, 2)] * 3, {"attn_mask": np.ones((2, 3, 3))}, r"broadcasts to \(3, 3\)"),
        (
            [(3, 2)] * 3,
            {"attn_mask": np.ones((3, 3)), "is_causal": True},
            "expected one of them",
        ),
        ([(3, 2)] * 3, {"dropout_p": 1.5}, "dropout_p was given as 1.5"),
        ([(3, 2)] * 3, {"enable_gqa": True}, "expected heads on axis -3"),
        (
            [(1, 3, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)],
            {"enable_gqa": True},
            "a multiple of those of key and value",
        ),
    ],
)
def test_what_attention_refuses(shapes, options, message):
    with pytest.raises(ValueError, match=message):
        attention(*(tg.zeros(shape) for shape in shapes), **options)


def test_a_mask_of_integers_is_refused(device):
    x, mask = tg.zeros((3, 2), device=device), tg.ones((3, 3), "int64", device)
    with pytest.raises(TypeError, match=r"attn_mask is int64; .* attn_mask.astype"):
        attention(x, x, x, mask)
    heads, x = nn.MultiheadAttention(2, 1, device=device), x.reshape(3, 1, 2)
    with pytest.raises(TypeError, match="attn_mask is int64"):
        heads(x, x, x, attn_mask=mask)
    with pytest.raises(TypeError, match="key_padding_mask is int64"):
        heads(x, x, x, key_padding_mask=mask[:1])


# -- MultiheadAttention ----------------------------------------------------------------


def test_heads_start_as_pytorchs(device):
    tg.manual_seed(0)
    heads = nn.MultiheadAttention(32, 4, add_bias_kv=True, device=device)
    bound = math.sqrt(6 / (32 + 96))
    weight = heads.in_proj_weight.detach().numpy()
    assert 0.9 * bound < abs(weight).max() <= bound
    out = heads.out_proj.weight.detach().numpy()
    assert 0.9 / math.sqrt(32) < abs(out).max() <= 1 / math.sqrt(32)
    for bias in (heads.in_proj_bias, heads.out_proj.bias):
        np.testing.assert_array_equal(bias.detach().numpy(), 0.0)
    spread = heads.bias_k.detach().numpy().std()
    assert 0.5 < spread / math.sqrt(2 / (32 + 32)) < 1.5
    apart = nn.MultiheadAttention(32, 4, kdim=8, vdim=16, device=device)
    bound = math.sqrt(6 / (32 + 8))
    assert 0.9 * bound < abs(apart.k_proj_weight.detach().numpy()).max() <= bound


def test_heads_keep_their_weights_from_dropping_in_eval(device):
    tg.manual_seed(0)
    heads = nn.MultiheadAttention(4, 2, dropout=0.5, device=device)
    x = tg.tensor(random(6, 2, 4, dtype="float32"), device=device)
    for need_weights in (True, False):
        outs = [heads(x, x, x, need_weights=need_weights)[0] for _ in range(2)]
        assert (outs[0].detach().numpy() != outs[1].detach().numpy()).any()
    heads.eval()
    outs = [heads(x, x, x, need_weights=n)[0].detach().numpy() for n in (True, False)]
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-6)


def test_a_masked_row_is_nan_with_weights_and_zeros_without(device):
    heads = nn.MultiheadAttention(4, 2, bias=False, device=device)
    x = tg.tensor(random(3, 1, 4, dtype="float32"), device=device)
    padding = tg.tensor([[True] * 3], device=device)
    out, weights = heads(x, x, x, key_padding_mask=padding)
    assert np.isnan(weights.detach().numpy()).all()
    assert np.isnan(out.detach().numpy()).all()
    out, weights = heads(x, x, x, key_padding_mask=padding, need_weights=False)
    assert weights is None
    np.testing.assert_array_equal(out.detach().numpy(), 0.0)


@pytest.mark.parametrize("need_weights", [True, False])
def test_float16_heads(need_weights, device):
    heads = nn.MultiheadAttention(4, 2, device=device)
    x = tg.tensor(random(3, 1, 4, dtype="float32"), device=device)
    wide, _ = heads(x, x, x)
    half = copy.deepcopy(heads).half()
    x = x.astype("float16")
    out, weights = half(x, x, x, need_weights=need_weights)
    assert out.dtype == np.float16
    assert weights is None or weights.dtype == np.float16
    np.testing.assert_allclose(
        out.detach().numpy(), wide.detach().numpy(), rtol=1e-2, atol=2e-3
    )


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        ([(3, 2, 4), (3, 2, 5), (3, 2, 4)], {}, r"with \(4, 4, 4\) features"),
        ([(3, 2, 4), (3, 2, 4), (4, 2, 4)], {}, "key and value of one length"),
        ([(3, 2, 4), (3, 1, 4), (3, 1, 4)], {}, "the same N"),
        ([(3, 4), (3, 1, 4), (3, 1, 4)], {}, r"or \(length, features\)"),
        ([(4,)] * 3, {}, "query, key and value have shapes"),
        ([(3, 2, 4)] * 3, {"is_causal": True}, "generate_square_subsequent_mask"),
        (
            [(3, 2, 4)] * 3,
            {"attn_mask": np.zeros((2, 3))},
            r"attn_mask has shape \(2, 3\); expected \(3, 3\) or \(4, 3, 3\)",
        ),
        (
            [(3, 2, 4)] * 3,
            {"key_padding_mask": np.zeros((3, 2))},
            r"key_padding_mask has shape \(3, 2\); expected \(2, 3\)",
        ),
        (
            [(3, 4)] * 3,
            {"key_padding_mask": np.zeros((1, 3))},
            r"key_padding_mask has shape \(1, 3\); expected \(3,\)",
        ),
    ],
)
def test_what_heads_refuse(shapes, options, message):
    heads = nn.MultiheadAttention(4, 2)
    with pytest.raises(ValueError, match=message):
        heads(*(tg.zeros(shape) for shape in shapes), **options)


@pytest.mark.parametrize("sizes", [(0, 1), (4, 0), (4, 3)])
def test_heads_must_divide_the_features(sizes):
    with pytest.raises(ValueError, match=f"embed_dim={sizes[0]} and num_heads"):
        nn.MultiheadAttention(*sizes)


# -- Transformer -----------------------------------------------------------------------


def test_transformer_layers_are_copies_that_drop_in_training_only(device):
    tg.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, device=device)
    encoder = nn.TransformerEncoder(layer, 2)
    state = {name: x.numpy() for name, x in encoder.state_dict().items()}
    for name, value in state.items():
        twin = name.replace("layers.0", "layers.1")
        np.testing.assert_array_equal(value, state[twin])
    first, second = encoder.layers
    assert first.linear1.weight is not second.linear1.weight
    x = tg.tensor(random(2, 3, 4, dtype="float32"), device=device)
    outs = [encoder(x).detach().numpy() for _ in range(2)]
    assert (outs[0] != outs[1]).any()
    encoder.eval()
    outs = [encoder(x).detach().numpy() for _ in range(2)]
    np.testing.assert_array_equal(*outs)


def test_an_encoder_with_the_causal_mask_does_not_see_what_comes(device):
    layer = nn.TransformerEncoderLayer(
        4, 2, 8, norm_first=True, batch_first=True, device=device, dtype="float64"
    )
    encoder = nn.TransformerEncoder(layer, 2).eval()
    x = random(1, 5, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(5, device)
    whole = encoder(tg.tensor(x, device=device), mask, is_causal=True)
    hinted = encoder(tg.tensor(x, device=device), mask)
    np.testing.assert_allclose(
        whole.detach().numpy(), hinted.detach().numpy(), rtol=1e-12
    )
    for n in range(1, 6):
        prefix = encoder(
            tg.tensor(x[:, :n], device=device), mask[:n, :n], is_causal=True
        )
        np.testing.assert_allclose(
            whole.detach().numpy()[:, :n], prefix.detach().numpy(), rtol=1e-10
        )


def test_a_transformer_starts_with_glorots_weights(device):
    tg.manual_seed(0)
    model = nn.Transformer(16, 2, 1, 1, 32, device=device)
    weight = model.decoder.layers[0].linear1.weight.detach().numpy()
    bound = math.sqrt(6 / (16 + 32))
    assert 0.9 * bound < abs(weight).max() <= bound


def test_what_a_transformer_refuses():
    model = nn.Transformer(4, 2, 1, 1, 8)
    for src, tgt in (
        ((3, 2, 4), (3, 1, 4)),
        ((3, 2, 4), (3, 2, 5)),
        ((3, 4), (3, 2, 4)),
    ):
        with pytest.raises(ValueError, match="src and tgt have shapes"):
            model(tg.zeros(src), tg.zeros(tgt))
    with pytest.raises(ValueError, match="activation was given as 'swish'"):
        nn.TransformerEncoderLayer(4, 2, activation="swish")
    with pytest.raises(ValueError, match="expected 'relu', 'gelu' or a function"):
        nn.TransformerDecoderLayer(4, 2, activation="swish")


# -- RNN, LSTM, GRU --------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_is_its_cell_step_by_step(kind, device):
    tg.manual_seed(0)
    layer = LAYERS[kind](3, 4, device=device, dtype="float64")
    cell = getattr(nn, f"{kind}Cell")(3, 4, device=device, dtype="float64")
    cell.load_state_dict(
        {name.removesuffix("_l0"): x for name, x in layer.state_dict().items()}
    )
    x = tg.tensor(random(7, 2, 3), device=device)
    output, last = layer(x)
    state = None
    for t in range(7):
        state = cell(x[t], state)
        h = state[0] if kind == "LSTM" else state
        np.testing.assert_allclose(
            output[t].detach().numpy(), h.detach().numpy(), rtol=1e-12, atol=1e-15
        )
    pairs = zip(last, state, strict=True) if kind == "LSTM" else [(last, state)]
    for found, expected in pairs:
        np.testing.assert_allclose(
            found[0].detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15
        )


@pytest.mark.parametrize("kind", LAYERS)
def test_states_carry_a_sequence_over_a_cut(kind, device):
    layer = LAYERS[kind](3, 4, num_layers=2, device=device, dtype="float64")
    x = tg.tensor(random(6, 2, 3), device=device)
    whole, last = layer(x)
    first, state = layer(x[:2])
    second, state = layer(x[2:], state)
    parts = tg.concatenate([first, second]).detach().numpy()
    np.testing.assert_allclose(whole.detach().numpy(), parts, rtol=1e-12, atol=1e-15)
    pairs = zip(last, state, strict=True) if kind == "LSTM" else [(last, state)]
    for a, b in pairs:
        np.testing.assert_allclose(
            a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-15
        )


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_is_between_layers_in_training(kind, device):
    layer = LAYERS[kind](3, 4, num_layers=2, dropout=0.5, device=device)
    x = tg.tensor(random(5, 2, 3, dtype="float32"), device=device)

    def run(seed):
        tg.manual_seed(seed)
        output, last = layer(x)
        first = (last[0] if kind == "LSTM" else last)[0]
        return output.detach().numpy(), first.detach().numpy()

    np.testing.assert_array_equal(run(1)[0], run(1)[0])
    assert (run(1)[0] != run(2)[0]).any()
    np.testing.assert_array_equal(run(1)[1], run(2)[1])  # the first layer's own
    layer.eval()
    np.testing.assert_array_equal(run(1)[0], run(2)[0])


def test_dropout_without_a_second_layer_warns():
    with pytest.warns(UserWarning, match="does nothing with num_layers=1") as caught:
        nn.GRU(3, 4, dropout=0.5)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_weights_start_as_pytorchs(kind, device):
    tg.manual_seed(0)
    layer = LAYERS[kind](3, 25, num_layers=2, bidirectional=True, device=device)
    for name, parameter in layer.named_parameters():
        largest = abs(parameter.detach().numpy()).max()
        assert 0.15 < largest <= 0.2, name


@pytest.mark.parametrize("kind", LAYERS)
def test_a_deep_copy_is_its_own(kind, device):
    layer = LAYERS[kind](3, 4, device=device)
    twin = copy.deepcopy(layer)
    x = tg.tensor(random(5, 2, 3, dtype="float32"), device=device)
    twin(x)[0].sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert twin.weight_hh_l0.grad is not None
    nn.init.zeros_(twin.weight_ih_l0)
    assert layer.weight_ih_l0.detach().numpy().any()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_half_precision_layer(kind, device):
    layer = LAYERS[kind](3, 4, device=device)
    x = tg.tensor(random(5, 2, 3, dtype="float32"), device=device)
    wide, _ = layer(x)
    half = copy.deepcopy(layer).half()
    out, _ = half(x.astype("float16"))
    assert out.dtype == np.float16
    np.testing.assert_allclose(
        out.detach().numpy(), wide.detach().numpy(), rtol=2e-2, atol=4e-3
    )


@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_under_autocast(kind, device):
    tg.manual_seed(0)
    layer = LAYERS[kind](3, 4, num_layers=2, device=device)
    x = tg.tensor(random(5, 2, 3, dtype="float32"), device=device)
    wide, _ = layer(x)
    for given in (x, x.astype("float16")):
        with tg.autocast(device, dtype=tg.float16):
            out, _ = layer(given)
        out.astype("float32").sum().backward()
        assert layer.weight_hh_l1.grad.dtype == np.float32
        np.testing.assert_allclose(
            out.detach().numpy(), wide.detach().numpy(), rtol=2e-2, atol=4e-3
        )


@pytest.mark.parametrize("need_weights", [True, False])
def test_heads_under_autocast_keep_their_scores_in_float32(need_weights, device):
    tg.manual_seed(0)
    heads = nn.MultiheadAttention(4, 2, device=device)
    nn.init.constant_(heads.in_proj_bias, 300.0)  # scores of 127,000
    x = tg.tensor(random(3, 1, 4, dtype="float32"), device=device)
    with tg.autocast(device, dtype=tg.float16):
        out, _ = heads(x, x, x, need_weights=need_weights)
    assert np.isfinite(out.detach().numpy()).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_recurrent_layer_refuses(kind, device):
    layer = LAYERS[kind](3, 4, num_layers=2, device=device)
    with pytest.raises(TypeError, match="PackedSequence is not supported"):
        layer(object())
    for shape in ((3,), (5, 2, 4), (1, 5, 2, 3), (0, 2, 3)):
        with pytest.raises(ValueError, match=r"expected \(T, N, features\)"):
            layer(tg.zeros(shape, device=device))
    first = LAYERS[kind](3, 4, batch_first=True, device=device)
    with pytest.raises(ValueError, match=r"expected \(N, T, features\)"):
        first(tg.zeros((2, 0, 3), device=device))
    x = tg.zeros((5, 2, 3), device=device)
    with pytest.raises(TypeError, match=r"float64 and the weights are float32; .*mend"):
        layer(x.astype("float64"))

    def states(*shape):
        h = tg.zeros(shape, device=device)
        return (h, h) if kind == "LSTM" else h

    with pytest.raises(
        ValueError, match=r"has shape \(1, 2, 4\); expected \(2, 2, 4\)"
    ):
        layer(x, states(1, 2, 4))
    with pytest.raises(ValueError, match=r"has shape \(2, 2, 4\) beside an unbatched"):
        layer(x[:, 0], states(2, 2, 4))
    with pytest.raises(ValueError, match=r"has shape \(1, 4\); expected \(2, 4\)"):
        layer(x[:, 0], states(1, 4))
    for options in ({"hidden_size": 0}, {"num_layers": 0}, {"input_size": 0}):
        with pytest.raises(ValueError, match="at least 1 of each"):
            LAYERS[kind](**{"input_size": 3, "hidden_size": 4, **options})
    for dropout in (1.5, -0.1, True):
        with pytest.raises(ValueError, match=f"dropout was given as {dropout}"):
            LAYERS[kind](3, 4, 2, dropout=dropout)


def test_what_rnn_and_lstm_refuse_beside():
    for kind in (nn.RNN, nn.RNNCell):
        with pytest.raises(ValueError, match="nonlinearity was given as 'sigmoid'"):
            kind(3, 4, nonlinearity="sigmoid")
    for size in (-1, 4):
        with pytest.raises(ValueError, match=f"proj_size={size} and hidden_size=4"):
            nn.LSTM(3, 4, proj_size=size)
    with pytest.raises(ValueError, match="1 initial states were given; expected 2"):
        nn.LSTM(3, 4)(tg.zeros((5, 2, 3)), (tg.zeros((1, 2, 4)),))


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
def test_what_a_cell_refuses(kind, device):
    cell = kind(3, 4, device=device)
    for shape in ((2, 4), (), (1, 2, 3)):
        with pytest.raises(ValueError, match=r"expected \(N, 3\) or \(3,\)"):
            cell(tg.zeros(shape, device=device))
    h = tg.zeros((3, 4), device=device)
    state = (h, h) if kind is nn.LSTMCell else h
    with pytest.raises(ValueError, match=r"has shape \(3, 4\); expected \(2, 4\)"):
        cell(tg.zeros((2, 3), device=device), state)
    with pytest.raises(TypeError, match="expected one dtype"):
        cell(tg.zeros((2, 3), "float64", device))
    with pytest.raises(ValueError, match="input_size=0 and hidden_size=4"):
        kind(0, 4)


# -- beside a GPU ----------------------------------------------------------------------


def models():
    masks = {"attn_mask": "causal", "key_padding_mask": "padding"}
    yield nn.MultiheadAttention(4, 2, dropout=0.5, add_zero_attn=True), 3, masks
    yield nn.MultiheadAttention(4, 2), 3, {"need_weights": False, **masks}
    yield (
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        1,
        {"src_mask": "causal"},
    )
    yield nn.TransformerDecoderLayer(4, 2, 8), 2, {"tgt_mask": "causal"}
    for kind in LAYERS.values():
        yield kind(4, 3, 2, bidirectional=True, dropout=0.5), 1, {}


@pytest.mark.parametrize("number", range(7))
def test_a_training_step_does_not_wait_for_the_gpu(number):
    with strict_cuda() as cuda:
        model, inputs, options = list(models())[number]
        model.cuda()
        x = tg.tensor(random(3, 3, 4, dtype="float32"), device="cuda")
        given = {
            "causal": tg.tensor(np.triu(np.ones((3, 3), bool), 1), device="cuda"),
            "padding": tg.tensor(np.eye(3, dtype=bool), device="cuda"),
        }
        options = {
            key: given[value] if isinstance(value, str) else value
            for key, value in options.items()
        }
        with cuda.counting() as seen:
            output = model(*[x] * inputs, **options)
            output = output[0] if isinstance(output, tuple) else output
            output.sum().backward()
        assert not seen.waits
        assert not seen.uploads
        assert all(p.grad.device == "cuda:0" for p in model.parameters())
