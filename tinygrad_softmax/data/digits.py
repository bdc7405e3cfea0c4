"""Scikit-learn's handwritten digits: real data that comes inside a package."""

from __future__ import annotations

import numpy as np

from ..extras import require
from .labelled import LabelledRows

__all__ = ["DIGITS", "load_digits"]

DIGITS = "scikit-learn's digits"


def load_digits() -> LabelledRows:
    """1,797 handwritten digits of 8 x 8 pixels, each pixel a count from 0 to 16.

    They are the test part of E. Alpaydin and C. Kaynak's "Optical Recognition of
    Handwritten Digits" (UCI Machine Learning Repository, 1998), as shipped with
    scikit-learn: no download.

    Returns:
        Features of shape (1797, 64), ten classes "0" to "9".

    Raises:
        MissingExtraError: scikit-learn is not installed.

    >>> load_digits().features.shape
    (1797, 64)
    """
    datasets = require("sklearn.datasets", "scikit-learn", "the digits")
    bunch = datasets.load_digits()
    return LabelledRows(
        name=DIGITS,
        features=np.asarray(bunch.data, dtype=np.float64),
        target=np.asarray(bunch.target, dtype=np.int64),
        feature_names=tuple(map(str, bunch.feature_names)),
        class_names=tuple(str(name) for name in bunch.target_names),
        target_name="digit",
    )
