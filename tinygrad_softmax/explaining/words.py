"""Numbers, arrays, sizes and shapes in few characters, for ledger and notebook."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np

from ..backends.random import Draw
from .summaries import host

ROWS = 6  # of a matrix that is shown row by row
LONG = 32  # elements of a vector that is shown in full


def number(value: Any) -> str:
    """Four significant digits; -0 is 0."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    text = f"{float(value):.4g}"
    return "0" if text == "-0" else text


def flat(value: Any) -> str:
    """All elements on one line, in brackets."""
    array = host(value)
    if not array.ndim:
        return number(array[()])
    return "[" + ", ".join(map(flat, array)) + "]" if array.ndim > 1 else _row(array)


def _row(array: Any) -> str:
    return "[" + ", ".join(map(number, array)) + "]"


def array_lines(value: Any, width: int) -> list[str]:
    """An array in lines of at most `width`: in full where it is small, a matrix row by
    row; of a large one its range, mean and first elements."""
    if value is None:
        return ["None"]
    array = host(value)
    if array.size <= 64:
        text = flat(array)
        if len(text) <= width:
            return [text]
        if array.ndim == 2 and len(array) <= ROWS:
            rows = [_row(row) for row in array]
            if max(map(len, rows)) + 2 <= width:
                last = len(rows) - 1
                return [
                    ("[" if not i else " ") + row + ("]" if i == last else ",")
                    for i, row in enumerate(rows)
                ]
        if array.ndim == 1 and array.size <= LONG:
            return wrap(text, width, subsequent_indent=" ")
    return [range_of(array, width)]


def range_of(array: np.ndarray, width: int) -> str:
    """The first elements of an array and its range, on one line."""
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64).ravel()
        finite = wide[np.isfinite(wide)]
    ends = "no finite number"
    if finite.size:
        with np.errstate(all="ignore"):
            low, mean, high = finite.min(), finite.mean(), finite.max()
        ends = f"{number(low)} to {number(high)}, mean {number(mean)}"
    strange = wide.size - finite.size
    if strange:
        ends += f", {strange} not finite"
    some = ""
    for count in (4, 3, 2, 1):
        some = "[" + ", ".join(map(number, array.ravel()[:count])) + ", ...]"
        if len(some) + len(ends) + 2 <= width:
            return f"{some}  {ends}"
    return ends[:width]


def shape_text(shape: tuple[int, ...]) -> str:
    """(3,) as "(3)", and a scalar's as "scalar"."""
    return "(" + ", ".join(map(str, shape)) + ")" if shape else "scalar"


def size_text(nbytes: int) -> str:
    """A number of bytes: "32 bytes", "1.5 kB", "20 MB"."""
    if nbytes < 10_000:
        return f"{nbytes} byte{'s' * (nbytes != 1)}"
    size, unit = nbytes / 1e3, "kB"
    for larger in ("MB", "GB"):
        if size >= 1000.0:
            size, unit = size / 1e3, larger
    return f"{size:.3g} {unit}"


def static_text(value: Any) -> str:
    """A static parameter, in at most 40 characters."""
    if isinstance(value, np.dtype):
        return value.name
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        text = flat(value) if host(value).size <= 8 else ""
        return text or f"{value.dtype} {shape_text(tuple(value.shape))}"
    if isinstance(value, Draw):
        return f"number {value.number} of seed {value.seed}"
    if isinstance(value, tuple) and any(hasattr(each, "dtype") for each in value):
        return "(" + ", ".join(map(static_text, value)) + ")"
    if isinstance(value, slice):
        parts = ["" if x is None else str(x) for x in (value.start, value.stop)]
        return ":".join(parts + ([str(value.step)] if value.step is not None else []))
    if isinstance(value, tuple) and any(isinstance(each, slice) for each in value):
        return "(" + ", ".join(map(static_text, value)) + ")"
    return cut("..." if value is ... else repr(value), 40)


def cut(text: str, width: int) -> str:
    """Text that fits, with "..." where some is left out."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def counted(n: int, word: str) -> str:
    """ "1 op", "7 ops", "2 leaves"."""
    plural = {"leaf": "leaves"}.get(word, word + "s")
    return f"{n:,} {word if n == 1 else plural}"
