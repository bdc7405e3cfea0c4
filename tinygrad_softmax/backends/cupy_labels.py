"""Labels that are no class, found on a CUDA device that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .base import Array
from .dtypes import int64


class BadLabels:
    """What was found on each device."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self._lock = threading.Lock()
        self._of: dict[int, FirstBadLabel] = {}

    def on(self, device: Any) -> FirstBadLabel:
        """The record of a device, which must be the current one."""
        with self._lock:
            if device.id not in self._of:
                self._of[device.id] = FirstBadLabel(self.xp)
            return self._of[device.id]

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
        self.stream = xp.cuda.get_current_stream()  # which used the record last

    @contextmanager
    def noting(self, options: tuple) -> Iterator[tuple[Array, int]]:
        """The record, and the number of a check with these options: what a kernel that
        checks labels is given, inside."""
        with self.lock:
            number = self.options.setdefault(options, len(self.options) + 1)
            yield self._in_turn(), number

    def note(self, bad: Array, labels: Array, options: tuple) -> None:
        """Keep the first True of `bad`, unless an earlier one is kept already."""
        bad, labels = bad.reshape(-1), labels.reshape(-1)
        first = bad.argmax()
        found = self.xp.empty(3, int64)
        with self.noting(options) as (record, number):
            found[0] = bad[first] * number  # 0 where no label is bad
            found[1] = first
            found[2] = labels[first]
            self.xp.copyto(record, found, where=record[:1] == 0)

    def read(self) -> IndexError | None:
        """The error of the label that was kept, which is then forgotten."""
        with self.record.device, self.lock:
            record = self._in_turn()
            number, row, value = record.get().tolist()
            if not number:
                return None
            record.fill(0)
            shape, *options, error = list(self.options)[number - 1]
        place = tuple(int(i) for i in np.unravel_index(row, shape))
        return error(place, value, *options)

    def _in_turn(self) -> Array:
        """The record, for the current stream to use after whichever used it last.

        While `lock` is held, on the record's device. The host waits for nothing. What
        is captured into a CUDA graph can't wait for what is outside of it, and runs
        when the graph is launched.
        """
        stream = self.xp.cuda.get_current_stream()
        if stream != self.stream and not stream.is_capturing():
            stream.wait_event(self.stream.record())
            self.stream = stream
        return self.record
