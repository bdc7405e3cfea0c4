"""What `parity/` cannot show of the activations: far out, dtypes, errors."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.nn import functional as F  # noqa: N812  (PyTorch's name)


def raises(text: str, kind: type[Exception] = ValueError):
    return pytest.raises(kind, match=re.escape(text))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


OPTIONS = {"threshold": {"threshold": 0.5, "value": 2.0}, "prelu": None, "glu": None}
OPTIONS |= {name: {"dim": -1} for name in ("softmax", "log_softmax", "softmin")}
ACTIVATIONS = [
    name
    for name, function in vars(F).items()
    if getattr(function, "__module__", "").endswith("functional.activations")
    and OPTIONS.get(name, {}) is not None
]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_far_out_has_no_nan_in_any_derivative(name, device):
    """Softplus at 1000, mish at -1000, and their like: three derivatives."""
    far = [-1e30, -1000.0, -100.0, -30.0, 0.0, 30.0, 100.0, 1000.0, 1e30]
    x = tg.tensor(far, "float64", device, True)
    out, options = x, OPTIONS.get(name, {})
    out = getattr(F, name)(x, **options)
    for _ in range(3):
        assert np.isfinite(out.detach().numpy()).all()
        (out,) = tg.grad(out.sum(), [x], create_graph=True)
        if not out.requires_grad:
            break


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [tg.float16, tg.float32])
def test_an_activation_keeps_dtype_and_shape(name, dtype, device):
    x = tg.tensor(random(2, 3), dtype, device, True)
    out = getattr(F, name)(x, **OPTIONS.get(name, {}))
    assert (out.dtype, out.shape) == (dtype, (2, 3))
    (grad,) = tg.grad(out.sum(), [x])
    assert grad.dtype == dtype
    wide = getattr(F, name)(x.detach().numpy().astype(float), **OPTIONS.get(name, {}))
    assert isinstance(wide, np.ndarray)
    error = 5e-3 if dtype == tg.float16 else 1e-6
    np.testing.assert_allclose(out.detach().numpy(), wide, rtol=error, atol=error)


def test_the_gradient_of_hardsigmoid_is_a_sixth(device):
    x = tg.tensor([-4.0, -3.0, -2.9, 0.0, 2.9, 3.0, 4.0], "float64", device, True)
    F.hardsigmoid(x).sum().backward()
    expected = np.array([0, 0, 1, 1, 1, 0, 0]) / 6
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-15)


def test_inplace_is_accepted_and_ignored(device):
    for name, function in vars(F).items():
        names = (
            getattr(inspect.signature(function), "parameters", {})
            if callable(function)
            else {}
        )
        if "inplace" not in names or name.startswith(("dropout", "alpha")):
            continue
        x = tg.tensor([-1.0, 2.0], device=device, requires_grad=True)
        function(x, **OPTIONS.get(name, {}), inplace=True).sum().backward()
        assert x.detach().tolist() == [-1.0, 2.0]
    assert repr(nn.ReLU(inplace=True)) == "ReLU(inplace=True)"
    assert repr(nn.ELU(0.5, True)) == "ELU(alpha=0.5, inplace=True)"
    assert repr(nn.Hardtanh(-2, 2)) == "Hardtanh(min_val=-2, max_val=2)"
    assert repr(nn.PReLU()) == "PReLU(num_parameters=1)  # 1 parameter"


def test_what_activations_refuse(device):
    x = tg.ones((2, 3), device=device)
    for name in ("softmax", "log_softmax", "softmin"):
        with raises(f"{name}: no axis was given; mend: dim=-1 for the last one"):
            getattr(F, name)(x)
    with raises("softmax: no axis was given"):
        nn.Softmax()(x)
    with raises("glu: axis -1 of shape (2, 3) has the odd length 3; expected an even"):
        F.glu(x)
    with raises("axis 2 is out of range", np.exceptions.AxisError):
        F.glu(x, 2)
    with raises("prelu: weight has shape (2,); expected (1,) or a weight for each"):
        F.prelu(x, tg.ones(2, device=device))
    for call in (lambda: F.hardtanh(x, 2.0, 1.0), lambda: nn.Hardtanh(2.0, 1.0)):
        with raises("ardtanh: min_val=2.0 is greater than max_val=1.0"):
            call()
    with raises("celu: alpha was given as 0"):
        F.celu(x, 0.0)
    with raises("softplus: beta was given as 0"):
        F.softplus(x, 0.0)
    with raises("gelu: approximate was given as 'erf'"):
        nn.GELU("erf")(x)


def test_softmax_of_another_dtype(device):
    x = tg.tensor([[1.0, 2.0]], "float16", device)
    assert F.softmax(x, 1, dtype="float32").dtype == tg.float32
    assert F.log_softmax(x, 1, dtype="float64").dtype == tg.float64


def test_prelu_resets_to_its_start(device):
    module = nn.PReLU(3, 0.5, device=device)
    nn.init.zeros_(module.weight)
    module.reset_parameters()
    assert module.weight.tolist() == [0.5] * 3
