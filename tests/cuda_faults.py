"""Faults to plant in the kernels; test_cuda_faults.py demands that each is caught.

A fault replaces a text that is once in the file. It is caught when the case, which
passes without it, fails in any of the schedules.
"""

from __future__ import annotations

from typing import NamedTuple

from cuda_attention_cases import FAULTS as ATTENTION
from cuda_cases import Case, softmax_case, softmax_vjp_case
from cuda_scatter_cases import FAULTS as SCATTER
from cuda_window_cases import FAULTS as WINDOWS


class Fault(NamedTuple):
    """In `file`, `old` becomes `new`."""

    file: str
    old: str
    new: str
    why: str
    case: Case


SMALL = softmax_case(9, 100, "float32", 0)
SCALAR = softmax_case(3, 257, "float32", 0)
LARGE = softmax_case(2, 1032, "bfloat16", 3)
HUGE = softmax_case(1, 17001, "float32", 0)
BLOCKS = softmax_case(2, 2050, "float64", 0)
GRADIENT = softmax_vjp_case(9, 100, "float32", 0)

FAULTS = [
    Fault(
        "common.cuh",
        "distance = count >> 1; distance; distance >>= 1",
        "distance = count >> 2; distance; distance >>= 1",
        "a shuffle reaches half of the lanes",
        SMALL,
    ),
    Fault(
        "common.cuh",
        "of_warps[first + threadIdx.x / 32] = value;\n    __syncthreads();",
        "of_warps[first + threadIdx.x / 32] = value;",
        "the barrier between writing and reading the warps' values is gone",
        BLOCKS,
    ),
    Fault(
        "common.cuh",
        "    __syncthreads();  // of_warps may be written to again\n",
        "",
        "the barrier before the next reduction is gone",
        BLOCKS,
    ),
    Fault(
        "common.cuh",
        "if (column < columns) f(k, column);",
        "if (column < columns - 1) f(k, column);",
        "the tail is off by one",
        SCALAR,
    ),
    Fault(
        "common.cuh",
        "c < columns; c += step) f(c);",
        "c + step < columns; c += step) f(c);",
        "the last pack of a long row is left out",
        HUGE,
    ),
    Fault(
        "common.cuh",
        "const long long row = first + threadIdx.y;",
        "const long long row = first;",
        "only the first row of a block is done",
        SMALL,
    ),
    Fault(
        "softmax.cu",
        "return {to, (s + count) * exp(m - to), W(0)};",
        "return {to, s * exp(m - to), W(0)};",
        "the old maximum itself is lost when a larger one comes",
        HUGE,
    ),
    Fault(
        "softmax.cu",
        "return s + larger(count - W(1), W(0));",
        "return s;",
        "a second maximum counts for nothing",
        softmax_case(1, 3, "float32", 0),
    ),
    Fault(
        "softmax_vjp.cu",
        "[](W of_g, W of_y, W sum) { return of_y * (of_g - sum); }",
        "[](W of_g, W of_y, W sum) { return of_y * (of_g + sum); }",
        "a sign",
        GRADIENT,
    ),
]

FAULTS += [Fault(*each) for each in ATTENTION + SCATTER + WINDOWS]
