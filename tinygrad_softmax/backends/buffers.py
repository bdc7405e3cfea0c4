"""Large results of the CPU's kernels, whose memory is used again.

The memory of a large array goes back to the system when the array is freed, and a fresh
one costs page faults: at 64 MB eight times as much as filling it. A training step asks
for the same sizes again and again. So the last large results are remembered here, and
one that nobody holds any more is handed out again, as the same object: it owns its
memory, as any result does. Smaller arrays are left to the C library, which is taught
once to keep what is freed: see `_teach_malloc`.

Whoever can see an array's numbers holds a reference to it: a Tensor, a view (its
`base`), a memoryview, a DLPack capsule, another library's array on the same memory. (A
bare address, `array.ctypes.data`, is good only as long as the array is held, here as
everywhere.)
"""

from __future__ import annotations

import operator
import os
import sys
import threading
import weakref
from math import prod

import numpy as np

VARIABLE = "TINYGRAD_SOFTMAX_BUFFER_BYTES"
LIMIT = 512 * 1024 * 1024  # bytes that are remembered, whether in use or not
LEAST = 4 * 1024 * 1024  # smaller arrays are the C library's
HEAP = 31 * 1024 * 1024  # glibc learns from chunks of less than 32 MB
NUMBER = 16  # arrays that are remembered; the least recently made is forgotten

_kept: list[np.ndarray] = []  # the one that was last handed out is the last
_lock = threading.Lock()
_limit: int | None = None


def _references(arrays: list[np.ndarray], i: int) -> int:
    """How many references there are to arrays[i], some of them from right here."""
    return sys.getrefcount(arrays[i])


def _can_count() -> bool:
    """Not where threads run without the interpreter's lock: counts are approximate."""
    with_lock = getattr(sys, "_is_gil_enabled", None)
    return hasattr(sys, "getrefcount") and (with_lock is None or with_lock())


_ONLY_HERE = _references([np.empty(0)], 0) if _can_count() else -1


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`np.empty(shape, dtype)`; a large one may be an old result that nobody holds."""
    size, limit = prod(shape) * dtype.itemsize, get_buffer_limit()
    # (Where another thread is looking, or this one was interrupted: never wait.)
    if size < LEAST or size > limit or not _lock.acquire(blocking=False):
        return np.empty(shape, dtype)
    try:
        for i in range(len(_kept) - 1, -1, -1):
            if _kept[i].shape == shape and _kept[i].dtype == dtype and _is_free(i):
                _kept.append(_kept.pop(i))
                return _kept[-1]
        _forget(limit - size, NUMBER - 1)
        _kept.append(np.empty(shape, dtype))
        return _kept[-1]
    finally:
        _lock.release()


def empty_like(array: np.ndarray) -> np.ndarray:
    """`empty` with the shape and the dtype of an array, in C order."""
    return empty(array.shape, array.dtype)


def _is_free(i: int) -> bool:
    """Whether nobody but this module can see an array, and it is as it was made."""
    if _references(_kept, i) != _ONLY_HERE or weakref.getweakrefcount(_kept[i]):
        return False
    flags = _kept[i].flags
    return flags.writeable and flags.c_contiguous and flags.owndata


def _forget(limit: int, number: int) -> None:
    """Remember at most so many bytes, and so many arrays."""
    total = sum(array.nbytes for array in _kept)
    while _kept and (total > limit or len(_kept) > number):
        total -= _kept.pop(0).nbytes


def get_buffer_limit() -> int:
    """How many bytes of large results on the CPU are remembered, to be used again.

    What `set_buffer_limit` said; else the environment variable
    TINYGRAD_SOFTMAX_BUFFER_BYTES; else 512 MB. At most 16 arrays of 4 MB or more
    count. 0 where the interpreter runs without its lock.

    >>> get_buffer_limit() >= 0
    True
    """
    return _read_limit() if _limit is None else _limit


def _read_limit() -> int:
    global _limit
    given = os.environ.get(VARIABLE, "")
    if given and not given.isdecimal():
        raise ValueError(
            f"the environment variable {VARIABLE} is {given!r}; expected a number of "
            "bytes, 0 or more"
        )
    _limit = (int(given) if given else LIMIT) if _can_count() else 0
    _teach_malloc()
    return _limit


def _teach_malloc() -> None:
    """Let glibc keep up to 62 MB of freed memory, unless the limit is 0.

    It gives back what is free at the heap's end beyond twice the largest chunk that was
    freed so far, so that each step of a small model would fault its memory in anew:
    4,000 pages for a GPT of width 128. Freeing one chunk, whose pages are never
    touched, tells it otherwise (M_TRIM_THRESHOLD in "man mallopt"), as any program does
    that frees such an array. Other C libraries just free it.
    """
    if _limit:
        np.empty(HEAP, np.uint8)


def set_buffer_limit(n: int) -> None:
    """Remember at most `n` bytes of large results on the CPU; 0 switches that off.

    A result that is remembered is used again, instead of fresh memory, once nobody
    holds it any more. Until then it costs nothing; after that its memory is not free
    for other purposes. It is one setting for the whole process.

    Raises TypeError for anything but an integer, ValueError for one below 0.

    >>> before = get_buffer_limit()
    >>> set_buffer_limit(0)
    >>> get_buffer_limit()
    0
    >>> set_buffer_limit(before)
    """
    global _limit
    try:
        number = operator.index(n)
    except TypeError:
        raise TypeError(
            f"set_buffer_limit: n was given as {n!r}; expected an integer"
        ) from None
    if number < 0:
        raise ValueError(f"set_buffer_limit: n was given as {n}; expected 0 or more")
    _limit = number if _can_count() else 0
    _teach_malloc()
    with _lock:
        _forget(_limit, NUMBER)


def free_buffers() -> None:
    """Give back the memory of results that are remembered and that nobody holds.

    >>> free_buffers()
    """
    with _lock:
        _kept.clear()


def _forget_all() -> None:
    """In a forked child: the lock may be held by a thread that isn't here."""
    global _lock
    _lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
