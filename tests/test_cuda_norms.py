"""The CUDA kernels of layer and RMS norm, run on the CPU by cuda_shim: no GPU's."""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
from cuda_checks import REFERENCE, draw_array, on_device, wide
from cuda_norm_checks import EPS, affine, check_backward, check_forward, given_to
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends.cuda import geometry, kernels


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


has = st.sampled_from([(True, True), (True, True), (True, False), (False, False)])
needs = st.sampled_from(
    [(True, True, True)] * 4
    + [(True, False, False), (False, True, True), (True, True, False)]
    + [(True, False, True), (False, False, False), (False, True, False)]
)


@settings(max_examples=100)
@given(
    st.integers(1, 70),
    checks.columns,
    checks.dtypes,
    checks.schedules,
    st.sampled_from([0, 0, 0, 1]),
    has,
    st.booleans(),
    needs,
    checks.seeds,
)
def test_norms(backend, n, columns, dtype, schedule, shift, which, mixed, needs, seed):
    n = min(n, 5 if columns > 1000 else 70)
    rng = np.random.default_rng(seed)
    x = draw_array(rng, (n, columns), dtype) + draw_array(rng, (n, 1), dtype)
    g = draw_array(rng, (n, columns), dtype, scale=1.0)
    of_weights = str(checks.working(dtype)) if mixed else dtype
    weight, bias = affine(rng, columns, of_weights, which)
    with cuda_shim.schedule(schedule, seed % 1000):
        check_forward(backend, x, weight, bias, dtype, shift)
        needs = needs[0], needs[1] and weight is not None, needs[2]
        check_backward(backend, g, x, weight, dtype, shift, needs)


SPECIAL = (0.0, 1.0, -2.0, np.inf, -np.inf, np.nan)


@settings(max_examples=40)
@given(
    st.sampled_from([1, 3, 8, 70, 513, 16400, 60008]),
    checks.dtypes,
    checks.schedules,
    st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=4),
    checks.seeds,
)
def test_nan_and_inf(backend, columns, dtype, schedule, values, seed):
    """In one row, which they spoil; the others keep their numbers."""
    rng = np.random.default_rng(seed)
    x = draw_array(rng, (3, columns), dtype)
    x[1, rng.integers(0, columns, len(values))] = values
    weight, bias = affine(rng, columns, dtype, (True, True))
    with cuda_shim.schedule(schedule):
        check_forward(backend, x, weight, bias, dtype)


@pytest.mark.parametrize("columns", [5, 300, 5000, 17000])
def test_sums_over_rows_that_are_not_finite(backend, columns):
    """Are not finite, and leave the other columns alone; which of nan and inf is left
    open where the definition has an infinity."""
    g = draw_array(np.random.default_rng(0), (40, columns), "float32")
    g[7, 2], g[9, 3], bad = np.inf, np.nan, np.isin(np.arange(columns), (2, 3))
    ones = np.ones((40, 1), np.float32)
    given_ = given_to(backend, g, np.ones_like(g), None, 0 * ones, ones)
    for found in backend.layer_norm_grad(*given_, (False, True, True))[1:]:
        assert (np.isfinite(found.get()) == ~bad).all()
        np.testing.assert_allclose(found.get()[~bad], wide(g).sum(0)[~bad], atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [6, 1000, 8000, 17000, 70000])
