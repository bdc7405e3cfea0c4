"""The CUDA kernels of batch, group and instance norm, run on the CPU by cuda_shim."""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
from cuda_channel_checks import check_maps, check_moments, check_sums, of_channels
from cuda_checks import REFERENCE, draw_array, on_device
from cuda_norm_checks import given_to
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_softmax.backends.cuda import geometry, kernels


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


# (N, C, ...): by places and by columns, with one sample, wide and not, in many parts.
SHAPES = [
    (1, 1, 1),
    (3, 5),
    (700, 3),
    (70, 130),
    (40, 9, 4),
    (5, 7, 7, 7),
    (33, 2, 8, 8),
    (1, 300, 20),
    (1, 2, 9000),
    (2, 1, 20_000),
    (1, 1, 65_536),
    (130, 2, 11),
]
shapes = st.one_of(
    st.sampled_from(SHAPES),
    st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(1, 70)),
)
has = st.sampled_from([(True,) * 5, (True,) * 5, (False, True, True, True, True)])
has |= st.sampled_from([(True, False, False, True, True), (False,) * 5])


@settings(max_examples=100)
@given(
    shapes,
    checks.dtypes,
    checks.schedules,
    st.sampled_from([0, 0, 0, 1]),
    has,
    st.booleans(),
    st.sampled_from([(True, True), (True, True), (True, False), (False, True)]),
    checks.seeds,
)
def test_channels(backend, shape, dtype, schedule, shift, which, mixed, needs, seed):
    rng = np.random.default_rng(seed)
    g, x = (draw_array(rng, shape, dtype) for _ in range(2))
    values = of_channels(rng, shape[1], str(checks.working(dtype)), which)
    if mixed:  # a weight's and a bias's dtype
        values[1:3] = of_channels(rng, shape[1], dtype, which[1:3])
    with cuda_shim.schedule(schedule, seed % 1000):
        check_moments(backend, x, dtype, shift)
        check_sums(backend, g, x, values[0], dtype, needs, shift)
        check_maps(backend, g, x, values, dtype, shift)


@pytest.mark.parametrize("shape", [(40, 3), (6, 3, 40), (1, 3, 20_000)])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_nan_and_inf(backend, shape, value):
    """In one channel, which they spoil; the others keep their numbers."""
    rng = np.random.default_rng(0)
    g, x = (draw_array(rng, shape, "float32") for _ in range(2))
    x[0, 1].flat[0] = g[0, 1].flat[0] = value
    check_moments(backend, x, "float32")
    check_sums(backend, g, x, None, "float32", (True, True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(600, 5), (9, 3, 100), (1, 2, 30_000), (7, 2, 3)])
