"""A small convolutional network: two convolutions, each with max-pooling, and a layer.

For images of one channel whose sides 4 divides: handwritten digits of 8 x 8 pixels, on
which it is trained here, and MNIST's of 28 x 28.

    python examples/models/cnn.py          # one split, a few seconds
    python examples/models/cnn.py --full   # five splits, twice the epochs
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class CNN(nn.Module):
    """Scores for `classes` from images, shape (N, 1, size, size) -> (N, classes)."""

    def __init__(
        self, size: int = 8, channels: tuple[int, int] = (16, 32), classes: int = 10
    ) -> None:
        if size % 4:
            raise ValueError(f"CNN: size was given as {size}; expected a multiple of 4")
        first, second = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, first, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(second * (size // 4) ** 2, classes)
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.classifier(self.features(x))


def digits(seed: int = 0) -> list[tg.Tensor]:
    """Training images and labels, and those of a held-out quarter; pixels in [0, 1]."""
    rows = tg.data.load_digits()
    order = np.random.default_rng(seed).permutation(len(rows.target))
    cut = len(order) // 4
    images = (rows.features[order] / 16.0).astype("float32").reshape(-1, 1, 8, 8)
    labels = rows.target[order]
    return [*map(tg.tensor, (images[cut:], labels[cut:], images[:cut], labels[:cut]))]


def accuracy(model: nn.Module, x: tg.Tensor, y: tg.Tensor) -> float:
    """The share of examples whose highest score is that of their class."""
    model.eval()
    with tg.no_grad():
        share = (model(x).argmax(axis=1) == y).astype("float32").mean().item()
    model.train()
    return share


def train(
    model: nn.Module,
    x: tg.Tensor,
    y: tg.Tensor,
    epochs: int,
    batch: int = 64,
    lr: float = 5e-3,
    seed: int = 0,
) -> None:
    """AdamW on shuffled batches, the learning rate falling along half a cosine."""
    rng = np.random.default_rng(seed)
    optimizer = tg.optim.AdamW(model.parameters(), lr=lr)
    steps = epochs * (len(y) // batch)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for epoch in range(epochs):
        order = rng.permutation(len(y))
        for start in range(0, len(y) - batch + 1, batch):
            rows = order[start : start + batch]
            loss = tg.softmax_cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1:>2}  loss of the last batch {loss.item():.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="five splits")
    full = parser.parse_args().full
    shares = []
    for seed in range(5 if full else 1):
        tg.manual_seed(seed)
        x, y, test_x, test_y = digits(seed)
        model = CNN()
        if seed == 0:
            print(model)
        train(model, x, y, epochs=12 if full else 6, seed=seed)
        shares.append(accuracy(model, test_x, test_y))
        print(f"split {seed}: held-out accuracy {shares[-1]:.1%}")
    print(f"median: {statistics.median(shares):.1%}")


if __name__ == "__main__":
    main()
