"""Arrays in few words: for a line of text, and as plain data for a page.

Large arrays are never written out: they have a shape, a range, a histogram and their
corners.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from ..backends import backend_of

ALL = 64  # elements, up to which an array is given in full
CORNER = 3  # rows and columns of each corner
BINS = 16


def host(value: Any) -> np.ndarray:
    """Any array or number as a NumPy array on the host; 16-bit floats as float32."""
    value = getattr(value, "array", value)
    array = np.asarray(
        value
        if isinstance(value, (bool, int, float, np.ndarray, np.generic))
        else backend_of(value).to_host(value)
    )
    if array.dtype.kind not in "biuf" or array.dtype.itemsize == 2:
        array = array.astype(np.float32) if array.dtype.kind not in "biu" else array
    return array


def summary(value: Any) -> dict[str, Any] | None:
    """An array as plain numbers, lists and strings; None for None.

    shape, dtype, size; finite, nan, inf: how many; min, max, mean: of the finite ones
    (None where there are none). values: all of them, nested, up to 64 elements; of
    larger arrays `corners` (the first and last 3 along each of the last two axes, at
    the first place of the others, with `rows` and `columns` saying which) and
    `histogram` ("edges" and "counts" of 16 bins over the finite values). Infinities and
    nan are the strings "inf", "-inf" and "nan", as JSON has none.

    >>> summary(np.array([1.0, -2.0]))["min"], summary(np.array([1, 2]))["values"]
    (-2.0, [1, 2])
    """
    if value is None:
        return None
    dtype = getattr(getattr(value, "dtype", None), "name", type(value).__name__)
    array = host(value)
    found: dict[str, Any] = {"shape": list(array.shape), "dtype": dtype}
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        finite = wide[np.isfinite(wide)]
        found |= {"size": int(array.size), "finite": int(finite.size)}
        found |= {"nan": int(np.isnan(wide).sum()), "inf": int(np.isinf(wide).sum())}
        for name in ("min", "max", "mean"):
            each = float(getattr(finite, name)()) if finite.size else None
            found[name] = each if each is None or isfinite(each) else str(each)
        if array.size <= ALL:
            found["values"] = plain(array)
        else:
            found |= _outline(array, finite)
    return found


def plain(array: Any) -> Any:
    """Nested lists of Python numbers, with "nan", "inf" and "-inf" as strings."""
    if isinstance(array, np.ndarray):
        return plain(array.tolist())
    if isinstance(array, list):
        return [plain(each) for each in array]
    return array if not isinstance(array, float) or isfinite(array) else str(array)


def _outline(array: np.ndarray, finite: np.ndarray) -> dict[str, Any]:
    matrix = array.reshape((-1,) + array.shape[-1:])[: array.shape[-2]] if (
        array.ndim > 1
    ) else array.reshape(1, -1)  # fmt: skip
    rows, columns = _ends(matrix.shape[0]), _ends(matrix.shape[1])
    corners = plain(matrix[np.ix_(rows, columns)])
    found: dict[str, Any] = {"corners": corners, "rows": rows, "columns": columns}
    if finite.size:
        counts, edges = _histogram(finite)
        found["histogram"] = {"edges": plain(edges), "counts": counts.tolist()}
    return found


def _histogram(finite: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        return np.histogram(finite, BINS)
    except ValueError:
        # float64 has too few numbers in this range for the edges to differ, or none for
        # its width. The places of the values in it can be told all the same.
        low, high = float(finite.min()), float(finite.max())
        scale = 1.0 if isfinite(high - low) else 0.25
        above = finite * scale - low * scale
        share = above / above.max() if above.any() else np.full(finite.shape, 0.5)
        bins = np.minimum((share * BINS).astype(int), BINS - 1)
        shares = np.arange(BINS + 1) / BINS
        edges = (low * scale + (high * scale - low * scale) * shares) / scale
        return np.bincount(bins, minlength=BINS), np.clip(edges, low, high)


def _ends(n: int) -> list[int]:
    return (
        list(range(n)) if n <= 2 * CORNER else [*range(CORNER), *range(n - CORNER, n)]
    )
