"""Standardising columns: mean 0 and standard deviation 1 on the training part."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["StandardScaler"]


class StandardScaler(NamedTuple):
    """Subtracts each column's mean and divides by its standard deviation.

    Both are taken from the rows given to `fit`, which must be the training rows only:
    anything learnt from held-out rows would flatter the result on them.

    Attributes:
        mean: float64, shape (columns,).
        scale: float64, shape (columns,), positive; 1 for a column that is constant.

    >>> scaler = StandardScaler.fit(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> scaler.transform(np.array([[1.0, 7.0], [5.0, 8.0]])).tolist()
    [[-1.0, 0.0], [3.0, 1.0]]
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> StandardScaler:
        """Learn mean and scale of each column of `features` (rows, columns)."""
        if features.ndim != 2 or not len(features):
            raise ValueError(
                f"StandardScaler.fit needs rows and columns, got shape {features.shape}"
            )
        features = features.astype(np.float64)
        # Divided by the largest value first, so that squares cannot overflow.
        largest = np.abs(features).max(axis=0)
        largest[largest == 0] = 1.0
        unit = features / largest
        unit_mean = unit.mean(axis=0)
        scale = unit.std(axis=0) * largest
        # Rounding gives a constant column of 0.1 a deviation near 1e-17.
        constant = features.min(axis=0) == features.max(axis=0)
        constant |= scale <= 8 * np.finfo(np.float64).eps * largest
        mean = np.where(constant, features[0], unit_mean * largest)
        return cls(mean, np.where(constant, 1.0, scale))

    def transform(self, features: np.ndarray) -> np.ndarray:
        """`(features - mean) / scale` as float32, the dtype that models compute in."""
        with np.errstate(over="ignore"):  # what overflows is inf, and callers look
            return ((features - self.mean) / self.scale).astype(np.float32)
