"""Activations that take several passes over their input, in array code.

Each takes the array namespace and arrays of one shape, and treats every element by
itself, so that `Backend.elementwise` may call it for a part of the arrays. The formulas
and their sources are in ops/activations.py, and the rule whose fused body one is.
"""

from __future__ import annotations

from typing import Any

Array = Any


def sigmoid(xp: Any, x: Array) -> Array:
    # 1 where x is positive, else e^x: faster than `where`, which has to branch.
    numerator = xp.exp(xp.minimum(x, 0))
    return numerator / (1.0 + xp.exp(-xp.abs(x)))


def softplus(xp: Any, x: Array) -> Array:
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def silu(xp: Any, x: Array) -> Array:
    return x * sigmoid(xp, x)


def silu_grad(xp: Any, g: Array, x: Array) -> Array:
    return g * (sigmoid(xp, x) * (1.0 + x * sigmoid(xp, -x)))
