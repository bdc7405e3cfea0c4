"""Mixed precision: what `autocast` lowers, what it leaves, and what is refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn


@pytest.fixture
def x(device):
    return tg.tensor([[1.0, 2.0], [3.0, 4.0]], device=device, requires_grad=True)


def test_products_are_lowered_and_nothing_else(x, device):
    with tg.autocast(device, dtype=tg.float16):
        assert (x @ x).dtype == tg.float16
        assert tg.matmul(x, x).dtype == tg.float16
        assert tg.einsum("ij,jk->ik", x, x).dtype == tg.float16
        assert nn.functional.linear(x, x, x[0]).dtype == tg.float16
        assert (x + x).dtype == tg.float32
        assert tg.exp(x).dtype == tg.float32
    assert (x @ x).dtype == tg.float32


def test_a_float32_weight_gets_a_float32_gradient(x, device):
    with tg.autocast(device, dtype=tg.float16):
        loss = (x @ x).sum()
    loss.backward()
    assert x.grad.dtype == tg.float32
    np.testing.assert_array_equal(x.grad.numpy(), [[7.0, 11.0], [9.0, 13.0]])


def test_values_are_those_of_16_bits(device):
    third = tg.tensor([[1.0 / 3.0]], device=device)
    with tg.autocast(device, dtype=tg.float16):
        product = third @ third
    expected = float(np.float16(np.float32(np.float16(1 / 3)) ** 2))
    assert product.item() == expected != (third @ third).item()


def test_float64_and_other_devices_are_left_alone(device):
    x = tg.ones((2, 2), dtype="float64", device=device)
    with tg.autocast(device, dtype=tg.float16):
        assert (x @ x).dtype == tg.float64
    with tg.autocast("elsewhere", dtype=tg.float16):
        assert (x.astype("float32") @ x.astype("float32")).dtype == tg.float32


def test_the_default_dtype_is_the_devices(x, device):
    with tg.autocast(device):
        expected = tg.float16 if device == "cuda" else np.dtype(ml_dtypes.bfloat16)
        assert (x @ x).dtype == expected


def test_blocks_nest_and_an_exception_ends_them(x, device):
    with tg.autocast(device, dtype=tg.float16):
        with tg.autocast(device, enabled=False):
            assert (x @ x).dtype == tg.float32
        assert (x @ x).dtype == tg.float16
        with pytest.raises(ZeroDivisionError), tg.autocast(device, enabled=False):
            _ = 1 / 0
        assert (x @ x).dtype == tg.float16
    assert (x @ x).dtype == tg.float32


def test_it_decorates_a_function(x, device):
    @tg.autocast(device, dtype=tg.float16)
    def double(n):
        return (x @ x).dtype if n == 0 else double(n - 1)

    assert double(2) == tg.float16
    assert (x @ x).dtype == tg.float32


def test_what_has_not_16_bits_is_refused():
    with pytest.raises(TypeError, match="dtype was given as float32; expected float16"):
        tg.autocast("cpu", dtype=tg.float32)
    with pytest.raises(TypeError, match=r'device_type was given as 1; expected "cpu"'):
        tg.autocast(1)


def test_plain_arrays_are_lowered_too():
    with tg.autocast("cpu", dtype=tg.float16):
        assert tg.matmul(np.ones((2, 2), "f"), np.ones((2, 2), "f")).dtype == np.float16


def test_a_checkpoint_is_computed_again_as_it_was(device):
    """Also where backward runs outside the block, as it should."""
    w = tg.tensor([[1.0 / 3.0, 0.7], [0.1, 0.9]], device=device, requires_grad=True)

    def f(x):
        return tg.tanh(x @ w) @ w

    grads = []
    for call in (f, lambda x: tg.checkpoint(f, x)):
        w.grad = None
        with tg.autocast(device, dtype=tg.float16):
            loss = call(tg.ones((3, 2), device=device)).sum()
        loss.backward()
        grads.append(w.grad.numpy())
    np.testing.assert_array_equal(*grads)
