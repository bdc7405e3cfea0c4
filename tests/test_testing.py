"""`check_grads`: it finds what is wrong, says where, and accepts what is right."""

from __future__ import annotations

import numpy as np
import pytest
from examples_of import part
from faulty_ops import cube, planted, raw, twice_too_steep, values
from hypothesis import find, given, settings

import tinygrad_softmax as tg
from tinygrad_softmax.testing import check_grads
from tinygrad_softmax.testing import strategies as st

# -- right ops -------------------------------------------------------------------------

INPUTS = {
    "a number": 2.0,
    "a NumPy number": np.float64(2.0),
    "0-d": np.array(2.0),
    "empty": np.zeros((0, 3)),
    "small": values(2, 3),
    "large": values(20, 30),
    "strided": values(4, 6)[::2, ::-3],
    "read-only": np.broadcast_to(values(1, 3), (2, 3)),
    "zero": np.zeros(3),
    "huge": np.array([1e9, -3e12]),
    "minute": np.array([1e-9, -3e-12]),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_every_kind(name):
    check_grads(lambda x: x * tg.tanh(x), INPUTS[name])


def test_elements_that_are_not_finite_are_left_out():
    x, label = np.array([1.0, -np.inf, 2.0]), tg.tensor(0)
    check_grads(lambda x: tg.softmax_cross_entropy(x, label), x)
    large = np.where(np.arange(40) % 3, values(40), -np.inf)
    check_grads(lambda x: tg.softmax_cross_entropy(x, label), np.append(1.0, large))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_inputs_of_every_dtype(dtype, device):
    x = tg.tensor(values(3), dtype=dtype, device=device)
    check_grads(lambda x: tg.exp(x * 0.5), x)
    check_grads(lambda x: tg.sum(tg.exp(x * 0.5)), x)


def test_inputs_keep_their_device(device):
    seen = []

    def f(x, labels):
        seen.append((x.device, labels.device, labels.dtype))
        return tg.take_along_axis(x * x, labels, axis=0)

    x = tg.tensor(values(3), device=device)
    check_grads(f, x, tg.tensor([2, 0], device=device))
    assert set(seen) == {(x.device, x.device, np.dtype("int64"))}


def test_inputs_that_are_no_floats_are_handed_on():
    check_grads(
        lambda mask, x, n: tg.where(mask, x * n, x), values(3) > 1, values(3), 2
    )


def test_inputs_are_left_alone():
    x = tg.tensor(values(3), requires_grad=True)
    before = x.detach().numpy().copy()
    check_grads(tg.exp, x)
    assert x.grad is None
    assert x.is_leaf
    assert x.requires_grad
    np.testing.assert_array_equal(x.detach().numpy(), before)


def test_several_inputs_and_several_outputs():
    check_grads(tg.multiply, values(2, 3), values(3, seed=1))
    check_grads(lambda a, b: (a @ b, tg.sum(a), b * 2.0), values(2, 3), values(3, 2))
    check_grads(lambda a, b: [a * a], values(2), values(3))


def test_high_orders():
    check_grads(lambda x: tg.exp(tg.sin(x)), values(2), order=4)
    check_grads(lambda x: x * x * x, 0.0, order=4)


def test_orders_of_a_function_that_differentiates():
    """As a penalty on the gradient does."""

    def penalty(x):
        slope = tg.value_and_grad(lambda x: tg.sum(tg.tanh(x)))(x)[1]
        return tg.sum(slope * slope)

    check_grads(penalty, values(3))


def test_what_does_not_depend_on_an_input():
    check_grads(lambda a, b: a * a, values(2), values(3))
    check_grads(lambda a: tg.ones(3), values(2))
    check_grads(tg.floor, values(2) + 0.1)
    with tg.no_grad():
        check_grads(tg.tanh, values(2))


# -- where differences are hard --------------------------------------------------------


@pytest.mark.parametrize("x", [1e-12, 1e-6, 1e-3, 1.0, 1e6])
def test_next_to_a_pole(x):
    check_grads(tg.log, np.array([x, 1.0]))
    check_grads(lambda x: tg.log(x) + 7.0, x)


@pytest.mark.parametrize("distance", [1e-3, 1e-4, 1e-5, -1e-5])
def test_next_to_a_kink(distance):
    check_grads(tg.relu, np.array([distance, 1.0]))
    check_grads(lambda x: tg.relu(x - (3.0 - distance)), 3.0)


def test_steep_and_flat():
    check_grads(lambda x: tg.sin(x * 1000.0), values(3))
    check_grads(lambda x: tg.sin(x * 1e-3), values(3))


def test_on_top_of_a_large_offset():
    """x + h is exact, though h is less than a millionth of a millionth of x."""
    label = tg.tensor(0)
    check_grads(lambda x: tg.softmax_cross_entropy(x, label), values(3) + 1e9)
    check_grads(lambda x: tg.softmax_cross_entropy(x, label), values(30) - 1e9)


def test_a_function_that_computes_in_float32():
    check_grads(lambda x: tg.exp(x.astype("float32")), values(3))
    with pytest.raises(AssertionError, match="order 1"):
        check_grads(lambda x: twice_too_steep(x.astype("float32")), values(3))


def test_a_kink_is_reported_as_one():
    with pytest.raises(AssertionError, match=r"give 0\.50\d+; .* a kink\?"):
        check_grads(lambda x: tg.relu(x - (1.0 - 1e-8)), 1.0)


# -- what is said ----------------------------------------------------------------------


def message(*arguments, **options) -> str:
    with pytest.raises(AssertionError) as caught:
        check_grads(*arguments, **options)
    return str(caught.value)


def test_the_message():
    """It names function, order, input, place, both numbers and the tolerance."""

    @tg.primitive
    def volume(side, height):
        return side * side * height

    volume.vjp("side")(lambda g, side, height: g * (2.0 * side * height))
    volume.vjp("height")(lambda g, side: g * (3.0 * side * side))
    assert message(volume, 1.0, 5.0) == (
        "check_grads(volume), order 1: input 1 (height) at index (): backward gives 3 "
        "and finite differences give 1; they may differ by 3.05e-06 (rtol 1e-06, atol "
        "5e-08)"
    )
    text = message(volume, np.array([1.0, 2.0]), np.array([0.5, 0.25]))
    assert text.startswith(
        "check_grads(volume), order 1: input 1 (height) at index (0,)"
    )
    assert text.endswith("for the sum of the outputs times fixed random numbers")
    assert "input 1 (tall)" in message(volume, 1.0, 5.0, names=["wide", "tall"])
    assert "(<lambda>), order 1: input 1 (h)" in message(
        lambda s, h: volume(s, h), 1.0, 5.0
    )
    assert "order 1: input 1 at" in message(lambda *inputs: volume(*inputs), 1.0, 5.0)


def test_the_message_of_second_order_names_what_varied():
    op = planted(cube, lambda g, x: raw(g) * (3.0 * x * x))
    assert "order 2: gradient given to output 0 at index ()" in message(op, 2.0)
    op = planted(cube, lambda g, x: g * (3.0 * raw(x) ** 2))
    assert "order 2: input 0 (x) at index ()" in message(op, 2.0)


def test_it_says_the_same_each_time():
    state = np.random.get_state()[1].copy()  # noqa: NPY002  (that it is not used)
    op = planted(cube, lambda g, x: g * x)
    assert message(op, values(30, 3)) == message(op, values(30, 3))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_it_shrinks():
    """Hypothesis finds the least array on which a fault shows."""

    def is_wrong(x):
        op = planted(cube, lambda g, x: g * (3.0 * x * x + (raw(x) > 1.0)))
        try:
            check_grads(op, x, order=1)
        except AssertionError:
            return True
        return False

    domain = st.arrays(st.shapes(1, 2), low=-2.0, high=2.0)
    least = find(domain, is_wrong, settings=settings(max_examples=500, database=None))
    assert least.shape == (1,)
    assert 1.0 < least[0] <= 1.0 + 2.0**-7


def test_a_function_that_is_not_deterministic():
    text = message(lambda x: x * float(np.random.default_rng().random()), values(2))
    assert "different values; mend: seed" in text


def test_the_edge_of_a_domain():
    with np.errstate(divide="ignore", invalid="ignore"):
        text = message(tg.sqrt, np.array([0.0]), order=1)
    assert "not finite within 0.00098" in text
    assert "mend: choose inputs further inside its domain" in text


# -- options ---------------------------------------------------------------------------


def test_tolerances():
    op = planted(cube, lambda g, x: g * (3.003 * x * x))
    for loose in ({"rtol": 1e-2}, {"atol": 1e-2}):
        check_grads(op, 1.0, order=1, **loose)
    for tight in ({"rtol": 1e-4}, {"atol": 1e-4}, {}):
        with pytest.raises(AssertionError):
            check_grads(op, 1.0, order=1, **tight)
    with pytest.raises(AssertionError, match=r"rtol 0, atol 0"):
        check_grads(op, 1.0, rtol=0.0, atol=0.0)
    check_grads(lambda x: x * x, 1.0, rtol=0.0, atol=1e-10)


def test_a_step_of_ones_own():
    """A wide step crosses a kink that the default one avoids."""
    check_grads(tg.relu, np.array(0.1))
    with pytest.raises(AssertionError, match="kink"):
        check_grads(tg.relu, np.array(0.1), eps=0.5)
    check_grads(tg.relu, np.array(0.1), eps=0.01)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((tg.exp, 1.0), {"order": 0}, ValueError, "order was given as 0; expected 1"),
        ((tg.exp, [1.0]), {}, TypeError, "input 0 is a list; .*mend: tg.tensor"),
        ((tg.exp, None), {}, TypeError, "input 0 is a NoneType"),
        ((tg.exp,), {}, TypeError, "exp was given no floating input"),
        ((tg.exp, np.array([1])), {}, TypeError, "exp was given no floating input"),
        ((tg.argmax, np.ones(3)), {}, TypeError, "argmax returned a int64; it must"),
        ((lambda x: 1.0, 1.0), {}, TypeError, "returned a float; it must return"),
        ((tg.exp, 1.0), {"names": ["a", "b"]}, ValueError, "2 names for 1 inputs"),
    ],
)
def test_what_it_can_not_check(arguments, options, error, text):
    with pytest.raises(error, match=text):
        check_grads(*arguments, **options)


@part(0.2)
@given(xs=st.broadcastable(2, low=0.5))
def test_with_the_strategies(xs):
    check_grads(tg.divide, *xs)
