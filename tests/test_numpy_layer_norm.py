"""The CPU's layer norm by blocks and on threads; its values are compared with the plain
definition in test_numpy_norms.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.backends import numpy_norms, threads
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend

PLAIN, FAST = Backend(), NumpyBackend()
ALL = (True, True, True)


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


def problem(n, width, dtype="float32"):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, n, width)).astype(dtype)
    weight, bias = rng.standard_normal((2, width)).astype(dtype)
    return x + x.dtype.type(2.0), g, weight, bias


def everything(x, g, weight, bias) -> Any:
    out, mean, scale = FAST.layer_norm(x, weight, bias, 1e-5)
    return out, mean, scale, *FAST.layer_norm_grad(g, x, weight, mean, scale, ALL)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [7, 100, 384, 1000, 9000])
def test_real_sizes_on_threads(width, dtype):
    """Several stripes and a last block that is not full: the same digits on 1, 2 and 3
    threads, and those of the plain kernels in a wider dtype."""
    x, g, weight, bias = problem(1_200_017 // width, width, dtype)
    results = []
    for number in (1, 2, 3):
        tg.set_num_threads(number)
        results.append(everything(x, g, weight, bias))
    for other in results[1:]:
        for found, wanted in zip(other, results[0], strict=True):
            assert found.tobytes() == wanted.tobytes()
    wider = "float64" if dtype == "float32" else "longdouble"
    wide = [each.astype(wider) for each in (x, g, weight, bias)]
    plain = PLAIN.layer_norm(wide[0], wide[2], wide[3], 1e-5)
    grads: Any = PLAIN.layer_norm_grad(wide[1], wide[0], wide[2], *plain[1:], ALL)
    epsilon = np.finfo(dtype).eps
    for found, wanted in zip(results[0], (*plain, *grads), strict=True):
        assert found.dtype == dtype
        largest = np.abs(wanted).max()
        assert np.abs(found - wanted).max() <= 16 * epsilon * largest


@pytest.mark.parametrize("rows", [1 << 22, (1 << 20) + 17])
def test_weight_and_bias_of_a_long_batch_keep_their_digits(rows):
    x = np.tile(np.array([1.0, 3.0], "float32"), (rows, 1))
    g = np.full((rows, 2), 0.1, "float32")
    g[:, 1] = np.linspace(-1, 1, rows, dtype="float32")
    _, mean, scale = FAST.layer_norm(x, None, None, 1e-5)
    found: Any = FAST.layer_norm_grad(g, x, None, mean, scale, ALL)
    _, dweight, dbias = found
    sums = g.sum(axis=0, dtype="float64")
    sizes = np.abs(g).sum(axis=0, dtype="float64")
    normal = 1.0 / np.sqrt(1.0 + 1e-5)
    assert (np.abs(dbias - sums) <= 1e-6 * sizes).all()
    assert (np.abs(dweight - sums * [-normal, normal]) <= 1e-6 * sizes).all()


def test_a_row_that_is_not_finite_stays_by_itself():
    x, g, weight, bias = problem(200, 50)
    wanted = everything(x, g, weight, bias)
    x[3, 7], g[70, 0] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        found = everything(x, g, weight, bias)
    kept = np.delete(np.arange(200), [3, 70])
    for a, b in zip(found[:4], wanted[:4], strict=True):
        assert a[kept].tobytes() == b[kept].tobytes()
    assert np.isnan(found[0][3]).all()
    assert not np.isfinite(found[3][[3, 70]]).any()


def test_buffers_of_numpy_are_put_back():
    before = np.getbufsize()
    everything(*problem(100, 1024))
    assert np.getbufsize() == before


def test_products_are_too_small_for_threads_of_blas():
    """OpenBLAS starts them for dot products of more than 10,000 elements, and for
    products with 2^18 multiplications, or 9,216 with a vector (its interface/)."""
    assert numpy_norms.DOT <= 10_000
    assert numpy_norms.PRODUCT <= 1 << 18
    assert numpy_norms.VECTOR < 9216
