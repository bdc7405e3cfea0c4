"""Activations that take several passes over their input, in array code.

Each takes the array namespace and arrays of one shape, and treats every element by
itself, so that `Backend.elementwise` may call it for a part of the arrays, or have a
kernel of its own in its place. The formulas and their sources are in
ops/activations.py.

Those that end in `_rule` are the fused bodies of the ops' rules.
"""

from __future__ import annotations

from typing import Any

from .registry import backend_of

Array = Any


def sigmoid(xp: Any, x: Array) -> Array:
    # e / (1 + e) of e = exp(-|x|) is the sigmoid of -|x|, in full where it is small:
    # one exponential, and no `where`, which has to branch.
    small = xp.exp(-xp.abs(x))
    small = small / (1.0 + small)
    return xp.abs((x > 0) - small)


def sigmoid_grad(xp: Any, g: Array, x: Array) -> Array:
    e = xp.exp(-xp.abs(x))
    large = 1.0 / (1.0 + e)  # and e * large is the sigmoid of -|x|
    return g * (e * large * large)


def softplus(xp: Any, x: Array) -> Array:
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def softplus_grad(xp: Any, g: Array, x: Array) -> Array:
    return g * sigmoid(xp, x)


def silu(xp: Any, x: Array) -> Array:
    return x * sigmoid(xp, x)


def silu_grad(xp: Any, g: Array, x: Array) -> Array:
    return g * (sigmoid(xp, x) * (1.0 + x * sigmoid(xp, -x)))


def sigmoid_rule(g: Array, x: Array) -> Array:
    return backend_of(x).elementwise(sigmoid_grad, g, x)


def softplus_rule(g: Array, x: Array) -> Array:
    return backend_of(x).elementwise(softplus_grad, g, x)


def silu_rule(g: Array, x: Array) -> Array:
    return backend_of(x).elementwise(silu_grad, g, x)


def tanh_rule(g: Array, out: Array) -> Array:
    return backend_of(out).tanh_grad(g, out)


def relu_rule(g: Array, out: Array) -> Array:
    return backend_of(out).relu_grad(g, out)
