"""The checker is checked: wrong rules are planted, and `check_grads` finds them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from faulty_ops import cube, planted, product, raw, twice_too_steep, values

import tinygrad_softmax as tg
from tinygrad_softmax.testing import check_grads

FIRST_ORDER = {
    "sign": (planted(cube, lambda g, x: g * (-3.0 * x * x)), [values(2, 2)]),
    "factor": (planted(cube, lambda g, x: g * (2.0 * x * x)), [values(2, 2)]),
    "factor close to 1": (
        planted(cube, lambda g, x: g * (3.00003 * x * x)),
        [values(2)],
    ),
    "a term too many": (planted(cube, lambda g, x: g * (3.0 * x * x + x)), [values(2)]),
    "g is forgotten": (planted(cube, lambda g, x: 3.0 * x * x), [2.0]),
    "g is squared": (planted(cube, lambda g, x: g * g * (3.0 * x * x)), [2.0]),
    "the size of g": (planted(cube, lambda g, x: abs(g) * (3.0 * x * x)), [2.0]),
    "a constant is added": (planted(cube, lambda g, x: g * (3.0 * x * x) + 1.0), [2.0]),
    "transposed": (
        planted(product, lambda g, b: g @ b, lambda g, a: tg.swapaxes(a, 0, 1) @ g),
        [values(3, 3), values(3, 3, seed=1)],
    ),
    "the inputs swapped": (
        planted(
            lambda a, b: a * b * b,
            lambda g, a, b: g * a * b * 2.0,
            lambda g, b: g * b * b,
        ),
        [values(3), values(3, seed=1)],
    ),
    "a missing axis": (
        planted(
            lambda x: tg.namespace(x).sum(x, axis=1),
            lambda g, x: tg.reshape(g, (1, -1)) + 0.0 * x,
        ),
        [values(3, 3)],
    ),
    "the order reversed": (
        planted(lambda x: x * 2.0, lambda g: tg.flip(g, axis=0) * 2.0),
        [values(3)],
    ),
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("fault", FIRST_ORDER)
def test_a_fault_of_first_order_is_found(fault, order):
    op, inputs = FIRST_ORDER[fault]
    with pytest.raises(AssertionError, match="order 1: input"):
        check_grads(op, *inputs, order=order)


def fused_square(formula, body):
    """An op x^2 with a residual, 2 x, that only `body` may use."""

    @tg.primitive(residuals=("slope",))
    def square(x):
        return x * x, 2.0 * x

    square.vjp("x")(formula)
    square.fused("x")(body)
    return square


def right(g, x):
    return g * (2.0 * x)


SECOND_ORDER = {
    "an input kept as a constant": planted(cube, lambda g, x: g * (3.0 * raw(x) ** 2)),
    "half of it": planted(cube, lambda g, x: g * (3.0 * x * raw(x))),
    "the output kept as a constant": planted(
        lambda x: tg.namespace(x).exp(x), lambda g, out: g * raw(out)
    ),
    "the incoming gradient kept as one": planted(
        cube, lambda g, x: raw(g) * (3.0 * x * x)
    ),
    "a rule of the rule": planted(
        cube, lambda g, x: g * (1.5 * twice_too_steep(x) * 2.0)
    ),
}


@pytest.mark.parametrize("fault", SECOND_ORDER)
@pytest.mark.parametrize("shape", [(), (2, 2), (8, 8)])
def test_a_fault_of_second_order_is_found(fault, shape):
    op, x = SECOND_ORDER[fault], values(*shape)
    check_grads(op, x, order=1)  # there is nothing wrong with it yet
    with pytest.raises(
        AssertionError, match=r"order 2: (input 0 \(x\)|gradient given)"
    ):
        check_grads(op, x, order=2)


def test_log_sum_exp_as_a_constant_is_found():
    """The classic: right at first order, 177 % off in a Hessian-vector product."""
    op = planted(
        lambda x: tg.logsumexp(x, axis=0),
        lambda g, x: g * tg.exp(x - raw(tg.logsumexp(x, axis=0))),
    )
    check_grads(op, values(4), order=1)
    with pytest.raises(AssertionError, match="order 2"):
        check_grads(op, values(4))


def test_a_fault_of_third_order_is_found():
    def rule(g, x):
        frozen = raw(x)
        return g * (3.0 * x * x + (x - frozen) ** 2 * frozen)

    op = planted(cube, rule)
    check_grads(op, values(3), order=2)
    with pytest.raises(AssertionError, match="order 3"):
        check_grads(op, values(3), order=3)


@pytest.mark.parametrize("shape", [(), (3,), (10, 10)])
def test_a_fused_body_is_compared_with_its_formula(shape):
    x = values(*shape)
    check_grads(fused_square(right, lambda g, slope: g * slope), x)
    check_grads(fused_square(right, lambda g, slope: tg.scaled(slope, g)), x)
    with pytest.raises(AssertionError, match=r"order 1.*backward gives"):
        check_grads(fused_square(right, lambda g, slope: g * slope * 1.5), x)

    def wrong(g, x):
        return g * (3.0 * x)

    text = r"backward gives .* and backward with create_graph=True gives"
    with pytest.raises(AssertionError, match=text):
        check_grads(fused_square(wrong, lambda g, slope: g * slope), x)


def test_a_fused_body_that_is_wrong_for_the_engines_own_seed():
    """`loss.backward()`, where nobody gives a gradient, has a path of its own."""

    def body(g, slope):
        given = tg.scaled(slope, g) is not slope
        return g * slope if given else slope * 2.0

    with pytest.raises(AssertionError, match=r"and backward\(\) gives 8"):
        check_grads(fused_square(right, body), 2.0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_a_fault_is_found_in_every_dtype(dtype, device):
    op = planted(cube, lambda g, x: g * (4.0 * x * x))
    with pytest.raises(AssertionError, match="order 1"):
        check_grads(op, tg.tensor(values(3), dtype=dtype, device=device))


@pytest.mark.parametrize("place", [(0, 0), (3, 17), (19, 29)])
def test_one_wrong_element_of_many_is_found_and_named(place):
    def rule(g, x):
        wrong = np.zeros((20, 30))
        wrong[place] = 0.1
        return g * (3.0 * x * x + wrong)

    index = re.escape(str(place))
    with pytest.raises(AssertionError, match=rf"input 0 \(x\) at index {index}: "):
        check_grads(planted(cube, rule), values(20, 30))


def test_a_large_input_costs_few_calls():
    calls = []

    def f(x):
        calls.append(x.shape)
        return tg.sum(tg.tanh(x))

    check_grads(f, values(100, 100))
    assert len(calls) < 100
