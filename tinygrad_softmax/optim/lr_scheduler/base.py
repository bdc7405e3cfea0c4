"""What every schedule of the learning rate shares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ..optimizer import Optimizer

__all__ = ["LRScheduler"]

# Bookkeeping that PyTorch's states have and these do without.
PYTORCHS_OWN = {"_get_lr_called_within_step", "_is_initial", "verbose"}


class LRScheduler:
    """The base of every schedule, `torch.optim.lr_scheduler.LRScheduler`.

    A scheduler sets the learning rate of its optimizer when it is made, for epoch 0,
    and anew at each `step`. A subclass defines `get_lr`, which finds the rates of epoch
    `self.last_epoch` from `self.base_lrs` or from those in the groups.

    Making a scheduler changes the optimizer's rates: to resume, make it first and load
    the optimizer's state then.

    Args:
        optimizer: whose groups are changed.
        last_epoch: -1 begins; another value resumes after that epoch, for an optimizer
            whose groups have "initial_lr" (its state was loaded).

    Raises:
        TypeError: `optimizer` is none.
        KeyError: a group has no "initial_lr", and `last_epoch` is not -1.

    >>> import tinygrad_softmax as tg
    >>> class Halving(LRScheduler):
    ...     def get_lr(self):
    ...         return [lr * 0.5**self.last_epoch for lr in self.base_lrs]
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> for epoch in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.25]
    """

    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__} got a {type(optimizer).__name__}; expected an "
                f"Optimizer"
            )
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"{type(self).__name__}: group {number} has no 'initial_lr', so "
                    f"there is nothing to resume after epoch {last_epoch}; mend: load "
                    f"the optimizer's state first, or leave last_epoch out"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        """Set the rates of the first epoch."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            del self._is_initial

    def get_lr(self) -> list[float]:
        """The rate of each group in epoch `self.last_epoch`."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr")

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as it was set last."""
        return self._last_lr

    def step(self) -> None:
        """Go to the next epoch: call it after the optimizer's steps."""
        self._warn_of_order()
        self._step_count += 1
        self._update_lr()

    def _warn_of_order(self) -> None:
        optimizer = self.optimizer
        own_step = type(optimizer).step is not Optimizer.step  # it may not tell
        if self._step_count == 1 and not (own_step or optimizer.step_was_called):
            warnings.warn(
                "the scheduler's step() was called before the optimizer's, so the "
                "first learning rate is never used; mend: optimizer.step(), then "
                "scheduler.step()",
                UserWarning,
                stacklevel=3,
            )

    def _update_lr(self, epoch: int | None = None) -> None:
        """Set the rates of the next epoch, or of a given one by the closed form."""
        if epoch is None:
            self.last_epoch += 1
            rates = self.get_lr()
        else:
            self.last_epoch = epoch
            rates = self._get_closed_form_lr()
        self._set_lr(rates)

    def _get_closed_form_lr(self) -> list[float]:
        """The rates of `self.last_epoch`, whatever the groups have."""
        return self.get_lr()

    def _set_lr(self, rates: list[float]) -> None:
        groups = self.optimizer.param_groups
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = [group["lr"] for group in groups]

    def _group_lrs(self, factor: float = 1.0) -> list[float]:
        """The rates in the groups, times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, by attribute."""
        return {key: each for key, each in vars(self).items() if key != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take on what `state_dict` returned, here or in PyTorch.

        Raises KeyError, naming them all, if keys are missing or unexpected.
        """
        own = self.state_dict()
        missing = [key for key in own if key not in state_dict]
        unexpected = [
            key for key in state_dict if key not in own and key not in PYTORCHS_OWN
        ]
        if missing or unexpected:
            raise KeyError(
                f"load_state_dict of {type(self).__name__}: missing keys: "
                f"{', '.join(missing) or 'none'}; unexpected keys: "
                f"{', '.join(unexpected) or 'none'}"
            )
        self._load({key: state_dict[key] for key in own})

    def _load(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
