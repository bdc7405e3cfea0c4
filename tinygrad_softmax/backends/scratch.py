"""Memory for what a kernel makes on the way, used again by the next.

Fresh memory costs a page fault every 4 KB, about as much as writing to it.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

KEPT = 8  # buffers at most...
LARGEST = 2 * 1024 * 1024  # ...of at most so many bytes

_idle: list[np.ndarray] = []  # append and pop of a list are safe between threads


def take(size: int) -> np.ndarray:
    """At least so many bytes, with anything in them; nobody else has them."""
    try:
        buffer = _idle.pop()
    except IndexError:
        buffer = np.empty(0, np.uint8)
    return buffer if buffer.size >= size else np.empty(size, np.uint8)


def give_back(*buffers: np.ndarray) -> None:
    """For the next who takes. No view of them may be used any more."""
    for buffer in buffers:
        if len(_idle) < KEPT and buffer.size <= LARGEST:
            _idle.append(buffer)


def shaped(buffer: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The beginning of a buffer as an array."""
    size = prod(shape) * dtype.itemsize
    return buffer[:size].view(dtype).reshape(shape)
