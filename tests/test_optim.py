"""Optimizers: what is laid out flat, what is left alone, the step.

That the numbers are PyTorch's is tested in parity/test_optimizers.py.
"""

from __future__ import annotations

import copy
import tracemalloc

import numpy as np
import pytest
import strict_cupy
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
from strict_cupy import Seen, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim

# -- one flat array --------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_parameters_and_state_are_views_of_flat_arrays(kind, name, device):
    parameters = make_parameters(SHAPES, device)
    before = values(parameters)
    optimizer = make(kind, name, parameters)
    assert_equal(values(parameters), before)
    assert [p.shape for p in parameters] == SHAPES
    train(parameters, optimizer, 2)
    assert len({id(p.array.base) for p in parameters}) == 1
    assert all(p.array.flags.c_contiguous for p in parameters)
    keys = set(optimizer.state[parameters[0]]) if optimizer.state else set()
    for key in keys:
        arrays = [optimizer.state[p][key].array for p in parameters]
        assert len({id(a.base) for a in arrays}) == 1
        counts = key in ("step", "mu_product")
        assert [a.shape for a in arrays] == ([()] * 5 if counts else SHAPES)
    arrays = [p.array for p in parameters]
    train(parameters, optimizer, 2)
    assert all(p.array is array for p, array in zip(parameters, arrays))  # in place


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_number_of_array_operations_is_that_of_one_parameter(
    kind, name, monkeypatch
):
    calls = 0
    original = strict_cupy.ufunc.__call__

    def counted(self, *args, **kw):
        nonlocal calls
        calls += 1
        return original(self, *args, **kw)

    found = []
    with strict_cuda() as cuda:
        cuda.backend.kernels = None  # (test_cuda_optimizer_launches.py has them)
        for many in (1, 60):
            parameters = make_parameters([(3, 2)] * many, "cuda")
            optimizer = make(kind, name, parameters)
            train(parameters, optimizer)
            optimizer.zero_grad()
            backward(parameters)
            with monkeypatch.context() as patch, cuda.counting() as seen:
                patch.setattr(strict_cupy.ufunc, "__call__", counted)
                calls = 0
                optimizer.step()
                found.append(calls)
            assert seen == Seen()  # nothing waited for, nothing copied
    assert found[0] == found[1]
    assert 2 <= found[0] <= 25


class Recorder(optim.Optimizer):
    """Notes what it is given, and writes to all of it."""

    def __init__(self, params, **options):
        self.seen = []
        super().__init__(params, options)

    def update(self, group, array, grad, state, scratch):
        self.seen.append((state["step"], state["is_first"], grad.tolist()))
        array -= 1.0
        grad[...] = 0
        scratch[...] = 0


def test_runs_are_as_long_as_can_be(device):
    parameters = make_parameters([(2,), (1,), (0,), (1,), (1,)], device)
    recorder = Recorder(parameters)
    give(parameters, 1, 2, 3, 4, None)
    recorder.step()
    assert recorder.seen == [(1, True, [1, 1, 2, 4])]
    give(parameters, 1, 2, 3, None, 5)
    recorder.step()
    assert recorder.seen[1:] == [(2, False, [1, 1, 2]), (1, True, [5])]
    give(parameters, 1, None, None, 4, 5)
    recorder.step()
    assert recorder.seen[3:] == [(3, False, [1, 1]), (2, False, [4, 5])]
    give(parameters, 1, 2, None, 4, 5)
    recorder.step()
    assert recorder.seen[5:] == [
        (4, False, [1, 1]),
        (3, False, [2]),
        (3, False, [4, 5]),
    ]
    steps = [recorder.state[p]["step"].item() for p in parameters]
    assert steps == [4, 3, 2, 3, 3]
    give(parameters, None, None, None, None, None)
    recorder.step()
    assert len(recorder.seen) == 8


def test_blocks_change_nothing(device, monkeypatch):
    """Cut anywhere, also within a parameter, and in 16 bits."""
    from tinygrad_softmax.optim import flat

    for dtype in ("float64", "float16"):
        found = []
        for size in (10**6, 3):
            monkeypatch.setattr(flat.FlatParameters, "block_size", size)
            parameters = make_parameters(SHAPES, device, dtype)
            optimizer = make("NAdam", "all", parameters)
            train(parameters, optimizer, 2)
            give(parameters, 1, None, 2, 3, 4)
            optimizer.step()
            found.append(values(parameters))
        assert_equal(*found)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_parameter_without_gradient_is_left_alone(kind, name, device):
    parameters = make_parameters(SHAPES, device)
    optimizer = make(kind, name, parameters)
    train(parameters, optimizer)
    before = values(parameters)
    state = {key: v.numpy().copy() for key, v in optimizer.state[parameters[2]].items()}
    give(parameters, 1, 1, None, 1, 1)
    optimizer.step()
    np.testing.assert_array_equal(parameters[2].detach().numpy(), before[2])
    for key, value in optimizer.state[parameters[2]].items():
        np.testing.assert_array_equal(value.numpy(), state[key])
    assert not np.array_equal(parameters[0].detach().numpy(), before[0])


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_gradients_stay_as_they_are(kind, name, device):
    p = nn.Parameter(tg.tensor([1.0, 2.0], "float64", device))
    optimizer = make(kind, name, [p])
    kept = []
    for _ in range(3):
        optimizer.zero_grad()
        (2 * p).sum().backward()
        kept.append(p.grad)
        optimizer.step()
    assert [grad.tolist() for grad in kept] == [[2, 2]] * 3


