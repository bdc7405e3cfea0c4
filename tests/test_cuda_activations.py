"""The CUDA kernels of activations and casts: on the CPU by cuda_shim, which are not a
GPU's numbers; or on a GPU with `--device cuda`.

The reference is the plain kernels in float64, and mpmath where a tail matters.
"""

from __future__ import annotations

import re

import cuda_checks as checks
import cuda_shim
import mpmath
import numpy as np
import pytest
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide
from cuda_flat_cases import (
    OF_G_AND_X,
    OF_X,
    activations_case,
    bias_case,
    cast_case,
    gelu_ulps,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_softmax.backends import activations, gelus, numpy_gelu
from tinygrad_softmax.backends.cuda import geometry, kernels

lengths = st.one_of(
    st.integers(1, 40), st.sampled_from([511, 512, 1023, 1024, 1027, 2049, 4100])
)


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


# -- numbers ---------------------------------------------------------------------------


@settings(max_examples=40)
@given(lengths, checks.dtypes, checks.schedules, st.sampled_from([0, 0, 1]))
def test_activations(backend, n, dtype, schedule, shift):
    with cuda_shim.schedule(schedule):
        activations_case(n, dtype, shift)(backend)


@settings(max_examples=30)
@given(
    st.integers(1, 200),
    st.one_of(st.integers(1, 70), st.sampled_from([128, 256, 264, 300])),
    checks.dtypes,
    checks.schedules,
    st.sampled_from([0, 0, 1]),
)
def test_activations_of_a_sum_with_a_bias(backend, n, columns, dtype, schedule, shift):
    with cuda_shim.schedule(schedule):
        bias_case(n, columns, dtype, shift)(backend)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 100.0, -100.0, 6e4, -6e4]
