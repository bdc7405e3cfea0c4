"""Schedules: order, saving, errors. Their values are in parity/test_optimizers.py."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial

import pytest
from parity.optimizer_cases import SCHEDULES
from parity.optimizer_runs import Ours, advance, make_scheduler

import tinygrad_softmax as tg
from tinygrad_softmax import optim
from tinygrad_softmax.optim import lr_scheduler


def made(name="StepLR"):
    """A scheduler over two groups, and its optimizer after a step."""
    groups = [{"params": [tg.ones(1)], "lr": 0.05}, {"params": [tg.ones(2)], "lr": 0.2}]
    optimizer = optim.SGD(groups, momentum=0.9)
    scheduler = make_scheduler(Ours(), optimizer, SCHEDULES[name])
    optimizer.step()
    return optimizer, scheduler


def follow(scheduler, epochs):
    rates = []
    for epoch in epochs:
        rates.append(list(scheduler.get_last_lr()))
        advance(scheduler, epoch)
    return rates


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("way", ["a file", "text"])
def test_a_loaded_state_goes_on(name, way, tmp_path):
    """Also after its numbers have been text, and through a file."""
    optimizer, scheduler = made(name)
    follow(scheduler, range(9))
    if way == "text":
        state = json.loads(json.dumps(scheduler.state_dict()))
    else:
        tg.save(scheduler.state_dict(), tmp_path / "state.safetensors")
        state = tg.load(tmp_path / "state.safetensors")
    groups = copy.deepcopy(optimizer.state_dict())
    expected = follow(scheduler, range(9, 20))
    other_optimizer, other = made(name)
    other.load_state_dict(state)
    other_optimizer.load_state_dict(groups)
    assert follow(other, range(9, 20)) == expected
    momenta = [
        [g["momentum"] for g in o.param_groups] for o in (optimizer, other_optimizer)
    ]
    assert momenta[0] == momenta[1]


@pytest.mark.parametrize("name", [n for n in SCHEDULES if not n.startswith("Lambda")])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_go_on(name, copied):
    if "of steps" in name:  # (functions of a lambda are not pickled)
        copied = copy.deepcopy
    _, scheduler = made(name)
    follow(scheduler, range(5))
    other = copied(scheduler)
    expected = follow(scheduler, range(5, 20))
    assert follow(other, range(5, 20)) == expected
    assert other.optimizer is not scheduler.optimizer


def test_resuming_by_last_epoch():
    optimizer, scheduler = made("CosineAnnealingLR")
    follow(scheduler, range(7))
    state = copy.deepcopy(optimizer.state_dict())
    expected = follow(scheduler, range(7, 12))
    other, _ = made("CosineAnnealingLR")
    other.load_state_dict(state)
    resumed = lr_scheduler.CosineAnnealingLR(other, T_max=8, last_epoch=6)
    for mine, wanted in zip(follow(resumed, range(7, 12)), expected, strict=True):
        assert mine == pytest.approx(wanted, rel=1e-12)
    fresh = optim.SGD([tg.ones(1)])
    with pytest.raises(KeyError, match="group 0 has no 'initial_lr', so there is noth"):
        lr_scheduler.StepLR(fresh, 3, last_epoch=4)


def test_the_wrong_order_is_warned_of():
    optimizer = optim.SGD([tg.ones(1)])
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(
        UserWarning, match="step\\(\\) was called before the optimizer's"
    ):
        scheduler.step()
    scheduler.step()  # once is enough


def test_an_optimizer_with_its_own_step_is_not_suspected():
    class Own(optim.Optimizer):
        def step(self, closure=None):
            pass

    lr_scheduler.StepLR(Own([tg.ones(1)], {"lr": 1.0}), 3).step()


def test_states_that_do_not_fit_are_refused():
    _, scheduler = made("StepLR")
    state = scheduler.state_dict()
    assert "optimizer" not in state
    wrong = {**state, "period": 4}
    del wrong["gamma"], wrong["last_epoch"]
    with pytest.raises(
        KeyError,
        match="StepLR: missing keys: gamma, last_epoch; unexpected keys: period",
    ):
        scheduler.load_state_dict(wrong)


class Falling:
    """A schedule with a state of its own."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


def test_lambda_saves_the_state_of_objects_only():
    optimizer, _ = made()
    functions = [Falling(0.5), lambda epoch: 1.0]
    scheduler = lr_scheduler.LambdaLR(optimizer, functions)
    state = scheduler.state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.5}, None]
    other = lr_scheduler.LambdaLR(optimizer, [Falling(0.1), lambda epoch: 1.0])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].rate == 0.5


def test_warm_restarts_go_to_any_epoch():
    optimizer, _ = made()
    for kind in ({"T_0": 4}, {"T_0": 3, "T_mult": 2}):
        stepped = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, **kind)
        jumping = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, **kind)
        for epoch in range(1, 25):
            stepped.step()
            expected = stepped.get_last_lr()
            jumping.step(epoch)
            assert jumping.get_last_lr() == pytest.approx(expected, rel=1e-9)
        jumping.step(1.5)
        assert jumping.last_epoch == 1
    with pytest.raises(ValueError, match="epoch was given as -1; expected >= 0"):
        jumping.step(-1)


