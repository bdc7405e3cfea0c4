"""The ops beyond the op table: kinks, extremes, views, integers, and errors' texts."""

from __future__ import annotations

import mpmath
import numpy as np
import op_checks as checks
import op_references as ref
import pytest
from op_kinks import KINKS

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend

INF = np.inf
SUBNORMAL = float(np.finfo(np.float64).smallest_subnormal)


def leaf(values, device, dtype=np.float64):
    return tg.tensor(np.asarray(values, dtype), None, device, True)


def derivatives(f, x, order):
    """f(x) and the derivatives of sum(f), sum(f'), ... with respect to x."""
    values = [checks.host(out := f(x))]
    for _ in range(order):
        seed = checks.raw(np.ones(out.shape), x.device)
        out = tg.grad(out, x, seed, create_graph=True)
        values.append(checks.host(out))
        if not out.requires_grad:
            break
    return values


# -- conventions -----------------------------------------------------------------------


@pytest.mark.parametrize("kink", KINKS, ids=str)
def test_kink(kink, device):
    checks.check_kink(kink, device)


@pytest.mark.parametrize(
    "square",
    [
        lambda x: x**2,
        tg.square,
        lambda x: x * x,
        lambda x: tg.pow(x, tg.tensor(2.0, x.dtype, x.device)),
    ],
    ids=["x**2", "square", "x*x", "pow of arrays"],
)
def test_square_has_finite_derivatives_of_every_order_at_0(square, device):
    """The naive rule of x**2 has 0 * inf in the third derivative."""
    values = derivatives(square, leaf([0.0, 3.0], device), 4)
    expected = [[0.0, 9.0], [0.0, 6.0], [2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]
    for got, want in zip(values, expected):
        np.testing.assert_array_equal(got, want)


def test_powers_of_negative_numbers(device):
    """To integer exponents in an array that needs no gradient."""
    x = leaf([-2.0, -3.0], device)
    exponents = tg.tensor(np.array([3.0, 2.0]), None, device)
    _, first, second, third = derivatives(lambda x: x**exponents, x, 3)
    np.testing.assert_allclose(first, [12.0, -6.0], rtol=1e-15)
    np.testing.assert_allclose(second, [-12.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(third, [6.0, 0.0], rtol=1e-15)


def test_pow_at_an_exponent_of_0_keeps_its_mixed_derivative(device):
    """d2(a^b)/da db = a^(b-1) (1 + b log a), which is 1/a at b = 0."""
    a, b = leaf([2.0, 4.0], device), leaf([0.0, 0.0], device)
    ones = checks.raw(np.ones(2), device)
    by_a, by_b = tg.grad(tg.pow(a, b), (a, b), ones, create_graph=True)
    np.testing.assert_array_equal(checks.host(tg.grad(by_a, b, ones)), [0.5, 0.25])
    np.testing.assert_array_equal(checks.host(tg.grad(by_b, a, ones)), [0.5, 0.25])


@pytest.mark.parametrize(
    "values", [[0.0, 2.0, 3.0], [0.0, 2.0, 0.0, 5.0], [0.0] * 3, [2.0, 3.0], [4.0]]
)
def test_prod_is_exact_at_zeros_to_second_order(values, device):
    """The Hessian's entries are the products of all the others."""
    n = len(values)
    x = leaf(values, device)
    gradient = tg.jacobian(tg.prod, x)
    hessian = tg.jacobian(lambda x: tg.grad(tg.prod(x), x, create_graph=True), x)

    def without(*left_out):
        return np.prod([v for i, v in enumerate(values) if i not in left_out])

    np.testing.assert_array_equal(checks.host(gradient), [without(i) for i in range(n)])
    expected = [[0.0 if i == j else without(i, j) for j in range(n)] for i in range(n)]
    np.testing.assert_array_equal(checks.host(hessian), expected)


def test_prod_of_infinities_and_tiny_numbers(device):
    """out / x would be nan, or 0 / 0."""
    x = leaf([1e200, 1e-200, 1e-200], device)
    tg.prod(x).backward()
    np.testing.assert_allclose(checks.host(x.grad), [0.0, 1.0, 1.0], rtol=1e-15)


# -- extremes, against 40 digits -------------------------------------------------------

TAILS = [0.0, 1e-300, 1e-20, 1e-3, 0.5, 5.0, 20.0, 37.5, 40.0, 700.0, 745.0, 1000.0]
BOTH = sorted({-x for x in TAILS} | set(TAILS))
NEAR = [x for x in BOTH if -1.0 < x < 709.0]


def gaussian(x):
    return 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x)


def gelu_slope(x):
    return mpmath.ncdf(x) + x * mpmath.npdf(x)


def gelu_tanh_slope(x):
    s = ref.sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + CUBIC * x**3))
    slope = 2 * mpmath.sqrt(2 / mpmath.pi) * (1 + 3 * CUBIC * x**2)
    return s + x * s * (1 - s) * slope


