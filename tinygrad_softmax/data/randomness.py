"""What random choices about data have in common: they are drawn on the host.

One draw of a generator orders a whole epoch, so an epoch's order is known from two
integers, whatever device the batches go to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import Generator, resolve_device
from ..backends.random import default_generator


def checked_generator(name: str, generator: Any) -> Generator:
    """The generator that was given, or the default one for None."""
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        raise TypeError(
            f"{name}: generator was given as a {type(generator).__name__}; expected a "
            "tg.Generator, such as tg.Generator(0), or None for the default one"
        )
    return generator


def next_numbers(generator: Generator | None) -> np.random.Generator:
    """NumPy's generator for the next draw of `generator` (None: the default one)."""
    source = checked_generator("next_numbers", generator)
    return source.next(resolve_device("cpu")[0])


def permutation(n: int, generator: Generator | None) -> np.ndarray:
    """The numbers 0..n - 1 in random order: one draw of `generator`."""
    return next_numbers(generator).permutation(n)
