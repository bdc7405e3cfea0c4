"""Rows that fail in every way, a worker that serves them, and the report over them.

python tests/gpu_report_fakes.py worker          serves ROWS
python tests/gpu_report_fakes.py report OUTDIR   the report, as if there were a GPU
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks.gpu.row import OURS, PYTORCH, Row, ratio  # noqa: E402
from benchmarks.gpu.worker import serve  # noqa: E402

CONDITIONS = {
    "device": {
        "name": "Pretended GPU",
        "capability": "9.0",
        "multiprocessors": 4,
        "l2": 50_000_000,
        "memory": 80_000_000_000,
    },
    "versions": {"Python": "3.12.0"},
    "commit": None,
}
RESULT = {"times": {k: {"device": 1.0, "host": 1.0} for k in (OURS, PYTORCH)}}


class OutOfMemoryError(Exception):
    """By this name workers know those of CuPy and PyTorch."""


class WrongNumbersError(Exception):
    """By this name they know results that were not timed."""


class Lab:
    works = True

    def healthy(self) -> bool:
        return self.works

    def tidy(self) -> None:
        pass


def fine(lab, tell):
    return RESULT


def prints(lab, tell):
    sys.stdout.write("a library that prints\n")
    os.write(1, b"and one that is written in C\n")
    return RESULT


def raises(lab, tell):
    raise ValueError(f"two lines,\nand a path: {ROOT}/benchmarks")


def wrong(lab, tell):
    raise WrongNumbersError("the gradient is 1 from float64")


def too_large(lab, tell):
    raise OutOfMemoryError("8 GB")


def hangs(lab, tell):
    tell({"bytes": 7})
    time.sleep(600)


def dies(lab, tell):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(600)


def spoils(lab, tell):
    lab.works = False
    raise RuntimeError("cudaErrorIllegalAddress")


def leaves_a_mine(lab, tell):
    """Fine itself; its process breaks when it tidies up."""
    lab.tidy = lambda: os._exit(9)
    return RESULT


CASES = (
    fine,
    prints,
    raises,
    wrong,
    too_large,
    dies,
    spoils,
    leaves_a_mine,
    hangs,
    fine,
)
ROWS = [
    Row(
        f"row {i}",
        case.__name__,
        case,
        (ratio(1.0),),
        limit=0.5 if case is hangs else 20.0,
    )
    for i, case in enumerate(CASES)
]


# In place of pytest: it tells of two tests, is cut off in the third, and hangs.
HANGING = """
import json, os, time
with open(os.environ["GPU_REPORT_OUTCOMES"], "w") as file:
    file.write('{"tests": 3}\\n{"test": "a", "outcome": "passed", "error": ""}\\n')
    file.write('{"test": "b", "outcome": "failed", "error": "E"}\\n{"test": "c", "ou')
time.sleep(600)
"""

FOREVER = Row("row for ever", "hangs", hangs)


def main(what: str, *arguments: str) -> int:
    if what == "worker":
        serve(lambda: [*ROWS, FOREVER], Lab)
        return 0
    from benchmarks.gpu import __main__ as program

    program.probe = lambda parts: CONDITIONS
    program.rows.ROWS = {"kernels": (ROWS[0], FOREVER, ROWS[-1])}
    program.worker_command = lambda part, process: WORKER
    return program.main([*arguments, "--part", "kernels"])


WORKER = [sys.executable, __file__, "worker"]

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
