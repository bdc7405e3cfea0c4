"""Random programs: the engine against dual numbers and against finite differences."""

from __future__ import annotations

import numpy as np
from hypothesis import given, note
from random_programs import beside, programs, tensors

import tinygrad_softmax as tg

STEP = 1e-3


def directions(inputs):
    rng = np.random.default_rng(0)
    return [rng.uniform(-1.0, 1.0, x.shape) for x in inputs]


def slope(f):
    """df/dt at 0 by central differences, with an error of STEP^4; f gives arrays."""
    points = [f(t) for t in (STEP, -STEP, 2 * STEP, -2 * STEP)]
    return [(8 * (a - b) - (c - d)) / (12 * STEP) for a, b, c, d in zip(*points)]


def engine_gradient(program, inputs, device):
    xs = tensors(inputs, device)
    return [g.numpy() for g in tg.grad(program.run(xs), xs)]


def engine_hessian_product(run, inputs, along, device):
    """The gradient of (gradient . along)."""
    xs = tensors(inputs, device)
    first = tg.grad(run(xs), xs, create_graph=True)
    pairs = [(g, beside(g, v)) for g, v in zip(first, along) if g.requires_grad]
    if not pairs:
        return [np.zeros(x.shape) for x in xs]
    outs, seeds = zip(*pairs)
    found = tg.grad(outs, xs, seeds, allow_unused=True)
    return [np.zeros(x.shape) if g is None else g.numpy() for g, x in zip(found, xs)]


def assert_equal(got, wanted, tolerance):
    size = max([1.0, *(np.abs(w).max(initial=0.0) for w in wanted)])
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=tolerance * size)


@given(program=programs())
def test_gradient_equals_dual_numbers(program, device):
    note(str(program))
    got = engine_gradient(program, program.inputs, device)
    assert_equal(got, program.gradient(program.inputs), 1e-11)


@given(program=programs())
def test_gradient_equals_finite_differences(program, device):
    note(str(program))
    along = directions(program.inputs)
    gradient = engine_gradient(program, program.inputs, device)
    got = sum((g * v).sum() for g, v in zip(gradient, along))

    def result(t):
        moved = [x + t * v for x, v in zip(program.inputs, along)]
        return [program.run(tensors(moved, device)).detach().numpy()]

    assert_equal([got], slope(result), 1e-8)


@given(program=programs())
def test_second_order_equals_differences_of_gradients(program, device):
    """Of the engine's own gradients, and of the dual numbers'."""
    note(str(program))
    inputs, along = program.inputs, directions(program.inputs)
    got = engine_hessian_product(program.run, inputs, along, device)

    def engine(t):
        moved = [x + t * v for x, v in zip(inputs, along)]
        return engine_gradient(program, moved, device)

    def duals(t):
        return program.gradient([x + t * v for x, v in zip(inputs, along)])

    assert_equal(got, slope(engine), 1e-7)
    assert_equal(got, slope(duals), 1e-7)


@given(program=programs(most_steps=4))
def test_recomputed_programs_have_the_same_derivatives(program, device):
    note(str(program))
    inputs, along = program.inputs, directions(program.inputs)

    def recomputed(xs):
        return tg.checkpoint(lambda *xs: program.run(list(xs)), *xs)

    xs = tensors(inputs, device)
    got = [g.numpy() for g in tg.grad(recomputed(xs), xs)]
    assert_equal(got, engine_gradient(program, inputs, device), 1e-13)
    got = engine_hessian_product(recomputed, inputs, along, device)
    wanted = engine_hessian_product(program.run, inputs, along, device)
    assert_equal(got, wanted, 1e-12)


@given(program=programs())
def test_backward_adds_what_grad_gives(program, device):
    note(str(program))
    xs = tensors(program.inputs, device)
    for times in (1, 2):
        program.run(xs).backward()
        once = engine_gradient(program, program.inputs, device)
        assert_equal([x.grad.numpy() for x in xs], [times * g for g in once], 1e-13)
