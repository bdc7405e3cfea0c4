"""For every file of kernels: awkward cases, which run in the sanitized build too.

A case takes the backend and raises if a result is wrong. `CASES[file]` are run by
test_cuda_sanitized.py under AddressSanitizer and UndefinedBehaviorSanitizer, in the
schedules of `cuda_shim`; test_cuda_faults.py plants faults that they must catch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from cuda_attention_cases import CASES as ATTENTION
from cuda_channel_checks import check_maps, check_moments, check_sums, of_channels
from cuda_checks import (
    REFERENCE,
    assert_close,
    draw_array,
    on_device,
    wide,
    working,
)
from cuda_cross_entropy import CASES as CROSS_ENTROPY
from cuda_flat_cases import CASES as FLAT
from cuda_norm_checks import affine, check_backward, check_forward
from cuda_optimizer_cases import CASES_OF_GRADIENTS, CASES_OF_UPDATES
from cuda_scatter_cases import CASES as SCATTER
from cuda_window_cases import CASES as WINDOWS

from tinygrad_softmax.backends.cuda import geometry

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


case("norms_vjp.cu")(equal_terms_case(4000, 3))
for _each in [*ROWS, (300, 9, "float32", 0), (2, 70000, "float32", 0)]:
    case("norms.cu")(norm_case(*_each))
    case("norms_vjp.cu")(norm_grad_case(*_each, (True, True, True)))
    case("norms_dx.cu")(norm_grad_case(*_each, (True, False, False)))
    case("norms_columns.cu")(norm_grad_case(*_each, (False, True, True)))


def channel_case(shape: tuple[int, ...], dtype: str, shift: int = 0) -> Case:
    def check(backend: Any) -> None:
        rng = np.random.default_rng(len(shape))
        g, x = (draw_array(rng, shape, dtype) for _ in range(2))
        g.flat[-1] = g.flat[0] = x.flat[-1] = x.flat[0] = 9.0
        values = of_channels(rng, shape[1], dtype, (True,) * 5)
        check_moments(backend, x, dtype, shift)
        check_sums(backend, g, x, values[0], dtype, (True, True), shift)
        check_maps(backend, g, x, values, dtype, shift)

    return check


def far_from_zero_case(shape: tuple[int, ...]) -> Case:
    """A mean far above the deviation, whose digits the variance is made of."""

    def check(backend: Any) -> None:
        x = draw_array(np.random.default_rng(0), shape, "float32", 1.0) + 4096.0
        x[: len(x) // 2] -= 8.0
        x = x.astype(np.float32)
        _, var = backend.channel_moments(on_device(backend, x))
        assert_close(var, REFERENCE.channel_moments(wide(x))[1], "float32", 16)

    return check


for _shape, _dtype, _shift in [
    ((1, 1, 1), "float64", 0),
    ((70, 5), "float32", 0),
    ((90, 16), "float16", 0),
    ((3, 5, 7), "float32", 1),
    ((5, 7, 49), "bfloat16", 0),
    ((3, 2, 8, 8), "float32", 0),
    ((1, 300, 20), "float32", 0),
    ((1, 2, 20_000), "float16", 0),
]:
    case("channel_sums.cu")(channel_case(_shape, _dtype, _shift))
    case("channel_affine.cu")(channel_case(_shape, _dtype, _shift))
case("channel_sums.cu")(far_from_zero_case((600, 5)))
for _each in SCATTER:
    case("scatter.cu")(_each)

for _each in WINDOWS:
    case("windows.cu")(_each)

for _file, _each in FLAT:
    case(_file)(_each)

for _each in ATTENTION:
    case("attention.cu")(_each)

for _each in CASES_OF_UPDATES:
    case("optimizers.cu")(_each)
for _each in CASES_OF_GRADIENTS:
    case("gradients.cu")(_each)
