"""The CPU's gelu for float32 against SciPy and mpmath in float64, and its blocks.

Where x^2 is rounded, exp(-x^2 / 2) is off by as many units as x^2 is large, as it is in
the plain kernel; what is said on top of that is what the two polynomials cost.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import numpy, numpy_gelu, threads
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend

PLAIN, FAST = Backend(), NumpyBackend()
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


def exact(x):
    """In float64: value, slope, and the larger of the two terms of the slope."""
    x = x.astype("float64")
    cdf, pdf = scipy.special.ndtr(x), np.exp(-0.5 * x * x) * numpy_gelu.DENSITY
    return x * cdf, cdf + x * pdf, np.maximum(cdf, np.abs(x * pdf))


def assert_right(x, value, slope):
    """Value: 4 units in the last place and x^2. The slope is a sum that is 0 near
    -0.75: units are those of the larger term."""
    square = np.square(x.astype("float64"))
    wanted, wanted_slope, larger = exact(x)
    tiny = 4 * np.finfo(np.float32).smallest_subnormal
    for found, want, size in (
        (value, wanted, wanted),
        (slope, wanted_slope, larger),
    ):
        unit = np.spacing(np.abs(size).astype("float32")).astype("float64")
        error = np.abs(found.astype("float64") - want)
        worst = int(np.argmax(error / ((4.0 + square) * unit + tiny)))
        assert (error <= (4.0 + square) * unit + tiny).all(), (
            x[worst],
            found[worst],
            want[worst],
        )


@pytest.mark.parametrize("vectorised", [True, False])
def test_every_size_of_x(vectorised):
    """Densely, down to where the result is subnormal, and near 0 by powers of two."""
    near = np.ldexp(1.3, np.arange(-140, 1))
    x = np.concatenate([np.linspace(-14.3, 14.3, 400_001), near, -near, [0.0, 99.0]])
    x = x.astype("float32")
    with patch.object(numpy_gelu, "_fast_exp2", vectorised):
        assert_right(x, *FAST.gelu(x, "none", True))


@given(st.floats(-14, 14, width=32))
def test_any_float32(x):
    with mpmath.workdps(40):
        wanted = float(x * mpmath.ncdf(x))
    found = FAST.gelu(np.array([x], "float32"), "none", False)[0][0]
    allowed = (4.0 + x * x) * np.spacing(np.float32(abs(wanted)))
    assert abs(float(found) - wanted) <= allowed


def test_it_rounds_no_worse_in_its_tail_than_the_plain_kernel():
    x = np.linspace(-12, -2, 100_001).astype("float32")
    wanted = exact(x)[0]
    errors = [
        np.sqrt(np.mean((kernels.gelu(x, "none", False)[0] / wanted - 1.0) ** 2))
        for kernels in (PLAIN, FAST)
    ]
    assert errors[1] < errors[0]


def test_infinite_nan_and_huge_elements_are_left_to_the_plain_kernel():
    x = np.array([1.0, np.inf, -np.inf, np.nan, 1e30, -1e30, -3.0], "float32")
    value, slope = FAST.gelu(x, "none", True)
    with np.errstate(all="ignore"):
        plain, plain_slope = PLAIN.gelu(x, "none", True)
    np.testing.assert_array_equal(value[1:6], plain[1:6])
    np.testing.assert_array_equal(slope[1:6], plain_slope[1:6])
    np.testing.assert_array_equal(slope[[1, 2, 4, 5]], [1.0, 0.0, 1.0, 0.0])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -6e4])
def test_no_digit_depends_on_a_neighbour(dtype, bad):
    x = np.random.default_rng(0).normal(size=4000).astype(dtype)
    wanted = FAST.gelu(x, "none", True)
    x[::40] = bad if dtype == "float16" else bad * 1e4
    for found, before in zip(FAST.gelu(x, "none", True), wanted, strict=True):
        others = np.arange(4000) % 40 > 0
        np.testing.assert_array_equal(found[others], before[others])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_blocks_threads_layouts_and_dtypes(dtype):
    """The same digits on 1, 2 and 3 threads, by blocks or at once."""
    x = np.random.default_rng(0).normal(size=(300, 401)).astype(dtype)
    x[7, 7] = 1e4
    for given_x in (x, x.T, x[:, ::2], x[:1], x[0, 0]):
        given_x = np.asarray(given_x)
        plain, plain_slope = PLAIN.gelu(given_x, "none", True)
        results = []
        for number in (1, 2, 3):
            tg.set_num_threads(number)
            results.append(FAST.gelu(given_x, "none", True))
        value, slope = results[0]
        assert (value.dtype, slope.dtype) == (dtype, "float32")
        assert value.shape == slope.shape == given_x.shape
        epsilon = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(value, plain, 20 * epsilon, 2 * epsilon)
        np.testing.assert_allclose(slope, plain_slope, 1e-5, 1e-6)
        for found, other in results[1:]:
            np.testing.assert_array_equal(found, value)
            np.testing.assert_array_equal(other, slope)
        with patch.object(numpy_gelu, "THREADED", 1 << 30):
            found, nothing = FAST.gelu(given_x, "none", False)
        np.testing.assert_array_equal(found, value)
        assert nothing is None


@pytest.mark.parametrize(
    ("approximate", "dtype"),
    [
        ("tanh", "float16"),
        ("tanh", "float32"),
        ("tanh", "float64"),
        ("none", "float64"),
    ],
)
def test_the_plain_kernel_by_blocks(approximate, dtype):
    """Bit for bit, whatever the number of threads."""
    x = np.random.default_rng(0).normal(size=(30, 41)).astype(dtype)
    for given_x in (x, x.T, x[:, ::2], x[:1], x[0, 0]):
        given_x = np.asarray(given_x)
        plain, plain_slope = PLAIN.gelu(given_x, approximate, True)
        for number in (1, 3):
            tg.set_num_threads(number)
            with patch.object(numpy, "GELU_BYTES", 100 * x.itemsize):
                found, slope = FAST.gelu(given_x, approximate, True)
                value, nothing = FAST.gelu(given_x, approximate, False)
            for got, wanted in ((found, plain), (slope, plain_slope), (value, plain)):
                np.testing.assert_array_equal(got, wanted)
                assert got.dtype == wanted.dtype
            assert nothing is None


def test_a_product_is_too_small_for_threads_of_blas():
    """OpenBLAS starts them from 2^18 multiplications on (interface/gemm.c)."""
    assert numpy_gelu.PRODUCT * numpy_gelu.TABLE.size <= 1 << 18


def test_the_table_is_what_the_script_prints():
    script = ROOT / "scripts" / "make_gelu_coefficients.py"
    command = [sys.executable, str(script)]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.startswith("MILLS = (")
    assert table in Path(numpy_gelu.__file__).read_text("utf-8")


def test_exp2_is_asked_for_once():
    with patch.object(numpy_gelu, "_fast_exp2", None):
        first = numpy_gelu._has_fast_exp2()
        assert first in (True, False)
        assert numpy_gelu._fast_exp2 is first
    with (
        patch.object(numpy_gelu, "_fast_exp2", None),
        patch.dict(sys.modules, {"numpy.lib.introspect": None}),
    ):
        assert numpy_gelu._has_fast_exp2() is False
