"""Random numbers whose whole state is two integers.

Draw number `count` of a generator with seed `seed` comes from a fresh bit generator
seeded with both. So a state can be saved, restored, and moved between devices, and a
recomputed forward pass repeats its draws by setting `count` back.

A captured CUDA graph repeats its launches with the very same arguments. `CapturedDraws`
keeps the two integers in the device's memory, where a replay finds new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from .base import Backend


class Draw(NamedTuple):
    """Draw number `number` of a seed: its numbers are a function of both alone.

    generator: who made it, which only a captured graph asks.
    """

    seed: int
    number: int
    generator: Any = None


class Generator:
    """A seeded source of random numbers.

    >>> from tinygrad_softmax.backends import resolve_device
    >>> backend, _ = resolve_device("cpu")
    >>> generator = Generator(0)
    >>> state = generator.state
    >>> first = generator.next(backend).random()
    >>> generator.state = state
    >>> generator.next(backend).random() == first
    True
    """

    __slots__ = ("count", "seed")

    def __init__(self, seed: int = 0) -> None:
        self.manual_seed(seed)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, a non-negative integer."""
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ValueError(f"seed was given as {seed!r}; expected an integer >= 0")
        self.seed, self.count = seed, 0
        return self

    @property
    def state(self) -> tuple[int, int]:
        """(seed, number of draws so far); assign it to go back to that point."""
        return self.seed, self.count

    @state.setter
    def state(self, state: tuple[int, int]) -> None:
        self.seed, self.count = state

    def draw(self) -> Draw:
        """The next draw, for a kernel that makes its numbers."""
        noted, captured = _noted.get(), _captured.get()
        if noted is not None:
            noted.setdefault(self, self.state)
        if captured is not None:
            captured.note(self)
        self.count += 1
        return Draw(self.seed, self.count, self)

    def next(self, backend: Backend):
        """The native random generator of `backend` for the next draw."""
        draw = self.draw()
        return backend.native_generator((draw.seed, draw.number))


default_generator = Generator(0)

States = dict[Generator, tuple[int, int]]
_noted: ContextVar[States | None] = ContextVar("noted draws", default=None)
_captured: ContextVar[CapturedDraws | None] = ContextVar("captured draws", default=None)


@contextmanager
def noting_draws() -> Iterator[States]:
    """Inside: the state of every generator before it was first drawn from here."""
    outer = _noted.get()
    states = {default_generator: default_generator.state}
    token = _noted.set(states)
    try:
        yield states
    finally:
        _noted.reset(token)
        for generator, state in states.items():
            if outer is not None:
                outer.setdefault(generator, state)


@contextmanager
def repeating_draws(states: States) -> Iterator[None]:
    """Inside, generators go on from these states; afterwards, from where they were."""
    now = {generator: generator.state for generator in states}
    captured = _captured.get()
    if captured is not None:
        for generator in states:
            captured.note(generator)
    token = _noted.set(None)  # draws that are repeated are noted already
    _set(states)
    try:
        yield
    finally:
        _set(now)
        _noted.reset(token)


def _set(states: States) -> None:
    for generator, state in states.items():
        generator.state = state


class CapturedDraws:
    """The draws of one CUDA graph: each replay gets those that a call would have got.

    Work is captured once, inside `capturing()`, which launches nothing and so leaves
    the generators as they were. `advance()` before each replay writes the present state
    of every generator that was drawn from to the device, and moves it on by the draws
    of one replay. Saving and restoring a state works as without a graph. Only kernels
    that ask `place` take part: dropout's do, native generators (`tg.randn`) don't.

    >>> from tinygrad_softmax.backends import resolve_device
    >>> draws, generator = CapturedDraws(resolve_device("cpu")[0]), Generator(7)
    >>> with draws.capturing():
    ...     state, number = draws.place(generator.draw())
    >>> number, generator.state
    (1, (7, 0))
    >>> draws.advance()
    >>> state.tolist(), generator.state
    ([7, 0], (7, 1))
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._starts: dict[Generator, tuple[int, int]] = {}  # states before the capture
        self._counts: dict[Generator, int] = {}  # draws of one replay
        # (seed, count) in the memory of each device that draws
        self._states: dict[tuple[Generator, str], Any] = {}

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Inside, draws become places in the device's memory.

        Raises RuntimeError the second time: another graph has draws of its own.
        """
        if self._starts:
            raise RuntimeError(
                "these draws were captured before; mend: make a CapturedDraws for "
                "each graph"
            )
        token = _captured.set(self)
        try:
            yield
        finally:
            _captured.reset(token)
            for generator, start in self._starts.items():
                self._counts[generator] = generator.count - start[1]
                generator.state = start

    def note(self, generator: Generator) -> None:
        """A generator is about to be drawn from."""
        self._starts.setdefault(generator, generator.state)

    def place(self, draw: Draw) -> tuple[Any, int] | None:
        """Where the current device finds seed and count, and what to add to the count.

        None for a draw from before the capture: it stays what it was.
        """
        start = self._starts.get(draw.generator)
        if start is None or draw.number <= start[1]:
            return None
        key = draw.generator, self.backend.device_name()
        if key not in self._states:
            self._states[key] = self.backend.xp.empty(2, "int64")
        return self._states[key], draw.number - start[1]

    def advance(self) -> None:
        """Ready the device's memory for one replay; nothing is waited for."""
        for (generator, device), state in self._states.items():
            with self.backend.on(device):
                state[0], state[1] = signed(generator.seed), generator.count
        for generator, count in self._counts.items():
            generator.count += count


def captured_draws() -> CapturedDraws | None:
    """What is capturing draws now, if anything."""
    return _captured.get()


def signed(seed: int) -> int:
    """A seed as 64 bits with a sign; a longer one is mixed into as many."""
    if seed >> 64:
        seed = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    return seed - (1 << 64) if seed >> 63 else seed


def manual_seed(seed: int) -> Generator:
    """Seed the library's default generator and return it.

    Before any call its seed is 0: runs repeat unless you choose otherwise.

    >>> manual_seed(0).state
    (0, 0)
    """
    return default_generator.manual_seed(seed)
