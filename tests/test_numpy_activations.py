"""Activations by blocks on the CPU: bit for bit what the plain formulas give."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.backends import activations, threads
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.numpy import BLOCK, NumpyBackend

PLAIN, FAST = Backend(), NumpyBackend()
FUNCTIONS = {
    "sigmoid": (activations.sigmoid, 1),
    "softplus": (activations.softplus, 1),
    "silu": (activations.silu, 1),
    "silu_grad": (activations.silu_grad, 2),
}


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_blocks_layouts_and_threads(name, dtype):
    function, number = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    arrays = rng.normal(size=(number, 401, 3 * BLOCK // 400 + 1)).astype(dtype) * 4
    for change in (lambda x: x, lambda x: x.T, lambda x: x[:, ::2], lambda x: x[:2]):
        given = [change(each) for each in arrays]
        wanted = PLAIN.elementwise(function, *given)
        for count in (1, 2):
            tg.set_num_threads(count)
            found = FAST.elementwise(function, *given)
            assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_array_equal(found, wanted)


def test_arrays_that_differ_are_not_cut():
    g, x = np.ones((1, BLOCK), "float32"), np.ones((3, BLOCK), "float32")
    for pair in ((g, x), (x, x.astype("float64"))):
        found = FAST.elementwise(activations.silu_grad, *pair)
        wanted = PLAIN.elementwise(activations.silu_grad, *pair)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_integers_and_scalars():
    ints = np.arange(3 * BLOCK)
    np.testing.assert_array_equal(
        FAST.elementwise(activations.sigmoid, ints),
        PLAIN.elementwise(activations.sigmoid, ints),
    )
    assert FAST.elementwise(activations.sigmoid, 0.0) == 0.5


def test_the_fused_gradient_of_silu_is_its_rules(device):
    x = tg.tensor(np.linspace(-9, 9, 3 * BLOCK), device=device, requires_grad=True)
    y = tg.silu(x)
    (first,) = tg.grad(y.sum(), [x], retain_graph=True)
    (recorded,) = tg.grad(y.sum(), [x], create_graph=True)
    np.testing.assert_allclose(
        first.numpy(), recorded.detach().numpy(), rtol=1e-14, atol=1e-15
    )
