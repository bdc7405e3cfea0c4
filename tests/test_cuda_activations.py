"""The CUDA kernels of activations, run on the CPU by cuda_shim: numbers, not a GPU's.

The reference is the plain kernels in float64, and mpmath where a tail matters.
"""

from __future__ import annotations

import re
from contextlib import contextmanager

import cuda_checks as checks
import cuda_shim
import mpmath
import numpy as np
import pytest
import strict_cupy
from cuda_cases import (
    OF_G_AND_X,
    OF_X,
    activations_case,
    bias_case,
    gelu_ulps,
)
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends import activations, gelus, numpy_gelu
from tinygrad_softmax.backends.cuda import geometry, kernels
from tinygrad_softmax.nn import functional
from tinygrad_softmax.nn.functional.linears import linear_activation

lengths = st.one_of(
    st.integers(1, 40), st.sampled_from([511, 512, 1023, 1024, 1027, 2049, 4100])
)


@pytest.fixture(scope="module")
def backend():
    with checks.kernels_on_the_cpu() as backend:
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
            got = backend.gelu_grad(ones, given_x, kind)
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
    got = backend.gelu_grad(ones, given_x, "none")
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
    names = ("DEEP", "SUMMING", "FLAT_THREADS", "CAST_PACK", "OF_CAST")
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
    monkeypatch.setattr(geometry, "MOST_ACROSS", 2)
    bias_case(70, 300, "float32", 0)(backend)
    bias_case(70, 301, "float32", 0)(backend)


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
        for vector in (1, 2, 4, 8):
            (blocks,), (threads,), _ = geometry.elements(n, vector)
            most = blocks == geometry.MOST_BLOCKS
            assert most or blocks * threads * vector * geometry.BATCH >= n
            (down, across), block, _ = geometry.tiles(n, 2**33, vector)
            assert down * geometry.TILE >= n > (down - 1) * geometry.TILE
            assert (across, block) == (geometry.MOST_ACROSS, (32, 8))
            assert geometry.tiles(n, 33 * vector, vector).grid[1] == 2


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


# -- through tensors -------------------------------------------------------------------


@contextmanager
def launches(monkeypatch):
    """The kernels that are launched inside, and CuPy's own functions ("cupy")."""
    seen = []
    get, ufunc = kernels.Kernels.get, strict_cupy.ufunc.__call__

    def noted(self, file, function, *args, **macros):
        seen.append(f"{file.removesuffix('.cu')}.{function}")
        return get(self, file, function, *args, **macros)

    def plain(self, *args, **options):
        seen.append(f"cupy.{self.__name__}")
        return ufunc(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kernels.Kernels, "get", noted)
        patch.setattr(strict_cupy.ufunc, "__call__", plain)
        yield seen


ONE_AND_ONE = {
    "sigmoid": (tg.sigmoid, "activations.sigmoid"),
    "softplus": (tg.softplus, "activations.softplus"),
    "silu": (tg.silu, "activations.silu"),
    "tanh": (tg.tanh, "cupy.tanh"),
    "relu": (tg.relu, "activations.relu"),
    "gelu": (tg.gelu, "activations.gelu"),
    "gelu_tanh": (lambda x: tg.gelu(x, "tanh"), "activations.gelu_tanh"),
}


@pytest.mark.parametrize("name", ONE_AND_ONE)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_launch_forward_and_one_backward(name, dtype, monkeypatch):
    function, forward = ONE_AND_ONE[name]
    rng = np.random.default_rng(3)
    x, g = (draw_array(rng, (5, 7), dtype) for _ in "xg")
    with strict_cupy.strict_cuda() as cuda:
        given_x = tg.tensor(x, device="cuda", requires_grad=True)
        of_g = tg.tensor(g, device="cuda")
        with launches(monkeypatch) as seen, cuda.counting() as waited:
            out = function(given_x)
            assert seen == [forward]
            out.backward(of_g)
        assert seen == [forward, f"activations.{name}_grad"]
        assert not waited.waits
        on_host = tg.tensor(x, requires_grad=True)
        function(on_host).backward(tg.tensor(g))
        epsilon = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(
            given_x.grad.numpy(), on_host.grad.numpy(), 20 * epsilon, 8 * epsilon
        )


