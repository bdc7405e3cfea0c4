"""What the tests of optimizers have in common."""

from __future__ import annotations

import math

import numpy as np
from parity.optimizer_cases import OPTIONS

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim

CASES = [(kind, name) for kind, table in OPTIONS.items() for name in table]
ALL = [(kind, "all") for kind in OPTIONS]


def make(kind, name, parameters, **more):
    return getattr(optim, kind)(parameters, **{**OPTIONS[kind][name], **more})


def make_parameters(shapes, device="cpu", dtype="float64"):
    found = []
    for i, shape in enumerate(shapes):
        values = np.sin(np.arange(math.prod(shape)) + i).reshape(shape)
        found.append(nn.Parameter(tg.tensor(values, dtype, device)))
    return found


SHAPES = [(2, 3), (), (4,), (0,), (3, 1)]


def backward(parameters):
    for p in parameters:
        ((p - 1) ** 2).sum().backward()


def train(parameters, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        backward(parameters)
        optimizer.step()


def values(parameters):
    return [p.detach().numpy().copy() for p in parameters]


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


def give(parameters, *numbers):
    """Gradients: a number for each parameter, or None."""
    for p, number in zip(parameters, numbers, strict=True):
        if number is None:
            p.grad = None
        else:
            p.grad = tg.tensor(np.full(p.shape, float(number)), p.dtype, p.device)
