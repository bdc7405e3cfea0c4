"""The one-cycle policy: up, down, and far down."""

from __future__ import annotations

import math
from typing import Any

from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["OneCycleLR"]


class OneCycleLR(LRScheduler):
    """Up to `max_lr` and down to nearly nothing in one run, PyTorch's `OneCycleLR`.

    The rate goes from max_lr / div_factor up to max_lr, and from there down to
    max_lr / (div_factor * final_div_factor); the momentum (beta1 of the Adam family)
    the other way, from max_momentum to base_momentum and back. `step` is called after
    every batch. (L. Smith and N. Topin, "Super-Convergence: Very Fast Training of
    Neural Networks Using Large Learning Rates", 2018.)

    Args:
        optimizer: whose groups are changed.
        max_lr: the highest rate, or one for each group.
        total_steps: batches in all; or else `epochs` and `steps_per_epoch` are given.
        epochs, steps_per_epoch: their product is the number of batches.
        pct_start: share of the batches that the way up takes, a float from 0 to 1.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether the momentum changes too.
        base_momentum, max_momentum: its lowest and highest value, or one a group each.
        div_factor, final_div_factor: how the first and last rate follow from max_lr.
        three_phase: go back to the first rate as slowly as up, and then far down.
        last_epoch: -1 begins.

    Raises:
        ValueError: a number of steps that is no positive integer, or missing; an option
            out of its bounds; as many values as there are groups were expected; the
            optimizer has no momentum; `step` is called more than total_steps times.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0, momentum=0.9)
    >>> scheduler, rates = OneCycleLR(
    ...     optimizer, 1.0, 5, pct_start=0.6, anneal_strategy="linear"), []
    >>> for batch in range(5):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 3) for rate in rates]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"OneCycleLR got a {type(optimizer).__name__}; expected an Optimizer"
            )
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(
                f"OneCycleLR: pct_start was given as {pct_start!r}; expected a float "
                f"from 0 to 1"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy was given as {anneal_strategy!r}; "
                f"expected 'cos' or 'linear'"
            )
        self._anneal_func_type = anneal_strategy
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        self.cycle_momentum = cycle_momentum
        groups = optimizer.param_groups
        highest = _for_each_group("max_lr", max_lr, groups)
        if last_epoch == -1:
            for group, rate in zip(groups, highest):
                group["initial_lr"] = rate / div_factor
                group["max_lr"] = rate
                group["min_lr"] = group["initial_lr"] / final_div_factor
        if cycle_momentum:
            self.use_beta1 = "betas" in optimizer.defaults
            if not self.use_beta1 and "momentum" not in optimizer.defaults:
                raise ValueError(
                    f"OneCycleLR: {type(optimizer).__name__} has neither momentum nor "
                    f"betas; mend: cycle_momentum=False"
                )
            tops = _for_each_group("max_momentum", max_momentum, groups)
            bases = _for_each_group("base_momentum", base_momentum, groups)
            if last_epoch == -1:
                for group, top, base in zip(groups, tops, bases):
                    self._set_momentum(group, top)
                    group["max_momentum"] = top
                    group["base_momentum"] = base
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step was called {step} times, and the run has "
                f"{self.total_steps} steps; mend: total_steps={step} or more"
            )
        start, phase = 0.0, self._schedule_phases[0]
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        share = (step - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group, phase, "lr", share))
            if self.cycle_momentum:
                momentum = self._between(group, phase, "momentum", share)
                self._set_momentum(group, momentum)
        return rates

    def _between(
        self, group: dict[str, Any], phase: dict[str, Any], what: str, share: float
    ) -> float:
        start, end = group[phase[f"start_{what}"]], group[phase[f"end_{what}"]]
        if self._anneal_func_type == "cos":
            return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)
        return (end - start) * share + start

    def _set_momentum(self, group: dict[str, Any], momentum: float) -> None:
        if self.use_beta1:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


def _total_steps(total: Any, epochs: Any, steps_per_epoch: Any) -> int:
    given = {"total_steps": total}
    if total is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    product = 1
    for name, value in given.items():
        if value is None:
            raise ValueError(
                "OneCycleLR needs total_steps, or epochs and steps_per_epoch"
            )
        if not isinstance(value, int) or value <= 0:
            raise ValueError(
                f"OneCycleLR: {name} was given as {value!r}; expected a positive "
                f"integer"
            )
        product *= value
    return product


def _phases(total: int, pct_start: float, three_phase: bool) -> list[dict[str, Any]]:
    """What goes from where to where, and until which step: PyTorch's own entries."""

    def phase(end: float, rates: tuple[str, str], momenta: tuple[str, str]):
        return {
            "end_step": end,
            "start_lr": rates[0],
            "end_lr": rates[1],
            "start_momentum": momenta[0],
            "end_momentum": momenta[1],
        }

    top, base = "max_momentum", "base_momentum"
    up = phase(pct_start * total - 1, ("initial_lr", "max_lr"), (top, base))
    if not three_phase:
        return [up, phase(total - 1, ("max_lr", "min_lr"), (base, top))]
    return [
        up,
        phase(2 * pct_start * total - 2, ("max_lr", "initial_lr"), (base, top)),
        phase(total - 1, ("initial_lr", "min_lr"), (top, top)),
    ]


def _for_each_group(name: str, value: Any, groups: list[dict[str, Any]]) -> list[float]:
    if not isinstance(value, (list, tuple)):
        return [value] * len(groups)
    if len(value) != len(groups):
        raise ValueError(
            f"OneCycleLR: {name} has {len(value)} values for {len(groups)} groups; "
            f"expected one for each, or a single one"
        )
    return list(value)
