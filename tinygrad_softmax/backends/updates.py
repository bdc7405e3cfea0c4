"""One step of an optimizer: the numbers that it needs, and the formula in array code.

A rule is a tuple of plain numbers, in which what depends on the count of steps has been
worked out already. `apply` is the definition: it changes parameters and state in place,
element by element. A backend may have a kernel instead, which is given the same numbers
in the same order, and up to three arrays of state.

`maximize`, `weight_decay` and `shrink` stand first in every rule: -grad is taken for
the gradient, p is multiplied by `shrink` (decoupled weight decay), and weight_decay * p
is added to the gradient (the L2 penalty).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = [
    "AdadeltaRule",
    "AdagradRule",
    "AdamRule",
    "NAdamRule",
    "RAdamRule",
    "RMSpropRule",
    "Rule",
    "SGDRule",
]

Array = Any  # an array of some backend
State = Mapping[str, Array]
States = tuple[str | None, str | None, str | None]


def _regularize(xp: Any, rule: Any, p: Array, grad: Array, scratch: Array) -> None:
    """What every rule does first: see above."""
    if rule.maximize:
        xp.negative(grad, out=grad)
    if rule.shrink != 1.0:
        p *= rule.shrink
    if rule.weight_decay:
        grad += xp.multiply(p, rule.weight_decay, out=scratch)


def _average(xp: Any, mean: Array, values: Array, decay: float, scratch: Array) -> None:
    """mean = decay * mean + (1 - decay) * values, in place."""
    mean *= decay
    mean += xp.multiply(values, 1.0 - decay, out=scratch)


def _average_square(
    xp: Any, mean: Array, values: Array, decay: float, scratch: Array
) -> None:
    """mean = decay * mean + (1 - decay) * values^2, in place."""
    square = xp.multiply(values, values, out=scratch)
    square *= 1.0 - decay
    mean *= decay
    mean += square


class SGDRule(NamedTuple):
    """v = g at the first step, then momentum * v + (1 - dampening) * g;
    p -= lr * (g + momentum * v if nesterov else v), or lr * g without momentum."""

    maximize: bool
    weight_decay: float
    shrink: float
    lr: float
    momentum: float
    dampening: float
    nesterov: bool
    is_first: bool

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        return "momentum_buffer" if self.momentum else None, None, None

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        if self.momentum:
            velocity = state["momentum_buffer"]
            if self.is_first:
                velocity[...] = grad
            else:
                velocity *= self.momentum
                velocity += xp.multiply(grad, 1.0 - self.dampening, out=scratch)
            if self.nesterov:
                grad += xp.multiply(velocity, self.momentum, out=scratch)
            else:
                grad = velocity
        p -= xp.multiply(grad, self.lr, out=scratch)


class AdamRule(NamedTuple):
    """m, v = averages of g and g^2; p -= size * m / (sqrt(v) + eps), with the largest
    v so far for amsgrad.

    With c = sqrt(1 - beta2^t), eps is c times the optimizer's, and size is c * lr /
    (1 - beta1^t): m / (sqrt(v) / c + eps) = c * m / (sqrt(v) + c * eps).
    """

    maximize: bool
    weight_decay: float
    shrink: float
    beta1: float
    beta2: float
    eps: float
    size: float
    amsgrad: bool

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        largest = "max_exp_avg_sq" if self.amsgrad else None
        return "exp_avg", "exp_avg_sq", largest

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        _average(xp, m, grad, self.beta1, scratch)
        _average_square(xp, v, grad, self.beta2, scratch)
        if self.amsgrad:
            largest = state["max_exp_avg_sq"]
            v = xp.maximum(largest, v, out=largest)
        root = xp.sqrt(v, out=scratch)
        root += self.eps
        change = xp.divide(m, root, out=root)
        change *= self.size
        p -= change


class NAdamRule(NamedTuple):
    """m, v = averages of g and g^2; p -= (of_grad * g + of_mean * m) / (sqrt(v /
    correction) + eps), with the rates in of_grad and of_mean."""

    maximize: bool
    weight_decay: float
    shrink: float
    beta1: float
    beta2: float
    eps: float
    of_grad: float
    of_mean: float
    correction: float

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        return "exp_avg", "exp_avg_sq", None

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        _average(xp, m, grad, self.beta1, scratch)
        _average_square(xp, v, grad, self.beta2, scratch)
        grad *= self.of_grad
        grad += xp.multiply(m, self.of_mean, out=scratch)
        root = xp.divide(v, self.correction, out=scratch)
        xp.sqrt(root, out=root)
        root += self.eps
        grad /= root
        p -= grad


class RAdamRule(NamedTuple):
    """m, v = averages of g and g^2; p -= size * m / (sqrt(v) + eps) if rectified, else
    size * m."""

    maximize: bool
    weight_decay: float
    shrink: float
    beta1: float
    beta2: float
    eps: float
    size: float
    rectified: bool

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        return "exp_avg", "exp_avg_sq", None

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        _average(xp, m, grad, self.beta1, scratch)
        _average_square(xp, v, grad, self.beta2, scratch)
        if self.rectified:
            root = xp.sqrt(v, out=scratch)
            root += self.eps
            change = xp.divide(m, root, out=root)
            change *= self.size
        else:
            change = xp.multiply(m, self.size, out=scratch)
        p -= change


class RMSpropRule(NamedTuple):
    """s = average of g^2; d = g / (sqrt(s) + eps), of s - (average of g)^2 if centered;
    b = momentum * b + d; p -= lr * b, or lr * d without momentum."""

    maximize: bool
    weight_decay: float
    shrink: float
    lr: float
    alpha: float
    eps: float
    momentum: float
    centered: bool

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        mean = "grad_avg" if self.centered else None
        velocity = "momentum_buffer" if self.momentum else None
        return "square_avg", mean, velocity

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        mean_square = state["square_avg"]
        _average_square(xp, mean_square, grad, self.alpha, scratch)
        if self.centered:
            mean = state["grad_avg"]
            _average(xp, mean, grad, self.alpha, scratch)
            root = xp.multiply(mean, mean, out=scratch)
            xp.subtract(mean_square, root, out=root)
            xp.sqrt(root, out=root)
        else:
            root = xp.sqrt(mean_square, out=scratch)
        root += self.eps
        change = xp.divide(grad, root, out=grad)
        if self.momentum:
            velocity = state["momentum_buffer"]
            velocity *= self.momentum
            velocity += change
            change = velocity
        p -= xp.multiply(change, self.lr, out=scratch)


class AdagradRule(NamedTuple):
    """s += g^2; p -= size * g / (sqrt(s) + eps)."""

    maximize: bool
    weight_decay: float
    shrink: float
    eps: float
    size: float

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        return "sum", None, None

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        total = state["sum"]
        total += xp.multiply(grad, grad, out=scratch)
        root = xp.sqrt(total, out=scratch)
        root += self.eps
        change = xp.divide(grad, root, out=root)
        change *= self.size
        p -= change


class AdadeltaRule(NamedTuple):
    """s = average of g^2; d = sqrt(u + eps) / sqrt(s + eps) * g; u = average of d^2;
    p -= lr * d."""

    maximize: bool
    weight_decay: float
    shrink: float
    lr: float
    rho: float
    eps: float

    def states(self) -> States:
        """The arrays of state that it uses, at their places in a kernel."""
        return "square_avg", "acc_delta", None

    def apply(
        self, xp: Any, p: Array, grad: Array, state: State, scratch: Array
    ) -> None:
        """One step, in place."""
        _regularize(xp, self, p, grad, scratch)
        mean_square, mean_change = state["square_avg"], state["acc_delta"]
        _average_square(xp, mean_square, grad, self.rho, scratch)
        root = xp.add(mean_change, self.eps, out=scratch)
        grad *= xp.sqrt(root, out=root)
        root = xp.add(mean_square, self.eps, out=scratch)
        grad /= xp.sqrt(root, out=root)
        _average_square(xp, mean_change, grad, self.rho, scratch)
        grad *= self.lr
        p -= grad


Rule = (
    SGDRule
    | AdamRule
    | NAdamRule
    | RAdamRule
    | RMSpropRule
    | AdagradRule
    | AdadeltaRule
)
