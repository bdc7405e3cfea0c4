"""Wrong gradient rules, planted: the checkers must catch every one.

Each fault is planted in a fresh primitive whose right rule passes. Faults of the first
kind are wrong at first order. Those of the second are right at first order and wrong
only when the gradient is differentiated again: what they keep constant is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import op_checks as checks
import pytest
from op_table import Row, case

import tinygrad_softmax as tg
from tinygrad_softmax.testing import check_grads

SQUARE = np.array([[0.5, -1.2, 0.3], [1.1, 0.7, -0.4], [-0.9, 0.2, 1.3]])
VECTOR = np.array([0.4, -1.3, 0.9])


class Fault(NamedTuple):
    """A function, its right rules by input, and the wrong rule of its first input."""

    forward: Callable
    right: dict[str, Callable]
    wrong: Callable
    inputs: tuple[Any, ...]

    def op(self, rules: dict[str, Callable]) -> Any:
        op = tg.primitive(self.forward)
        for name, rule in rules.items():
            op.vjp(name)(rule)
        return op

    def planted(self) -> Any:
        first = next(iter(self.right))
        return self.op({**self.right, first: self.wrong})


def constant(x):
    """The raw array of a value that the graph should have seen."""
    return getattr(x, "array", x)


def spread(g, x_shape, axis):
    return tg.broadcast_to(tg.expand_dims(g, axis), x_shape)


# -- functions -------------------------------------------------------------------------


def product(a, b):
    return a * b


PRODUCT = {"a": lambda g, b: g * b, "b": lambda g, a: g * a}


def quotient(a, b):
    return a / b


QUOTIENT = {"b": lambda g, a, b: -g * a / (b * b), "a": lambda g, b: g / b}


def exponential(x):
    return np.exp(x)


EXPONENTIAL = {"x": lambda g, out: g * out}


def bell(x):
    return x * np.exp(-x * x)


BELL = {"x": lambda g, x: g * (tg.exp(-x * x) - 2.0 * x * x * tg.exp(-x * x))}


def column_sums(x):
    return (x * x).sum(axis=0)


COLUMN_SUMS = {"x": lambda g, x, x_shape: spread(g, x_shape, 0) * (2.0 * x)}


def matrix_product(a, b):
    return a @ b


MATRIX_PRODUCT = {"a": lambda g, b: g @ b.T, "b": lambda g, a: a.T @ g}


def softmax_rows(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def rows_sum(x):
    return tg.sum(x, axis=1, keepdims=True)


SOFTMAX = {"x": lambda g, out: g * out - out * rows_sum(g * out)}


def log_total(x):
    return np.log(np.exp(x).sum())


LOG_TOTAL = {"x": lambda g, x: g * tg.softmax(x)}


# -- faults of the first kind ----------------------------------------------------------

FIRST = {
    "sign": Fault(exponential, EXPONENTIAL, lambda g, out: -g * out, (VECTOR,)),
    "sign of the second input's": Fault(
        quotient, QUOTIENT, lambda g, a, b: g * a / (b * b), (VECTOR, VECTOR + 3.0)
    ),
    "factor dropped": Fault(
        column_sums,
        COLUMN_SUMS,
        lambda g, x, x_shape: spread(g, x_shape, 0) * x,
        (SQUARE,),
    ),
    "factor of one in a thousand": Fault(
        exponential, EXPONENTIAL, lambda g, out: g * out * 1.001, (VECTOR,)
    ),
    "g dropped": Fault(exponential, EXPONENTIAL, lambda g, out: out, (VECTOR,)),
    "g squared": Fault(exponential, EXPONENTIAL, lambda g, out: g * g * out, (VECTOR,)),
    "term dropped": Fault(bell, BELL, lambda g, x: g * tg.exp(-x * x), (VECTOR,)),
    "wrong input": Fault(product, PRODUCT, lambda g, a: g * a, (VECTOR, VECTOR[::-1])),
    "zero": Fault(product, PRODUCT, lambda g, b: g * b * 0.0, (VECTOR, VECTOR[::-1])),
    "axis missing": Fault(  # a square x hides it from every check of shapes
        softmax_rows,
        SOFTMAX,
        lambda g, out: g * out - out * tg.sum(g * out),
        (SQUARE,),
    ),
    "axis swapped": Fault(
        column_sums,
        COLUMN_SUMS,
        lambda g, x, x_shape: spread(g, x_shape, 1) * (2.0 * x),
        (SQUARE,),
    ),
    "not transposed": Fault(
        matrix_product, MATRIX_PRODUCT, lambda g, b: g @ b, (SQUARE, SQUARE.T + 0.1)
    ),
    "transposed": Fault(
        matrix_product, MATRIX_PRODUCT, lambda g, b: (g @ b.T).T, (SQUARE, SQUARE + 0.1)
    ),
    "order of a product": Fault(
        matrix_product, MATRIX_PRODUCT, lambda g, b: b.T @ g, (SQUARE, SQUARE + 0.1)
    ),
    "only the diagonal": Fault(
        softmax_rows, SOFTMAX, lambda g, out: g * out * (1.0 - out), (SQUARE,)
    ),
    "one element wrong": Fault(
        exponential,
        EXPONENTIAL,
        lambda g, out: (
            g * out * tg.tensor([1.0, 1.0, 0.9], out.dtype)
            if isinstance(out, tg.Tensor)
            else g * out * np.array([1.0, 1.0, 0.9])
        ),
        (VECTOR,),
    ),
    "wrong only when recorded": Fault(
        exponential,
        EXPONENTIAL,
        lambda g, out: g * out * (2.0 if isinstance(g, tg.Tensor) else 1.0),
        (VECTOR,),
    ),
}

# -- faults of the second kind ---------------------------------------------------------

SECOND = {
    "output kept constant": Fault(
        exponential, EXPONENTIAL, lambda g, out: g * constant(out), (VECTOR,)
    ),
    "input kept constant": Fault(
        column_sums,
        COLUMN_SUMS,
        lambda g, x, x_shape: spread(g, x_shape, 0) * (2.0 * constant(x)),
        (SQUARE,),
    ),
    "other input kept constant": Fault(
        product, PRODUCT, lambda g, b: g * constant(b), (VECTOR, VECTOR[::-1])
    ),
    "probabilities kept constant": Fault(
        log_total, LOG_TOTAL, lambda g, x: g * constant(tg.softmax(x)), (VECTOR,)
    ),
    "one term kept constant": Fault(
        bell,
        BELL,
        lambda g, x: g * (tg.exp(-x * x) - constant(2.0 * x * x * tg.exp(-x * x))),
        (VECTOR,),
    ),
    "normaliser kept constant": Fault(
        softmax_rows,
        SOFTMAX,
        lambda g, out: g * out - out * constant(rows_sum(g * out)),
        (SQUARE,),
    ),
    "g kept constant": Fault(
        exponential, EXPONENTIAL, lambda g, out: constant(g) * out, (VECTOR,)
    ),
    "matrix kept constant": Fault(
        matrix_product,
        MATRIX_PRODUCT,
        lambda g, b: g @ constant(b).T,
        (SQUARE, SQUARE + 0.1),
    ),
}


def catching(faults: dict[str, Fault]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults.values(), ids=faults)


@catching({fault.forward.__name__: fault for fault in (FIRST | SECOND).values()})
def test_right_rules_pass(fault):
    check_grads(fault.op(fault.right), *fault.inputs, order=2)
    checks_of_the_table(fault, fault.op(fault.right))


@catching(FIRST)
def test_first_order_faults_are_caught(fault):
    with pytest.raises(AssertionError):
        check_grads(fault.planted(), *fault.inputs, order=1)


@catching(SECOND)
def test_second_order_faults_are_right_at_first_order(fault):
    check_grads(fault.planted(), *fault.inputs, order=1)


@catching(SECOND)
def test_second_order_faults_are_caught(fault):
    with pytest.raises(AssertionError, match="order 2"):
        check_grads(fault.planted(), *fault.inputs, order=2)


@catching(FIRST | SECOND)
def test_the_op_table_catches_them_too(fault):
    with pytest.raises(AssertionError):
        checks_of_the_table(fault, fault.planted())


def checks_of_the_table(fault: Fault, op: Any) -> None:
    """The checks of gradients, on a row as the op table would have it."""
    given = iter(fault.inputs * 2)
    shapes = [case(*(x.shape for x in fault.inputs))]
    row = Row(
        "planted", op, fault.forward, tuple(shapes), lambda rng, shape: next(given)
    )
    for check in (checks.check_first, checks.check_recorded, checks.check_second):
        check(row, 0, "cpu")


# -- what goes wrong beside the formula ------------------------------------------------


def with_residual(fused):
    """x^3 with 3 x^2 made in the forward pass, and a fused body that uses it."""

    @tg.primitive(residuals=("slope",))
    def cube(x):
        return x * x * x, 3.0 * x * x

    @cube.vjp("x")
    def _(g, x):
        return g * (3.0 * x * x)

    cube.fused("x")(fused)
    return cube


def test_a_right_fused_body_passes():
    check_grads(with_residual(lambda g, slope: tg.scaled(slope, g)), VECTOR)


@pytest.mark.parametrize(
    "fused",
    [
        lambda g, slope: slope,
        lambda g, slope: g * slope * 2.0,
    ],
    ids=["g dropped", "factor"],
)
def test_wrong_fused_bodies_are_caught(fused):
    with pytest.raises(AssertionError):
        check_grads(with_residual(fused), VECTOR, order=1)


def test_a_residual_that_is_overwritten_is_caught():
    """Scaled in place, though the graph was to be kept for another backward."""
    wrong = with_residual(lambda g, slope: np.multiply(slope, g, out=slope))
    right = with_residual(lambda g, slope: tg.scaled(slope, g))
    for op in (wrong, right):
        row = Row("cube", op, lambda x: x**3, (case((3,)),), lambda rng, s: VECTOR)
        checks.check_first(row, 0, "cpu")
        if op is right:
            checks.check_twice(row, 0, "cpu")
        else:
            with pytest.raises(AssertionError, match="second backward"):
                checks.check_twice(row, 0, "cpu")


def test_a_rule_that_writes_to_its_input_is_caught():
    """Rules of the op table are handed arrays that can't be written to."""

    @tg.primitive
    def twice(x):
        return 2.0 * x

    @twice.vjp("x")
    def _(g):
        g *= 2.0
        return g

    row = Row("twice", twice, lambda x: 2.0 * x, (case((3,)),), lambda rng, s: VECTOR)
    with checks.rules_given_read_only(), pytest.raises(ValueError, match="read-only"):
        checks.check_read_only(row, 0)
