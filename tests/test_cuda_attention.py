"""Attention on the CUDA backend: kernels run on the CPU, cuBLAS's double; no GPU."""

from __future__ import annotations

import cuda_attention_cases as cases
import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
import strict_cublas
import strict_cupy
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends.cuda import geometry
from tinygrad_softmax.nn.functional import scaled_dot_product_attention


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@settings(max_examples=60)
@given(
    st.sampled_from([(), (3,), (2, 3), (5, 2), (2, 1, 2)]),
    st.integers(1, 20),
    st.integers(1, 70),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
    st.booleans(),
    checks.schedules,
    checks.seeds,
)
def test_attention(backend, lead, length, keys, dtype, causal, beside, schedule, seed):
    beside = beside and len(lead) > 1
    case = cases.attending(lead, length, keys, dtype, causal, 3, beside, seed)
    with cuda_shim.schedule(schedule, seed % 1000):
        case(backend)


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 40), st.booleans(), checks.seeds)
def test_nan_and_inf(backend, length, keys, causal, seed):
    cases.special(length, keys, causal, seed)(backend)


@pytest.mark.parametrize("keys", [4096, 4097, 8192, 8196])
def test_as_many_keys_as_are_kept_and_more(backend, keys, monkeypatch):
    names, get = [], backend.kernels.get

    def noting(file, name, *rest, **macros):
        names.append(name)
        return get(file, name, *rest, **macros)

    monkeypatch.setattr(backend.kernels, "get", noting)
    cases.attending((1,), 2, keys, causal=True)(backend)
    kept = keys in (4096, 8192)
    assert ("attention_weights" in names) == kept
    assert ("softmax" in names) == (not kept)


def test_weights_that_are_not_aligned(backend):
    """8192 of them are kept only if 16 bytes can be read at once."""
    rng = np.random.default_rng(0)
    q, k = (
        backend.xp.asarray(checks.draw_array(rng, (1, n, 4), "float32", 1.0))
        for n in (2, 8192)
    )
    out, weights = backend.attention(q, k, k, 0.5, False, True)
    apart = checks.on_device(backend, weights.get(), shift=1)
    results = [
        backend.attention_grad(out, q, k, k, each, 0.5, False, (True,) * 3)
        for each in (weights, apart)
    ]
    for got, right in zip(*results, strict=True):
        np.testing.assert_allclose(got.get(), right.get(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_few_blocks(backend, causal, monkeypatch):
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    cases.attending((3,), 41, 6, causal=causal)(backend)
    cases.attending((1,), 5, 1030, causal=causal)(backend)


def test_every_schedule_gives_the_same_bits(backend):
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            scores = checks.draw_array(
                np.random.default_rng(0), (2, 3, 1030), "float32"
            )
            got = backend.xp.asarray(scores)
            backend._weigh("attention_weights", True, got)
            results.add(got.get().tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_the_definitions(backend, dtype):
    rng = np.random.default_rng(0)
    host = [checks.draw_array(rng, (2, 3, 4), dtype, 1.0) for _ in range(3)]
    arrays = [backend.xp.asarray(x) for x in host]
    out, _ = backend.attention(*arrays, 0.5, True, True)
    expected, _ = checks.REFERENCE.attention(*map(checks.wide, host), 0.5, True, True)
    np.testing.assert_allclose(checks.wide(out.get()), expected, rtol=0.05, atol=0.05)


@pytest.mark.double
def test_two_products_and_a_kernel(backend, monkeypatch):
    """Nothing is copied for the heads' sake, and they are joined without a copy."""
    calls: list = []
    monkeypatch.setattr(strict_cublas, "calls", calls)
    q, k, v = (
        cases.placed(backend, np.ones((1, 4, 6, 3), np.float32), True) for _ in range(3)
    )
    out, weights = backend.attention(q, k, v, 1.0, True, True)
    assert [call["batchCount"] for call in calls] == [4, 4]
    assert out.swapaxes(1, 2).flags.c_contiguous
    assert calls[0]["A"] == k.data.ptr
    backend.attention_grad(out, q, k, v, weights, 1.0, True, (True,) * 3)
    assert len(calls) == 6
    many = cases.placed(backend, np.ones((9, 8, 2, 3), np.float32), True)
    calls.clear()
    out, _ = backend.attention(many, many, many, 1.0, True, True)
    assert len(calls) == 2, "where that took too many calls, heads are copied"
    assert out.flags.c_contiguous


@pytest.mark.double
def test_training_waits_for_nothing():
    with strict_cupy.strict_cuda() as cuda:
        rng, results = np.random.default_rng(0), []
        host = [rng.normal(size=(2, 3, 5, 4)) for _ in range(3)]
        for device in ("cuda", "cpu"):
            arrays = [tg.tensor(x, device=device, requires_grad=True) for x in host]
            with cuda.counting() as seen:
                out = scaled_dot_product_attention(*arrays, is_causal=True)
                (out * out).sum().backward()
            assert not seen.waits
            assert not seen.uploads
            results.append([x.grad.numpy() for x in arrays])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)
