"""Convolution and pooling as explicit loops, for the op table and other tests.

Nothing of the library is used. Geometry is given as plain tuples, one number for each
axis; `positions` says how many windows there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Lengths = tuple[int, ...]


def places(
    kernel: Lengths,
    positions: Lengths,
    lengths: Lengths,
    stride: Lengths,
    padding: Lengths,
    dilation: Lengths,
) -> Iterator[tuple[Lengths, int, Lengths, Lengths]]:
    """(window, number, index in the window, coordinates) of all that is inside."""
    for p in np.ndindex(*positions):
        for number, k in enumerate(np.ndindex(*kernel)):
            at = tuple(
                i * s - before + j * d
                for i, s, before, j, d in zip(p, stride, padding, k, dilation)
            )
            if all(0 <= a < n for a, n in zip(at, lengths)):
                yield p, number, k, at


def _channels(weight_shape: Lengths, groups: int) -> Iterator[tuple[int, int, int]]:
    """(output channel, channel of the weight, channel of the input)."""
    outputs, inputs = weight_shape[:2]
    for o in range(outputs):
        for c in range(inputs):
            yield o, c, o // (outputs // groups) * inputs + c


def convolution(x, weight, bias=None, *, positions, groups=1, **form):
    y = np.zeros((len(x), len(weight), *positions))
    if bias is not None:
        y += bias.reshape((-1,) + (1,) * len(positions))
    for p, _, k, at in places(weight.shape[2:], positions, x.shape[2:], **form):
        for o, c, channel in _channels(weight.shape, groups):
            y[(slice(None), o, *p)] += (
                weight[(o, c, *k)] * x[(slice(None), channel, *at)]
            )
    return y


def transposed_convolution(y, weight, lengths, groups=1, **form):
    x = np.zeros((len(y), groups * weight.shape[1], *lengths))
    for p, _, k, at in places(weight.shape[2:], y.shape[2:], lengths, **form):
        for o, c, channel in _channels(weight.shape, groups):
            x[(slice(None), channel, *at)] += (
                weight[(o, c, *k)] * y[(slice(None), o, *p)]
            )
    return x


def kernel_correlation(x, y, kernel, groups=1, **form):
    weight = np.zeros((y.shape[1], x.shape[1] // groups, *kernel))
    for p, _, k, at in places(kernel, y.shape[2:], x.shape[2:], **form):
        for o, c, channel in _channels(weight.shape, groups):
            seen, given = x[(slice(None), channel, *at)], y[(slice(None), o, *p)]
            weight[(o, c, *k)] += np.sum(seen * given)
    return weight


def window_sum(x, numbers=None, *, kernel, positions, **form):
    y = np.zeros((*x.shape[:2], *positions))
    for p, number, _, at in places(kernel, positions, x.shape[2:], **form):
        here = x[(..., *at)]
        chosen = True if numbers is None else numbers[(..., *p)] == number
        y[(..., *p)] += np.where(chosen, here, 0.0)
    return y


def window_spread(y, numbers=None, *, kernel, lengths, **form):
    x = np.zeros((*y.shape[:2], *lengths))
    for p, number, _, at in places(kernel, y.shape[2:], lengths, **form):
        chosen = True if numbers is None else numbers[(..., *p)] == number
        x[(..., *at)] += np.where(chosen, y[(..., *p)], 0.0)
    return x


def max_pool_with_indices(x, *, kernel, positions, **form) -> tuple[Any, Any]:
    """The largest elements, and their places in the flattened plane."""
    y = np.full((*x.shape[:2], *positions), -np.inf)
    index = np.full(y.shape, -1)
    for p, _, _, at in places(kernel, positions, x.shape[2:], **form):
        flat = np.ravel_multi_index(at, x.shape[2:])
        for place in np.ndindex(*x.shape[:2]):
            here, out = x[(*place, *at)], (*place, *p)
            if index[out] < 0 or here > y[out] or np.isnan(here):
                y[out], index[out] = here, flat
    return y, index


def max_pool(x, **form):
    return max_pool_with_indices(x, **form)[0]


def max_pool_indices(x, **form):
    return max_pool_with_indices(x, **form)[1]


def average_pool(x, *, kernel, positions, stride, padding, limits, divisor=None):
    form = dict(stride=stride, padding=padding, dilation=(1,) * len(kernel))
    y = window_sum(x, kernel=kernel, positions=positions, **form)
    for p in np.ndindex(*positions):
        count = 1
        for i, s, before, k, (low, high) in zip(p, stride, padding, kernel, limits):
            coordinates = range(i * s - before, i * s - before + k)
            count *= max(1, sum(low <= c < high for c in coordinates))
        y[(..., *p)] /= count if divisor is None else divisor
    return y
