"""gelu and its slope on the CPU for float32: few passes, over blocks in the cache.

With a = |x|, e = exp(-x^2 / 2) and Mills' ratio M(a) = exp(a^2 / 2) Phi(-a),

    q = e M(a)              is the normal distribution function at -|x|,
    Phi(x) = |(x > 0) - q|  at x: q is in full where it is small, in both tails,
    gelu(x) = x Phi(x),     slope = Phi(x) + x e / sqrt(2 pi)

(DLMF 7.8.1; Hendrycks & Gimpel, 2016), so that value and slope take one exponential. M
is a quotient of polynomials; both come from one matrix product of the coefficients with
the powers of a, which is one pass over memory instead of eighteen.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import buffers, threads

Array = Any

BLOCK = 1 << 17  # elements; larger than L2, but threads that call rarely wait less
PRODUCT = 1 << 14  # columns multiplied at a time: so few that BLAS starts no threads
THREADED = 1 << 16  # elements from which on a second thread pays
LARGE = 1e5  # its fifth power is still a float32
DENSITY = math.sqrt(0.5 / math.pi)

# What scripts/make_gelu_coefficients.py prints, and it says what they fit.
# fmt: off
MILLS = (  # at most 7.9e-09 off
    (0.5000000021756479, 0.43867425738206206, 0.18347186143016864,
     0.04070006147737858, 0.004122528203069215),
    (1.0, 1.6752334168384364, 1.2035824337408796,
     0.4700843052336978, 0.10202606508008999, 0.01033353410301861),
)
# fmt: on
# From the highest power down: a sum that begins with its small terms rounds less.
TABLE = np.array([(0.0, *MILLS[0][::-1]), MILLS[1][::-1]], np.float32)


class Scratch(threading.local):
    """A thread's arrays, used again and again, beside those of scratch.py: one row of
    them stays as it is.

    Rows for six powers of a, the last of them 1, and for the quotient's numerator and
    denominator; and a mask.
    """

    def __init__(self) -> None:
        self.rows = np.empty((8, 0), np.float32)
        self.mask = np.empty(0, bool)

    def of(self, size: int) -> tuple[Array, Array]:
        if self.mask.size < size:
            self.rows = np.empty((8, size), np.float32)
            self.rows[5] = 1.0
            self.mask = np.empty(size, bool)
        return self.rows[:, :size], self.mask[:size]


scratch = Scratch()


def gelu(
    x: Array, with_grad: bool, plain: Callable[[Array], tuple[Array, Any]]
) -> tuple[Array, Any]:
    """x Phi(x) and, or None, its slope, in float32; x: float16 or float32, not empty.

    `plain` does infinite, nan and huge elements.
    """
    flat, shape = np.ascontiguousarray(x).reshape(-1), x.shape
    out = buffers.empty(shape, x.dtype)
    slope = buffers.empty(shape, np.dtype(np.float32)) if with_grad else None
    flat_out = out.reshape(-1)
    flat_slope = None if slope is None else slope.reshape(-1)
    step, number = _cut(flat.size)

    def work(i: int) -> None:
        part = slice(i * step, (i + 1) * step)
        found = None if flat_slope is None else flat_slope[part]
        left = _block(flat[part], flat_out[part], found)
        if left is not None:
            flat_out[part][left], values = plain(flat[part][left])
            if found is not None:
                found[left] = values

    with np.errstate(all="ignore"):
        threads.for_each(work, -(-flat.size // step), number)
    return out, slope


def _cut(size: int) -> tuple[int, int]:
    """The length of a block, which depends on the size alone, and how many threads."""
    if size < THREADED:
        return size, 1
    blocks = max(2, -(-size // BLOCK))
    return -(-size // blocks), threads.get_num_threads()


def _block(x: Array, out: Array, slope: Array | None) -> Array | None:
    """Fill `out` and `slope` for a block; where that can't be done, or None."""
    rows, mask = scratch.of(x.size)
    a5, a4, a3, a2, a, _, q, e = rows
    if x.dtype != np.float32:
        np.copyto(e, x)
        x = e.copy()
    np.abs(x, out=a)
    left = None
    if not np.maximum.reduce(a) < LARGE:
        left = np.flatnonzero(~(a < LARGE))
        a[left] = 0.0
    np.multiply(a, a, out=a2)
    np.multiply(a, a2, out=a3)
    np.multiply(a2, a2, out=a4)
    np.multiply(a2, a3, out=a5)
    for start in range(0, x.size, PRODUCT):
        part = slice(start, start + PRODUCT)
        np.matmul(TABLE, rows[:6, part], out=rows[6:, part])
    q /= e
    _exponential(a2, out=e)
    q *= e
    np.greater(x, 0.0, out=mask)
    cdf = np.subtract(mask, q, out=q)
    np.abs(cdf, out=cdf)
    np.multiply(x, cdf, out=out, casting="same_kind")
    if slope is not None:
        e *= DENSITY
        e *= x
        np.add(cdf, e, out=slope)
    return left


def _exponential(square: Array, out: Array) -> None:
    """exp(-square / 2). Where NumPy has a vectorised exp2, that is faster and twice as
    exact."""
    if _has_fast_exp2():
        np.multiply(square, -0.5 / math.log(2.0), out=out)
        np.exp2(out, out=out)
    else:
        np.multiply(square, -0.5, out=out)
        np.exp(out, out=out)


_fast_exp2: bool | None = None  # not yet asked


def _has_fast_exp2() -> bool:
    """Whether NumPy runs exp2 of float32 with more than the processor's baseline."""
    global _fast_exp2
    if _fast_exp2 is None:
        try:
            from numpy.lib.introspect import opt_func_info  # NumPy 2.1

            found = opt_func_info(func_name="^exp2$", signature="float32")
            targets = [each["current"] for each in found["exp2"].values()]
            _fast_exp2 = not targets[0].startswith("baseline")
        except (ImportError, KeyError, IndexError):
            _fast_exp2 = False
    return _fast_exp2
