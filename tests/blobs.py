"""Labelled rows that are quick to learn."""

from __future__ import annotations

import numpy as np

from tinygrad_softmax.data import LabelledRows


def blobs(rows: int = 120, classes: int = 3, seed: int = 0) -> LabelledRows:
    """Clouds that overlap a little, one a class."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    centres = 2.0 * rng.normal(size=(classes, 2))
    features = centres[target] + rng.normal(size=(rows, 2))
    names = tuple(f"class {i}" for i in range(classes))
    return LabelledRows("blobs", features, target, ("x", "y"), names, "kind")
