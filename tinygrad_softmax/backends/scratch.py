"""Memory that is used again: for what a kernel makes on the way, and for its results.

Fresh memory costs a page fault every 4 KB, and that more than writing to it. The C
allocator gives large blocks back to the system, and its settings are the user's.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

KEPT = 8  # buffers of kernels at most...
LARGEST = 2 * 1024 * 1024  # ...of at most so many bytes
LEAST = 128 * 1024  # bytes of a result below which the C allocator keeps it anyway
MOST = 64 * 1024 * 1024  # bytes that wait to become a result again

# Append and pop of a list are safe between threads.
_idle: list[np.ndarray] = []
_free: dict[int, list[np.ndarray]] = {}  # by size


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


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`np.empty`, in the memory of a result of that size that nobody has any more.

    A large one's `base` is not None: it is what notices when the last view has gone.
    """
    dtype = np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    if not LEAST <= size <= MOST // 2:
        return np.empty(shape, dtype)
    try:
        buffer = _free[size].pop()
    except (KeyError, IndexError):
        buffer = np.empty(size, np.uint8)
    return np.asarray(_Lease(buffer)).view(dtype).reshape(shape)


class _Lease:
    """Whose memory an array is: NumPy keeps it as long as any view."""

    __slots__ = ("__array_interface__", "buffer")

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer = buffer
        self.__array_interface__ = buffer.__array_interface__

    def __del__(self, free: Any = _free, most: int = MOST) -> None:
        # No lock: this may run anywhere. At worst a little more or less is kept.
        waiting = sum(size * len(some) for size, some in list(free.items()))
        if waiting + self.buffer.size > most:
            free.clear()  # sizes that are no longer asked for, most likely
        free.setdefault(self.buffer.size, []).append(self.buffer)
