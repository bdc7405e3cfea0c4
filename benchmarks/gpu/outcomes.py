"""A plugin of pytest that writes every outcome down at once, for a run that is ended.

    pytest -p benchmarks.gpu.outcomes      with the file's name in GPU_REPORT_OUTCOMES

A line of JSON for each test: {"test": its name, "outcome": "passed" or "failed",
"error": text}, and one for the number of tests, {"tests": n}. After an illegal address
nothing works in a process any more: a process of pytest-xdist then ends, and another
takes its place; without pytest-xdist the run ends.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from .suite import VARIABLE

# What CUDA says of errors that stay with the process.
FATAL = (
    "cudaErrorIllegalAddress",
    "cudaErrorMisalignedAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorAssert",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalInstruction",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Outcomes(config), "gpu report outcomes")


class Outcomes:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._in_worker = hasattr(config, "workerinput")
        self._file = os.environ.get(VARIABLE)
        self._failed: set[str] = set()
        self._spoilt = False

    def _write(self, line: dict[str, Any]) -> None:
        if self._file and not self._in_worker:
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._write({"tests": len(session.items)})

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._write({"tests": len(ids)})

    def pytest_runtest_logreport(self, report: Any) -> None:
        error = report.longreprtext if report.outcome == "failed" else ""
        if report.outcome == "failed":
            self._spoilt |= any(text in error for text in FATAL)
            if report.nodeid not in self._failed:
                self._failed.add(report.nodeid)
                self._write(self._line(report.nodeid, "failed", what_was_raised(error)))
        elif report.when == "teardown" and report.nodeid not in self._failed:
            self._write(self._line(report.nodeid, "passed", ""))

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed" and report.nodeid not in self._failed:
            self._failed.add(report.nodeid)
            error = what_was_raised(report.longreprtext)
            self._write(self._line(report.nodeid, "failed", error))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        spreads = self._config.pluginmanager.hasplugin("dsession")  # runs none itself
        if not self._spoilt or spreads:
            return
        if self._in_worker:
            time.sleep(0.2)  # its reports are on their way
            os._exit(1)
        self._write({"stopped": f"the device does not work after {nodeid}"})
        pytest.exit(f"the device does not work after {nodeid}", 1)

    @staticmethod
    def _line(test: str, outcome: str, error: str) -> dict[str, str]:
        return {"test": test, "outcome": outcome, "error": error}


def what_was_raised(text: str) -> str:
    """The first line in which a report of pytest says what was raised, or its last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line[1:].strip() for line in lines if line.startswith("E ")]
    return (raised[0] if raised else (lines or [""])[-1])[:300]
