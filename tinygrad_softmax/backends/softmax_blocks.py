"""The softmax family on one block of rows, by its rows or transposed.

The names are those of base.py: m the maximum of a row, d = x - m, e = exp(d), s the sum
of e without the maximum.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .dtypes import working_dtype
from .scratch import scratch
from .targets import Targets

Array = Any

NARROW = 32  # up to so many classes a block is transposed: measured
NARROW_SIZE = 8192  # where there are so many numbers
SUM_AT_ONCE = 1024  # so many numbers einsum adds without rounding badly
FEW = 1024  # rows whose starts are kept
# (Beside an array of no axes NumPy adds in half of the time that a number takes it.)
ONE = {char: np.ones((), char) for char in "fd"}
# Where exp(x) and its sum are neither too large nor too small for their digits.
LEAST_SUM, MOST_SUM, LEAST_X = 1e-18, 1e30, -80.0


def row_sums(e: Array) -> Array:
    """Sums along the last axis of (n, C), some three times as fast as `sum`.

    (`e @ ones` is as fast, but may start threads of its own.)
    """
    n, classes = e.shape
    if classes <= SUM_AT_ONCE:
        return np.einsum("ij->i", e)
    whole = classes - classes % SUM_AT_ONCE
    parts = e[:, :whole].reshape(n, -1, SUM_AT_ONCE)
    sums = np.einsum("ijk->ij", parts).sum(axis=1)
    return sums + np.einsum("ij->i", e[:, whole:]) if whole < classes else sums


# -- what the kernels share: a block by its rows, and a block transposed ---------------


def _place_for(x: Array, out: Array | None) -> Array:
    """Where a block is computed: in the result itself, if that can hold it."""
    dtype = working_dtype(x.dtype)
    if out is not None and out.dtype == dtype and out.flags.c_contiguous:
        return out
    return scratch.array(0, x.shape, dtype)


def _as_it_is(x: Array, place: Array) -> Array:
    """x, or a copy in `place` where it has another dtype or is not in order."""
    if x.dtype == place.dtype and x.flags.c_contiguous:
        return x
    np.copyto(place, x)
    return place


@lru_cache(maxsize=32)
def _starts(rows: int, classes: int) -> Array:
    """Where the rows of a small block start: making it anew costs as much as using it.

    Not to be written to.
    """
    starts = np.arange(0, rows * classes, classes)
    starts.flags.writeable = False
    return starts


def _shifted_rows(x: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    """d, filled; where its rows start in memory, and their maxima; and m."""
    x = _as_it_is(x, d)
    starts = _starts(*x.shape) if len(x) <= FEW else np.arange(0, x.size, x.shape[1])
    top = starts + x.argmax(axis=1)
    m = x.reshape(-1)[top]
    np.subtract(x, m[:, None], out=d)
    return d, starts, top, m


def _exponentials(d: Array, flat: Array, top: Array) -> Array:
    """s; and e in place of d, whose elements are `flat`.

    (At the maximum e is 1, but nan where that is infinite or nan.)
    """
    np.exp(d, out=d)
    largest = flat[top]
    flat[top] = 0.0
    s = row_sums(d)
    flat[top] = largest
    return s


def _is_narrow(x: Array) -> bool:
    """Whether a block is faster transposed: a sum over few numbers is slow, so it is
    done for all rows at once, along contiguous memory."""
    return x.shape[1] <= NARROW and x.size >= NARROW_SIZE


def _shifted_columns(x: Array) -> tuple[Array, Array, Array] | None:
    """d and e of the block transposed, and m; None if a maximum is not finite."""
    shape, dtype = x.shape[::-1], working_dtype(x.dtype)
    d, e = scratch.array(0, shape, dtype), scratch.array(1, shape, dtype)
    np.copyto(d, x.T)
    m = np.maximum.reduce(d, axis=0)
    if not np.isfinite(m).all():
        return None
    d -= m
    np.exp(d, out=e)
    return d, e, m


def _column_sums(d: Array, e: Array, out: Array) -> Array:
    """s: every maximum is left out, and all but one of them counted in again.

    `out` (d or e) is overwritten.
    """
    ties = np.add.reduce(e, axis=0)
    below = scratch.array(2, d.shape, np.dtype(bool))
    np.less(d, 0.0, out=below)
    np.multiply(e, below, out=out)
    s = np.add.reduce(out, axis=0)
    ties -= s
    s += np.rint(ties) - 1.0
    return s


# -- one block -------------------------------------------------------------------------


def softmax(x: Array, out: Array) -> None:
    """exp(x) / sum(exp(x)), which saves the search for the maximum and a subtraction.

    Rows for whose exponentials that would be too much or too little are done again. (By
    the row itself, so that no row's digits depend on its neighbours.)
    """
    if _is_narrow(x):
        e = scratch.array(0, x.shape[::-1], working_dtype(x.dtype))
        np.copyto(e, x.T)
        np.exp(e, out=e)
        s = np.add.reduce(e, axis=0)
        e /= s  # not times 1 / s: that is rounded twice, and e / e would not be 1
        np.copyto(out, e.T, casting="same_kind")
    else:
        e = _place_for(x, out)
        np.exp(_as_it_is(x, e), out=e)
        s = row_sums(e)
        np.divide(e, s[:, None], out=out, casting="same_kind")
    again = _out_of_range(x, s)
    if again is not None:
        out[again] = _shifted_softmax(x[again])


def _out_of_range(x: Array, s: Array) -> Array | None:
    """Numbers of the rows whose sum s of exp(x), or a term that counts, lost digits.

    In a sum of 1 or more, what underflows would do so when divided by it, too.
    """
    least, most = s.item(s.argmin()), s.item(s.argmax())  # nan if one is
    if least >= 1.0 and most <= MOST_SUM:
        return None
    good = (s >= LEAST_SUM) & (s <= MOST_SUM)
    if not least >= 1.0 and not x.min() >= LEAST_X:
        good &= (s >= 1.0) | (x.min(axis=1) >= LEAST_X)
    again = np.flatnonzero(~good)
    return again if len(again) else None


def _shifted_softmax(x: Array) -> Array:
    e, _, top, _ = _shifted_rows(x, scratch.array(1, x.shape, working_dtype(x.dtype)))
    s = _exponentials(e, e.reshape(-1), top)
    s += 1.0
    e /= s[:, None]
    return e


def log_softmax(x: Array, out: Array) -> None:
    found = _shifted_columns(x) if _is_narrow(x) else None
    if found is not None:
        d, e, _ = found
        d -= np.log1p(_column_sums(d, e, e))
        np.copyto(out, d.T, casting="same_kind")
        return
    d, _, top, _ = _shifted_rows(x, _place_for(x, out))
    e = scratch.array(1, x.shape, d.dtype)
    np.exp(d, out=e)
    e.reshape(-1)[top] = 0.0
    np.subtract(d, np.log1p(row_sums(e))[:, None], out=out, casting="same_kind")


def logsumexp(x: Array, out: Array) -> None:
    found = _shifted_columns(x) if _is_narrow(x) else None
    if found is not None:
        d, e, m = found
        s = _column_sums(d, e, e)
    else:
        d, _, top, m = _shifted_rows(x, _place_for(x, None))
        s = _exponentials(d, d.reshape(-1), top)
        s[np.isinf(m)] = 0.0
    np.add(m, np.log1p(s), out=out, casting="same_kind")


def softmax_vjp(g: Array, p: Array, out: Array) -> None:
    work = _place_for(p, out)
    np.multiply(g, p, out=work)  # (np.vecdot keeps the interpreter's lock)
    np.subtract(g, row_sums(work)[:, None], out=work)
    np.multiply(work, p, out=out, casting="same_kind")


def log_softmax_vjp(g: Array, lp: Array, out: Array) -> None:
    work = _place_for(lp, out)
    np.exp(lp, out=work)
    work *= row_sums(g.astype(work.dtype, copy=False))[:, None]
    np.subtract(g, work, out=out, casting="same_kind")


def of_labels(x: Array, targets: Targets, grad: Array | None, scale: Any) -> Array:
    """The losses of a block of rows with labels, and into `grad` their gradient.

    With w the weight of the label y, the loss is w (log1p(s) - d[y]) and the gradient
    w e / (1 + s), minus w at y; where y is the maximum that is -w s / (1 + s).
    """
    labels, weights = targets.values, 1.0
    ignored = None if targets.ignore_index is None else targets.ignored()
    if ignored is not None:
        labels = np.where(ignored, labels.dtype.type(0), labels)
    if targets.weight is not None:
        dtype = working_dtype(x.dtype)
        weights = targets.weight.astype(dtype, copy=False)[labels]
    found = _columns(x, labels, weights, grad, scale) if _is_narrow(x) else None
    log_sum, at_label = found or _rows(x, labels, weights, grad, scale)
    if targets.weight is None:
        losses = log_sum - at_label
    else:
        losses = weights * log_sum - np.where(weights == 0, 0.0, weights * at_label)
    if ignored is not None:
        losses[ignored] = 0.0
        if grad is not None:
            grad[ignored] = 0.0
    return losses


def of_plain_labels(x: Array, labels: Array, grad: Array | None, scale: Any) -> Array:
    """`of_labels` of a small block, all of whose labels are classes of weight 1."""
    log_sum, at_label = _rows(x, labels, 1.0, grad, scale)
    return log_sum - at_label


def _rows(
    x: Array, labels: Array, weights: Any, grad: Array | None, scale: Any
) -> tuple[Array, Array]:
    """(log1p(s), d[y]) of rows as they are; their gradient goes into `grad`."""
    e, starts, top, _ = _shifted_rows(x, _place_for(x, grad))
    flat, at = e.reshape(-1), starts + labels
    at_label = flat[at]  # where y is the maximum 0, or nan if that is not finite
    s = _exponentials(e, flat, top)
    log_sum = np.log1p(s)
    if grad is None:
        return log_sum, at_label
    whole = np.asarray(weights * scale, s.dtype)
    denominator = s + ONE[s.dtype.char]
    e *= (whole / denominator)[:, None]
    s *= whole
    s /= denominator  # (rounded as it is in the reference, to the bit)
    new = flat[at]
    new -= whole
    np.putmask(new, at == top, at_label - s)
    flat[at] = new
    if e is not grad:
        np.copyto(grad, e, casting="same_kind")
    return log_sum, at_label


def _columns(
    x: Array, labels: Array, weights: Any, grad: Array | None, scale: Any
) -> tuple[Array, Array] | None:
    """What `_rows` does, on the block transposed; None if a maximum is not finite."""
    found = _shifted_columns(x)
    if found is None:
        return None
    d, e, _ = found
    at = labels * len(x)
    at += np.arange(len(x))
    at_label = d.reshape(-1)[at]
    s = _column_sums(d, e, d)
    log_sum = np.log1p(s)
    if grad is None:
        return log_sum, at_label
    whole = weights * scale
    ratio = whole / (1.0 + s)
    e *= ratio
    flat = e.reshape(-1)
    s *= ratio
    flat[at] = np.where(at_label == 0, -s, flat[at] - whole)
    np.copyto(grad, e.T, casting="same_kind")
    return log_sum, at_label
