"""Attention on the CPU, a few heads at a time, against the plain definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import numpy_attention
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend

PLAIN, FAST = Backend(), NumpyBackend()
LENGTH, WIDTH = st.integers(1, 70), st.integers(1, 5)


def inputs(
    lead, length, keys, width, dtype="float64", seed=0, heads_beside=False
) -> list[Any]:
    """query, key, value and a gradient of the result."""
    rng, arrays = np.random.default_rng(seed), []
    for rows, columns in ((length, width), (keys, width), (keys, 3), (length, 3)):
        x = rng.standard_normal((*lead, rows, columns)).astype(dtype)
        if heads_beside and len(lead) == 2:  # as they lie in a projection's result
            x = np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)
        arrays.append(x)
    return arrays


def results(
    backend: Backend, arrays: list[Any], causal: bool, needs: Any = (True, True, True)
) -> list[Any]:
    q, k, v, g = arrays
    out, weights = backend.attention(q, k, v, 0.5, causal, True)
    grads = backend.attention_grad(g, q, k, v, weights, 0.5, causal, needs)
    return [out, *grads]


def check_same(found, wanted, rtol):
    for mine, plain in zip(found, wanted, strict=True):
        assert mine.shape == plain.shape
        assert mine.dtype == plain.dtype
        size = np.abs(plain).max()
        np.testing.assert_allclose(mine, plain, rtol=0, atol=rtol * size)


@given(st.data(), st.booleans(), st.booleans(), st.sampled_from([300, 5000, 1 << 20]))
def test_blocks_give_what_the_definition_gives(data, causal, beside, block):
    lead = data.draw(st.sampled_from([(), (2,), (2, 3), (3, 1), (2, 1, 2)]))
    length, keys, width = map(data.draw, (LENGTH, LENGTH, WIDTH))
    arrays = inputs(lead, length, keys, width, heads_beside=beside)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_attention, "BLOCK_BYTES", block)
        found = results(FAST, arrays, causal)
    check_same(found, results(PLAIN, arrays, causal), 1e-13)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_have_their_maximum_taken_off(causal, dtype):
    q, k, v, g = inputs((2, 3), 20, 20, 4, dtype)
    q *= 1000.0  # exp of these scores, of some thousands, is inf
    found, wanted = (results(each, [q, k, v, g], causal) for each in (FAST, PLAIN))
    wanted[0] = results(PLAIN, [x.astype("f8") for x in (q, k, v, g)], causal)[0]
    wanted[0] = wanted[0].astype(dtype)
    check_same(found[:1], wanted[:1], 4000.0 * np.finfo(dtype).eps)
    assert all(np.isfinite(x).all() for x in found)


@pytest.mark.parametrize("factor", [1000.0, np.nan])
def test_no_digit_depends_on_what_another_row_sees(factor):
    """Neither on another sample, nor on the keys behind the causal mask."""
    arrays = inputs((3, 2), 20, 20, 4, "float32")
    plain, masked = (results(FAST, arrays, causal) for causal in (False, True))
    q, k = arrays[0].copy(), arrays[1].copy()
    q[1] *= factor
    found = results(FAST, [q, *arrays[1:]], False)
    for mine, before in zip(found, plain, strict=True):
        np.testing.assert_array_equal(mine[::2], before[::2])
    k[..., 13:, :] *= factor
    found = results(FAST, [arrays[0], k, *arrays[2:]], True)[0]
    np.testing.assert_array_equal(found[..., :13, :], masked[0][..., :13, :])


def test_a_nan_stays_in_its_row():
    q, k, v, _ = inputs((1, 1), 6, 6, 2)
    q[0, 0, 3, 1] = np.nan
    out = FAST.attention(q, k, v, 0.5, True, False)[0]
    assert np.isnan(out[0, 0]).any(axis=-1).tolist() == [False] * 3 + [
        True,
        False,
        False,
    ]


def test_only_what_is_needed_is_computed():
    arrays = inputs((2, 2), 5, 4, 3)
    q, k, v, _ = arrays
    every = results(FAST, arrays, True)
    for position in range(3):
        needs = tuple(i == position for i in range(3))
        grads = results(FAST, arrays, True, needs)[1:]
        assert [each is not None for each in grads] == list(needs)
        np.testing.assert_array_equal(grads[position], every[1 + position])
    assert FAST.attention(q, k, v, 0.5, True, False)[1] is None


@pytest.mark.parametrize("shape", [((16, 4), 64, 64, 32), ((2, 2), 300, 300, 8)])
def test_threads_change_no_digit(shape):
    lead, length, keys, width = shape
    arrays = inputs(lead, length, keys, width, "float32", heads_beside=True)
    before, found = tg.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            tg.set_num_threads(number)
            found.append(results(FAST, arrays, True))
    finally:
        tg.set_num_threads(before)
    for each in found[1:]:
        for mine, other in zip(each, found[0], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_accuracy_in_float32():
    """Each entry within 1e-6 of the largest of its array, against float64."""
    arrays = inputs((4, 4), 64, 64, 32, "float32")
    wanted = results(PLAIN, [x.astype("f8") for x in arrays], True)
    found = [x.astype("f8") for x in results(FAST, arrays, True)]
    check_same(found, wanted, 1e-6)


def test_gradients_lie_as_their_inputs_do():
    """So that joining the heads again copies nothing."""
    arrays = inputs((2, 3), 8, 8, 4, heads_beside=True)
    for each in results(FAST, arrays, True):
        assert each.swapaxes(1, 2).flags.c_contiguous


def test_fused_attention_records_one_op(device):
    x = tg.randn(2, 4, 5, 3, device=device).requires_grad_()
    out = tg.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    assert out.node.name == "attention"
    mask = tg.ones((5, 5), device=device).astype(bool)
    masked = tg.nn.functional.scaled_dot_product_attention(x, x, x, mask)
    plain = tg.nn.functional.scaled_dot_product_attention(x, x, x)
    np.testing.assert_allclose(
        masked.detach().numpy(), plain.detach().numpy(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("causal", [False, True])
def test_a_scale_may_be_learned(causal, device):
    """A tensor is no static parameter: the composed form takes it."""
    x = tg.tensor([[1.0, 2.0], [3.0, -1.0]], dtype="float64", device=device)
    scale = tg.tensor(0.5, dtype="float64", requires_grad=True, device=device)

    def attended(scale):
        attention = tg.nn.functional.scaled_dot_product_attention
        return (attention(x, x, x, is_causal=causal, scale=scale) * x).sum()

    loss = attended(scale)
    loss.backward()
    above, below = (float(attended(0.5 + h).numpy()) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(loss.item(), (above + below) / 2, rtol=1e-9)
    np.testing.assert_allclose(scale.grad.item(), (above - below) / 2e-6, rtol=1e-6)
