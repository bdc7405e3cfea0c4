"""What a step is made of, where a target is missed: `python -m benchmarks.floors`.

Three tables. Kernels at 1024x1024: what the NumPy functions that a kernel calls take by
themselves, one after the other on the same blocks, beside the kernel on one thread and
on all. (Where a kernel takes less, its blocks were warmer than the copies.) Small
steps: what the same step takes on arrays of a few numbers, where nothing but calls is
left, beside the same by hand in NumPy, with the number of Python functions called. An
addition: a chain of scalar additions in the library, in an engine that does nothing
else (bare_engine.py), and in PyTorch where it is installed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax.backends import backend_of
from tinygrad_softmax.backends.targets import Targets

from . import bare_engine, cross_entropy, machine, mlp, report
from .passes import watched

SIZE = 1024


def kernels_of(size: int) -> dict[str, tuple[Callable, tuple[np.ndarray, ...]]]:
    """The kernels, forward and backward, and their arguments."""
    random = np.random.default_rng(0)
    x, g = random.standard_normal((2, size, size), np.float32)
    ones, labels = np.ones(size, np.float32), random.integers(0, size, size)
    cpu, targets = backend_of(x), Targets(np, labels)
    p, lp = cpu.softmax(x), cpu.log_softmax(x)
    _, mean, scale = cpu.layer_norm(x, ones, ones, 1e-5)

    def cross_entropy(x: Any) -> Any:
        return cpu.softmax_cross_entropy(x, targets, np.empty_like(x))

    def layer_norm(x: Any) -> Any:
        return cpu.layer_norm(x, ones, ones, 1e-5)

    def layer_norm_grad(g: Any, x: Any) -> Any:
        return cpu.layer_norm_grad(g, x, ones, mean, scale, (True, True, True))

    return {
        "softmax": (cpu.softmax, (x,)),
        "softmax, backward": (cpu.softmax_vjp, (g, p)),
        "log_softmax": (cpu.log_softmax, (x,)),
        "log_softmax, backward": (cpu.log_softmax_vjp, (g, lp)),
        "layer norm": (layer_norm, (x,)),
        "layer norm, backward": (layer_norm_grad, (g, x)),
        "gelu and its slope": (partial(cpu.gelu, approximate="none", with_grad=True),
                               (x,)),
        "cross-entropy and its gradient": (cross_entropy, (x,)),
    }  # fmt: skip


def alone(function: Callable, arrays: tuple[np.ndarray, ...]) -> Counter[str]:
    """Seconds that each NumPy function takes by itself on what a kernel gives it."""
    seconds: Counter[str] = Counter()

    def timed(name: str, called: Callable, inputs: tuple, options: dict) -> None:
        def copied(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(copied, value))
            return value.copy() if isinstance(value, np.ndarray) else value

        inputs, best = copied(inputs), float("inf")
        into = {key: copied(value) for key, value in options.items()}
        for _ in range(7):
            begin = time.perf_counter()
            called(*inputs, **into)
            best = min(best, time.perf_counter() - begin)
        seconds[name] += best

    with np.errstate(all="ignore"), watched(timed) as watch:
        function(*map(watch, arrays))
    return seconds


def typical(function: Callable[[], Any], calls: int) -> float:
    """Median seconds of a call."""
    found = []
    for _ in range(calls + 2):
        begin = time.perf_counter()
        function()
        found.append(time.perf_counter() - begin)
    return statistics.median(found[2:])


def of_kernels(size: int, calls: int) -> list[list[str]]:
    rows, threads = [], tg.get_num_threads()
    for name, (function, arrays) in kernels_of(size).items():
        parts = alone(function, arrays)
        measured = []
        for number in (1, threads):
            tg.set_num_threads(number)
            measured.append(typical(partial(function, *arrays), calls))
        largest = ", ".join(
            f"{part} {report.amount(s, 's')}" for part, s in parts.most_common(4)
        )
        total = report.amount(parts.total(), "s")
        rows.append([name, total, *(report.amount(m, "s") for m in measured), largest])
    return rows


def python_calls(function: Callable[[], Any]) -> int:
    """How many Python functions of the package one call of `function` makes."""
    counted = 0

    def count(frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event == "call" and "tinygrad_softmax" in frame.f_code.co_filename

    function()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counted


def of_small_steps(calls: int) -> list[list[str]]:
    """Of the MLP and the cross-entropy: as they are, and on arrays of 2 x 2."""
    tiny = mlp.Task(2, 2, 2, 2)
    steps: dict[str, tuple[Callable, Callable, Callable, Callable]] = {
        f"MLP {mlp.SMALL.name}: SGD step": (
            mlp.ours(mlp.SMALL).step,
            mlp.ours(tiny).step,
            mlp.by_hand(mlp.SMALL).step,
            mlp.by_hand(tiny).step,
        ),
        f"MLP {mlp.SMALL.name}: Adam step": (
            mlp.ours_adam(mlp.SMALL).step,
            mlp.ours_adam(tiny).step,
            mlp.by_hand(mlp.SMALL, adam=True).step,
            mlp.by_hand(tiny, adam=True).step,
        ),
    }
    rows = []
    for name, functions in steps.items():
        times = [report.amount(typical(each, calls), "s") for each in functions]
        rows.append([name, *times, str(python_calls(functions[0]))])
    for shape in ((32, 10), (128, 10)):
        entries = [
            cross_entropy.ours(*cross_entropy.batch(*each)) for each in (shape, (2, 2))
        ]
        times = [report.amount(typical(each.step, calls), "s") for each in entries]
        count = str(python_calls(entries[0].step))
        name = f"cross-entropy {shape[0]}x{shape[1]}, forward and backward"
        rows.append([name, *times, "", "", count])
    return rows


def of_an_addition(length: int, calls: int) -> list[list[str]]:
    """Forward and backward of y = x + x + ... + x, for each of its additions."""
    bare = bare_engine.Variable(np.ones((), np.float32))
    chains = {
        "tinygrad_softmax": (
            tg.tensor(1.0, requires_grad=True),
            lambda y: y.backward(),
        ),
        "bare engine": (bare, lambda y: y.backward(bare)),
    }
    if find_spec("torch") is not None:
        torch = import_module("torch")
        x = torch.tensor(1.0, requires_grad=True)
        chains["PyTorch"] = x, lambda y: y.backward()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in chains}
    for _ in range(calls):  # in turn, so that a busy moment is everyone's
        for name, (x, backward) in chains.items():
            x.grad, y, begin = None, x, time.perf_counter()
            for _ in range(length):
                y = y + x
            middle = time.perf_counter()
            backward(y)
            seconds[name].append((middle - begin, time.perf_counter() - middle))
            assert x.grad.item() == length + 1
    rows = []
    for name, found in seconds.items():
        parts = [statistics.median(part) / length for part in zip(*found, strict=True)]
        rows.append([name, *(report.amount(s, "s") for s in (*parts, sum(parts)))])
    return rows


def markdown(size: int, calls: int) -> str:
    head = f"# What steps are made of, {date.today().isoformat()}"
    small = ("step", "ours", "of 2x2", "by hand", "by hand, of 2x2", "Python calls")
    large = (
        "kernel",
        "its NumPy functions alone",
        "on one thread",
        "on all",
        "of that",
    )
    load = machine.load()
    kernels, steps = of_kernels(size, calls), of_small_steps(10 * calls)
    additions = of_an_addition(1000, 4 * calls)
    loads = {"load_before": load, "load_highest": machine.load()}
    parts = [
        head,
        *report.conditions({"machine": machine.describe(), **loads}),
        __doc__.partition("\n\n")[2].strip(),
        f"## Kernels at {size}x{size}",
        report.table(large, kernels),
        "## Small steps",
        report.table(small, steps),
        "## An addition",
        report.table(("engine", "recorded", "walked back", "both"), additions),
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors")
    results = Path(__file__).parent / "results" / date.today().isoformat()
    parser.add_argument("folder", type=Path, nargs="?", default=results)
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(SIZE, 50)
    print(text)
    (folder / "floors.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
