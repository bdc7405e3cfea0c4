"""An array as a few coloured cells, or as a number: what a box of a drawing shows."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from .summaries import host
from .words import number

ROWS, COLUMNS = 4, 10  # of cells; a larger array is sampled
CELL = 9.0
AT_ONCE = 4096  # elements, up to which an array is fetched whole


def sampled(value: Any, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """At most so many rows and columns of an array, evenly spread, on the host. Of more
    than two axes all but the last run down; nothing but the sample is copied."""
    if not getattr(value, "shape", ()):
        return host(value).reshape(1, 1)
    if 0 in value.shape:
        return np.zeros((0, 0))
    if value.size <= AT_ONCE:
        value = host(value)
    lead, last = value.shape[:-1], value.shape[-1]
    count = int(np.prod(lead, dtype=np.int64)) if lead else 1
    across = _places(last, columns)
    found = []
    for row in _places(count, rows):
        index = tuple(int(i) for i in np.unravel_index(row, lead)) if lead else ()
        line = value[index] if index else value
        step = across[1] - across[0] if len(across) > 1 else 1
        found.append(host(line[: across[-1] + 1 : step])[: len(across)])
    return np.stack(found)


def _places(n: int, most: int) -> list[int]:
    """At most so many places of 0 to n - 1, the same distance apart."""
    step = -(-n // most)
    return list(range(0, n, step))


def scalar_text(value: Any, letters: int) -> str:
    """The number in an array of one element, if it fits; else ""."""
    if getattr(value, "size", 1) != 1 or (getattr(value, "ndim", 0) > 1):
        return ""
    only = host(value).reshape(-1)[0]
    for text in (number(only), f"{float(only):.2g}", f"{float(only):.0e}"):
        if len(text) <= letters:
            return text
    return ""


def picture(value: Any, width: float, height: float) -> str:
    """A heat map of at most that size: a path for each colour, and a rim."""
    cells = sampled(value)
    rows, columns = cells.shape
    if not rows:
        return '<text y="12">no elements</text>'
    with np.errstate(all="ignore"):
        wide = cells.astype(np.float64)
        finite = np.abs(wide[np.isfinite(wide)])
    top = float(finite.max()) if finite.size else 0.0
    across, down = min(CELL, width / columns), min(CELL, height / rows)
    paths: dict[str, list[str]] = {}
    for i, row in enumerate(wide.tolist()):
        start = 0
        for j in range(1, columns + 1):
            color = color_of(row[start], top)
            if j < columns and color_of(row[j], top) == color:
                continue
            x, length = round(start * across, 1), round((j - start) * across, 1)
            y, tall = round(i * down, 1), round(down, 1)
            path = f"M{x:g},{y:g}h{length:g}v{tall:g}h{-length:g}z"
            paths.setdefault(color, []).append(path)
            start = j
    parts = [f'<path class="{k}" d="{"".join(v)}"/>' for k, v in paths.items()]
    rim = f"M0,0h{columns * across:.1f}v{rows * down:.1f}H0z"
    return "".join([*parts, f'<path class="rim" d="{rim}"/>'])


def color_of(x: float, top: float) -> str:
    """A number's class: "p1" to "p4", "n1" to "n4", "zero"; "odd" for inf and nan."""
    if not isfinite(x):
        return "odd"
    if not x or not top:
        return "zero"
    level = min(4, max(1, int(np.ceil(abs(x) / top * 4))))
    return f"{'p' if x > 0 else 'n'}{level}"
