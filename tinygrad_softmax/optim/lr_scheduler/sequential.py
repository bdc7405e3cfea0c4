"""One schedule after another."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler
from .plateau import ReduceLROnPlateau

__all__ = ["SequentialLR"]


class SequentialLR(LRScheduler):
    """Each scheduler until the next one's milestone, `SequentialLR` of PyTorch.

    At its milestone a scheduler begins with its own epoch 0, from the first rates.

    Args:
        optimizer: which all schedulers have.
        schedulers: in the order in which they are used.
        milestones: the epochs at which the second, third, ... one begins.
        last_epoch: -1 begins.

    Raises:
        ValueError: no scheduler, one of another optimizer, a `ReduceLROnPlateau`, or
            another number of milestones than one less than there are schedulers.

    >>> import tinygrad_softmax as tg
    >>> from tinygrad_softmax.optim.lr_scheduler import ConstantLR, ExponentialLR
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> first = ConstantLR(optimizer, 0.125, total_iters=9)
    >>> then = ExponentialLR(optimizer, 0.5)
    >>> scheduler, rates = SequentialLR(optimizer, [first, then], [2]), []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.125, 0.125, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR got {len(schedulers)} schedulers and {len(milestones)} "
                f"milestones; expected one milestone less than schedulers"
            )
        for position, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"SequentialLR: scheduler {position} is a ReduceLROnPlateau, whose "
                    f"step needs a metric"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"SequentialLR: scheduler {position} belongs to another optimizer"
                )
        self._schedulers = list(schedulers)
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Making each scheduler set its first rates: take that back, and begin anew.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._undo()
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _undo(self) -> None:
        """Take the first step of every scheduler back, also inside of others."""
        for scheduler in self._schedulers:
            if isinstance(scheduler, SequentialLR):
                scheduler._undo()
            else:
                scheduler.last_epoch -= 1

    def step(self) -> None:
        """Go to the next epoch: call it after the optimizer's steps."""
        self.last_epoch += 1
        position = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[position]
        if position > 0 and self._milestones[position - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["_schedulers"] = [each.state_dict() for each in self._schedulers]
        return state

    def _load(self, state: dict[str, Any]) -> None:
        for scheduler, inner in zip(self._schedulers, state.pop("_schedulers")):
            scheduler.load_state_dict(inner)
        super()._load(state)
