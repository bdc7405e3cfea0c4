"""Train a model on handwritten digits and measure it on the quarter that is held out.

What softmax_regression.py, mlp.py and cnn.py share: `run(Model)` is their command line.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.data import DataLoader, TensorDataset


def loaders(seed: int, batch: int = 32) -> tuple[DataLoader, DataLoader]:
    """Batches of images (N, 1, 8, 8) in [0, 1] and their labels: to train on, to test.

    seed: of the split; a quarter is held out, the same share of each digit.
    """
    digits = tg.data.load_digits()
    images = tg.tensor(digits.features.reshape(-1, 1, 8, 8) / 16.0, dtype=tg.float32)
    labels = tg.tensor(digits.target)
    train, test = (
        TensorDataset(images[rows], labels[rows])
        for rows in tg.data.stratified_split(digits.target, seed=seed)
    )
    return DataLoader(train, batch, shuffle=True), DataLoader(test, 500)


def train(
    model: nn.Module, seed: int = 0, epochs: int = 20, lr: float = 3e-3
) -> tg.training.History:
    """AdamW, the learning rate falling along half a cosine; returns what was measured.

    The split has the seed, and so has the order of the batches.
    """
    train_batches, test_batches = loaders(seed)
    optimizer = tg.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    trainer = tg.Trainer(
        model,
        optimizer,
        metrics=[tg.training.accuracy],
        scheduler=tg.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=epochs * len(train_batches)
        ),
        scheduler_interval="step",
    )
    return trainer.fit(train_batches, test_batches, epochs=epochs)


def run(build: Callable[[], nn.Module], epochs: int = 20, lr: float = 3e-3) -> None:
    """Train a model for one split or several, and print how well it does."""
    parser = argparse.ArgumentParser(description="Train on handwritten digits.")
    parser.add_argument("--seeds", type=int, default=1, help="how many splits")
    parser.add_argument("--epochs", type=int, default=epochs)
    options = parser.parse_args()
    shares = []
    for seed in range(options.seeds):
        tg.manual_seed(seed)
        model = build()
        if not seed:
            print(model)
        history = train(model, seed, options.epochs, lr)
        shares.append(history["val_accuracy"][-1])
        print(f"split {seed}: held-out accuracy {shares[-1]:.1%}")
    print(f"median: {statistics.median(shares):.1%}")
