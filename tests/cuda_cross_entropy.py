"""What the CUDA kernels of the cross-entropy are held against: the formulas in float64.

Written out row by row from the definition (Bishop, 2006, section 4.3.4), with nothing
of the library in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cuda_checks as checks
import numpy as np
from cuda_checks import assert_close, draw_array, on_device, wide

import tinygrad_softmax as tg


@dataclass(frozen=True)
class Case:
    """Logits of a shape with the classes on an axis, and the op's options."""

    shape: tuple[int, ...]
    axis: int
    dtype: str = "float32"
    target: str = "int64"  # int32, int64, or the dtype of target values
    reduction: str = "mean"
    weighted: bool = False
    ignore_index: int | None = None
    smoothing: float = 0.0
    shift: int = 0  # elements past a multiple of 16 bytes
    scale: float = 3.0
    seed: int = 0
    transposed: bool = False  # the logits are a transposed view

    def __call__(self, backend: Any) -> None:
        """Run it on the double, and compare."""
        rng = np.random.default_rng(self.seed)
        x = draw_array(rng, self.shape, self.dtype, self.scale)
        target, weight = self.targets(rng)
        options = (self.axis, self.reduction, weight, self.ignore_index, self.smoothing)
        late = self.dtype == "float16" and self.reduction == "mean"
        least = float(np.finfo("float16").tiny) if late else 0.0
        losses, gradient, size = by_definition(
            wide(x), wide_target(target), *options, least
        )
        given = tg.tensor(self.placed(backend, x), requires_grad=True)
        got = tg.softmax_cross_entropy(
            given,
            tg.tensor(on_device(backend, target)),
            axis=self.axis,
            reduction=self.reduction,
            weight=None if weight is None else tg.tensor(on_device(backend, weight)),
            ignore_index=self.ignore_index,
            label_smoothing=self.smoothing,
        )
        # (8 + range) units, as softmax_cross_entropy.md has it; sums add a few.
        ulps = 24 + float(np.ptp(wide(x)))
        working = checks.working(self.dtype).name
        assert_close(got.detach().array, losses, working, ulps, size[0])
        got.sum().backward()
        assert given.grad is not None
        if late:  # rounded to float16 before it is scaled, and after
            ulps += 4096
        assert_close(given.grad.array, gradient, self.dtype, ulps, size[1])

    def placed(self, backend: Any, x: np.ndarray) -> Any:
        if self.transposed:
            return on_device(backend, np.ascontiguousarray(x.T), self.shift).T
        return on_device(backend, x, self.shift)

    def targets(self, rng: np.random.Generator) -> tuple[Any, Any]:
        classes = self.shape[self.axis]
        rows = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        weight = rng.random(classes).astype(checks.working(self.dtype))
        weight[rng.random(classes) < 0.2] = 0.0
        if "int" not in self.target:
            values = rng.random(self.shape).astype(checks.dtype_of(self.target))
            values[rng.random(self.shape) < 0.3] = 0.0
            return values, weight if self.weighted else None
        labels = rng.integers(0, classes, rows).astype(self.target)
        if self.ignore_index is not None:
            labels[rng.random(rows) < 0.3] = self.ignore_index
        return labels, weight if self.weighted else None


def wide_target(target: np.ndarray) -> np.ndarray:
    return target if target.dtype.kind == "i" else wide(target)