def test_gelu_keeps_nothing_but_its_input():
    with strict_cupy.strict_cuda():
        x = tg.tensor(np.ones(100, "float32"), device="cuda", requires_grad=True)
        saved = tg.gelu(x).node.saved
        arrays = {id(v) for rule in saved for v in rule if hasattr(v, "shape")}
        assert arrays == {id(x.array)}


# -- linear maps with an activation ----------------------------------------------------


def both_layers(activation):
    tg.manual_seed(0)
    options = dict(dim_feedforward=24, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoderLayer(8, 2, activation=activation, **options)
    decoder = nn.TransformerDecoderLayer(8, 2, activation=activation, **options)
    return encoder, decoder


ACTIVATED = {
    "relu": ("relu", functional.relu, lambda x: functional.relu(x)),
    "gelu": ("gelu", tg.gelu, lambda x: functional.gelu(x)),
}


@pytest.mark.parametrize("name", ACTIVATED)
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_transformer_layers_add_the_bias_with_the_activation(name, where, monkeypatch):
    """The same numbers as in two ops, which a lambda is."""
    x = np.random.default_rng(4).normal(size=(2, 3, 8)).astype("float32")
    found = []
    with strict_cupy.strict_cuda():
        for given_activation in ACTIVATED[name]:
            grads: list = []
            encoder, decoder = both_layers(given_activation)
            for layer in (encoder.to(where), decoder.to(where)):
                inputs = [tg.tensor(x, device=where)] * (1 + (layer is decoder))
                with launches(monkeypatch) as seen:
                    layer(*inputs).sum().backward()
                grads += [p.grad.numpy() for p in layer.parameters()]
            found.append(grads)
            fused = where == "cuda" and len(found) < 3
            for each in (name, f"{name}_grad", "sum_tiles"):
                assert (f"bias_activations.{each}" in seen) == fused
    for grads in found[:2]:
        for got, want in zip(grads, found[2], strict=True):
            np.testing.assert_allclose(got, want, 2e-5, 2e-6)


def test_a_layer_that_is_not_plainly_linear_is_called():
    """A subclass, another module, or one without a bias."""

    class Doubled(nn.Linear):
        def forward(self, input):
            return 2.0 * super().forward(input)

    x = tg.tensor(np.random.default_rng(5).normal(size=(2, 3, 8)))
    layer, _ = both_layers("relu")
    layer = layer.to(dtype=tg.float64)
    plain = layer.linear1
    doubled = Doubled(8, 24, dtype=tg.float64)
    doubled.load_state_dict(plain.state_dict())
    layer.linear1 = doubled
    out = layer._feed_forward(x)
    hidden = tg.relu(2.0 * plain(x))
    np.testing.assert_allclose(
        out.detach().numpy(), layer.linear2(hidden).detach().numpy(), 1e-14
    )
    layer.linear1 = nn.Linear(8, 24, bias=False, dtype=tg.float64)
    assert layer._feed_forward(x).shape == (2, 3, 8)


def test_what_a_linear_map_with_an_activation_refuses():
    x, w, b = tg.ones((2, 3)), tg.ones((4, 2)), tg.ones(4)
    with pytest.raises(ValueError, match="linear: input, weight and bias have shapes"):
        linear_activation(x, w, b, "relu")


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_autocast_reaches_a_linear_map_with_an_activation(where):
    with strict_cupy.strict_cuda():
        x = tg.ones((2, 3), device=where)
        w, b = tg.ones((4, 3), device=where), tg.ones(4, device=where)
        w.requires_grad_()
        with tg.autocast(where, dtype=tg.float16):
            out = linear_activation(x, w, b, "gelu")
        assert out.dtype == tg.float16
        out.sum().backward()
        assert w.grad.dtype == tg.float32
        np.testing.assert_allclose(w.grad.numpy(), np.full((4, 3), 2.0), 2e-3)
