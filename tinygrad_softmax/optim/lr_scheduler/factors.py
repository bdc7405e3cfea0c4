"""Schedules that multiply the learning rate by a factor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = [
    "ConstantLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "StepLR",
]


class LambdaLR(LRScheduler):
    """The first rate times a function of the epoch, `LambdaLR` of PyTorch.

    Args:
        optimizer: whose groups are changed.
        lr_lambda: from an epoch to a factor; or a list, one function for each group.
        last_epoch: -1 begins.

    Raises:
        ValueError: there are not as many functions as groups.

    `state_dict` has the attributes of callable objects, and None for functions.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, (list, tuple)):
            lr_lambda = [lr_lambda] * groups
        if len(lr_lambda) != groups:
            raise ValueError(
                f"LambdaLR got {len(lr_lambda)} functions for {groups} groups; "
                f"expected one for each, or a single one"
            )
        self.lr_lambdas = list(lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [
            base * function(self.last_epoch)
            for base, function in zip(self.base_lrs, self.lr_lambdas)
        ]

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        state["lr_lambdas"] = [
            None if isinstance(each, FunctionType) else dict(vars(each))
            for each in self.lr_lambdas
        ]
        return state

    def _load(self, state: dict[str, Any]) -> None:
        for function, attributes in zip(self.lr_lambdas, state.pop("lr_lambdas")):
            if attributes is not None:
                vars(function).update(attributes)
        super()._load(state)


class StepLR(LRScheduler):
    """The rate times `gamma` every `step_size` epochs, `StepLR` of PyTorch.

    Args:
        optimizer: whose groups are changed.
        step_size: in epochs.
        gamma: factor.
        last_epoch: -1 begins.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = StepLR(optimizer, step_size=2, gamma=0.5), []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step_size: int,
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        changes = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        return self._group_lrs(self.gamma if changes else 1.0)

    def _get_closed_form_lr(self) -> list[float]:
        factor = self.gamma ** (self.last_epoch // self.step_size)
        return [base * factor for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times `gamma` at each of some epochs, `MultiStepLR` of PyTorch.

    Args:
        optimizer: whose groups are changed.
        milestones: the epochs, in any order; one given twice counts twice.
        gamma: factor.
        last_epoch: -1 begins.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = MultiStepLR(optimizer, [1, 4], gamma=0.5), []
    >>> for epoch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        from collections import Counter

        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones[self.last_epoch]
        return self._group_lrs(self.gamma**times if times else 1.0)

    def _get_closed_form_lr(self) -> list[float]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]

    def _load(self, state: dict[str, Any]) -> None:
        from collections import Counter

        milestones = state["milestones"].items()  # (a text format has texts as keys)
        state["milestones"] = Counter({int(key): times for key, times in milestones})
        super()._load(state)


class ConstantLR(LRScheduler):
    """A factor for the first `total_iters` epochs, `ConstantLR` of PyTorch.

    Args:
        optimizer: whose groups are changed.
        factor: from 0 to 1.
        total_iters: epochs with the factor.
        last_epoch: -1 begins.

    Raises:
        ValueError: a factor outside [0, 1].

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = ConstantLR(optimizer, 0.5, total_iters=2), []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_factor("ConstantLR", "factor", factor, factor >= 0)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._group_lrs(self.factor)
        if self.last_epoch == self.total_iters:
            return self._group_lrs(1.0 / self.factor)
        return self._group_lrs()

    def _get_closed_form_lr(self) -> list[float]:
        rest = (self.last_epoch >= self.total_iters) * (1 - self.factor)
        return [base * (self.factor + rest) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """A factor that changes linearly for `total_iters` epochs, PyTorch's `LinearLR`.

    Args:
        optimizer: whose groups are changed.
        start_factor: in the first epoch, above 0 and at most 1.
        end_factor: from epoch `total_iters` on, from 0 to 1.
        total_iters: epochs until then.
        last_epoch: -1 begins.

    Raises:
        ValueError: a factor outside of its bounds.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = LinearLR(optimizer, 0.5, total_iters=2), []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        _check_factor("LinearLR", "start_factor", start_factor, start_factor > 0)
        _check_factor("LinearLR", "end_factor", end_factor, end_factor >= 0)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._group_lrs(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._group_lrs()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return self._group_lrs(1.0 + rise / before)

    def _get_closed_form_lr(self) -> list[float]:
        share = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * share
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times `gamma` every epoch, `ExponentialLR` of PyTorch.

    Args:
        optimizer: whose groups are changed.
        gamma: factor.
        last_epoch: -1 begins.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = ExponentialLR(optimizer, gamma=0.5), []
    >>> for epoch in range(3):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, gamma: float, last_epoch: int = -1
    ) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return self._group_lrs(1.0 if self._is_initial else self.gamma)

    def _get_closed_form_lr(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


def _check_factor(scheduler: str, name: str, factor: float, above: bool) -> None:
    if factor > 1.0 or not above:
        least = "above 0" if name == "start_factor" else "from 0"
        raise ValueError(
            f"{scheduler}: {name} was given as {factor}; expected a number {least} to 1"
        )
