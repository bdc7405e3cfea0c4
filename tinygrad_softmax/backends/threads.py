"""The threads that the CPU's kernels share, and how many there may be.

NumPy's functions let go of the interpreter's lock, so blocks of a large array can be
worked on at the same time. A kernel cuts its work into blocks whose borders do not
depend on the number of threads; so neither does any digit of what it computes. What a
block calls must not start threads itself, as a matrix product does.
"""

from __future__ import annotations

import operator
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import cache, lru_cache
from itertools import count
from typing import Any

VARIABLE = "TINYGRAD_SOFTMAX_NUM_THREADS"

_chosen: int | None = None  # what set_num_threads said
_helpers: list[_Helper] = []  # running; started when first needed
_idle: list[_Helper] = []  # those of them that nobody has asked for anything
_starting = threading.Lock()


def get_num_threads() -> int:
    """How many threads a kernel on the CPU may use, the calling one included.

    What `set_num_threads` said; else the environment variable
    TINYGRAD_SOFTMAX_NUM_THREADS, or OMP_NUM_THREADS (which joblib sets in its worker
    processes); else as many as there are cores that this process may run on: no more
    than a container's quota (a control group's `cpu.max`) is worth.

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
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def _quota(path: str = "/sys/fs/cgroup/cpu.max") -> int:
    """How many cores' time this process's control group may have, rounded up."""
    try:
        with open(path) as file:
            microseconds, period = file.read().split()
            return max(1, -(-int(microseconds) // int(period)))
    except (OSError, ValueError):  # there are none, or "max"
        return sys.maxsize


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
    is raised here, when all have ended. Context variables, and so `np.errstate` and
    NumPy's buffer size, are the caller's everywhere.
    """
    threads = min(threads, blocks)
    if threads <= 1:
        for i in range(blocks):
            work(i)
        return
    numbers, errors = count(), []

    def run() -> None:
        try:
            while (i := next(numbers)) < blocks and not errors:
                work(i)
        except BaseException as error:
            errors.append(error)

    helpers, tasks = _idle_helpers(threads - 1), []
    try:
        cpu = _current_cpu()
        for helper in helpers:
            helper.keep_away_from(cpu)
            tasks.append(helper.ask(copy_context(), run))
        run()
        for helper, task in zip(helpers, tasks):
            helper.withdraw_or_wait(task)
    finally:
        _idle.extend(helper for helper in helpers if not helper.ended)
    if errors:
        raise errors[0]


class _Helper:
    """A thread that sleeps on a lock of its own until it is asked to run something."""

    def __init__(self, name: str) -> None:
        self.ended, self.kept_away_from = False, -1
        self.tasks: list[Any] = []  # one as a rule; None ends the thread
        self.awake = threading.Lock()
        self.awake.acquire()
        self.thread = threading.Thread(target=self.serve, name=name, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            self.awake.acquire()
            while self.tasks:
                try:
                    task = self.tasks.pop(0)
                except IndexError:  # its owner withdrew it just now
                    break
                if task is None:
                    return
                context, run, done = task
                try:
                    context.run(run)
                finally:
                    # They hold the caller's arrays, whose memory it may want again.
                    del task, context, run
                    done.release()

    def ask(self, context: Context, run: Callable[[], None]) -> tuple[Any, ...]:
        """Wake the thread to run something; what `withdraw_or_wait` wants to know."""
        done = threading.Lock()
        done.acquire()
        task = context, run, done
        self.tasks.append(task)
        self.wake()
        return task

    def keep_away_from(self, cpu: int) -> None:
        """Wake up on another core than the caller's, if there is one.

        Linux often wakes a thread where its waker runs. On a machine with two cores,
        one of them idle, the two then took turns for milliseconds.
        """
        thread = self.thread.native_id
        if cpu < 0 or cpu == self.kept_away_from or thread is None:
            return
        self.kept_away_from = cpu
        others = os.sched_getaffinity(0) - {cpu}
        if others:
            with suppress(OSError):
                os.sched_setaffinity(thread, others)

    def wake(self) -> None:
        with suppress(RuntimeError):  # woken already, for what was withdrawn
            self.awake.release()

    def withdraw_or_wait(self, task: tuple[Any, ...]) -> None:
        """Come back when the task has been run, or before it was begun."""
        try:
            self.tasks.remove(task)
        except ValueError:
            task[-1].acquire()

    def end(self) -> None:
        self.ended = True
        self.tasks.append(None)
        self.wake()
        self.thread.join()


@cache
def _getcpu() -> Callable[[], int] | None:
    """The C library's function that tells on which core the calling thread runs."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    import ctypes  # as NumPy does

    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


def _current_cpu() -> int:
    """The core that the calling thread runs on, or -1."""
    getcpu = _getcpu()
    return -1 if getcpu is None else getcpu()


def _idle_helpers(number: int) -> list[_Helper]:
    """So many helpers that nobody else has asked for anything, or fewer."""
    if len(_helpers) < number:
        # (RuntimeError: the system has no more threads, or the interpreter is ending.)
        with _starting, suppress(RuntimeError):
            while len(_helpers) < number:
                helper = _Helper(f"tinygrad_softmax-{len(_helpers) + 1}")
                _helpers.append(helper)
                _idle.append(helper)
    found: list[_Helper] = []
    try:
        while len(found) < number:
            found.append(_idle.pop())
    except IndexError:
        pass  # other callers have them
    return found


def stop() -> None:
    """End the helpers, when they are done with what they do. More start when needed."""
    with _starting:
        _idle.clear()
        for helper in _helpers:
            helper.end()
        _helpers.clear()


def _forget() -> None:
    """In a forked child: its parent's helpers, and locks held there, are not here."""
    global _starting
    _helpers.clear()
    _idle.clear()
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    # Ended before a fork, so that a process that forks has one thread where it can.
    os.register_at_fork(before=stop, after_in_child=_forget)
