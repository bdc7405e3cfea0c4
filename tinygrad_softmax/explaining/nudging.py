"""What becomes of the root when one entry of one array is nudged.

The page lets its reader nudge any cell and shows the slope that was measured beside the
gradient that was computed. A page cannot run the program, so the library does, when the
page is written: in float64 (replaying.py), for graphs small enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .explanation import Entry, Explanation
from .replaying import Replay
from .summaries import host

STEPS = (0.1, 0.01, 0.001)  # by which a cell is nudged to either side
ELEMENTS = 64  # of an array, up to which its cells can be nudged
CELLS = 400  # of a page
CALLS = 25_000  # of ops that a page may cost; about a second

Found = list[list[list[float | str]]]


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
    tasks = _tasks(explanation.entries, replay, "", None)
    for number, unfolding in unfoldings.items():
        after = replay.downstream(number, CALLS)
        if after is not None and not replay.blocked[number]:
            beyond = _Beyond(replay, number, after)
            inner = Replay(unfolding)
            tasks += _tasks(unfolding.ops, inner, f"{number}.", beyond)
    found: dict[str, Found] = {}
    calls, cells = CALLS, CELLS
    with np.errstate(all="ignore"):
        root = host(replay.values[explanation.root]).astype(np.float64)
        base = float((root * seed).sum())
        for task in sorted(tasks, key=lambda task: task.cost):
            size = task.replay.explanation[task.number].size
            if task.cost <= calls and size <= cells:
                calls, cells = calls - task.cost, cells - size
                found[task.name] = _nudged(task, seed)
    return {"steps": list(STEPS), "base": _plain(base), "cells": found}


@dataclass(eq=False)
class _Beyond:
    """Where an unfolding ends: in an entry of the whole graph, with what follows."""

    replay: Replay
    number: int
    after: list[int]


@dataclass(eq=False)
class _Task:
    """An entry whose cells may be nudged, and how many calls of ops that takes."""

    name: str
    replay: Replay
    number: int
    after: list[int]
    beyond: _Beyond | None
    cost: int


def _tasks(
    entries: list[Entry], replay: Replay, prefix: str, beyond: _Beyond | None
) -> list[_Task]:
    tasks = []
    more = 0 if beyond is None else len(beyond.after)
    for entry in entries:
        if not 0 < entry.size <= ELEMENTS or replay.blocked[entry.number]:
            continue
        after = replay.downstream(entry.number, CALLS)
        if after is not None:
            cost = 2 * len(STEPS) * entry.size * (len(after) + more)
            name = f"{prefix}{entry.number}"
            tasks.append(_Task(name, replay, entry.number, after, beyond, cost))
    return tasks


def _nudged(task: _Task, seed: np.ndarray) -> list[list[list[float | str]]]:
    """The root for each step and each element of one entry, up and down."""
    point = host(task.replay.values[task.number]).astype(np.float64)
    beyond = task.beyond

    def root_at(array: np.ndarray) -> float:
        if beyond is None:
            return task.replay.at(task.number, task.after, array, seed)
        out = host(task.replay.root_at(task.number, task.after, array))
        out = out.astype(np.float64).reshape(beyond.replay.values[beyond.number].shape)
        return beyond.replay.at(beyond.number, beyond.after, out, seed)

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
