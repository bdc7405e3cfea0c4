"""Device times of calls, by events: with cold caches, and a device that never waits."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .row import PYTORCH

LEAST_CALLS, MOST_CALLS = 2, 40  # of a library in one turn
LONGEST_LEAD = 5e-3  # seconds by which the host may run ahead

SPIN = r"""
extern "C" __global__ void spin(long long cycles) {
    long long start = clock64();
    while (clock64() - start < cycles) {}
}
"""


@dataclass(frozen=True)
class Effort:
    """How long is measured: so many turns, so many seconds for each library.

    together: so many calls between two events, and no lead: for training steps, whose
    launches are part of the time.
    """

    seconds: float = 0.3
    turns: int = 5
    together: int = 1


@dataclass(frozen=True)
class Step:
    """What is timed: `call(i)` works on set i of the buffers, 0, 1, 2, ... for ever.

    cold: whether the sets by themselves are less than four times the L2 cache, so that
    it has to be overwritten between two calls.
    """

    library: str
    call: Callable[[int], Any]
    cold: bool = False


class Clock(Protocol):
    """`sample` times some calls: (seconds of the device, seconds of the host) of one.

    lead: seconds for which the device is kept busy before, so that what the calls
    launch is waiting when its turn comes.
    """

    def sample(
        self, step: Step, first: int, calls: int, lead: float
    ) -> tuple[float, float]: ...


class CudaClock:
    """Events of the library that is timed; both work on the default stream.

    Before a call, a kernel that only spins keeps the device busy until the host has
    launched everything: what is timed is the device's work, not the host's. A call that
    waits for the device defeats that, and shows as host time.
    """

    def __init__(self, cupy: Any, torch: Any, cache: int) -> None:
        self._cupy, self._torch = cupy, torch
        self._scratch = cupy.empty(4 * cache, "uint8")
        self._spin = cupy.RawKernel(SPIN, "spin")
        self._cycles_a_second = 1e9
        self._keep_busy(1e-4)  # compiles it
        begin, end = self._event(""), self._event("")
        begin.record()
        self._keep_busy(1e-3)
        end.record()
        end.synchronize()
        self._cycles_a_second = 1e6 / self._between("", begin, end)

    def sample(
        self, step: Step, first: int, calls: int, lead: float
    ) -> tuple[float, float]:
        begin, end = self._event(step.library), self._event(step.library)
        if step.cold:
            self._scratch.fill(first % 251)
        if lead:
            self._keep_busy(lead)
        start = time.perf_counter()
        begin.record()
        for i in range(first, first + calls):
            step.call(i)
        end.record()
        host = time.perf_counter() - start
        end.synchronize()
        return self._between(step.library, begin, end) / calls, host / calls

    def _keep_busy(self, seconds: float) -> None:
        cycles = int(seconds * self._cycles_a_second)
        self._spin((1,), (1,), (self._cupy.int64(cycles),))

    def _event(self, library: str) -> Any:
        if library == PYTORCH:
            return self._torch.cuda.Event(enable_timing=True)
        return self._cupy.cuda.Event()

    def _between(self, library: str, begin: Any, end: Any) -> float:
        if library == PYTORCH:
            return begin.elapsed_time(end) * 1e-3
        return self._cupy.cuda.get_elapsed_time(begin, end) * 1e-3


def interleaved(
    clock: Clock, steps: Mapping[str, Step], effort: Effort = Effort()
) -> dict[str, dict[str, float]]:
    """Medians by library, which take turns; each begins half of them."""
    plans = {name: _plan(clock, step, effort) for name, step in steps.items()}
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    position = dict.fromkeys(steps, 0)
    gc.collect()
    gc.disable()
    try:
        for turn in range(effort.turns):
            for name in list(steps) if turn % 2 else reversed(list(steps)):
                count, lead = plans[name]
                for _ in range(count):
                    samples[name].append(
                        clock.sample(steps[name], position[name], effort.together, lead)
                    )
                    position[name] += effort.together
    finally:
        gc.enable()
    return {name: _summary(found, effort) for name, found in samples.items()}


def _plan(clock: Clock, step: Step, effort: Effort) -> tuple[int, float]:
    """After a warm-up: how many samples in a turn, and how long a lead each needs."""
    clock.sample(step, 0, 1, 0.0)
    warm = [clock.sample(step, i, 1, 0.0) for i in (1, 2)]
    device = min(each[0] for each in warm)
    host = min(each[1] for each in warm)
    lead = 0.0 if effort.together > 1 else min(2.0 * host + 2e-5, LONGEST_LEAD)
    each = max(max(device, host) * effort.together + lead, 1e-6)
    count = int(effort.seconds / effort.turns / each)
    return max(LEAST_CALLS, min(MOST_CALLS, count)), lead


def _summary(samples: list[tuple[float, float]], effort: Effort) -> dict[str, float]:
    device, host = zip(*samples)
    return {
        "device": statistics.median(device),
        "least": min(device),
        "host": statistics.median(host),
        "calls": len(samples) * effort.together,
    }
