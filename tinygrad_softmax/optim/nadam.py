"""NAdam: Adam with Nesterov momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import NAdamRule
from .optimizer import Array, Optimizer
from .rules import check_betas, check_not_negative, regularization

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """Adam that looks ahead, `torch.optim.NAdam`.

        g = grad + weight_decay * p             (-grad for maximize)
        mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * ((1 - mu_t) / (1 - prod_{i<=t} mu_i) * g
                      + mu_{t+1} / (1 - prod_{i<=t+1} mu_i) * m)
                   / (sqrt(v / (1 - beta2^t)) + eps)

    (T. Dozat, "Incorporating Nesterov Momentum into Adam", ICLR 2016 workshop.) State:
    "step", t; "mu_product", the product up to t, in float32 as in PyTorch (float64 if
    that is the default dtype), also after loading, where PyTorch casts it to the
    parameter's dtype; "exp_avg", m; "exp_avg_sq", v.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate.
        betas: decay rates of the averages m and v, each from 0 up to but not 1.
        eps: keeps the division finite.
        weight_decay: factor of an L2 penalty.
        momentum_decay: how fast mu_t grows to beta1.
        decoupled_weight_decay: shrink p by lr * weight_decay instead: see `AdamW`.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value, or a beta outside [0, 1).

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = NAdam([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> [round(value, 4) for value in p.tolist()]
    [0.7359, -1.7359]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {
        "exp_avg": None,
        "exp_avg_sq": None,
    }
    state_counters = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        positive = "lr", "eps", "weight_decay", "momentum_decay"
        check_not_negative("NAdam", options, *positive)
        check_betas("NAdam", options["betas"])

    def initial_value(self, name: str) -> float:
        return 1.0 if name == "mu_product" else 0.0

    def advance(self, group: Mapping[str, Any], counters: dict[str, Array]) -> None:
        super().advance(group, counters)
        counters["mu_product"] *= _mu(group, float(counters["step"][0]))

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> NAdamRule:
        lr, (beta1, beta2), step = group["lr"], group["betas"], state["step"]
        mu, mu_next = _mu(group, step), _mu(group, step + 1)
        product = state["mu_product"]
        return NAdamRule(
            *regularization(group),
            beta1,
            beta2,
            group["eps"],
            of_grad=lr * (1.0 - mu) / (1.0 - product),
            of_mean=lr * mu_next / (1.0 - product * mu_next),
            correction=1.0 - beta2**step,
        )


def _mu(group: Mapping[str, Any], step: float) -> float:
    """How much the last direction counts at a step."""
    decay = 0.96 ** (step * group["momentum_decay"])
    return group["betas"][0] * (1.0 - 0.5 * decay)
