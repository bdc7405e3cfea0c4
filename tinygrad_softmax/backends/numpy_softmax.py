"""The softmax family on the CPU: block of rows by block of rows, on several threads.

Backend's kernels in base.py are the definition, and what these are tested against. Here
a block stays in cache while everything is done to it, so that the input is read from
memory once and the result is written once. The names are those of base.py: m the
maximum of a row, d = x - m, e = exp(d), s the sum of e without the maximum.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import threads
from .base import Array, Backend
from .dtypes import working_dtype
from .targets import Targets

BLOCK_BYTES = 512 * 1024  # measured best among 128 KB .. 2 MB; fits a core's L2
THREADED_BYTES = 1024 * 1024  # of rows: below, a second thread costs more than it does
NARROW = 32  # up to so many classes a block is transposed: measured
NARROW_SIZE = 8192  # where there are so many numbers
SUM_AT_ONCE = 1024  # so many numbers einsum adds without rounding badly
KEPT_BYTES = 4 * 1024 * 1024  # larger scratch arrays are not kept


class _Scratch(threading.local):
    """Arrays that a thread uses again and again: fresh ones cost page faults."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, Any], Array] = {}

    def array(self, number: int, shape: tuple[int, int], dtype: Any) -> Array:
        """Number `number` of this thread's arrays, with what its last user left."""
        size = shape[0] * shape[1]
        found = self.kept.get((number, dtype))
        if found is None or found.size < size:
            found = np.empty(size, dtype)
            if found.nbytes <= KEPT_BYTES:
                self.kept[number, dtype] = found
        return found[:size].reshape(shape)


scratch = _Scratch()


def row_sums(e: Array) -> Array:
    """Sums along the last axis of (n, C), some three times as fast as `sum`.

    (`e @ ones` is as fast, but may start threads of its own.)
    """
    n, classes = e.shape
    if classes <= SUM_AT_ONCE:
        return np.einsum("ij->i", e)
    whole = classes - classes % SUM_AT_ONCE
    parts = e[:, :whole].reshape(n, -1, SUM_AT_ONCE)
    sums = np.einsum("ijk->ij", parts).sum(axis=1)
    return sums + np.einsum("ij->i", e[:, whole:]) if whole < classes else sums


