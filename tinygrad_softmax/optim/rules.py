"""What the rules and the constructors of optimizers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import is_number, namespace

__all__ = [
    "average",
    "average_square",
    "check_betas",
    "check_not_negative",
    "regularize",
]

Array = Any  # an array of some backend


def regularize(
    group: Mapping[str, Any], array: Array, grad: Array, scratch: Array
) -> None:
    """Turn `grad` into the gradient of what is minimised, in place.

    That is minus the gradient for `maximize`, plus the L2 penalty's, weight_decay * p,
    or with `decoupled_weight_decay` without it: then p shrinks by lr * weight_decay
    (I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019).
    """
    xp = namespace(array)
    if group["maximize"]:
        xp.negative(grad, out=grad)
    weight_decay = group["weight_decay"]
    if weight_decay:
        if group.get("decoupled_weight_decay"):
            array *= 1.0 - group["lr"] * weight_decay
        else:
            grad += xp.multiply(array, weight_decay, out=scratch)


def average(mean: Array, values: Array, decay: float, scratch: Array) -> None:
    """mean = decay * mean + (1 - decay) * values, in place."""
    mean *= decay
    mean += namespace(mean).multiply(values, 1.0 - decay, out=scratch)


def average_square(mean: Array, values: Array, decay: float, scratch: Array) -> None:
    """mean = decay * mean + (1 - decay) * values^2, in place."""
    square = namespace(mean).multiply(values, values, out=scratch)
    square *= 1.0 - decay
    mean *= decay
    mean += square


def check_not_negative(optimizer: str, options: Mapping[str, Any], *names: str) -> None:
    """Raise an error that names the first option which is negative or no number."""
    for name in names:
        value = options[name]
        if not is_number(value):
            raise TypeError(
                f"{optimizer}: {name} was given as a {type(value).__name__}; expected "
                f"a number"
            )
        if not value >= 0:
            raise ValueError(f"{optimizer}: {name} was given as {value}; expected >= 0")


def check_betas(optimizer: str, betas: Any) -> None:
    """Raise ValueError unless `betas` are two numbers in [0, 1)."""
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(
            f"{optimizer}: betas were given as {betas}; expected two, each in [0, 1)"
        )
