"""The part `tests`: the whole suite on the GPU, for as long as it may take.

Every outcome is written down as it comes (outcomes.py), so a run that is ended still
says what passed and what failed. A failing test is a red row.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .conductor import end_group
from .row import Row

VARIABLE = "GPU_REPORT_OUTCOMES"  # the file that outcomes.py writes to
INTERVAL = 5.0  # seconds between two times that what is known is kept
SUMMARY = 4.0  # seconds to sum up, once told to end
PROCESSES = 8


def command(python: str, script: Path, spread: bool) -> list[str]:
    """scripts/test, as a person would call it, with the plugin that writes it down."""
    given = ["--device", "cuda", "--python", python, "-p", "benchmarks.gpu.outcomes"]
    found = [python, str(script), *given, "-p", "no:cacheprovider", "-q"]
    if spread:
        count = min(PROCESSES, os.cpu_count() or 1)
        found += ["-n", str(count), "--max-worker-restart", "100"]
    return found


def run(
    command: Sequence[str],
    keep: Callable[[list[dict[str, Any]]], None],
    seconds: float,
    log: Path,
    folder: Path,
) -> None:
    """Make a row for each test that failed, and one for all of them.

    keep: gets all rows so far, every few seconds and in the end.
    seconds: the limit. log: gets what pytest prints.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        outcomes = Path(temporary) / "outcomes"
        ended = "interrupted"

        def tell(state: str) -> None:
            keep(results(outcomes, state, time.monotonic() - begin))

        try:
            with open(log, "w", encoding="utf-8") as output:
                ended = _ended(command, output, seconds, outcomes, folder, tell)
        finally:
            tell(ended)


def _ended(
    command: Sequence[str],
    output: Any,
    seconds: float,
    outcomes: Path,
    folder: Path,
    tell: Callable[[str], None],
) -> str:
    """Run it; say why it did not end well, or nothing."""
    # More threads of BLAS in each of several processes wait for one another.
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    environment = {**os.environ, **one, VARIABLE: str(outcomes)}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    end = time.monotonic() + max(0.0, seconds - SUMMARY)
    try:
        while (left := end - time.monotonic()) > 0.0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(min(left, INTERVAL))
                return "" if status in (0, 1) else f"it ended with exit status {status}"
            tell("it is under way")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SUMMARY)
        return f"it was ended after {seconds:.0f} s, its limit"
    finally:
        end_group(process)


def results(outcomes: Path, ended: str, seconds: float) -> list[dict[str, Any]]:
    """The rows: the suite as a whole, then what failed in it."""
    lines = _lines(outcomes)
    tests = max((line["tests"] for line in lines if "tests" in line), default=0)
    failed = {x["test"]: x["error"] for x in lines if x.get("outcome") == "failed"}
    passed = {x["test"] for x in lines if x.get("outcome") == "passed"} - set(failed)
    missing = max(0, tests - len(passed) - len(failed))
    stopped = next((line["stopped"] for line in lines if "stopped" in line), "")
    why = stopped or ended
    if not why and (missing or not tests):
        why = f"{missing} tests did not run" if tests else "no test ran"
    state = "not run" if why else "failed" if failed else "ok"
    if failed and not why:
        why = f"{len(failed)} tests failed"
    counts = {"passed": len(passed), "failed": len(failed), "not run": missing}
    whole = Row("tests", "the suite on cuda", never)
    rows = [whole.result(state, why, counts=counts, seconds=round(seconds, 1))]
    for test, error in failed.items():
        rows.append(Row("tests", test, never).result("failed", error))
    return rows


def never(lab: Any, tell: Any) -> dict[str, Any]:
    raise NotImplementedError("pytest measures it")


def _lines(outcomes: Path) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(OSError):
        for line in outcomes.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last one, cut off
                found.append(json.loads(line))
    return found
