"""Running a recorded graph again, in float64, with one value changed.

Every op's forward is a plain function of arrays (autograd/primitive.py), and a recording
knows what each was called with. So the part of a graph that depends on one node can be
computed again at another value of that node, without the user's program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import backend_of, there
from ..backends.dtypes import float64, is_floating
from .explanation import Entry, Explanation
from .summaries import host

Values = dict[int, Any]  # raw arrays by entry number


class Replay:
    """A graph that can be computed again, from its leaves, in float64."""

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.values: Values = {}
        self.failed: dict[int, str] = {}  # entries that could not be, and why
        self.calls = 0
        for entry in explanation.entries:
            if entry.kind == "leaf":
                self.values[entry.number] = _wide(entry.value)
        with np.errstate(all="ignore"):
            for entry in explanation.ops:
                self._begin(entry)
        self.after = self._descendants()

    def _begin(self, entry: Entry) -> None:
        lacking = [i.entry for i in entry.inputs if i.entry in self.failed]
        if entry.primitive is None or any(not each.known for each in entry.inputs):
            if entry.primitive is None and entry.source is not None:
                why = f"{entry.op} runs a function of yours, not an op"
            else:
                why = "the forward pass was not recorded"
        elif lacking:
            why = self.failed[lacking[0]]  # type: ignore[index]
        else:
            try:
                self.values[entry.number] = self.compute(entry, self.values)
                return
            except Exception as error:  # (a user's op may refuse float64)
                why = f"{entry.op} could not be run in float64: {error}"
        self.failed[entry.number] = why
        if entry.value is not None:
            self.values[entry.number] = _wide(entry.value)

    def compute(self, entry: Entry, values: Values) -> Any:
        """One op, on values by entry number."""
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

    def _descendants(self) -> dict[int, list[int]]:
        """For each entry, the ops that depend on it, in order of creation, as far as
        the root depends on them (all do)."""
        users = {e.number: set(e.users) for e in self.explanation.entries}
        after: dict[int, set[int]] = {}
        if len(self.explanation.entries) > 2000:  # (the sets would be quadratic)
            return {}
        for entry in reversed(self.explanation.entries):
            found = set(users[entry.number])
            for user in users[entry.number]:
                found |= after[user]
            after[entry.number] = found
        return {number: sorted(found) for number, found in after.items()}

    def downstream(self, number: int) -> list[int]:
        """The ops that must be computed again when the value of an entry changes."""
        if self.after:
            return self.after[number]
        seen, stack = set(), [number]
        while stack:
            for user in self.explanation[stack.pop()].users:
                if user not in seen:
                    seen.add(user)
                    stack.append(user)
        return sorted(seen)

    def why_not(self, number: int) -> str:
        """Why the root can't be computed from an entry; "" if it can."""
        for each in self.downstream(number):
            if each in self.failed:
                return self.failed[each]
        return "" if number in self.values else "its value is not known"

    def at(self, number: int, array: np.ndarray, weights: np.ndarray) -> float:
        """sum(root * weights) where the value of an entry is `array`."""
        root = host(self.root_at(number, array)).astype(np.float64)
        return float((root * weights).sum())

    def root_at(self, number: int, array: np.ndarray) -> Any:
        """The root where the value of an entry is `array`."""
        backend = backend_of(self.values[number])
        device = backend.device_of(self.values[number])
        changed = {number: backend.asarray(array, device=device)}
        values = _Layered(self.values, changed)
        for each in self.downstream(number):
            changed[each] = self.compute(self.explanation[each], values)
        return values[self.explanation.root]


class _Layered(dict):
    """Values, some of them changed."""

    def __init__(self, values: Values, changed: Values) -> None:
        super().__init__()
        self.unchanged, self.changed = values, changed

    def __getitem__(self, number: int) -> Any:
        return (self.changed if number in self.changed else self.unchanged)[number]


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