def test_a_metric_may_be_a_tensor(device):
    optimizer, _ = made()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    for loss in (1.0, 2.0):
        scheduler.step(tg.tensor(loss, device=device))
    assert scheduler.get_last_lr() == [0.025, 0.1]


def test_a_group_that_came_later():
    optimizer, _ = made()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.15)
    strict = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.1, 0.1])
    optimizer.add_param_group({"params": [tg.ones(3)], "lr": 1.0})
    for each in (scheduler, strict):
        each.step(1.0)
    scheduler.step(2.0)
    assert scheduler.get_last_lr() == [0.05, 0.15, 0.15]
    with pytest.raises(RuntimeError, match="has 3 groups now, and 2 values were given"):
        strict.step(2.0)


def test_what_cannot_be_is_refused():
    optimizer, step_lr = made()
    _, other = made()
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)

    def on(kind):
        return partial(getattr(lr_scheduler, kind), optimizer)

    StepLR, OneCycleLR = lr_scheduler.StepLR, lr_scheduler.OneCycleLR  # noqa: N806
    Plateau, Lambda = lr_scheduler.ReduceLROnPlateau, on("LambdaLR")  # noqa: N806
    Constant, Linear = on("ConstantLR"), on("LinearLR")  # noqa: N806
    Warm, Cycle = on("CosineAnnealingWarmRestarts"), on("OneCycleLR")  # noqa: N806
    Reduce, Chain = on("ReduceLROnPlateau"), on("SequentialLR")  # noqa: N806
    for error, text, make in (
        (TypeError, "StepLR got a list; expected an Opt", lambda: StepLR([], 1)),
        (TypeError, "OneCycleLR got a list", lambda: OneCycleLR([], 1, 1)),
        (TypeError, "Plateau got a list", lambda: Plateau([])),
        (ValueError, "got 3 functions for 2 groups", lambda: Lambda([abs] * 3)),
        (ValueError, "factor was given as 1.5; expected", lambda: Constant(1.5)),
        (ValueError, "factor was given as -1; expected", lambda: Constant(-1)),
        (ValueError, "start_factor was given as 0; expec", lambda: Linear(0)),
        (ValueError, "end_factor was given as 2; expecte", lambda: Linear(1, 2)),
        (ValueError, "T_0 was given as 0; expected an in", lambda: Warm(0)),
        (ValueError, "T_mult was given as 1.5; expected", lambda: Warm(1, 1.5)),
        (ValueError, "needs total_steps, or epochs and", lambda: Cycle(1.0)),
        (ValueError, "needs total_steps, or epochs", lambda: Cycle(1.0, epochs=2)),
        (ValueError, "total_steps was given as -3; expec", lambda: Cycle(1.0, -3)),
        (
            ValueError,
            "epochs was given as 1.5; expected a posi",
            lambda: Cycle(1.0, None, 1.5, 2),
        ),
        (
            ValueError,
            "pct_start was given as 1; expected a flo",
            lambda: Cycle(1.0, 9, pct_start=1),
        ),
        (
            ValueError,
            "anneal_strategy was given as 'up'; expec",
            lambda: Cycle(1.0, 9, anneal_strategy="up"),
        ),
        (ValueError, "max_lr has 3 values for 2 groups", lambda: Cycle([1.0] * 3, 9)),
        (
            ValueError,
            "Adagrad has neither momentum nor betas",
            lambda: OneCycleLR(optim.Adagrad([tg.ones(1)]), 1.0, 9),
        ),
        (ValueError, "factor was given as 1.0; expected <", lambda: Reduce(factor=1.0)),
        (ValueError, "mode was given as 'up'; expected 'm", lambda: Reduce("up")),
        (
            ValueError,
            "threshold_mode was given as 'x'; expecte",
            lambda: Reduce(threshold_mode="x"),
        ),
        (ValueError, "min_lr has 1 values for 2 groups", lambda: Reduce(min_lr=[1.0])),
        (
            ValueError,
            "got 1 schedulers and 1 milestones",
            lambda: Chain([step_lr], [1]),
        ),
        (ValueError, "scheduler 0 is a ReduceLROnPl", lambda: Chain([plateau], [])),
        (ValueError, "scheduler 0 belongs to another op", lambda: Chain([other], [])),
    ):
        with pytest.raises(error, match=text):
            make()
    base = lr_scheduler.LRScheduler
    with pytest.raises(NotImplementedError, match="LRScheduler defines no get_lr"):
        base(optimizer)
    short = lr_scheduler.OneCycleLR(optimizer, 1.0, 2)
    short.step()
    short.step()
    with pytest.raises(ValueError, match="step was called 3 times, and the run has 2"):
        short.step()
