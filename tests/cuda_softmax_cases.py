"""Softmax on a CUDA device: awkward rows, and faults of its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from cuda_checks import REFERENCE, Case, assert_close, draw_array, on_device, wide

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


CASES = [
    each
    for row in ROWS
    for each in (
        ("softmax.cu", softmax_case(*row)),
        ("softmax_vjp.cu", softmax_vjp_case(*row)),
    )
]

SMALL = softmax_case(9, 100, "float32", 0)
SCALAR = softmax_case(3, 257, "float32", 0)
LARGE = softmax_case(2, 1032, "bfloat16", 3)
HUGE = softmax_case(1, 17001, "float32", 0)
BLOCKS = softmax_case(2, 2050, "float64", 0)
GRADIENT = softmax_vjp_case(9, 100, "float32", 0)

FAULTS = [
    (
        "common.cuh",
        "distance = count >> 1; distance; distance >>= 1",
        "distance = count >> 2; distance; distance >>= 1",
        "a shuffle reaches half of the lanes",
        SMALL,
    ),
    (
        "common.cuh",
        "of_warps[first + threadIdx.x / 32] = value;\n    __syncthreads();",
        "of_warps[first + threadIdx.x / 32] = value;",
        "the barrier between writing and reading the warps' values is gone",
        BLOCKS,
    ),
    (
        "common.cuh",
        "    __syncthreads();  // of_warps may be written to again\n",
        "",
        "the barrier before the next reduction is gone",
        BLOCKS,
    ),
    (
        "common.cuh",
        "if (column < columns) f(k, column);",
        "if (column < columns - 1) f(k, column);",
        "the tail is off by one",
        SCALAR,
    ),
    (
        "common.cuh",
        "c < columns; c += step) f(c);",
        "c + step < columns; c += step) f(c);",
        "the last pack of a long row is left out",
        HUGE,
    ),
    (
        "common.cuh",
        "const long long row = first + threadIdx.y;",
        "const long long row = first;",
        "only the first row of a block is done",
        SMALL,
    ),
    (
        "denominator.cuh",
        "return {to, (s + count) * exp(m - to), W(0)};",
        "return {to, s * exp(m - to), W(0)};",
        "the old maximum itself is lost when a larger one comes",
        HUGE,
    ),
    (
        "denominator.cuh",
        "return s + larger(count - W(1), W(0));",
        "return s;",
        "a second maximum counts for nothing",
        softmax_case(1, 3, "float32", 0),
    ),
    (
        "softmax_vjp.cu",
        "[](W of_g, W of_y, W sum) { return of_y * (of_g - sum); }",
        "[](W of_g, W of_y, W sum) { return of_y * (of_g + sum); }",
        "a sign",
        GRADIENT,
    ),
]
