"""What needs a process of its own: `python -m benchmarks.worker JOB MODULE N...`.

Prints JSON. Memory is the growth of the resident set's peak from just before the step,
so that neither the libraries' own code nor the inputs count.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any


def million(module: str, length: int) -> dict[str, float]:
    """A chain of `length` scalar additions: forward, backward, freeing the graph."""
    if module == "autograd":
        run = _autograd_chain()
    else:
        lib = importlib.import_module(module)

        def run(n: int) -> None:
            x = lib.tensor(1.0, requires_grad=True)
            y = x
            for _ in range(n):
                y = y + x
            y.backward()
            del y
            if float(x.grad) != n + 1.0:
                raise ValueError(f"{module}: {float(x.grad)} is not {n + 1}")

    return measured(run, 10, length)


def _autograd_chain() -> Callable[[int], None]:
    from autograd import grad

    def run(n: int) -> None:
        def value(x: Any) -> Any:
            y = x
            for _ in range(n):
                y = y + x
            return y

        if grad(value)(1.0) != n + 1.0:
            raise ValueError("autograd: wrong gradient")

    return run


def cross_entropy(module: str, rows: int, classes: int) -> dict[str, float]:
    """Forward and backward; memory also in multiples of the logits."""
    from . import cross_entropy as versions

    build = versions.pytorch if module == "torch" else versions.ours
    build(*versions.batch(8, classes)).step()  # what is only made once
    entry = build(*versions.batch(rows, classes))
    found = measured(lambda _: entry.step(), 0, 0, warm=False)
    return {**found, "multiple": found["MB"] * 1e6 / (4 * rows * classes)}


def measured(
    run: Callable[[int], Any], small: int, size: int, warm: bool = True
) -> dict[str, float]:
    """The seconds of `run(size)` and by how many MB the peak of memory rose."""
    if warm:
        run(small)
    before = reset_peak()
    start = time.perf_counter()
    run(size)
    seconds = time.perf_counter() - start
    return {"s": seconds, "MB": (peak() - before) / 1e6}


def reset_peak() -> float:
    """Bytes that are resident now, from which the peak is counted on."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return _status("VmRSS")
    except OSError:
        return peak()  # no Linux: growth beyond the highest so far


def peak() -> float:
    """The most bytes that were resident."""
    try:
        return _status("VmHWM")
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> float:
    with open("/proc/self/status") as file:
        line = next(each for each in file if each.startswith(name + ":"))
    return float(line.split()[1]) * 1024


JOBS = {"million": million, "cross_entropy": cross_entropy}

if __name__ == "__main__":
    job, module, *sizes = sys.argv[1:]
    print(json.dumps(JOBS[job](module, *map(int, sizes))))
