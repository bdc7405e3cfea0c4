"""Faults to plant in the kernels; test_cuda_faults.py demands that each is caught.

A fault replaces a text that is once in the file. It is caught when the case, which
passes without it, fails in any of the schedules.
"""

from __future__ import annotations

from typing import NamedTuple

from cuda_cases import (
    Case,
    activations_case,
    bias_case,
    cast_case,
    dropout_case,
    few_blocks_across,
    gelu_tails,
    softmax_case,
    softmax_vjp_case,
)
from cuda_cross_entropy import Case as CrossEntropy
from cuda_cross_entropy import confident_rows


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
        "denominator.cuh",
        "return {to, (s + count) * exp(m - to), W(0)};",
        "return {to, s * exp(m - to), W(0)};",
        "the old maximum itself is lost when a larger one comes",
        HUGE,
    ),
    Fault(
        "denominator.cuh",
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

SCALARS = CrossEntropy(shape=(9, 100), axis=1)
IN_PARTS = CrossEntropy(shape=(1, 8200), axis=1)
LONG = CrossEntropy(shape=(4, 17001), axis=1)
OPTIONS = CrossEntropy(
    (9, 40), 1, ignore_index=3, weighted=True, smoothing=0.1, reduction="none"
)
FAULTS += [
    Fault("cross_entropy.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "W u[VECTOR];\n#if KIND != VALUES\n        goal.shares(column, u);",
            "W u[VECTOR];\n#if KIND != VALUES\n        goal.shares(column + 1, u);",
            "y is subtracted one column too early",
            SCALARS,
        ),
        (
            "return e * scale - u;",
            "return e * scale + u;",
            "y-hat plus y",
            SCALARS,
        ),
        (
            "(others_at_top - u * s) / (W(1) + s) + zero_at_top",
            "e * scale - u + zero_at_top",
            "y-hat minus y is not protected where it cancels",
            confident_rows,
        ),
        (
            "if (!r.kept) return narrow<T>(W(0));",
            "",
            "an ignored row has a gradient",
            CrossEntropy((9, 40), 1, ignore_index=3),
        ),
        (
            "if (!goal.kept) r.loss = W(0);",
            "",
            "an ignored row has a loss",
            OPTIONS,
        ),
        (
            "out.others = others + top;",
            "out.others = others;",
            "the old maximum's share is lost when a larger logit comes",
            CrossEntropy((4, 17001), 1, smoothing=0.5),
        ),
        (
            "out.product = product + out.others * (of.m - m);",
            "out.product = product;",
            "what was seen is not put under the new maximum",
            CrossEntropy((4, 17001), 1, smoothing=0.5),
        ),
        (
            "const i64 left = (end - start + step - 1) / step;",
            "const i64 left = (end - start) / step;",
            "a long row's tail is left out",
            LONG,
        ),
        (
            "i < (int)gridDim.x; i++) seen = SeenTogether()",
            "i < (int)gridDim.x - 1; i++) seen = SeenTogether()",
            "the last part of a row is forgotten",
            IN_PARTS,
        ),
        (
            "number / inner * columns * inner + number % inner",
            "number / inner * columns + number % inner",
            "the second image begins inside the first",
            CrossEntropy((2, 3, 4), 1),
        ),
    ]
]
FAULTS += [
    Fault("loss_sums.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "if (ignoring && label == ignored) continue;",
            "",
            "ignored rows are counted",
            CrossEntropy((9, 40), 1, ignore_index=3),
        ),
        (
            "weights ? (double)weights[label] : 1.0",
            "1.0",
            "the mean divides by rows, not by weights",
            CrossEntropy((9, 40), 1, weighted=True),
        ),
        (
            "i < count; i += blockDim.x",
            "i < count - 1; i += blockDim.x",
            "the last block's sum is left out",
            CrossEntropy((20000, 2), 1),
        ),
    ]
]