def test_a_gradient_in_another_order_of_memory(device):
    p = nn.Parameter(tg.tensor(np.zeros((2, 3)), device=device))
    transposed = tg.tensor(np.arange(6.0).reshape(3, 2), device=device).T
    p.grad = transposed
    optim.SGD([p], lr=1.0).step()
    np.testing.assert_array_equal(-p.detach().numpy(), transposed.numpy())


def test_a_gradient_of_another_shape_is_refused(device):
    p = nn.Parameter(tg.tensor(np.zeros((2, 3)), device=device))
    p.grad = tg.tensor(np.zeros((3, 2)), device=device)
    with pytest.raises(
        ValueError, match=r"shape \(2, 3\) has a gradient of shape \(3, 2\)"
    ):
        optim.SGD([p]).step()


def test_a_step_is_made_whole_or_not_at_all(device):
    first, second = (nn.Parameter(tg.zeros(2, device=device)) for _ in range(2))
    optimizer = optim.SGD([{"params": first}, {"params": second}], lr=1.0)
    first.grad, second.grad = tg.ones(2, device=device), tg.ones(3, device=device)
    with pytest.raises(ValueError, match="has a gradient of shape"):
        optimizer.step()
    assert first.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_step_allocates_nothing_large(kind, name, dtype):
    """Parameters of 4 or 8 MB; a block's buffers were made in the first step."""
    parameters = make_parameters([(1000, 1000), (1000,), (999, 1001)], dtype=dtype)
    optimizer = make(kind, name, parameters)
    give(parameters, 0.5, 0.5, 0.5)
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000


def test_an_allocation_would_be_seen():
    class Wasteful(optim.SGD):
        def update(self, group, array, grad, state, scratch):
            array -= group["lr"] * grad  # makes an array of a block's size

    p = make_parameters([(1000, 1000)], dtype="float32")
    optimizer = Wasteful(p)
    give(p, 0.5)
    optimizer.step()
    tracemalloc.start()
    try:
        optimizer.step()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak > 100_000


# -- the step --------------------------------------------------------------------------


def test_a_closure_is_called_with_gradients(device):
    p = nn.Parameter(tg.tensor([3.0], device=device))
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert optimizer.step(closure).item() == 9
    assert p.tolist() == [0.0]
    assert optimizer.step() is None


def test_zero_grad_forgets_or_fills(device):
    p = nn.Parameter(tg.tensor([3.0], device=device))
    optimizer = optim.SGD([p], lr=1.0, weight_decay=1.0)
    (p * p).sum().backward(create_graph=True)
    assert p.grad.requires_grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0]
    assert not p.grad.requires_grad
    optimizer.step()
    assert p.tolist() == [0]  # decayed
    optimizer.zero_grad()
    assert p.grad is None


class PyTorchStyle(optim.Optimizer):
    """An optimizer as one writes it for PyTorch."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    state["sum"] = tg.zeros_like(p)
                state["step"] += 1
                with tg.no_grad():
                    state["sum"] += p.grad
                    p -= group["lr"] * state["sum"]


def test_an_optimizer_with_its_own_step(device):
    p = nn.Parameter(tg.tensor([1.0], device=device))
    array = p.array
    optimizer = PyTorchStyle([p])
    assert p.array is array
    for _ in range(2):
        give([p], 1)
        optimizer.step()
    assert p.tolist() == tg.tensor([0.7]).tolist()
    other = nn.Parameter(tg.tensor([1.0], device=device))
    again = PyTorchStyle([other])
    again.load_state_dict(optimizer.state_dict())
    assert again.state[other]["step"] == 2
    with tg.no_grad():
        again.state[other]["sum"] *= 0
    assert optimizer.state[p]["sum"].tolist() == [2.0]
    assert copy.deepcopy(optimizer).param_groups[0]["lr"] == 0.1
    with pytest.raises(NotImplementedError, match="Optimizer defines no update and no"):
        optim.Optimizer([p], {}).update({}, 0, 0, {}, 0)
