"""`nn` does as PyTorch does; its answers are in pytorch_answers.json."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from pytorch_cases import CROSS_ENTROPY, NLL_LOSS

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.nn import functional

ANSWERS = json.loads(Path(__file__).with_name("pytorch_answers.json").read_text())


# -- losses ----------------------------------------------------------------------


def check_loss(function, case, answer, device):
    data, target, options = case
    x = tg.tensor(data, device=device, requires_grad=True)
    options = dict(options)
    if "weight" in options:
        options["weight"] = tg.tensor(options["weight"], tg.float64, device)
    loss = function(x, tg.tensor(target, device=device), **options)
    assert isinstance(loss, tg.Tensor)
    assert loss.shape == np.shape(answer["loss"])
    np.testing.assert_allclose(
        loss.detach().numpy(), answer["loss"], rtol=1e-13, atol=1e-15
    )
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), answer["grad"], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CROSS_ENTROPY)
def test_cross_entropy_is_pytorchs(name, device):
    answer = ANSWERS["cross_entropy"][name]
    check_loss(functional.cross_entropy, CROSS_ENTROPY[name], answer, device)


@pytest.mark.parametrize("name", NLL_LOSS)
def test_nll_loss_is_pytorchs(name, device):
    answer = ANSWERS["nll_loss"][name]
    check_loss(functional.nll_loss, NLL_LOSS[name], answer, device)


def test_the_loss_modules_keep_their_options(device):
    data, target, options = CROSS_ENTROPY["smoothed"]
    x, y = tg.tensor(data, device=device), tg.tensor(target, device=device)
    loss = nn.CrossEntropyLoss(**options)(x, y)
    expected = ANSWERS["cross_entropy"]["smoothed"]["loss"]
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-13)
    data, target, options = NLL_LOSS["ignored"]
    x, y = tg.tensor(data, device=device), tg.tensor(target, device=device)
    loss = nn.NLLLoss(**options)(x, y)
    expected = ANSWERS["nll_loss"]["ignored"]["loss"]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-13)


def test_ignore_index_with_probabilities_is_pytorchs():
    x, t = np.array([[1.0, 2.0]]), np.array([[0.5, 0.5]])
    plain = functional.cross_entropy(x, t)
    assert functional.cross_entropy(x, t, ignore_index=-5) == plain
    with pytest.raises(ValueError, match="ignore_index=0 was given with probabilities"):
        functional.cross_entropy(x, t, ignore_index=0)


def test_an_ignored_row_may_hold_anything(device):
    data = [[-math.inf, 0.0], [math.log(0.25), math.log(0.75)]]
    x = tg.tensor(data, device=device, requires_grad=True)
    loss = functional.nll_loss(x, tg.tensor([-100, 1], device=device))
    loss.backward()
    np.testing.assert_allclose(loss.item(), -math.log(0.75), rtol=1e-6)
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0], [0, -1]])


def test_the_mean_of_no_rows_is_nan(device):
    x = tg.tensor([[1.0, 2.0]], device=device)
    target = tg.tensor([-100], device=device)
    assert math.isnan(functional.nll_loss(x, target).item())
    assert functional.nll_loss(x, target, reduction="sum").item() == 0


def test_a_wrong_label_or_target_is_refused(device):
    x = tg.tensor([[1.0, 2.0]], device=device)

    def nll(target, **options):
        return functional.nll_loss(
            x, tg.tensor(target, device=device), **options
        ).item()

    for target in ([2], [-1]):
        with pytest.raises(IndexError, match=f"row 0 is {target[0]}"):
            nll(target)
    with pytest.raises(TypeError, match="expected integer labels"):
        nll([1.0])
    with pytest.raises(ValueError, match=r"of shape \(2,\); expected .* shape \(1,\)"):
        nll([1, 0])
    with pytest.raises(ValueError, match="each of the 2 classes"):
        nll([1], weight=tg.tensor([1.0, 1.0, 1.0], device=device))
    with pytest.raises(ValueError, match="reduction was given as 'average'"):
        nll([1], reduction="average")


# -- modules ---------------------------------------------------------------------


def test_state_dict_keys_and_shapes_are_pytorchs():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10, bias=False))
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {"0.weight": (32, 64), "0.bias": (32,), "2.weight": (10, 32)}
    assert [p.shape for p in model.parameters()] == list(shapes.values())


def test_an_mlp_computes_what_its_formula_says(device):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    x = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]], np.float32)
    expected = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
    output = model(tg.tensor(x, device=device))
    np.testing.assert_allclose(output.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_linear_starts_as_pytorchs_does():
    tg.manual_seed(0)
    layer = nn.Linear(100, 400)
    for values in (layer.weight.detach().numpy(), layer.bias.detach().numpy()):
        # Uniform in +-1/10: its deviation is 0.1/sqrt(3), and the ends are nearly met.
        assert values.dtype == np.float32
        assert 0.098 < np.abs(values).max() <= 0.1
        assert values.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
        assert values.mean() == pytest.approx(0, abs=0.01)


def test_one_seed_gives_one_model(device):
    def weights(seed):
        tg.manual_seed(seed)
        return nn.Linear(5, 5, device=device).weight.detach().numpy()

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    tg.manual_seed(1)
    on_the_host = nn.Linear(5, 5, device="cpu").weight.detach().numpy()
    np.testing.assert_array_equal(weights(1), on_the_host)


def test_a_parameter_is_a_leaf_and_its_results_are_tensors():
    parameter = nn.Parameter(np.ones(2))
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert type(parameter * 2) is tg.Tensor
    assert not nn.Parameter(np.ones(2), requires_grad=False).requires_grad


def test_load_state_dict_copies_and_lists_what_does_not_fit():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    other = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    state = other.state_dict()
    model.load_state_dict(state)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(mine.detach().numpy(), theirs.detach().numpy())
        assert not np.shares_memory(mine.array, theirs.array)
    renamed = {key.replace("2.", "3."): value for key, value in state.items()}
    with pytest.raises(
        RuntimeError,
        match=r"of Sequential: missing keys: 2\.weight, 2\.bias; "
        r"unexpected keys: 3\.weight, 3\.bias$",
    ):
        model.load_state_dict(renamed)
    wrong = {**renamed, "0.bias": np.zeros(4), "2.weight": np.zeros((3, 1))}
    with pytest.raises(
        RuntimeError,
        match=r"missing keys: 2\.bias; unexpected keys: 3\.weight, 3\.bias; wrong "
        r"shapes: 0\.bias has shape \(4,\), expected \(3,\), 2\.weight has shape ",
    ):
        model.load_state_dict(wrong)
    report = model.load_state_dict(renamed, strict=False)
    assert report.missing_keys == ["2.weight", "2.bias"]
    assert report.unexpected_keys == ["3.weight", "3.bias"]


def test_a_shared_module_counts_once_but_is_saved_twice():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(model.parameters())) == 2
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_to_moves_parameters_and_keeps_them(device):
    model = nn.Linear(2, 2)
    before = list(model.parameters())
    functional.cross_entropy(model(tg.ones((1, 2))), tg.tensor([0])).backward()
    assert model.to(device) is model
    assert list(map(id, model.parameters())) == list(map(id, before))
    for parameter in model.parameters():
        assert parameter.device.partition(":")[0] == device
        assert parameter.grad.device == parameter.device
        assert parameter.is_leaf


def test_zero_grad_forgets():
    model = nn.Linear(2, 2)
    model(tg.ones((1, 2))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_a_module_copies_and_pickles():
    model = nn.Sequential(nn.Linear(2, 2))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        mine, theirs = model.state_dict(), other.state_dict()
        np.testing.assert_array_equal(mine["0.bias"].numpy(), theirs["0.bias"].numpy())
        parameter = next(other.parameters())
        assert isinstance(parameter, nn.Parameter)
        other(tg.ones((1, 2))).sum().backward()
        assert parameter.grad is not None
        assert next(model.parameters()).grad is None


def test_repr_shows_the_layers():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
    assert repr(model) == (
        "Sequential(  # 23 parameters\n"
        "  (0): Linear(in_features=4, out_features=3, bias=True)  # 15 parameters\n"
        "  (1): Sequential(  # 8 parameters\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=2, bias=True)  # 8 parameters\n"
        "  )\n"
        ")"
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="0 inputs and 2 outputs"):
        nn.Linear(0, 2)
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)
    with pytest.raises(AttributeError):
        _ = nn.Linear(2, 2).wieght
