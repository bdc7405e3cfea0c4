"""All rows, by part, in the order in which they are measured."""

from __future__ import annotations

from . import ceilings, cross_entropy, functions, launches, steps, updates
from .row import Row

ROWS: dict[str, tuple[Row, ...]] = {
    "kernels": (
        *ceilings.ROWS,
        *launches.ROWS,
        *cross_entropy.ROWS,
        *functions.ROWS,
        *updates.ROWS,
        *cross_entropy.COMPILED_ROWS,
    ),
    "steps": steps.ROWS,
}
