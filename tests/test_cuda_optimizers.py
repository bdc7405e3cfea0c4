"""The CUDA kernels of optimizers, norms and scales: on the CPU by cuda_shim, which are
not a GPU's numbers; or on a GPU with `--device cuda`.
"""

from __future__ import annotations

from typing import NamedTuple

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
from cuda_checks import REFERENCE, on_device
from cuda_optimizer_cases import Gradients, Update, not_finite, rule_of
from hypothesis import given, settings
from hypothesis import strategies as st
from optim_tools import CASES, SHAPES, give, make, make_parameters, train, values

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.backends import cupy_optimizers
from tinygrad_softmax.backends.updates import SGDRule

SIZES = st.sampled_from([1, 2, 3, 4, 7, 8, 9, 40, 100, 4095, 4096, 4097, 8200, 0])
SHIFTS = st.sampled_from([0, 0, 0, 1, 2])


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@settings(max_examples=150)
@given(
    st.sampled_from(CASES),
    st.lists(SIZES, min_size=1, max_size=5).map(tuple),
    checks.dtypes,
    st.integers(1, 40),
    SHIFTS,
    SHIFTS,
    checks.schedules,
    checks.seeds,
)
def test_a_step(backend, case, sizes, dtype, step, gap, shift, schedule, seed):
    with cuda_shim.schedule(schedule, seed % 1000):
        Update(*case, sizes, dtype, step, gap, shift, seed)(backend)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_option_as_on_the_cpu(backend, kind, name, dtype):
    """Ten steps of a model, some without some of the gradients."""
    found = []
    for device in ("cpu", "cuda"):
        parameters = make_parameters(SHAPES, device, dtype)
        optimizer = make(kind, name, parameters)
        train(parameters, optimizer, 4)
        give(parameters, 1, None, 2, 3, 4)
        optimizer.step()
        train(parameters, optimizer, 5)
        state = [
            each.numpy()
            for entry in optimizer.state.values()
            for each in entry.values()
        ]
        found.append(values(parameters) + state)
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_more_parameters_than_a_launch_takes(backend):
    sizes = tuple(1 + i % 5 for i in range(400))
    Update("Adam", "all", sizes)(backend)
    Gradients(sizes, "float16")(backend)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize(("kind", "name"), [("Adam", "all"), ("SGD", "all")])
def test_what_is_not_finite_comes_out_as_of_the_plain_code(backend, kind, name, bad):
    rule, names = rule_of(kind, name)
    grad = np.array([1.0, bad, 0.0, -2.0, 3.0])
    arrays = {each: np.ones(5) for each in ("", *names)}
    there = {each: on_device(backend, array) for each, array in arrays.items()}
    given_ = on_device(backend, grad)
    backend.update_at_once(rule, there.pop(""), there, [0], [given_])
    flat = arrays.pop("")
    with np.errstate(invalid="ignore"):
        REFERENCE.update_at_once(rule, flat, arrays, [0], [grad])
    for each in names:
        np.testing.assert_allclose(there[each].get(), arrays[each], rtol=1e-14)


def test_a_rule_that_has_no_kernel(backend):
    """An optimizer's own, or one that changes what a rule of ours does."""

    class Sign(NamedTuple):
        lr: float

        def states(self):
            return "seen", None, None

        def apply(self, xp, p, grad, state, scratch):
            state["seen"] += 1
            p -= self.lr * xp.sign(grad)

    class Halved(SGDRule):
        def apply(self, xp, p, grad, state, scratch):
            super().apply(xp, p, 0.5 * grad, state, scratch)

    class SignDescent(optim.Optimizer):
        state_arrays = {"seen": None}  # noqa: RUF012

        def rule(self, group, state):
            return Sign(group["lr"])

    class HalfDescent(optim.SGD):
        def rule(self, group, state):
            return Halved(*super().rule(group, state))

    for kind in (lambda p: SignDescent(p, {"lr": 0.5}), HalfDescent):
        found = []
        for device in ("cpu", "cuda"):
            parameters = make_parameters(SHAPES, device)
            train(parameters, kind(parameters), 3)
            found.append(values(parameters))
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-14)


# -- gradients that are not as a kernel takes them -------------------------------------


def one_step(gradient, device, **options):
    p = nn.Parameter(tg.tensor(np.arange(6.0).reshape(2, 3), "float32", device))
    p.grad = gradient(p)
    optim.SGD([p], lr=0.5, **options).step()
    return p.detach().numpy()


