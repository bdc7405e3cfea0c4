"""Parameters that are moved, cast, exchanged and written to between steps."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from optim_tools import (
    ALL,
    CASES,
    SHAPES,
    assert_equal,
    backward,
    give,
    make,
    make_parameters,
    train,
    values,
)
from parity.optimizer_cases import OPTIONS
from strict_cupy import Seen, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.backends import numpy as numpy_backend

# -- dtypes and devices ----------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes_stay(kind, name, dtype, device):
    """16-bit results are those of float32, rounded once a step."""
    parameters = make_parameters(SHAPES, device, dtype)
    wide = [nn.Parameter(p.detach().astype("float32")) for p in parameters]
    optimizer, exact = make(kind, name, parameters), make(kind, name, wide)
    for _ in range(3):
        for p, q in zip(parameters, wide):
            with tg.no_grad():
                q *= 0
                q += p.detach().astype("float32")
            p.grad = (p.detach() - 1).astype(dtype)
            q.grad = tg.tensor(p.grad, "float32")
            for key, value in optimizer.state.get(p, {}).items():
                if key not in ("step", "mu_product"):
                    exact.state[q][key] = tg.tensor(value, "float32")
        optimizer.step()
        exact.step()
        for p, q in zip(parameters, wide):
            assert p.dtype == tg.zeros(1, dtype).dtype
            expected = q.detach().astype(p.dtype)
            np.testing.assert_array_equal(
                p.detach().astype("float64").numpy(),
                expected.astype("float64").numpy(),
            )
            for key, value in optimizer.state.get(p, {}).items():
                counts = key in ("step", "mu_product")
                assert value.dtype == (np.float32 if counts else p.dtype)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_mixed_dtypes_stay_apart(kind, name, device):
    dtypes = ["float32", "float64", "float32", "float16", "float64"]
    parameters = [
        nn.Parameter(p.detach().astype(dtype))
        for p, dtype in zip(make_parameters(SHAPES, device), dtypes)
    ]
    train(parameters, make(kind, name, parameters), 2)
    assert [p.dtype.name for p in parameters] == dtypes
    bases = [id(p.array.base) for p in parameters]
    assert bases[0] == bases[2]
    assert bases[1] == bases[4]
    assert len(set(bases)) == 3


def test_a_zero_gradient_in_16_bits_does_no_harm(device):
    """(In float16 eps is 0: PyTorch's step is 0 / 0 here.)"""
    p = nn.Parameter(tg.tensor([1.0], "float16", device))
    optimizer = optim.Adam([p], lr=0.1)
    p.grad = tg.zeros((1,), "float16", device)
    optimizer.step()
    assert p.tolist() == [1.0]


def test_counters_follow_the_default_dtype():
    tg.set_default_dtype("float64")
    try:
        p = make_parameters([(2,)])
        optimizer = optim.NAdam(p)
        train(p, optimizer)
    finally:
        tg.set_default_dtype("float32")
    assert {v.dtype.name for v in optimizer.state[p[0]].values()} == {"float64"}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_on_two_devices_without_waiting(kind, name):
    """Parameters on the host, on a device, and on one that is not current."""
    found = []
    with strict_cuda() as cuda:
        for devices in (("cpu",) * 3, ("cuda:1", "cpu", "cuda:0")):
            shapes = [(2, 3), (4,), (3,)]
            parameters = [
                nn.Parameter(each.detach().to(device))
                for each, device in zip(make_parameters(shapes), devices)
            ]
            optimizer = make(kind, name, parameters)
            for _ in range(3):
                optimizer.zero_grad()
                backward(parameters)
                with cuda.counting() as seen:
                    optimizer.step()
                assert seen == Seen()
            assert tuple(p.device for p in parameters) == devices
            for p in parameters:
                for key, value in optimizer.state.get(p, {}).items():
                    host = key in ("step", "mu_product")
                    assert value.device == ("cpu" if host else p.device)
            found.append(values(parameters))
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_moving_a_model_takes_the_state_along(kind, name):
    with strict_cuda():
        tg.manual_seed(0)
        models = [nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)) for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        optimizers = [make(kind, name, model.parameters()) for model in models]
        for step in range(4):
            if step == 2:
                models[1].to("cuda:1")
            for model, optimizer in zip(models, optimizers):
                optimizer.zero_grad()
                x = tg.ones((1, 3), device=next(model.parameters()).device)
                (model(x) ** 2).sum().backward()
                optimizer.step()
        for mine, other in zip(*(m.parameters() for m in models), strict=True):
            assert other.device == "cuda:1"
            np.testing.assert_allclose(
                mine.detach().numpy(), other.detach().numpy(), rtol=1e-5
            )
            for key, value in optimizers[1].state.get(other, {}).items():
                host = key in ("step", "mu_product")
                assert value.device == ("cpu" if host else "cuda:1")


