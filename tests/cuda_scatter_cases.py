"""Cases of scatter.cu for the sanitizers, and faults that they catch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cuda_checks import assert_close, draw_array, on_device, wide

from tinygrad_softmax.backends import use_deterministic_algorithms

Check = Callable[[Any], None]


def adding(
    outer: int, n: int, rows: int, inner: int, dtype: str, shift: int, sort: bool
) -> Check:
    """Rows that are added at random indices, also out of range and below 0."""

    def check(backend: Any) -> None:
        rng = np.random.default_rng(n)
        out = draw_array(rng, (outer, rows, inner), dtype)
        index = rng.integers(-rows, 2 * rows, n)
        values = draw_array(rng, (outer, n, inner), dtype)
        at = (slice(None), index % rows)
        expected, scale = wide(out), abs(wide(out))
        np.add.at(expected, at, wide(values))
        np.add.at(scale, at, abs(wide(values)))
        got = on_device(backend, out, shift)
        given = (slice(None), backend.xp.asarray(index))
        use_deterministic_algorithms(sort)
        try:
            backend.scatter_add(got, given, backend.xp.asarray(values))
        finally:
            use_deterministic_algorithms(False)
        assert_close(got, expected, dtype, 8, scale)

    return check


CASES = [
    adding(*sizes, sort=sort)
    for sort in (False, True)
    for sizes in (
        (1, 1, 1, 1, "float64", 0),
        (2, 70, 3, 5, "float32", 0),
        (1, 70, 40, 4, "float32", 0),
        (3, 33, 2, 40, "bfloat16", 0),
        (1, 100, 9, 136, "float16", 0),
        (1, 50, 4, 8, "float16", 1),
        (1, 2, 5, 600, "float32", 0),
    )
]

ATOMIC = adding(2, 70, 3, 5, "float32", 0, sort=False)
SORTED = adding(2, 70, 3, 5, "float32", 0, sort=True)
ONE_ROW = adding(1, 100, 1, 4, "float32", 0, sort=True)
FEW = adding(1, 17, 40, 4, "float32", 0, sort=True)
FAULTS = [
    ("scatter.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "        if (i < 0) i += rows;\n",
            "        if (i < 0) i = -i;\n",
            "a negative index counts from the start",
            ATOMIC,
        ),
        (
            "const T* from = values + (o * n + j) * inner;",
            "const T* from = values + j * inner;",
            "every part adds the values of the first",
            ATOMIC,
        ),
        (
            "            is_first = false;\n",
            "",
            "the second run of a chunk is taken for the one that came",
            SORTED,
        ),
        (
            "} else if (end < n && keys[end] == row) {",
            "} else if (false) {",
            "a run that goes on is not left to the borders",
            ONE_ROW,
        ),
        (
            "if (keys[end] != row || (begin > 0 && keys[begin - 1] == row)) return;",
            "if (keys[end] != row) return;",
            "a chunk in the middle of a run adds the rest of it again",
            ONE_ROW,
        ),
        (
            "goes_on = goes_on && d + a < chunks && key[a] == row;",
            "goes_on = goes_on && d + a < chunks && key[a] >= row;",
            "a run takes all that comes after it",
            SORTED,
        ),
        (
            "if (s + a < end) {\n                        if (key[a] != row)",
            "if (s + a < end - 1) {\n                        if (key[a] != row)",
            "the last of a chunk is lost",
            FEW,
        ),
    ]
]