def _by_blocks(work: Callable[[slice], None], x: Array, step: int) -> None:
    """Call work(rows) for every block of `step` rows of x."""
    number = threads.get_num_threads() if x.nbytes >= THREADED_BYTES else 1

    def block(i: int) -> None:
        work(slice(i * step, min(len(x), (i + 1) * step)))

    threads.for_each(block, -(-len(x) // step), number)


def _mine(x: Array) -> bool:
    """Whether the kernels here are for x: NumPy's own floats, and some of them."""
    return x.dtype.kind == "f" and x.size > 0


class SoftmaxKernels(Backend):
    """The kernels of base.py over rows (n, C), by blocks and on threads."""

    block_bytes = BLOCK_BYTES

    def _rows_at_once(self, x: Array) -> int:
        """How many rows a block has: it depends on the array alone."""
        row = max(1, x.shape[1] * working_dtype(x.dtype).itemsize)
        return max(1, (self.block_bytes or x.nbytes) // row)

    def _shifted(self, x: Array) -> tuple[Array, Array, Array, Array, Array]:
        """base.py's, with the sums that the kernel for labels has: one-hot rows and
        labels give the same digits."""
        x = x.astype(working_dtype(x.dtype), copy=False)
        rows, a = np.arange(len(x)), x.argmax(axis=1)
        d = np.subtract(x, x[rows, a][:, None], order="C")
        e = np.exp(d)
        e[rows, a] = 0.0
        return e, row_sums(e), d, rows, a

    # -- softmax, log_softmax, logsumexp -----------------------------------------------

    def softmax(self, x: Array) -> Array:
        """softmax over the last axis of x, shape (n, C)."""
        return self._blocked(_softmax, x) if _mine(x) else super().softmax(x)

    def log_softmax(self, x: Array) -> Array:
        """log(softmax) over the last axis of x, shape (n, C)."""
        return self._blocked(_log_softmax, x) if _mine(x) else super().log_softmax(x)

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis of x, shape (n, C)."""
        return self._blocked(_logsumexp, x) if _mine(x) else super().logsumexp(x)

    def softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of softmax's input, from its output's and its output."""
        if not (_mine(out) and g.dtype == out.dtype):
            return super().softmax_vjp(g, out)
        return self._blocked(_softmax_vjp, g, out)

    def log_softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of log_softmax's input, from its output's and its output."""
        if not (_mine(out) and g.dtype == out.dtype):
            return super().log_softmax_vjp(g, out)
        return self._blocked(_log_softmax_vjp, g, out)

    def _blocked(self, kernel: Callable[..., None], *inputs: Array) -> Array:
        """kernel(*inputs, out) for every block of rows of the inputs, (n, C)."""
        x = inputs[0]
        out = np.empty(len(x) if kernel is _logsumexp else x.shape, x.dtype)

        def work(rows: slice) -> None:
            kernel(*(each[rows] for each in inputs), out[rows])

        with np.errstate(all="ignore"):
            step = self._rows_at_once(x)
            if len(x) <= step:
                kernel(*inputs, out)
            else:
                _by_blocks(work, x, step)
        return out

    # -- softmax_cross_entropy -------------------------------------------------------

    def softmax_cross_entropy(
        self,
        logits: Array,
        targets: Targets,
        grad: Array | None = None,
        scale: Any = 1.0,
    ) -> Array:
        """Labels, with class weights and ignored rows or without, have a kernel that
        makes no rows of target values; other targets take the reference, by blocks."""
        labels = targets.are_labels and not targets.label_smoothing
        simple = labels and targets.bad is None and _mine(logits)
        kernel = _of_labels if simple else super().softmax_cross_entropy
        with np.errstate(all="ignore"):
            step = self._rows_at_once(logits)
            if len(logits) <= step:
                return kernel(logits, targets, grad, scale)
            losses = np.empty(len(logits), working_dtype(logits.dtype))

            def work(rows: slice) -> None:
                part = None if grad is None else grad[rows]
                losses[rows] = kernel(logits[rows], targets[rows], part, scale)

            _by_blocks(work, logits, step)
        return losses


# -- what the kernels share: a block by its rows, and a block transposed ---------------


def _place_for(x: Array, out: Array | None) -> Array:
    """Where a block is computed: in the result itself, if that can hold it."""
    dtype = working_dtype(x.dtype)
    if out is not None and out.dtype == dtype and out.flags.c_contiguous:
        return out
    return scratch.array(0, x.shape, dtype)


def _shifted_rows(x: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """d, filled; where its rows start in memory, and their maxima; and m."""
    if x.dtype != d.dtype or not x.flags.c_contiguous:
        np.copyto(d, x)
        x = d
    starts = np.arange(0, x.size, x.shape[1])
    top = starts + x.argmax(axis=1)
    m = x.reshape(-1)[top]
    np.subtract(x, m[:, None], out=d)
    return d, starts, top, m


def _exponentials(d: Array, flat: Array, top: Array) -> tuple[Array, Array]:
    """e in place of d, whose elements are `flat`; s, and e at the maximum.

    That is 1, but nan where the largest number of a row is infinite or nan.
    """
    np.exp(d, out=d)
    largest = flat[top]
    flat[top] = 0.0
    s = row_sums(d)
    flat[top] = largest
    return s, largest


def _is_narrow(x: Array) -> bool:
    """Whether a block is faster transposed: a sum over few numbers is slow, so it is
    done for all rows at once, along contiguous memory."""
    return x.shape[1] <= NARROW and x.size >= NARROW_SIZE


def _shifted_columns(x: Array) -> tuple[Array, Array, Array] | None:
    """d and e of the block transposed, and m; None if a maximum is not finite."""
    shape, dtype = x.shape[::-1], working_dtype(x.dtype)
    d, e = scratch.array(0, shape, dtype), scratch.array(1, shape, dtype)
    np.copyto(d, x.T)
    m = np.maximum.reduce(d, axis=0)
    if not np.isfinite(m).all():
        return None
    d -= m
    np.exp(d, out=e)
    return d, e, m


def _column_sums(d: Array, e: Array, out: Array) -> Array:
    """s: every maximum is left out, and all but one of them counted in again.

    `out` (d or e) is overwritten.
    """
    ties = np.add.reduce(e, axis=0)
    below = scratch.array(2, d.shape, np.dtype(bool))
    np.less(d, 0.0, out=below)
    np.multiply(e, below, out=out)
    s = np.add.reduce(out, axis=0)
    ties -= s
    s += np.rint(ties) - 1.0
    return s


# -- one block -------------------------------------------------------------------------


def _softmax(x: Array, out: Array) -> None:
    found = _shifted_columns(x) if _is_narrow(x) else None
    if found is not None:
        _, e, _ = found
        e /= np.add.reduce(e, axis=0)
        np.copyto(out, e.T, casting="same_kind")
        return
    e, _, top, _ = _shifted_rows(x, _place_for(x, out))
    s, _ = _exponentials(e, e.reshape(-1), top)
    s += 1.0
    np.divide(e, s[:, None], out=out, casting="same_kind")


def _log_softmax(x: Array, out: Array) -> None:
    found = _shifted_columns(x) if _is_narrow(x) else None
    if found is not None:
        d, e, _ = found
        d -= np.log1p(_column_sums(d, e, e))
        np.copyto(out, d.T, casting="same_kind")
        return
    d, _, top, _ = _shifted_rows(x, _place_for(x, out))
    e = scratch.array(1, x.shape, d.dtype)
    np.copyto(e, d)
    s, _ = _exponentials(e, e.reshape(-1), top)
    np.subtract(d, np.log1p(s)[:, None], out=out, casting="same_kind")


def _logsumexp(x: Array, out: Array) -> None:
    found = _shifted_columns(x) if _is_narrow(x) else None
    if found is not None:
        d, e, m = found
        s = _column_sums(d, e, e)
    else:
        d, _, top, m = _shifted_rows(x, _place_for(x, None))
        s, _ = _exponentials(d, d.reshape(-1), top)
        s[np.isinf(m)] = 0.0
    np.add(m, np.log1p(s), out=out, casting="same_kind")


def _softmax_vjp(g: Array, p: Array, out: Array) -> None:
    work = _place_for(p, out)
    np.multiply(g, p, out=work)
    np.subtract(g, row_sums(work)[:, None], out=work)
    np.multiply(work, p, out=out, casting="same_kind")


def _log_softmax_vjp(g: Array, lp: Array, out: Array) -> None:
    work = _place_for(lp, out)
    np.exp(lp, out=work)
    work *= row_sums(g.astype(work.dtype, copy=False))[:, None]
    np.subtract(g, work, out=out, casting="same_kind")


def _of_labels(x: Array, targets: Targets, grad: Array | None, scale: Any) -> Array:
    """The losses of a block of rows with labels, and into `grad` their gradient.

    With w the weight of the label y, the loss is w (log1p(s) - d[y]) and the gradient
    w e / (1 + s), minus w at y; where y is the maximum that is -w s / (1 + s).
    """
    dtype = working_dtype(x.dtype)
    labels, ignored, weights = targets.values, targets.ignored(), 1.0
    if ignored is not None:
        labels = np.where(ignored, labels.dtype.type(0), labels)
    if targets.weight is not None:
        weights = targets.weight.astype(dtype, copy=False)[labels]
    found = _columns(x, labels, weights, grad, scale) if _is_narrow(x) else None
    log_sum, at_label = found or _rows(x, labels, weights, grad, scale)
    if targets.weight is None:
        losses = log_sum - at_label
    else:
        losses = weights * log_sum - np.where(weights == 0, 0.0, weights * at_label)
    if ignored is not None:
        losses[ignored] = 0.0
        if grad is not None:
            grad[ignored] = 0.0
    return losses


def _rows(
    x: Array, labels: Array, weights: Any, grad: Array | None, scale: Any
) -> tuple[Array, Array]:
    """(log1p(s), d[y]) of rows as they are; their gradient goes into `grad`."""
    e, starts, top, _ = _shifted_rows(x, _place_for(x, grad))
    flat, at = e.reshape(-1), starts + labels
    at_label = flat[at]
    s, largest = _exponentials(e, flat, top)
    log_sum = np.log1p(s)
    if grad is None:
        return log_sum, at_label
    whole, denominator = weights * scale, 1.0 + s
    e *= (whole / denominator)[:, None]
    s = whole * s / denominator * largest
    flat[at] = np.where(at == top, -s, flat[at] - whole)
    if e is not grad:
        np.copyto(grad, e, casting="same_kind")
    return log_sum, at_label


def _columns(
    x: Array, labels: Array, weights: Any, grad: Array | None, scale: Any
) -> tuple[Array, Array] | None:
    """What `_rows` does, on the block transposed; None if a maximum is not finite."""
    found = _shifted_columns(x)
    if found is None:
        return None
    d, e, _ = found
    at = labels * len(x)
    at += np.arange(len(x))
    at_label = d.reshape(-1)[at]
    s = _column_sums(d, e, d)
    log_sum = np.log1p(s)
    if grad is None:
        return log_sum, at_label
    whole = weights * scale
    ratio = whole / (1.0 + s)
    e *= ratio
    flat = e.reshape(-1)
    s *= ratio
    flat[at] = np.where(at_label == 0, -s, flat[at] - whole)
    np.copyto(grad, e.T, casting="same_kind")
    return log_sum, at_label
