"""A chain of scalar additions: nothing but the engine's own cost, an op at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from .goals import Ratio, Row
from .measuring import (
    AUTOGRAD,
    BY_HAND,
    MYGRAD,
    OURS,
    PYTORCH,
    Effort,
    Entry,
    Measured,
    side_by_side,
)


def chain(length: int) -> dict[str, Any]:
    """y = x + x + ... + x and dy/dx, with scalars, by each library."""

    def of_tensors(lib: Any) -> Entry:
        x = lib.tensor(1.0, requires_grad=True)

        def step() -> Any:
            x.grad = None
            y = x
            for _ in range(length):
                y = y + x
            y.backward()
            return y

        def numbers() -> dict[str, list[Any]]:
            return {"loss": [step().item()], "gradients": [x.grad.item()]}

        return Entry(step, numbers)

    def ours() -> Entry:
        return of_tensors(tg)

    def pytorch() -> Entry:
        import torch

        return of_tensors(torch)

    def mygrad() -> Entry:
        import mygrad as mg

        mg.turn_memory_guarding_off()  # as its documentation advises for speed
        x = mg.tensor(1.0)

        def step() -> Any:
            y = x
            for _ in range(length):
                y = y + x
            y.backward()
            return y

        def numbers() -> dict[str, list[Any]]:
            return {"loss": [step().item()], "gradients": [x.grad.item()]}

        return Entry(step, numbers)

    def autograd() -> Entry:
        from autograd import value_and_grad

        def value(x: Any) -> Any:
            y = x
            for _ in range(length):
                y = y + x
            return y

        function = value_and_grad(value)

        def numbers() -> dict[str, list[Any]]:
            loss, gradient = function(1.0)
            return {"loss": [loss], "gradients": [gradient]}

        return Entry(lambda: function(1.0), numbers)

    def by_hand() -> Entry:
        x = np.ones((), np.float32)

        def step() -> Any:  # the values only: a hand would write no chain backwards
            y = x
            for _ in range(length):
                y = y + x
            return y

        def numbers() -> dict[str, list[Any]]:
            return {"loss": [step()], "gradients": [length + 1.0]}

        return Entry(step, numbers)

    return {
        OURS: ours,
        BY_HAND: by_hand,
        PYTORCH: pytorch,
        AUTOGRAD: autograd,
        MYGRAD: mygrad,
    }


def measure(effort: Effort) -> Iterator[Measured]:
    length = 10 if effort.toy else 1000
    yield side_by_side(f"{length} scalar additions", chain(length), effort)


ROWS = (
    Row(
        "chain",
        "chain of 1,000 scalar additions, forward and backward (NumPy: forward)",
        measure,
        (Ratio(0.7),),
    ),
)
