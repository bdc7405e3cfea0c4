"""What the rules and the constructors of optimizers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends import is_number

__all__ = ["check_betas", "check_not_negative", "regularization"]


def regularization(group: Mapping[str, Any]) -> tuple[bool, float, float]:
    """(maximize, weight_decay, shrink) of a group, which every rule begins with.

    weight_decay is of the L2 penalty. With `decoupled_weight_decay` there is none, and
    p shrinks instead, by lr * weight_decay (I. Loshchilov and F. Hutter, "Decoupled
    Weight Decay Regularization", ICLR 2019).
    """
    weight_decay = group["weight_decay"]
    if weight_decay and group.get("decoupled_weight_decay"):
        return group["maximize"], 0.0, 1.0 - group["lr"] * weight_decay
    return group["maximize"], weight_decay, 1.0


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
