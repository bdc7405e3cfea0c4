"""Optimizers and schedulers against PyTorch itself: run by scripts/test --full.

python -m pytest tests/parity/optimizers_against_torch.py
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parity.optimizer_cases import CASES, OPTIONS, SCHEDULES, START, Case, Scenario
from parity.optimizer_runs import (
    NO_ARRAYS,
    Ours,
    Torch,
    advance,
    all_rates,
    assert_same,
    backward,
    kept,
    make_optimizer,
    make_scheduler,
    packed,
    read_answers,
    run,
)

import tinygrad_softmax as tg

SWITCHES = {"foreach", "fused", "capturable", "differentiable"}


@pytest.fixture(scope="module")
def torch() -> Torch:
    return Torch()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_pytorch_answers_now(case: Case, torch: Torch, device: str):
    expected = run(case, torch)
    assert_same(case, run(case, Ours(device)), expected)
    np.testing.assert_array_equal(
        read_answers()[f"run {case}"], packed(kept(expected)), "the fixture is old"
    )


def test_rates_are_pytorchs(torch):
    expected, answers = all_rates(torch), read_answers()
    for name, values in all_rates(Ours()).items():
        np.testing.assert_array_equal(values, expected[name], name)
        np.testing.assert_array_equal(values, answers[f"rates {name}"], name)


@pytest.mark.parametrize("kind", OPTIONS)
def test_signatures_and_defaults_are_pytorchs(kind, torch):
    """The same order, and the same defaults, but for the switches."""
    theirs = inspect.signature(getattr(torch.optim, kind)).parameters
    ours = inspect.signature(getattr(tg.optim, kind)).parameters
    expected = [name for name in theirs if name not in SWITCHES]
    assert list(ours) == sorted(
        expected, key=lambda n: (ours[n].kind, expected.index(n))
    )
    for name in ours:
        assert ours[name].default == theirs[name].default, name


@pytest.mark.parametrize("name", sorted({kind for kind, _ in SCHEDULES.values()}))
def test_signatures_of_schedulers_are_pytorchs(name, torch):
    theirs = inspect.signature(getattr(torch.optim.lr_scheduler, name)).parameters
    ours = inspect.signature(getattr(tg.optim.lr_scheduler, name)).parameters
    assert [(n, p.default) for n, p in ours.items()] == [
        (n, p.default) for n, p in theirs.items()
    ]


# -- drawn options ---------------------------------------------------------------------

share = st.floats(0, 0.99)
small = st.sampled_from([0.0, 0.01, 0.3])
DRAWN: dict[str, dict[str, st.SearchStrategy]] = {
    "SGD": {
        "momentum": st.sampled_from([0.0, 0.5, 0.9]),
        "dampening": st.sampled_from([0.0, 0.3]),
        "nesterov": st.booleans(),
    },
    "Adam": {
        "betas": st.tuples(share, share),
        "amsgrad": st.booleans(),
        "decoupled_weight_decay": st.booleans(),
    },
    "AdamW": {"betas": st.tuples(share, share), "amsgrad": st.booleans()},
    "RMSprop": {
        "alpha": st.floats(0.5, 0.99),
        "momentum": st.sampled_from([0.0, 0.6]),
        "centered": st.booleans(),
    },
    "Adagrad": {
        "lr_decay": small,
        "initial_accumulator_value": st.sampled_from([0.0, 0.5]),
    },
    "Adadelta": {"rho": st.floats(0, 1)},
    "NAdam": {
        "betas": st.tuples(share, share),
        "momentum_decay": small,
        "decoupled_weight_decay": st.booleans(),
    },
    "RAdam": {
        "betas": st.tuples(share, share),
        "decoupled_weight_decay": st.booleans(),
    },
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(sorted(DRAWN)))
    options: dict[str, Any] = {k: draw(each) for k, each in DRAWN[kind].items()}
    options |= {
        "lr": draw(st.floats(1e-4, 0.02)),
        "weight_decay": draw(small),
        "maximize": draw(st.booleans()),
    }
    if kind != "SGD":  # (a tiny eps makes rounding errors of tiny gradients large)
        options["eps"] = draw(st.sampled_from([1e-3, 0.1]))
    if options.get("nesterov"):
        options |= {"momentum": 0.9, "dampening": 0.0}
    parameters = st.integers(0, len(START) - 1)
    happens = st.tuples(
        st.sampled_from(["no gradient"] * 4 + ["freeze", "unfreeze", "reassign"]),
        parameters,
    )
    events = draw(
        st.dictionaries(st.integers(0, 9), st.lists(happens, max_size=5), max_size=6)
    )
    groups = draw(
        st.sampled_from(
            [None, (((0, 2), {}), ((1, 3, 4), {"lr": 0.01, "weight_decay": 0.1}))]
        )
    )
    return Case("drawn", kind, options, Scenario(groups=groups, events=events))


@given(case=cases())
@settings(max_examples=200)
def test_drawn_cases_are_pytorchs(case: Case):
    assert_same(case, run(case, Ours()), run(case, Torch()))


# -- states, there and back ------------------------------------------------------------


def trained(lib: Any, case: Case, steps: int):
    parameters = [lib.parameter(start, "float64") for start in START]
    optimizer = make_optimizer(lib, case, parameters)
    go_on(lib, parameters, optimizer, steps)
    return parameters, optimizer


def go_on(lib: Any, parameters: list, optimizer: Any, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        backward(lib, Scenario(), parameters, {3})
        optimizer.step()


def as_arrays(state: Any) -> Any:
    """A state with NumPy arrays in place of PyTorch's tensors."""
    if isinstance(state, dict):
        return {key: as_arrays(value) for key, value in state.items()}
    return state.numpy().copy() if hasattr(state, "numpy") else state


