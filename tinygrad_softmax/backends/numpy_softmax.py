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
        simple = labels and targets.bad is None and logits.dtype.kind == "f"
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
    found = None
    if x.shape[1] <= NARROW and x.size >= NARROW_SIZE:
        found = _columns(x, labels, weights, grad, scale)
    if found is None:  # (too few rows, or one of them is not finite)
        found = _rows(x, labels, weights, grad, scale)
    log_sum, at_label = found
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
    dtype, (n, classes) = working_dtype(x.dtype), x.shape
    e = grad
    if e is None or e.dtype != dtype or not e.flags.c_contiguous:
        e = scratch.array(0, x.shape, dtype)
    if x.dtype != dtype or not x.flags.c_contiguous:
        np.copyto(e, x)
        x = e
    starts, flat = np.arange(0, n * classes, classes), e.reshape(-1)
    top, at = starts + x.argmax(axis=1), starts + labels
    np.subtract(x, x.reshape(-1)[top][:, None], out=e)
    at_label = flat[at]
    np.exp(e, out=e)
    largest = flat[top]  # 1, but nan where the largest logit is infinite or nan
    flat[top] = 0.0
    s = row_sums(e)
    log_sum = np.log1p(s)
    if grad is None:
        return log_sum, at_label
    flat[top] = largest
    whole = weights * scale
    ratio = whole / (1.0 + s)
    e *= ratio[:, None]
    s = whole * s / (1.0 + s) * largest
    flat[at] = np.where(at == top, -s, flat[at] - whole)
    if e is not grad:
        np.copyto(grad, e, casting="same_kind")
    return log_sum, at_label


def _columns(
    x: Array, labels: Array, weights: Any, grad: Array | None, scale: Any
) -> tuple[Array, Array] | None:
    """What `_rows` does, on the block transposed; None if a maximum is not finite.

    A sum over few numbers is slow, so it is done for all rows at once, along contiguous
    memory. Every entry that is the maximum is left out of s, and all but one of them
    counted in again.
    """
    dtype, (n, classes) = working_dtype(x.dtype), x.shape
    d = scratch.array(0, (classes, n), dtype)
    e = scratch.array(1, (classes, n), dtype)
    np.copyto(d, x.T)
    m = np.maximum.reduce(d, axis=0)
    if not np.isfinite(m).all():
        return None
    d -= m
    at = labels * n
    at += np.arange(n)
    at_label = d.reshape(-1)[at]
    np.exp(d, out=e)
    # The sign bit of d, spread over all bits, is 0 at the maximum and -1 elsewhere.
    bits = d.view(f"i{dtype.itemsize}")
    np.right_shift(bits, 8 * dtype.itemsize - 1, out=bits)
    np.bitwise_and(bits, e.view(bits.dtype), out=bits)
    s = np.add.reduce(d, axis=0)
    ties = np.add.reduce(e, axis=0)
    ties -= s
    s += np.rint(ties) - 1.0
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
