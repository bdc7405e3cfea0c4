"""What a training loop does with batches and with the model around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..nn import Module
from ..tensor import Tensor


class Evaluating:
    """A block in which a model is in eval mode, each module as it was before after."""

    def __init__(self, model: Module) -> None:
        self._training = [(module, module.training) for module in model.modules()]

    def __enter__(self) -> None:
        for module, _ in self._training:
            module.training = False

    def __exit__(self, *exc: object) -> None:
        for module, training in self._training:
            module.training = training


def moved(batch: Any, device: str) -> Any:
    """A batch with its tensors on `device`; arrays become tensors."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, np.ndarray):
        return Tensor(batch).to(device)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(moved(each, device) for each in batch)
    return batch


def samples_in(batch: Any) -> int:
    """How many samples a batch has: the length of its first tensor."""
    while isinstance(batch, (tuple, list, Mapping)):
        values = batch.values() if isinstance(batch, Mapping) else batch
        batch = next(iter(values))
    return len(batch)
