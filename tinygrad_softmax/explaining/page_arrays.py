"""The arrays of a page: each is written once, in as few digits as tell it exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from .summaries import host, summary

_FLOAT64 = np.dtype(np.float64)


class ArrayPool:
    """Summaries of arrays (summaries.py), each of them once."""

    def __init__(self) -> None:
        self.arrays: list[dict[str, Any]] = []
        self._places: dict[Any, int] = {}
        self._seen: dict[int, tuple[Any, int]] = {}  # (the array, so that ids stay)

    def add(self, value: Any) -> int | None:
        """The place of an array among `arrays`; None for None."""
        if value is None:
            return None
        known = self._seen.get(id(value))
        if known is not None:
            return known[1]
        array = host(value)
        name = getattr(getattr(value, "dtype", None), "name", type(value).__name__)
        key = (name, array.shape, array.dtype.str, array.tobytes())
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.arrays)
            self.arrays.append(page_summary(value, array))
        self._seen[id(value)] = (value, place)
        return place

    def equal(self, one: int, two: int) -> bool:
        """Whether two arrays have the same shape and the same numbers."""
        keys = "shape", "values", "corners", "min", "max", "mean"
        a, b = self.arrays[one], self.arrays[two]
        return all(a.get(key) == b.get(key) for key in keys)


def page_summary(value: Any, array: np.ndarray) -> dict[str, Any]:
    """A summary in which `size` and what is as expected are left out, and numbers of
    less than 64 bits have no more digits than they need."""
    found = summary(value)
    assert found is not None
    del found["size"]
    for name in ("nan", "inf"):
        if not found[name]:
            del found[name]
    if "nan" not in found and "inf" not in found:
        del found["finite"]
    if "values" in found:
        for name in ("min", "max", "mean"):
            del found[name]
    if array.dtype.kind == "f" and array.dtype != _FLOAT64:
        for name in ("values", "corners"):
            if name in found:
                found[name] = _short(found[name], array.dtype.type)
    for name in ("min", "max", "mean"):
        if isinstance(found.get(name), float):
            found[name] = float(f"{found[name]:.6g}")
    if "histogram" in found:
        edges = found["histogram"]["edges"]
        found["histogram"]["edges"] = [edges[0], edges[-1]]
        found["histogram"]["edges"] = [float(f"{x:.6g}") for x in (edges[0], edges[-1])]
    return found


def _short(numbers: Any, kind: Any) -> Any:
    """The shortest decimals that are these numbers in their own precision."""
    if isinstance(numbers, list):
        return [_short(each, kind) for each in numbers]
    if not isinstance(numbers, float):
        return numbers
    return float(str(kind(numbers)))
