"""How often the CPU's kernels go over their data, counted and held.

Time is not a test. What a block costs is: how many NumPy functions go over it. The
counts are those of today: a kernel that needs more has become slower.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.backends import backend_of, buffers
from tinygrad_softmax.backends.scratch import scratch
from tinygrad_softmax.backends.targets import Targets

ROWS, CLASSES = 2048, 1000


class Counted(np.ndarray):
    """An array that adds up the elements that NumPy's functions go over."""

    elements = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        plain, into = tuple(map(_plain, inputs)), tuple(map(_plain, out))
        if into:
            options["out"] = into
        result = getattr(ufunc, method)(*plain, **options)
        Counted.elements += max(map(np.size, (*plain, *into, result)))
        if out and out[0] is not None:
            return out[0]
        return result.view(Counted) if isinstance(result, np.ndarray) else result

    def __array_function__(self, func, types, args, kwargs):
        plain = tuple(map(_plain, args))
        result = func(*plain, **{name: _plain(value) for name, value in kwargs.items()})
        if func is not np.empty_like:  # which touches nothing
            Counted.elements += max(x.size for x in plain if isinstance(x, np.ndarray))
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def _plain(x):
    return x.view(np.ndarray) if isinstance(x, Counted) else x


@pytest.fixture
def passes():
    """How often a function goes over as many elements as its first argument has."""
    before = tg.get_num_threads()
    tg.set_num_threads(1)  # Counted.elements is nobody's in particular

    def forget():
        buffers.free_buffers()
        scratch.kept.clear()

    def count(function, *arrays):
        forget()
        plain_empty = np.empty
        with mock.patch.object(
            np, "empty", lambda *a, **k: plain_empty(*a, **k).view(Counted)
        ):
            Counted.elements = 0
            function(*(each.view(Counted) for each in arrays))
        return Counted.elements / arrays[0].size

    yield count
    forget()
    tg.set_num_threads(before)


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
def test_no_kernel_makes_more_passes_than_it_did(function, arrays, most, passes):
    assert 1.0 <= passes(function, *arrays) < most + 0.1


def test_passes_are_counted(passes):
    """In place, into a place, with an operator, by a reduction, by einsum."""

    def seven(x):
        y = np.exp(x)
        np.add(y, 1.0, out=y)
        y *= 2.0
        z = y - x
        np.einsum("ij->i", z)
        z.max(axis=1)
        np.copyto(y, z)

    assert passes(seven, X) == 7.0
