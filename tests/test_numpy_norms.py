"""The CPU's own loops against the plain definitions in backends/base.py and norms.py.

Sums of a batch: at most 1e-6 of the sum of absolute values, whatever its length.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import WHERE_SIZE, NumpyBackend
from tinygrad_softmax.backends.numpy_sums import INDEX_SIZE, RUN

PLAIN, FAST = Backend(), NumpyBackend()


def arranged(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values, otherwise laid out in memory."""
    if layout == "reversed":
        return x[::-1].copy()[::-1]
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "sliced":
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1] + 1), x.dtype)
        wide[..., : x.shape[-1]] = x
        return wide[..., : x.shape[-1]]
    return x


LAYOUTS = st.sampled_from(["contiguous", "reversed", "transposed", "sliced"])
FLOATS = st.sampled_from(["float32", "float64"])


# -- sums ------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1 << 24, (1 << 20) + 17, 513, 512, 300, 33])
def test_the_sum_of_a_long_batch_keeps_its_digits(rows):
    """NumPy's own is 15 % wrong for 2^24 rows of 0.1."""
    x = np.full((rows, 2), 0.1, "float32")
    x[:, 1] = np.linspace(-1, 1, rows, dtype="float32")
    wanted = [x[:, i].astype("float64").sum() for i in (0, 1)]
    size = np.abs(x).sum(axis=0, dtype="float64")
    turned = x.copy().T
    for found in (
        FAST.sum(x, (0,)),
        FAST.sum(turned, (1,)),
        tg.sum(x, 0),
        tg.mean(x, 0) * rows,
    ):
        assert (np.abs(found - wanted) / size).max() < 1e-6


def test_the_gradient_of_a_bias_keeps_its_digits(device):
    rows = 1 << 18
    bias = tg.zeros(3, device=device, requires_grad=True)
    x = tg.zeros((rows, 3), device=device)
    g = tg.full((rows, 3), 0.1, dtype=tg.float32, device=device)
    (x + bias).backward(g)
    wanted = rows * float(np.float32(0.1))
    np.testing.assert_allclose(bias.grad.numpy(), wanted, rtol=1e-6)


@given(st.data(), FLOATS, LAYOUTS)
def test_sums_over_any_axes(data, dtype, layout):
    lengths = st.sampled_from([1, 2, 3, RUN, RUN + 1, 3 * RUN + 5])
    shape = tuple(data.draw(st.lists(lengths, min_size=1, max_size=3)))
    axes = st.sets(st.integers(0, len(shape) - 1), min_size=1)
    axes = tuple(sorted(data.draw(axes)))
    seed = data.draw(st.integers(0, 99))
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    x = arranged(x, layout)
    for keepdims in (False, True):
        found = FAST.sum(x, axes, keepdims)
        wanted = x.astype("float64").sum(axis=axes, keepdims=keepdims)
        assert found.dtype == dtype
        assert found.shape == wanted.shape
        size = np.abs(x).sum(axis=axes, dtype="float64", keepdims=keepdims)
        epsilon = np.finfo(dtype).eps
        assert (np.abs(found - wanted) <= 8 * epsilon * size + 1e-300).all()


def test_sums_of_special_values_and_kinds():
    x = np.ones((100, 4), "float32")
    x[3] = [np.inf, -np.inf, np.nan, 1.0]
    np.testing.assert_array_equal(FAST.sum(x, (0,)), [np.inf, -np.inf, np.nan, 100])
    assert FAST.sum(np.ones((100, 2), "float16"), (0,)).dtype == "float32"
    assert FAST.sum(np.ones((100, 2), bool), (0,)).tolist() == [100, 100]
    assert FAST.sum(np.ones((0, 2), "float32"), (0,)).tolist() == [0, 0]


# -- a choice between floats and 0 -----------------------------------------------------


