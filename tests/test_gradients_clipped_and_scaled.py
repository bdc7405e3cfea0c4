"""Clipping by norm and by value, and the gradient scaler."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from strict_cupy import Seen, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.optim import GradScaler, clip_grad_norm_, clip_grad_value_

GRADS = [np.array([[3.0, -4.0]]), np.array(12.0), np.zeros((0, 2)), None]


def parameters_with(grads, device="cpu", dtype="float64"):
    found = []
    for grad in grads:
        shape = (2,) if grad is None else grad.shape
        p = nn.Parameter(tg.zeros(shape, dtype, device))
        if grad is not None:
            p.grad = tg.tensor(grad, dtype, device)
        found.append(p)
    return found


def grads_of(parameters):
    return [p.grad.numpy() for p in parameters if p.grad is not None]


# -- clipping --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "norm"),
    [(2.0, 13), (1, 19), (math.inf, 12), (-math.inf, 3), (0, 2), (3, 1819 ** (1 / 3))],
)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_the_norm_is_that_of_one_long_vector(order, norm, dtype, device):
    # Order 0 is PyTorch's: how many gradients are not 0.
    some = GRADS if order >= 0 else GRADS[:2]
    parameters = parameters_with(some, device, dtype)
    if order == -math.inf:
        parameters = parameters[:1]
    found = clip_grad_norm_(parameters, 1e9, order)
    wide = "float64" if dtype == "float64" else "float32"
    assert (found.shape, found.dtype.name) == ((), wide)
    assert found.device == parameters[0].grad.device
    assert found.item() == pytest.approx(norm, rel=1e-12 if wide == "float64" else 1e-6)
    np.testing.assert_array_equal(grads_of(parameters)[0], [[3, -4]])  # unclipped


def test_order_0_of_one_gradient_is_1_unless_it_is_0(device):
    for grad, norm in (([3.0, -4.0, 0.0], 1.0), ([0.0, 0.0], 0.0)):
        parameters = parameters_with([np.array(grad)], device)
        assert clip_grad_norm_(parameters, 1e9, 0).item() == norm


def test_gradients_are_scaled_in_place(device):
    parameters = parameters_with(GRADS, device)
    arrays = [p.grad.array for p in parameters if p.grad is not None]
    clip_grad_norm_(iter(parameters), 6.5)
    factor = 6.5 / (13 + 1e-6)
    np.testing.assert_allclose(grads_of(parameters)[0], GRADS[0] * factor, rtol=1e-14)
    np.testing.assert_allclose(grads_of(parameters)[1], 12 * factor, rtol=1e-14)
    assert all(
        p.grad.array is a for p, a in zip(parameters, arrays) if p.grad is not None
    )
    assert parameters[3].grad is None
    single = parameters[0]
    assert clip_grad_norm_(single, 1.0).item() == pytest.approx(5 * factor)


def test_dtypes_and_devices_may_be_mixed():
    with strict_cuda() as cuda:
        parameters = [
            *parameters_with(GRADS[:1], "cuda:1", "float32"),
            *parameters_with(GRADS[1:2], "cuda:1", "float64"),
        ]
        with cuda.counting() as seen:
            found = clip_grad_norm_(parameters, 1.0)
            clip_grad_value_(parameters, 0.5)
        assert seen == Seen()  # nothing waited for
        assert (found.device, found.item()) == ("cuda:1", 13)
        parameters += parameters_with([np.array([84.0])], "cpu")
        parameters[0].grad = tg.tensor([[0.0, 13.0]], device="cuda:1")
        parameters[1].grad = None
        assert clip_grad_norm_(parameters, 1.0).item() == pytest.approx(85)


def test_no_gradients_have_norm_0():
    assert clip_grad_norm_(parameters_with([None]), 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0
    assert clip_grad_norm_(parameters_with([np.zeros(0)]), 1.0, math.inf).item() == 0


def test_a_generator_that_is_used_up_is_warned_of():
    model = nn.Linear(2, 2)
    parameters = model.parameters()
    list(parameters)
    with pytest.warns(UserWarning, match="clip_grad_norm_ got a generator that is use"):
        clip_grad_norm_(parameters, 1.0)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_norms_that_are_not_finite(bad, device):
    parameters = parameters_with([np.array([1.0, bad])], device)
    with pytest.raises(RuntimeError, match=r"norm of order 2\.0 of the gradients is"):
        clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(grads_of(parameters)[0], [1, bad])
    assert not math.isfinite(clip_grad_norm_(parameters, 1.0).item())
    expected = [0, np.nan] if bad == np.inf else [np.nan, np.nan]  # as in PyTorch
    np.testing.assert_array_equal(grads_of(parameters)[0], expected)


def test_values_are_clipped(device):
    parameters = parameters_with([np.array([3.0, -4.0, 0.5, np.nan]), None], device)
    array = parameters[0].grad.array
    clip_grad_value_(parameters, 1)
    np.testing.assert_array_equal(grads_of(parameters)[0], [1, -1, 0.5, np.nan])
    assert parameters[0].grad.array is array


# -- the scaler ------------------------------------------------------------------------


def one(device="cpu", grad=None, dtype="float32", **options):
    """A parameter, its optimizer and a scaler; with a gradient, its loss was scaled."""
    p = nn.Parameter(tg.tensor([1.0, 2.0], dtype, device))
    optimizer = optim.SGD([p], lr=1.0)
    scaler = GradScaler(device, **{"init_scale": 4.0, **options})
    if grad is not None:
        scaler.scale(tg.tensor(0.0, device=device))
        p.grad = tg.tensor(grad, dtype, device)
    return p, optimizer, scaler


def test_the_loss_is_scaled_up_and_the_gradient_down(device):
    p, optimizer, scaler = one(device)
    loss = (p * p).sum() / 4
    scaled = scaler.scale(loss)
    assert scaled.item() == 4 * loss.item()
    scaled.backward()
    assert p.grad.tolist() == [2, 4]
    assert scaler.step(optimizer) is None
    assert p.grad.tolist() == [0.5, 1]
    assert p.tolist() == [0.5, 1]


def test_nested_outputs_are_scaled(device):
    scaler = GradScaler(device, init_scale=4.0)
    a, b = tg.ones(2, device=device), tg.tensor([3.0], "float64", device)
    found = scaler.scale([a, (b, [a])])
    assert isinstance(found[1], tuple)
    assert [found[0].tolist(), found[1][0].tolist()] == [[4, 4], [12]]
    assert found[1][0].dtype == np.float64
    assert [each.tolist() for each in scaler.scale(iter([a]))] == [[4, 4]]
    assert scaler.scale(tg.tensor(2.0, "float16", device)).dtype == np.float32
    assert scaler.scale(tg.ones(1, "float16", device)).dtype == np.float16
    with pytest.raises(TypeError, match="scale got a int; expected a Tensor"):
        scaler.scale([a, 3])


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_bad_gradient_stops_the_step(bad, device):
    p, optimizer, scaler = one(device, grad=[1.0, bad])
    with np.errstate(all="ignore"):
        scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [1, 2]
    assert scaler.get_scale() == 2
    p.grad = tg.tensor([1.0, 1.0], device=device)
    scaler.step(optimizer)
    assert p.tolist() == [0.5, 1.5]


def test_the_scale_grows_after_good_steps(device):
    p, optimizer, scaler = one(device, grad=[0.0, 0.0], growth_interval=2)
    scales = []
    for step in range(7):
        p.grad = tg.tensor([0.0, np.inf if step == 3 else 0.0], device=device)
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [4, 8, 8, 4, 4, 8, 8]
    large = one(device, grad=[0.0, 0.0], init_scale=2.0**127, growth_interval=1)
    large[2].step(large[1])
    large[2].update()
    assert large[2].get_scale() == 2.0**127  # twice that is no float32


def test_two_optimizers_share_a_scaler(device):
    p, first, scaler = one(device, grad=[4.0, 4.0])
    q = nn.Parameter(tg.tensor([1.0], device=device))
    q.grad = tg.tensor([np.inf], device=device)
    second = optim.SGD([q], lr=1.0)
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert (p.tolist(), q.tolist(), scaler.get_scale()) == ([0, 1], [1], 2)


def test_clipping_comes_after_unscaling(device):
    p, optimizer, scaler = one(device, grad=[12.0, 16.0])
    scaler.unscale_(optimizer)
    assert clip_grad_norm_([p], 1e9).item() == 5
    scaler.step(optimizer)
    assert p.tolist() == [-2, -2]  # not unscaled twice


def test_calls_out_of_order_are_refused(device):
    _, optimizer, scaler = one(device)
    for name, call in (
        ("unscale_", lambda: scaler.unscale_(optimizer)),
        ("step", lambda: scaler.step(optimizer)),
        ("update", scaler.update),
    ):
        with pytest.raises(RuntimeError, match=f"{name} was called before scale"):
            call()
    p, optimizer, scaler = one(device, grad=[1.0, 1.0])
    with pytest.raises(RuntimeError, match="update was called before any step"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscale_ was called twice for one optimi"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="can't be given a closure"):
        scaler.step(optimizer, closure=lambda: None)
    with pytest.raises(RuntimeError, match="can't be pickled or copied between a ste"):
        pickle.dumps(scaler)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="step was called twice for one optimizer"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_ was called after step\(\)"):
        scaler.unscale_(optimizer)
    scaler.update()
    optimizer.zero_grad()
    with pytest.raises(RuntimeError, match="no parameter of the optimizer has a grad"):
        scaler.step(optimizer)
    p, optimizer, scaler = one(device, grad=[1.0, 1.0], dtype="float16")
    with pytest.raises(ValueError, match="a gradient is float16, so what is small in"):
        scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1, 1]
    with pytest.raises(ValueError, match="growth_factor was given as 1; expected > 1"):
        GradScaler(device, growth_factor=1)
    with pytest.raises(ValueError, match=r"backoff_factor was given as 1\.5; expected"):
        GradScaler(device, backoff_factor=1.5)


def test_a_disabled_scaler_does_nothing(device):
    p, optimizer, scaler = one(device, enabled=False)
    loss = (p * p).sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [-1, -2]
    assert (scaler.get_scale(), scaler.is_enabled()) == (1.0, False)
    assert scaler.state_dict() == {}
    scaler.load_state_dict({})
    assert one(device)[2].is_enabled()


def test_cuda_without_a_device_disables(monkeypatch):
    from tinygrad_softmax.optim import grad_scaler

    monkeypatch.setattr(grad_scaler, "cuda_is_available", lambda: False)
    with pytest.warns(UserWarning, match="does nothing: there is no CUDA device; mend"):
        assert not GradScaler().is_enabled()
    assert not GradScaler(enabled=False).is_enabled()
    assert GradScaler("cpu").is_enabled()


def test_its_state_is_saved_and_copied(device):
    _, optimizer, scaler = one(device, grad=[0.0, 0.0], growth_interval=3)
    for _ in range(4):
        scaler.step(optimizer)
        scaler.update()
    state = scaler.state_dict()
    assert state == {
        "scale": 8.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 3,
        "_growth_tracker": 1,
    }
    other = GradScaler(device)
    other.load_state_dict(state)
    for same in (other, copy.deepcopy(scaler), pickle.loads(pickle.dumps(scaler))):
        assert same.state_dict() == state
    with pytest.raises(RuntimeError, match="the state is empty; it was saved by a sca"):
        other.load_state_dict({})
    del state["scale"]
    with pytest.raises(KeyError, match="missing keys: scale"):
        other.load_state_dict(state)
    assert GradScaler("cpu", init_scale=1000.1).get_scale() == float(np.float32(1000.1))
    scaler.update(new_scale=32.0)
    assert scaler.get_scale() == 32
    scaler.set_growth_factor(3.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(7)
    settings = (
        scaler.get_growth_factor(),
        scaler.get_backoff_factor(),
        scaler.get_growth_interval(),
    )
    assert settings == (3.0, 0.25, 7)


def test_a_step_reads_from_the_device_once():
    with strict_cuda() as cuda:
        parameters = parameters_with([np.ones(3)] * 4, "cuda:1", "float32")
        optimizer = optim.Adam(parameters)
        scaler = GradScaler("cuda")
        with cuda.counting() as seen:
            scaler.scale(tg.ones((), device="cuda:1"))
            scaler.unscale_(optimizer)
            assert seen == Seen()
            scaler.step(optimizer)
            assert len(seen.waits) == 1
            scaler.update()
        assert len(seen.waits) == 1