def test_a_large_mean_costs_no_more_digits_than_it_must(backend, dtype, columns):
    """What E[x^2] - E[x]^2 would make nonsense of."""
    x = draw_array(np.random.default_rng(1), (2, columns), dtype, scale=1.0) + 4096.0
    x = x.astype(dtype)
    if columns > 100:
        x[:, : columns // 2] -= 8.0  # not from the same numbers all along
    _, mean, scale = backend.layer_norm(on_device(backend, x), None, None, 0.0)
    _, right, of = REFERENCE.layer_norm(wide(x), None, None, 0.0)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(mean.get(), right, rtol=2 * eps)
    np.testing.assert_allclose(scale.get(), of, rtol=16 * eps)


@pytest.mark.parametrize("columns", [24, 2000])
@pytest.mark.parametrize("value", [0.1, 1.0 + 2.0**-23, 1e-3])
def test_sums_over_many_rows_keep_their_digits(backend, monkeypatch, columns, value):
    """Equal terms, whose roundings all go one way: as long a sum of a thread as that of
    2^20 rows in 528 blocks, or of 2^15 of the longer rows."""
    monkeypatch.setattr(geometry, "PLENTY", 2)
    monkeypatch.setattr(geometry, "FILLED", 1)
    monkeypatch.setattr(geometry, "PARTS", 1)
    n = 4000 if columns < 100 else 126
    g, one = np.full((n, columns), value, np.float32), np.ones((n, 1), np.float32)
    given_ = given_to(backend, g, np.ones_like(g), None, 0 * one, one)
    right = n * float(np.float32(value))
    for held in ((32,), (0,)):
        monkeypatch.setattr("tinygrad_softmax.backends.cupy_norms.HELD_SUMMED", held)
        for found in backend.layer_norm_grad(*given_, (False, True, True))[1:]:
            np.testing.assert_allclose(found.get(), right, rtol=3e-7)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("columns", [17000, 17008, 40000, 130000])
def test_shared_memory_changes_no_digit(backend, monkeypatch, dtype, columns):
    """A row that is read twice gives what one in shared memory does."""
    rng = np.random.default_rng(2)
    g, x = (draw_array(rng, (2, columns), dtype) for _ in range(2))
    weight, bias = affine(rng, columns, dtype, (True, True))
    rows, w, b = given_to(backend, x, weight, bias)

    def results() -> list[bytes]:
        out, mean, scale = backend.layer_norm(rows, w, b, EPS)
        needs = True, False, False
        dx = backend.layer_norm_grad(
            on_device(backend, g), rows, w, mean, scale, needs
        )[0]
        return [each.get().tobytes() for each in (out, mean, scale, dx)]

    check_forward(backend, x, weight, bias, dtype)
    check_backward(backend, g, x, weight, dtype)
    staged = results()
    monkeypatch.setattr(backend, "_norm_shared", lambda of, count: 0)
    assert results() == staged


@pytest.mark.parametrize("columns", [12288, 24576])
def test_48_kb_of_shared_memory(backend, columns):
    """Two rows, and one, which is what a launch need not ask for if the kernel declares
    none; these do."""
    x = draw_array(np.random.default_rng(8), (1, columns), "float16")
    check_forward(backend, x, None, None, "float16")
    check_backward(backend, x, x, None, "float16", needs=(True, False, False))


@pytest.mark.parametrize("columns", [7, 300, 2000, 17000])
def test_every_schedule_gives_the_same_bits(backend, columns):
    rng = np.random.default_rng(3)
    x, g = (draw_array(rng, (37, columns), "float32") for _ in range(2))
    weight, bias = affine(rng, columns, "float32", (True, True))
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            rows, of_g, w, b = given_to(backend, x, g, weight, bias)
            out, mean, scale = backend.layer_norm(rows, w, b, EPS)
            found = backend.layer_norm_grad(of_g, rows, w, mean, scale, (True,) * 3)
            arrays = out, mean, scale, *found
            results.add(b"".join(each.get().tobytes() for each in arrays))
    assert len(results) == 1


@pytest.mark.parametrize("columns", [5, 600, 17000])
def test_few_blocks_for_many_rows(backend, monkeypatch, columns):
    for name in ("MOST_BLOCKS", "PLENTY", "FILLED", "PARTS"):
        monkeypatch.setattr(geometry, name, 2)
    rng = np.random.default_rng(4)
    n = 301 if columns < 100 else 23
    x, g = (draw_array(rng, (n, columns), "float32") for _ in range(2))
    weight, bias = affine(rng, columns, "float32", (True, True))
    check_forward(backend, x, weight, bias, "float32")
    check_backward(backend, g, x, weight, "float32")


def test_views_and_weights_at_any_address(backend):
    """Weights whose address forbids 16 bytes are copied; rows keep wide accesses."""
    rng = np.random.default_rng(5)
    x, g = (draw_array(rng, (6, 32), "float32") for _ in range(2))
    weight, bias = affine(rng, 8, "float32", (True, True))
    part = np.ascontiguousarray(x[::2, 4:12]), np.ascontiguousarray(g[::2, 4:12])
    right = backend.layer_norm(*given_to(backend, part[0], weight, bias), EPS)
    needs = True, True, True
    grads = backend.layer_norm_grad(
        *given_to(backend, part[1], part[0], weight), *right[1:], needs
    )
    x_, g_ = (on_device(backend, each)[::2, 4:12] for each in (x, g))
    w, b = on_device(backend, weight, shift=1), on_device(backend, bias, shift=3)
    got = backend.layer_norm(x_, w, b, EPS)
    got += backend.layer_norm_grad(g_, x_, w, *got[1:], needs)
    for each, of in zip(got, (*right, *grads), strict=True):
        assert each.get().tolist() == of.get().tolist()


def test_a_weight_and_a_bias_of_two_dtypes(backend):
    rng = np.random.default_rng(6)
    x = draw_array(rng, (3, 24), "bfloat16")
    weight = draw_array(rng, 24, "float32", scale=1.0)
    check_forward(backend, x, weight, draw_array(rng, 24, "bfloat16"), "bfloat16")


def test_the_gradient_of_a_bias_has_the_digits_of_its_dtype(backend):
    """Also beside a weight of 16 bits, of which it would be infinite."""
    ones = np.ones((300, 8), np.float16)
    x, w = (tg.tensor(on_device(backend, each)) for each in (ones, ones[0]))
    bias = tg.zeros(8, device="cuda", requires_grad=True)
    (tg.nn.functional.layer_norm(x, 8, w, bias) * 333.0).sum().backward()
    assert bias.grad is not None
    assert bias.grad.array.get().tolist() == [99900.0] * 8


def test_what_has_no_kernel_takes_the_definition(backend, monkeypatch):
    monkeypatch.setattr(backend.kernels, "get", None)  # it would be called
    weight = np.linspace(1.0, 2.0, 4)
    x = np.arange(8.0, dtype=np.float32).reshape(2, 4) ** 2
    for rows, w in ((x, weight), (x[:0], weight.astype("float32"))):
        given_ = given_to(backend, rows, w)
        got = backend.layer_norm(*given_, None, EPS)
        right = REFERENCE.layer_norm(rows, w, None, EPS)
        for each, of in zip(got, right, strict=True):
            np.testing.assert_allclose(each.get(), of, rtol=1e-5)
            assert each.dtype == of.dtype
        found = backend.layer_norm_grad(
            given_[0], given_[0], given_[1], *got[1:], (True, True, True)
        )
        assert [each.shape for each in found] == [rows.shape, (4,), (4,)]
        out, scale = backend.rms_norm(*given_, EPS)
        found = backend.rms_norm_grad(out, *given_, scale, (True, True))
        assert [each.shape for each in found] == [rows.shape, (4,)]


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_each_device(backend, device):
    x = draw_array(np.random.default_rng(7), (2, 9), "float32")
    with backend.on(device):
        out, mean, scale = backend.layer_norm(backend.xp.asarray(x), None, None, EPS)
        found = backend.layer_norm_grad(
            out, out, None, mean, scale, (True, False, True)
        )
        for each in (out, mean, scale, found[0], found[2]):
            assert backend.device_of(each) == device


def test_moments_of_two_batches_are_the_same_in_either_order(backend):
    """Else the lanes of a row would not have one variance."""
    text = f"""{kernels.code("norms.cu")}
    extern "C" __global__ void both(W* out, long long count) {{
        const Moments a = {{W(count), W(0.1), W(0), W(0.7)}};
        const Moments b = {{W(threadIdx.x + 1), W(0.3), W(0), W(0.2)}};
        const Joined<true> join;
        out[2 * threadIdx.x] = join(a, b).squares;
        out[2 * threadIdx.x + 1] = join(b, a).squares;
    }}"""
    xp = backend.xp
    raw = xp.RawModule(code=text, options=kernels.options("float32", {}))
    for count in (1, 3, 7, 100):
        out = xp.zeros((64, 2), "float32")
        raw.get_function("both")((1,), (64,), (out, count))
        assert (out.get()[:, 0] == out.get()[:, 1]).all()


def test_past_two_to_the_31():
    """The shapes of launches; and the partial sums stay few."""
    launch = geometry.summed_rows(2**40, 64, 4, (32,))
    assert launch == ((528,), (8, 32), 32)
    assert geometry.summed_rows(1, 1, 4, (32,)) == ((1,), (8, 32), 32)
    assert geometry.summed_rows(5, 4096, 4, (32,)) == ((5,), (512, 1), 32)
    assert geometry.summed_rows(5, 4097, 4, (32,)).held == 0
    for n, columns in ((2**34, 9000), (1, 2**40), (3, 5), (2**20, 10_000)):
        grid, (threads,), rows = geometry.columns_summed(n, columns, 4)
        assert rows * grid[1] >= n > rows * (grid[1] - 1)
        assert grid[0] * threads * 4 >= columns
        assert grid[1] <= geometry.PARTS
