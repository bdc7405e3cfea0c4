"""What the CUDA kernels of optimizers are held against: the plain code, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide, working
from optim_tools import make, make_parameters

SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum")


def rule_of(kind: str, name: str, step: int = 3) -> tuple[Any, list[str]]:
    """The rule of an optimizer's step, and its state arrays."""
    optimizer = make(kind, name, make_parameters([(1,)]))
    group = optimizer.param_groups[0]
    numbers = {"step": step, "mu_product": 0.9**step, "is_first": step == 1}
    return optimizer.rule(group, numbers), optimizer.arrays_of(group)


@dataclass(frozen=True)
class Update:
    """One step for parameters of these sizes."""

    kind: str
    name: str
    sizes: tuple[int, ...]
    dtype: str = "float32"
    step: int = 3
    gap: int = 0  # elements of the flat arrays before each parameter
    shift: int = 0  # of the gradients, past a multiple of 16 bytes
    seed: int = 0

    def __call__(self, backend: Any) -> None:
        rng = np.random.default_rng(self.seed)
        rule, names = rule_of(self.kind, self.name, self.step)
        ends = np.cumsum([self.gap + size for size in self.sizes])
        places = [int(end) - size for end, size in zip(ends, self.sizes)]
        total = int(ends[-1]) + 5
        values = draw_array(rng, total, self.dtype)
        state = {name: self.drawn(rng, name, total) for name in names}
        grads = [draw_array(rng, size, self.dtype, 1.0) for size in self.sizes]

        flat = on_device(backend, values)
        arrays = {name: on_device(backend, each) for name, each in state.items()}
        given = [on_device(backend, each, self.shift) for each in grads]
        backend.update_at_once(rule, flat, arrays, places, given)

        expected = {"": wide(values)} | {name: wide(state[name]) for name in names}
        scale = 4.0 + abs(expected[""])
        REFERENCE.update_at_once(
            rule,
            expected[""],
            {k: expected[k] for k in names},
            places,
            list(map(wide, grads)),
        )
        for name, before in ({"": values} | state).items():
            got = (flat if name == "" else arrays[name]).get()
            assert_close(got, expected[name], self.dtype, 16, scale)
            assert_untouched(got, before, places, self.sizes)
        for one, other in zip(given, grads):
            np.testing.assert_array_equal(one.get(), other)

    def drawn(self, rng: np.random.Generator, name: str, total: int) -> np.ndarray:
        """State that steps could have left: no square is below one of a mean."""
        drawn = rng.normal(size=total)
        if name in SQUARES:
            drawn = 4.0 + drawn * drawn
        return (drawn if name in SQUARES else drawn / 4).astype(
            draw_array(rng, 0, self.dtype).dtype
        )


def assert_untouched(got: Any, before: Any, places: Any, sizes: Any) -> None:
    """What lies outside of the parameters has kept every bit."""
    outside = np.ones(len(got), bool)
    for place, size in zip(places, sizes):
        outside[place : place + size] = False
    np.testing.assert_array_equal(got[outside], before[outside])


@dataclass(frozen=True)
class Gradients:
    """Gradients of these sizes: their norm, clipped, and unscaled."""

    sizes: tuple[int, ...]
    dtype: str = "float32"
    shift: int = 0
    seed: int = 0

    def __call__(self, backend: Any) -> None:
        host, given = self.drawn(backend)
        every = np.concatenate([wide(each) for each in host])
        expected = np.sqrt(every @ every)
        (got,) = backend.vector_norms(given, 2.0)
        assert_close(got, np.asarray(expected), working(self.dtype).name, 8)

        for bound in (expected / 3, expected * 1.5):
            (norm,) = backend.vector_norms(given, 2.0)
            backend.clip_to_norm(given, norm, float(bound))
            factor = min(1.0, bound / (expected + 1e-6))
            for one, other in zip(given, host):
                assert_close(one, wide(other) * factor, self.dtype, 16)
            host, given = self.drawn(backend)

        finite = backend.unscale(given, 0.75)
        assert (finite.dtype, finite.shape, bool(finite.get())) == (np.bool_, (), True)
        for one, other in zip(given, host):
            assert_close(one, wide(other) * 0.75, self.dtype, 1)

    def drawn(self, backend: Any) -> tuple[list[Any], list[Any]]:
        """On the host and on the device."""
        rng = np.random.default_rng(self.seed)
        host = [draw_array(rng, size, self.dtype) for size in self.sizes]
        return host, [on_device(backend, each, self.shift) for each in host]


def not_finite(backend: Any) -> None:
    """One number that is inf or nan, wherever it is, is seen by `unscale`."""
    for dtype, at, bad in [
        ("float32", 0, np.inf),
        ("float32", 5000, np.nan),
        ("float16", 8191, -np.inf),
        ("bfloat16", 8193, np.nan),
        ("float64", 4096, np.inf),
    ]:
        x = draw_array(np.random.default_rng(0), 8194, dtype)
        x[at] = bad
        given = on_device(backend, x)
        finite = backend.unscale([given], 0.5)
        assert not finite.get()
        assert_close(given, wide(x) * 0.5, dtype, 1)


AWKWARD = (3, 0, 4096, 17, 4101, 1)
CASES_OF_UPDATES = [
    Update("SGD", "plain", AWKWARD),
    Update("SGD", "all", AWKWARD, "bfloat16", gap=1),
    Update("SGD", "dampening", (9,), "float16", step=1, shift=1),
    Update("Adam", "all", AWKWARD, "float64", gap=2),
    Update("Adam", "plain", (2,) * 170, "float16"),
    Update("AdamW", "all", (8200,), shift=3),
    Update("NAdam", "all", AWKWARD),
    Update("RAdam", "all", (12, 8), step=1),
    Update("RAdam", "all", (12, 8), step=30),
    Update("RMSprop", "all", AWKWARD, gap=1),
    Update("RMSprop", "plain", (5, 8), "bfloat16"),
    Update("Adagrad", "all", (4100,)),
    Update("Adadelta", "all", (31, 64), "float16"),
]
CASES_OF_GRADIENTS = [
    Gradients((3, 4096, 17, 4101, 1)),
    Gradients((8193,), "float16", shift=1),
    Gradients((2,) * 170, "bfloat16"),
    Gradients((5, 16384), "float64"),
    not_finite,
]
