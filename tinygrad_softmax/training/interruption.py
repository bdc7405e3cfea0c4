"""Ctrl-C at a moment of the loop's own choosing."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Whether Ctrl-C was pressed since the loop began."""

    requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def deferred_interrupt() -> Iterator[Interruption]:
    """A block in which the first Ctrl-C only sets a flag; a second one interrupts.

    So a training loop ends between two steps, and never with half of the parameters
    updated. Signals reach the main thread only: elsewhere Ctrl-C is as it was.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def handler(number: int, frame: Any) -> None:
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True
        if sys.stderr.isatty():
            sys.stderr.write("\nstopping after this step; Ctrl-C again stops at once\n")

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # ignored, or somebody else's
        yield interruption
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
