"""`check=True`: each gradient beside central finite differences.

The slope of sum(root * seed) is measured by running the recorded ops again in float64
(replaying.py), with the value of one entry moved to both sides. Steps and doubts are
those of testing/differences.py: a power of 2 near the fifth root of float64's spacing,
Richardson's extrapolation of two steps, and smaller ones where the two disagree.
"""

from __future__ import annotations

from math import log2
from typing import Any

import numpy as np

from ..testing.differences import PRECISIONS, Precision, Steps, Tolerance, slope
from .explanation import Check, Entry, Explanation
from .replaying import Replay
from .summaries import host

ELEMENTS = 64  # up to which every element of an entry is moved on its own
CALLS = 300_000  # of ops, after which the rest is not checked
_SPACING = PRECISIONS["float64"].spacing
_FIRST = 2.0 ** round(log2(_SPACING) / 5)

HOW = (
    "central differences of the recorded ops, run again in float64; the step begins at "
    f"2^{round(log2(_FIRST))} (near the fifth root of float64's spacing, where the "
    "error of the extrapolation and that of rounding meet) and shrinks where two steps "
    f"disagree; arrays of more than {ELEMENTS} elements, and all where that would take "
    "too long, are checked along one direction of random signs"
)

CHANGED = (
    "run again, the ops do not give what was recorded: was an array written in place "
    "since?"
)


def check_gradients(explanation: Explanation) -> None:
    """Fill in `check` of every entry, the leaves first."""
    replay = Replay(explanation)
    seed = host(explanation.seed).astype(np.float64)
    explanation.checked = HOW
    # What the gradients were computed in decides how exact they can be.
    names = {entry.dtype for entry in explanation.entries} & set(PRECISIONS)
    coarsest = max(PRECISIONS[name] for name in names)
    for entry in [*explanation.leaves, *reversed(explanation.ops)]:
        entry.check = _check(entry, replay, seed, coarsest)
        if entry.check.agrees is False and _changed(explanation, replay, coarsest):
            entry.check.note = CHANGED


def _changed(explanation: Explanation, replay: Replay, coarsest: Precision) -> bool:
    """Whether the ops do not give what was recorded, as where a parameter was written
    in place by an optimizer's step."""
    root = explanation[explanation.root]
    again, recorded = replay.values.get(root.number), root.value
    if again is None or recorded is None:
        return False
    again, recorded = (host(each).astype(np.float64) for each in (again, recorded))
    return not np.all(Tolerance(coarsest.rtol, coarsest.atol).allows(again, recorded))


def _check(entry: Entry, replay: Replay, seed: Any, coarsest: Precision) -> Check:
    if entry.gradient is None:
        return Check("none", note="there is no gradient to compare")
    if replay.blocked[entry.number]:
        return Check("none", note=replay.blocked[entry.number])
    # A step takes four runs; most slopes are sure after the first step.
    room = (CALLS - replay.calls) // 4
    after = replay.downstream(entry.number, room) if room > 0 else None
    if after is None:
        return Check("none", note=f"it takes more than {CALLS:,} calls of ops")
    every = entry.size <= ELEMENTS and entry.size * len(after) <= room
    gradient = host(entry.gradient).astype(np.float64)
    point = host(replay.values[entry.number]).astype(np.float64)
    tolerance = Tolerance(coarsest.rtol, coarsest.atol * max(1.0, _largest(gradient)))
    steps = Steps(_FIRST, True, _SPACING)

    def phi(array: np.ndarray) -> float:
        return replay.at(entry.number, after, array, seed)

    with np.errstate(all="ignore"):
        if not every:
            signs = np.random.default_rng(entry.number).choice([-1.0, 1.0], point.shape)
            found = slope(phi, point, signs, steps, tolerance)
            analytic = float((gradient * signs).sum())
            count = float(np.sqrt(entry.size))  # roundings of the elements add up
            wide = Tolerance(tolerance.rtol, tolerance.atol * count)
            return _verdict("direction", found.value, analytic, found.doubt, wide)
        measured, doubt = np.empty(point.shape), 0.0
        for i in np.ndindex(point.shape):
            direction = np.zeros(point.shape)
            direction[i] = 1.0
            found = slope(phi, point, direction, steps, tolerance)
            measured[i], doubt = found.value, max(doubt, found.doubt)
        return _verdict("elements", measured, gradient, doubt, tolerance)


def _verdict(
    kind: str, measured: Any, analytic: Any, doubt: float, tolerance: Tolerance
) -> Check:
    if not np.all(np.isfinite(measured)):
        note = "the root is not finite near this value, so there is nothing to measure"
        return Check("none", measured, analytic, note=note)
    distance = np.abs(np.subtract(measured, analytic))
    worst = float(np.max(distance, initial=0.0))
    allowed = tolerance.allows(measured, analytic) | (distance <= doubt)
    check = Check(kind, measured, analytic, doubt, worst, bool(np.all(allowed)))
    if not check.agrees and doubt > tolerance.size(1.0, 1.0):
        check.note = f"the differences are sure only to {doubt:.1g}: is this a kink?"
    return check


def _largest(x: np.ndarray) -> float:
    finite = x[np.isfinite(x)]
    return float(np.abs(finite).max(initial=0.0))
