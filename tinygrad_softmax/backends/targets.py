"""What each row of logits should be: class labels, or rows of target values.

`Targets` bundles the options of the softmax cross-entropy for its kernels, so that one
formula serves labels, probabilities, class weights, smoothing and ignored rows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .dtypes import is_floating

Array = Any
LabelError = Callable[[tuple[int, ...], int, int, Any], IndexError]


class Targets:
    """Targets of n rows over C classes, all on one backend.

    values: (n,) integer labels, or (..., C) floating target values; (n, C) for kernels.
    weight: (C,) class weights, or None for ones.
    ignore_index: label whose rows have loss 0 and gradient 0, or None.
    label_smoothing: e in (1 - e) * target + e / C.
    bad: (n,) mask of the labels that are out of range and not raised yet, or None.
    """

    __slots__ = ("bad", "ignore_index", "label_smoothing", "values", "weight", "xp")

    def __init__(
        self,
        xp: Any,
        values: Array,
        weight: Array | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        bad: Array | None = None,
    ) -> None:
        self.xp, self.values, self.weight = xp, values, weight
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.bad = bad

    def having(self, values: Array, bad: Array | None) -> Targets:
        """The same options for other values."""
        options = self.weight, self.ignore_index, self.label_smoothing
        return Targets(self.xp, values, *options, bad)

    def __getitem__(self, rows: slice) -> Targets:
        """The same options for some of the rows."""
        bad = None if self.bad is None else self.bad[rows]
        return self.having(self.values[rows], bad)

    @property
    def are_labels(self) -> bool:
        """Whether the targets are class labels (else: rows of target values)."""
        return not is_floating(self.values.dtype)

    def ignored(self) -> Array | None:
        """(n,) mask of the ignored rows; None where nothing can be ignored."""
        if self.ignore_index is None or not self.are_labels:
            return None
        return self.values == self.ignore_index

    @property
    def count(self) -> int:
        """The number of rows."""
        return prod(self.values.shape if self.are_labels else self.values.shape[:-1])

    def labels(self) -> Array:
        """(n,) labels that are safe to index with: 0 in ignored and in bad rows."""
        labels = self.values
        for mask in (self.ignored(), self.bad):
            if mask is not None:
                labels = self.xp.where(mask, labels.dtype.type(0), labels)
        return labels

    def row_weights(self, dtype: Any) -> Array:
        """(n,) weights whose sum the mean divides by: w[y], 0 for an ignored row.

        For rows of target values they are 1: that mean divides by n.
        """
        xp, ignored = self.xp, self.ignored()
        if self.weight is None or not self.are_labels:
            weights = xp.ones(self.count, dtype)
        else:
            weights = self.weight.astype(dtype, copy=False)[self.labels()]
        return weights if ignored is None else xp.where(ignored, dtype.type(0), weights)

    def dense(self, classes: int, dtype: Any) -> Array:
        """(n, C): u = w * t, t the smoothed target rows; zero rows where ignored."""
        xp, e = self.xp, self.label_smoothing
        if self.are_labels:
            u = xp.full((len(self.values), classes), e / classes, dtype)
            top, ignored = 1.0 - e, self.ignored()
            if ignored is not None:  # (u[ignored] = 0 would make a GPU wait)
                top = xp.where(ignored, dtype.type(0), dtype.type(top))
                if e:
                    u *= ~ignored[:, None]
            u[xp.arange(len(u)), self.labels()] += top
        else:
            u = self.values.astype(dtype)
            if e:
                u = (1.0 - e) * u + e / classes
        if self.weight is not None:
            u *= self.weight.astype(dtype, copy=False)
        return u


def label_error(
    row: tuple[int, ...],
    value: int,
    classes: int,
    ignore_index: int | None,
    name: str = "softmax_cross_entropy",
) -> IndexError:
    """The error for a label out of range: names row, value, range and the mend."""
    place = str(row[0]) if len(row) == 1 else str(row)
    also = "" if ignore_index is None else f" or ignore_index={ignore_index}"
    where = f"the label in row {place} is {value}" if row else f"the label is {value}"
    return IndexError(
        f"{name}: {where}, but with {classes} classes a label must be "
        f"in 0..{classes - 1}{also}; mend the label, or pass ignore_index={value} "
        "to leave such rows out"
    )
