"""The CPU's kernels of batch norm and RMS norm against the plain ones of norms.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import numpy_channels, threads
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend

PLAIN, FAST = Backend(), NumpyBackend()
# A channel in rows and in columns, samples side by side, several blocks, several
# stretches of columns, and several dot products in a row.
SHAPES = [
    (1, 1, 1),
    (1, 30, 3),
    (1, 30, 9),
    (5, 3, 1),
    (512, 6, 1),
    (131, 7, 3),
    (40, 2500, 2),
    (3, 5, 64),
    (2, 3, 2500),
]
LARGE = [(700_001, 1, 1), (1 << 20, 2, 1), (301, 2000, 1), (37, 33, 700), (64, 256, 49)]


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


def problem(shape, dtype, seed=0) -> Any:
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, *shape)).astype(dtype)
    vectors = rng.uniform(0.5, 2.0, (4, shape[1])).astype(dtype)
    return x + x.dtype.type(3), g, *vectors


def everything(kernels, x, g, mean, offset, slope, scale) -> list[Any]:
    return [
        *kernels.channel_moments(x),
        kernels.channel_affine(x, mean, scale, offset),
        *kernels.channel_sums(g, x, mean, (True, True)),
        kernels.channel_blend(g, x, mean, offset, slope, scale),
    ]


def compare(found, wanted, dtype, size):
    """Up to rounding; a sum, up to 1e-6 of its terms (or what float64 has for it)."""
    epsilon = np.finfo(dtype).eps
    share = 1e-6 if dtype == "float32" else 1e-14
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert a.dtype == dtype
        assert a.shape == b.shape
        if i in (3, 4):
            assert np.abs(a - b).max() <= share * 4.0 * size
        else:
            assert np.abs(a - b).max() <= 16 * epsilon * np.abs(b).max()


@given(st.sampled_from(SHAPES), st.sampled_from(["float32", "float64"]), st.data())
def test_kernels_of_channels_are_the_plain_ones(shape, dtype, data):
    arrays = problem(shape, dtype, data.draw(st.integers(0, 99)))
    x, g = arrays[:2]
    if data.draw(st.booleans()):  # not laid out in C order
        x, g = (v.transpose(1, 2, 0).copy().transpose(2, 0, 1) for v in (x, g))
    found = everything(FAST, x, g, *arrays[2:])
    wide = [v.astype("float64" if dtype == "float32" else "longdouble") for v in arrays]
    compare(found, everything(PLAIN, *wide), dtype, shape[0] * shape[2])


@pytest.mark.parametrize("shape", LARGE)
def test_large_channels_have_the_same_digits_on_any_number_of_threads(shape):
    arrays = problem(shape, "float32")
    results = []
    for number in (1, 2, 3):
        tg.set_num_threads(number)
        results.append(everything(FAST, *arrays))
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            assert found.tobytes() == wanted.tobytes()
    wide = [v.astype("float64") for v in arrays]
    size = shape[0] * shape[2]
    compare(results[0], everything(PLAIN, *wide), "float32", size)


@pytest.mark.parametrize(
    "shape", [(1 << 24, 2, 1), ((1 << 20) + 17, 2, 1), (3, 2, 1 << 20)]
)
def test_moments_of_a_long_batch_keep_their_digits(shape):
    """Also far from 0, and where the first rows are unlike the others."""
    x = np.full(shape, 0.1, "float32")
    x[:, 1] = np.linspace(-1, 1, x[:, 1].size, dtype="float32").reshape(x[:, 1].shape)
    mean, var = FAST.channel_moments(x)
    wide = x.astype("float64")
    sizes = np.abs(wide).mean(axis=(0, 2))
    assert (np.abs(mean - wide.mean(axis=(0, 2))) <= 1e-6 * sizes).all()
    assert var[0] <= (1e-6 * 0.1) ** 2
    assert abs(var[1] - wide[:, 1].var()) <= 1e-6 * var[1]
    x[:, 1] += 1000.0
    x[:1000, 1, :1000] = 0.0
    var = FAST.channel_moments(x)[1]
    wanted = x[:, 1].astype("float64").var()
    assert abs(var[1] - wanted) <= 2e-6 * wanted
    total = FAST.channel_sums(np.full_like(x, 0.1), x, None, (True, False))[0]
    wanted = x[:, 0].size * float(np.float32(0.1))
    np.testing.assert_allclose(total, wanted, rtol=1e-6)


def test_the_backend_has_them():
    for name in ("layer_norm", "rms_norm"):
        for each in (name, f"{name}_grad"):
            assert getattr(NumpyBackend, each) is not getattr(Backend, each)
    for name in ("moments", "affine", "sums", "blend"):
        each = f"channel_{name}"
        assert getattr(NumpyBackend, each) is not getattr(Backend, each)


def test_what_is_not_needed_is_not_made():
    x, g, mean, *_ = problem((4, 3, 5), "float32")
    for kernels in (PLAIN, FAST):
        assert kernels.channel_sums(g, x, mean, (False, False)) == (None, None)
        plain, product = kernels.channel_sums(g, x, mean, (False, True))
        assert plain is None
        assert product is not None
        plain, product = kernels.channel_sums(g, x, mean, (True, False))
        assert plain is not None
        assert product is None


def test_one_step_at_a_time():
    x, _, mean, offset, _, scale = problem((4, 3, 5), "float32")
    for kernels in (PLAIN, FAST):
        for arguments, wanted in (
            ((None, None, None), x),
            ((mean, None, None), x - mean[:, None]),
            ((None, scale, None), x * scale[:, None]),
            ((None, None, offset), x + offset[:, None]),
        ):
            found = kernels.channel_affine(x, *arguments)
            np.testing.assert_array_equal(found, wanted)
            assert not np.shares_memory(found, x)


def test_a_channel_that_is_not_finite_stays_by_itself():
    for shape in ((20, 3, 1), (4, 3, 70)):
        arrays = problem(shape, "float32")
        wanted = everything(FAST, *arrays)
        arrays[0][1, 1, 0] = np.nan
        for a, b in zip(everything(FAST, *arrays), wanted, strict=True):
            a, b = (v.T if v.ndim == 1 else v.transpose(1, 0, 2) for v in (a, b))
            np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]])


def test_buffers_of_numpy_are_put_back():
    before = np.getbufsize()
    everything(FAST, *problem((40, 4, 700), "float32"))
    everything(FAST, *problem((64, 400, 1), "float32"))
    assert np.getbufsize() == before


def test_sums_are_short_enough():
    """No number goes through more additions in float32, and no dot product is for
    OpenBLAS's threads (10,000 elements)."""
    assert numpy_channels.RUN <= 32
    assert numpy_channels.DOT <= 1024


@given(
    st.sampled_from([(1, 1), (3, 5), (70, 33), (9, 30_000), (1200, 500)]),
    st.sampled_from(["float32", "float64"]),
    st.booleans(),
    st.tuples(st.booleans(), st.booleans()),
    st.integers(0, 99),
)
def test_rms_norm_in_blocks_is_the_plain_one(shape, dtype, weighted, needs, seed):
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, *shape)).astype(dtype)
    weight = rng.standard_normal(shape[1]).astype(dtype) if weighted else None
    found = FAST.rms_norm(x, weight, 0.1)
    grads = FAST.rms_norm_grad(g, x, weight, found[1], needs)
    a, h = x.astype("float64"), g.astype("float64")
    w = None if weight is None else weight.astype("float64")
    wanted = PLAIN.rms_norm(a, w, 0.1)
    wanted_grads = PLAIN.rms_norm_grad(h, a, w, wanted[1], needs)
    epsilon = np.finfo(dtype).eps
    for one, other in zip((*found, *grads), (*wanted, *wanted_grads), strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.dtype == dtype
            largest = max(1.0, float(np.abs(other).max()))
            assert np.abs(one - other).max() <= 40 * epsilon * largest
