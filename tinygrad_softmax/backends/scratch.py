"""Memory for what a kernel makes on the way, used again by the next block.

Fresh memory costs a page fault every 4 KB, about as much as writing to it. And NumPy's
own buffer, which can be in the way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

BUFFER = 16  # elements: the smallest that NumPy's buffer can have
KEPT_BYTES = 4 * 1024 * 1024  # larger arrays are not kept


class Scratch(threading.local):
    """Arrays that a thread uses again and again, by numbers.

    A kernel that asks for a number has that array until the next one asks.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple[int, Any], np.ndarray] = {}

    def array(self, number: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Number `number` of this thread's arrays, with what its last user left."""
        size = prod(shape)
        found = self.kept.get((number, dtype))
        if found is None or found.size < size:
            found = np.empty(size, dtype)
            if found.nbytes <= KEPT_BYTES:
                self.kept[number, dtype] = found
        return found[:size].reshape(shape)


scratch = Scratch()


@contextmanager
def small_buffer(small: bool) -> Iterator[None]:
    """In the block NumPy's buffer is as small as can be, if `small`.

    Beside one number for each row, NumPy copies a row that is shorter than its buffer,
    and the number as often, to the buffer: half of the time of a subtraction.
    """
    size = np.setbufsize(BUFFER) if small else None
    try:
        yield
    finally:
        if size is not None:
            np.setbufsize(size)
