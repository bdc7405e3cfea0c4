"""What is launched for activations, and linear maps with one: on the strict double of
CuPy, with its kernels run by cuda_shim.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import strict_cupy
from cuda_checks import draw_array

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends.cuda import kernels
from tinygrad_softmax.nn import functional


@contextmanager
def launches(monkeypatch):
    """The kernels that are launched inside, and CuPy's own functions ("cupy")."""
    seen = []
    get, ufunc = kernels.Kernels.get, strict_cupy.ufunc.__call__

    def noted(self, file, function, *args, **macros):
        seen.append(f"{file.removesuffix('.cu')}.{function}")
        return get(self, file, function, *args, **macros)

    def plain(self, *args, **options):
        seen.append(f"cupy.{self.__name__}")
        return ufunc(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kernels.Kernels, "get", noted)
        patch.setattr(strict_cupy.ufunc, "__call__", plain)
        yield seen


ONE_AND_ONE = {
    "sigmoid": (tg.sigmoid, "activations.sigmoid"),
    "softplus": (tg.softplus, "activations.softplus"),
    "silu": (tg.silu, "activations.silu"),
    "tanh": (tg.tanh, "cupy.tanh"),
    "relu": (tg.relu, "activations.relu"),
    "gelu": (tg.gelu, "activations.gelu"),
    "gelu_tanh": (lambda x: tg.gelu(x, "tanh"), "activations.gelu_tanh"),
}


@pytest.mark.parametrize("name", ONE_AND_ONE)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_launch_forward_and_one_backward(name, dtype, monkeypatch):
    function, forward = ONE_AND_ONE[name]
    rng = np.random.default_rng(3)
    x, g = (draw_array(rng, (5, 7), dtype) for _ in "xg")
    with strict_cupy.strict_cuda() as cuda:
        given_x = tg.tensor(x, device="cuda", requires_grad=True)
        of_g = tg.tensor(g, device="cuda")
        with launches(monkeypatch) as seen, cuda.counting() as waited:
            out = function(given_x)
            assert seen == [forward]
            out.backward(of_g)
        assert seen == [forward, f"activations.{name}_grad"]
        assert not waited.waits
        on_host = tg.tensor(x, requires_grad=True)
        function(on_host).backward(tg.tensor(g))
        epsilon = float(np.finfo(dtype).eps)
        np.testing.assert_allclose(
            given_x.grad.numpy(), on_host.grad.numpy(), 20 * epsilon, 8 * epsilon
        )


def test_gelu_keeps_nothing_but_its_input():
    with strict_cupy.strict_cuda():
        x = tg.tensor(np.ones(100, "float32"), device="cuda", requires_grad=True)
        saved = tg.gelu(x).node.saved
        arrays = {id(v) for rule in saved for v in rule if hasattr(v, "shape")}
        assert arrays == {id(x.array)}


# -- linear maps with an activation ----------------------------------------------------


def both_layers(activation):
    tg.manual_seed(0)
    options = dict(dim_feedforward=24, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoderLayer(8, 2, activation=activation, **options)
    decoder = nn.TransformerDecoderLayer(8, 2, activation=activation, **options)
    return encoder, decoder


ACTIVATED = {
    "relu": ("relu", functional.relu, lambda x: functional.relu(x)),
    "gelu": ("gelu", tg.gelu, lambda x: functional.gelu(x)),
}


@pytest.mark.parametrize("name", ACTIVATED)
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_transformer_layers_add_the_bias_with_the_activation(name, where, monkeypatch):
    """The same numbers as in two ops, which a lambda is."""
    x = np.random.default_rng(4).normal(size=(2, 3, 8)).astype("float32")
    found = []
    with strict_cupy.strict_cuda():
        for given_activation in ACTIVATED[name]:
            grads: list = []
            encoder, decoder = both_layers(given_activation)
            for layer in (encoder.to(where), decoder.to(where)):
                inputs = [tg.tensor(x, device=where)] * (1 + (layer is decoder))
                with launches(monkeypatch) as seen:
                    layer(*inputs).sum().backward()
                grads += [p.grad.numpy() for p in layer.parameters()]
            found.append(grads)
            fused = where == "cuda" and len(found) < 3
            for each in (name, f"{name}_grad", "sum_tiles"):
                assert (f"bias_activations.{each}" in seen) == fused
    for grads in found[:2]:
        for got, want in zip(grads, found[2], strict=True):
            np.testing.assert_allclose(got, want, 2e-5, 2e-6)
