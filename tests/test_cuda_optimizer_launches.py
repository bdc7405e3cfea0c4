"""What an optimizer's step launches, and that it copies nothing and waits for nothing.

On the strict double only, which counts.
"""

from __future__ import annotations

import numpy as np
import pytest
from optim_tools import CASES, backward, give, make, make_parameters, train
from strict_cupy import Seen, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.backends import cupy_optimizers


@pytest.fixture
def cuda():
    with strict_cuda() as cuda:
        assert cuda.backend.kernels is not None
        yield cuda


def launched(cuda, function, *args):
    """The kernels that a call launches; it must not wait or copy."""
    with cuda.counting() as seen:
        function(*args)
    assert seen == Seen()
    return seen.launches


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_step_is_one_launch(cuda, kind, name):
    for many in (1, 60, 161):
        parameters = make_parameters([(3, 2)] * many, "cuda", "float32")
        optimizer = make(kind, name, parameters)
        backward(parameters)
        for _ in range(2):  # the first step too
            assert launched(cuda, optimizer.step) == ["update"] * (1 + many // 160)


def test_parameters_that_have_made_equally_many_steps_are_one_launch(cuda):
    """Also where others lie between them."""
    parameters = make_parameters([(3,)] * 5, "cuda")
    optimizer = optim.Adam(parameters)
    give(parameters, 1, None, 1, None, 1)
    assert launched(cuda, optimizer.step) == ["update"]
    give(parameters, 1, 1, 1, 1, 1)
    assert launched(cuda, optimizer.step) == ["update"] * 2
    give(parameters, None, None, None, None, None)
    assert launched(cuda, optimizer.step) == []


def test_a_new_rate_compiles_nothing(cuda, monkeypatch):
    parameters = make_parameters([(3,)], "cuda")
    optimizer = optim.SGD(parameters, lr=0.1, momentum=0.9)
    train(parameters, optimizer, 2)

    def refuse(*args, **kw):
        raise AssertionError("a kernel was compiled")

    monkeypatch.setattr("strict_kernels.RawModule.get_function", refuse)
    for lr in (0.01, 0.3):
        optimizer.param_groups[0].update(lr=lr, weight_decay=lr, nesterov=True)
        train(parameters, optimizer)


def test_groups_dtypes_and_devices_are_launches_of_their_own(cuda):
    parameters = [
        *make_parameters([(3,), (2,)], "cuda:1", "float32"),
        *make_parameters([(3,)], "cuda:0", "float32"),
        *make_parameters([(3,)], "cuda:0", "float16"),
    ]
    optimizer = optim.AdamW(parameters)
    give(parameters, 1, 1, 1, 1)
    assert launched(cuda, optimizer.step) == ["update"] * 3


def test_clipping_is_three_launches(cuda):
    parameters = make_parameters([(3,), (5000,)], "cuda", "float32")
    give(parameters, 1, 2)
    names = launched(cuda, nn.utils.clip_grad_norm_, parameters, 1.0)
    assert names == ["norm_parts", "norm_total", "clip_to_norm"]


def test_the_scaler_reads_the_gradients_once(cuda):
    parameters = make_parameters([(3,), (5000,)], "cuda", "float32")
    optimizer, scaler = optim.SGD(parameters), tg.GradScaler("cuda")
    scaler.scale(tg.ones((), device="cuda"))
    give(parameters, 1, 2)
    assert launched(cuda, scaler.unscale_, optimizer) == ["unscale"]
    with cuda.counting() as seen:
        scaler.step(optimizer)
        scaler.update()
    assert len(seen.waits) == 1  # is there an inf or nan?
    assert seen.launches == ["update"]


def test_no_launch_has_an_array_twice(cuda, monkeypatch):
    """Two blocks would scale it at the same time."""
    found = []
    original = cupy_optimizers._tables

    def recorded(arrays, *places):
        found.append([each.data.ptr for each in arrays])
        return original(arrays, *places)

    monkeypatch.setattr(cupy_optimizers, "_tables", recorded)
    x, y = (cuda.xp.asarray(np.ones(3, "float32")) for _ in range(2))
    cuda.backend.unscale([x, y, x], 0.5)
    cuda.backend.clip_to_norm([x, y, x], cuda.xp.asarray(np.float32(4.0)), 1.0)
    assert found == [[x.data.ptr, y.data.ptr]] * 2


def test_an_optimizer_that_is_not_a_rule_has_no_kernel(cuda):
    class Halving(optim.SGD):
        def update(self, group, array, grad, state, scratch):
            super().update(group, array, grad, state, scratch)
            array *= 0.5

    parameters = make_parameters([(3,)], "cuda")
    before = parameters[0].detach().numpy()
    optimizer = Halving(parameters, lr=1.0)
    give(parameters, 1)
    assert launched(cuda, optimizer.step) == []
    np.testing.assert_allclose(parameters[0].detach().numpy(), (before - 1) / 2)


def test_parameters_begin_where_16_bytes_can_be_read(cuda):
    for dtype in ("float64", "float32", "float16", "bfloat16"):
        parameters = make_parameters([(3,), (), (0,), (5, 7), (2,)], "cuda", dtype)
        before = [p.detach().numpy() for p in parameters]
        optimizer = optim.Adam(parameters)
        train(parameters, optimizer)
        for p, array in zip(parameters, before):
            assert p.shape == array.shape
            for each in (p, *optimizer.state[p].values()):
                assert each.device == "cpu" or each.array.data.ptr % 16 == 0
