"""Running a recorded graph again, in float64, with one value changed.

Every op's forward is a plain function of arrays (autograd/primitive.py), and a
recording knows what each was called with. So the part of a graph that depends on one
node can be computed again at another value of it, without the user's program.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import backend_of, there
from ..backends.dtypes import float64, is_floating
from .explanation import Entry, Explanation
from .summaries import host
from .unfolding import can_unfold, unfold

Values = dict[int, Any]  # raw arrays by entry number


class Replay:
    """A graph that can be computed again, from its leaves, in float64."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.values: Values = {}
        self.failed: dict[int, str] = {}  # entries that could not be, and why
        self.inner: dict[int, tuple[Replay, Explanation]] = {}  # of checkpoints
        self.calls = 0
        for entry in explanation.entries:
            if entry.kind == "leaf":
                self.values[entry.number] = _wide(entry.value)
        with np.errstate(all="ignore"):
            for entry in explanation.ops:
                self._begin(entry)
        self.blocked = self._blocked()

    def _begin(self, entry: Entry) -> None:
        inputs = [i.entry for i in entry.inputs if i.entry is not None]
        lacking = [number for number in inputs if number not in self.values]
        if entry.primitive is None and can_unfold(entry):
            inside = unfold(self.explanation, entry.number)
            self.inner[entry.number] = Replay(inside), inside
            why = next(iter(self.inner[entry.number][0].failed.values()), "")
            if not why:
                self.values[entry.number] = self.compute(entry, self.values)
                return
        elif entry.primitive is None or any(not each.known for each in entry.inputs):
            why = "the forward pass was not recorded"
        elif lacking:
            why = self.failed[lacking[0]]
        else:
            try:
                self.values[entry.number] = self.compute(entry, self.values)
                return
            except Exception as error:  # (a user's op may refuse float64)
                why = f"{entry.op} could not be run in float64: {error}"
        self.failed[entry.number] = why
        if entry.value is not None:
            self.values[entry.number] = _wide(entry.value)

    def compute(self, entry: Entry, values: Mapping[int, Any]) -> Any:
        """One op, on values by entry number."""
        if entry.number in self.inner:
            replay, inside = self.inner[entry.number]
            given = {k: values[outer] for k, outer in inside.outside.items()}
            return replay.run(given)
        inputs = [
            _wide(each.value) if each.entry is None else values[each.entry]
            for each in entry.inputs
        ]
        statics = {k: _wide_static(v) for k, v in (entry.statics or {}).items()}
        self.calls += 1
        first = next((x for x in inputs if hasattr(x, "shape")), None)
        if first is None:
            out = entry.primitive.forward(*inputs, **statics)
        else:
            with there(first):
                out = entry.primitive.forward(*inputs, **statics)
        return out[0] if entry.primitive.residuals else out

    def run(self, given: Values) -> Any:
        """The root, of other values of some leaves."""
        values = ChainMap(given, self.values)
        for entry in self.explanation.ops:
            given[entry.number] = self.compute(entry, values)
        return values[self.explanation.root]

    def _blocked(self) -> dict[int, str]:
        """For each entry, why the root can't be computed from it; "" where it can."""
        blocked: dict[int, str] = {}
        for entry in reversed(self.explanation.entries):
            reasons = (self.failed.get(user) or blocked[user] for user in entry.users)
            why = next(filter(None, reasons), "")
            if not why and entry.number not in self.values:
                why = "its value is not known"
            blocked[entry.number] = why
        return blocked

    def downstream(self, number: int, most: int) -> list[int] | None:
        """The ops that must be computed again when the value of an entry changes, in
        order of creation; None where there are more than `most`."""
        seen, stack = set(), [number]
        while stack:
            for user in self.explanation[stack.pop()].users:
                if user not in seen:
                    seen.add(user)
                    stack.append(user)
            if len(seen) > most:
                return None
        return sorted(seen)

    def at(
        self, number: int, after: list[int], array: np.ndarray, weights: np.ndarray
    ) -> float:
        """sum(root * weights) where the value of an entry, on which the ops `after`
        depend, is `array`."""
        root = host(self.root_at(number, after, array)).astype(np.float64)
        return float((root * weights).sum())

    def root_at(self, number: int, after: list[int], array: np.ndarray) -> Any:
        """The root where the value of an entry is `array`."""
        backend = backend_of(self.values[number])
        device = backend.device_of(self.values[number])
        changed = {number: backend.asarray(array, device=device)}
        values = ChainMap(changed, self.values)
        for each in after:
            changed[each] = self.compute(self.explanation[each], values)
        return values[self.explanation.root]


def _wide(value: Any) -> Any:
    """A floating array in float64; anything else as it is."""
    if hasattr(value, "dtype") and is_floating(value.dtype):
        return value.astype(float64)
    return value


def _wide_static(value: Any) -> Any:
    """A static: floating dtypes become float64, and so do floating arrays, as copies:
    batch norm moves its running averages, which must stay as they are."""
    if isinstance(value, np.dtype):
        return float64 if is_floating(value) else value
    if type(value) is tuple:
        return tuple(map(_wide_static, value))
    return _wide(value)
