"""Adam: a step of its own size for every weight."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..backends import namespace
from ..tensor import Tensor
from .optimizer import Array, Optimizer, check_not_negative

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adam, `torch.optim.Adam`.

        g = grad + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    (D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    algorithm 1; t counts the steps from 1, m and v start at 0.)

    Args:
        params: the parameters to update.
        lr: learning rate, about the size of a single step.
        betas: decay rates of the averages m and v, each from 0 up to but not 1.
        eps: keeps the division finite.
        weight_decay: factor of an L2 penalty.

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

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params)
        check_not_negative("Adam", lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"Adam: betas were given as {betas}; expected each in [0, 1)"
            )
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def update(self, array: Array, grad: Array, state: dict[str, Any]) -> None:
        xp = namespace(array)
        if not state:
            state.update(step=0, m=xp.zeros_like(array), v=xp.zeros_like(array))
        state["step"] += 1
        beta1, beta2 = self.betas
        if self.weight_decay:
            grad = grad + self.weight_decay * array
        m, v = state["m"], state["v"]
        m *= beta1
        m += (1.0 - beta1) * grad
        v *= beta2
        v += (1.0 - beta2) * (grad * grad)
        size = self.lr / (1.0 - beta1 ** state["step"])
        root = xp.sqrt(v)
        root /= math.sqrt(1.0 - beta2 ** state["step"])
        root += self.eps
        array -= size * m / root