@given(st.data(), st.sampled_from(["float16", "float32", "float64"]), LAYOUTS)
def test_where_with_zero_is_bit_for_bit_that_of_numpy(data, dtype, layout):
    rows = data.draw(st.sampled_from([3, WHERE_SIZE // 8]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.5, -2.5], dtype)
    a = arranged(rng.choice(special, (rows, 9)), layout)
    condition = rng.random(data.draw(st.sampled_from([(rows, 9), (rows, 1)]))) < 0.5
    for zero in (0.0, -0.0):
        for arguments in ((condition, a, zero), (condition, zero, a)):
            found, wanted = FAST.where(*arguments), np.where(*arguments)
            assert found.dtype == wanted.dtype
            assert found.tobytes() == wanted.tobytes()


def test_where_of_other_kinds():
    x = np.arange(float(WHERE_SIZE))
    for arguments in (
        (True, x, 0.0),
        (x > 5, 0.0, 1.0),
        (x > 5, x, 7.0),
        (x.astype(int), x, 0.0),
        (x > 5, x.astype(int), 0.0),
        (x > 5, x, x[::-1]),
        (np.ones((2, x.size), bool), x, 0.0),
    ):
        np.testing.assert_array_equal(FAST.where(*arguments), np.where(*arguments))


# -- scattered sums --------------------------------------------------------------------


@given(st.data(), FLOATS, LAYOUTS)
def test_scattered_rows_are_bit_for_bit_those_of_numpy(data, dtype, layout):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows, inner = (
        data.draw(st.integers(1, 6)),
        data.draw(st.sampled_from([(3,), (2, 2)])),
    )
    count = data.draw(st.sampled_from([(0,), (1,), (50,), (4, 5)]))
    kind = data.draw(st.sampled_from(["int64", "int32", "uint8"]))
    low = 0 if kind == "uint8" else -rows
    index = rng.integers(low, rows, count).astype(kind)
    values = arranged(rng.standard_normal((*count, *inner)).astype(dtype), layout)
    found = rng.standard_normal((rows, *inner)).astype(dtype)
    wanted = found.copy()
    np.add.at(wanted, index, values)
    FAST.scatter_add(found, (index,) if data.draw(st.booleans()) else index, values)
    assert found.tobytes() == wanted.tobytes()


def test_scattered_rows_over_several_stretches_and_wrong_indices():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 7, INDEX_SIZE // 16)
    values = rng.standard_normal((index.size, 33)).astype("float32")
    found, wanted = np.zeros((2, 7, 33), "float32")
    np.add.at(wanted, index, values)
    FAST.scatter_add(found, index, values)
    assert found.tobytes() == wanted.tobytes()
    with pytest.raises(IndexError, match="out of bounds"):
        FAST.scatter_add(found, np.array([7]), values[:1])
    assert found.tobytes() == wanted.tobytes()


# -- layer norm ------------------------------------------------------------------------


@given(st.data(), FLOATS, LAYOUTS)
def test_layer_norm_in_blocks_is_the_plain_one(data, dtype, layout):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n, width = data.draw(st.sampled_from([(1, 1), (3, 5), (70, 33), (9, 30_000)]))
    x = arranged(rng.standard_normal((n, width)).astype(dtype) + 3, layout)
    g = arranged(rng.standard_normal((n, width)).astype(dtype), layout)
    weight, bias = rng.standard_normal((2, width)).astype(dtype)
    weight = weight if data.draw(st.booleans()) else None
    bias = bias if data.draw(st.booleans()) else None
    needs = data.draw(st.tuples(*[st.booleans()] * 3))
    wide = [
        None if v is None else v.astype("float64", order="C")
        for v in (x, weight, bias, g)
    ]
    found = FAST.layer_norm(x, weight, bias, 0.1)
    a, w, b, h = wide
    wanted = PLAIN.layer_norm(a, w, b, 0.1)
    _, mean, scale = found
    grads = FAST.layer_norm_grad(g, x, weight, mean, scale, needs)
    _, mean, scale = wanted
    wanted_grads = PLAIN.layer_norm_grad(h, a, w, mean, scale, needs)
    epsilon = np.finfo(dtype).eps
    for a, b in zip((*found, *grads), (*wanted, *wanted_grads), strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.dtype == dtype
            largest = max(1.0, float(np.abs(b).max()))
            assert np.abs(a - b).max() <= 40 * epsilon * largest


def test_layer_norm_rounds_no_worse_than_the_plain_one():
    """The gradients' sums over the batch are made in float64, run by run."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 3000, 128)).astype("float32")
    weight = rng.standard_normal(128).astype("float32")
    errors = {}
    exact = PLAIN.layer_norm(x.astype("f8"), None, None, 1e-5)[1:]
    options = (True, True, True)
    wanted = PLAIN.layer_norm_grad(
        g.astype("f8"), x.astype("f8"), weight.astype("f8"), *exact, options
    )
    for kernels in (PLAIN, FAST):
        kept = kernels.layer_norm(x, weight, None, 1e-5)[1:]
        found = kernels.layer_norm_grad(g, x, weight, *kept, options)
        errors[kernels] = [
            float(np.sqrt(np.mean((a - b) ** 2)))
            for a, b in zip(found, wanted, strict=True)
            if a is not None and b is not None
        ]
    for fast, plain in zip(errors[FAST], errors[PLAIN], strict=True):
        assert fast <= 1.1 * plain


def test_16_bit_numbers_that_are_scattered_add_up_in_float32(device):
    """In float16 the sum of 100,000 numbers of 0.01 stopped at 32."""
    rows = 100_000
    table = tg.zeros((2, 3), dtype=tg.float16, device=device, requires_grad=True)
    index = tg.zeros(rows, dtype=tg.int64, device=device)
    g = tg.full((rows, 3), 0.01, dtype=tg.float16, device=device)
    tg.nn.functional.embedding(index, table).backward(g)
    total = rows * float(np.float16(0.01))
    np.testing.assert_allclose(table.grad.numpy()[0], total, rtol=1e-3)
    np.testing.assert_array_equal(table.grad.numpy()[1], 0.0)
    added = tg.index_add(tg.zeros(2, dtype=tg.float16, device=device), index, g[:, 0])
    np.testing.assert_allclose(added.numpy(), [total, 0.0], rtol=1e-3)
