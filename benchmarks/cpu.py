"""Measures the table of targets on the CPU: `python -m benchmarks.cpu`.

python -m benchmarks.cpu                  all of it, and the curves
python -m benchmarks.cpu --quick          ends within two minutes
python -m benchmarks.cpu --row gpt --row chain
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

from . import curves, machine, report, rows
from .goals import Row
from .measuring import FULL, PYTORCH, QUICK, Effort, installed


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    chosen = [row for row in rows.ALL if not options.row or row.name in options.row]
    if options.list:
        for row in rows.ALL:
            print(f"{row.name:22}{row.title}")
        return
    if installed(PYTORCH):
        import torch

        torch.set_num_threads(machine.cores())
    results = measure(chosen, QUICK if options.quick else FULL, tell=print)
    print("\n" + report.markdown(results))
    whole = not options.row
    folder = options.output
    if folder is None and whole:
        folder = Path(__file__).parent / "results" / date.today().isoformat()
    if folder is None:
        return  # some rows only are shown, and written where one says so
    report.write(folder, results)
    if whole and not options.quick:
        curves.write(folder, curves.measure(curves.room()))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cpu", description=__doc__.splitlines()[0]
    )
    names = [row.name for row in rows.ALL]
    parser.add_argument("--quick", action="store_true", help="end within two minutes")
    parser.add_argument(
        "--row", action="append", choices=names, metavar="NAME", help="only this row"
    )
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for cpu.json and cpu.md (default: results/<date>/ unless --row is given)",
    )
    return parser.parse_args(arguments)


def measure(
    chosen: Iterable[Row], effort: Effort, tell: Callable[[str], Any] = lambda _: None
) -> dict[str, Any]:
    """All cases of the rows, and the conditions, as the JSON has them."""
    begin = time.monotonic()
    before = highest = machine.load()
    done = []
    for row in chosen:
        cases = []
        waiting = row.measure(effort)  # a generator: nothing has been measured yet
        while in_time := time.monotonic() - begin <= effort.deadline:
            case = next(waiting, None)
            if case is None:
                break
            cases.append(case)
            shown = (
                f"{k} {report.amount(v, case.unit)}" for k, v in case.median.items()
            )
            tell(f"{row.name}, {case.case}: " + ", ".join(shown))
            highest = max(highest or 0.0, machine.load() or 0.0)
        done.append(report.row_result(row, cases, whole=in_time))
    return {
        "date": date.today().isoformat(),
        "effort": effort.name,
        "seconds": round(time.monotonic() - begin, 1),
        "load_before": before,
        "load_highest": highest,
        "machine": machine.describe(),
        "rows": done,
    }


if __name__ == "__main__":
    main()
