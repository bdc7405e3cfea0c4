"""Batch, group and instance norm on a CUDA device: awkward shapes, and faults."""

from __future__ import annotations

from typing import Any

import numpy as np
from cuda_channel_checks import check_maps, check_moments, check_sums, of_channels
from cuda_checks import REFERENCE, Case, assert_close, draw_array, on_device, wide


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


CASES = [("channel_sums.cu", far_from_zero_case((600, 5)))]
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
    _case = channel_case(_shape, _dtype, _shift)
    CASES += [("channel_sums.cu", _case), ("channel_affine.cu", _case)]

MOMENTS_BY_COLUMNS = channel_case((90, 5), "float32")
MOMENTS_BY_PLACES = channel_case((5, 7, 49), "float32")
LONG_CHANNEL = channel_case((1, 2, 20_000), "float32")
ODD_CHANNELS = channel_case((3, 5, 7), "float32")

FAULTS = [
    (
        "channel_sums.cu",
        "row < end; row += ROWS * blockDim.y)",
        "row < end; row += blockDim.y)",
        "rows are added again",
        MOMENTS_BY_COLUMNS,
    ),
    (
        "channel_sums.cu",
        "if (place >= right) {",
        "if (place > right) {",
        "a lane reads past the part's places",
        LONG_CHANNEL,
    ),
    (
        "channel_sums.cu",
        "sample += mine.count / span;",
        "sample += 1;",
        "samples are added by several lanes",
        channel_case((40, 3, 9), "float32"),
    ),
    (
        "channel_sums.cu",
        "const long long left = blockIdx.y % parts.cuts * parts.places;",
        "const long long left = 0 * parts.places;",
        "all parts begin at the first place",
        LONG_CHANNEL,
    ),
    (
        "channel_sums.cu",
        "var[channel] = so_far.squares / so_far.count;",
        "var[channel] = so_far.squares / (so_far.count - W(1));",
        "the unbiased variance",
        MOMENTS_BY_PLACES,
    ),
    (
        "channels.cuh",
        "part.b += g[j] * (x[j] - mean);",
        "part.b += g[j] * x[j];",
        "the mean is not taken away",
        MOMENTS_BY_PLACES,
    ),
    (
        "moments.cuh",
        "const W off = (a.sum - (sum - of_b)) + (b.sum - of_b);",
        "const W off = (a.sum - (sum - of_b)) - (b.sum - of_b);",
        "what two sums' sum lost is wrong, where the means are far from 0",
        far_from_zero_case((600, 5)),
    ),
    (
        "channel_affine.cu",
        "if (++channel == channels) channel = 0;",
        "++channel;",
        "the next sample's channels go on counting",
        ODD_CHANNELS,
    ),
    (
        "channel_affine.cu",
        "if (at + VECTOR > size) continue;",
        "if (at + 2 * VECTOR > size) continue;",
        "the last pack is not read",
        channel_case((4, 4, 4), "float32"),
    ),
    (
        "channel_affine.cu",
        "for (long long i = at; i < size; i++) {  // the end of the array",
        "for (long long i = at; i < size - 1; i++) {  // the end of the array",
        "the last element is not written",
        ODD_CHANNELS,
    ),
    (
        "channel_affine.cu",
        "return g * scale - ((x - mean) * slope + offset);",
        "return g * scale - ((x - mean) * slope - offset);",
        "a sign",
        ODD_CHANNELS,
    ),
]