def gelu_tanh(x):
    return x * ref.sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + CUBIC * x**3))


def silu_slope(x):
    return ref.sigmoid(x) * (1 + x * ref.sigmoid(-x))


CUBIC = mpmath.mpf("0.044715")
EXACT = {  # the op, its value, its slope, and where to look
    "sigmoid": (
        tg.sigmoid,
        ref.sigmoid,
        lambda x: ref.sigmoid(x) * ref.sigmoid(-x),
        BOTH,
    ),
    "softplus": (tg.softplus, lambda x: mpmath.log1p(mpmath.exp(x)), ref.sigmoid, BOTH),
    "silu": (tg.silu, lambda x: x * ref.sigmoid(x), silu_slope, BOTH),
    "elu": (tg.elu, ref.elu, lambda x: mpmath.exp(min(x, 0)), BOTH),
    "erf": (tg.erf, mpmath.erf, gaussian, BOTH),
    "erfc": (tg.erfc, mpmath.erfc, lambda x: -gaussian(x), BOTH),
    "gelu": (tg.gelu, ref.gelu, gelu_slope, BOTH),
    "gelu tanh": (lambda x: tg.gelu(x, "tanh"), gelu_tanh, gelu_tanh_slope, BOTH),
    "expm1": (tg.expm1, mpmath.expm1, mpmath.exp, NEAR),
    "log1p": (tg.log1p, mpmath.log1p, lambda x: 1 / (1 + x), [*NEAR, 1e300]),
    "asinh": (tg.asinh, mpmath.asinh, lambda x: 1 / mpmath.sqrt(1 + x * x), BOTH),
    "atan": (tg.atan, mpmath.atan, lambda x: 1 / (1 + x * x), BOTH),
}
# With its argument rounded, exp(-x^2) is wrong by as many units as x^2 is large.
ROUNDED_EXPONENTS = {("erf", 1): 1, ("erfc", 1): 1, ("gelu", 0): 1, ("gelu", 1): 1}
ROUNDED_EXPONENTS |= {("gelu tanh", 0): 2, ("gelu tanh", 1): 2}


@pytest.mark.parametrize("name", EXACT)
def test_extremes_of(name, device):
    """Value and slope to 8 units in the last place, in both tails, without overflow."""
    op, *exact, points = EXACT[name]
    results = derivatives(op, leaf(points, device), 1)
    for order, (got, f) in enumerate(zip(results, exact, strict=True)):
        for i, point in enumerate(points):
            with mpmath.workdps(400):
                want = float(f(mpmath.mpf(point)))
            exponent = ROUNDED_EXPONENTS.get((name, order), 0) * min(
                point * point, 745.0
            )
            limit = (8 + exponent) * np.spacing(abs(want)) + abs(point) * SUBNORMAL
            assert abs(got[i] - want) <= limit, (
                f"{name} at {point}: {got[i]}, not {want}"
            )


