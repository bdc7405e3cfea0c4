"""What a kernel of the CPU asks of NumPy, call by call.

`Watched` is an array that reports every NumPy function that goes over it. Tests count
the passes with it, and `floors.py` times each of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax.backends import buffers, numpy_gelu
from tinygrad_softmax.backends.scratch import scratch

# Called with (name, function, inputs, options) before each call.
Report = Callable[[str, Callable, tuple, dict[str, Any]], Any]


class Watched(np.ndarray):
    """An array whose NumPy functions are reported to `report`."""

    report: Report

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: tuple = (), **options: Any
    ) -> Any:
        plain = tuple(map(_plain, inputs))
        if out:
            options["out"] = tuple(map(_plain, out))
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        function = getattr(ufunc, method)
        Watched.report(name, function, plain, options)
        result = function(*plain, **options)
        return out[0] if out and out[0] is not None else _watched(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        plain = tuple(map(_plain, args))
        options = {name: _plain(value) for name, value in kwargs.items()}
        if func is not np.empty_like:  # which touches nothing
            Watched.report(func.__name__, func, plain, options)
        return _watched(func(*plain, **options))


def _plain(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Watched) else x


def _watched(x: Any) -> Any:
    return x.view(Watched) if isinstance(x, np.ndarray) else x


@contextmanager
def watched(report: Report) -> Iterator[Callable[[np.ndarray], Watched]]:
    """In the block new arrays are watched, and one thread computes.

    It gives a function that has an array watched.
    """
    threads, empty = tg.get_num_threads(), np.empty

    def forget() -> None:
        buffers.free_buffers()
        scratch.kept.clear()
        numpy_gelu.scratch = numpy_gelu.Scratch()

    def new(*args: Any, **kwargs: Any) -> Any:
        return _watched(empty(*args, **kwargs))

    forget()
    tg.set_num_threads(1)
    Watched.report = report
    try:
        with mock.patch.object(np, "empty", new):
            yield _watched
    finally:
        tg.set_num_threads(threads)
        forget()


def count(function: Callable, *arrays: np.ndarray) -> float:
    """How often `function(*arrays)` goes over as many elements as the first has."""
    elements = 0

    def report(name: str, function: Callable, inputs: tuple, options: dict) -> None:
        nonlocal elements
        given = (*inputs, *options.get("out", ()))
        elements += max(np.size(x) for x in given if isinstance(x, np.ndarray))

    with watched(report) as watch:
        function(*map(watch, arrays))
    return elements / arrays[0].size
