"""Rows in worker processes: one that fails, hangs or dies is red, and the next begins.

Standard library only, so that it goes on where the libraries do not.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from .row import Row

LOADING = 60.0  # seconds until a worker has its libraries
VAIN_STARTS = 2  # in a row, and no more are tried

Put = Callable[[dict[str, Any]], None]
Command = Callable[[str], Sequence[str]]


class Worker:
    """A process that serves rows: see worker.py."""

    def __init__(self, command: Sequence[str], log: IO[str], folder: Path) -> None:
        path = [str(folder), os.environ.get("PYTHONPATH", "")]
        self._log, self._begin = log, log.tell()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            start_new_session=True,  # killed with all it has started
        )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with contextlib.suppress(ValueError):  # a line that was cut off
                    self._answers.put(json.loads(line))
        self._answers.put(None)

    def ask(self, name: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; its answer says so
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None if the process has ended; queue.Empty in time."""
        return self._answers.get(timeout=max(0.0, seconds))

    def end(self) -> None:
        end_group(self._process)
        self._listener.join(1.0)  # what it has started may still hold the pipe
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what was not read can't be flushed
            self._process.stdin.close()

    def last_words(self) -> str:
        """How it ended, with the last line that it wrote to the log."""
        try:
            status = self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self.end()
            return "its process stopped answering"
        how = f"exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        self._log.flush()
        with open(self._log.name, encoding="utf-8", errors="replace") as file:
            file.seek(self._begin)
            lines = [line.strip() for line in file if line.strip()]
        told = next((x for x in lines if x.startswith("Fatal")), lines[-1:] or "")
        told = told if isinstance(told, str) else told[0]
        return f"its process ended: {how}" + (f"; {told[:300]}" if told else "")


def end_group(process: subprocess.Popen[Any]) -> None:
    """Kill a process that leads a group, and the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Conductor:
    """Has rows measured, until the deadline.

    command: from what a row's process may have to the worker's command line.
    put: keeps a result; it is called once for every row, whatever happens.
    deadline: of `time.monotonic`.
    """

    def __init__(
        self,
        command: Command,
        put: Put,
        deadline: float,
        log: IO[str],
        folder: Path,
        loading: float = LOADING,
    ) -> None:
        self._command, self._put, self._deadline = command, put, deadline
        self._log, self._folder, self._loading = log, folder, loading
        self._worker: Worker | None = None
        self._process = ""  # what the worker may have
        self._vain: dict[str, int] = {}
        self._why = ""

    def run(self, rows: Sequence[Row]) -> None:
        """An interruption ends it; the rows that are left are put as not run."""
        waiting = list(rows)
        try:
            while waiting:
                result = self._measured(waiting[0])
                self._put(result)
                waiting.pop(0)
        finally:
            self._stop()
            for row in waiting:
                self._put(row.result("not run", "interrupted"))

    def _measured(self, row: Row) -> dict[str, Any]:
        if self._left() <= 0:
            return row.result("not run", "time was up")
        if not self._ready(row.process):
            return row.result("not run", f"the worker does not start: {self._why}")
        assert self._worker is not None
        limit = min(row.limit, self._left())
        end = time.monotonic() + limit
        self._worker.ask(row.name)
        so_far: dict[str, Any] = {}
        while True:
            try:
                message = self._worker.answer(end - time.monotonic())
            except queue.Empty:
                self._stop()
                whose = "its own" if limit == row.limit else "the part's"
                why = f"it was ended after {limit:.0f} s, {whose} limit"
                return row.result("time was up", why, **so_far)
            if message is None:
                why = self._worker.last_words()
                self._stop()
                return row.result("died", why, **so_far)
            if "result" in message:
                return row.result("ok", **message["result"])
            if "state" in message:
                return row.result(message["state"], message["error"], **so_far)
            so_far = message.get("so far", so_far)

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _ready(self, process: str) -> bool:
        """Whether a worker with those libraries waits for a row; starts one if need be.

        One that broke after its last row does not get ready any more and is replaced.
        """
        known = self._worker if self._process == process else None
        if known is not None and self._gets_ready(known):
            return True
        self._stop()
        if self._vain.get(process, 0) >= VAIN_STARTS:
            return False
        self._worker = Worker(self._command(process), self._log, self._folder)
        self._process = process
        if self._gets_ready(self._worker):
            self._vain[process] = 0
            return True
        self._vain[process] = self._vain.get(process, 0) + 1
        self._stop()
        return False

    def _gets_ready(self, worker: Worker) -> bool:
        try:
            message = worker.answer(min(self._loading, self._left()))
        except queue.Empty:
            self._why = "it did not get ready in time"
            return False
        if message is None:
            self._why = worker.last_words()
        elif "ready" not in message:
            self._why = message.get("broken", str(message))
        return message == {"ready": True}

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.end()
            self._worker = None
