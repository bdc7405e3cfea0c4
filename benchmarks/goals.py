"""A row of the table of targets: what it measures, and what is wanted of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .measuring import OURS, PYTORCH, Effort, Measured


@dataclass(frozen=True)
class Ratio:
    """Ours over a peer's, at most `limit`: of one case, or the mean, or the largest."""

    limit: float
    peer: str = PYTORCH
    over: str = "the case"

    def describe(self) -> str:
        bound = f"at most {self.limit:g} x {self.peer}"
        if self.over == "mean":
            return f"geometric mean {bound}"
        if self.over == "each":
            return f"no size above {self.limit:g} x {self.peer}"
        return bound

    def value(self, cases: list[Measured]) -> float | None:
        """What was measured, or None where the peer is missing."""
        if not cases or any(self.peer not in each.median for each in cases):
            return None
        ratios = [each.median[OURS] / each.median[self.peer] for each in cases]
        if self.over == "mean":
            return math.exp(sum(map(math.log, ratios)) / len(ratios))
        return max(ratios)


@dataclass(frozen=True)
class Amount:
    """Ours, at most `limit` in the unit of the case: seconds, MB, multiples."""

    limit: float
    case: str

    def describe(self) -> str:
        return f"at most {self.limit:g} ({self.case})"

    def value(self, cases: list[Measured]) -> float | None:
        return next((c.median[OURS] for c in cases if c.case == self.case), None)


@dataclass(frozen=True)
class Row:
    """A row: `measure(effort)` yields its cases one by one."""

    name: str
    title: str
    measure: Callable[[Effort], Iterator[Measured]]
    goals: tuple[Ratio | Amount, ...] = ()
