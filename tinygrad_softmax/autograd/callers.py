"""Whose line called the library: for messages that should name it."""

from __future__ import annotations

import sys
from types import FrameType

_PACKAGE = __name__.partition(".")[0]


def users_frame() -> tuple[FrameType, int]:
    """The innermost frame outside this package, and how many frames above the caller
    it is, counted as `stacklevel` of `warnings.warn` counts."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            break
        frame, level = frame.f_back, level + 1
    return frame, level
