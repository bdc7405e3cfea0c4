"""A schedule that watches a metric."""

from __future__ import annotations

from typing import Any, SupportsFloat

from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when a metric stops improving: PyTorch's scheduler.

    `step(metric)` counts epochs without improvement; after more than `patience` of
    them in a row the rate shrinks, and for `cooldown` epochs none is counted. Improved
    means better than the best so far by `threshold`: below best * (1 - threshold) for
    mode "min" and threshold_mode "rel", below best - threshold for "abs"; for mode
    "max" above best * (1 + threshold) or best + threshold.

    Args:
        optimizer: whose groups are changed.
        mode: "min" (a loss) or "max" (an accuracy).
        factor: below 1.
        patience: epochs without improvement that are borne.
        threshold, threshold_mode: what counts as an improvement.
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: lower bound of the rate, or one for each group.
        eps: a change of the rate that is smaller is not made.

    Raises:
        ValueError: a factor of at least 1, an unknown mode, or as many bounds as there
            are groups were expected.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     scheduler.step(loss)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"ReduceLROnPlateau got a {type(optimizer).__name__}; expected an "
                f"Optimizer"
            )
        if factor >= 1.0:
            raise ValueError(
                f"ReduceLROnPlateau: factor was given as {factor}; expected < 1"
            )
        for name, value, known in (
            ("mode", mode, ("min", "max")),
            ("threshold_mode", threshold_mode, ("rel", "abs")),
        ):
            if value not in known:
                raise ValueError(
                    f"ReduceLROnPlateau: {name} was given as {value!r}; expected "
                    f"{known[0]!r} or {known[1]!r}"
                )
        groups = len(optimizer.param_groups)
        if isinstance(min_lr, (list, tuple)) and len(min_lr) != groups:
            raise ValueError(
                f"ReduceLROnPlateau: min_lr has {len(min_lr)} values for {groups} "
                f"groups; expected one for each, or a single one"
            )
        self.optimizer = optimizer
        self.factor = factor
        several = isinstance(min_lr, (list, tuple))
        self.default_min_lr = None if several else min_lr
        self.min_lrs = list(min_lr) if several else [min_lr] * groups
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = float("inf" if mode == "min" else "-inf")
        self._last_lr = self._group_lrs()
        self._reset()

    def _reset(self) -> None:
        """Forget the best metric, and what was counted."""
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    @property
    def in_cooldown(self) -> bool:
        """Whether the rate was reduced so lately that nothing is counted."""
        return self.cooldown_counter > 0

    def step(self, metrics: SupportsFloat) -> None:  # type: ignore[override]
        """Look at the metric of one more epoch. A Tensor is read from its device."""
        current = float(metrics)
        self.last_epoch += 1
        if self._is_better(current):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._group_lrs()

    def _is_better(self, current: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            bound = self.best * (1.0 + sign * self.threshold)
        else:
            bound = self.best + sign * self.threshold
        return current < bound if self.mode == "min" else current > bound

    def _reduce_lr(self) -> None:
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"ReduceLROnPlateau: the optimizer has {len(groups)} groups now, "
                    f"and {len(self.min_lrs)} values were given as min_lr; mend: set "
                    f"scheduler.min_lrs"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs):
            reduced = max(group["lr"] * self.factor, least)
            if group["lr"] - reduced > self.eps:
                group["lr"] = reduced
