"""Faults to plant in the kernels of the cross-entropy (cuda_cases.py)."""

from __future__ import annotations

from cuda_cross_entropy import Case, confident_rows

SCALARS = Case(shape=(9, 100), axis=1)
IN_PARTS = Case(shape=(1, 8200), axis=1)
LONG = Case(shape=(4, 17001), axis=1)
OPTIONS = Case(
    (9, 40), 1, ignore_index=3, weighted=True, smoothing=0.1, reduction="none"
)
FAULTS = [
    ("cross_entropy.cuh", old, new, why, case)
    for old, new, why, case in [
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
            Case((9, 40), 1, ignore_index=3),
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
            Case((4, 17001), 1, smoothing=0.5),
        ),
        (
            "out.product = product + out.others * (of.m - m);",
            "out.product = product;",
            "what was seen is not put under the new maximum",
            Case((4, 17001), 1, smoothing=0.5),
        ),
    ]
]
FAULTS += [
    ("cross_entropy.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "W u[VECTOR];\n#if KIND != VALUES\n        goal.shares(column, u);",
            "W u[VECTOR];\n#if KIND != VALUES\n        goal.shares(column + 1, u);",
            "y is subtracted one column too early",
            SCALARS,
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
            Case((2, 11, 3), 1),
        ),
        (
            "number / inner * columns * inner + number % inner",
            "number / inner * columns + number % inner",
            "the second image begins inside the first",
            Case((2, 3, 4), 1),
        ),
    ]
]
FAULTS += [
    ("loss_sums.cu", old, new, why, case)
    for old, new, why, case in [
        (
            "if (ignoring && label[j] == ignored) continue;",
            "",
            "ignored rows are counted",
            Case((9, 40), 1, ignore_index=3),
        ),
        (
            "weights && is_class ? weights[label[j]] : W(1)",
            "weights && is_class ? W(1) : W(1)",
            "the mean divides by rows, not by weights",
            Case((9, 40), 1, weighted=True),
        ),
        (
            "first += AT_ONCE * blockDim.x",
            "first += (AT_ONCE + 1) * blockDim.x",
            "some rows of many are left out",
            Case((6000, 2), 1),
        ),
        (
            "i < count; i += blockDim.x",
            "i < count - 1; i += blockDim.x",
            "the last block's sum is left out",
            Case((20000, 2), 1),
        ),
    ]
]
