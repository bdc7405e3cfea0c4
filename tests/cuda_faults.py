"""Faults to plant in the kernels; test_cuda_faults.py demands that each is caught.

A fault replaces a text that is once in the file. It is caught when the case, which
passes without it, fails in any of the schedules.
"""

from __future__ import annotations

from typing import NamedTuple

from cuda_cases import Case, softmax_case, softmax_vjp_case
from cuda_cross_entropy import Case as CrossEntropy
from cuda_cross_entropy import confident_rows
from cuda_optimizers import Gradients, Update, not_finite


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

ODD = (3, 0, 4096, 17, 4101)
MANY = (1, 8200, 5)
FAULTS += [
    Fault("arrays.cuh", old, new, why, case)
    for old, new, why, case in [
        (
            "const long long begin = (c - before) * CHUNK;",
            "const long long begin = 0 * (c - before);",
            "every chunk is its array's first",
            Update("SGD", "plain", MANY),
        ),
        (
            "arrays.place[low] + begin,",
            "arrays.place[low],",
            "every chunk is written to where the first one lies",
            Update("SGD", "plain", (8200,)),
        ),
        (
            "is_last ? arrays.rest[low] : CHUNK",
            "is_last ? arrays.rest[low] / 2 * 2 : CHUNK",
            "the last element of an odd array is left out",
            Update("SGD", "plain", ODD),
        ),
        (
            "is_last ? arrays.rest[low] : CHUNK",
            "arrays.rest[low] + 0 * is_last",
            "all chunks are as short as the last",
            Gradients(MANY),
        ),
        (
            "return addresses % 16 ? 0 : count / VECTOR * VECTOR;",
            "return count / VECTOR * VECTOR;",
            "what lies at no multiple of 16 bytes is read 16 bytes at a time",
            Update("SGD", "plain", ODD, gap=1),
        ),
    ]
]
FAULTS += [
    Fault("optimizers.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "if (maximize) g = -g;",
            "",
            "maximize is forgotten",
            Update("SGD", "maximize", ODD),
        ),
        (
            "p *= shrink;",
            "",
            "there is no decoupled weight decay",
            Update("AdamW", "all", ODD),
        ),
        (
            "g + p * weight_decay : g;",
            "g - p * weight_decay : g;",
            "the L2 penalty's sign",
            Update("SGD", "weight decay", ODD),
        ),
        (
            "rest((W)(1.0 - decay))",
            "rest((W)decay)",
            "a mean's weights are swapped",
            Update("Adam", "plain", ODD),
        ),
        (
            "fresh((W)(1.0 - n[5]))",
            "fresh((W)n[5])",
            "dampening lets through what it should hold back",
            Update("SGD", "dampening", ODD),
        ),
        (
            "s[0] = is_first ? g :",
            "s[0] =",
            "the first velocity is dampened",
            Update("SGD", "dampening", ODD, step=1),
        ),
        (
            "g = nesterov ? g + momentum * s[0] : s[0];",
            "g = s[0];",
            "nesterov is forgotten",
            Update("SGD", "nesterov", ODD),
        ),
        (
            "v = s[2] = larger(s[2], v);",
            "s[2] = larger(s[2], v);",
            "amsgrad divides by the last square and not by the largest",
            Update("Adam", "all", ODD),
        ),
        (
            "p -= size * (s[0] / (sqrt(v) + eps));",
            "p -= size * (s[0] / sqrt(v + eps));",
            "eps is under the root",
            Update("Adam", "all", ODD),
        ),
        (
            "sqrt(s[1] / correction)",
            "sqrt(s[1])",
            "NAdam's squares are not corrected",
            Update("NAdam", "all", ODD),
        ),
        (
            "rectified ? s[0] / (sqrt(s[1]) + eps) : s[0]",
            "s[0] / (sqrt(s[1]) + eps)",
            "RAdam's first steps divide by what they do not know yet",
            Update("RAdam", "all", ODD, step=1),
        ),
        (
            "square -= s[1] * s[1];",
            "",
            "RMSprop is not centered",
            Update("RMSprop", "all", ODD),
        ),
        (
            "change = s[2] = momentum * s[2] + change;",
            "change = s[2] = momentum * (s[2] + change);",
            "RMSprop's velocity is damped after it is added to",
            Update("RMSprop", "all", ODD),
        ),
        (
            "s[0] += g * g;",
            "s[0] = g * g;",
            "Adagrad forgets",
            Update("Adagrad", "all", ODD),
        ),
        (
            "average(s[1], g * g);\n        p -= lr * g;",
            "average(s[1], g);\n        p -= lr * g;",
            "Adadelta averages changes and not their squares",
            Update("Adadelta", "all", ODD),
        ),
        (
            "update_part<1>(chunk.at, to, state, whole, chunk.count, rule);",
            "",
            "what fills no 16 bytes is left out",
            Update("Adam", "plain", ODD),
        ),
        (
            "update_part<1>(chunk.at, to, state, whole,",
            "update_part<1>(chunk.at, to, state, 0,",
            "what was done 16 bytes at a time is done again",
            Update("Adam", "plain", ODD),
        ),
        (
            "if (state[k]) store<N>(state[k] + at, s[k]);",
            "",
            "the state is not stored",
            Update("Adam", "plain", ODD),
        ),
    ]
]
FAULTS += [
    Fault("gradients.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "so_far += (double)sum;",
            "so_far = (double)sum;",
            "only a thread's last elements are measured",
            Gradients((8192,)),
        ),
        (
            "if (first + b * step < end) packs[b]",
            "if (first + b * step < end - 1) packs[b]",
            "the last element is not loaded",
            Gradients((4097,)),
        ),
        (
            "if (first + b * step < end) f(packs[b], first + b * step);",
            "if (b < 1 && first + b * step < end) f(packs[b], first + b * step);",
            "most of what was loaded is not used",
            Gradients((4096,)),
        ),
        (
            "i < count; i += blockDim.x",
            "i < count - 1; i += blockDim.x",
            "the last block's part is forgotten",
            Gradients((4096, 4096)),
        ),
        (
            "(W)sqrt(so_far)",
            "(W)so_far",
            "no root is taken",
            Gradients((3,)),
        ),
        (
            "if (factor >= W(1)) return;",
            "",
            "what is within bounds is scaled up",
            Gradients((100,)),
        ),
        (
            "finite = finite && is_finite(value);",
            "finite = is_finite(value);",
            "only the last element is looked at",
            not_finite,
        ),
        (
            "if (!scale_chunks(arrays, count, (W)factor)) *finite = false;",
            "*finite = scale_chunks(arrays, count, (W)factor);",
            "a block that is finite speaks for all",
            not_finite,
        ),
    ]
]