HALVES = activations_case(515, "float16", 3)
SINGLES = activations_case(1025, "float32", 0)
DOUBLES = activations_case(1030, "float64", 0)
FAULTS += [
    Fault(file, old, new, why, case)
    for file, old, new, why, case in [
        (
            "activations.cuh",
            "at = x > W(0) ? large : small;",
            "at = large;",
            "the logistic function of a negative number is that of its size",
            HALVES,
        ),
        (
            "activations.cuh",
            "x > W(0) ? s.small : s.large",
            "x > W(0) ? s.large : s.small",
            "1 - sigmoid is sigmoid",
            HALVES,
        ),
        (
            "activations.cuh",
            "return fma(N(-0.5) * lost, e, e);",
            "return fma(N(0) * lost, e, e);",
            "the digits that x * x loses are lost",
            gelu_tails,
        ),
        (
            "activations.cuh",
            "p = fma(p, a, 0.43867425738206206f);",
            "p = fma(p, a, 0.43867f);",
            "a coefficient has five digits",
            SINGLES,
        ),
        (
            "activations.cuh",
            "W(1) + W(3 * TANH_CUBIC) * square",
            "W(1) + W(TANH_CUBIC) * square",
            "x^3 has the slope x^2",
            DOUBLES,
        ),
        (
            "activations.cu",
            "return of_g * (W(1) - v * v);",
            "return of_g * (W(1) - v);",
            "tanh's slope is 1 - tanh",
            HALVES,
        ),
        (
            "flat.cuh",
            "at < end; at += blockDim.x",
            "at < end - 1; at += blockDim.x",
            "the last element is left out",
            SINGLES,
        ),
        (
            "flat.cuh",
            "load<VECTOR>(in[i] + mine + k * step)",
            "load<VECTOR>(in[i] + mine)",
            "a thread reads its first pack twice",
            SINGLES,
        ),
        (
            "flat.cuh",
            "const bool aligned = addresses % sizeof(Pack<T, VECTOR>) == 0;",
            "const bool aligned = true;",
            "16 bytes are read at any address",
            activations_case(4103, "bfloat16", 1),
        ),
        (
            "cast.cu",
            "at < n; at += threads) out[at]",
            "at < n - 1; at += threads) out[at]",
            "the last element is left out",
            cast_case(2050, "float16", 0),
        ),
        (
            "cast.cu",
            "const long long whole = aligned ? n / CAST_PACK : 0;",
            "const long long whole = aligned || n ? n / CAST_PACK : 0;",
            "8 bytes are read at any address",
            cast_case(1030, "bfloat16", 2),
        ),
    ]
]

TILES = bias_case(130, 33, "float32", 0)
WIDE_TILES = bias_case(65, 132, "float32", 0)
FAULTS += [
    Fault("bias_activations.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "first + of_tile < n ? first + of_tile : n;",
            "first + of_tile < n ? first + of_tile : n - 1;",
            "the last row is left out",
            TILES,
        ),
        (
            "        __syncthreads();\n        if (threadIdx.y == 0 && exists) {",
            "        if (threadIdx.y == 0 && exists) {",
            "the barrier between writing and adding up the threads' sums is gone",
            TILES,
        ),
        (
            "        __syncthreads();  // of_threads may be written to again\n",
            "",
            "the barrier before the next columns is gone",
            few_blocks_across,
        ),
        (
            "k < DEEP; k++) sum",
            "k < DEEP - 1; k++) sum",
            "the last thread's rows are not in the bias's gradient",
            TILES,
        ),
        (
            "tile < tiles; tile += SUMMING",
            "tile < tiles - 1; tile += SUMMING",
            "the last tile is not in the bias's gradient",
            TILES,
        ),
        (
            "    __syncthreads();\n    if (threadIdx.y || column >= columns) return;",
            "    if (threadIdx.y || column >= columns) return;",
            "the barrier between writing and adding up the tiles' sums is gone",
            TILES,
        ),
        (
            "return v > W(0) ? of_g : W(0);",
            "return v >= W(0) ? of_g : W(0);",
            "relu has a slope where it is 0",
            TILES,
        ),
        (
            "pack.at[i] = bias[i];",
            "pack.at[i] = bias[0];",
            "a bias that is not aligned is that of one column",
            WIDE_TILES,
        ),
    ]
]

DROPPED = dropout_case(1025, "float32", 0)
FAULTS += [
    Fault("dropout.cu", old, new, why, case)
    for old, new, why, case in [
        ("round < 10", "round < 9", "nine rounds", DROPPED),
        (
            "(unsigned)(draw >> 32)};",
            "0u};",
            "draws 2^32 apart drop the same",
            DROPPED,
        ),
        (
            "to[i + j] = words.at[j];",
            "to[i + j] = words.at[3 - j];",
            "the order of words depends on how many are taken",
            DROPPED,
        ),
        (
            "to[0] = first & 2 ? words.at[2] : words.at[0];",
            "to[0] = words.at[0];",
            "two numbers of four share a word",
            dropout_case(1030, "float64", 0),
        ),
        (
            "if (first + i == next) {",
            "if (first + i == next + 1) {",
            "a channel begins one element too late",
            DROPPED,
        ),
    ]
]
