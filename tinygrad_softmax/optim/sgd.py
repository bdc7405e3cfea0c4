"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import SGDRule
from .optimizer import Array, Optimizer
from .rules import check_not_negative, regularization

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, `torch.optim.SGD`.

        g = grad + weight_decay * p             (-grad for maximize)
        v = g at the first step, then momentum * v + (1 - dampening) * g
        p = p - lr * (g + momentum * v  if nesterov else  v)

    and without momentum p = p - lr * g. (Momentum as in I. Sutskever et al., "On the
    importance of initialization and momentum in deep learning", ICML 2013, with the
    rate outside of v as PyTorch has it.) State: "momentum_buffer", v.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate.
        momentum: how much of the last direction is kept, 0 to 1.
        dampening: how much of the new gradient is held back.
        weight_decay: factor of an L2 penalty.
        nesterov: whether to look ahead; needs momentum and no dampening.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value, or nesterov without momentum or with dampening.

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().tolist()
    [0.0, 0.0]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {"momentum_buffer": "momentum"}
    state_counters = ()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        check_not_negative("SGD", options, "lr", "momentum", "weight_decay")
        if options["nesterov"] and (
            options["momentum"] == 0 or options["dampening"] != 0
        ):
            raise ValueError("SGD: nesterov needs momentum above 0 and dampening 0")

    def advance(self, group: Mapping[str, Any], counters: dict[str, Array]) -> None:
        pass  # SGD counts nothing

    def leaves_gradient(self, group: Mapping[str, Any]) -> bool:
        return not (group["maximize"] or group["weight_decay"] or group["nesterov"])

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> SGDRule:
        return SGDRule(
            *regularization(group),
            group["lr"],
            group["momentum"],
            group["dampening"],
            group["nesterov"],
            state["is_first"],
        )
