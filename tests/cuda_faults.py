"""Faults to plant in the kernels; test_cuda_faults.py demands that each is caught.

A fault replaces a text that is once in the file. It is caught when the case, which
passes without it, fails in any of the schedules.
"""

from __future__ import annotations

from typing import NamedTuple

from cuda_attention_cases import FAULTS as ATTENTION
from cuda_cases import (
    Case,
    channel_case,
    equal_terms_case,
    far_from_zero_case,
    norm_case,
    norm_grad_case,
    softmax_case,
    softmax_vjp_case,
)
from cuda_cross_entropy import Case as CrossEntropy
from cuda_cross_entropy import confident_rows
from cuda_flat_cases import FAULTS as FLAT
from cuda_optimizer_faults import FAULTS as OPTIMIZERS
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
            "i < (int)gridDim.x; i += mine.count",
            "i < (int)gridDim.x - 1; i += mine.count",
            "the last part of a row is forgotten",
            IN_PARTS,
        ),
        (
            "f(first, left < FEW ? (int)left : FEW);",
            "f(first, left < FEW ? (int)left - 1 : FEW);",
            "the last class on another axis is left out",
            CrossEntropy((2, 11, 3), 1),
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
            "if (ignoring && label[j] == ignored) continue;",
            "",
            "ignored rows are counted",
            CrossEntropy((9, 40), 1, ignore_index=3),
        ),
        (
            "weights && is_class ? weights[label[j]] : W(1)",
            "weights && is_class ? W(1) : W(1)",
            "the mean divides by rows, not by weights",
            CrossEntropy((9, 40), 1, weighted=True),
        ),
        (
            "first += AT_ONCE * blockDim.x",
            "first += (AT_ONCE + 1) * blockDim.x",
            "some rows of many are left out",
            CrossEntropy((6000, 2), 1),
        ),
        (
            "i < count; i += blockDim.x",
            "i < count - 1; i += blockDim.x",
            "the last block's sum is left out",
            CrossEntropy((20000, 2), 1),
        ),
    ]
]

NORM = norm_case(9, 100, "float32", 0)
LONG_NORM = norm_case(2, 17001, "float32", 0)
MIXED_NORM = norm_case(3, 1032, "float16", 0)
ALL = (True, True, True)
NORM_GRADIENT = norm_grad_case(9, 100, "float32", 0, ALL)
NORM_COLUMNS = norm_grad_case(37, 8200, "float32", 0, ALL)
LONG_DX = norm_grad_case(2, 17001, "float32", 0, (True, False, False))

FAULTS += [
    Fault(
        "norms.cuh",
        "lost = (more - sum) - less;",
        "lost = less - (more - sum);",
        "what was rounded off is added twice, not taken back",
        equal_terms_case(4000, 3),
    ),
    Fault(
        "norms.cuh",
        "return {x.a + y.a, x.b + y.b};",
        "return {x.a + y.a, x.b};",
        "the second sum of a pair stays in its lane",
        NORM_GRADIENT,
    ),
    Fault(
        "norms.cuh",
        "} else if (wide) {",
        "} else if (!wide) {",
        "weights are read as another type",
        MIXED_NORM,
    ),
    Fault(
        "moments.cuh",
        "squares += between(a.count, a.mean(), b.count, b.mean());",
        "squares += W(0);",
        "how far the lanes' means are apart counts for nothing",
        LONG_NORM,
    ),
    Fault(
        "moments.cuh",
        "if (count != W(0)) spread += between(count, before, more, of_batch);",
        "if (count == W(0)) spread += between(count, before, more, of_batch);",
        "how far the batches' means are apart counts for nothing",
        norm_case(2, 70000, "float32", 0),
    ),
    Fault(
        "moments.cuh",
        "const W more = (W)n, mean",
        "const W more = (W)N, mean",
        "the last batch is counted as a full one",
        LONG_NORM,
    ),
    Fault(
        "norms.cu",
        "if (staged) store_shared<VECTOR>(staged + column, in);",
        "if (staged && !b) store_shared<VECTOR>(staged + column, in);",
        "only the first pack of a batch is kept",
        LONG_NORM,
    ),
    Fault(
        "norms.cu",
        "sqrt(squares / (W)columns + eps)",
        "sqrt(squares / (W)(columns - 1) + eps)",
        "the unbiased variance",
        NORM,
    ),
    Fault(
        "norms_vjp.cuh",
        "const W less = CENTRED ? h - along.a : h;",
        "const W less = h;",
        "the mean of h is not taken away",
        NORM_GRADIENT,
    ),
    Fault(
        "norms_vjp.cu",
        "const W of_g = exists ? held_g.at[k + i] : W(0);",
        "const W of_g = held_g.at[k + i];",
        "the last row is added again by lanes that have none",
        NORM_GRADIENT,
    ),
    Fault(
        "norms_vjp.cu",
        "    __syncthreads();  // the buffer may be written to again\n",
        "",
        "the barrier before the buffer's next use is gone",
        NORM_GRADIENT,
    ),
    Fault(
        "norms_vjp.cu",
        "partials += blockIdx.x * columns * (CENTRED ? 2 : 1);",
        "partials += blockIdx.x * columns;",
        "blocks write over each other's sums",
        norm_grad_case(70, 100, "float32", 0, ALL),
    ),
    Fault(
        "norms_dx.cu",
        "if (staged) row_g = staged, row_x = staged + columns;",
        "if (staged) row_g = row_x = staged;",
        "g is taken for x",
        LONG_DX,
    ),
    Fault(
        "norms_columns.cu",
        "const long long first = blockIdx.y * rows, end = min(first + rows, n);",
        "const long long first = blockIdx.y * rows, end = min(first + rows, n - 1);",
        "the last row is left out",
        NORM_COLUMNS,
    ),
    Fault(
        "norms_columns.cu",
        "for (int row = 0; row < (int)blockDim.y; row++) all.add",
        "for (int row = 1; row < (int)blockDim.y; row++) all.add",
        "the first of a block's rows is left out",
        NORM_COLUMNS,
    ),
]