# -- what happens to parameters from outside -------------------------------------------


def test_two_optimizers_take_turns(device):
    parameters = make_parameters(SHAPES, device)
    expected = values(parameters)
    first, second = optim.SGD(parameters, lr=0.1), optim.SGD(parameters[:2], lr=0.2)
    for _ in range(3):
        for optimizer, rate, some in ((first, 0.1, 5), (second, 0.2, 2)):
            train(parameters, optimizer)
            for p in parameters:
                p.grad = None
            for i in range(some):
                expected[i] = expected[i] - rate * 2 * (expected[i] - 1)
    for p, value in zip(parameters, expected):
        np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-13, atol=1e-15)


def test_loading_a_model_is_seen(device):
    model, other = nn.Linear(2, 2, device=device), nn.Linear(2, 2, device=device)
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    arrays = [p.array for p in model.parameters()]
    model.load_state_dict(other.state_dict())
    train(list(model.parameters()), optimizer)
    assert all(p.array is a for p, a in zip(model.parameters(), arrays))
    for p in model.parameters():
        np.testing.assert_allclose(p.detach().numpy(), np.ones(p.shape), rtol=1e-6)


def test_the_state_may_be_changed_from_outside(device):
    parameters = make_parameters([(2,), (3,)], device)
    optimizer = optim.SGD(parameters, lr=0.5, momentum=0.5)
    train(parameters, optimizer)
    before = values(parameters)
    give(parameters, 0, 0)
    with tg.no_grad():
        optimizer.state[parameters[0]]["momentum_buffer"] *= 0  # in place
    fresh = tg.tensor([8.0] * 3, "float64", device)
    optimizer.state[parameters[1]]["momentum_buffer"] = fresh  # another tensor
    optimizer.step()
    assert_equal([values(parameters)[0]], [before[0]])
    np.testing.assert_allclose(parameters[1].detach().numpy(), before[1] - 2.0)
    assert fresh.tolist() == [8.0] * 3
    optimizer.state.clear()
    before = values(parameters)
    optimizer.step()
    assert_equal(values(parameters), before)
    assert list(optimizer.state[parameters[0]]) == ["momentum_buffer"]


def test_looking_for_state_that_is_not_there(device):
    """As in PyTorch `state` is a defaultdict; looking must change nothing."""
    parameters = make_parameters([(2,), (3,)], device)
    optimizer = optim.Adam(parameters)
    assert optimizer.state[parameters[0]] == {}
    arrays = [p.array for p in parameters]
    train(parameters, optimizer, 2)
    assert all(p.array is a for p, a in zip(parameters, arrays))
    assert optimizer.state[parameters[0]]["step"].item() == 2


def test_momentum_may_be_switched_on_and_off(device):
    """Off leaves the buffer as it is, as in PyTorch."""
    p = make_parameters([(2,)], device)
    optimizer = optim.SGD(p, lr=0.5)
    give(p, 1)
    optimizer.step()
    assert optimizer.state == {}
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    assert optimizer.state[p[0]]["momentum_buffer"].tolist() == [1.5] * 2
    optimizer.param_groups[0]["momentum"] = 0
    arrays = [p[0].array for _ in range(2) if optimizer.step() is None]
    assert arrays[0] is arrays[1]
    assert optimizer.state[p[0]]["momentum_buffer"].tolist() == [1.5] * 2
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    assert optimizer.state[p[0]]["momentum_buffer"].tolist() == [1.75] * 2


def test_the_parameters_of_a_group_may_be_exchanged(device):
    a, b = make_parameters([(2,), (2,)], device)
    optimizer = optim.SGD([a], lr=1.0)
    optimizer.param_groups[0]["params"] = [b]
    give([a, b], 1, 1)
    before = values([a, b])
    optimizer.step()
    assert_equal(values([a, b]), [before[0], before[1] - 1])
    optimizer.param_groups.append({**optimizer.param_groups[0], "params": [a]})
    optimizer.step()
    assert_equal(values([a, b]), [before[0] - 1, before[1] - 2])


