"""Convolution and pooling on the CPU: the parts, the threads, and what they cost.

The oracle is the plain code of backends/convolutions.py and windows.py, which other
tests hold against SciPy and explicit loops.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Backend, backend_of, scratch
from tinygrad_softmax.backends import numpy_convolutions as parts
from tinygrad_softmax.backends import numpy_pooling as pooling
from tinygrad_softmax.backends.windows import Window

PLAIN = Backend()
CPU = backend_of(np.ones(1))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@st.composite
def problems(draw) -> SimpleNamespace:
    """x, weight, bias and y that fit, in any geometry: windows may reach outside."""
    axes = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    window = Window(each(1, 3), each(1, 3), each(0, 3), each(1, 2))
    positions, lengths = each(1, 4), each(1, 5)
    groups = draw(st.integers(1, 3))
    n, inputs, outputs = (draw(st.integers(1, 4)) for _ in range(3))
    return SimpleNamespace(
        window=window,
        positions=positions,
        lengths=lengths,
        groups=groups,
        x=random(n, inputs * groups, *lengths),
        weight=random(outputs * groups, inputs, *window.kernel, seed=1),
        bias=random(outputs * groups, seed=2),
        y=random(n, outputs * groups, *positions, seed=3),
    )


def products(backend: Any, p: SimpleNamespace) -> tuple[np.ndarray, ...]:
    return (
        backend.convolution(p.x, p.weight, p.bias, p.window, p.positions, p.groups),
        backend.transposed_convolution(p.y, p.weight, p.window, p.lengths, p.groups),
        backend.kernel_correlation(p.x, p.y, p.window, p.groups),
    )


SIZES = st.fixed_dictionaries(
    {
        "LIMIT": st.sampled_from([8, 60, 1 << 19]),
        "SMALL": st.sampled_from([1, 1 << 14]),
        "SHORT": st.sampled_from([1, 4, 128]),
        "RUN": st.sampled_from([1, 7, 1000]),
    }
)


@given(
    problem=problems(),
    sizes=SIZES,
    column_bytes=st.sampled_from([1, 300, 2000, 1 << 19]),
)
def test_parts_add_up_to_the_whole(problem, sizes, column_bytes):
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(parts, name, size)
        patch.setattr(parts.NumpyConvolutions, "column_bytes", column_bytes)
        found = products(CPU, problem)
    for got, want in zip(found, products(PLAIN, problem), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


@given(
    problem=problems(), bytes_=st.sampled_from([1, 100, 1 << 19]), digits=st.booleans()
)
def test_pooling_in_blocks_is_the_whole(problem, bytes_, digits):
    window, positions = problem.window, problem.positions
    x = np.round(problem.x) if digits else problem.x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "SAMPLE_BYTES", bytes_)
        best, numbers = CPU.window_max(x, window, positions)
        total = CPU.window_sum(x, window, positions)
        one = CPU.window_sum(x, window, positions, numbers)
        spread = CPU.window_spread(problem.y, window, problem.lengths)
        back = CPU.window_spread(best, window, problem.lengths, numbers)
    want = PLAIN.window_max(x, window, positions)
    np.testing.assert_array_equal(best, want[0])
    np.testing.assert_array_equal(numbers, want[1])
    np.testing.assert_allclose(
        total, PLAIN.window_sum(x, window, positions), atol=1e-13
    )
    np.testing.assert_array_equal(one, PLAIN.window_sum(x, window, positions, numbers))
    wanted = PLAIN.window_spread(problem.y, window, problem.lengths)
    np.testing.assert_allclose(spread, wanted, atol=1e-13)
    with np.errstate(invalid="ignore"):
        wanted = PLAIN.window_spread(best, window, problem.lengths, numbers)
    np.testing.assert_array_equal(back, wanted)


def large() -> SimpleNamespace:
    return SimpleNamespace(
        window=Window((3, 3), (1, 1), (1, 1), (1, 1)),
        positions=(14, 14),
        lengths=(14, 14),
        groups=1,
        x=random(33, 16, 14, 14).astype("float32"),
        weight=random(32, 16, 3, 3, seed=1).astype("float32"),
        bias=random(32, seed=2).astype("float32"),
        y=random(33, 32, 14, 14, seed=3).astype("float32"),
    )


@pytest.fixture
def threads():
    """`tg.set_num_threads`, put back afterwards."""
    before = tg.get_num_threads()
    yield tg.set_num_threads
    tg.set_num_threads(before)


def test_no_digit_depends_on_the_threads_or_on_the_call(threads):
    problem = large()
    pool = Window((2, 2), (2, 2), (0, 0), (1, 1))

    def everything():
        best, numbers = CPU.window_max(problem.y, pool, (7, 7))
        back = CPU.window_spread(best, pool, (14, 14), numbers)
        return *products(CPU, problem), best, numbers, back

    found = []
    for number in (1, 2, 3, 2, 1):
        threads(number)
        found.append(everything())
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)


def test_float32_is_as_near_as_its_digits(threads):
    """Beside the same in float64; a weight's gradient sums 6,468 products."""
    problem = large()
    exact = SimpleNamespace(
        **{
            name: value.astype("float64") if isinstance(value, np.ndarray) else value
            for name, value in vars(problem).items()
        }
    )
    for got, want in zip(products(CPU, problem), products(PLAIN, exact), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, atol=2e-6 * np.abs(want).max())


