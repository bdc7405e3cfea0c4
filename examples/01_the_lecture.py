"""The lecture "Training a softmax classifier", its thirteen numbers computed here.

The lecture teaches softmax by hand and then says: with a framework you only get the
forward pass right, and the framework works out the backward pass. Here the framework
is this library. Every number is printed as it was computed, and asserted.

Four classes: 0 other, 1 cat, 2 dog, 3 chick. As in the lecture, classes are ROWS and
one column is one example (C x m); libraries usually have them the other way round
(m x C), which is why `axis=0` appears below.

    python examples/01_the_lecture.py
"""
# ruff: noqa: N806  (the lecture's own capitals: L, J, W, X, Y, Z)

from __future__ import annotations

import numpy as np

import tinygrad_softmax as tg

CAT = 1  # the lecture counts classes from 0 and elements from 1: class 1 is y-hat_2


def show(row: str, what: str, computed, lecture, digits: int = 3) -> None:
    """Print what was computed, and insist that it is the lecture's number."""
    value = computed.detach().numpy() if isinstance(computed, tg.Tensor) else computed
    half_a_digit = 0.5 * 10.0**-digits
    np.testing.assert_allclose(value, lecture, rtol=0, atol=1.0001 * half_a_digit)
    text = np.array2string(
        np.squeeze(np.asarray(value, dtype=float)),
        formatter={
            "float_kind": lambda x: f"{x:.{digits}f}".replace("-0.000", "0.000")
        },
        separator=" ",
    ).replace("\n", "\n" + " " * 54)
    print(f"{row:>3}  {what:<48} {text}")


def forward() -> None:
    """Rows 1 to 5: from scores to probabilities."""
    # 1. The output layer, z = W a + b. (Any W, a, b would do that give this z.)
    W = tg.tensor([[2.0, 1.0], [1.0, 0.0], [-1.0, 0.5], [0.5, 1.0]])
    a = tg.tensor([[1.0], [2.0]])
    b = tg.tensor([[1.0], [1.0], [-1.0], [0.5]])
    z = W @ a + b
    assert z.shape == (4, 1)
    show("1", "the output layer, z = W a + b", z, [[5], [2], [-1], [3]])

    # 2. Softmax: t = e^z, divided by its sum.
    t = tg.exp(z)
    show("2", "t = e^z", t, [[148.4], [7.4], [0.4], [20.1]], digits=1)
    show("", "the sum of t", t.sum(), 176.3, digits=1)
    by_hand = t / t.sum(axis=0, keepdims=True)
    probs = tg.softmax(z, axis=0)
    show("", "t divided by its sum", by_hand, [[0.842], [0.042], [0.002], [0.114]])
    show("", "tg.softmax(z, axis=0)", probs, [[0.842], [0.042], [0.002], [0.114]])

    # 3. The order of the scores is the order of the probabilities.
    assert z.argmax(axis=0).item() == probs.argmax(axis=0).item() == 0
    show("3", "the largest z", z.max(), 5)
    show("", "and the largest probability, at the same place", probs.max(), 0.842)

    # 4. Hardmax puts a 1 there; softmax of steeper scores comes close to it.
    hardmax = (z == z.max(axis=0, keepdims=True)).astype(tg.float64)
    show("4", "hardmax", hardmax, [[1], [0], [0], [0]])
    show("", "softmax of 10 z, less soft", tg.softmax(10 * z, axis=0), hardmax.numpy())

    # 5. Two classes are logistic regression: only z1 - z2 counts.
    difference = tg.log(tg.tensor(0.842) / 0.158)
    show("5", "z1 - z2 = log(0.842 / 0.158)", difference, 1.673)
    two = tg.softmax(tg.stack([difference + 7.0, tg.tensor(7.0)]))
    show("", "softmax of two scores 1.673 apart", two, [0.842, 0.158])
    show("", "sigmoid(1.673), the first of them", tg.sigmoid(difference), 0.842)
    show("", "both together: one number says it all", two.sum(), 1)


def loss() -> None:
    """Rows 6 to 10: how wrong, for one example and for many."""
    # 6. The truth is a cat, and the prediction is poor.
    y = tg.tensor([[0.0], [1.0], [0.0], [0.0]])
    y_hat = tg.tensor([[0.3], [0.2], [0.1], [0.4]])
    show("6", "what the prediction gives the cat", (y * y_hat).sum(), 0.2)

    # 7. Of the sum over the classes one term is left.
    L = -(y * tg.log(y_hat)).sum()
    show("7", "L = -sum_j y_j log y-hat_j", L, 1.6094, digits=4)
    show("", "-log y-hat_2", -tg.log(y_hat[CAT]), [1.6094], digits=4)
    z = tg.log(y_hat)  # scores whose softmax is y-hat
    fused = tg.softmax_cross_entropy(z, tg.tensor([CAT]), axis=0)
    show("", "tg.softmax_cross_entropy(z, 1, axis=0)", fused, 1.6094, digits=4)

    # 8. A smaller L is a larger y-hat_2, and 1 is the most it can be.
    show("8", "e^-L, the probability of the truth", tg.exp(-L), 0.2)
    perfect = -tg.log(tg.tensor(1.0))
    show("", "L at y-hat_2 = 1, the least there is", perfect, 0)

    # 10. One column an example: a cat, a dog and something else.
    Y = tg.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    labels = tg.tensor([1, 2, 0])
    assert Y.argmax(axis=0).tolist() == labels.tolist()
    Z = tg.tensor([[1.0, 0.5, 2.0], [2.0, -1.0, 0.0], [0.0, 1.5, 0.5], [0.3, 0.0, 1.0]])
    losses = -(Y * tg.log_softmax(Z, axis=0)).sum(axis=0)
    assert losses.shape == (3,)

    # 9. The cost is their mean. (The lecture says "sum"; its formula has 1/m.)
    J = tg.softmax_cross_entropy(Z, labels, axis=0)
    show("9", "J = (1/m) sum L", J, (losses.sum() / 3).item(), digits=6)
    total = tg.softmax_cross_entropy(Z, labels, axis=0, reduction="sum")
    show("", "the sum is m times as much", total, 3 * J.item(), digits=6)
    columns = tg.softmax_cross_entropy(Z, Y, axis=0)
    show("10", "Y as 4 x 3 columns gives the same J", columns, J.item(), digits=6)


