"""Adadelta: steps in the weights' own unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import AdadeltaRule
from .optimizer import Optimizer
from .rules import check_not_negative, regularization

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Adadelta, `torch.optim.Adadelta`.

        g = grad + weight_decay * p             (-grad for maximize)
        s = rho * s + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(s + eps) * g
        u = rho * u + (1 - rho) * d^2
        p = p - lr * d

    (M. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1.) State:
    "step"; "square_avg", s; "acc_delta", u.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: factor of the step d.
        rho: decay rate of the averages, from 0 to 1.
        eps: keeps the first steps from being 0, and the division finite.
        weight_decay: factor of an L2 penalty.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value, or rho above 1.

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adadelta([p], rho=0.0, eps=0.0625)
    >>> (0.25 * p * p).sum().backward()  # d is 0.25 g / sqrt(g^2 + 0.0625)
    >>> optimizer.step()
    >>> round(p.tolist()[0], 4)
    0.7764
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {
        "square_avg": None,
        "acc_delta": None,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_not_negative("Adadelta", options, "lr", "rho", "eps", "weight_decay")
        if options["rho"] > 1:
            raise ValueError(
                f"Adadelta: rho was given as {options['rho']}; expected 0 to 1"
            )

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> AdadeltaRule:
        return AdadeltaRule(
            *regularization(group), group["lr"], group["rho"], group["eps"]
        )
