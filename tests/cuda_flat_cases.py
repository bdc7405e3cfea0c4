"""Shapes that are awkward for the kernels of activations, casts and dropout, and faults
to plant in them, as in cuda_cases.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from cuda_checks import (
    REFERENCE,
    assert_close,
    draw_array,
    dtype_of,
    on_device,
    wide,
)
from philox import words

from tinygrad_softmax.backends import activations
from tinygrad_softmax.backends.cuda import geometry
from tinygrad_softmax.backends.random import Draw

Case = Callable[[Any], None]


def rows(n: int, columns: int, dtype: str, scale: float = 3.0) -> np.ndarray:
    return draw_array(np.random.default_rng(columns), (n, columns), dtype, scale)


# (elements, dtype, elements past a multiple of 16 bytes): less than a pack, one pack
# and a bit, one block exactly, several with a tail.
FLAT = [
    (1, "float64", 0),
    (3, "float32", 0),
    (9, "float16", 0),
    (15, "bfloat16", 1),
    (1024, "float32", 0),
    (1025, "float32", 0),
    (1030, "float64", 0),
    (4103, "bfloat16", 0),
    (515, "float16", 3),
]
OF_X = {
    "sigmoid": activations.sigmoid,
    "softplus": activations.softplus,
    "silu": activations.silu,
}
OF_G_AND_X = {
    "sigmoid_grad": activations.sigmoid_grad,
    "softplus_grad": activations.softplus_grad,
    "silu_grad": activations.silu_grad,
}


def activations_case(n: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        x, g = rows(1, n, dtype)[0], rows(2, n, dtype, 1.0)[1]
        of_x, of_g = on_device(backend, x, shift), on_device(backend, g, shift)
        host_x, host_g = wide(x), wide(g)
        flushed = 1e-30 * abs(host_x)  # x times a probability that is flushed to 0
        for function in OF_X.values():
            expected = REFERENCE.elementwise(function, host_x)
            got = backend.elementwise(function, of_x)
            assert_close(got, expected, dtype, 12, flushed)
        for function in OF_G_AND_X.values():
            expected = REFERENCE.elementwise(function, host_g, host_x)
            got = backend.elementwise(function, of_g, of_x)
            size = abs(host_g) * (1 + host_x * host_x)
            assert_close(got, expected, dtype, 12, size)
        expected = REFERENCE.tanh_grad(host_g, host_x)
        size = abs(host_g) * (1 + host_x * host_x)
        assert_close(backend.tanh_grad(of_g, of_x), expected, dtype, 12, size)
        expected = REFERENCE.relu_grad(host_g, host_x)
        assert_close(backend.relu_grad(of_g, of_x), expected, dtype, 0)
        for kind in ("none", "tanh"):
            expected, slope = REFERENCE.gelu(host_x, kind, True)
            ulps = 12 + gelu_ulps(host_x, kind, dtype)
            got, none = backend.gelu(of_x, kind, True)
            assert none is None
            assert_close(got, expected, dtype, ulps, flushed)
            got = backend.gelu_grad(of_g, of_x, None, kind)
            assert_close(got, host_g * slope, dtype, ulps, abs(host_g))

    return check


def gelu_tails(backend: Any) -> None:
    """Where digits of x * x count many times."""
    x = np.linspace(-12.9, 9.0, 600, dtype="float32")
    expected, _ = REFERENCE.gelu(wide(x), "none", False)
    got, _ = backend.gelu(on_device(backend, x), "none", False)
    assert_close(got, expected, "float32", 6)


def gelu_ulps(x: np.ndarray, kind: str, dtype: str) -> np.ndarray:
    """What rounding the exponent costs: of the tanh version, and in the shim of the
    exact one in float64, whose CUDA function rounds less."""
    y = np.minimum(abs(x), 40.0)
    if kind == "tanh":
        return 6.0 * y * (1.0 + y * y / 20.0)
    return y * y if dtype == "float64" else 0.0 * y


# (rows, columns, dtype, elements past a multiple of 16 bytes): one tile and part of
# one, fewer rows than threads, several tiles in both directions, tails.
BIASED = [
    (1, 1, "float64", 0),
    (5, 3, "float32", 0),
    (64, 128, "float32", 0),
    (65, 132, "float32", 0),
    (130, 33, "float32", 0),
    (31, 264, "float16", 0),
    (70, 40, "bfloat16", 1),
    (129, 66, "float64", 0),
]


def bias_case(n: int, columns: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        x, bias = rows(n, columns, dtype, 2.0), rows(1, columns, dtype, 1.0)[0]
        g = draw_array(np.random.default_rng(n), (n, columns), dtype, 1.0)
        host = wide(x) + wide(bias)
        of_g, of_bias = on_device(backend, g, shift), on_device(backend, bias, n % 2)
        for name in ("relu", "gelu", "gelu_tanh"):
            size = 1 + abs(wide(x)) + abs(wide(bias))
            ulps = 16 + gelu_ulps(host, "tanh", dtype)
            expected, kept = REFERENCE.bias_activation(
                host.copy(), 0 * host[0], name, 1
            )
            for with_grad in (False, True):
                given = on_device(backend, x, shift)
                got, mine = backend.bias_activation(given, of_bias, name, with_grad)
                assert_close(got, expected, dtype, ulps, size)
                assert (mine is None) == (not with_grad)
            slopes = kept > 0 if name == "relu" else kept
            dx, d_bias = backend.bias_activation_grad(of_g, mine, of_bias, name, True)
            assert_close(dx, wide(g) * slopes, dtype, ulps, abs(wide(g)) * size)
            total = (wide(g) * slopes).sum(axis=0)
            scale = (abs(wide(g)) * size).sum(axis=0)
            assert_close(d_bias, total, dtype, ulps.max(axis=0), scale)
            again, none = backend.bias_activation_grad(of_g, mine, of_bias, name, False)
            assert none is None
            assert again.get().tobytes() == dx.get().tobytes()

    return check


def few_blocks_across(backend: Any) -> None:
    """A block does several columns after each other."""
    with mock.patch.object(geometry, "MOST_ROWS", 1):
        bias_case(70, 400, "float32", 0)(backend)


# (elements, dtype, elements past a multiple of 16 bytes): less than a pack, blocks with
# a tail, addresses that forbid 8 bytes.
CAST = [
    (3, "float16", 0),
    (4, "bfloat16", 0),
    (2050, "float16", 0),
    (4099, "bfloat16", 0),
    (1030, "bfloat16", 2),
    (517, "float16", 1),
]


def cast_case(n: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        x, narrow = rows(1, n, "float32", 100.0)[0], dtype_of(dtype)
        x[0], x[-1], x[n // 2] = -0.0, np.inf, 1e-6
        got = backend.cast(on_device(backend, x, shift), narrow).get()
        assert got.dtype == narrow
        assert got.tobytes() == x.astype(narrow).tobytes()
        back = backend.cast(on_device(backend, got, shift), np.dtype("float32")).get()
        assert back.dtype == np.float32
        assert back.tobytes() == got.astype("float32").tobytes()

    return check


def dropout_case(n: int, dtype: str, shift: int) -> Case:
    def check(backend: Any) -> None:
        x, draw, p = rows(1, n, dtype)[0], Draw(2**40 + 7, 2**33 + 5), 0.3
        given, limit = on_device(backend, x, shift), 0.3 * 2.0**32
        kept = words(n, *draw[:2]) >= limit
        got = backend.dropout(given, p, draw, (n,))
        assert_close(got, wide(x) * kept / 0.7, dtype, 2)
        assert backend.kept((n,), p, draw).get().tolist() == kept.tolist()
        for count, each in ((700, 3), (5, 8), (5, 1001)):
            blocks, kept = rows(count, each, dtype), words(count, *draw[:2]) >= limit
            given = on_device(backend, blocks, shift)
            got = backend.dropout(given, p, draw, (count, 1))
            assert_close(got, wide(blocks) * kept[:, None] / 0.7, dtype, 2)

    return check


CASES: list[tuple[str, Case]] = [
    *(("activations.cu", activations_case(*each)) for each in FLAT),
    ("activations.cu", gelu_tails),
    *(("dropout.cu", dropout_case(*each)) for each in FLAT),
    *(("cast.cu", cast_case(*each)) for each in CAST),
    *(("bias_activations.cu", bias_case(*each)) for each in BIASED),
    ("bias_activations.cu", few_blocks_across),
]

# -- faults ----------------------------------------------------------------------------

HALVES = activations_case(515, "float16", 3)
SINGLES = activations_case(1025, "float32", 0)
DOUBLES = activations_case(1030, "float64", 0)
TILES = bias_case(130, 33, "float32", 0)
WIDE_TILES = bias_case(65, 132, "float32", 0)
DROPPED = dropout_case(1025, "float32", 0)

# (file, old, new, why, case)
FAULTS = [
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
    (
        "bias_activations.cu",
        "first + of_tile < n ? first + of_tile : n;",
        "first + of_tile < n ? first + of_tile : n - 1;",
        "the last row is left out",
        TILES,
    ),
    (
        "bias_activations.cu",
        "        __syncthreads();\n        if (threadIdx.y == 0 && exists) {",
        "        if (threadIdx.y == 0 && exists) {",
        "the barrier between writing and adding up the threads' sums is gone",
        TILES,
    ),
    (
        "bias_activations.cu",
        "        __syncthreads();  // of_threads may be written to again\n",
        "",
        "the barrier before the next columns is gone",
        few_blocks_across,
    ),
    (
        "bias_activations.cu",
        "k < DEEP; k++) sum",
        "k < DEEP - 1; k++) sum",
        "the last thread's rows are not in the bias's gradient",
        TILES,
    ),
    (
        "bias_activations.cu",
        "tile < tiles; tile += OF_SUM",
        "tile < tiles - 1; tile += OF_SUM",
        "the last tile is not in the bias's gradient",
        TILES,
    ),
    (
        "bias_activations.cu",
        "    __syncthreads();\n    if (threadIdx.y || column >= columns) return;",
        "    if (threadIdx.y || column >= columns) return;",
        "the barrier between writing and adding up the tiles' sums is gone",
        TILES,
    ),
    (
        "bias_activations.cu",
        "return v > W(0) ? of_g : W(0);",
        "return v >= W(0) ? of_g : W(0);",
        "relu has a slope where it is 0",
        TILES,
    ),
    (
        "bias_activations.cu",
        "pack.at[i] = bias[i];",
        "pack.at[i] = bias[0];",
        "a bias that is not aligned is that of one column",
        WIDE_TILES,
    ),
    ("dropout.cu", "round < 10", "round < 9", "nine rounds", DROPPED),
    (
        "dropout.cu",
        "(unsigned)(draw >> 32)};",
        "0u};",
        "draws 2^32 apart drop the same",
        DROPPED,
    ),
    (
        "dropout.cu",
        "to[i + j] = words.at[j];",
        "to[i + j] = words.at[3 - j];",
        "the order of words depends on how many are taken",
        DROPPED,
    ),
    (
        "dropout.cu",
        "to[0] = first & 2 ? words.at[2] : words.at[0];",
        "to[0] = words.at[0];",
        "two numbers of four share a word",
        dropout_case(1030, "float64", 0),
    ),
    (
        "dropout.cu",
        "if (first + i == next) {",
        "if (first + i == next + 1) {",
        "a channel begins one element too late",
        DROPPED,
    ),
]