ONE_BY_ONE = [{"maximize": True}, {"weight_decay": 0.1}]


@pytest.mark.parametrize("options", [*ONE_BY_ONE, {"momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_step_leaves_gradients_as_they_are(kind, options, device):
    """Also where a rule is handed the gradient itself, rather than a copy."""
    if "nesterov" in options and kind != "SGD":
        options = {}
    (p,) = parameters = make_parameters([(40,)], device)
    optimizer = getattr(optim, kind)(parameters, **options)
    for _ in range(2):
        optimizer.zero_grad()
        backward(parameters)
        before = p.grad.numpy().copy()
        optimizer.step()
        np.testing.assert_array_equal(p.grad.numpy(), before)


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_gradient_may_be_the_parameter_itself(kind, device):
    """A step of p.grad = p.detach(), which minimises half of the square of p."""
    found = []
    for view in (lambda p: p.detach(), lambda p: p.detach() * 1.0):
        (p,) = parameters = make_parameters([(40,)], device)
        options = {} if kind == "SGD" else {"weight_decay": 0.5}
        optimizer = getattr(optim, kind)(parameters, lr=0.1, **options)
        for _ in range(3):
            p.grad = view(p)
            optimizer.step()
        found.append(p.detach().numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_subclass_with_an_update_of_its_own_makes_no_promise(kind, monkeypatch):
    """It gets a copy that it may write to, in the caller's thread."""
    monkeypatch.setattr(numpy_backend, "THREADED_BYTES", 0)
    monkeypatch.setattr(numpy_backend.NumpyBackend, "block_bytes", 160)
    parent, seen, before = getattr(optim, kind), set(), tg.get_num_threads()

    class Clipped(parent):
        def update(self, group, array, grad, state, scratch):
            seen.add(threading.get_ident())
            np.clip(grad, -0.01, 0.01, out=grad)
            super().update(group, array, grad, state, scratch)

    (p,) = parameters = make_parameters([(300,)])
    tg.set_num_threads(3)
    try:
        backward(parameters)
        gradient = p.grad.numpy().copy()
        Clipped(parameters, lr=0.1).step()
    finally:
        tg.set_num_threads(before)
    np.testing.assert_array_equal(p.grad.numpy(), gradient)
    assert seen == {threading.get_ident()}


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_a_subclass_with_a_rule_of_its_own_makes_no_promise(kind, device):
    """The rule of another class may add a penalty to the gradient."""
    parent = getattr(optim, kind)

    class Penalized(parent):
        def rule(self, group, state):
            return super().rule(group, state)._replace(weight_decay=0.5, shrink=1.0)

    class Restrained(Penalized):
        pass

    for subclass in (Penalized, Restrained):
        (p,) = parameters = make_parameters([(40,)], device)
        backward(parameters)
        gradient = p.grad.numpy().copy()
        subclass(parameters, lr=0.1).step()
        np.testing.assert_array_equal(p.grad.numpy(), gradient)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_threads_that_share_the_blocks_change_no_digit(kind, name, monkeypatch):
    monkeypatch.setattr(numpy_backend, "THREADED_BYTES", 0)
    monkeypatch.setattr(numpy_backend.NumpyBackend, "block_bytes", 160)  # 10 numbers
    found, before = [], tg.get_num_threads()
    try:
        for number in (1, 2, 5):
            tg.set_num_threads(number)
            parameters = make_parameters([(7, 5), (3,), (64,)])
            train(parameters, make(kind, name, parameters), 3)
            found.append([p.detach().numpy().copy() for p in parameters])
    finally:
        tg.set_num_threads(before)
    for each in found[1:]:
        for mine, other in zip(each, found[0], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_only_rules_that_say_so_run_on_threads(monkeypatch):
    """A rule of a user's own is called block after block, in the caller's thread."""
    monkeypatch.setattr(numpy_backend, "THREADED_BYTES", 0)
    monkeypatch.setattr(numpy_backend.NumpyBackend, "block_bytes", 160)
    seen, before = set(), tg.get_num_threads()

    class Descent(optim.Optimizer):
        def update(self, group, array, grad, state, scratch):
            seen.add(threading.get_ident())
            array -= grad

    parameters = make_parameters([(300,)])
    tg.set_num_threads(3)
    try:
        train(parameters, Descent(parameters), 3)
    finally:
        tg.set_num_threads(before)
    assert seen == {threading.get_ident()}
