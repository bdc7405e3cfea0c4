"""Batch normalisation on the CPU: the kernels of `ChannelKernels`, block by block.

An array of shape (N, C, ...), with L places for each channel of a sample, is worked on
as a matrix. Where L is long its rows are the
(N C) channels of samples, each beside a number of its own, and sums along them are dot
products. Else its rows are the N samples, beside vectors of (C L) numbers, and sums are
over rows. Sums keep their digits: what is added in float32 is short, the rest float64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from . import buffers, threads
from .norms import ChannelKernels
from .numpy_norms import (
    BLOCK_BYTES,
    THREADED_BYTES,
    UNBUFFERED,
    one_dtype,
)
from .numpy_sums import RUN
from .scratch import scratch, small_buffer

Array = Any

LONG = 64  # places of a channel from which on it is a row of its own...
SHORT = 8  # ...and where there is one sample only
DOT = 1024  # elements of a dot product, whose sums are added in float64
WIDE = 4096  # columns of a block
NARROW = 2048  # columns that several samples are laid side by side to make up


class _Blocks:
    """An array of shape (N, C, ...) as a matrix, and its blocks.

    What they are depends on the array alone, and so does every digit.
    """

    def __init__(self, x: Array) -> None:
        n, self.channels = x.shape[:2]
        self.places = prod(x.shape[2:])
        self.by_channel = self.places >= (LONG if n > 1 else SHORT)
        # RUN rows or more: what is kept of a block is small beside it.
        self.beside_each_other = 1
        if self.by_channel:
            rows, width, least, wide = n * self.channels, self.places, 1, self.places
        else:
            rows, width, least, wide = n, self.channels * self.places, RUN, WIDE
            while 2 * width <= NARROW and rows % 2 == 0 and rows >= 2 * RUN:
                rows, width = rows // 2, 2 * width
                self.beside_each_other *= 2
        self.shape = rows, width
        self.wide = min(width, wide)
        self.across = -(-width // self.wide)
        step = max(least, BLOCK_BYTES // (self.wide * x.itemsize))
        self.down, self.threads = -(-rows // step), 1
        if x.nbytes >= THREADED_BYTES:
            self.threads = threads.get_num_threads()
            if self.down * self.across % 2:  # two threads have as much to do
                self.down += 1
        self.step = max(least, -(-rows // self.down))
        self.down = -(-rows // self.step)

    def matrix(self, x: Array) -> Array:
        return x.reshape(self.shape)

    def beside(self, *values: Array | None) -> Callable[[slice, slice], list[Any]]:
        """The numbers, one for each channel, that belong to a block of the matrix."""
        if self.by_channel:
            n = self.shape[0] // self.channels
            rows = [None if v is None else np.tile(v, n)[:, None] for v in values]
            return lambda part, _: [None if v is None else v[part] for v in rows]
        columns = [None if v is None else self._columns(v) for v in values]
        return lambda _, part: [None if v is None else v[part] for v in columns]

    def _columns(self, value: Array) -> Array:
        shape = self.beside_each_other, self.channels, self.places
        out = np.empty(shape, value.dtype)
        out[...] = value[:, None]
        return out.reshape(-1)

    def each(self, work: Callable[[int, slice, slice], None]) -> None:
        """Call work(row of blocks, rows, columns) for all blocks, on the threads."""

        def block(i: int) -> None:
            row, column = divmod(i, self.across)
            rows = slice(row * self.step, (row + 1) * self.step)
            columns = slice(column * self.wide, (column + 1) * self.wide)
            work(row, rows, columns)

        with small_buffer(self.wide in UNBUFFERED):
            threads.for_each(block, self.down * self.across, self.threads)

    def sums(self, kinds: int) -> Array:
        """Room for so many sums of each row, or of each column of a block."""
        rows, width = self.shape
        shape = (rows, 1) if self.by_channel else (self.down, width)
        return np.empty((kinds, *shape), np.float64)

    def by_parts(self, sums: Array) -> Array:
        """Such sums as (part, C, place); those of a channel are over axes 0 and 2."""
        places = 1 if self.by_channel else self.places
        return sums.reshape(-1, self.channels, places)


def _of_channels(parts: Array) -> Array:
    """The sums over all parts of a channel."""
    if parts.shape[2] == 1:
        parts = parts[:, :, 0]
    else:
        parts = np.add.reduce(parts, axis=2)
    return parts[0] if len(parts) == 1 else np.add.reduce(parts, axis=0)


def _along(a: Array, b: Array) -> Array:
    """The products of rows, in float64, of shape (n, 1)."""
    width = a.shape[1]
    if width <= DOT:
        return np.vecdot(a, b)[:, None]
    parts = [slice(start, start + DOT) for start in range(0, width, DOT)]
    sums = [np.vecdot(a[:, part], b[..., part]) for part in parts]
    return np.add.reduce(np.asarray(sums, np.float64), axis=0)[:, None]


def _down(x: Array) -> Array:
    """The sum of the rows of a matrix: runs of a few rows, and the runs in float64."""
    if len(x) <= RUN:
        return np.add.reduce(x, axis=0)
    whole = len(x) - len(x) % RUN
    runs = x[:whole].reshape(whole // RUN, RUN, x.shape[1])
    sums = np.add.reduce(runs, axis=1).astype(np.float64)  # (not cast in small buffers)
    total = np.add.reduce(sums, axis=0)
    if whole < len(x):
        total += np.add.reduce(x[whole:], axis=0)
    return total


def channel_moments(x: Array) -> tuple[Array, Array]:
    """`ChannelKernels.channel_moments`, with one reading of x.

    Each block has its own mean m_i, from which its squares are measured, and then

        n var = sum over blocks of (squares + n_i (m_i - mean)^2)

    Source: Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances", 1979.
    """
    blocks = _Blocks(x)
    matrix, kept = blocks.matrix(x), blocks.sums(2)
    ones = np.ones(blocks.places, x.dtype) if blocks.by_channel else None

    def work(row: int, rows: slice, columns: slice) -> None:
        some = matrix[rows, columns]
        y = scratch.array(0, some.shape, some.dtype)
        if ones is not None:
            mean = np.multiply(_along(some, ones), 1.0 / blocks.places)
            np.subtract(some, mean.astype(x.dtype, copy=False), out=y)
            kept[0, rows], kept[1, rows] = mean, _along(y, y)
            return
        mean = _down(some) * (1.0 / len(some))
        np.subtract(some, mean.astype(x.dtype, copy=False), out=y)
        np.multiply(y, y, out=y)
        kept[0, row, columns], kept[1, row, columns] = mean, _down(y)

    blocks.each(work)
    sizes: Any = float(blocks.places)  # of each part of a channel
    if not blocks.by_channel:
        sizes = np.full((blocks.down, 1), blocks.step, np.float64)
        sizes[-1] = blocks.shape[0] - (blocks.down - 1) * blocks.step
    totals = blocks.by_parts(kept[0] * sizes)
    share = x.shape[1] / x.size
    mean = _of_channels(totals) * share
    away = blocks.by_parts(kept[0]) - mean[:, None]
    away *= away
    away = away.reshape(kept[1].shape)
    away *= sizes
    away += kept[1]
    var = _of_channels(blocks.by_parts(away)) * share
    return mean.astype(x.dtype), var.astype(x.dtype)


def channel_affine(
    x: Array, mean: Array | None, scale: Array | None, shift: Array | None
) -> Array:
    """`ChannelKernels.channel_affine`."""
    blocks, out = _Blocks(x), buffers.empty(x.shape, x.dtype)
    source, into = blocks.matrix(x), blocks.matrix(out)
    beside = blocks.beside(mean, scale, shift)

    def work(_: int, rows: slice, columns: slice) -> None:
        some, y = source[rows, columns], into[rows, columns]
        for function, value in zip(STEPS, beside(rows, columns), strict=True):
            if value is not None:
                function(some, value, out=y)
                some = y
        if some is not y:
            y[...] = some

    blocks.each(work)
    return out


STEPS = np.subtract, np.multiply, np.add


def channel_sums(
    g: Array, x: Array, mean: Array | None, needs: tuple[bool, bool]
) -> tuple[Array | None, Array | None]:
    """`ChannelKernels.channel_sums`."""
    if not any(needs):
        return None, None
    blocks = _Blocks(x)
    source, given, kept = blocks.matrix(x), blocks.matrix(g), blocks.sums(2)
    beside = blocks.beside(mean)
    ones = np.ones(blocks.places, x.dtype) if blocks.by_channel else None

    def work(row: int, rows: slice, columns: slice) -> None:
        some, y = given[rows, columns], source[rows, columns]
        kept_at = (rows, slice(None)) if ones is not None else (row, columns)
        if needs[0]:
            total = _down(some) if ones is None else _along(some, ones)
            kept[(0, *kept_at)] = total
        if needs[1]:
            free = scratch.array(0, y.shape, y.dtype)
            (m,) = beside(rows, columns)
            if m is not None:
                y = np.subtract(y, m, out=free)
            if ones is None:
                kept[(1, *kept_at)] = _down(np.multiply(y, some, out=free))
            else:
                kept[(1, *kept_at)] = _along(some, y)

    blocks.each(work)
    plain, product = (
        _of_channels(blocks.by_parts(each)).astype(x.dtype) if needed else None
        for each, needed in zip(kept, needs)
    )
    return plain, product


def channel_blend(
    g: Array, x: Array, mean: Array, offset: Array, slope: Array, scale: Array
) -> Array:
    """`ChannelKernels.channel_blend`."""
    blocks, out = _Blocks(x), buffers.empty(x.shape, x.dtype)
    source, given, into = map(blocks.matrix, (x, g, out))
    beside = blocks.beside(mean, offset, slope, scale)

    def work(_: int, rows: slice, columns: slice) -> None:
        m, o, s, a = beside(rows, columns)
        y, some = into[rows, columns], given[rows, columns]
        np.subtract(source[rows, columns], m, out=y)
        y *= s
        y += o
        np.subtract(
            np.multiply(some, a, out=scratch.array(0, some.shape, some.dtype)), y, out=y
        )

    blocks.each(work)
    return out


class NumpyChannels(ChannelKernels):
    """The kernels above where all arrays have one dtype; else the plain ones.

    (An array of other strides is copied first: `reshape` does, or a block of it is.)
    """

    def channel_moments(self, x: Array) -> tuple[Array, Array]:
        if one_dtype(x):
            return channel_moments(x)
        return super().channel_moments(x)

    def channel_affine(
        self, x: Array, mean: Array | None, scale: Array | None, shift: Array | None
    ) -> Array:
        if one_dtype(x, mean, scale, shift):
            return channel_affine(x, mean, scale, shift)
        return super().channel_affine(x, mean, scale, shift)

    def channel_sums(
        self, g: Array, x: Array, mean: Array | None, needs: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        if one_dtype(x, g, mean):
            return channel_sums(g, x, mean, needs)
        return super().channel_sums(g, x, mean, needs)

    def channel_blend(
        self, g: Array, x: Array, mean: Array, offset: Array, slope: Array, scale: Array
    ) -> Array:
        if one_dtype(x, g, mean, offset, slope, scale):
            return channel_blend(g, x, mean, offset, slope, scale)
        return super().channel_blend(g, x, mean, offset, slope, scale)
