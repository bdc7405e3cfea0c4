"""Run the parts within their time, and print the tables last. See `scripts/gpu --help`.

This process imports neither CuPy nor PyTorch, so it outlives what happens to them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from . import rows, suite
from .conductor import Conductor
from .row import Row, one_line
from .store import ROOT, NotAReportError, Store, clean

TOTAL = 460.0  # seconds: eight minutes, less what starting takes
LIMITS = {"kernels": 155.0, "steps": 75.0, "tests": 225.0}
PROBING = 90.0
CANNOT = 2  # the exit status where nothing can be measured


class EndedError(BaseException):
    """SIGTERM or SIGHUP."""


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    begin = time.monotonic()
    parts = [options.part] if options.part else list(LIMITS)
    try:
        found = probe(parts)
        store = Store(options.folder)
    except (NotAReportError, CannotRunError) as error:
        print(f"scripts/gpu: {error}", file=sys.stderr)
        return CANNOT
    status = 0
    with signals_raise():
        try:
            for part in parts:
                try:
                    run_part(part, found, store, begin + TOTAL)
                except Exception as error:  # of this program; the next part may go on
                    traceback.print_exc()
                    broken = Row(part, "the report itself", suite.never)
                    store.put(part, broken.result("failed", one_line(error)))
        except (KeyboardInterrupt, EndedError) as error:
            status = 130 if isinstance(error, KeyboardInterrupt) else 143
    begun = [part for part in parts if part in store.parts]
    print(f"\n{store.markdown()}", end="", flush=True)
    return status or int(store.red(begun) > 0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/gpu", description=__doc__)
    parser.add_argument("folder", metavar="OUTDIR", type=Path)
    parser.add_argument("--part", choices=list(LIMITS))
    return parser.parse_args(arguments)


# -- what there is ---------------------------------------------------------------------


class CannotRunError(Exception):
    """Something without which nothing can be measured is missing."""


def probe(parts: list[str]) -> dict[str, Any]:
    """The conditions, from a process of its own: CUDA may end it."""
    command = [sys.executable, "-m", "benchmarks.gpu.probe", *parts]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PROBING,
        )
    except subprocess.TimeoutExpired:
        raise CannotRunError(f"the GPU did not answer in {PROBING:.0f} s") from None
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        told = clean(done.stderr.strip()[-500:])
        raise CannotRunError(
            f"the GPU could not be asked (exit status {done.returncode}): {told}"
        ) from None
    if "missing" in found:
        raise CannotRunError("; ".join(found["missing"]))
    return found


def environment() -> dict[str, str]:
    """With this checkout on the path."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


# -- the parts -------------------------------------------------------------------------


def run_part(part: str, found: dict[str, Any], store: Store, latest: float) -> None:
    """Measure it anew, in its own time or what is left of the whole."""
    begin = time.monotonic()
    deadline = min(begin + LIMITS[part], latest)
    conditions = {key: value for key, value in found.items() if key != "spread"}
    store.begin(part, conditions)

    def put(result: dict[str, Any]) -> None:
        store.put(part, result)
        say(part, result)

    try:
        with temporary_log(store.folder / f"{part}.log") as log:
            if part == "tests":
                script = ROOT / "scripts" / "test"
                command = suite.command(sys.executable, script, found["spread"])
                seconds = deadline - time.monotonic()
                keep = partial(store.replace, part)
                suite.run(command, keep, seconds, Path(log.name), ROOT)
                for result in store.parts[part]["rows"]:
                    say(part, result)
            else:
                worker = partial(worker_command, part)
                Conductor(worker, put, deadline, log, ROOT).run(rows.ROWS[part])
    finally:
        store.end(part, time.monotonic() - begin)


def say(part: str, result: dict[str, Any]) -> None:
    shown = ": ".join(filter(None, (result["state"], clean(result["error"]))))
    print(f"{part}, {result['work']}, {result['case']}: {shown}", flush=True)


def worker_command(part: str, process: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.gpu.worker", part, process]


@contextlib.contextmanager
def temporary_log(path: Path) -> Iterator[Any]:
    """A file that is cleaned of the machine's paths and name on its way to `path`."""
    descriptor, name = tempfile.mkstemp()
    os.close(descriptor)
    try:
        with open(name, "w", encoding="utf-8") as file:
            yield file
    finally:
        text = Path(name).read_text("utf-8", "replace")
        os.remove(name)
        path.write_text(clean(text), "utf-8")


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: what was measured is kept."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise EndedError

    before = {
        number: signal.signal(number, handler)
        for name in ("SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) is not None
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


if __name__ == "__main__":
    sys.exit(main())