STATE_CASES = [case for case in CASES if case.scenario == Scenario()]


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_states_have_pytorchs_layout(case, torch):
    states = []
    for lib in (Ours(), torch):
        _, optimizer = trained(lib, case, 3)
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert list(ours["state"]) == list(theirs["state"])
    for number, entry in theirs["state"].items():
        assert list(ours["state"][number]) == list(entry)
        for key, value in entry.items():
            mine = ours["state"][number][key]
            assert mine.shape == tuple(value.shape)
            assert str(mine.dtype) == str(value.dtype).removeprefix("torch.")
            np.testing.assert_allclose(mine.numpy(), value.numpy(), rtol=1e-12)
    for mine, other in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert mine == {k: v for k, v in other.items() if k not in SWITCHES}


@pytest.mark.parametrize("given_as", ["tensors", "arrays"])
@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_state_of_pytorch_loads_here(case, given_as, torch):
    theirs, their_optimizer = trained(torch, case, 4)
    state = their_optimizer.state_dict()
    ours = [tg.nn.Parameter(p.detach().numpy().copy()) for p in theirs]
    optimizer = getattr(tg.optim, case.optimizer)(ours)
    optimizer.load_state_dict(as_arrays(state) if given_as == "arrays" else state)
    go_on(torch, theirs, their_optimizer, 4)
    go_on(Ours(), ours, optimizer, 4)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            mine.detach().numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("case", STATE_CASES, ids=str)
def test_a_state_from_here_loads_in_pytorch(case, torch):
    ours, optimizer = trained(Ours(), case, 4)
    theirs = [
        torch.torch.nn.Parameter(torch.torch.tensor(p.detach().numpy())) for p in ours
    ]
    their_optimizer = getattr(torch.optim, case.optimizer)(theirs)
    state = optimizer.state_dict()
    state["state"] = {
        number: {k: torch.torch.tensor(v.numpy()) for k, v in entry.items()}
        for number, entry in state["state"].items()
    }
    their_optimizer.load_state_dict(state)
    go_on(torch, theirs, their_optimizer, 4)
    go_on(Ours(), ours, optimizer, 4)
    # PyTorch casts NAdam's float32 "mu_product" to float64 when it loads it.
    tolerance = 1e-6 if case.optimizer == "NAdam" else 1e-12
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            mine.detach().numpy(),
            other.detach().numpy(),
            rtol=tolerance,
            atol=tolerance,
        )


