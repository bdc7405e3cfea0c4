"""Convolution on the CPU: a few columns at a time, on threads.

Work is cut into parts, some samples or a band of one, whose columns stay in the cache.
Each part's product is written where the result is wanted; nothing is transposed. The
parts don't depend on the number of threads, and so neither does any digit.

BLAS spreads a product of more than LIMIT multiplications over threads of its own, which
wait for each other by spinning: where a core is taken, that takes a hundred times as
long. So products are made of smaller ones, on the threads of threads.py, unless the
weight is so large that those would be slow.
"""

from __future__ import annotations

from math import prod
from operator import le, mul
from typing import Any

import numpy as np

from .buffers import empty
from .convolutions import ConvolutionKernels
from .dtypes import working_dtype
from .scratch import scratch
from .threads import for_each, get_num_threads
from .windows import Array, Window

COLUMN_BYTES = 512 * 1024  # measured best among 128 KB .. 1 MB
LIMIT = (1 << 19) - 1  # OpenBLAS: at least 2^18 multiplications for each of its threads
SERIAL = 1 << 21  # multiplications below which a second thread costs more than it gives
SMALL = 1 << 14  # elements of a group's weight up to which small products are fast
RUN = 1000  # positions that are added up in their own dtype
LANES = 8  # sums that are made side by side, each in order
LANE_BYTES = 8 * 1024 * 1024  # of all of them
SHORT = 128  # positions of a sample below which several are added up by one product
RUNS = 32  # products that are added up in their own dtype


