"""The GPU report's lab without a GPU: the strict double of CuPy, PyTorch's CPU or none.

Rows run in it at toy sizes. It says that their code is right, and nothing of a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import strict_cupy

import tinygrad_softmax as tg
from benchmarks.gpu.lab import Lab
from benchmarks.gpu.timing import Step

CACHE = 1 << 8  # bytes, so that a few sets are made


class ToyClock:
    """Calls each step and says that it took a second, so that few calls are made."""

    def sample(
        self, step: Step, first: int, calls: int, lead: float
    ) -> tuple[float, float]:
        for i in range(first, first + calls):
            step.call(i)
        return 1.0, 1.0


def share(array: Any) -> Any:
    """A PyTorch tensor over the memory of an array of the double."""
    import torch

    return torch.from_numpy(array.host)


class MemoryHook:
    """CuPy's: what its methods are called with is not pretended here."""

    def __enter__(self) -> MemoryHook:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


@contextmanager
def toy_lab(torch: ModuleType | None) -> Iterator[Lab]:
    with strict_cupy.strict_cuda(), np.errstate(all="ignore"):
        cupy, _ = strict_cupy.make_modules()
        tg.manual_seed(0)
        cupy.cuda.MemoryHook = MemoryHook  # type: ignore[attr-defined]
        yield Lab(cupy, tg, torch, ToyClock(), CACHE, share=share, toy=True)


def toy_torch() -> SimpleNamespace:
    """PyTorch, whose compiler is not used: it would compile C++ for each row."""
    import torch

    toy = SimpleNamespace(**vars(torch))
    toy.compiler = SimpleNamespace(reset=lambda: None)
    toy.compile = lambda function, **options: function
    toy.cuda = SimpleNamespace(
        reset_peak_memory_stats=lambda: None,
        max_memory_allocated=lambda: 1,
        max_memory_reserved=lambda: 2,
    )
    return toy
