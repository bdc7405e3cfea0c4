"""Rows that need processes of their own: a long chain, memory at its peak, import."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .goals import Amount, Ratio, Row
from .measuring import (
    AUTOGRAD,
    MODULES,
    OURS,
    PYTORCH,
    Effort,
    Measured,
    installed,
)

ROOT = Path(__file__).resolve().parent.parent
NUMPY = "NumPy"


# In a fresh interpreter: what the worker itself imports would be counted for nobody.
IMPORT = """
from time import perf_counter as now
start = now()
import {}
print('{{"s": %r}}' % (now() - start))
"""


def run_worker(
    job: str, module: str, *sizes: int, **variables: str
) -> dict[str, float]:
    """What a job prints, in a new process with these variables set."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    what = ["-m", "benchmarks.worker", job, module, *map(str, sizes)]
    if job == "importing":
        what = ["-c", IMPORT.format(module)]
    variables["PYTHONPATH"] = path.rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, *what],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{job} of {module} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def in_turns(
    job: str,
    modules: dict[str, str],
    sizes: Sequence[int],
    cases: dict[str, str],
    runs: int,
    **variables: str,
) -> Iterator[Measured]:
    """Run the job `runs` times with each library, in turns.

    cases: what is reported, by its unit in what the job prints.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in modules}
    for _ in range(runs):
        for name, module in modules.items():
            found[name].append(run_worker(job, module, *sizes, **variables))
    for unit, case in cases.items():
        result = Measured(case, "x" if unit == "multiple" else unit)
        for name, outputs in found.items():
            values = [output[unit] for output in outputs]
            result.median[name] = statistics.median(values)
            result.least[name] = min(values)
            result.calls[name] = runs
        yield result


def modules_of(*libraries: str) -> dict[str, str]:
    return {name: MODULES[name] for name in libraries if installed(name)}


def peers_in_time(effort: Effort) -> dict[str, str]:
    """PyTorch, which the targets of these rows do not need, if there is time for it."""
    return {} if effort.name == "quick" else modules_of(PYTORCH)


def measure_million(effort: Effort) -> Iterator[Measured]:
    length = 1000 if effort.toy else 1_000_000
    peers = peers_in_time(effort)
    if effort.name == "full":
        peers |= modules_of(AUTOGRAD)  # 22 s a run
    modules = {**modules_of(OURS), **peers}
    runs = 3 if effort.name == "full" else 1
    cases = {"s": "seconds", "MB": "MB at the peak"}
    yield from in_turns("million", modules, [length], cases, runs)


def measure_memory(effort: Effort) -> Iterator[Measured]:
    sizes = [(64, 1000)] if effort.toy else [(65536, 100), (4096, 10000)]
    runs = 3 if effort.name == "full" else 1
    for rows, classes in sizes:
        cases = {"multiple": f"{rows}x{classes}, multiples of the logits"}
        modules = {**modules_of(OURS), **peers_in_time(effort)}
        yield from in_turns("cross_entropy", modules, [rows, classes], cases, runs)


def measure_import(effort: Effort) -> Iterator[Measured]:
    """Beside NumPy alone, the byte code cached, in a place of its own."""
    modules = {OURS: MODULES[OURS], NUMPY: "numpy"}
    with tempfile.TemporaryDirectory() as folder:
        cache = {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for module in modules.values():
            run_worker("importing", module, **cache)  # fills it
        cases, runs = {"s": "import"}, effort.processes
        yield from in_turns("importing", modules, [], cases, runs, **cache)


ROWS = (
    Row(
        "million",
        "chain of 1,000,000 additions: forward, backward, free",
        measure_million,
        (Amount(2.0, "seconds"), Amount(300.0, "MB at the peak")),
    ),
    Row("import", "import", measure_import, (Ratio(1.3, NUMPY),)),
    Row(
        "cross_entropy_memory",
        "peak memory of the cross-entropy beyond the logits",
        measure_memory,
        # 1 is the gradient; a twentieth is for blocks that are at work.
        tuple(
            Amount(1.05, f"{size}, multiples of the logits")
            for size in ("65536x100", "4096x10000")
        ),
    ),
)
