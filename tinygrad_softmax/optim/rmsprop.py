"""RMSprop: the gradient over its root mean square."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import RMSpropRule
from .optimizer import Optimizer
from .rules import check_not_negative, regularization

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """RMSprop, `torch.optim.RMSprop`.

        g = grad + weight_decay * p             (-grad for maximize)
        s = alpha * s + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g
        d = g / (sqrt(s) + eps),  or if centered  g / (sqrt(s - a^2) + eps)
        b = momentum * b + d
        p = p - lr * b

    and without momentum p = p - lr * d. (T. Tieleman and G. Hinton, "Lecture 6.5:
    RMSprop", Coursera, 2012; centered: A. Graves, "Generating Sequences with Recurrent
    Neural Networks", 2013.) State: "step", "square_avg", s; "momentum_buffer", b;
    "grad_avg", a.

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate.
        alpha: decay rate of the averages.
        eps: keeps the division finite.
        weight_decay: factor of an L2 penalty.
        momentum: how much of the last direction is kept.
        centered: divide by an estimate of the standard deviation instead.
        maximize: go up rather than down.

    Raises:
        ValueError: a negative value.

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = RMSprop([p], lr=0.25, alpha=0.0)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().tolist()
    [0.75, -1.75]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {
        "square_avg": None,
        "momentum_buffer": "momentum",
        "grad_avg": "centered",
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            momentum=momentum,
            alpha=alpha,
            eps=eps,
            centered=centered,
            weight_decay=weight_decay,
            maximize=maximize,
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        positive = "lr", "alpha", "eps", "weight_decay", "momentum"
        check_not_negative("RMSprop", options, *positive)

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> RMSpropRule:
        return RMSpropRule(
            *regularization(group),
            group["lr"],
            group["alpha"],
            group["eps"],
            group["momentum"],
            group["centered"],
        )
