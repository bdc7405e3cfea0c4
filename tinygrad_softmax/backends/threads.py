"""The threads that the CPU's kernels share, and how many there may be.

NumPy's functions let go of the interpreter's lock, so blocks of a large array can be
worked on at the same time. A kernel cuts its work into blocks whose borders do not
depend on the number of threads; so neither does any digit of what it computes. What a
block calls must not start threads itself, as a matrix product does.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

VARIABLE = "TINYGRAD_SOFTMAX_NUM_THREADS"

_chosen: int | None = None  # what set_num_threads said
_helpers: list[threading.Thread] = []  # running; started when first needed
_tasks: Any = None  # their queue
_starting = threading.Lock()


def get_num_threads() -> int:
    """How many threads a kernel on the CPU may use, the calling one included.

    What `set_num_threads` said; else the environment variable
    TINYGRAD_SOFTMAX_NUM_THREADS, or OMP_NUM_THREADS (which joblib sets in its worker
    processes); else as many as there are cores that this process may run on.

    >>> get_num_threads() >= 1
    True
    """
    if _chosen is not None:
        return _chosen
    for variable in (VARIABLE, "OMP_NUM_THREADS"):
        given = os.environ.get(variable, "")
        if given.isdecimal() and int(given) > 0:
            return int(given)
        if given and variable == VARIABLE:
            raise ValueError(
                f"the environment variable {VARIABLE} is {given!r}; expected a number "
                "of threads, 1 or more"
            )
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Let a kernel on the CPU use `n` threads, the calling one included.

    It is one setting for the whole process, as in PyTorch. Results do not depend on it.
    The matrix products of BLAS have a setting of their own: OPENBLAS_NUM_THREADS, or
    the package threadpoolctl.

    Raises TypeError for anything but an integer, ValueError for one below 1.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    global _chosen
    try:
        number = operator.index(n)
    except TypeError:
        raise TypeError(
            f"set_num_threads: n was given as {n!r}; expected an integer"
        ) from None
    if number < 1:
        raise ValueError(f"set_num_threads: n was given as {n}; expected 1 or more")
    if number != _chosen:
        stop()
    _chosen = number


def for_each(work: Callable[[int], None], blocks: int, threads: int) -> None:
    """Call work(0), ..., work(blocks - 1), each once, on up to so many threads.

    The caller's is one of them. Whoever is free takes the next block. The first error
    is raised here, when all have ended; `np.errstate` is the caller's everywhere.
    """
    threads = min(threads, blocks)
    if threads <= 1:
        for i in range(blocks):
            work(i)
        return
    numbers, state, errors = count(), np.geterr(), []

    def run() -> None:
        try:
            with np.errstate(**state):
                while (i := next(numbers)) < blocks and not errors:
                    work(i)
        except BaseException as error:
            errors.append(error)

    tickets = [_Ticket(run) for _ in range(threads - 1)]
    tasks = _queue_with_helpers(threads - 1)
    for ticket in tickets:
        tasks.put(ticket)
    run()
    for ticket in tickets:
        ticket.withdraw_or_wait()
    if errors:
        raise errors[0]


class _Ticket:
    """A task that a helper runs, unless its owner withdraws it first."""

    def __init__(self, run: Callable[[], None]) -> None:
        self.run: Callable[[], None] | None = run
        self.taken, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def serve(self) -> None:
        run = self.run
        if self.taken.acquire(blocking=False) and run is not None:
            self.run = None  # a waiting helper must not keep the arrays of its last one
            try:
                run()
            finally:
                self.done.release()

    def withdraw_or_wait(self) -> None:
        if not self.taken.acquire(blocking=False):
            self.done.acquire()
        self.run = None


def _queue_with_helpers(number: int) -> Any:
    """The queue of tasks, with at least so many threads that serve it."""
    global _tasks
    tasks = _tasks
    if tasks is not None and len(_helpers) >= number:
        return tasks
    with _starting:
        if _tasks is None:
            from queue import SimpleQueue

            _tasks = SimpleQueue()
        while len(_helpers) < number:
            name = f"tinygrad_softmax-{len(_helpers) + 1}"
            thread = threading.Thread(
                target=_serve, args=(_tasks,), name=name, daemon=True
            )
            _helpers.append(thread)
            thread.start()
        return _tasks


def _serve(tasks: Any) -> None:
    while (ticket := tasks.get()) is not None:
        ticket.serve()
        del ticket


def stop() -> None:
    """End the helpers, when they are done with what they do. More start when needed."""
    global _tasks
    with _starting:
        for _ in _helpers:
            _tasks.put(None)
        for thread in _helpers:
            thread.join()
        _helpers.clear()
        _tasks = None


def _forget() -> None:
    """In a forked child: its parent's helpers, and locks held there, are not here."""
    global _tasks, _starting
    _helpers.clear()
    _tasks, _starting = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    # Ended before a fork, so that a process that forks has one thread where it can.
    os.register_at_fork(before=stop, after_in_child=_forget)
