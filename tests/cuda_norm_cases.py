"""Layer and RMS norm on a CUDA device: awkward rows, and faults of their kernels."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
from cuda_checks import Case, assert_close, on_device, wide, working
from cuda_norm_checks import affine, check_backward, check_forward
from cuda_softmax_cases import ROWS, rows

from tinygrad_softmax.backends.cuda import geometry


def norm_case(n: int, columns: int, dtype: str, shift: int) -> Case:
    """With weight and bias: float32 beside 16 bits where the number of rows is odd."""

    def check(backend: Any) -> None:
        x = rows(n, columns, dtype)
        x[-1, -1] = x[0, 0] = 9.0
        rng = np.random.default_rng(n)
        of_weights = str(working(dtype)) if n % 2 else dtype
        weight, bias = affine(rng, columns, of_weights, (True, True))
        check_forward(backend, x, weight, bias, dtype, shift)

    return check


def norm_grad_case(
    n: int, columns: int, dtype: str, shift: int, needs: tuple[bool, bool, bool]
) -> Case:
    def check(backend: Any) -> None:
        g, x = rows(n, columns, dtype), rows(n, columns, dtype)[::-1].copy()
        g[-1, -1] = g[0, 0] = x[-1, -1] = x[0, 0] = 9.0
        rng = np.random.default_rng(n)
        of_weights = str(working(dtype)) if n % 2 else dtype
        weight, _ = affine(rng, columns, of_weights, (True, True))
        check_backward(backend, g, x, weight, dtype, shift, needs)

    return check


def equal_terms_case(n: int, columns: int) -> Case:
    """Sums over rows of equal terms, whose roundings all go one way, in few blocks."""

    def check(backend: Any) -> None:
        g, one = np.full((n, columns), 0.1, np.float32), np.ones((n, 1), np.float32)
        given = [on_device(backend, each) for each in (g, g * 0 + 1, 0 * one, one)]
        with mock.patch.multiple(geometry, PLENTY=1, FILLED=1):
            found = backend.layer_norm_grad(
                *given[:2], None, *given[2:], (False, True, True)
            )
        for each in found[1:]:
            assert_close(each, wide(g).sum(axis=0), "float32", 2)

    return check


CASES = [("norms_vjp.cu", equal_terms_case(4000, 3))]
for _each in [*ROWS, (300, 9, "float32", 0), (2, 70000, "float32", 0)]:
    CASES += [
        ("norms.cu", norm_case(*_each)),
        ("norms_vjp.cu", norm_grad_case(*_each, (True, True, True))),
        ("norms_dx.cu", norm_grad_case(*_each, (True, False, False))),
        ("norms_columns.cu", norm_grad_case(*_each, (False, True, True))),
    ]

NORM = norm_case(9, 100, "float32", 0)
LONG_NORM = norm_case(2, 17001, "float32", 0)
MIXED_NORM = norm_case(3, 1032, "float16", 0)
ALL = (True, True, True)
NORM_GRADIENT = norm_grad_case(9, 100, "float32", 0, ALL)
NORM_COLUMNS = norm_grad_case(37, 8200, "float32", 0, ALL)
LONG_DX = norm_grad_case(2, 17001, "float32", 0, (True, False, False))

FAULTS = [
    (
        "norms.cuh",
        "lost = (more - sum) - less;",
        "lost = less - (more - sum);",
        "what was rounded off is added twice, not taken back",
        equal_terms_case(4000, 3),
    ),
    (
        "norms.cuh",
        "return {x.a + y.a, x.b + y.b};",
        "return {x.a + y.a, x.b};",
        "the second sum of a pair stays in its lane",
        NORM_GRADIENT,
    ),
    (
        "norms.cuh",
        "} else if (wide) {",
        "} else if (!wide) {",
        "weights are read as another type",
        MIXED_NORM,
    ),
    (
        "moments.cuh",
        "squares += between(a.count, a.mean(), b.count, b.mean());",
        "squares += W(0);",
        "how far the lanes' means are apart counts for nothing",
        LONG_NORM,
    ),
    (
        "moments.cuh",
        "if (count != W(0)) spread += between(count, before, more, of_batch);",
        "if (count == W(0)) spread += between(count, before, more, of_batch);",
        "how far the batches' means are apart counts for nothing",
        norm_case(2, 70000, "float32", 0),
    ),
    (
        "moments.cuh",
        "const W more = (W)n, mean",
        "const W more = (W)N, mean",
        "the last batch is counted as a full one",
        LONG_NORM,
    ),
    (
        "norms.cu",
        "if (staged) store_shared<VECTOR>(staged + column, in);",
        "if (staged && !b) store_shared<VECTOR>(staged + column, in);",
        "only the first pack of a batch is kept",
        LONG_NORM,
    ),
    (
        "norms.cu",
        "sqrt(squares / (W)columns + eps)",
        "sqrt(squares / (W)(columns - 1) + eps)",
        "the unbiased variance",
        NORM,
    ),
    (
        "norms_vjp.cuh",
        "const W less = CENTRED ? h - along.a : h;",
        "const W less = h;",
        "the mean of h is not taken away",
        NORM_GRADIENT,
    ),
    (
        "norms_vjp.cu",
        "const W of_g = exists ? held_g.at[k + i] : W(0);",
        "const W of_g = held_g.at[k + i];",
        "the last row is added again by lanes that have none",
        NORM_GRADIENT,
    ),
    (
        "norms_vjp.cu",
        "    __syncthreads();  // the buffer may be written to again\n",
        "",
        "the barrier before the buffer's next use is gone",
        NORM_GRADIENT,
    ),
    (
        "norms_vjp.cu",
        "partials += blockIdx.x * columns * (CENTRED ? 2 : 1);",
        "partials += blockIdx.x * columns;",
        "blocks write over each other's sums",
        norm_grad_case(70, 100, "float32", 0, ALL),
    ),
    (
        "norms_dx.cu",
        "if (staged) row_g = staged, row_x = staged + columns;",
        "if (staged) row_g = row_x = staged;",
        "g is taken for x",
        LONG_DX,
    ),
    (
        "norms_columns.cu",
        "const long long first = blockIdx.y * rows, end = min(first + rows, n);",
        "const long long first = blockIdx.y * rows, end = min(first + rows, n - 1);",
        "the last row is left out",
        NORM_COLUMNS,
    ),
    (
        "norms_columns.cu",
        "for (int row = 0; row < (int)blockDim.y; row++) all.add",
        "for (int row = 1; row < (int)blockDim.y; row++) all.add",
        "the first of a block's rows is left out",
        NORM_COLUMNS,
    ),
]
