"""All rows, in the order of the table. Those that take longest come last."""

from __future__ import annotations

from . import chain, cross_entropy, layers, mlp, models, processes

ALL = (
    *chain.ROWS,
    *mlp.ROWS,
    *models.ROWS,
    *processes.ROWS,
    *cross_entropy.ROWS,
    *layers.ROWS,
)