@pytest.mark.parametrize(
    ("op", "values", "slopes"),
    [
        (tg.sigmoid, [0.0, 0.0, 1.0, 1.0], [0.0] * 4),
        (tg.softplus, [0.0, 0.0, 1e300, INF], [0.0, 0.0, 1.0, 1.0]),
        (tg.tanh, [-1.0, -1.0, 1.0, 1.0], [0.0] * 4),
        (tg.elu, [-1.0, -1.0, 1e300, INF], [0.0, 0.0, 1.0, 1.0]),
        (tg.relu, [0.0, 0.0, 1e300, INF], [0.0, 0.0, 1.0, 1.0]),
        (tg.exp, [0.0, 0.0, None, INF], [0.0, 0.0, None, INF]),
    ],
    ids=["sigmoid", "softplus", "tanh", "elu", "relu", "exp"],
)
def test_saturated(op, values, slopes, device):
    for point, value, slope in zip([-INF, -1e300, 1e300, INF], values, slopes):
        if value is not None:
            got = derivatives(op, leaf(point, device), 1)
            assert [float(each) for each in got] == [value, slope]


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_in_float16_far_out(approximate, device):
    """Where x * x * x overflows: 300 is an activation that happens."""
    x = leaf([-60000.0, -300.0, 41.0, 200.0], device, np.float16)
    value, slope = derivatives(lambda x: tg.gelu(x, approximate), x, 1)
    np.testing.assert_array_equal(value, np.array([0.0, 0.0, 41.0, 200.0]))
    np.testing.assert_array_equal(slope, [0.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("approximate", "dtype"),
    [("none", "float64"), *(("tanh", f"float{bits}") for bits in (16, 32, 64))],
)
def test_gelu_in_blocks_is_the_reference_kernel(approximate, dtype):
    """On the CPU it goes block by block; a block ends within the array. (The kernel of
    its own that float32 has is tested in test_numpy_gelu.py.)"""
    x = np.random.default_rng(0).normal(size=(300, 401)).astype(dtype)
    for given in (x, x.T, x[:, ::2], x[:1]):
        expected = Backend().gelu(given, approximate, True)
        for found, wanted in zip(
            NumpyBackend().gelu(given, approximate, True), expected, strict=True
        ):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)
        value, slope = NumpyBackend().gelu(given, approximate, False)
        np.testing.assert_array_equal(value, expected[0])
        assert slope is None


def test_logaddexp_extremes(device):
    a = leaf([1000.0, -INF, 0.0, -1000.0, -INF], device)
    b = leaf([1000.0, 5.0, -INF, -1000.5, INF], device)
    out = tg.logaddexp(a, b)
    da, db = tg.grad(out, (a, b), checks.raw(np.ones(5), device))
    tie, near = 1000.0 + np.log(2.0), -1000.0 + np.log1p(np.exp(-0.5))
    np.testing.assert_allclose(checks.host(out.detach()), [tie, 5, 0, near, INF], 1e-15)
    share = 1.0 / (1.0 + np.exp(-0.5))
    np.testing.assert_allclose(checks.host(da), [0.5, 0.0, 1.0, share, 0.0], 1e-15)
    np.testing.assert_allclose(checks.host(db), [0.5, 1.0, 0.0, 1 - share, 1.0], 1e-15)


def test_logsumexp_of_infinities(device):
    rows = [[-INF, -INF], [-INF, 1.0], [INF, 0.0], [1000.0, 1000.0], [-1e5, -1e5]]
    out = tg.logsumexp(tg.tensor(np.array(rows), None, device), axis=1)
    log2 = np.log(2.0)
    wanted = [-INF, 1.0, INF, 1000.0 + log2, log2 - 1e5]
    np.testing.assert_allclose(checks.host(out), wanted, rtol=1e-15)


def test_softmax_of_infinities(device):
    """A slice that is all -inf, or holds +inf, is nan, without a warning."""
    x = leaf([[-INF, -INF], [-INF, 1.0], [INF, 0.0], [1e308, -1e308]], device)
    out, gradient = derivatives(tg.softmax, x, 1)
    np.testing.assert_array_equal(out[:, 1], [np.nan, 1.0, out[2, 1], 0.0])
    assert np.isnan(out[0]).all()
    assert np.isnan(out[2]).any()
    np.testing.assert_array_equal(gradient[[1, 3]], 0.0)
    logs = checks.host(tg.log_softmax(x).detach())
    np.testing.assert_array_equal(logs[[1, 3]], [[-INF, 0.0], [0.0, -INF]])


def test_log_softmax_keeps_the_digits_of_a_confident_row(device):
    x = tg.tensor(np.array([0.0, -40.0]), None, device)
    np.testing.assert_allclose(
        checks.host(tg.log_softmax(x)), [-4.248354255291589e-18, -40.0], rtol=1e-15
    )


