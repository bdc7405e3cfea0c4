"""What a training loop does with batches, and with the model meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
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


class Source:
    """Batches, epoch after epoch, that a resumed run goes on with.

    pending: a state of the batches that is to be taken back when they are next asked
        for; until then it is the state.
    """

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.pending: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any] | None:
        """Where a DataLoader is; None for other iterables, which do not know."""
        if self.pending is not None or not hasattr(self.batches, "state_dict"):
            return self.pending
        return self.batches.state_dict()

    @property
    def length(self) -> int | None:
        """How many batches an epoch has, where that is known."""
        try:
            return len(self.batches)
        except TypeError:
            return None

    def epoch(self, done: int = 0) -> Iterator[Any]:
        """The batches of an epoch, or those that are left after `done` of them.

        A DataLoader is told where it was; of other iterables the batches that were done
        come again and are passed over.
        """
        if hasattr(self.batches, "load_state_dict"):
            if self.pending is not None:
                self.batches.load_state_dict(self.pending)
            done = 0
        self.pending = None
        return islice(iter(self.batches), done, None)


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
