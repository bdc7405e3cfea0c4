"""softmax, log_softmax, layer norm, gelu and dropout, forward and backward.

Both libraries have these functions under the same names, so that what is timed is
written once, for whichever library it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from .goals import Ratio, Row
from .measuring import OURS, PYTORCH, Effort, Entry, Measured, side_by_side

SIZES = (64, 256, 1024, 4096)
TOY_SIZES = (8, 32)
DROPPED = 0.2


def build(function: str, size: int, lib: Any) -> Entry:
    """y = function(x) and y.backward(g), with x and g of shape (size, size)."""
    random = np.random.default_rng(0)
    values = random.standard_normal((2, size, size), np.float32)
    x, g = lib.tensor(values[0], requires_grad=True), lib.tensor(values[1])
    weight = lib.tensor(np.linspace(0.5, 1.5, size, dtype=np.float32))
    bias = lib.tensor(np.linspace(-1.0, 1.0, size, dtype=np.float32))
    inputs = [x]
    functional = lib.nn.functional
    calls: dict[str, Callable[[], Any]] = {
        "softmax": lambda: functional.softmax(x, dim=-1),
        "log_softmax": lambda: functional.log_softmax(x, dim=-1),
        "layer_norm": lambda: functional.layer_norm(x, (size,), weight, bias),
        "gelu": lambda: functional.gelu(x),
        "dropout": lambda: functional.dropout(x, DROPPED),
    }
    call = calls[function]
    if function == "layer_norm":
        weight.requires_grad = bias.requires_grad = True
        inputs += [weight, bias]

    def step() -> Any:
        for each in inputs:
            each.grad = None
        y = call()
        y.backward(g)
        return y

    def numbers() -> dict[str, list[Any]]:
        y = step().detach().numpy()
        if function == "dropout":
            return of_dropout(values[0], values[1], y, x.grad.numpy())
        return {"outputs": [y], "gradients": [each.grad.numpy() for each in inputs]}

    return Entry(step, numbers)


def of_dropout(
    x: np.ndarray, g: np.ndarray, y: np.ndarray, gradient: np.ndarray
) -> dict[str, list[Any]]:
    """What must be the same whichever elements were dropped.

    Those that are kept are scaled by one number, the gradient goes where they are, and
    their share is 1 - DROPPED within five standard deviations.
    """
    kept = y != 0.0
    share = 5.0 * (DROPPED * (1.0 - DROPPED) / x.size) ** 0.5
    return {
        "scales": [np.min(y[kept] / x[kept]), np.max(y[kept] / x[kept])],
        "gradients": [np.max(np.abs(gradient * x - y * g)) + 1.0],
        "share": [float(abs(kept.mean() - (1.0 - DROPPED)) < share)],
    }


def pytorch(function: str, size: int) -> Entry:
    import torch

    return build(function, size, torch)


def measure(function: str, effort: Effort) -> Iterator[Measured]:
    for size in TOY_SIZES if effort.toy else SIZES:
        builders = {
            OURS: partial(build, function, size, tg),
            PYTORCH: partial(pytorch, function, size),
        }
        yield side_by_side(f"{size}x{size}", builders, effort)


ROWS = tuple(
    Row(
        name,
        f"{title}, forward and backward",
        partial(measure, name),
        (Ratio(0.8, over="mean"), Ratio(1.2, over="each")),
    )
    for name, title in (
        ("softmax", "softmax"),
        ("log_softmax", "log_softmax"),
        ("layer_norm", "layer norm"),
        ("gelu", "gelu"),
        ("dropout", "dropout"),
    )
)