def by_definition(
    x: np.ndarray,
    target: np.ndarray,
    axis: int,
    reduction: str,
    weight: np.ndarray | None,
    ignore_index: int | None,
    smoothing: float,
    least: float = 0.0,
) -> tuple[np.ndarray, np.ndarray, tuple[Any, Any]]:
    """The loss, its gradient, and what their errors are relative to: for the gradient
    `least` over the divisor, or more."""
    rows = np.moveaxis(x, axis, -1)
    classes = rows.shape[-1]
    w = np.ones(classes) if weight is None else wide(weight)
    if target.dtype.kind == "i":
        kept = target != ignore_index if ignore_index is not None else target == target
        t = np.eye(classes)[np.where(kept, target, 0)]
        by = w[np.where(kept, target, 0)] * kept
        t = (1 - smoothing) * t + smoothing / classes
    else:
        kept = np.ones(rows.shape[:-1], bool)
        t = (1 - smoothing) * np.moveaxis(target, axis, -1) + smoothing / classes
        by = np.ones(rows.shape[:-1])
    u = w * t * kept[..., None]
    with np.errstate(all="ignore"):
        d = rows - rows.max(axis=-1, keepdims=True)
        others = np.exp(
            d
        )  # without the largest: log1p keeps the digits of small losses
        np.put_along_axis(others, d.argmax(axis=-1, keepdims=True), 0.0, axis=-1)
        lp = d - np.log1p(others.sum(axis=-1, keepdims=True))
        losses = -np.where(u == 0, 0.0, u * lp).sum(axis=-1)
        p = np.exp(lp)
        total = u.sum(axis=-1, keepdims=True)
        gradient = np.where(kept[..., None], p * total - u, 0.0)
        # (Below 1e-38 float32 is flushed to 0, before it is multiplied too.)
        least = np.maximum(least, 1e-30 * (1.0 + abs(total)))
        size = np.maximum(p * total + u, least)
        divisor = by.sum() if reduction == "mean" else 1.0
        if reduction != "none":
            losses = np.asarray(losses.sum() / divisor)
        if divisor == 0:
            gradient, size, divisor = gradient * 0, size * 0, 1.0
    back = [np.moveaxis(each / divisor, -1, axis) for each in (gradient, size)]
    return losses, back[0], (abs(losses), back[1])


# Logits with label 0 and the loss, where subtracting from 1 would lose every digit.
CONFIDENT = [
    ("float64", [0.0, -40.0], 4.248354255291589e-18),
    ("float32", [0.0, -20.0], 2.0611536203143807e-9),
]


def confident_rows(backend: Any) -> None:
    """The digits of a loss of almost 0, and of its gradient at the label."""
    for dtype, row, loss in CONFIDENT:
        x = tg.tensor(np.array([row], dtype), device="cuda", requires_grad=True)
        got = tg.softmax_cross_entropy(x, tg.tensor([0], device="cuda"))
        got.backward()
        assert x.grad is not None
        assert_close(got.detach().array, np.array(loss), dtype, 8)
        assert_close(x.grad.array, np.array([[-loss, loss]]), dtype, 8)


# Every kernel and the limits between them: rows in registers, in shared memory and read
# twice; few long rows, in parts; classes on other axes; all options.
CASES = [
    Case((1, 1), 1),
    Case((17, 3), 1, target="int32"),
    Case((19, 8), 1, "float16", weighted=True),
    Case((5, 8), 1, "bfloat16", shift=1, reduction="sum"),
    Case((9, 100), 1, ignore_index=-100),
    Case((9, 100), 1, "float64", ignore_index=3, weighted=True, reduction="none"),
    Case((3, 257), 1, smoothing=0.1),
    Case((3, 1032), 1, "float16", smoothing=0.1, ignore_index=7, weighted=True),
    Case((2, 2050), 1, "float64", target="float64", weighted=True),
    Case((3, 520), 1, "float16", target="float16", reduction="sum"),
    Case((3, 520), 1, "float16", target="float32", smoothing=0.2, reduction="none"),
    Case((3, 7), 1, "bfloat16", target="float32", shift=1),
    Case((4, 4100), 1, target="float32", weighted=True),
    Case((4, 17001), 1),
    Case((2, 12288), 1, target="float32"),  # 48 KB but for what the kernel declares
    Case((1, 8200), 1),  # in parts
    Case((1, 20001), 1, "bfloat16", smoothing=0.1),
    Case((1, 16400), 1, target="float32", weighted=True, reduction="none"),
    Case((1, 8200), 1, "bfloat16", target="float32", scale=30.0),  # flushed to 0
    Case((7, 5), 0),
    Case((2, 3, 4), 1, ignore_index=0, weighted=True),
    Case((2, 11, 3), 1, smoothing=0.1, ignore_index=0),
    Case((2, 3, 5), 1, "float16", target="float16", smoothing=0.1),
    Case((6, 9), 1, transposed=True),
    Case((6, 9), 1, target="float32", transposed=True, reduction="none"),
    Case((20000, 2), 1, ignore_index=1),  # more rows than one block sums up
]