def backward() -> None:
    """Rows 11 to 13: the framework works out the backward pass."""
    # 11. Forward z -> y-hat -> L, written down; backward is one call.
    y = tg.tensor([[0.0], [1.0], [0.0], [0.0]])
    z = tg.log(tg.tensor([[0.3], [0.2], [0.1], [0.4]])).requires_grad_()
    y_hat = tg.softmax(z, axis=0)
    L = -(y * tg.log(y_hat)).sum()
    show("11", "forward: L", L, 1.6094, digits=4)
    L.backward()

    # 12. dz = y-hat - y.
    show("12", "backward: dz", z.grad, [[0.3], [-0.8], [0.1], [0.4]])
    show("", "y-hat - y", y_hat - y, [[0.3], [-0.8], [0.1], [0.4]])

    # 13. dz starts every other derivative. The lecture calls it dJ/dz, yet it carries
    # no 1/m: it is the derivative of the SUM of the losses, and dW is too.
    rng = np.random.default_rng(0)
    X = tg.tensor(rng.normal(size=(2, 3)))
    W = tg.tensor(rng.normal(size=(4, 2)), requires_grad=True)
    b = tg.tensor(np.zeros((4, 1)), requires_grad=True)
    labels = tg.tensor([1, 2, 0])
    Z = W @ X + b
    Z.retain_grad()
    tg.softmax_cross_entropy(Z, labels, axis=0, reduction="sum").backward()
    dZ = Z.grad
    np.testing.assert_allclose(dZ.sum(axis=0).numpy(), 0, atol=1e-15)
    away = (W.grad - dZ @ X.T).abs().max()
    show("13", "how far dW is from dz x^T", away, 0, digits=12)
    away = (b.grad - dZ.sum(axis=1, keepdims=True)).abs().max()
    show("", "how far db is from sum dz", away, 0, digits=12)

    # Gradient descent on the scores themselves, with learning rate 1.
    z = z.detach().requires_grad_()
    losses = []
    for _ in range(4):
        L = tg.softmax_cross_entropy(z, tg.tensor([CAT]), axis=0)
        losses.append(L.item())
        (dz,) = tg.grad(L, [z])
        with tg.no_grad():
            z -= 1.0 * dz
    show(
        "",
        "L after 0, 1, 2 and 3 steps of rate 1",
        losses,
        [1.609, 0.835, 0.468, 0.306],
    )


def two_messages() -> None:
    """The figure: where y-hat - y comes from when the loss is not fused."""
    y = tg.tensor([0.0, 1.0, 0.0, 0.0])
    z = tg.log(tg.tensor([0.3, 0.2, 0.1, 0.4])).requires_grad_()
    t = tg.exp(z)
    t.retain_grad()
    above, below = t.clone(), t.clone()  # the two uses of t, so that each can be heard
    messages = {}
    above.register_hook(lambda g: messages.update(above=g))
    below.register_hook(lambda g: messages.update(below=g))
    L = -(y * tg.log(above / below.sum())).sum()
    L.backward()
    print("\nThe figure: t = e^z is used twice, and hears from both sides.")
    show("", "through the numerator", messages["above"], [0, -5, 0, 0])
    show("", "through the denominator, a sum", messages["below"], [1, 1, 1, 1])
    show("", "together", t.grad, [1, -4, 1, 1])
    show(
        "", "times t: y-hat by one path, -y by the other", z.grad, [0.3, -0.8, 0.1, 0.4]
    )

    # That the y sum to 1 is hidden in y-hat - y. In general it is y-hat sum(y) - y.
    y = tg.tensor([0.0, 1.0, 0.0, 0.5])
    z = z.detach().requires_grad_()
    tg.softmax_cross_entropy(z, y, axis=0).backward()
    show("", "dz where y sums to 1.5", z.grad, [0.45, -0.7, 0.15, 0.1])


def main() -> None:
    tg.set_default_dtype(tg.float64)
    print("row  what                                             computed here")
    forward()
    loss()
    backward()
    two_messages()
    print("\nEvery number agrees with the lecture's.")


if __name__ == "__main__":
    main()
