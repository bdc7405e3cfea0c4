"""How libraries are timed side by side, after a check that they do the same."""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

OURS = "tinygrad_softmax"
BY_HAND = "NumPy by hand"
PYTORCH = "PyTorch"
FUSED = "PyTorch, fused Adam"
TWO_STEPS = "product, then loss"
AUTOGRAD = "autograd"
MYGRAD = "MyGrad"

MODULES = {
    OURS: "tinygrad_softmax",
    BY_HAND: "numpy",
    PYTORCH: "torch",
    FUSED: "torch",
    TWO_STEPS: "tinygrad_softmax",
    AUTOGRAD: "autograd",
    MYGRAD: "mygrad",
}


def installed(library: str) -> bool:
    """Whether it can be measured here; what cannot is left out of the tables."""
    return importlib.util.find_spec(MODULES[library]) is not None


@dataclass(frozen=True)
class Effort:
    """How long is measured, and at which sizes.

    blocks: so many of each library, in turns.
    calls, seconds: a block has at least so many calls and lasts at least so long...
    longest: ...but ends with the call that is under way after so many seconds.
    pause: seconds before a block, in which the threads of the last library go to sleep.
    processes: so many runs of what needs a process of its own.
    toy: sizes for a test that everything runs; the times mean nothing.
    deadline: seconds after which nothing new is begun.
    """

    name: str
    blocks: int = 7
    calls: int = 20
    seconds: float = 0.4
    longest: float = float("inf")
    pause: float = 0.1
    processes: int = 15
    toy: bool = False
    deadline: float = float("inf")


FULL = Effort("full")
QUICK = Effort(
    "quick",
    blocks=3,
    seconds=0.04,
    longest=0.2,
    pause=0.05,
    processes=5,
    deadline=100.0,
)
TOY = Effort("toy", blocks=2, calls=2, seconds=0.0, pause=0.0, processes=1, toy=True)


@dataclass
class Measured:
    """One case of a row, by library: seconds, or megabytes, or multiples ("x")."""

    case: str
    unit: str
    median: dict[str, float] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def unsteady(self) -> bool:
        """Whether a median is twice the shortest call: the machine was busy."""
        return any(m > 2.0 * self.least.get(name, m) for name, m in self.median.items())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# What a step computed, in groups: {"loss": [...], "gradients": [...], ...}.
Numbers = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Entry:
    """A library's version of a case.

    step: what is timed.
    numbers: takes one step and returns what it computed, as host arrays.
    """

    step: Callable[[], Any]
    numbers: Callable[[], Numbers]


def side_by_side(
    case: str,
    builders: Mapping[str, Callable[[], Entry]],
    effort: Effort,
    check: bool = True,
) -> Measured:
    """Build each installed library's entry, compare their numbers, and time them."""
    entries = {name: build() for name, build in builders.items() if installed(name)}
    compared = entries if check else {}
    numbers = {name: entry.numbers() for name, entry in compared.items()}
    for name in numbers:
        check_same(case, numbers[OURS], name, numbers[name])
    del numbers  # as large as what is measured
    return timed(case, {name: entry.step for name, entry in entries.items()}, effort)


def check_same(case: str, ours: Numbers, name: str, theirs: Numbers) -> None:
    """Raise ValueError unless both are the same to 1e-4 of an array's largest value.

    An array that should be zero holds rounding errors only (the gradient of the bias of
    attention's keys), so a thousandth of its group's largest value counts at least.
    """
    for group, arrays in ours.items():
        if len(arrays) != len(theirs[group]):
            raise ValueError(
                f"{case}: {len(arrays)} {group} here, {len(theirs[group])} in {name}"
            )
        floor = 1e-3 * max(float(np.max(np.abs(each))) for each in arrays)
        for mine, other in zip(arrays, theirs[group], strict=True):
            scale = max(float(np.max(np.abs(mine))), floor)
            apart = float(np.max(np.abs(np.subtract(mine, other))))
            if np.shape(mine) != np.shape(other) or not apart <= 1e-4 * scale:
                raise ValueError(
                    f"{case}: {group} differ by {apart:.3g} from those of {name}, "
                    f"where the largest is {scale:.3g}"
                )


def timed(
    case: str, steps: Mapping[str, Callable[[], Any]], effort: Effort
) -> Measured:
    """Alternating blocks of calls; the median of a library's blocks' medians."""
    blocks: dict[str, list[list[float]]] = {name: [] for name in steps}
    for turn in range(effort.blocks):
        gc.collect()
        # Each goes first in half of the turns.
        for name in list(steps) if turn % 2 else reversed(list(steps)):
            time.sleep(effort.pause)
            blocks[name].append(_block(steps[name], effort))
    result = Measured(case, "s")
    for name in steps:
        result.median[name] = statistics.median(map(statistics.median, blocks[name]))
        result.least[name] = min(map(min, blocks[name]))
        result.calls[name] = sum(map(len, blocks[name]))
    return result


def _block(step: Callable[[], Any], effort: Effort) -> list[float]:
    """The seconds of each call, after one that is not counted: it wakes the threads."""
    clock = time.perf_counter
    step()
    times: list[float] = []
    begin = clock()
    while True:
        start = clock()
        step()
        end = clock()
        times.append(end - start)
        enough = len(times) >= effort.calls and end - begin >= effort.seconds
        if enough or end - begin >= effort.longest:
            return times
