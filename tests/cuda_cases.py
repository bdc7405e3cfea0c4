"""For every file of kernels: awkward cases, which run in the sanitized build too.

A case takes the backend and raises if a result is wrong. `CASES[file]` are run by
test_cuda_sanitized.py under AddressSanitizer and UndefinedBehaviorSanitizer, in the
schedules of `cuda_shim`; test_cuda_faults.py plants faults that they must catch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide
from cuda_cross_entropy import CASES as CROSS_ENTROPY
from cuda_optimizers import CASES_OF_GRADIENTS, CASES_OF_UPDATES

Case = Callable[[Any], None]
CASES: dict[str, list[Case]] = {}


def case(file: str) -> Callable[[Case], Case]:
    """Add a case for a file."""

    def add(function: Case) -> Case:
        CASES.setdefault(file, []).append(function)
        return function

    return add


# (rows, columns, dtype, elements past a multiple of 16 bytes): rows that are no
# multiple of a block's, every way of holding a row, tails, and addresses that forbid 16
# bytes.
ROWS = [
    (1, 1, "float64", 0),
    (17, 3, "float32", 0),
    (19, 8, "float16", 0),
    (5, 8, "bfloat16", 1),
    (9, 100, "float32", 0),
    (3, 257, "float32", 0),
    (3, 1032, "float16", 0),
    (2, 1032, "bfloat16", 3),
    (2, 2050, "float64", 0),
    (1, 17001, "float32", 0),
    (2, 16392, "float16", 0),
]


def rows(n: int, columns: int, dtype: str, scale: float = 3.0) -> np.ndarray:
    return draw_array(np.random.default_rng(columns), (n, columns), dtype, scale)


def softmax_case(n: int, columns: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        x = rows(n, columns, dtype)
        x[-1, -1] = x[0, 0] = 9.0  # the largest, where loops begin and end
        given = on_device(backend, x, shift)
        for name in ("softmax", "log_softmax", "logsumexp"):
            expected = getattr(REFERENCE, name)(wide(x))
            assert_close(getattr(backend, name)(given), expected, dtype, 40)

    return check


def softmax_vjp_case(n: int, columns: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        g = rows(n, columns, dtype)
        p = rows(n, columns, dtype, 0.1)  # (any numbers serve)
        given = on_device(backend, g, shift), on_device(backend, p)
        for name in ("softmax_vjp", "log_softmax_vjp"):
            expected = getattr(REFERENCE, name)(wide(g), wide(p))
            scale = 2 * abs(wide(g)).sum(axis=1, keepdims=True)
            assert_close(getattr(backend, name)(*given), expected, dtype, 8, scale)

    return check


for _each in ROWS:
    case("softmax.cu")(softmax_case(*_each))
    case("softmax_vjp.cu")(softmax_vjp_case(*_each))

for _each in CROSS_ENTROPY:
    case("cross_entropy.cu")(_each)
    case("loss_sums.cu")(_each)

for _each in CASES_OF_UPDATES:
    case("optimizers.cu")(_each)
for _each in CASES_OF_GRADIENTS:
    case("gradients.cu")(_each)
