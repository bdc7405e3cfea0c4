"""erf and erfc: the last digit, the edges, dtypes and shapes, and the tables' origin.

The oracle is mpmath, with 40 digits; SciPy is a second one where it is exact enough.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_softmax.backends import special
from tinygrad_softmax.backends.special import erf, erfc

ROOT = Path(__file__).resolve().parent.parent
PRECISE = {erf: mpmath.erf, erfc: mpmath.erfc}
SCIPY = {erf: scipy.special.erf, erfc: scipy.special.erfc}
# Units in the last place: what the docstrings promise. Correct rounding would be 0.5.
LIMITS = {
    (erf, np.float16): 0.501,
    (erf, np.float32): 1.5,
    (erf, np.float64): 1.75,
    (erfc, np.float16): 0.501,
    (erfc, np.float32): 0.6,
    (erfc, np.float64): 2.0,
}
FUNCTIONS = pytest.mark.parametrize("function", [erf, erfc], ids=["erf", "erfc"])
DTYPES = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
# Where one formula gives way to another, or a result to 1 or to 0.
JOINTS = [0.25, 0.5, 0.75, 1.0, 2.0, 3.92, 5.92, 6.0, 9.19, 10.06, 26.54, 27.23, 28.0]


def worst_error(function, x):
    """The largest error of function(x), in units in the last place, and where it is.

    A unit is the spacing of x.dtype at the exact value; among the subnormal numbers,
    their constant spacing.
    """
    info = np.finfo(x.dtype)
    worst, where = 0.0, None
    with mpmath.workdps(40):
        for value, result in zip(x.tolist(), function(x).tolist()):
            # Beyond 1000 nothing changes any more, but mpmath overflows.
            exact = PRECISE[function](min(max(value, -1000.0), 1000.0))
            exponent = mpmath.frexp(exact)[1] - 1 if exact else info.minexp
            unit = mpmath.ldexp(1, max(exponent, int(info.minexp)) - info.nmant)
            error = float(abs(mpmath.mpf(result) - exact) / unit)
            if not error <= worst:  # so that nan counts as wrong
                worst, where = error, value
    return worst, where


def assert_right(function, x):
    worst, where = worst_error(function, x)
    limit = LIMITS[function, x.dtype.type]
    assert worst <= limit, f"{worst:.3f} units off at {where!r}; allowed: {limit}"


def both_signs(*parts):
    x = np.concatenate(parts)
    return np.concatenate([x, -x])


@FUNCTIONS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("low", "high", "count"),
    [(0.0, 0.75, 500), (0.75, 1.0, 1000), (1.0, 2.0, 400), (2.0, 6.0, 400)],
)
def test_dense_points_to_the_last_digit(function, dtype, low, high, count):
    rng = np.random.default_rng(0)
    assert_right(function, both_signs(rng.uniform(low, high, count)).astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "end"), [(np.float32, 9.19), (np.float64, 26.54)], ids=["f4", "f8"]
)
def test_the_tail_of_erfc_down_to_the_smallest_normal_number(dtype, end):
    x = np.random.default_rng(0).uniform(6.0, end, 1500).astype(dtype)
    assert_right(erfc, x)
    assert erfc(np.array(end, dtype)) < 4 * np.finfo(dtype).smallest_normal


@pytest.mark.parametrize(
    ("dtype", "start", "end"), [(np.float32, 9.19, 10.1), (np.float64, 26.54, 27.3)]
)
def test_erfc_fades_into_zero_through_the_subnormal_numbers(dtype, start, end):
    x = np.linspace(start, end, 200).astype(dtype)
    assert_right(erfc, x)
    assert np.all(np.diff(erfc(x)) <= 0.0)
    assert erfc(x)[-1] == 0.0


@FUNCTIONS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_around_the_joints(function, dtype):
    x = np.array(JOINTS, dtype)
    assert_right(function, both_signs(x, np.nextafter(x, 0), np.nextafter(x, 99)))


@FUNCTIONS
@DTYPES
def test_near_zero(function, dtype):
    info = np.finfo(dtype)
    powers = 2.0 ** np.arange(info.minexp - info.nmant, 0, 5)
    assert_right(function, both_signs(1.3 * powers).astype(dtype))


@FUNCTIONS
def test_every_float16(function):
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    exact = SCIPY[function](x.astype(np.float64))
    unit = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 1, -14) - 10)
    error = np.abs(function(x).astype(np.float64) - exact) / unit
    assert error.max() <= LIMITS[function, np.float16]


@FUNCTIONS
def test_agrees_with_scipy(function):
    # SciPy's erfc is a few hundred units off in its tail, hence the tolerance there.
    x = np.linspace(-26.5, 26.5, 20001)
    np.testing.assert_allclose(function(x), SCIPY[function](x), rtol=3e-13, atol=0)
    x = np.linspace(-2.0, 2.0, 20001)
    np.testing.assert_allclose(function(x), SCIPY[function](x), rtol=3e-15, atol=0)


@FUNCTIONS
@given(x=st.one_of(st.floats(-6, 6), st.floats(-30, 30), st.floats(allow_nan=False)))
def test_any_float64(function, x):
    assert_right(function, np.array([x]))


@FUNCTIONS
@given(
    x=st.one_of(
        st.floats(-6, 6, width=32),
        st.floats(-12, 12, width=32),
        st.floats(allow_nan=False, width=32),
    )
)
def test_any_float32(function, x):
    assert_right(function, np.array([x], np.float32))


@DTYPES
def test_special_values(dtype):
    x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(erf(x), np.array([-1, -0.0, 0, 1, np.nan], dtype))
    np.testing.assert_array_equal(erfc(x), np.array([2, 1, 1, 0, np.nan], dtype))
    np.testing.assert_array_equal(np.signbit(erf(x))[:4], [True, True, False, False])
    assert not np.signbit(erfc(x))[:4].any()


@DTYPES
def test_erf_is_odd(dtype):
    x = np.linspace(0.0, 7.0, 999).astype(dtype)
    np.testing.assert_array_equal(erf(-x), -erf(x))


@FUNCTIONS
@DTYPES
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_keeps_shape_and_dtype(function, dtype, shape):
    x = np.full(shape, 0.5, dtype)
    y = function(x)
    assert type(y) is np.ndarray
    assert (y.shape, y.dtype) == (shape, dtype)
    np.testing.assert_allclose(y, SCIPY[function](0.5), rtol=np.finfo(dtype).eps)
    np.testing.assert_array_equal(x, 0.5)
    assert not np.shares_memory(x, y)


@FUNCTIONS
def test_strided_reversed_transposed_and_swapped_arrays(function):
    x = np.linspace(-4.0, 4.0, 60).reshape(6, 10)
    y = function(x)
    np.testing.assert_array_equal(function(x.T), y.T)
    np.testing.assert_array_equal(function(x[::-2, 1::3]), y[::-2, 1::3])
    np.testing.assert_array_equal(function(np.asfortranarray(x)), y)
    swapped = x.astype(x.dtype.newbyteorder())
    assert function(swapped).dtype == swapped.dtype
    np.testing.assert_array_equal(function(swapped), y)
    x.flags.writeable = False
    np.testing.assert_array_equal(function(x), y)


@FUNCTIONS
@DTYPES
@pytest.mark.parametrize("extra", [-1, 0, 1, 100])
def test_a_value_does_not_depend_on_its_neighbours(function, dtype, extra):
    """Blocks of far, near and mixed elements, and sizes around a whole block."""
    rng = np.random.default_rng(0)
    near, far = rng.uniform(0.0, 0.7, 20000), rng.uniform(1.1, 5.0, 20000)
    x = np.concatenate([near, far, near + rng.integers(0, 2, 20000)]).astype(dtype)
    x = x[: 3 * special._BLOCK + extra]
    order = rng.permutation(x.size)
    np.testing.assert_array_equal(function(x)[order], function(x[order]))


@FUNCTIONS
@DTYPES
def test_no_floating_point_warning_escapes(function, dtype):
    info = np.finfo(dtype)
    edges = [info.smallest_subnormal, info.smallest_normal, info.eps, info.max, np.inf]
    x = both_signs(np.linspace(0.0, 30.0, 301), np.array(edges), [np.nan]).astype(dtype)
    with np.errstate(all="raise"):
        function(x)  # near and far elements together
        for value in x:
            function(value)
        assert set(np.geterr().values()) == {"raise"}


@FUNCTIONS
@pytest.mark.parametrize("dtype", [bool, np.int64, np.complex128, object])
def test_other_dtypes_are_refused(function, dtype):
    name = function.__name__
    text = rf"{name}: got dtype {np.dtype(dtype)}, expected .* {name}\(x\.astype\("
    with pytest.raises(TypeError, match=text):
        function(np.ones(3, dtype))


def test_the_tables_are_what_the_script_prints():
    script = ROOT / "scripts" / "make_erf_coefficients.py"
    command = [sys.executable, str(script)]
    tables = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert tables.count(" = (") == 4
    assert tables in Path(special.__file__).read_text("utf-8")
