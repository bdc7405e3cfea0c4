"""What a row of the report is, and what is wanted of it.

A row is measured by itself. Its result is a dict that goes to JSON as it is:

    times     by library: seconds of the device and of the host, least, calls
    bytes     what must be moved at least, once each way
    flops     operations, of a matrix product
    peak      bytes at the highest, by library
    errors    of peers that could not be measured, by library
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OURS = "tinygrad_softmax"
PYTORCH = "PyTorch"
COMPILED = "torch.compile"
LIGER = "Liger"
CUPY = "CuPy"

BOTH = "both libraries"  # in one process, in turns

Result = dict[str, Any]


def one_line(error: BaseException) -> str:
    """Its type and the beginning of its text."""
    return f"{type(error).__name__}: " + " ".join(str(error).split())[:500]


def share(limit: float) -> dict[str, Any]:
    """Ours moves at least `limit` of the bytes/s of the measured copy."""
    return {"kind": "share", "limit": limit}


def ratio(limit: float, peer: str = PYTORCH) -> dict[str, Any]:
    """Ours takes at most `limit` times the peer's time."""
    return {"kind": "ratio", "limit": limit, "peer": peer}


@dataclass(frozen=True)
class Row:
    """One line of the report.

    work, case: what is done, and at which size; together its name.
    run: measures it, `run(lab, tell)`; `tell(result)` keeps what is known so far.
    goals: of `share` and `ratio`.
    limit: seconds after which its process is ended.
    process: BOTH, or the one library that the process may have.
    """

    work: str
    case: str
    run: Callable[[Any, Callable[[Result], None]], Result]
    goals: tuple[dict[str, Any], ...] = ()
    limit: float = 20.0
    process: str = BOTH

    @property
    def name(self) -> str:
        return f"{self.work}, {self.case}"

    def result(self, state: str, error: str = "", **found: Any) -> Result:
        """For the JSON: the row, how it ended, and what was measured."""
        head = {"work": self.work, "case": self.case, "state": state, "error": error}
        return {**head, "goals": list(self.goals), **found}