def test_a_long_batch_keeps_its_digits():
    """2^22 equal products in one element of a weight's gradient; a running sum in
    float32 of that many is 1e-3 wrong or worse."""
    x = np.full((4096, 1, 1024), 0.1, np.float32)
    window = Window((1,), (1,), (0,), (1,))
    (total,) = CPU.kernel_correlation(x, np.ones_like(x), window, 1).reshape(-1)
    assert total == pytest.approx(np.float64(np.float32(0.1)) * x.size, rel=1e-6)


def test_what_is_outside_of_a_window_does_not_reach_it():
    """An infinity is in those windows that see it, and nowhere becomes nan."""
    x = random(2, 3, 6, 6)
    x[1, 2, 0, 0] = math.inf
    weight = np.abs(random(2, 3, 3, 3, seed=1))
    window = Window((3, 3), (1, 1), (0, 0), (1, 1))
    out = CPU.convolution(x, weight, None, window, (4, 4), 1)
    assert not np.isnan(out).any()
    assert np.argwhere(np.isinf(out)).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0]]
    y = np.abs(random(2, 2, 4, 4, seed=2))
    slope = CPU.kernel_correlation(x, y, window, 1)
    assert not np.isnan(slope).any()
    assert np.argwhere(np.isinf(slope)).tolist() == [[0, 2, 0, 0], [1, 2, 0, 0]]


@pytest.mark.parametrize("size", [4, 40])
def test_a_nan_wins_its_window(size):
    x = random(2, 3, size, size)
    x[1, 1, 1, 0] = x[1, 2, 0, 1] = x[1, 2, 1, 1] = math.nan
    window = Window((2, 2), (2, 2), (0, 0), (1, 1))
    positions = (size // 2, size // 2)
    found = CPU.window_max(x, window, positions)
    wanted = PLAIN.window_max(x, window, positions)
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert found[1][1, 1, 0, 0] == 2
    assert found[1][1, 2, 0, 0] == 3
    assert np.isnan(found[0]).sum() == 2


def test_columns_are_never_many(monkeypatch):
    """Of one large sample they are made band by band; the whole would be 2.4 MB."""
    sizes = []
    array = scratch.Scratch.array

    def counted(self, number, shape, dtype):
        sizes.append(math.prod(shape) * dtype.itemsize)
        return array(self, number, shape, dtype)

    monkeypatch.setattr(scratch.Scratch, "array", counted)
    x, weight = random(1, 4, 128, 64), random(4, 4, 3, 3, seed=1)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1))
    CPU.convolution(x, weight, None, window, (128, 64), 1)
    CPU.transposed_convolution(x, weight, window, (128, 64), 1)
    CPU.kernel_correlation(x, x, window, 1)
    assert max(sizes) <= parts.COLUMN_BYTES


def test_a_product_by_small_ones_writes_where_it_should():
    """Also a product of no columns, and one that is cut unevenly."""
    a = random(5, 7)
    for columns in (0, 1, 3, 4, 7, 11):
        b = random(2, 7, columns, seed=1)
        out = np.full((2, 5, columns), math.nan)
        parts.multiply(a, b, out, 5 * 7 * 3)
        np.testing.assert_allclose(out, a @ b, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
@pytest.mark.parametrize("shape", [(), (3,), (5000,), (2, 4096), (70, 3, 100)])
def test_relu_beside_zeros(shape, dtype):
    x = np.asarray(random(*shape) * 10).astype(dtype)
    if x.size > 3 and x.dtype.kind == "f":
        x.reshape(-1)[:3] = (math.nan, -0.0, math.inf)
    for given_ in (x, x.T, x[..., ::2] if shape else x):
        out = CPU.relu(given_)
        assert out.dtype == x.dtype
        np.testing.assert_array_equal(out, np.where(given_ < 0, 0, given_))


@pytest.mark.parametrize("shape", [(64, 1568, 10), (64, 10, 1568), (300, 90, 70)])
def test_products_that_one_thread_makes(shape):
    rows, depth, columns = shape
    a, b = random(rows, depth), random(depth, columns, seed=1)
    assert parts.LIMIT < a.size * columns < 1 << 21
    want = np.einsum("ij,jk->ik", a, b)
    for left in (a, np.asfortranarray(a)):
        for right in (b, np.asfortranarray(b), np.repeat(b, 2, axis=0)[::2]):
            np.testing.assert_allclose(CPU.matmul(left, right), want, rtol=1e-9)
    with pytest.raises(ValueError, match="mismatch"):
        CPU.matmul(a, b[1:])