@pytest.mark.parametrize(
    "gradient",
    [
        lambda p: p.detach(),  # the parameter's own memory
        lambda p: p.detach().reshape(3, 2).T,
        lambda p: tg.tensor(np.arange(12.0, dtype="float32"), device=p.device)[
            ::2
        ].reshape(2, 3),
        lambda p: tg.broadcast_to(tg.ones((1, 3), device=p.device), (2, 3)),
    ],
    ids=["its own values", "those transposed", "with gaps", "broadcast"],
)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradients_of_any_layout(backend, gradient, momentum):
    expected = one_step(gradient, "cpu", momentum=momentum)
    got = one_step(gradient, "cuda", momentum=momentum)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_gradients_that_are_each_others_parameters(backend):
    """All are read before any is written."""
    found = []
    for device in ("cpu", "cuda"):
        first, second = parameters = make_parameters([(3,), (3,)], device)
        optimizer = optim.SGD(parameters, lr=0.5)
        first.grad, second.grad = second.detach(), first.detach()
        optimizer.step()
        found.append(values(parameters))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)


def test_a_gradient_of_another_dtype(backend):
    """It is not rounded to the parameters' dtype before it is used."""
    rule, _ = rule_of("SGD", "plain")
    flat = on_device(backend, np.zeros(4, np.float16))
    grads = [np.float32([1.0001, 3e5]), np.float16([1.0, 2.0])]
    given_ = [on_device(backend, each) for each in grads]
    backend.update_at_once(rule, flat, {}, [0, 2], given_)
    expected = -0.01 * np.concatenate(grads).astype(np.float64)
    np.testing.assert_allclose(flat.get(), expected, rtol=1e-3)


# -- norms and scales ------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(SIZES, min_size=1, max_size=6).map(tuple).filter(any),
    checks.dtypes,
    SHIFTS,
    checks.schedules,
    checks.seeds,
)
def test_norms_clipping_and_unscaling(backend, sizes, dtype, shift, schedule, seed):
    sizes = tuple(size for size in sizes if size)
    with cuda_shim.schedule(schedule, seed % 1000):
        Gradients(sizes, dtype, shift, seed)(backend)


def test_what_is_not_finite_is_seen(backend):
    not_finite(backend)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_norm_that_is_not_finite(backend, bad):
    for dtype in checks.DTYPES:
        x = np.ones(5000, checks.dtype_of(dtype))
        x[4500] = bad
        grads = [on_device(backend, each) for each in (x, np.ones(3, x.dtype))]
        (norm,) = backend.vector_norms(grads, 2.0)
        np.testing.assert_array_equal(norm.get(), bad)
        backend.clip_to_norm(grads, norm, 1.0)
        expected = 0.0 if bad == np.inf else np.nan
        np.testing.assert_array_equal(grads[1].get().astype(float), expected)


def test_a_norm_is_not_lost_where_the_squares_overflow_together(backend):
    """2^10 squares of 2^120 are 2^130, which float32 has not; their root it has."""
    (norm,) = backend.vector_norms(
        [on_device(backend, np.full(1024, 2.0**60, "f4"))], 2.0
    )
    assert norm.get() == 2.0**65


def test_a_norm_of_more_chunks_than_blocks(backend, monkeypatch):
    monkeypatch.setattr(cupy_optimizers, "MOST_PARTS", 2)
    Gradients((5, 20000) + (3,) * 160 + (13000,))(backend)


def test_a_norm_has_the_same_bits_every_time(backend):
    rng = np.random.default_rng(0)
    x = on_device(backend, rng.normal(size=100_000).astype("f4"))
    found = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            found.add(float(backend.vector_norms([x], 2.0)[0].get()))
    assert len(found) == 1


def test_arrays_that_no_kernel_takes(backend):
    """With gaps, given twice, without elements: the plain code does them."""
    xp = backend.xp
    strided = xp.asarray(np.arange(1.0, 9.0))[::2]
    twice = xp.asarray(np.array([2.0, 4.0]))
    grads = [strided, twice, twice, xp.zeros(0)]
    finite = backend.unscale(grads, 0.5)
    assert finite.get()
    np.testing.assert_array_equal(strided.get(), [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(twice.get(), [0.5, 1.0])
    backend.clip_to_norm(grads, xp.asarray(8.0 - 1e-6), 2.0)
    np.testing.assert_allclose(strided.get(), [0.125, 0.375, 0.625, 0.875], rtol=1e-15)
    np.testing.assert_allclose(twice.get(), [0.5 / 16, 1.0 / 16], rtol=1e-15)
    norms = backend.vector_norms([strided, xp.zeros(0), xp.zeros(0, "f4")], 3.0)
    assert [each.shape for each in norms] == [()] * 3
    norms = backend.vector_norms([twice, xp.zeros(0, "f4"), strided], 2.0)
    total = np.sqrt(sum(float(each.get()) ** 2 for each in norms))
    every = np.concatenate([twice.get(), strided.get()])
    np.testing.assert_allclose(total, np.sqrt(every @ every), rtol=1e-15)
