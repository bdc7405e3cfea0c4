"""Schedules that follow a cosine down, once or again and again."""

from __future__ import annotations

import math

from ..optimizer import Optimizer
from .base import LRScheduler

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """From the first rate down to `eta_min` in `T_max` epochs along a cosine.

    `CosineAnnealingLR` of PyTorch: eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2
    (I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm
    Restarts", ICLR 2017, without the restarts), in the form that goes on from the rate
    in the groups. After `T_max` it goes up again.

    Args:
        optimizer: whose groups are changed.
        T_max: epochs until the lowest rate.
        eta_min: the lowest rate.
        last_epoch: -1 begins.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = CosineAnnealingLR(optimizer, T_max=2), []
    >>> for epoch in range(3):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 6) for rate in rates]
    [1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803  (PyTorch's name)
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, period, least = self.last_epoch, self.T_max, self.eta_min
        rates = self._group_lrs()
        if self._is_initial:
            return rates
        if (epoch - 1 - period) % (2 * period) == 0:  # up from the lowest point
            rise = (1 - math.cos(math.pi / period)) / 2
            return [
                rate + (base - least) * rise for rate, base in zip(rates, self.base_lrs)
            ]
        now = 1 + math.cos(math.pi * epoch / period)
        before = 1 + math.cos(math.pi * (epoch - 1) / period)
        return [now / before * (rate - least) + least for rate in rates]

    def _get_closed_form_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """`CosineAnnealingLR` that begins again, as `CosineAnnealingWarmRestarts` does.

    The first descent takes `T_0` epochs, each further one `T_mult` times as many as the
    one before (SGDR, with the restarts).

    Args:
        optimizer: whose groups are changed.
        T_0: epochs of the first descent.
        T_mult: how much longer each is than the last.
        eta_min: the lowest rate.
        last_epoch: -1 begins.

    Raises:
        ValueError: `T_0` or `T_mult` is no positive integer.

    >>> import tinygrad_softmax as tg
    >>> optimizer = tg.optim.SGD([tg.ones(1)], lr=1.0)
    >>> scheduler, rates = CosineAnnealingWarmRestarts(optimizer, T_0=2), []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     optimizer.step()
    ...     scheduler.step()
    >>> [round(rate, 6) for rate in rates]
    [1.0, 0.5, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803  (PyTorch's name)
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"CosineAnnealingWarmRestarts: {name} was given as {value!r}; "
                    f"expected an integer of at least 1"
                )
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to any: 2.5 is the middle of epoch 2."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            self._find_cycle(epoch)
        self.last_epoch = math.floor(epoch)
        self._set_lr(self.get_lr())

    def _find_cycle(self, epoch: float) -> None:
        """Which descent an epoch belongs to, and how far it is in it."""
        if epoch < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts.step: epoch was given as {epoch}; "
                f"expected >= 0"
            )
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            grown = epoch / self.T_0 * (self.T_mult - 1) + 1
            cycle = int(math.log(grown, self.T_mult))
            done = self.T_0 * (self.T_mult**cycle - 1) / (self.T_mult - 1)
            self.T_cur = epoch - done
            self.T_i = self.T_0 * self.T_mult**cycle

    def _update_lr(self, epoch: int | None = None) -> None:
        if epoch is not None:
            self.last_epoch = epoch
            self._set_lr(self.get_lr())
        else:
            super()._update_lr()
