"""Results are compared before they are timed: with float64, and with the peers'.

Measured is |found - expected| / |expected|, norms over the whole array. It is computed
on the device, in blocks of rows, by PyTorch in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .lab import Lab

# From float64, rounded once at the end: the rest is room for the order of sums.
EXACT = {"float32": 1e-5, "float16": 1e-3, "bfloat16": 6e-3}
# PyTorch's own 16-bit results carry the rounding of what it keeps in between.
PEER = {"float32": 1e-3, "float16": 0.1, "bfloat16": 0.1}
BLOCK = 1 << 25  # elements


class WrongNumbersError(Exception):
    """What was computed is not what it should be, so it is not timed."""


class Distance:
    """Adds up, block by block, how far one array is from another."""

    def __init__(self) -> None:
        self._apart = self._size = 0.0

    def add(self, found: Any, expected: Any) -> None:
        expected = expected.double()
        self._apart += float(((found.double() - expected) ** 2).sum())
        self._size += float((expected**2).sum())

    @property
    def relative(self) -> float:
        """nan where one was met; an expected zero must be zero."""
        if self._size == 0.0:
            return 0.0 if self._apart == 0.0 else math.inf
        return math.sqrt(self._apart / self._size)

    def check(self, what: str, of: str, tolerance: float) -> None:
        if not self.relative <= tolerance:  # nan is wrong too
            raise WrongNumbersError(
                f"{what} is {self.relative:.3g} from {of}, relative to its norm; at "
                f"most {tolerance:g} was expected"
            )


def row_blocks(x: Any) -> Iterator[slice]:
    """Slices of the rows of x, about BLOCK elements each."""
    width = max(1, x[:1].numel())
    size = max(1, BLOCK // width)
    return (slice(i, i + size) for i in range(0, len(x), size))


def check_same(
    what: str, found: Any, expected: Any, tolerance: float, of: str = "PyTorch's"
) -> None:
    """Raise WrongNumbersError unless two PyTorch tensors are the same within it."""
    if found.shape != expected.shape:
        raise WrongNumbersError(
            f"{what} has shape {tuple(found.shape)}, and {of} {tuple(expected.shape)}"
        )
    distance = Distance()
    found, expected = found.reshape(-1), expected.reshape(-1)
    for part in row_blocks(found):
        distance.add(found[part], expected[part])
    distance.check(what, of, tolerance)


def check_rows(
    lab: Lab,
    call: Callable[..., Any],
    inputs: Sequence[Any],
    g: Any,
    found: tuple[Any, Sequence[Any]],
    tolerance: float,
) -> None:
    """Compare y = call(*inputs) and its gradients for g with float64.

    inputs: x, whose rows `call` treats alone, and weights; CuPy arrays.
    found: y, and the gradients of those inputs that are floating, as tensors of ours.
    """
    x, *weights = map(lab.theirs, inputs)
    weights = [w.double().requires_grad_() for w in weights]
    y, gradients = lab.theirs(found[0]), [lab.theirs(each) for each in found[1]]
    upstream = lab.theirs(g)
    outputs, of_x = Distance(), Distance()
    for part in row_blocks(x):
        if x.is_floating_point():
            some = x[part].double().requires_grad_()
        else:
            some = x[part]
        expected = call(some, *weights)
        expected.backward(upstream[part].double())
        outputs.add(y[part], expected.detach())
        if x.is_floating_point():
            of_x.add(gradients[0][part], some.grad)
    outputs.check("the output", "float64", tolerance)
    if x.is_floating_point():
        of_x.check("the gradient", "float64", tolerance)
    for w, gradient in zip(weights, gradients[len(gradients) - len(weights) :]):
        check_same("a weight's gradient", gradient, w.grad, tolerance, "float64")