MOMENTS_BY_COLUMNS = channel_case((90, 5), "float32")
MOMENTS_BY_PLACES = channel_case((5, 7, 49), "float32")
LONG_CHANNEL = channel_case((1, 2, 20_000), "float32")
ODD_CHANNELS = channel_case((3, 5, 7), "float32")

FAULTS += [
    Fault(
        "channel_sums.cu",
        "row < end; row += ROWS * blockDim.y)",
        "row < end; row += blockDim.y)",
        "rows are added again",
        MOMENTS_BY_COLUMNS,
    ),
    Fault(
        "channel_sums.cu",
        "if (place >= right) {",
        "if (place > right) {",
        "a lane reads past the part's places",
        LONG_CHANNEL,
    ),
    Fault(
        "channel_sums.cu",
        "sample += mine.count / span;",
        "sample += 1;",
        "samples are added by several lanes",
        channel_case((40, 3, 9), "float32"),
    ),
    Fault(
        "channel_sums.cu",
        "const long long left = blockIdx.y % parts.cuts * parts.places;",
        "const long long left = 0 * parts.places;",
        "all parts begin at the first place",
        LONG_CHANNEL,
    ),
    Fault(
        "channel_sums.cu",
        "var[channel] = so_far.squares / so_far.count;",
        "var[channel] = so_far.squares / (so_far.count - W(1));",
        "the unbiased variance",
        MOMENTS_BY_PLACES,
    ),
    Fault(
        "channels.cuh",
        "part.b += g[j] * (x[j] - mean);",
        "part.b += g[j] * x[j];",
        "the mean is not taken away",
        MOMENTS_BY_PLACES,
    ),
    Fault(
        "moments.cuh",
        "const W off = (a.sum - (sum - of_b)) + (b.sum - of_b);",
        "const W off = (a.sum - (sum - of_b)) - (b.sum - of_b);",
        "what two sums' sum lost is wrong, where the means are far from 0",
        far_from_zero_case((600, 5)),
    ),
    Fault(
        "channel_affine.cu",
        "if (++channel == channels) channel = 0;",
        "++channel;",
        "the next sample's channels go on counting",
        ODD_CHANNELS,
    ),
    Fault(
        "channel_affine.cu",
        "if (at + VECTOR > size) continue;",
        "if (at + 2 * VECTOR > size) continue;",
        "the last pack is not read",
        channel_case((4, 4, 4), "float32"),
    ),
    Fault(
        "channel_affine.cu",
        "for (long long i = at; i < size; i++) {  // the end of the array",
        "for (long long i = at; i < size - 1; i++) {  // the end of the array",
        "the last element is not written",
        ODD_CHANNELS,
    ),
    Fault(
        "channel_affine.cu",
        "return g * scale - ((x - mean) * slope + offset);",
        "return g * scale - ((x - mean) * slope - offset);",
        "a sign",
        ODD_CHANNELS,
    ),
]
FAULTS += [Fault(*each) for each in ATTENTION + FLAT + OPTIMIZERS + SCATTER + WINDOWS]
