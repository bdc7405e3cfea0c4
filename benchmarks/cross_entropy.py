"""Softmax cross-entropy of a batch, forward and backward, from few classes to many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from .goals import Ratio, Row
from .measuring import OURS, PYTORCH, TWO_STEPS, Effort, Entry, Measured, side_by_side

SIZES = (
    (32, 10),
    (128, 10),
    (8192, 10),
    (65536, 10),
    (65536, 100),
    (8192, 1000),
    (32768, 1000),
    (4096, 10000),
    (2048, 32000),
)
TOY_SIZES = ((4, 3), (8, 10))


def batch(rows: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, float32 of shape (rows, classes), and labels, int64 of shape (rows,)."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((rows, classes), np.float32)
    return logits, random.integers(0, classes, rows)


def ours(logits: np.ndarray, labels: np.ndarray) -> Entry:
    x, target = tg.asarray(logits), tg.asarray(labels)  # the array itself, no copy
    x.requires_grad = True
    return _entry(x, lambda: tg.softmax_cross_entropy(x, target))


def pytorch(logits: np.ndarray, labels: np.ndarray) -> Entry:
    import torch

    x, target = torch.from_numpy(logits), torch.from_numpy(labels)  # no copy either
    x.requires_grad = True
    return _entry(x, lambda: torch.nn.functional.cross_entropy(x, target))


def _entry(x: Any, loss_of: Callable[[], Any]) -> Entry:
    def step() -> None:
        loss_of().backward()
        x.grad = None  # or its memory would be kept while the other library works

    def numbers() -> dict[str, list[Any]]:
        loss = loss_of()
        loss.backward()
        gradient, x.grad = x.grad.numpy(), None
        return {"loss": [loss.item()], "gradients": [gradient]}

    return Entry(step, numbers)


def measure(effort: Effort) -> Iterator[Measured]:
    for rows, classes in TOY_SIZES if effort.toy else SIZES:
        logits, labels = batch(rows, classes)
        builders = {
            OURS: lambda x=logits, y=labels: ours(x, y),
            PYTORCH: lambda x=logits, y=labels: pytorch(x, y),
        }
        yield side_by_side(f"{rows}x{classes}", builders, effort)


# -- a linear layer and the loss in one ------------------------------------------------

LINEAR_SIZES = ((4096, 10000, 128), (1024, 50000, 256), (8192, 1000, 64))


def linear_loss(rows: int, classes: int, width: int, chunked: bool) -> Entry:
    random = np.random.default_rng(0)
    x = tg.asarray(random.standard_normal((rows, width), np.float32))
    weight = tg.asarray(random.standard_normal((classes, width), np.float32) * 0.1)
    target = tg.asarray(random.integers(0, classes, rows))
    x.requires_grad = weight.requires_grad = True

    def step() -> Any:
        x.grad = weight.grad = None
        if chunked:
            loss = tg.linear_cross_entropy(x, weight, target)
        else:
            scores = tg.nn.functional.linear(x, weight)
            loss = tg.softmax_cross_entropy(scores, target)
        loss.backward()
        return loss

    def numbers() -> dict[str, list[Any]]:
        loss = step().item()
        gradients = [each.grad.numpy().copy() for each in (x, weight)]
        x.grad = weight.grad = None
        return {"loss": [loss], "gradients": gradients}

    return Entry(step, numbers)


def measure_linear(effort: Effort) -> Iterator[Measured]:
    for size in ((8, 5, 3),) if effort.toy else LINEAR_SIZES:
        builders = {
            OURS: lambda size=size: linear_loss(*size, chunked=True),
            TWO_STEPS: lambda size=size: linear_loss(*size, chunked=False),
        }
        yield side_by_side("x".join(map(str, size)), builders, effort)


ROWS = (
    Row(
        "cross_entropy",
        "softmax cross-entropy, forward and backward, rows x classes",
        measure,
        (Ratio(0.5, over="mean"), Ratio(1.0, over="each")),
    ),
    Row(
        "linear_cross_entropy",
        "linear layer and cross-entropy in one, rows x classes x width",
        measure_linear,
        (Ratio(1.0, TWO_STEPS, over="each"),),
    ),
)
