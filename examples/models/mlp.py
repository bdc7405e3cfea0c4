"""A multilayer perceptron: linear layers with ReLU between them.

Trained here on handwritten digits, 8 x 8 pixels, by AdamW on shuffled batches. The
median over five splits is above 97 % of a held-out quarter:

    python examples/models/mlp.py          # one split
    python examples/models/mlp.py --full   # five
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class MLP(nn.Module):
    """Scores for `classes`, shape (N, features) -> (N, classes).

    Axes after the first are flattened, so images may be given as they are.

    hidden: the width of each hidden layer.
    """

    def __init__(
        self,
        features: int = 64,
        hidden: Sequence[int] = (256,),
        classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.layers(x)


def digits(seed: int = 0) -> list[tg.Tensor]:
    """Training images and labels, and those of a held-out quarter; pixels in [0, 1]."""
    rows = tg.data.load_digits()
    order = np.random.default_rng(seed).permutation(len(rows.target))
    cut = len(order) // 4
    images = (rows.features[order] / 16.0).astype("float32")
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
    lr: float = 3e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
) -> None:
    """AdamW on shuffled batches, the learning rate falling along half a cosine."""
    rng = np.random.default_rng(seed)
    optimizer = tg.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    steps = epochs * (len(y) // batch)
    schedule = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(epochs):
        order = rng.permutation(len(y))
        for start in range(0, len(y) - batch + 1, batch):
            rows = order[start : start + batch]
            loss = tg.softmax_cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="five splits")
    seeds = range(5 if parser.parse_args().full else 1)
    shares = []
    for seed in seeds:
        tg.manual_seed(seed)
        x, y, test_x, test_y = digits(seed)
        model = MLP()
        if seed == 0:
            print(model)
        train(model, x, y, epochs=40, seed=seed)
        shares.append(accuracy(model, test_x, test_y))
        print(f"split {seed}: held-out accuracy {shares[-1]:.1%}")
    print(f"median: {statistics.median(shares):.1%}")


if __name__ == "__main__":
    main()
