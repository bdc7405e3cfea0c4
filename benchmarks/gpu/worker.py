"""A process that measures rows, one at a time, as it is told.

It reads the names of rows, a line each, and answers with lines of JSON: {"ready": true}
when it waits for one; {"so far": result} as a row goes on; then {"result": result} or
{"state": ..., "error": text}. After a failure from which the device does not recover it
ends, and the next row gets a new process. What else it prints goes to stderr.

    python -m benchmarks.gpu.worker PART PROCESS
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from .row import Row, one_line


def main(arguments: list[str]) -> None:
    part, process = arguments

    def lab() -> Any:
        from .lab import cuda_lab

        return cuda_lab(process)

    def rows() -> Iterable[Row]:
        from .rows import ROWS

        return ROWS[part]

    serve(rows, lab)


def serve(rows: Callable[[], Iterable[Row]], make_lab: Callable[[], Any]) -> None:
    """Answer on what was stdout; prints of the libraries can't get in between."""
    faulthandler.enable()
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        known = {row.name: row for row in rows()}
        lab = make_lab()
    except Exception as error:
        traceback.print_exc()
        send(wire, {"broken": one_line(error)})
        return
    send(wire, {"ready": True})
    for line in sys.stdin:
        answer = measured(known[line.rstrip("\n")], lab, wire)
        healthy = "result" in answer or lab.healthy()
        if not healthy:
            answer["error"] += " (the device did not work any more)"
        send(wire, answer)
        if not healthy:
            return
        lab.tidy()
        send(wire, {"ready": True})


def measured(row: Row, lab: Any, wire: IO[str]) -> dict[str, Any]:
    try:
        result = row.run(lab, lambda so_far: send(wire, {"so far": so_far}))
        return {"result": result}
    except Exception as error:
        print(f"\n--- {row.name}", file=sys.stderr)
        traceback.print_exc()
        state = {"WrongNumbersError": "wrong", "OutOfMemoryError": "does not fit"}
        return {
            "state": state.get(type(error).__name__, "failed"),
            "error": one_line(error),
        }


def send(wire: IO[str], message: Mapping[str, Any]) -> None:
    wire.write(json.dumps(message) + "\n")
    wire.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
