"""RAdam: Adam that waits until its averages can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import RAdamRule
from .optimizer import Optimizer
from .rules import check_betas, check_not_negative, regularization

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Rectified Adam, `torch.optim.RAdam`.

        g = grad + weight_decay * p             (-grad for maximize)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        n = 2 / (1 - beta2) - 1,  r = n - 2 * t * beta2^t / (1 - beta2^t)
        p = p - lr * m / (1 - beta1^t) * scale

    where scale is 1 while r <= 5, and then sqrt((r - 4) (r - 2) n / ((n - 4) (n - 2)
    r)) * sqrt(1 - beta2^t) / (sqrt(v) + eps). (L. Liu et al., "On the Variance of the
    Adaptive Learning Rate and Beyond", ICLR 2020, algorithm 2.) State: "step", t;
    "exp_avg", m; "exp_avg_sq", v.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate.
        betas: decay rates of the averages m and v, each from 0 up to but not 1.
        eps: keeps the division finite.
        weight_decay: factor of an L2 penalty.
        decoupled_weight_decay: shrink p by lr * weight_decay instead: see `AdamW`.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value, or a beta outside [0, 1).

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = RAdam([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()  # at first without v: lr * g
    >>> p.detach().numpy().tolist()
    [0.5, -1.0]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {
        "exp_avg": None,
        "exp_avg_sq": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_not_negative("RAdam", options, "lr", "eps", "weight_decay")
        check_betas("RAdam", options["betas"])

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> RAdamRule:
        (beta1, beta2), step = group["betas"], state["step"]
        size = group["lr"] / (1.0 - beta1**step)
        correction = 1.0 - beta2**step
        limit = 2.0 / (1.0 - beta2) - 1.0
        length = limit - 2.0 * step * beta2**step / correction
        if rectified := length > 5.0:
            size *= math.sqrt(
                (length - 4.0)
                * (length - 2.0)
                * limit
                / ((limit - 4.0) * (limit - 2.0) * length)
                * correction
            )
        return RAdamRule(
            *regularization(group), beta1, beta2, group["eps"], size, rectified
        )