SPECIAL += [np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_nan_inf_and_large_numbers(backend, dtype):
    """As the plain kernels have them, each in every place of a pack."""
    huge = [] if dtype == "float16" else [1e30, -1e30]
    values = np.array(SPECIAL + huge).astype(checks.dtype_of(dtype))
    x = np.concatenate([np.roll(values, k) for k in range(len(values))])
    given_x, host = on_device(backend, x), wide(x)
    ones = on_device(backend, np.ones_like(x))
    with np.errstate(all="ignore"):
        for function in OF_X.values():
            expected = REFERENCE.elementwise(function, host)
            assert_close(backend.elementwise(function, given_x), expected, dtype, 12)
        for function in OF_G_AND_X.values():
            expected = REFERENCE.elementwise(function, np.ones_like(host), host)
            got = backend.elementwise(function, ones, given_x)
            assert_close(got, expected, dtype, 12, 1.0)
        expected = REFERENCE.relu_grad(np.ones_like(host), host)
        assert_close(backend.relu_grad(ones, given_x), expected, dtype, 0)
        for kind in ("none", "tanh"):
            expected, slope = REFERENCE.gelu(host, kind, True)
            ulps = 12 + np.nan_to_num(gelu_ulps(host, kind, dtype))
            assert_close(backend.gelu(given_x, kind, True)[0], expected, dtype, ulps)
            got = backend.gelu_grad(ones, given_x, None, kind)
            assert_close(got, slope, dtype, ulps, 1.0)
        expected = REFERENCE.bias_activation(host[:, None], np.zeros(1), "relu", False)
        got, _ = backend.bias_activation(
            on_device(backend, x[:, None]), on_device(backend, x[:1]), "relu", False
        )
        assert_close(got, expected[0], dtype, 0)


def exact_gelu(x: float) -> tuple[float, float, float]:
    """Value, slope, and the larger of the slope's two terms."""
    with mpmath.workdps(40):
        cdf, lever = mpmath.ncdf(x), x * mpmath.npdf(x)
        return float(x * cdf), float(cdf + lever), float(max(cdf, abs(lever)))


def test_gelu_keeps_the_digits_of_its_tails(backend):
    """Six units in the last place, where float32 is nearly flushed to 0 and near 0."""
    near = np.ldexp(1.3, np.arange(-60, 1, 3))
    x = np.concatenate([np.linspace(-12.9, 9.0, 600), near, -near]).astype("float32")
    value, slope, size = np.array([exact_gelu(float(each)) for each in x]).T
    given_x = on_device(backend, x)
    assert_close(backend.gelu(given_x, "none", False)[0], value, "float32", 6)
    ones = on_device(backend, np.ones_like(x))
    got = backend.gelu_grad(ones, given_x, None, "none")
    assert_close(got, slope, "float32", 6, size)
    plain = REFERENCE.gelu(x, "none", True)
    with pytest.raises(AssertionError):  # which loses as many as x^2 is large
        assert_close(plain[0], value, "float32", 6)


def test_the_constants_are_those_of_the_plain_kernels():
    text = kernels.read("activations.cuh")
    for number in (*numpy_gelu.MILLS[0], *numpy_gelu.MILLS[1]):
        assert f"{number!r}f" in text
    constants = dict(re.findall(r"(\w+) = ([\d.]+)[;,]", text))
    assert float(constants["DENSITY"]) == pytest.approx(numpy_gelu.DENSITY, rel=1e-15)
    assert float(constants["TANH_SCALE"]) == gelus.TANH_SCALE
    assert float(constants["TANH_CUBIC"]) == gelus.TANH_CUBIC
    assert float(constants["FLAT"]) == gelus.FLAT
    files = ("bias_activations.cu", "flat.cuh", "cast.cu")
    source = "".join(map(kernels.read, files))
    constants = dict(re.findall(r"constexpr int (\w+) = (\d+);", source))
    names = ("DEEP", "OF_SUM", "FLAT_THREADS", "CAST_PACK", "OF_CAST")
    assert all(int(constants[name]) == getattr(geometry, name) for name in names)
    assert int(constants["CAST_THREADS"]) == geometry.FLAT_THREADS


# -- shapes ----------------------------------------------------------------------------


def test_layouts(backend):
    x = draw_array(np.random.default_rng(0), (12, 34), "float32")
    for change in (
        lambda x: x.T,
        lambda x: x[::2, 3:20],
        lambda x: x[:, 0],
        lambda x: x[1, 1],
    ):
        given_x, host = change(on_device(backend, x)), wide(np.asarray(change(x)))
        expected = REFERENCE.elementwise(activations.silu_grad, host, host)
        got = backend.elementwise(activations.silu_grad, given_x, given_x)
        assert_close(got, expected, "float32", 12, 1.0)


def test_more_elements_than_blocks(backend, monkeypatch):
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    activations_case(9001, "float32", 0)(backend)
    activations_case(9001, "float16", 1)(backend)


def test_more_columns_than_blocks_across(backend, monkeypatch):
    monkeypatch.setattr(geometry, "MOST_ROWS", 2)
    bias_case(70, 300, "float32", 0)(backend)
    bias_case(70, 301, "float32", 0)(backend)


def test_tiles_of_many_rows(backend, monkeypatch):
    monkeypatch.setattr(geometry, "ENOUGH_TILES", 4)
    assert geometry.tiles(700, 130, 4).rows == 512
    bias_case(700, 130, "float32", 0)(backend)
    bias_case(600, 48, "float16", 0)(backend)


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_a_bias_in_the_middle_of_a_buffer(backend, dtype):
    """It need not be where 16 bytes are read at a time."""
    x, bias = (draw_array(np.random.default_rng(3), n, dtype) for n in ((5, 64), 64))
    for name in ("relu", "gelu", "gelu_tanh"):
        found = set()
        for shift in (0, 1, 3):
            of_bias = on_device(backend, bias, shift)
            out, kept = backend.bias_activation(
                on_device(backend, x), of_bias, name, True
            )
            g = on_device(backend, x)
            grads = backend.bias_activation_grad(g, kept, of_bias, name, True)
            found.add(b"".join(each.get().tobytes() for each in (out, *grads)))
        assert len(found) == 1


def test_a_gradient_that_is_not_finite_stays_where_relu_is_0(backend):
    x, bias = np.array([[-1.0, 2.0]] * 3, "float32"), np.zeros(2, "float32")
    g = np.array([[np.inf, 1.0], [np.nan, np.nan], [1.0, 1.0]], "float32")
    of_bias, of_g = on_device(backend, bias), on_device(backend, g)
    _, kept = backend.bias_activation(on_device(backend, x), of_bias, "relu", True)
    dx, d_bias = backend.bias_activation_grad(of_g, kept, of_bias, "relu", True)
    np.testing.assert_array_equal(dx.get(), [[0, 1], [0, np.nan], [0, 1]])
    np.testing.assert_array_equal(d_bias.get(), [0, np.nan])


@settings(max_examples=20)
@given(
    lengths,
    st.sampled_from(["float16", "bfloat16"]),
    checks.schedules,
    st.sampled_from([0, 1, 2]),
)
def test_casts(backend, n, dtype, schedule, shift):
    with cuda_shim.schedule(schedule):
        cast_case(n, dtype, shift)(backend)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_16_bit_number_is_cast(backend, dtype):
    x = np.arange(2**16, dtype="uint16").view(checks.dtype_of(dtype))
    wider = backend.cast(on_device(backend, x), np.dtype("float32"))
    np.testing.assert_array_equal(wider.get(), x.astype("float32"))
    again = backend.cast(wider, x.dtype).get()
    np.testing.assert_array_equal(again.astype("float32"), x.astype("float32"))


def test_other_casts_are_cupys(backend, monkeypatch):
    monkeypatch.setattr(backend.kernels, "get", None)  # it would be called
    x = on_device(backend, np.arange(6, dtype="float32").reshape(2, 3))
    half = np.dtype("float16")
    assert backend.cast(x, x.dtype) is x
    assert backend.cast(x, np.dtype("float64")).dtype == np.float64
    assert backend.cast(x.T, half).get().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert backend.cast(x[:0], half).dtype == half


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_every_schedule_gives_the_same_bits(backend, dtype):
    rng = np.random.default_rng(1)
    x, g = (draw_array(rng, (300, 70), dtype, 1.0) for _ in "xg")
    bias = draw_array(rng, (70,), dtype)
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            given_x, of_bias = on_device(backend, x), on_device(backend, bias)
            out, kept = backend.bias_activation(given_x, of_bias, "gelu", True)
            grads = backend.bias_activation_grad(
                on_device(backend, g), kept, of_bias, "gelu", True
            )
            results.add(b"".join(each.get().tobytes() for each in (out, *grads)))
    assert len(results) == 1


def test_shapes_of_launches():
    for n in (1, 100, 2**31 + 5, 2**40):
        for itemsize in (2, 4, 8):
            for inputs, packs in ((1, 2), (2, 1)):
                launch = geometry.elements(n, itemsize, inputs)
                (blocks,), (threads,) = launch.grid, launch.block
                reached = blocks * threads * packs * 16 // itemsize
                assert reached >= n or blocks == geometry.MOST_BLOCKS
        (blocks,), (threads,), _ = geometry.casts(n)
        reached = blocks * threads * geometry.CAST_PACK * geometry.OF_CAST
        assert n <= reached < n + 2**12
        for columns in (1, 200, 2**33):
            (down, across), block, rows = geometry.tiles(n, columns, 4)
            assert down * rows >= n > (down - 1) * rows
            assert rows % (geometry.DEEP * 4) == 0
            assert down * across <= max(geometry.ENOUGH_TILES, across)
            assert (across, block) == (min(-(-columns // 128), 65535), (32, 8))


def test_what_has_no_kernel_takes_the_reference(backend, monkeypatch):
    monkeypatch.setattr(backend.kernels, "get", None)  # it would be called
    whole, none = np.arange(3), np.zeros((0, 3))
    row, rows = np.ones((1, 3)), np.ones((2, 3))
    for arrays in ((whole,), (none,), (row.astype("float16"), row)):
        function = activations.silu_grad if len(arrays) > 1 else activations.silu
        given_ = [on_device(backend, each) for each in arrays]
        got = backend.elementwise(function, *given_).get()
        np.testing.assert_allclose(got, REFERENCE.elementwise(function, *arrays))
    got = backend.elementwise(
        activations.silu_grad, *(on_device(backend, x) for x in (row, rows))
    )
    assert got.shape == (2, 3)
    x = on_device(backend, none)
    for kind in ("gelu", "relu"):
        out, kept = backend.bias_activation(x, on_device(backend, row[0]), kind, True)
        dx, d_bias = backend.bias_activation_grad(
            x, kept, on_device(backend, row[0]), kind, True
        )
        assert out.shape == dx.shape == (0, 3)
        assert d_bias.get().tolist() == [0.0] * 3


def test_a_bias_of_another_dtype(backend):
    rng = np.random.default_rng(2)
    x, g = (draw_array(rng, (4, 3), "float32") for _ in "xg")
    bias = draw_array(rng, (3,), "float64")
    for name in ("relu", "gelu", "gelu_tanh"):
        of_bias = on_device(backend, bias)
        out, kept = backend.bias_activation(on_device(backend, x), of_bias, name, True)
        expected, slope = REFERENCE.bias_activation(
            wide(x) + bias, 0 * bias, name, True
        )
        np.testing.assert_allclose(out.get(), expected, 1e-12)
        dx, d_bias = backend.bias_activation_grad(
            on_device(backend, wide(g)), kept, of_bias, name, True
        )
        slope = slope > 0 if name == "relu" else slope
        np.testing.assert_allclose(dx.get(), wide(g) * slope, 1e-12)
        np.testing.assert_allclose(d_bias.get(), (wide(g) * slope).sum(axis=0), 1e-12)
