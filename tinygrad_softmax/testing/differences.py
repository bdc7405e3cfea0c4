"""Central differences that find their own step, and what counts as close enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import frexp, inf, nan
from typing import Any, NamedTuple

import numpy as np


class Precision(NamedTuple):
    """What a dtype is good for: its relative spacing, and tolerances for gradients."""

    spacing: float
    rtol: float
    atol: float


# Differences in float64 are good to about 1e-11 of the function's value.
PRECISIONS = {
    "float64": Precision(2.0**-52, 1e-6, 1e-8),
    "float32": Precision(2.0**-23, 1e-3, 1e-4),
    "float16": Precision(2.0**-10, 2e-2, 1e-2),
    "bfloat16": Precision(2.0**-7, 1e-1, 5e-2),
}


class Tolerance(NamedTuple):
    """Two numbers may differ by rtol times the larger one, plus atol."""

    rtol: float
    atol: float

    def size(self, a: Any, b: Any) -> Any:
        """How far a and b may lie apart."""
        return self.rtol * np.maximum(np.abs(a), np.abs(b)) + self.atol

    @np.errstate(invalid="ignore")  # inf - inf
    def allows(self, a: Any, b: Any) -> Any:
        """Whether a and b are close enough, or the same infinity, or both nan."""
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        near = np.isfinite(a) & (np.abs(np.subtract(a, b)) <= self.size(a, b))
        return same | near

    def text(self, a: Any, b: Any) -> str:
        return (
            f"they may differ by {self.size(a, b):.4g} (rtol {self.rtol:g}, atol "
            f"{self.atol:g})"
        )


class Slope(NamedTuple):
    """A derivative, and how far it may be off."""

    value: float
    doubt: float


class Steps(NamedTuple):
    """Which steps to try: `first`, a power of 2, and with `refine` smaller ones.

    spacing: relative spacing of the dtype that the function computes in.
    """

    first: float
    refine: bool
    spacing: float

    def near(self, moved: np.ndarray) -> Iterator[float]:
        """The steps at which to move elements of these values, one after the other."""
        yield self.first
        if self.refine:
            yield self.first / 16
            yield self.first / 256
            smallest = moved[moved > 0].min(initial=1.0)
            yield self.first * 2.0 ** (frexp(smallest)[1] - 2)


def slope(
    phi: Callable[[np.ndarray], float],
    x: np.ndarray,
    v: np.ndarray,
    steps: Steps,
    tolerance: Tolerance,
) -> Slope:
    """The derivative of phi at x along v, which holds nothing but -1, 0 and 1.

    D(h) = (phi(x + h v) - phi(x - h v)) / 2h is off by c h^2 + O(h^4), so that
    (4 D(h/2) - D(h)) / 3 is off by O(h^4) only, and |D(h) - D(h/2)| bounds that. Steps
    are powers of 2, so that x + h v is exact, also for large x.

    The first step that is sure to within the tolerance is taken, else the surest. The
    value is nan where no step stays where phi is finite.
    """
    best, best_doubt = Slope(nan, inf), inf
    for h in steps.near(np.abs(x[v != 0])):
        values = [phi(x + each * v) for each in (h / 2, -h / 2, h, -h)]
        near, far = (values[0] - values[1]) / h, (values[2] - values[3]) / (2.0 * h)
        rounding = 4.0 * steps.spacing * max(map(abs, values)) / h
        found = Slope((4.0 * near - far) / 3.0, abs(near - far) + rounding)
        allowed = tolerance.size(found.value, found.value)
        doubt = found.doubt / max(allowed, np.finfo(float).tiny)
        if doubt < best_doubt:
            best, best_doubt = found, doubt
        if best_doubt <= 1.0:
            break
    return best
