"""Sums on the CPU that keep their digits, and scattered sums that keep their pace.

NumPy adds pairwise along the fastest axis only. Along any other it adds row after row:
in float32 the sum over a batch of 2^24 rows of 0.1 came out 15 % wrong. Here short
runs of rows are added by BLAS, as products with ones, and the runs in float64. Where
rows are short that is several times faster, too.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Array = Any

RUN = 32  # rows that are added in their own dtype; measured best among 16 .. 256
FEW = 512  # rows that are a batch; from there on runs are as fast
INDEX_SIZE = 1 << 16  # of a flat index that is made at a time: 512 KB of int64


def sum_axes(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over some axes of an array of float32 or float64 that isn't empty."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        turned = tuple(x.ndim - 1 - axis for axis in axes)
        return sum_axes(x.T, turned, keepdims).T
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    for first, stop in reversed(_stretches(axes)):
        before, after = x.shape[:first], x.shape[stop:]
        n, m = prod(x.shape[first:stop]), prod(after)
        if n <= RUN or m == 1 or x.strides[stop - 1] < x.strides[-1]:
            x = np.add.reduce(x, axis=tuple(range(first, stop)))
        else:
            x = sum_rows(x.reshape(prod(before), n, m)).reshape(before + after)
    return x.reshape(kept) if keepdims else x


def _stretches(axes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Neighbouring axes together, as (first, one behind the last)."""
    found: list[tuple[int, int]] = []
    for axis in sorted(axes):
        if found and found[-1][1] == axis:
            found[-1] = (found[-1][0], axis + 1)
        else:
            found.append((axis, axis + 1))
    return found


def sum_batch(x: Array) -> Array:
    """The sum over the first axis of a matrix of up to FEW rows.

    Every 16th row first, then the 16 sums: two calls, in which no number goes through
    more than 16 + FEW / 16 additions. At a batch of 128 that takes half of the time.
    """
    n, m = x.shape
    whole = n - n % 16
    part = np.add.reduce(x[:whole].reshape(whole // 16, 16 * m), axis=0)
    total = np.add.reduce(part.reshape(16, m), axis=0)
    if whole < n:
        total += np.add.reduce(x[whole:], axis=0)
    return total


def sum_rows(x: Array) -> Array:
    """The sum over the middle axis of (p, n, m): runs of rows, then the runs."""
    p, n, m = x.shape
    whole = n - n % RUN
    runs = x[:, :whole].reshape(p, n // RUN, RUN, m)
    total = np.add.reduce(np.matmul(np.ones(RUN, x.dtype), runs), axis=1, dtype="f8")
    if whole < n:
        total += np.add.reduce(x[:, whole:], axis=1, dtype="f8")
    return total.astype(x.dtype, copy=False)


def scatter_add_rows(out: Array, index: Array, values: Array) -> bool:
    """`out[index] += values` for rows of a matrix, in the same order as `np.add.at`.

    NumPy has a fast loop for one axis, so that rows are scattered element by element.
    Returns False, and does nothing, where that doesn't fit.
    """
    rows = out.ndim > 1 and out.flags.c_contiguous and out.dtype == values.dtype
    if not rows or not index.size or values.shape != index.shape + out.shape[1:]:
        return False
    index, width = index.reshape(-1).astype(np.int64), prod(out.shape[1:])
    index += (index < 0) * len(out)
    if not width or index.min() < 0 or index.max() >= len(out):
        return False
    flat, values = out.reshape(-1), values.reshape(-1, width)
    columns, step = np.arange(width), max(1, INDEX_SIZE // width)
    for start in range(0, len(index), step):
        part = slice(start, start + step)
        places = index[part, None] * width + columns
        np.add.at(flat, places.reshape(-1), values[part].reshape(-1))
    return True
