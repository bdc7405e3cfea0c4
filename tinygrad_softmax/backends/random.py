"""Random numbers whose whole state is two integers.

Draw number `count` of a generator with seed `seed` comes from a fresh bit generator
seeded with both. So a state can be saved, restored, and moved between devices, and a
recomputed forward pass repeats its draws by setting `count` back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .base import Backend


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

    def next(self, backend: Backend):
        """The native random generator of `backend` for the next draw."""
        noted = _noted.get()
        if noted is not None:
            noted.setdefault(self, self.state)
        self.count += 1
        return backend.native_generator((self.seed, self.count))


default_generator = Generator(0)

States = dict[Generator, tuple[int, int]]
_noted: ContextVar[States | None] = ContextVar("noted draws", default=None)


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


def manual_seed(seed: int) -> Generator:
    """Seed the library's default generator and return it.

    Before any call its seed is 0: runs repeat unless you choose otherwise.

    >>> manual_seed(0).state
    (0, 0)
    """
    return default_generator.manual_seed(seed)
