"""What `tg.record()` costs an op: `python -m benchmarks.recording [BLOCKS]`.

Three graphs are built by turns without recording and with it: a chain of additions (the
op is called by the program itself), a chain of sums (a function of the library calls
it), and a stack of linear layers (a module calls a function that calls it, and the
call of the module is noted too). The shortest block of each counts, which is the least
that other programs on the machine have added to.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import tinygrad_softmax as tg
from tinygrad_softmax import nn

LENGTH = 200
BLOCKS = 300


class Cost(NamedTuple):
    """Microseconds an op."""

    plain: float
    recorded: float

    @property
    def more(self) -> float:
        return self.recorded - self.plain


def additions(length: int) -> Callable[[], object]:
    x = tg.tensor(1.0, requires_grad=True)

    def build():
        y = x
        for _ in range(length):
            y = y + x
        return y

    return build


def sums(length: int) -> Callable[[], object]:
    x = tg.tensor(1.0, requires_grad=True)

    def build():
        y = x
        for _ in range(length):
            y = tg.sum(y)
        return y

    return build


def layers(length: int) -> Callable[[], object]:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(length)])
    x = tg.ones((1, 2))
    return lambda: model(x)


GRAPHS = {
    "additions": additions,
    "sums": sums,
    "linear layers": layers,
}


def costs(length: int = LENGTH, blocks: int = BLOCKS) -> dict[str, Cost]:
    found = {}
    for name, make in GRAPHS.items():
        build = make(length)
        plain, recorded = [], []
        for _ in range(blocks):
            plain.append(timed(build))
            with tg.record():
                recorded.append(timed(build))
        found[name] = Cost(*(min(t) / length * 1e6 for t in (plain, recorded)))
    return found


def timed(build: Callable[[], object]) -> float:
    start = time.thread_time()
    graph = build()
    elapsed = time.thread_time() - start
    del graph
    return elapsed


def page(found: dict[str, Cost]) -> str:
    lines = ["| graph | us an op | recorded | more |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {cost.plain:.2f} | {cost.recorded:.2f} | {cost.more:.2f} |"
        for name, cost in found.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(costs(blocks=int(sys.argv[1]) if len(sys.argv) > 1 else BLOCKS)))
