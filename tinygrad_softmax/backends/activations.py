"""Activations that take several passes over their input, in array code.

Each takes the array namespace and arrays of one shape, and treats every element by
itself, so that `Backend.elementwise` may call it for a part of the arrays. The formulas
and their sources are in ops/activations.py, and the rule whose fused body one is.
"""

from __future__ import annotations

from typing import Any

Array = Any


def sigmoid(xp: Any, x: Array) -> Array:
    # e / (1 + e) of e = exp(-|x|) is the sigmoid of -|x|, in full where it is small:
    # one exponential, and no `where`, which has to branch.
    small = xp.exp(-xp.abs(x))
    small = small / (1.0 + small)
    return xp.abs((x > 0) - small)


def softplus(xp: Any, x: Array) -> Array:
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def silu(xp: Any, x: Array) -> Array:
    return x * sigmoid(xp, x)


def silu_grad(xp: Any, g: Array, x: Array) -> Array:
    return g * (sigmoid(xp, x) * (1.0 + x * sigmoid(xp, -x)))
