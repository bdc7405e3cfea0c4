"""What becomes of the root when one entry of one array is nudged.

The page lets its reader nudge any cell and shows the slope that was measured beside the
gradient that was computed. A page cannot run the program, so the library does, when the
page is written: in float64 (replaying.py), for graphs small enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .explanation import Explanation
from .replaying import Replay
from .summaries import host

STEPS = (0.1, 0.01, 0.001)  # by which a cell is nudged to either side
ELEMENTS = 64  # of an array, up to which its cells can be nudged
CELLS = 400  # of a page
CALLS = 25_000  # of ops that a page may cost; about a second

Found = dict[str, list[list[Any]]]


def nudges_of(
    explanation: Explanation, unfoldings: dict[int, Explanation]
) -> dict[str, Any] | None:
    """The root's value with each cell nudged up and down by each of `STEPS`.

    "base" is the root as it is, and "cells" has for each node's id a list for each
    step, of pairs for each element: the root with the cell moved up, and down. Of a
    root that is no scalar it is sum(root * gradient given). Where no number comes out
    it is the text "nan", "inf" or "-inf". None where the graph was not recorded.
    """
    if explanation.recorded < len(explanation.ops) or not explanation.ops:
        return None
    replay = Replay(explanation)
    seed = host(explanation.seed).astype(np.float64)
    tasks = [
        (len(replay.downstream(entry.number)) * entry.size, str(entry.number), None)
        for entry in explanation.entries
        if 0 < entry.size <= ELEMENTS and not replay.why_not(entry.number)
    ]
    replays: dict[int, Replay] = {}
    for number, unfolding in unfoldings.items():
        if replay.why_not(number):
            continue
        inner = replays[number] = Replay(unfolding)
        beyond = len(replay.downstream(number))
        tasks += [
            (entry.size * (beyond + len(inner.downstream(entry.number))),
             f"{number}.{entry.number}", number)
            for entry in unfolding.ops
            if 0 < entry.size <= ELEMENTS and not inner.why_not(entry.number)
        ]  # fmt: skip
    found: dict[str, Found] = {}
    calls, cells = CALLS, CELLS
    with np.errstate(all="ignore"):
        root = host(replay.values[explanation.root]).astype(np.float64)
        base = float((root * seed).sum())
        for cost, name, fused in sorted(tasks, key=lambda task: task[0]):
            source = replay if fused is None else replays[fused]
            number = int(name.rpartition(".")[2])
            size = source.explanation[number].size
            if 2 * len(STEPS) * cost > calls or size > cells:
                continue
            calls, cells = calls - 2 * len(STEPS) * cost, cells - size
            found[name] = _nudged(source, number, replay, fused, seed)
    return {"steps": list(STEPS), "base": _plain(base), "cells": found}


def _nudged(
    source: Replay, number: int, whole: Replay, fused: int | None, seed: np.ndarray
) -> Any:
    """The root for each step and each element of one entry, up and down."""
    point = host(source.values[number]).astype(np.float64)

    def root_at(array: np.ndarray) -> float:
        if fused is None:
            return whole.at(number, array, seed)
        out = host(source.root_at(number, array))
        shape = whole.values[fused].shape
        return whole.at(fused, out.astype(np.float64).reshape(shape), seed)

    result = []
    for step in STEPS:
        pairs = []
        for i in np.ndindex(point.shape):
            pair = []
            for sign in (1.0, -1.0):
                moved = point.copy()
                moved[i] += sign * step
                pair.append(_plain(root_at(moved)))
            pairs.append(pair)
        result.append(pairs)
    return result


def _plain(value: float) -> float | str:
    """13 digits: what the slope is made of, and no more."""
    return float(f"{value:.13g}") if np.isfinite(value) else str(value)
