"""A linear map and an activation as one op: `linear_activation` of nn/functional.

Its numbers and derivatives are in the op table; its kernels in test_cuda_activations.
"""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.nn import functional
from tinygrad_softmax.nn.functional.linears import linear_activation

ACTIVATIONS = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, "tanh"),
}
every_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def parts(device, shape=(5, 3), requires_grad=True, dtype="float64"):
    """Input, weight and bias of a map to 4 features."""
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=each) for each in (shape, (4, shape[-1]), (4,)))
    return [
        tg.tensor(x.astype(dtype), device=device, requires_grad=requires_grad)
        for x in arrays
    ]


def gradients(function, given, seed):
    function(*given).backward(seed)
    found = [x.grad.numpy() for x in given]
    for x in given:
        x.grad = None
    return found


@every_activation
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 3), (3,), (0, 3)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_it_is_the_two_ops(name, shape, dtype, device):
    given = parts(device, shape, dtype=dtype)
    seed = tg.tensor(
        np.random.default_rng(1).normal(size=(*shape[:-1], 4)).astype(dtype),
        None,
        device,
    )

    def two(*given):
        return ACTIVATIONS[name](functional.linear(*given))

    def one(*given):
        return linear_activation(*given, name)

    close = dict(
        rtol=20 * float(np.finfo(dtype).eps), atol=20 * float(np.finfo(dtype).eps)
    )
    out, expected = one(*given).detach(), two(*given).detach()
    np.testing.assert_allclose(out.numpy(), expected.numpy(), **close)
    found, wanted = gradients(one, given, seed), gradients(two, given, seed)
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, **close)


@every_activation
def test_what_was_kept_is_not_written_over_too_early(name, device):
    """Two backwards through one graph, and one with the engine's own seed of 1."""
    given = parts(device)
    loss = linear_activation(*given, name)
    seed = tg.full(loss.shape, 3.0, dtype="float64", device=device)
    found = []
    for _ in range(2):
        loss.backward(seed, retain_graph=True)
        found.append([x.grad.numpy().copy() for x in given])
        for x in given:
            x.grad = None
    loss.sum().backward()
    for one, two, x in zip(*found, given, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(3.0 * x.grad.numpy(), one, 1e-12)


@every_activation
def test_no_gradient_is_made_ready_under_no_grad(name, device, monkeypatch):
    given, asked = parts(device), []
    kind = type(tg.backends.backend_of(given[0].array))
    plain = kind.bias_activation

    def noted(self, x, bias, activation, with_grad):
        asked.append(with_grad)
        return plain(self, x, bias, activation, with_grad)

    monkeypatch.setattr(kind, "bias_activation", noted)
    linear_activation(*given, name)
    with tg.no_grad():
        linear_activation(*given, name)
    linear_activation(*(x.detach() for x in given), name)
    linear_activation(given[0].detach(), *given[1:], name)
    assert asked == [True, False, False, True]


@every_activation
def test_only_what_requires_grad_gets_one(name, device):
    for wanted in range(3):
        given = parts(device, requires_grad=False)
        given[wanted].requires_grad_()
        linear_activation(*given, name).sum().backward()
        assert [x.grad is not None for x in given] == [i == wanted for i in range(3)]


def test_a_layer_that_is_not_plainly_linear_is_called():
    """A subclass, one whose `forward` was replaced, or one without a bias."""

    class Doubled(nn.Linear):
        def forward(self, input):
            return 2.0 * super().forward(input)

    x = tg.tensor(np.random.default_rng(5).normal(size=(2, 3, 8)))
    options = dict(dim_feedforward=24, dropout=0.0, batch_first=True)
    layer = nn.TransformerEncoderLayer(8, 2, activation="relu", **options)
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
    layer.linear1 = plain
    forward = plain.forward
    plain.forward = lambda input: 2.0 * forward(input)
    again = layer._feed_forward(x)
    np.testing.assert_array_equal(again.detach().numpy(), out.detach().numpy())
    layer.linear1 = nn.Linear(8, 24, bias=False, dtype=tg.float64)
    assert layer._feed_forward(x).shape == (2, 3, 8)


def test_what_a_linear_map_with_an_activation_refuses():
    x, w, b = tg.ones((2, 3)), tg.ones((4, 2)), tg.ones(4)
    with pytest.raises(ValueError, match="linear: input, weight and bias have shapes"):
        linear_activation(x, w, b, "relu")


def test_autocast_reaches_it(device):
    x = tg.ones((2, 3), device=device)
    w, b = tg.ones((4, 3), device=device), tg.ones(4, device=device)
    w.requires_grad_()
    with tg.autocast(device, dtype=tg.float16):
        out = linear_activation(x, w, b, "gelu")
    assert out.dtype == tg.float16
    out.sum().backward()
    assert w.grad.dtype == tg.float32
    np.testing.assert_allclose(w.grad.numpy(), np.full((4, 3), 2.0), 2e-3)
