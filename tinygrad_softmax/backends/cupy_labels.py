"""Labels that are no class, found on a CUDA device that nobody waits for."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .base import Array
from .dtypes import int64


class BadLabels:
    """What was found on each device."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._of: dict[int, FirstBadLabel] = {}

    def on(self, device: Any) -> FirstBadLabel:
        """The record of a device, which must be the current one."""
        found = self._of.get(device.id)
        if found is None:
            found = self._of.setdefault(device.id, FirstBadLabel(self.xp))
        return found

    def raise_first(self) -> None:
        """Raise the error of a bad label, if there was one, once. Waits."""
        for first in list(self._of.values()):
            error = first.read()
            if error is not None:
                raise error


class FirstBadLabel:
    """The first bad label of a device, kept there until somebody reads a value.

    It is three numbers in the device's memory: which check, which row, which label. The
    checks' options stay on the host; a program has few different ones.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.lock = threading.Lock()
        self.options: dict[tuple, int] = {}
        self.record = xp.zeros(3, int64)

    def place_for(self, options: tuple) -> tuple[Array, int]:
        """The record, and the number of a check with these options: what a kernel that
        checks labels itself is given."""
        with self.lock:
            return self.record, self.options.setdefault(options, len(self.options) + 1)

    def note(self, bad: Array, labels: Array, options: tuple) -> None:
        """Keep the first True of `bad`, unless an earlier one is kept already."""
        number = self.place_for(options)[1]
        bad, labels = bad.reshape(-1), labels.reshape(-1)
        first = bad.argmax()
        found = self.xp.empty(3, int64)
        found[0] = bad[first] * number  # 0 where no label is bad
        found[1] = first
        found[2] = labels[first]
        self.xp.copyto(self.record, found, where=self.record[:1] == 0)

    def read(self) -> IndexError | None:
        """The error of the label that was kept, which is then forgotten."""
        number, row, value = self.record.get().tolist()
        if not number:
            return None
        with self.record.device:
            self.record.fill(0)
        with self.lock:
            shape, *options, error = list(self.options)[number - 1]
        place = tuple(int(i) for i in np.unravel_index(row, shape))
        return error(place, value, *options)
