"""Softmax regression: one linear layer and the softmax cross-entropy.

The scores of the classes are W x + b; the model is `nn.Linear` and nothing else. It is
trained here on handwritten digits, on all of them at once (full-batch gradient descent
with momentum): the loss is convex, so nothing can go wrong.

    python examples/models/softmax_regression.py
"""

from __future__ import annotations

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class SoftmaxRegression(nn.Module):
    """Scores for `classes` from flat features, shape (N, features) -> (N, classes).

    Axes after the first are flattened, so images may be given as they are.
    """

    def __init__(self, features: int = 64, classes: int = 10) -> None:
        self.linear = nn.Linear(features, classes)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(x.reshape(x.shape[0], -1))


def digits(seed: int = 0) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor, tg.Tensor]:
    """Training images and labels, and those of a held-out quarter; pixels in [0, 1]."""
    rows = tg.data.load_digits()
    order = np.random.default_rng(seed).permutation(len(rows.target))
    cut = len(order) // 4
    images = (rows.features[order] / 16.0).astype("float32")
    labels = rows.target[order]
    parts = images[cut:], labels[cut:], images[:cut], labels[:cut]
    x, y, test_x, test_y = map(tg.tensor, parts)
    return x, y, test_x, test_y


def accuracy(model: nn.Module, x: tg.Tensor, y: tg.Tensor) -> float:
    """The share of examples whose highest score is that of their class."""
    model.eval()
    with tg.no_grad():
        share = (model(x).argmax(axis=1) == y).astype("float32").mean().item()
    model.train()
    return share


def main() -> None:
    tg.manual_seed(0)
    x, y, test_x, test_y = digits()
    model = SoftmaxRegression()
    print(model)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for step in range(201):
        loss = tg.softmax_cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step:>3}  loss {loss.item():.4f}")
    print(f"held-out accuracy: {accuracy(model, test_x, test_y):.1%}")


if __name__ == "__main__":
    main()