@pytest.mark.parametrize("name", SCHEDULES)
def test_states_of_schedulers_cross_over(name, torch):
    """PyTorch's state after 9 epochs goes on here, and ours there."""

    def made(lib):
        p = [lib.parameter(START[i], "float64") for i in (0, 2)]
        groups = [{"params": [p[0]], "lr": 0.05}, {"params": [p[1]], "lr": 0.2}]
        optimizer = lib.optim.SGD(groups, momentum=0.9)
        scheduler = make_scheduler(lib, optimizer, SCHEDULES[name])
        optimizer.step()
        return optimizer, scheduler

    for source, target in ((torch, Ours()), (Ours(), torch)):
        optimizer, scheduler = made(source)
        for epoch in range(9):
            advance(scheduler, epoch)
        other_optimizer, other = made(target)
        other.load_state_dict(scheduler.state_dict())
        other_optimizer.load_state_dict(optimizer.state_dict())
        for epoch in range(9, 20):
            advance(scheduler, epoch)
            advance(other, epoch)
            assert other.get_last_lr() == scheduler.get_last_lr()


# -- dtypes ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dtypes_of_state_are_pytorchs(kind, dtype, torch):
    found = []
    for lib in (Ours(), torch):
        p = lib.parameter(START[0], dtype)
        optimizer = getattr(lib.optim, kind)([p], **OPTIONS[kind]["all"])
        ((p - 1) ** 2).sum().backward()
        optimizer.step()
        entry = optimizer.state[p]
        found.append({k: str(v.dtype).split(".")[-1] for k, v in entry.items()})
    assert found[0] == found[1]
    assert all(found[0][key] == "float32" for key in NO_ARRAYS if key in found[0])


# -- clipping and scaling --------------------------------------------------------------


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, 3.0, float("inf"), 0.0])
@pytest.mark.parametrize("bound", [0.3, 1e3])
def test_clipping_is_pytorchs(order, bound, torch):
    results = []
    for lib, clip in (
        (Ours(), tg.optim.clip_grad_norm_),
        (torch, torch.torch.nn.utils.clip_grad_norm_),
    ):
        parameters = [lib.parameter(START[i], "float64") for i in (0, 1, 2, 4)]
        backward(lib, Scenario(), parameters, {2})
        norm = clip(parameters, bound, order)
        grads = [p.grad for p in parameters if p.grad is not None]
        results.append([norm.item(), *(lib.numpy(g) for g in grads)])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-13)


@given(
    st.lists(st.sampled_from(["good", "bad"]), min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from([0.5, 1 / 3]),
    st.sampled_from([2.0, 1.7]),
)
@settings(max_examples=50)
def test_the_scale_is_pytorchs(steps, interval, backoff, growth):
    """Scale after scale, and the parameter, over good and overflowing steps."""
    found = []
    for lib in (Ours(), Torch()):
        kind = (
            tg.optim.GradScaler if isinstance(lib, Ours) else lib.torch.amp.GradScaler
        )
        scaler = kind("cpu", 1000.1, growth, backoff, interval)
        p = lib.parameter(START[0], "float32")
        optimizer, scales = lib.optim.SGD([p], lr=0.1), []
        for step in steps:
            optimizer.zero_grad()
            scaler.scale(((p - 1) ** 2).sum()).backward()
            if step == "bad":
                with np.errstate(all="ignore"):
                    p.grad = p.grad * float("inf")
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        found.append((scales, scaler.state_dict(), lib.numpy(p)))
    (ours, our_state, p), (theirs, their_state, q) = found
    assert ours == theirs
    assert our_state == their_state
    # (p - 1 is rounded to float32's spacing at 1, 1.2e-7, whatever p is.)
    np.testing.assert_allclose(p, q, rtol=1e-6, atol=1.2e-7)
