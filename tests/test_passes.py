"""How often the CPU's kernels go over their data, counted and held.

Time is not a test. What a block costs is: how many NumPy functions go over it. The
counts are those of today: a kernel that needs more has become slower.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.passes import count
from tinygrad_softmax.backends import backend_of
from tinygrad_softmax.backends.targets import Targets

ROWS, CLASSES = 2048, 1000
RNG = np.random.default_rng(0)
X, G = RNG.standard_normal((2, ROWS, CLASSES)).astype("float32")
LABELS = Targets(np, RNG.integers(0, CLASSES, ROWS))
ONES = np.ones(CLASSES, "float32")
CPU = backend_of(X)


def cross_entropy(x):
    return CPU.softmax_cross_entropy(x, LABELS, np.empty_like(x))


def layer_norm(x):
    return CPU.layer_norm(x, ONES, ONES, 1e-5)


def layer_norm_grad(g, x):
    _, mean, scale = CPU.layer_norm(X, ONES, ONES, 1e-5)
    return CPU.layer_norm_grad(g, x, ONES, mean, scale, (True, True, True))


@pytest.mark.parametrize(
    ("function", "arrays", "most"),
    [
        (cross_entropy, (X,), 4),  # subtract, exp, sum, multiply
        (CPU.softmax, (X,), 3),
        (CPU.softmax_vjp, (G, X), 4),
        (CPU.log_softmax, (X,), 4),
        (CPU.log_softmax_vjp, (G, X), 4),
        (layer_norm, (X,), 5),
        (layer_norm_grad, (G, X), 9 + 5),  # and the forward pass, counted with it
        (lambda x: CPU.gelu(x, "none", with_grad=True), (X,), 23),
        (CPU.relu, (X,), 1),
    ],
)
def test_no_kernel_makes_more_passes_than_it_did(function, arrays, most):
    assert 1.0 <= count(function, *arrays) < most + 0.1


def test_passes_are_counted():
    """In place, into a place, with an operator, by a reduction, by einsum."""

    def seven(x):
        y = np.exp(x)
        np.add(y, 1.0, out=y)
        y *= 2.0
        z = y - x
        np.einsum("ij->i", z)
        z.max(axis=1)
        np.copyto(y, z)

    assert count(seven, X) == 7.0
