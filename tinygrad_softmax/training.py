"""A small training loop, and what is measured on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from .autograd import no_grad
from .creation import tensor
from .nn import Module
from .nn.functional import cross_entropy
from .ops import softmax
from .optim import Optimizer
from .tensor import Tensor

__all__ = [
    "DivergedError",
    "History",
    "confusion_matrix",
    "evaluate",
    "fit",
    "predict_proba",
]

ROWS_AT_ONCE = 8192  # rows in one forward pass where no gradient is wanted


class DivergedError(ArithmeticError):
    """The loss is no longer a number: training went astray."""


@dataclass
class History:
    """Loss and accuracy after each epoch, on the training rows and those held out."""

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)


def fit(
    model: Module,
    optimizer: Optimizer,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    on_epoch: Callable[[int, int, History], None] | None = None,
) -> History:
    """Minimise the cross-entropy by minibatches, and measure after each epoch.

    The held-out rows are measured and choose nothing: no epoch is preferred to the
    last.

    Args:
        model: from rows to logits; trained in place, where its parameters are.
        optimizer: over the parameters of `model`.
        train: inputs, float, shape (rows, columns), and classes, integer, (rows,).
        test: the same of the held-out rows.
        epochs: passes over the training rows.
        batch_size: rows a step; the last batch of an epoch may be smaller.
        seed: of the order in which rows are visited, new in each epoch.
        on_epoch: called after each epoch with its number, from 1, how many there will
            be, and the history.

    Raises:
        DivergedError: the loss on the training rows is no longer finite.
    """
    inputs, target = train
    device = next(model.parameters()).device
    rng = np.random.default_rng(seed)
    history = History()
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(inputs))
        # Shuffled on the host, so that the device gets one copy an epoch.
        shuffled = tensor(inputs[order], device=device)
        labels = tensor(target[order], device=device)
        with np.errstate(over="ignore", invalid="ignore"):  # said better below
            for start in range(0, len(inputs), batch_size):
                batch = slice(start, start + batch_size)
                optimizer.zero_grad()
                cross_entropy(model(shuffled[batch]), labels[batch]).backward()
                optimizer.step()
            loss, accuracy = evaluate(model, inputs, target)
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss} in epoch {epoch}: lower the learning rate"
            )
        history.train_loss.append(loss)
        history.train_accuracy.append(accuracy)
        loss, accuracy = evaluate(model, *test)
        history.test_loss.append(loss)
        history.test_accuracy.append(accuracy)
        if on_epoch is not None:
            on_epoch(epoch, epochs, history)
    return history


def evaluate(
    model: Module, inputs: np.ndarray, target: np.ndarray
) -> tuple[float, float]:
    """The mean cross-entropy and the share of rows whose likeliest class is right."""
    loss, right = 0.0, 0
    for logits, labels in zip(_logits(model, inputs), _blocks(target)):
        with no_grad():
            classes = tensor(labels, device=logits.device)
            loss += cross_entropy(logits, classes, reduction="sum").item()
        right += int((logits.numpy().argmax(axis=1) == labels).sum())
    return loss / len(target), right / len(target)


def predict_proba(model: Module, inputs: np.ndarray) -> np.ndarray:
    """The probability of each class for each row, shape (rows, classes).

    A row whose numbers overflow on the way gets nan, silently.
    """
    blocks = []
    with np.errstate(over="ignore", invalid="ignore"):
        for logits in _logits(model, inputs):
            with no_grad():
                blocks.append(softmax(logits, axis=-1).numpy())
    return np.concatenate(blocks)


def confusion_matrix(
    target: np.ndarray, predicted: np.ndarray, classes: int
) -> np.ndarray:
    """Counts of rows by true class (first axis) and predicted class (second).

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 1, 0]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    pairs = np.bincount(classes * target + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def _logits(model: Module, inputs: np.ndarray) -> Iterator[Tensor]:
    """The model's outputs block by block of rows, with no graph."""
    device = next(model.parameters()).device
    for block in _blocks(inputs):
        with no_grad():  # not around the yield: the mode is the caller's there
            logits = model(tensor(block, device=device))
        yield logits


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + ROWS_AT_ONCE] for i in range(0, len(rows), ROWS_AT_ONCE)]
