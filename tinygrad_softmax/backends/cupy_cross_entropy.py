"""The softmax cross-entropy on a CUDA device: cuda/cross_entropy.cu and loss_sums.cu.

A loss with its gradient reads the logits once and writes the gradient once. Nothing is
waited for: the mean's divisor stays on the device, and a label that is no class is
noted there, until a value is next read. Two launches; three where the divisor depends
on the labels; one more for very many rows.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import prod
from typing import Any, NamedTuple

from .base import Array
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .cupy_labels import BadLabels
from .dtypes import (
    float32,
    float64,
    int32,
    int64,
    is_floating,
    scales_late,
    working_dtype,
)
from .targets import Targets, label_error

HELD = (32, 128)  # bytes of a row of logits that a thread keeps in registers
HELD_WITH_VALUES = (32, 64)  # where it keeps the target's row too
PART = 8192  # classes of a row that a block does, where rows are few
TALLIED = 16384  # rows that one block sums up
KINDS = {"labels": 0, "smoothed": 1, "values": 2}


class _Options(NamedTuple):
    """What a launch needs to know of the targets."""

    target: Array  # labels (n,), or values laid out as the logits are
    weight: Array | None
    ignore_index: int | None
    smoothing: float

    @property
    def kind(self) -> str:
        if is_floating(self.target.dtype):
            return "values"
        return "smoothed" if self.smoothing else "labels"


class CudaCrossEntropy(CudaKernels):
    """The kernels of base.py for the cross-entropy."""

    bad_label_records: BadLabels

    def softmax_cross_entropy(
        self,
        logits: Array,
        targets: Targets,
        grad: Array | None = None,
        scale: Any = 1.0,
    ) -> Array:
        """Losses of the rows of `logits` (n, C), and `scale` times their gradient.

        Of what base.py takes, all but integer logits, arrays without elements, and a
        `grad` of another dtype or with gaps.
        """
        fits = takes(logits) and logits.flags.c_contiguous
        if grad is not None:
            fits = fits and grad.dtype == logits.dtype and grad.flags.c_contiguous
        if self.kernels is None or not fits:
            return super().softmax_cross_entropy(logits, targets, grad, scale)
        options = self._loss_options(
            logits, targets.values, targets.weight, targets.ignore_index,
            targets.label_smoothing,
        )  # fmt: skip
        return self._loss_rows(logits, options, logits.shape[1], 1, grad, scale)

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
    ) -> tuple[Array, Array | None, Any] | None:
        """The loss, the gradient and its late factor, with the classes on any axis."""
        if self.kernels is None or not takes(logits):
            return None
        if logits.ndim == 2 and _is_transposed(logits):
            return self._transposed_loss(
                logits, target, axis=axis, reduction=reduction, weight=weight,
                ignore_index=ignore_index, label_smoothing=label_smoothing,
                with_grad=with_grad,
            )  # fmt: skip
        classes, inner = logits.shape[axis], prod(logits.shape[axis + 1 :])
        shape = logits.shape[:axis] + logits.shape[axis + 1 :]
        options = self._loss_options(
            logits, target, weight, ignore_index, label_smoothing
        )
        x, count = self.xp.ascontiguousarray(logits), prod(shape)
        labels = options.kind != "values"
        plain = not labels or (weight is None and ignore_index is None)
        check = self._label_check(target, classes, ignore_index) if labels else None
        scale: Any = 1.0
        if reduction == "mean":
            scale = 1.0 / count
        factor = None
        if reduction == "mean" and not plain:
            factor = self.xp.empty(2, working_dtype(x.dtype))
            self._tally_losses(None, options, count, classes, check, factor=factor)
            scale, check = factor[0], None
        grad = self.xp.empty(x.shape, x.dtype) if with_grad else None
        early = 1.0 if scales_late(x.dtype) else scale
        losses = self._loss_rows(x, options, classes, inner, grad, early)
        if reduction == "none":
            if check is not None:
                self._tally_losses(None, options, count, classes, check)
            return losses.reshape(shape), grad, scale
        total = self.xp.empty((), losses.dtype)
        divisor: Any = 1.0 if reduction == "sum" else float(count)
        if factor is not None:
            divisor = factor[1:]
        self._tally_losses(
            losses, options, count, classes, check, total=total, by=divisor
        )
        return total, grad, scale

    def _transposed_loss(
        self, logits: Array, target: Array, *, axis: int, **options: Any
    ) -> tuple[Array, Array | None, Any] | None:
        target = target.T if is_floating(target.dtype) else target
        found = self.cross_entropy(logits.T, target, axis=1 - axis, **options)
        if found is None or found[1] is None:
            return found
        return found[0], found[1].T, found[2]

    def _loss_options(
        self,
        logits: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int | None,
        smoothing: float,
    ) -> _Options:
        """The options as the kernels take them: contiguous, of their dtypes."""
        work = working_dtype(logits.dtype)
        if is_floating(target.dtype):
            if target.dtype != logits.dtype:
                target = target.astype(work, copy=False)
            target, ignore_index = self.xp.ascontiguousarray(target), None
        else:
            if target.dtype not in (int32, int64):
                target = target.astype(int64)
            target = self.xp.ascontiguousarray(target).reshape(-1)
        if weight is not None:
            weight = self.xp.ascontiguousarray(weight.astype(work, copy=False))
        return _Options(target, weight, ignore_index, float(smoothing))

    # -- launches ----------------------------------------------------------------

    def _loss_rows(
        self,
        x: Array,
        options: _Options,
        classes: int,
        inner: int,
        grad: Array | None,
        scale: Any,
    ) -> Array:
        """The losses (n,) of the rows of x, (n / inner, classes, inner); into `grad`
        `scale` (a number, or one on the device) times their gradient."""
        assert self.kernels is not None
        n, work = x.size // classes, working_dtype(x.dtype)
        losses = self.xp.empty(n, work)
        on_host = isinstance(scale, (int, float))
        ignored = options.ignore_index
        arguments = (
            *(x, options.target, options.weight, grad),
            *((None, float(scale)) if on_host else (scale, 1.0)),
            *(n, classes, int(ignored is not None), int(ignored or 0)),
            options.smoothing,
        )
        limits = self.kernels.limits()
        if inner > 1:
            launch = geometry.spread(n, limits.multiprocessors)
            kernel = self._loss_kernel("cross_entropy_columns", x, options)
            kernel(launch.grid, launch.block, (*arguments, losses, inner))
            return losses
        pointers = [each.data.ptr for each in (x, grad) if each is not None]
        if options.kind == "values":
            pointers.append(options.target.data.ptr)
        wide = geometry.is_wide(classes, x.dtype.itemsize, *pointers)
        if classes > PART and 2 * n <= limits.multiprocessors:
            self._loss_in_parts(x, options, arguments, wide, losses)
            return losses
        held = HELD_WITH_VALUES if options.kind == "values" else HELD
        if not wide:  # the compiler then needs registers for addresses
            held = held[:1]
        launch = geometry.rows(n, classes, work.itemsize, held)
        room = classes * x.dtype.itemsize  # a row, where it is read again
        if launch.held or grad is None or room > limits.shared - geometry.STATIC:
            room = 0
        kernel = self._loss_kernel("cross_entropy", x, options, wide, launch.held)
        kernel(
            launch.grid, launch.block, (*arguments, losses, int(room > 0)), room,
        )  # fmt: skip
        return losses

    def _loss_in_parts(
        self, x: Array, options: _Options, arguments: tuple, wide: bool, losses: Array
    ) -> None:
        """Several blocks for each row: rows are fewer than multiprocessors."""
        n, classes = len(losses), x.size // len(losses)
        parts = -(-classes // PART)
        seen = self.xp.empty(n * parts * 6, losses.dtype)
        at_labels = self.xp.empty(n, losses.dtype)
        grid, block = (parts, min(n, geometry.MOST_ROWS)), (geometry.WIDEST, 1)
        first, second = (
            self._loss_kernel(f"cross_entropy_{name}", x, options, wide)
            for name in ("parts", "from_parts")
        )
        first(grid, block, (*arguments, seen, at_labels, PART))
        second(grid, block, (*arguments, losses, seen, at_labels, PART))

    def _loss_kernel(
        self, name: str, x: Array, options: _Options, wide: bool = False, held: int = 0
    ) -> Any:
        assert self.kernels is not None
        dtype = options.target.dtype
        if options.kind == "values":
            target = "T" if dtype == x.dtype else "W"
        else:
            target = "int" if dtype == int32 else "i64"
        macros = dict(
            KIND=KINDS[options.kind], TARGET=target, WIDE=int(wide), HELD=held
        )
        return self.kernels.get("cross_entropy.cu", name, x.dtype, **macros)

    def _label_check(
        self, target: Array, classes: int, ignore_index: int | None
    ) -> Any:
        """A context that gives where a bad label of these is noted, and as what."""
        options = (target.shape, classes, ignore_index, label_error)
        return self.bad_label_records.on(target.device).noting(options)

    def _tally_losses(
        self,
        losses: Array | None,
        options: _Options,
        n: int,
        classes: int,
        check: Any,
        factor: Array | None = None,
        total: Array | None = None,
        by: Any = 1.0,
    ) -> None:
        """Note the first bad label, and fill `factor` or `total`: see loss_sums.cu."""
        with check or nullcontext((None, 0)) as (record, number):
            conclusion = (
                *(factor, total),
                *((None, by) if isinstance(by, float) else (by, 1.0)),
                *(record, number),
            )
            self._launch_tally(losses, options, n, classes, factor, conclusion)

    def _launch_tally(
        self,
        losses: Array | None,
        options: _Options,
        n: int,
        classes: int,
        factor: Array | None,
        conclusion: tuple,
    ) -> None:
        assert self.kernels is not None
        given = [each for each in (losses, factor) if each is not None]
        dtype = given[0].dtype if given else float32
        looking = conclusion[-2] is not None or factor is not None
        labels = options.target if looking else None
        weight = options.weight if factor is not None else None
        ignored = options.ignore_index
        part = max(TALLIED, -(-n // 1024))
        blocks, block = -(-n // part), (geometry.WIDEST, 1)
        parts = None if blocks == 1 else self.xp.empty(3 * blocks, float64)
        macros = dict(TARGET="int" if options.target.dtype == int32 else "i64")
        rows = (n, classes, int(ignored is not None), int(ignored or 0), part)
        self.kernels.get("loss_sums.cu", "tally_rows", dtype, **macros)(
            (blocks,), block, (losses, labels, weight, *rows, parts, *conclusion)
        )
        if parts is not None:
            self.kernels.get("loss_sums.cu", "tally_parts", dtype, **macros)(
                (1,), block, (parts, labels, blocks, *conclusion)
            )


def _is_transposed(x: Array) -> bool:
    """Whether the first axis is the one whose numbers are neighbours."""
    return not x.flags.c_contiguous and x.T.flags.c_contiguous