def test_norm_and_hypot_neither_overflow_nor_vanish(device):
    for size in (1e200, 1e-200):
        x = leaf([3.0 * size, 4.0 * size], device)
        value, slope = derivatives(tg.norm, x, 1)
        np.testing.assert_allclose(value, 5.0 * size, rtol=1e-15)
        np.testing.assert_allclose(slope, [0.6, 0.8], rtol=1e-15)
        value, slope = derivatives(lambda x: tg.hypot(x[0], x[1]), x, 1)
        np.testing.assert_allclose(value, 5.0 * size, rtol=1e-15)
        np.testing.assert_allclose(slope, [0.6, 0.8], rtol=1e-15)


def test_float16_is_accumulated_in_float32(device):
    """70,000 ones: past 2048 a float16 sum stands still, and 1/70000 is subnormal."""
    x = leaf(np.ones(70_000), device, np.float16)
    mean = tg.mean(x)
    assert float(checks.host(mean.detach())) == 1.0
    mean.backward()
    want = np.float16(1 / 70_000)
    np.testing.assert_array_equal(checks.host(x.grad), np.full(70_000, want))
    small = tg.tensor(np.full(4096, 0.5, np.float16), None, device)
    for total in (tg.sum(small), tg.cumsum(small)[-1], small @ (small * 2)):
        assert total.dtype == np.float16
        assert float(checks.host(total)) == 2048.0


def test_the_mean_of_nothing_warns_as_numpy_does():
    with pytest.warns(RuntimeWarning, match="empty"), np.errstate(invalid="ignore"):
        assert np.isnan(tg.mean(tg.zeros(0)).item())


# -- memory ----------------------------------------------------------------------------

VIEWS = {
    "a slice": lambda x: x[1:, ::2],
    "one row": lambda x: x[0],
    "a new axis": lambda x: x[None],
    "reshape": lambda x: tg.reshape(x, (3, 2)),
    "transpose": tg.transpose,
    "swapaxes": lambda x: tg.swapaxes(x, 0, 1),
    "moveaxis": lambda x: tg.moveaxis(x, 0, 1),
    "expand_dims": lambda x: tg.expand_dims(x, 0),
    "squeeze": tg.squeeze,
    "broadcast_to": lambda x: tg.broadcast_to(x, (2, 2, 3)),
    "flip": tg.flip,
    "split": lambda x: tg.split(x, 2)[1],
}
COPIES = {
    "an array of indices": lambda x: x[tg.tensor([0, 1], None, x.device)],
    "a mask": lambda x: x[x > 0],
    "copy": tg.copy,
    "roll": lambda x: tg.roll(x, 1),
    "tile": lambda x: tg.tile(x, 2),
    "concatenate": lambda x: tg.concatenate([x]),
    "reshape of a transpose": lambda x: tg.reshape(x.T, (6,)),
    "clip": lambda x: tg.clip(x, None, 100.0),
    "positive": tg.positive,
    "index_update": lambda x: tg.index_update(x, 0, 1.0),
}


@pytest.mark.parametrize("name", [*VIEWS, *COPIES])
def test_views_and_copies(name, device):
    """As in NumPy: slices and reshapes share memory, indexing with arrays copies."""
    x = tg.tensor(np.arange(1.0, 7.0).reshape(2, 3), None, device)
    out = (VIEWS | COPIES)[name](x)
    before = checks.host(out).copy()
    with tg.no_grad():
        x += 100.0
    assert (checks.host(out) != before).any() == (name in VIEWS)


def test_gradient_of_a_view_is_an_array_of_its_own(device):
    x = leaf(np.arange(4.0), device)
    y = tg.reshape(x, (2, 2))
    tg.sum(y.T * 2.0).backward()
    assert checks.host(x.grad).tolist() == [2.0] * 4
    assert x.grad.array.flags.owndata or device != "cpu"


