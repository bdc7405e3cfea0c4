"""The softmax family on the CPU: block of rows by block of rows, on several threads.

Backend's kernels in base.py are the definition, and what these are tested against. Here
a block stays in cache while everything is done to it, so that the input is read from
memory once and the result is written once. What is done to a block is in
softmax_blocks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import buffers, softmax_blocks, threads
from .base import Array, Backend
from .dtypes import working_dtype
from .scratch import small_buffer
from .softmax_blocks import row_sums
from .targets import Targets

BLOCK_BYTES = 1024 * 1024  # measured best among 64 KB .. 2 MB, most so on two threads
THREADED_BYTES = 1024 * 1024  # of rows: below, a second thread costs more than it does
UNBUFFERED = range(512, 8193)  # classes for which NumPy's buffers are too large
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
SMALL = 4096  # numbers of a batch whose calls cost more than what they compute


def _by_blocks(work: Callable[[slice], None], x: Array, step: int) -> None:
    """Call work(rows) for every block of `step` rows of x."""
    number = threads.get_num_threads() if x.nbytes >= THREADED_BYTES else 1

    def block(i: int) -> None:
        work(slice(i * step, min(len(x), (i + 1) * step)))

    with small_buffer(x.shape[1] in UNBUFFERED):
        threads.for_each(block, -(-len(x) // step), number)


def all_below(labels: Array, classes: int) -> bool:
    """Whether all labels are classes: those below 0 are huge if unsigned.

    (But not where classes are more than a label of few bits can count.)
    """
    bits = 8 * labels.itemsize - (labels.dtype.kind == "i")
    unsigned = labels.view(UNSIGNED[labels.itemsize])
    return not classes >> bits and unsigned.item(unsigned.argmax()) < classes


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
        if not _mine(x):
            return super().softmax(x)
        return self._blocked(softmax_blocks.softmax, x)

    def log_softmax(self, x: Array) -> Array:
        """log(softmax) over the last axis of x, shape (n, C)."""
        if not _mine(x):
            return super().log_softmax(x)
        return self._blocked(softmax_blocks.log_softmax, x)

    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis of x, shape (n, C)."""
        if not _mine(x):
            return super().logsumexp(x)
        return self._blocked(softmax_blocks.logsumexp, x)

    def softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of softmax's input, from its output's and its output."""
        if not (_mine(out) and g.dtype == out.dtype):
            return super().softmax_vjp(g, out)
        return self._blocked(softmax_blocks.softmax_vjp, g, out)

    def log_softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of log_softmax's input, from its output's and its output."""
        if not (_mine(out) and g.dtype == out.dtype):
            return super().log_softmax_vjp(g, out)
        return self._blocked(softmax_blocks.log_softmax_vjp, g, out)

    def _blocked(self, kernel: Callable[..., None], *inputs: Array) -> Array:
        """kernel(*inputs, out) for every block of rows of the inputs, (n, C)."""
        x, step = inputs[0], self._rows_at_once(inputs[0])
        shape = x.shape[:1] if kernel is softmax_blocks.logsumexp else x.shape
        if len(x) <= step:
            out = np.empty(shape, x.dtype)
            with np.errstate(all="ignore"):
                kernel(*inputs, out)
            return out
        out = buffers.empty(shape, x.dtype)

        def work(rows: slice) -> None:
            kernel(*(each[rows] for each in inputs), out[rows])

        with np.errstate(all="ignore"):
            _by_blocks(work, x, step)
        return out

    # -- softmax_cross_entropy -------------------------------------------------------

    def cross_entropy(
        self,
        logits: Array,
        target: Array,
        *,
        axis: int,
        reduction: str,
        weight: Array | None,
        ignore_index: int | None,
        label_smoothing: float,
        with_grad: bool,
    ) -> tuple[Any, Array | None, float] | None:
        """The mean over a small batch of labels, with nothing on the way that such a
        batch does not need: there the calls cost more than what they compute."""
        if reduction != "mean" or weight is not None or label_smoothing:
            return None
        kinds = logits.dtype.char in "fd" and target.dtype.kind == "i"
        if not kinds or logits.ndim != 2 or not 0 < logits.size <= SMALL or axis != 1:
            return None
        n, classes = logits.shape
        if ignore_index is not None and 0 <= ignore_index < classes:
            return None
        if not logits.flags.c_contiguous or not all_below(target, classes):
            return None
        grad = np.empty_like(logits) if with_grad else None
        with np.errstate(all="ignore"):
            losses = softmax_blocks.of_plain_labels(logits, target, grad, 1.0 / n)
            total = np.add.reduce(losses)
            return total / logits.dtype.type(n), grad, 1.0 / n

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
        kernel = softmax_blocks.of_labels if simple else super().softmax_cross_entropy
        with np.errstate(all="ignore"):
            step = self._rows_at_once(logits)
            if not simple:  # the reference makes some arrays of a block's size
                step = max(1, step // 2)
            if len(logits) <= step:
                return kernel(logits, targets, grad, scale)
            losses = np.empty(len(logits), working_dtype(logits.dtype))

            def work(rows: slice) -> None:
                part = None if grad is None else grad[rows]
                losses[rows] = kernel(logits[rows], targets[rows], part, scale)

            _by_blocks(work, logits, step)
        return losses
