"""Ops with wrong gradient rules, which `check_grads` must find."""

from __future__ import annotations

import numpy as np

import tinygrad_softmax as tg


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def planted(forward, *rules, **fused):
    """An op with these gradient rules for its inputs."""
    op = tg.primitive(forward)
    for name, rule in zip(op.inputs, rules, strict=True):
        op.vjp(name)(rule)
    for name, body in fused.items():
        op.fused(name)(body)
    return op


def cube(x):
    return x * x * x


def product(a, b):
    return a @ b


def raw(x):
    """The array of a tensor: what keeps it out of the graph."""
    return getattr(x, "array", x)


twice_too_steep = planted(lambda x: x * x, lambda g, x: g * (4.0 * x))
