"""Parameter groups, and how optimizers are saved and copied."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref

import numpy as np
import pytest
from optim_tools import (
    ALL,
    CASES,
    SHAPES,
    assert_equal,
    give,
    make,
    make_parameters,
    train,
    values,
)
from parity.optimizer_cases import OPTIONS

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim

# -- groups ----------------------------------------------------------------------------


def test_groups_have_options_of_their_own(device):
    a, b, c = make_parameters([(2,), (3,), ()], device)
    optimizer = optim.SGD([{"params": a}, {"params": [b], "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": iter([c]), "weight_decay": 1.0})
    before = values([a, b, c])
    give([a, b, c], 1, 1, 1)
    optimizer.step()
    expected = [before[0] - 0.1, before[1] - 0.5, before[2] - 0.1 * (1 + before[2])]
    for mine, other in zip(values([a, b, c]), expected):
        np.testing.assert_allclose(mine, other, rtol=1e-13)
    optimizer.param_groups[1]["lr"] = 0.0
    before = values([b])
    optimizer.step()
    assert_equal(values([b]), before)
    assert optimizer.param_groups[2]["momentum"] == 0
    assert optimizer.defaults["lr"] == 0.1


def test_names_are_kept(device):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)).to(device)
    optimizer = optim.Adam(model.named_parameters())
    names = ["0.weight", "0.bias", "1.weight", "1.bias"]
    for mine, p in zip(optimizer.param_groups[0]["params"], model.parameters()):
        assert mine is p
    assert optimizer.param_groups[0]["param_names"] == names
    state = optimizer.state_dict()
    assert state["param_groups"][0]["param_names"] == names
    plain = optim.Adam(model.parameters()).state_dict()
    optimizer.load_state_dict(plain)
    assert optimizer.param_groups[0]["param_names"] == names
    with pytest.raises(ValueError, match="parameter 1 has no name, though others"):
        optim.SGD([("a", model[0].weight), model[0].bias])
    with pytest.raises(ValueError, match="some groups have names for their parameters"):
        optimizer.add_param_group({"params": [tg.ones(1)]})


def test_repr_lists_the_options():
    text = repr(optim.SGD([tg.ones(1)], lr=0.5))
    assert text.splitlines()[:3] == [
        "SGD (",
        "Parameter Group 0",
        "    dampening: 0.0",
    ]
    assert "    lr: 0.5" in text


def test_what_cannot_be_optimized_is_refused():
    p = tg.tensor([1.0], requires_grad=True)
    for kind in OPTIONS:
        make_it = getattr(optim, kind)
        with pytest.raises(TypeError, match=f"{kind} got a Linear; expected its param"):
            make_it(nn.Linear(1, 1))
        with pytest.raises(TypeError, match=f"{kind} got one Tensor; expected several"):
            make_it(p)
        with pytest.raises(ValueError, match=f"{kind} got no parameters; mend"):
            make_it([])
        with pytest.raises(TypeError, match="parameter 1 is a ndarray; expected a Ten"):
            make_it([p, np.ones(2)])
        with pytest.raises(ValueError, match="parameter 0 was computed, so it is no l"):
            make_it([p * 2])
        with pytest.raises(ValueError, match="parameter 1 was given before; mend"):
            make_it([p, p])
        with pytest.raises(ValueError, match="parameter 0 was given before; mend"):
            make_it([{"params": [p]}, {"params": [p]}])
        with pytest.raises(TypeError, match="parameters are a set, whose order"):
            make_it([{"params": {p}}])
        with pytest.raises(KeyError, match="a parameter group has no 'params', only l"):
            make_it([{"lr": 1.0}])
        with pytest.raises(TypeError, match="add_param_group got a list; expected a d"):
            make_it([p]).add_param_group([p])
        with pytest.raises(ValueError, match=f"{kind}: lr was given as -1; expected"):
            make_it([p], lr=-1)
        with pytest.raises(ValueError, match="weight_decay was given as nan; expected"):
            make_it([p], weight_decay=math.nan)
        with pytest.raises(TypeError, match="lr was given as a Tensor; expected a num"):
            make_it([p], lr=tg.tensor(0.1))
        with pytest.raises(ValueError, match="lr was given as -2; expected >= 0"):
            make_it([{"params": [p], "lr": -2}])
    for kind in ("Adam", "AdamW", "NAdam", "RAdam"):
        with pytest.raises(ValueError, match=rf"{kind}: betas were given as \(0.9, 1"):
            getattr(optim, kind)([p], betas=(0.9, 1.0))
    for kind, name in (
        ("Adam", "eps"),
        ("RMSprop", "alpha"),
        ("RMSprop", "momentum"),
        ("SGD", "momentum"),
        ("Adagrad", "lr_decay"),
        ("Adagrad", "initial_accumulator_value"),
        ("Adadelta", "rho"),
        ("NAdam", "momentum_decay"),
    ):
        with pytest.raises(ValueError, match=f"{kind}: {name} was given as -0.5"):
            getattr(optim, kind)([p], **{name: -0.5})
    with pytest.raises(ValueError, match=r"rho was given as 1\.5; expected 0"):
        optim.Adadelta([p], rho=1.5)
    for options in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match="SGD: nesterov needs momentum above 0"):
            optim.SGD([p], nesterov=True, **options)


def test_a_leaf_without_gradient_is_accepted(device):
    p = tg.ones(2, device=device)
    optimizer = optim.SGD([p], lr=1.0)
    optimizer.step()
    p.requires_grad_()
    train([p], optimizer)
    assert p.tolist() == [1, 1]


# -- saving and copying ----------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_loaded_state_goes_on(kind, name, device):
    mine = make_parameters(SHAPES, device)
    optimizer = make(kind, name, mine)
    train(mine, optimizer, 2)
    give(mine, 1, None, 1, 1, 1)
    optimizer.step()
    state = optimizer.state_dict()
    other = [nn.Parameter(p.detach().clone()) for p in mine]
    again = getattr(optim, kind)(other)
    again.load_state_dict(copy.deepcopy(state))
    assert again.state_dict()["param_groups"] == state["param_groups"]
    train(mine, optimizer, 2)
    train(other, again, 2)
    assert_equal(values(mine), values(other))
    for number, entry in again.state_dict()["state"].items():
        for key, value in entry.items():
            assert_equal([value.numpy()], [state["state"][number][key].numpy()])


def test_a_state_as_pytorch_writes_it(device):
    """With its switches, arrays, and numbers; without what it added later."""
    p = make_parameters([(2,)], device)
    optimizer = optim.Adam(p)
    state = {
        "state": {
            0: {
                "step": np.float32(4),
                "exp_avg": np.array([1, 2], np.float32),
                "exp_avg_sq": [3.0, 4.0],
            }
        },
        "param_groups": [
            {
                "lr": 0.5,
                "betas": [0.8, 0.9],
                "eps": 1e-6,
                "weight_decay": 0,
                "amsgrad": False,
                "foreach": None,
                "fused": None,
                "capturable": False,
                "differentiable": False,
                "initial_lr": 0.7,
                "params": [0],
            }
        ],
    }
    state["state"][0]["exp_avg_sq"] = np.array(state["state"][0]["exp_avg_sq"])
    optimizer.load_state_dict(state)
    group = optimizer.param_groups[0]
    assert group["params"][0] is p[0]
    assert "foreach" not in group
    assert group["initial_lr"] == 0.7
    assert group["betas"] == (0.8, 0.9)
    assert group["maximize"] is False
    entry = optimizer.state[p[0]]
    assert {key: value.tolist() for key, value in entry.items()} == {
        "step": 4,
        "exp_avg": [1, 2],
        "exp_avg_sq": [3, 4],
    }
    assert entry["exp_avg"].dtype == np.float64


def test_the_decay_of_adamw_stays_decoupled():
    p = make_parameters([(2,)])
    optimizer = optim.AdamW(p)
    optimizer.load_state_dict(optim.Adam(p).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_a_state_that_does_not_fit_changes_nothing(device):
    parameters = make_parameters([(2,), (3,)], device)
    optimizer = optim.Adam(parameters, lr=0.25)
    train(parameters, optimizer)
    good = copy.deepcopy(optimizer.state_dict())

    def loading(change):
        state = copy.deepcopy(good)
        change(state)
        optimizer.load_state_dict(state)

    def group(state):
        return state["param_groups"][0]

    for error, text, change in (
        (KeyError, "'param_groups' is missing", lambda s: s.pop("param_groups")),
        (
            ValueError,
            "the state has 2 parameter groups, the optimizer has 1",
            lambda s: s["param_groups"].append(group(s)),
        ),
        (
            ValueError,
            "group 0 has 1 parameters in the state and 2 in the optimizer",
            lambda s: group(s).update(params=[0]),
        ),
        (
            KeyError,
            "group 0 of the state has no lr, eps; mend: load the state of a Adam",
            lambda s: [group(s).pop("lr"), group(s).pop("eps")],
        ),
        (ValueError, "lr was given as -1", lambda s: group(s).update(lr=-1)),
        (
            KeyError,
            r"there is a state for \[7\], which is no parameter of a group",
            lambda s: s["state"].update({7: {}}),
        ),
        (
            KeyError,
            "missing for parameter 0: exp_avg; unexpected for parameter 1: sum",
            lambda s: [
                s["state"][0].pop("exp_avg"),
                s["state"][1].update(sum=tg.ones(3)),
            ],
        ),
        (
            ValueError,
            r"step of parameter 1 has shape \(1,\), expected \(\); "
            r"exp_avg of parameter 1 has shape \(4,\), expected \(3,\)",
            lambda s: s["state"][1].update(exp_avg=tg.ones(4), step=tg.ones(1)),
        ),
    ):
        with pytest.raises(error, match=text):
            loading(change)
    now = optimizer.state_dict()
    assert now["param_groups"] == good["param_groups"]
    for number, entry in now["state"].items():
        for key, value in entry.items():
            assert_equal([value.numpy()], [good["state"][number][key].numpy()])
    other = optim.SGD(parameters, momentum=0.9)
    with pytest.raises(KeyError, match="group 0 of the state has no dampening"):
        other.load_state_dict(good)


@pytest.mark.parametrize(("kind", "name"), ALL)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_a_model_and_its_optimizer_are_copied_together(kind, name, copied, device):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).to(device)
    optimizer = make(kind, name, model.parameters())
    parameters = list(model.parameters())
    train(parameters, optimizer, 2)
    other_model, other_optimizer = copied((model, optimizer))
    others = list(other_model.parameters())
    for mine, other in zip(others, other_optimizer.param_groups[0]["params"]):
        assert mine is other
    assert_equal(values(parameters), values(others))
    before = values(parameters)
    train(others, other_optimizer, 2)
    assert_equal(values(parameters), before)  # nothing is shared
    assert len({id(p.array.base) for p in others}) == 1
    train(parameters, optimizer, 2)
    assert_equal(values(parameters), values(others))


def test_what_is_flat_is_pickled_once():
    p = make_parameters([(300, 300)])
    optimizer = optim.Adam(p)
    train(p, optimizer)
    assert len(pickle.dumps(optimizer)) < 3.1 * p[0].array.nbytes  # p, and two averages


def test_adagrad_has_its_state_from_the_start(device):
    p = make_parameters([(2,)], device)
    optimizer = optim.Adagrad(p, initial_accumulator_value=0.5)
    entry = optimizer.state[p[0]]
    assert {key: v.tolist() for key, v in entry.items()} == {
        "step": 0,
        "sum": [0.5, 0.5],
    }


def test_an_optimizer_copied_alone_has_parameters_of_its_own(device):
    parameters = make_parameters([(2,), (3,)], device)
    optimizer = optim.Adam(parameters)
    train(parameters, optimizer)
    other = copy.deepcopy(optimizer)
    copies = other.param_groups[0]["params"]
    assert all(mine is not p for mine, p in zip(copies, parameters))
    assert set(map(id, other.state)) == set(map(id, copies))
    before = values(parameters)
    train(copies, other)
    assert_equal(values(parameters), before)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_nothing_is_kept_alive(kind, name, device):
    """No cycles, and no graph behind a gradient."""
    gc.collect()
    gc.disable()
    try:
        parameters = make_parameters([(2, 3)], device)
        optimizer = make(kind, name, parameters)
        x = tg.tensor(np.ones((3, 3)), device=device)
        data = weakref.ref(x)
        loss = ((parameters[0] @ x) ** 2).sum()
        graph = weakref.ref(loss)
        loss.backward(create_graph=True)
        optimizer.step()
        optimizer.zero_grad()
        del loss, x
        assert graph() is None
        assert data() is None
        kept = [weakref.ref(optimizer), weakref.ref(parameters[0])]
        kept.append(weakref.ref(parameters[0].array.base))
        del optimizer, parameters
        assert [each() for each in kept] == [None] * 3
    finally:
        gc.enable()
