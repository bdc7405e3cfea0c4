"""Adam and AdamW: a step of its own size for every weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from ..backends.updates import AdamRule
from .optimizer import Optimizer
from .rules import check_betas, check_not_negative, regularization

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam, `torch.optim.Adam`.

        g = grad + weight_decay * p             (-grad for maximize)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    (D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1; t counts the steps from 1, m and v start at 0.) With amsgrad the
    largest v so far takes the place of v in the last line (S. Reddi et al., "On the
    Convergence of Adam and Beyond", ICLR 2018). State: "step", t; "exp_avg", m;
    "exp_avg_sq", v; "max_exp_avg_sq".

    Args:
        params: the parameters to update, or groups of them: see `Optimizer`.
        lr: learning rate, about the size of a single step.
        betas: decay rates of the averages m and v, each from 0 up to but not 1.
        eps: keeps the division finite.
        weight_decay: factor of an L2 penalty.
        amsgrad: never let a step grow because v shrank.
        maximize: go up rather than down.
        decoupled_weight_decay: shrink p by lr * weight_decay instead: see `AdamW`.

    Raises:
        ValueError: a negative value, or a beta outside [0, 1).

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Adam([p], lr=0.25)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().tolist()
    [0.75, -1.75]
    """

    shares_blocks = True
    state_arrays: ClassVar[dict[str, str | None]] = {
        "exp_avg": None,
        "exp_avg_sq": None,
        "max_exp_avg_sq": "amsgrad",
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = dict(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        super().__init__(params, defaults)

    def check_options(self, options: Mapping[str, Any]) -> None:
        name = type(self).__name__
        check_not_negative(name, options, "lr", "eps", "weight_decay")
        check_betas(name, options["betas"])

    def leaves_gradient(self, group: Mapping[str, Any]) -> bool:
        penalty = group["weight_decay"] and not group["decoupled_weight_decay"]
        return not (group["maximize"] or penalty)

    def rule(self, group: Mapping[str, Any], state: Mapping[str, Any]) -> AdamRule:
        (beta1, beta2), step = group["betas"], state["step"]
        c = math.sqrt(1.0 - beta2**step)
        size = group["lr"] / (1.0 - beta1**step) * c
        return AdamRule(
            *regularization(group),
            beta1,
            beta2,
            c * group["eps"],
            size,
            group["amsgrad"],
        )


class AdamW(Adam):
    """Adam whose weight decay passes by the averages, `torch.optim.AdamW`.

    Each step first shrinks p by lr * weight_decay * p and then is Adam's without a
    penalty (I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR
    2019). Arguments, state and errors are Adam's.

    >>> import tinygrad_softmax as tg
    >>> p = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = AdamW([p], lr=0.25, weight_decay=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().tolist()
    [0.625, -1.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As `Optimizer.load_state_dict`; the decay stays decoupled."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
