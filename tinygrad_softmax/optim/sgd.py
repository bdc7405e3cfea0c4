"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor
from .optimizer import Array, Optimizer, check_not_negative

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, `torch.optim.SGD`.

        g = grad + weight_decay * p
        v = g at the first step, then momentum * v + (1 - dampening) * g
        p = p - lr * (g + momentum * v  if nesterov else  v)

    and without momentum p = p - lr * g. (Momentum as in I. Sutskever et al., "On the
    importance of initialization and momentum in deep learning", ICML 2013, with the
    rate outside of v as PyTorch has it.)

    Args:
        params: the parameters to update.
        lr: learning rate.
        momentum: how much of the last direction is kept, 0 to 1.
        dampening: how much of the new gradient is held back.
        weight_decay: factor of an L2 penalty.
        nesterov: whether to look ahead; needs momentum and no dampening.

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

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params)
        check_not_negative("SGD", lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs momentum above 0 and dampening 0")
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov

    def update(self, array: Array, grad: Array, state: dict[str, Any]) -> None:
        if self.weight_decay:
            grad = grad + self.weight_decay * array
        if self.momentum:
            velocity = state.get("velocity")
            if velocity is None:
                velocity = state["velocity"] = grad.copy()
            else:
                velocity *= self.momentum
                velocity += (1.0 - self.dampening) * grad
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        array -= self.lr * grad
