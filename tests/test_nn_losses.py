"""What `parity/` cannot show of the losses: errors, 16 bits, digits, far out."""

from __future__ import annotations

import math
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


LOSSES = {
    name: function
    for name, function in vars(F).items()
    if re.search("binary_losses|elementwise", getattr(function, "__module__", ""))
    and name not in ("cosine_similarity", "cosine_embedding_loss")
}


def loss_of(name, x, y, **options):
    if name == "gaussian_nll_loss":
        options["var"] = 0.5
    return LOSSES[name](x, y, **options)


@pytest.mark.parametrize("name", LOSSES)
def test_what_losses_refuse(name, device):
    x, y = tg.full((3, 1), 0.5, device=device), tg.full((3,), 0.5, device=device)
    with raises(
        f"{name}: the target has shape (3,); expected the input's, (3, 1); mend: "
    ):
        loss_of(name, x, y)
    with raises(f"{name}: reduction was given as 'average'; expected one of ('mean', "):
        loss_of(name, x, x, reduction="average")
    with raises(f"{name}: the input is int64; expected a floating", TypeError):
        loss_of(name, tg.tensor([1], device=device), tg.tensor([1], device=device))
    with raises(f"{name}: the target is a float; expected a tensor", TypeError):
        loss_of(name, x, 0.5)


def test_what_single_losses_refuse(device):
    x = tg.full((2, 2), 0.5, device=device)
    with raises("mse_loss: weight has shape (2,); expected the input's, (2, 2)"):
        F.mse_loss(x, x, weight=x[0])
    with raises("smooth_l1_loss: beta was given as -1; expected >= 0"):
        nn.SmoothL1Loss(beta=-1)(x, x)
    with raises("huber_loss: delta was given as 0; expected > 0"):
        nn.HuberLoss(delta=0)(x, x)
    with raises(
        "gaussian_nll_loss: var has shape (3, 2); expected the input's, (2, 2)"
    ):
        F.gaussian_nll_loss(x, x, tg.ones((3, 2), device=device))
    with raises("cosine_embedding_loss: the inputs have shape (2, 2) and the target ("):
        F.cosine_embedding_loss(x, x, x)
    if device == "cpu":
        with raises("var has negative entries; a variance is >= 0"):
            F.gaussian_nll_loss(x, x, -x)
        for bad in (1.5, -0.1, math.nan):
            probs = tg.tensor([[0.5, 0.5], [bad, 9.0]])
            with raises(f"the input at (1, 0) is {bad:g}; expected probabilities"):
                F.binary_cross_entropy(probs, x)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_16_bits_are_computed_in_float32(name, device):
    x, y = (random(2, 50, 40) * 0.1 + 0.5).clip(0.05, 0.95).astype(np.float16)
    given = tg.tensor(x, device=device, requires_grad=True)
    loss = loss_of(name, given, tg.tensor(y, device=device), reduction="sum")
    assert loss.dtype == tg.float32
    exact = loss_of(name, x.astype(np.float64), y.astype(np.float64), reduction="sum")
    np.testing.assert_allclose(loss.item(), exact, rtol=1e-6)
    loss.backward()
    assert given.grad.dtype == tg.float16


@pytest.mark.parametrize("name", LOSSES)
def test_integer_targets_take_the_inputs_dtype(name, device):
    x = tg.full((3,), 0.5, "float32", device)
    loss = loss_of(name, x, tg.tensor([0, 1, 1], device=device))
    assert loss.dtype == tg.float32
    np.testing.assert_allclose(
        loss.item(), loss_of(name, x, tg.tensor([0.0, 1.0, 1.0], device=device)).item()
    )


def test_a_small_loss_of_logits_keeps_its_digits(device):
    """(1 - t) x + softplus(-x), PyTorch's form, has 7 digits left at -20."""
    x = tg.tensor([-20.0, 20.0], "float64", device)
    loss = F.binary_cross_entropy_with_logits(
        x, tg.tensor([0.0, 1.0], "float64", device), reduction="none"
    )
    np.testing.assert_allclose(loss.numpy(), math.log1p(math.exp(-20)), rtol=1e-14)


def test_kl_of_what_never_happens_is_0(device):
    x = tg.tensor([-math.inf, 0.0], "float64", device, True)
    target = tg.tensor([0.0, 1.0], "float64", device)
    loss = F.kl_div(x, target, reduction="sum")
    loss.backward()
    assert loss.item() == 0.0
    assert x.grad.tolist() == [0.0, -1.0]


def test_huber_far_out_is_linear_to_second_order(device):
    x = tg.tensor([1e200, -1e200, math.inf], "float64", device, True)
    loss = F.huber_loss(x, tg.zeros(3, "float64", device), "sum", delta=2.0)
    (grad,) = tg.grad(loss, [x], create_graph=True)
    assert grad.tolist() == [2.0, -2.0, 2.0]
    (second,) = tg.grad(grad.sum(), [x])
    assert second.tolist() == [0.0, 0.0, 0.0]


def test_the_weights_of_losses_are_buffers(device):
    weight = tg.tensor([1.0, 2.0])
    for module, keys in {
        nn.CrossEntropyLoss(weight): ["weight"],
        nn.NLLLoss(weight): ["weight"],
        nn.BCELoss(weight): ["weight"],
        nn.BCEWithLogitsLoss(weight, pos_weight=weight): ["weight", "pos_weight"],
        nn.BCEWithLogitsLoss(): [],
        nn.MSELoss(): [],
    }.items():
        assert list(module.state_dict()) == keys
        module.to(device)
        assert all(b.device.startswith(device) for b in module.buffers())


def test_a_label_that_is_no_class(device):
    with pytest.raises(IndexError, match="nll_loss: the label in row 1 is 7, but"):
        F.nll_loss(
            tg.zeros((2, 3), device=device), tg.tensor([0, 7], device=device)
        ).numpy()
