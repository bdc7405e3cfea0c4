"""What every optimizer shares: its parameters, and the gradients it clears."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..backends import there
from ..tensor import Tensor

__all__ = ["Optimizer", "check_not_negative"]

Array = Any  # an array of some backend


class Optimizer:
    """Holds parameters and, for each, what its rule remembers between steps.

    A subclass gives `update(array, grad, state)`, which changes `array` in place. It
    works on raw arrays: an update is no part of any graph.

    >>> import tinygrad_softmax as tg
    >>> class SignDescent(Optimizer):
    ...     def update(self, array, grad, state):
    ...         array -= 0.1 * tg.sign(grad)
    >>> x = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> SignDescent([x]).step()
    >>> x.tolist() == tg.tensor([0.9, -1.9]).tolist()
    True
    """

    def __init__(self, params: Iterable[Tensor]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{type(self).__name__} got one Tensor; expected several parameters; "
                f"mend: put it in a list, [parameter]"
            )
        self.params = list(params)
        if not self.params:
            raise ValueError(
                f"{type(self).__name__} got no parameters; mend: give it "
                f"model.parameters(), a generator, before anything else uses it up"
            )
        for position, parameter in enumerate(self.params):
            if not (isinstance(parameter, Tensor) and parameter.requires_grad):
                raise TypeError(
                    f"{type(self).__name__}: parameter {position} is not a Tensor that "
                    f"requires a gradient (got {type(parameter).__name__})"
                )
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    def zero_grad(self) -> None:
        """Forget every gradient: `backward` adds to what is there."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        for parameter, state in zip(self.params, self.state):
            if parameter.grad is not None:
                with there(parameter.array):
                    self.update(parameter.array, parameter.grad.array, state)

    def update(self, array: Array, grad: Array, state: dict[str, Any]) -> None:
        """Change `array` in place by its gradient; `grad` is not to be changed."""
        raise NotImplementedError


def check_not_negative(optimizer: str, **values: float) -> None:
    """ValueError that names the first value which is negative or no number."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{optimizer}: {name} was given as {value}; expected >= 0")