class NumpyConvolutions(ConvolutionKernels):
    """The products of convolutions.py, part by part."""

    column_bytes = COLUMN_BYTES

    def convolution(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        window: Window,
        positions: tuple[int, ...],
        groups: int,
    ) -> Array:
        dtypes = [each.dtype for each in (x, weight, bias) if each is not None]
        dtype = np.result_type(*dtypes)
        out = empty((len(x), len(weight), *positions), dtype)
        w = weight.reshape(groups, len(weight) // groups, prod(weight.shape[1:]))
        w = w.astype(working_dtype(dtype), copy=False)
        self._convolve(x, w, bias, window, out)
        return out

    def _convolve(
        self, x: Array, w: Array, bias: Array | None, window: Window, out: Array
    ) -> None:
        """Fill `out` with the products of w (groups, O / groups, -) and the windows."""
        if not out.size:
            return
        groups, rows, depth = w.shape
        positions = out.shape[2:]
        inner = prod(positions[1:])
        flat = out.reshape(len(out), groups, rows, prod(positions))
        shifts = None if bias is None else bias.reshape(groups, rows, 1)
        sample = groups * depth * prod(positions) * w.itemsize
        small = rows * depth <= SMALL
        most = self.column_bytes if small else 4 * self.column_bytes
        parts = _parts(len(out), positions[0], sample, most)

        def work(i: int) -> None:
            some, begin, end = parts[i]
            here = (end - begin, *positions[1:])
            part = x[some]
            seen = _columns(part, window, here, begin, w.dtype)
            columns = seen.reshape(len(part), groups, depth, prod(here))
            target = flat[some, :, :, begin * inner : end * inner]
            made = target
            if target.dtype != w.dtype:
                made = np.empty(target.shape, w.dtype)
            multiply(w, columns, made, LIMIT)
            if shifts is not None:
                made += shifts
            if made is not target:
                target[...] = made

        _run(work, len(parts), out.size * depth, small)

    def transposed_convolution(
        self,
        y: Array,
        weight: Array,
        window: Window,
        lengths: tuple[int, ...],
        groups: int,
    ) -> Array:
        dtype = np.result_type(y.dtype, weight.dtype)
        outputs, share = len(weight) // groups, weight.shape[1]
        out = empty((len(y), groups * share, *lengths), dtype)
        w = weight.reshape(groups, outputs, share, window.size)
        w = w.astype(working_dtype(dtype), copy=False)
        if not out.size or not y.size:
            out[...] = 0
        elif set(window.stride) == {1} and outputs <= 3 * share:
            # A convolution by the weight turned around. Its columns are those of y.
            turned = w[..., ::-1].swapaxes(1, 2).reshape(groups, share, -1)
            reach = zip(window.kernel, window.dilation, window.padding, strict=True)
            padding = tuple((k - 1) * d - p for k, d, p in reach)
            self._convolve(y, turned, None, window._replace(padding=padding), out)
        else:
            self._spread(y, w, window, out)
        return out

    def _spread(self, y: Array, w: Array, window: Window, out: Array) -> None:
        """Fill `out` with w (groups, O / groups, C / groups, size) times y, by columns.

        Parts are samples, and of large ones some channels.
        """
        groups, outputs, share, size = w.shape
        n, channels, positions = len(y), out.shape[1], y.shape[2:]
        shape, inside = window.frame(positions, out.shape[2:])
        rows = y.reshape(n, groups, outputs, prod(positions))
        sample = channels * size * prod(positions) * w.itemsize
        units, width = (share, 1) if groups == 1 else (groups, share)
        parts = _parts(n, units, sample, self.column_bytes)

        def work(i: int) -> None:
            some, begin, end = parts[i]
            if groups == 1:
                left, right = w[:, :, begin:end], rows[some]
            else:
                left, right = w[begin:end], rows[some, begin:end]
            left = left.reshape(len(left), outputs, -1).swapaxes(1, 2)
            right = right.astype(w.dtype, copy=False)
            made = np.empty((*right.shape[:2], left.shape[1], right.shape[3]), w.dtype)
            multiply(left, right, made, LIMIT)
            places = slice(begin * width, end * width)
            target = out[some, places]
            made = made.reshape(*target.shape[:2], size, *positions)
            frame = np.zeros((*target.shape[:2], *shape), w.dtype)
            for number, part in enumerate(window.parts(positions)):
                frame[(..., *part)] += made[:, :, number]
            target[...] = frame[(..., *inside)]

        _run(work, len(parts), y.size * share * size, outputs * share * size <= SMALL)

    def kernel_correlation(
        self, x: Array, y: Array, window: Window, groups: int
    ) -> Array:
        """Each lane adds up some of the parts in float64; then the lanes are added."""
        dtype = np.result_type(x.dtype, y.dtype)
        kind, (n, outputs, *positions) = working_dtype(dtype), y.shape
        share, rows = x.shape[1] // groups, outputs // groups
        depth = share * window.size
        shape = (outputs, share, *window.kernel)
        if not x.size or not y.size:
            return np.zeros(shape, dtype)
        small = depth * rows <= SMALL
        inner, places = prod(positions[1:]), prod(positions)
        band = min(positions[0], max(1, RUN // inner))
        joined = places < SHORT  # the samples of a part are added up by one product
        most = self.column_bytes if small else 4 * self.column_bytes
        channel = groups * window.size * band * inner * kind.itemsize
        samples = (
            max(1, RUN // places)
            if joined
            else max(1, min(RUNS, most // channel // share))
        )
        step = min(share, max(1, most // (channel * samples)))
        step = -(-share // -(-share // step))  # channels, all about as many
        parts = [
            (slice(i, min(n, i + samples)), begin, min(positions[0], begin + band))
            for i in range(0, n, samples)
            for begin in range(0, positions[0], band)
        ]
        lanes = max(2, min(LANES, LANE_BYTES // (8 * groups * depth * rows)))
        totals = np.zeros((min(lanes, len(parts)), groups, share, window.size, rows))
        grouped = x.reshape(n, groups, share, *x.shape[2:])

        def work(lane: int) -> None:
            for some, begin, end in parts[lane :: len(totals)]:
                here = (end - begin, *positions[1:])
                seen = y[some, :, begin:end].astype(kind, copy=False)
                if joined:
                    seen = seen.swapaxes(0, 1).reshape(1, outputs, -1)
                right = seen.reshape(len(seen), groups, rows, -1).swapaxes(-1, -2)
                for first in range(0, share, step):
                    few = grouped[some, :, first : first + step]
                    few = few.reshape(len(few), -1, *x.shape[2:])
                    found = _columns(few, window, here, begin, kind, joined)
                    left = found.reshape(len(seen), groups, -1, right.shape[2])
                    made = np.empty((*left.shape[:3], rows), kind)
                    multiply(left, right, made, LIMIT // 2)  # measured
                    total = totals[lane, :, first : first + step]
                    total += np.add.reduce(made, axis=0).reshape(total.shape)

        _run(work, len(totals), y.size * depth, small)
        total = np.add.reduce(totals, axis=0).reshape(groups, depth, rows)
        total = total.swapaxes(1, 2)
        return total.astype(dtype).reshape(shape)


def _run(work: Any, parts: int, multiplications: int, small: bool) -> None:
    """On threads, unless it is little, or BLAS uses its own."""
    threads = get_num_threads() if small and multiplications >= SERIAL else 1
    for_each(work, parts, threads)


def _parts(n: int, length: int, sample: int, most: int) -> list[tuple[slice, int, int]]:
    """(samples, begin, end): whole samples, or of a large one some of `length`."""
    if sample <= most:
        step = most // max(1, sample)
        return [(slice(i, min(n, i + step)), 0, length) for i in range(0, n, step)]
    step = max(1, length * most // sample)
    return [
        (slice(i, i + 1), begin, min(length, begin + step))
        for i in range(n)
        for begin in range(0, length, step)
    ]


def _columns(
    x: Array,
    window: Window,
    positions: tuple[int, ...],
    begin: int,
    dtype: Any,
    joined: bool = False,
) -> Array:
    """The windows of x as an array (n, C, *kernel, *positions), from place `begin` of
    the first axis on; `joined`, (C, *kernel, n, *positions).

    It is in scratch memory, until this thread makes the next one.
    """
    frame, offset = _framed(x, window, positions, begin, dtype)
    far, near, *steps = frame.strides
    inner = tuple(map(mul, steps, window.dilation))
    outer = tuple(map(mul, steps, window.stride))
    shape = (*x.shape[:2], *window.kernel, *positions)
    strides = (far, near, *inner, *outer)
    if joined:
        shape = (x.shape[1], *window.kernel, len(x), *positions)
        strides = (near, *inner, far, *outer)
    view = np.ndarray(shape, frame.dtype, frame, offset, strides)
    if window.size == 1 and frame.dtype == dtype:
        return view
    columns = scratch.array(0, shape, dtype)
    np.copyto(columns, view)
    return columns


def _framed(
    x: Array,
    window: Window,
    positions: tuple[int, ...],
    begin: int,
    dtype: Any,
) -> tuple[Array, int]:
    """A contiguous array with all that the windows see, zeros where that is
    outside of x; and how many bytes of it come before the first window."""
    starts = [-before for before in window.padding]
    starts[0] += begin * window.stride[0]
    sizes = zip(positions, window.kernel, window.stride, window.dilation, strict=True)
    spans = [(p - 1) * s + (k - 1) * d + 1 for p, k, s, d in sizes]
    ends = [start + span for start, span in zip(starts, spans, strict=True)]
    lengths = x.shape[2:]
    if min(starts) >= 0 and all(map(le, ends, lengths)):
        x = np.ascontiguousarray(x)
        return x, sum(map(mul, starts, x.strides[2:]))
    shape = (*x.shape[:2], *spans)
    frame = scratch.array(1, shape, dtype)
    frame.fill(0)
    inside, seen = [], []
    for start, end, length in zip(starts, ends, lengths, strict=True):
        low, high = max(0, start), min(end, length)
        seen.append(slice(low, max(low, high)))
        inside.append(slice(low - start, max(low, high) - start))
    frame[(..., *inside)] = x[(..., *seen)]
    return frame, 0


def multiply(a: Array, b: Array, out: Array, limit: int) -> None:
    """a @ b into `out`; with a small a or b, by products up to `limit`.

    Those are one call's, too: NumPy goes over them without the interpreter's lock.
    """
    rows, depth, columns = a.shape[-2], a.shape[-1], b.shape[-1]
    if rows > columns:
        first, second, into = (each.swapaxes(-1, -2) for each in (b, a, out))
        multiply(first, second, into, limit)
        return
    width = limit // max(1, rows * depth) or 1
    if width >= columns or rows * depth > SMALL:
        np.matmul(a, b, out=out)
        return
    for even in range(width, width // 2, -1):
        if columns % even == 0:
            width = even
            break
    whole = columns - columns % width

    def tiles(x: Array) -> Array:
        split = (*x.shape[:-1], whole // width, width)
        return x[..., :whole].reshape(split).swapaxes(-2, -3)  # a view of x

    np.matmul(a[..., None, :, :], tiles(b), out=tiles(out))
    if whole < columns:
        np.matmul(a, b[..., whole:], out=out[..., whole:])