def test_a_large_mean_costs_no_more_digits_than_it_must(backend, dtype, shape):
    """What E[x^2] - E[x]^2 would make nonsense of."""
    x = draw_array(np.random.default_rng(1), shape, dtype, scale=1.0) + 4096.0
    x = x.astype(dtype)
    x[: len(x) // 2] -= 8.0  # not from the same numbers all along
    x[..., : x.shape[-1] // 2] -= 4.0
    mean, var = backend.channel_moments(on_device(backend, x))
    right, of = REFERENCE.channel_moments(x.astype(np.longdouble))
    np.testing.assert_allclose(mean.get(), right, rtol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(var.get(), of, rtol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(60_000, 1), (500, 1, 120), (1, 1, 60_000)])
def test_sums_of_many_terms_keep_their_digits(backend, monkeypatch, shape):
    """Equal terms, whose roundings all go one way, in few blocks."""
    for name in ("PLENTY", "PARTS"):
        monkeypatch.setattr(geometry, name, 1)
    g = np.full(shape, 0.1, np.float32)
    right = g.size * float(g.flat[0])
    for found in backend.channel_sums(*given_to(backend, g, g * 0 + 1), None, (1, 1)):
        np.testing.assert_allclose(found.get(), right, rtol=3e-7)
    mean, var = backend.channel_moments(on_device(backend, g))
    np.testing.assert_allclose(mean.get(), g.flat[0], rtol=1.2e-7)
    assert (var.get() < 1e-16).all()


@pytest.mark.parametrize("shape", [(300, 20), (20, 5, 30), (1, 3, 9000)])
def test_every_schedule_gives_the_same_bits(backend, shape):
    rng = np.random.default_rng(2)
    g, x = given_to(backend, *(draw_array(rng, shape, "float32") for _ in range(2)))
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            found = (
                *backend.channel_moments(x),
                *backend.channel_sums(g, x, None, (1, 1)),
            )
            results.add(b"".join(each.get().tobytes() for each in found))
    assert len(results) == 1


@pytest.mark.parametrize("shape", [(300, 70), (20, 70, 30), (70_000, 1)])
def test_few_blocks(backend, monkeypatch, shape):
    for name in ("MOST_BLOCKS", "PLENTY", "PARTS"):
        monkeypatch.setattr(geometry, name, 2)
    rng = np.random.default_rng(3)
    g, x = (draw_array(rng, shape, "float32") for _ in range(2))
    values = of_channels(rng, shape[1], "float32", (True,) * 5)
    check_moments(backend, x, "float32")
    check_sums(backend, g, x, values[0], "float32", (True, True))
    check_maps(backend, g, x, values, "float32")


def test_views_are_made_contiguous(backend):
    x = draw_array(np.random.default_rng(4), (6, 4, 10), "float32")
    view, copy = x[::2, 1:, 3:], np.ascontiguousarray(x[::2, 1:, 3:])
    values = of_channels(np.random.default_rng(5), 3, "float32", (True,) * 3)
    found = backend.channel_moments(on_device(backend, x)[::2, 1:, 3:])
    for each, of in zip(found, backend.channel_moments(on_device(backend, copy))):
        assert each.get().tolist() == of.get().tolist()
    spread = [on_device(backend, np.repeat(v, 2))[::2] for v in values]
    out = backend.channel_affine(on_device(backend, x)[::2, 1:, 3:], *spread)
    np.testing.assert_allclose(
        out.get(), REFERENCE.channel_affine(view, *values), rtol=1e-5, atol=1e-5
    )


def test_what_has_no_kernel_takes_the_definition(backend, monkeypatch):
    monkeypatch.setattr(backend.kernels, "get", None)  # it would be called
    x = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2)
    v = np.linspace(1.0, 2.0, 3)  # float64 beside float32
    rows, of = given_to(backend, x, v)
    out = backend.channel_affine(rows, of, of, of)
    np.testing.assert_allclose(out.get(), REFERENCE.channel_affine(x, v, v, v))
    out = backend.channel_blend(rows, rows, of, of, of, of)
    np.testing.assert_allclose(out.get(), REFERENCE.channel_blend(x, x, v, v, v, v))
    found = backend.channel_sums(rows, rows, of, (True, True))
    for each, right in zip(found, REFERENCE.channel_sums(x, x, v, (True, True))):
        np.testing.assert_allclose(each.get(), right, rtol=1e-6)
    empty = on_device(backend, x[:0])
    assert [each.get().tolist() for each in backend.channel_moments(empty)] == [
        [0] * 3
    ] * 2


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_each_device(backend, device):
    x = draw_array(np.random.default_rng(7), (2, 3, 9), "float32")
    with backend.on(device):
        rows = backend.xp.asarray(x)
        mean, var = backend.channel_moments(rows)
        out = backend.channel_affine(rows, mean, var, None)
        for each in (mean, var, out):
            assert backend.device_of(each) == device


def test_elements_past_two_to_the_32_have_their_channel(backend):
    """The divisions in 64 bits, which no array of a test is large enough for."""
    x = draw_array(np.random.default_rng(8), (3, 5, 7), "float32")
    v = draw_array(np.random.default_rng(9), 5, "float32")
    right = backend.channel_affine(*given_to(backend, x, v, None, None)).get()
    text = kernels.read("channel_affine.cu")
    assert text.count("size <= 0xffffffffll") == 1
    code = checks.source(text.replace("size <= 0xffffffffll", "size < 0"))
    rows, of = given_to(backend, x, v)
    out = backend.xp.empty(x.shape, x.dtype)
    raw = backend.xp.RawModule(
        code=code, options=kernels.options("float32", {"WIDE": 0})
    )
    arguments = rows, of, None, None, out, x.size, 5, 7
    raw.get_function("channel_affine")((2,), (32,), arguments)
    assert out.get().tolist() == right.tolist()
