"""The lecture's numbers, as `tg.explain` shows them.

"Training a Softmax classifier": four classes (0 other, 1 cat, 2 dog, 3 chick). The
numbers on the right of the assertions are the lecture's, or worked out here by hand
with nothing but `math`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.explaining.words import number

Z = [5.0, 2.0, -1.0, 3.0]
Y = [0.0, 1.0, 0.0, 0.0]
Y_HAT = [0.3, 0.2, 0.1, 0.4]
E = [math.exp(each) for each in Z]


def tensor(values, device, **options):
    return tg.tensor(values, tg.float64, device, **options)


def host(value):
    return tg.asarray(value).numpy() if not isinstance(value, np.ndarray) else value


def rounded(value, digits):
    return np.round(np.asarray(host(value), float), digits).tolist()


def softmax_steps(z, y):
    t = tg.exp(z)
    total = t.sum()
    y_hat = t / total
    log_y_hat = tg.log(y_hat)
    loss = -(y * log_y_hat).sum()
    return loss  # noqa: RET504  (its name is in the ledger)


@pytest.fixture
def poor(device):
    """The loss of y-hat = [.3, .2, .1, .4], step by step: e^z is y-hat itself."""
    z = tensor([math.log(each) for each in Y_HAT], device, requires_grad=True)
    return tg.explain(softmax_steps, z, tensor(Y, device), check=True)


def test_softmax_of_the_four_scores(device):
    """1, 2, 3: t = e^z, its sum, a; the largest z is the largest probability."""
    z = tensor(Z, device, requires_grad=True)
    explanation = tg.explain(softmax_steps, z, tensor(Y, device))
    assert rounded(explanation.named("z").value, 0) == [5, 2, -1, 3]
    assert rounded(explanation.named("t").value, 1) == [148.4, 7.4, 0.4, 20.1]
    assert rounded(explanation.named("total").value, 1) == 176.3
    a = explanation.named("y_hat").value
    assert rounded(a, 3) == [0.842, 0.042, 0.002, 0.114]
    assert host(a).argmax() == 0
    np.testing.assert_allclose(host(a), [e / sum(E) for e in E], rtol=1e-14)
    assert "[148.4, 7.389, 0.3679, 20.09]" in explanation.text(100)


def test_hardmax_keeps_nothing_of_the_others(device):
    """4: a 1 at the largest; softmax has all of it but 16 % there too."""
    z = tensor(Z, device)
    hard = tg.where(z == tg.max(z), 1.0, 0.0)
    assert hard.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_two_classes_are_logistic_regression(device):
    """5: [.842, .158] is sigmoid(z1 - z2), of z1 - z2 = 1.673."""
    z = tensor([1.673, 0.0], device, requires_grad=True)
    explanation = tg.explain(lambda z: tg.softmax(z)[0], z)
    a = host(explanation[2].value)
    assert rounded(a, 3) == [0.842, 0.158]
    sigmoid = 1.0 / (1.0 + math.exp(-1.673))
    np.testing.assert_allclose(a, [sigmoid, 1.0 - sigmoid], rtol=1e-15)
    # The two are redundant: what one score gets, the other loses.
    gradient = host(explanation.leaves[0].gradient)
    np.testing.assert_allclose(gradient[0], -gradient[1], rtol=1e-14)


def test_the_loss_of_a_cat_that_gets_20_percent(poor):
    """6, 7, 8: L = -log y-hat_2 = 1.6094, and e^-L is 0.2 again."""
    np.testing.assert_allclose(host(poor.named("y_hat").value), Y_HAT, rtol=1e-15)
    loss = float(host(poor.named("loss").value))
    assert round(loss, 4) == 1.6094
    assert loss == pytest.approx(-math.log(0.2), rel=1e-15)
    assert math.exp(-loss) == pytest.approx(0.2, rel=1e-15)
    assert number(loss) == "1.609"


def test_dz_is_y_hat_minus_y(poor):
    """12: [.3, -.8, .1, .4], and finite differences agree."""
    z = poor.named("z")
    np.testing.assert_allclose(host(z.gradient), [0.3, -0.8, 0.1, 0.4], rtol=1e-14)
    assert z.check.kind == "elements"
    assert z.check.agrees
    np.testing.assert_allclose(z.check.measured, [0.3, -0.8, 0.1, 0.4], rtol=1e-9)
    assert all(entry.check.agrees for entry in poor.entries)


def test_two_messages_become_y_hat_and_minus_y(poor):
    """The figure to build on: [0, -5, 0, 0] by the numerator, [1, 1, 1, 1] by the
    denominator's broadcast sum; they add to [1, -4, 1, 1], and that times t is dz."""
    t, total, y_hat = poor.named("t"), poor.named("total"), poor.named("y_hat")
    first, second = (poor.message(n) for n in t.messages)
    assert (first.source, first.input_name) == (y_hat.number, "a")
    assert second.source == total.number
    np.testing.assert_allclose(host(first.arrived), [0, -5, 0, 0], rtol=1e-14)
    np.testing.assert_allclose(host(second.arrived), [1, 1, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(host(second.before), host(first.arrived))
    np.testing.assert_allclose(host(second.after), [1, -4, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(host(t.gradient), host(second.after))
    times_t = [g * each for g, each in zip([1, -4, 1, 1], Y_HAT, strict=True)]
    np.testing.assert_allclose(host(poor.named("z").gradient), times_t, rtol=1e-14)
    text = poor.text(100)
    assert "adds up: [0, -5, 0, 0] + [1, 1, 1, 1] = [1, -4, 1, 1]" in text


def test_the_denominator_was_broadcast_so_its_message_is_summed(poor):
    total, y_hat = poor.named("total"), poor.named("y_hat")
    (message,) = (poor.message(n) for n in total.messages)
    assert (message.source, message.input_name) == (y_hat.number, "b")
    assert message.raw.shape == (4,)
    np.testing.assert_allclose(host(message.raw), [0, 1, 0, 0], atol=1e-15)
    assert message.summed_axes == (0,)
    assert float(host(message.arrived)) == pytest.approx(1.0, rel=1e-14)


def test_y_hat_times_the_sum_of_y_minus_y(device):
    """Where the assumption that y sums to 1 hides: dz = y-hat sum(y) - y."""
    z = tensor([math.log(each) for each in Y_HAT], device, requires_grad=True)
    y = [0.5, 1.0, 0.0, 0.25]
    explanation = tg.explain(softmax_steps, z, tensor(y, device))
    second = explanation.message(explanation.named("t").messages[1])
    np.testing.assert_allclose(host(second.arrived), [1.75] * 4, rtol=1e-14)
    wanted = [p * 1.75 - q for p, q in zip(Y_HAT, y, strict=True)]
    np.testing.assert_allclose(
        host(explanation.named("z").gradient), wanted, rtol=1e-13
    )


def test_the_fused_loss_unfolds_into_these_steps(device):
    """The op's one step becomes exp, sum, divide, log, product; folded back it has the
    same numbers."""
    z = tensor([math.log(each) for each in Y_HAT], device, requires_grad=True)
    cat = tg.tensor(1, None, device)
    explanation = tg.explain(tg.softmax_cross_entropy, z, cat)
    (fused,) = explanation.ops
    unfolded = explanation.unfold(fused.number)
    names = ["exp", "sum", "divide", "log", "multiply", "sum", "negative"]
    assert [entry.op for entry in unfolded.ops] == names
    assert unfolded.parent == (explanation, fused.number)
    (logits,) = unfolded.leaves
    assert unfolded.outside == {logits.number: 1}
    t = unfolded.named("t")
    first, second = (unfolded.message(n) for n in t.messages)
    np.testing.assert_allclose(host(first.arrived), [0, -5, 0, 0], rtol=1e-14)
    np.testing.assert_allclose(host(second.arrived), [1, 1, 1, 1], rtol=1e-14)
    np.testing.assert_allclose(host(second.after), [1, -4, 1, 1], rtol=1e-14)
    np.testing.assert_allclose(host(logits.gradient), [0.3, -0.8, 0.1, 0.4], rtol=1e-14)
    folded = explanation.named("logits").gradient
    np.testing.assert_allclose(host(logits.gradient), host(folded), rtol=1e-14)
    root = unfolded[unfolded.root]
    np.testing.assert_allclose(host(root.value), host(fused.value), rtol=1e-15)


# -- 9, 10: three examples, a column each ----------------------------------------------

COLUMNS = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_the_cost_is_the_mean_so_dz_of_a_batch_carries_1_over_m(device):
    """J = (1/m) sum L: the text says "sum", the formula has 1/m. Classes are rows in
    the lecture (C x m) and last here (m x C): axis=0 takes the lecture's matrices."""
    probabilities = np.array([[0.3, 0.2, 0.1, 0.4], [0.1, 0.2, 0.6, 0.1],
                              [0.7, 0.1, 0.1, 0.1]]).T  # fmt: skip
    z = tensor(np.log(probabilities), device, requires_grad=True)
    y = tensor(COLUMNS, device)

    def cost(z, y):
        return tg.softmax_cross_entropy(z, y, axis=0)

    explanation = tg.explain(cost, z, y, check=True)
    losses = [-math.log(0.2), -math.log(0.6), -math.log(0.7)]
    value = float(host(explanation[explanation.root].value))
    assert value == pytest.approx(sum(losses) / 3, rel=1e-14)
    dz = (probabilities - COLUMNS) / 3
    np.testing.assert_allclose(host(explanation.named("z").gradient), dz, rtol=1e-13)
    assert all(entry.check.agrees for entry in explanation.entries)
    unfolded = explanation.unfold(explanation.root)
    np.testing.assert_allclose(host(unfolded.leaves[0].gradient), dz, rtol=1e-13)
    assert "/ m" in explanation.text(100)


def test_dz_starts_all_other_derivatives(device):
    """13: dW = dz x^T, db = sum dz; of a step on the logits with rate 1 the loss falls
    1.609, .835, .468, .306."""
    x = np.array([0.5, -1.0, 2.0])
    w = tensor(np.zeros((4, 3)), device, requires_grad=True)
    b = tensor([math.log(each) for each in Y_HAT], device, requires_grad=True)

    def loss(w, b, x, y):
        return softmax_steps(w @ x + b, y)

    explanation = tg.explain(loss, w, b, tensor(x, device), tensor(Y, device))
    dz = np.array([0.3, -0.8, 0.1, 0.4])
    np.testing.assert_allclose(
        host(explanation.named("w").gradient), np.outer(dz, x), rtol=1e-13
    )
    np.testing.assert_allclose(host(explanation.named("b").gradient), dz, rtol=1e-13)

    z, y, losses = np.log(Y_HAT), tensor(Y, device), []
    for _ in range(4):
        explanation = tg.explain(
            softmax_steps, tensor(z, device, requires_grad=True), y
        )
        losses.append(round(float(host(explanation[explanation.root].value)), 3))
        z = z - host(explanation.named("z").gradient)
    assert losses == [1.609, 0.835, 0.468, 0.306]