# -- integers and bools ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (tg.exp, [1.0, np.e, np.e**2]),
        (tg.sqrt, [0.0, 1.0, np.sqrt(2.0)]),
        (tg.sigmoid, [0.5, 1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-2.0))]),
        (tg.softmax, np.exp([0.0, 1.0, 2.0]) / np.exp([0.0, 1.0, 2.0]).sum()),
        (tg.log_softmax, [0.0, 1.0, 2.0] - np.log(np.exp([0.0, 1.0, 2.0]).sum())),
        (tg.logsumexp, np.log(np.exp([0.0, 1.0, 2.0]).sum())),
        (tg.mean, 1.0),
        (tg.norm, np.sqrt(5.0)),
        (lambda x: x / 2, [0.0, 0.5, 1.0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_integers_become_the_default_dtype(op, expected, device):
    out = op(tg.tensor([0, 1, 2], None, device))
    assert out.dtype == tg.float32
    np.testing.assert_allclose(checks.host(out), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (tg.sum, 3),
        (tg.prod, 0),
        (tg.max, 2),
        (tg.cumsum, [0, 1, 3]),
        (tg.abs, [0, 1, 2]),
        (tg.relu, [0, 1, 2]),
        (lambda x: x * 2 - 1, [-1, 1, 3]),
        (lambda x: x**2, [0, 1, 4]),
        (lambda x: x // 2, [0, 0, 1]),
        (lambda x: tg.clip(x, 1, None), [1, 1, 2]),
        (lambda x: x @ x, 5),
        (lambda x: tg.index_add(x, [0, 0], 1), [2, 1, 2]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_integers_stay_integers(op, expected, device):
    out = op(tg.tensor([0, 1, 2], None, device))
    assert out.dtype == tg.int64
    np.testing.assert_array_equal(checks.host(out), expected)


def test_index_update_of_a_number_takes_a_gradient_that_is_numpys_scalar(device):
    """0-d products are scalars of NumPy's, which can't be written to."""
    x, value = leaf(1.0, device), leaf(2.0, device)
    (tg.index_update(x, (), value) * 3.0).backward()
    assert (x.grad.item(), value.grad.item()) == (0.0, 3.0)


def test_sums_of_bools_count(device):
    mask = tg.tensor([True, False, True], None, device)
    assert (tg.sum(mask).dtype, tg.sum(mask).item()) == (tg.int64, 2)
    assert (tg.mean(mask).dtype, tg.mean(mask).item()) == (
        tg.float32,
        np.float32(2 / 3),
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_are_weak(dtype, device):
    """A Python or NumPy number beside a tensor takes its dtype, on either side."""
    x = tg.tensor(np.array([1.0, 2.0], dtype), None, device)
    for number in (2, 2.5, np.float64(2.5), np.int64(2), True):
        for op in (tg.add, tg.multiply, tg.divide, tg.pow, tg.maximum, tg.logaddexp):
            assert op(x, number).dtype == dtype
            assert op(number, x).dtype == dtype
    assert tg.where(x > 1, x, np.float64(0.0)).dtype == dtype
    assert tg.clip(x, np.float64(0.5), 1).dtype == dtype
    assert tg.leaky_relu(x, np.float64(0.5)).dtype == dtype
    assert tg.elu(x, np.float64(0.5)).dtype == dtype
    assert tg.norm(x, np.float64(3.0)).dtype == dtype


def test_to_device_is_the_same_tensor_where_it_is_there_already(device):
    x = tg.tensor([1.0], device=device)
    assert tg.to_device(x, x.device) is x
    assert tg.astype(x, "float32") is x


# -- what is not differentiable --------------------------------------------------------


def test_comparisons_of_tensors_that_require_grad_say_so(device):
    x = leaf([1.0, 2.0], device)
    for out in (x > 1, tg.argmax(x), tg.isnan(x), tg.argsort(x), tg.any(x > 1)):
        assert not out.requires_grad
    with pytest.raises(RuntimeError, match=r"int64 .* does not depend on any tensor"):
        tg.grad(tg.argmax(x), x)
    with pytest.raises(RuntimeError, match="does not depend on any tensor"):
        tg.sum(x > 1).backward()
    assert not tg.astype(x, "int64").requires_grad


# -- errors: what was given, what was expected, how to mend it -------------------------


ERRORS = {
    "sum, axis": (lambda x: tg.sum(x, 2), "sum: axis 2 .* shape .2, 3.; .* -2..1"),
    "sum, axis, below": (lambda x: tg.sum(x, -3), "sum: axis -3 is out of range"),
    "sum, axis, text": (
        lambda x: tg.sum(x, "a"),
        "sum: axis was given as 'a'; expected",
    ),
    "sum, axis, float": (lambda x: tg.sum(x, 1.0), "sum: axis was given as 1.0"),
    "sum, axis, twice": (lambda x: tg.sum(x, (0, -2)), "sum: axis .* an axis twice"),
    "sum, axis, 0-d": (lambda x: tg.sum(x[0, 0], 0), "sum: axis 0 .* 0-dimensional"),
    "softmax, 0-d": (lambda x: tg.softmax(x[0, 0]), "softmax: a 0-dim.* no axis"),
    "softmax, axis": (lambda x: tg.softmax(x, 5), "softmax: axis 5 is out of range"),
    "log_softmax, 0-d": (lambda x: tg.log_softmax(x[0, 0]), "log_softmax: a 0-dim"),
    "cumsum, axis": (lambda x: tg.cumsum(x, 2), "cumsum: axis 2 is out of range"),
    "argmax, axis": (lambda x: tg.argmax(x, 2), "argmax: axis 2 is out of range"),
    "argmin, axis": (lambda x: tg.argmin(x, 2), "argmin: axis 2 is out of range"),
    "argmax, empty": (lambda x: tg.argmax(x[:0]), "argmax: .* empty"),
    "argsort, axis": (lambda x: tg.argsort(x, 2), "argsort: axis 2 is out of range"),
    "sort, axis": (lambda x: tg.sort(x, 2), "sort: axis 2 is out of range"),
    "any, axis": (lambda x: tg.any(x, 2), "any: axis 2 is out of bounds"),
    "max, empty": (lambda x: tg.max(x[:0]), "max: shape .0, 3. has no elements along"),
    "min, empty": (lambda x: tg.min(x[:0], 0), "min: shape .0, 3. has no elements"),
    "logsumexp, empty": (lambda x: tg.logsumexp(x[:0]), "logsumexp: shape .0, 3."),
    "norm, ord": (
        lambda x: tg.norm(x, "nuc"),
        "norm: ord was given as 'nuc'; expected",
    ),
    "norm, negative": (lambda x: tg.norm(x, -1), "norm: ord was given as -1; expected"),
    "reshape": (
        lambda x: tg.reshape(x, (4, 2)),
        "reshape: 6 elements of shape .2, 3. can't take shape .4, 2.; mend: .* one -1",
    ),
    "reshape, -1": (lambda x: tg.reshape(x, (-1, 4)), "reshape: 6 elements .*-1, 4.;"),
    "reshape, two": (lambda x: tg.reshape(x, (-1, -1)), "reshape: .* may hold one -1"),
    "reshape, -2": (lambda x: tg.reshape(x, (-2, 3)), "reshape: .* no other negative"),
    "reshape, 0": (lambda x: tg.reshape(x[:0], (-1, 0)), "reshape: 0 elements"),
    "reshape, float": (
        lambda x: tg.reshape(x, (2.0, 3)),
        "reshape: shape was given as",
    ),
    "permute_dims": (
        lambda x: tg.permute_dims(x, (0,)),
        "permute_dims: axes .* 2 axes",
    ),
    "permute, twice": (lambda x: tg.permute_dims(x, (0, 0)), "permute_dims: .* twice"),
    "swapaxes": (lambda x: tg.swapaxes(x, 0, 2), "swapaxes: axis 2 is out of range"),
    "moveaxis": (lambda x: tg.moveaxis(x, (0, 1), 0), "moveaxis: 2 axes .* 1 places"),
    "expand_dims": (lambda x: tg.expand_dims(x, 4), "expand_dims: axis 4 .* -3..2"),
    "squeeze": (lambda x: tg.squeeze(x, 0), "squeeze: axis 0 of shape .2, 3. does not"),
    "broadcast_to": (
        lambda x: tg.broadcast_to(x, (3, 2)),
        "broadcast_to: .*float32.2, 3",
    ),
    "flip": (lambda x: tg.flip(x, 2), "flip: axis 2 is out of range"),
    "roll": (lambda x: tg.roll(x, 1, 2), "roll: axis 2 is out of range"),
    "tile": (lambda x: tg.tile(x, -1), "tile: reps was given as .-1,.; expected 0 or"),
    "tile, float": (lambda x: tg.tile(x, 1.5), "tile: reps was given as 1.5; expected"),
    "tril": (lambda x: tg.tril(x[0]), "tril: shape .3,. has no matrix; it needs two"),
    "triu": (lambda x: tg.triu(x[0]), "triu: shape .3,. has no matrix; it needs two"),
    "concatenate": (lambda x: tg.concatenate([]), "concatenate: no arrays were given"),
    "concatenate, axis": (lambda x: tg.concatenate([x, x], 2), "concatenate: axis 2"),
    "concatenate, shapes": (
        lambda x: tg.concatenate([x, x.T]),
        "concatenate: .* float32.2, 3., float32.3, 2.",
    ),
    "stack": (lambda x: tg.stack([x, x[0]]), "stack: the shapes are .* the same shape"),
    "stack, none": (
        lambda x: tg.stack([]),
        "stack: the shapes are .*; it needs one or",
    ),
    "stack, axis": (lambda x: tg.stack([x, x], 4), "stack: axis 4 is out of range"),
    "split": (
        lambda x: tg.split(x, 2, axis=1),
        "split: length 3 along axis 1 can't be cut in 2 equal parts; mend: give",
    ),
    "split, 0": (lambda x: tg.split(x, 0), "split: length 2 .* in 0 equal parts"),
    "repeat": (lambda x: tg.repeat(x, -1), "repeat: repeats was given as -1; expected"),
    "repeat, lengths": (
        lambda x: tg.repeat(x, [1, 2], 1),
        "repeat: .* 3 elements along",
    ),
    "repeat, float": (lambda x: tg.repeat(x, 1.5), "repeat: repeats was given as 1.5"),
    "pad": (
        lambda x: tg.pad(x, -1),
        "pad: pad_width was given as -1; expected integers",
    ),
    "pad, float": (
        lambda x: tg.pad(x, 1.5),
        "pad: pad_width was given as 1.5; expected",
    ),
    "pad, widths": (lambda x: tg.pad(x, ((1, 1),) * 3), "pad: .* each of the 2 axes"),
    "pad, mode": (lambda x: tg.pad(x, 1, mode="mean"), "pad: mode was .* 'reflect'"),
    "index": (lambda x: x[2], "getitem: index 2 is out of bounds .* float32.2, 3."),
    "index, too many": (lambda x: x[0, 0, 0], "getitem: too many indices"),
    "index, float": (lambda x: x[1.0], "getitem: only integers"),
    "index, floats": (
        lambda x: x[tg.tensor([0.0], device=x.device)],
        "getitem: an index of dtype float32 was given; expected integers, .* mend:",
    ),
    "index, list of floats": (lambda x: x[[0.5]], "getitem: an index of dtype float64"),
    "index, mask": (
        lambda x: x[np.array([True] * 3)],
        "getitem: boolean index did not",
    ),
    "assignment": (
        lambda x: x.__setitem__(0, 1.0),
        r"can't be assigned to.* mend: x = tg.index_update\(x, index, values\), or",
    ),
    "index_update": (
        lambda x: tg.index_update(x, 5, 1.0),
        "index_update: index 5 is out",
    ),
    "index_update, shape": (
        lambda x: tg.index_update(x, 0, tg.ones(4, device=x.device)),
        "index_update: could not broadcast .* float32.4.",
    ),
    "index_update, list": (
        lambda x: tg.index_update(x, 0, [1.0, 2.0, 3.0]),
        "index_update: a list was given beside a tensor; mend: make a tensor",
    ),
    "index_add": (lambda x: tg.index_add(x, 5, 1.0), "index_add: index 5 is out of"),
    "take": (lambda x: tg.take(x, [0, 5], axis=1), "getitem: index 5 is out of bounds"),
    "take_along_axis": (
        lambda x: tg.take_along_axis(x, np.array([0]), axis=1),
        "take_along_axis: the indices have shape .1,., but x has shape .2, 3.; mend:",
    ),
    "diagonal": (
        lambda x: tg.diagonal(x, 0, 1, 1),
        "diagonal: axis1 and axis2 are both",
    ),
    "diagonal, vector": (
        lambda x: tg.diagonal(x[0]),
        "diagonal: axis 1 is out of range",
    ),
    "matmul": (
        lambda x: x @ x,
        "matmul: shapes .2, 3. and .2, 3. do not fit: .* length 3, .* 2; mend: .* .T",
    ),
    "matmul, vectors": (
        lambda x: x[0] @ x[:, 0],
        "matmul: shapes .3,. and .2,. do not",
    ),
    "matmul, number": (lambda x: tg.matmul(x, 2.0), "matmul: .* 0-dim.* mend: use \\*"),
    "matmul, batches": (
        lambda x: tg.matmul(tg.tile(x, (2, 1, 1)), tg.tile(x.T, (3, 1, 1))),
        "matmul: .* float32.2, 2, 3., float32.3, 3, 2.",
    ),
    "einsum, operands": (
        lambda x: tg.einsum("ij,jk", x),
        "einsum: 'ij,jk' has 2 terms",
    ),
    "einsum, letters": (lambda x: tg.einsum("i1", x), "einsum: 'i1' holds more than"),
    "einsum, axes": (lambda x: tg.einsum("ijk", x), "einsum: the term 'ijk' .*2, 3"),
    "einsum, lengths": (lambda x: tg.einsum("ij,jk->ik", x, x), "einsum: .* 'j'"),
    "tensordot": (
        lambda x: tg.tensordot(x, x, 1),
        "tensordot: .* lengths .3. with .2.",
    ),
    "tensordot, axes": (lambda x: tg.tensordot(x, x, 3), "tensordot: .* 3 axes to sum"),
    "vecdot": (
        lambda x: tg.vecdot(x, x[0, :2]),
        "vecdot: lengths 3 and 2 along axis -1",
    ),
    "gelu": (
        lambda x: tg.gelu(x, "fast"),
        "gelu: approximate was given as 'fast'; exp",
    ),
    "clip": (tg.clip, "clip: neither min nor max was given; give one of them"),
    "add, shapes": (lambda x: x + x[:, 0], "add: .* float32.2, 3., float32.2."),
    "add, list": (lambda x: x + [1.0, 2.0, 3.0], "add: a list .* mend: .* tg.tensor"),
    "add, text": (lambda x: x + "a", "add: a str was given beside a tensor; expected"),
    "astype": (lambda x: tg.astype(x, "complex64"), "dtype complex64 is not supported"),
    "to_device": (
        lambda x: tg.to_device(x, "tpu"),
        "device 'tpu' is not known; expect",
    ),
    "static tensor": (
        lambda x: tg.roll(x, x[0]),
        "roll: a tensor was given as shift=, which is static .* mend: ",
    ),
}
KINDS = (ValueError, TypeError, IndexError)
WRAPPED_ON_A_GPU = ("take",)  # CuPy reads index 5 of 3 as 5 % 3, rather than wait


@pytest.mark.parametrize("name", ERRORS)
def test_error(name, device):
    call, text = ERRORS[name]
    if device == "cuda":
        if name in WRAPPED_ON_A_GPU:
            return
        text = text.partition(":")[0]  # what follows may be NumPy's own sentence
    with pytest.raises(KINDS, match=text):
        call(tg.ones((2, 3), device=device))


def test_axis_errors_are_numpys(device):
    """Code that catches NumPy's AxisError, an IndexError and a ValueError, goes on."""
    with pytest.raises(np.exceptions.AxisError):
        tg.sum(tg.ones((2, 3), device=device), axis=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tg.exp([1.0]),
        lambda: tg.add([1.0], [2.0]),
        lambda: tg.sum([1.0]),
        lambda: tg.mean(3.0),
        lambda: tg.max([1.0]),
        lambda: tg.softmax([1.0, 2.0]),
        lambda: tg.logsumexp([1.0, 2.0]),
        lambda: tg.reshape([1.0], (1,)),
        lambda: tg.transpose([[1.0]]),
        lambda: tg.squeeze([[1.0]]),
        lambda: tg.concatenate([[1.0], [2.0]]),
        lambda: tg.stack([[1.0], [2.0]]),
        lambda: tg.matmul([[1.0]], [[1.0]]),
        lambda: tg.einsum("i->", [1.0]),
        lambda: tg.take([1.0], [0]),
        lambda: tg.where([True], 1.0, 2.0),
        lambda: tg.argmax([1.0]),
        lambda: tg.softmax_cross_entropy([1.0, 2.0], 0),
    ],
)
def test_a_list_or_a_number_in_place_of_an_array_names_the_mend(call):
    with pytest.raises(TypeError, match=r"mend: .*tg\.tensor\("):
        call()
