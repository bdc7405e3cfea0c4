"""Adagrad: smaller steps for weights that have already moved much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import AdagradRule
from .optimizer import Optimizer
from .rules import check_not_negative, regularization

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adagrad, `torch.optim.Adagrad`.

        g = grad + weight_decay * p             (-grad for maximize)
        s = s + g^2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    (J. Duchi, E. Hazan and Y. Singer, "Adaptive Subgradient Methods for Online Learning
    and Stochastic Optimization", JMLR 12, 2011.) State, there from the start: "step",
    t; "sum", s.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate.
        lr_decay: how fast the learning rate falls.
        weight_decay: factor of an L2 penalty.
        initial_accumulator_value: what s begins with, in all groups.
        eps: keeps the division finite.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value.

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adagrad([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().tolist()
    [0.75, -1.75]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {"sum": None}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            maximize=maximize,
        )
        super().__init__(params, defaults)
        self.start_state()

    def check_options(self, options: Mapping[str, Any]) -> None:
        positive = "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"
        check_not_negative("Adagrad", options, *positive)

    def initial_value(self, name: str) -> float:
        return self.defaults["initial_accumulator_value"] if name == "sum" else 0.0

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> AdagradRule:
        size = group["lr"] / (1.0 + (state["step"] - 1.0) * group["lr_decay"])
        return AdagradRule(*regularization(group), group["eps"], size)
