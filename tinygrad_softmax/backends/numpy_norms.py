"""Layer and RMS norm on the CPU: block by block of rows, on several threads.

What is made on the way stays in the cache, and each block is written where the result
is wanted. Sums along a row are dot products; sums over rows are products with runs of
`RUN` rows, added up in float64. Both are too small for BLAS to start threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from . import buffers, threads
from .norms import NormKernels
from .numpy_sums import RUN
from .scratch import scratch, small_buffer

Array = Any

BLOCK_BYTES = 2 * 1024 * 1024  # of x: a call takes long beside waking the other thread
THREADED_BYTES = 2 * 1024 * 1024  # of x: below, a second thread costs more than it does
STRIPES = 16  # stretches of blocks whose sums over rows are added up at the end
DOT = 8192  # elements of a dot product: OpenBLAS starts threads above 10,000
PRODUCT = 1 << 18  # multiplications in a product: OpenBLAS starts threads above
VECTOR = 9000  # the same where one side is a vector: 9,216
UNBUFFERED = range(384, 8193)  # widths for which NumPy's buffers are too large


def _by_stripes(work: Callable[[int, slice], None], x: Array) -> int:
    """Call work(stripe, rows) for the blocks of x; how many stripes there are.

    The blocks of a stripe are done one after the other. What they are depends on the
    array alone, so that the digits don't depend on the number of threads.
    """
    step = max(1, BLOCK_BYTES // (x.shape[1] * x.itemsize))
    blocks, number = -(-len(x) // step), 1
    if x.nbytes >= THREADED_BYTES:
        number = threads.get_num_threads()
        blocks += blocks % 2  # two threads have as much to do
        step = -(-len(x) // blocks)
        blocks = -(-len(x) // step)
    each = -(-blocks // STRIPES)
    narrow_buffer = x.size > DOT and x.shape[1] in UNBUFFERED
    if blocks == 1 and not narrow_buffer:
        work(0, slice(None))
        return 1

    def stripe(i: int) -> None:
        for j in range(i * each, min(blocks, (i + 1) * each)):
            work(i, slice(j * step, (j + 1) * step))

    stripes = -(-blocks // each)
    with small_buffer(narrow_buffer):
        threads.for_each(stripe, stripes, number)
    return stripes


@lru_cache(8)
def _ones(width: int, dtype: Any) -> Array:
    ones = np.ones(width, dtype)
    ones.flags.writeable = False
    return ones


def _dots(a: Array, b: Array) -> Array:
    """The products of the rows of a with those of b, or with b; shape (n, 1)."""
    width = a.shape[1]
    if width <= DOT:
        return np.vecdot(a, b)[:, None]
    parts = [slice(start, start + DOT) for start in range(0, width, DOT)]
    sums = [np.vecdot(a[:, part], b[..., part]) for part in parts]
    return np.add.reduce(sums, axis=0)[:, None]


def _row_sums(total: Array, shares: Array, x: Array) -> None:
    """total += shares @ x, for shares (n, 1) and x (n, C): by runs of rows, in float64.

    (A second row of zeros makes a product of it: a vector would be BLAS's to split.)
    """
    n, width = x.shape
    if x.size <= VECTOR:  # the fewest calls
        total += np.matmul(shares.T.astype(np.float64), x.astype(np.float64))[0]
        return
    whole, rest = divmod(n, RUN)
    pairs = np.zeros((whole + 1, 2, RUN), x.dtype)
    pairs[:whole, 0] = shares[: n - rest].reshape(whole, RUN)
    pairs[whole, 0, :rest] = shares[n - rest :, 0]
    step = PRODUCT // (2 * RUN)
    for start in range(0, width, step):
        part = slice(start, min(width, start + step))
        runs = x[: n - rest, part].reshape(whole, RUN, part.stop - start)
        sums = np.matmul(pairs[:whole], runs)[:, 0].astype(np.float64)
        total[part] += np.add.reduce(sums, axis=0)
        if rest:
            last = np.matmul(pairs[whole, :, :rest], x[n - rest :, part])[0]
            total[part] += last.astype(np.float64)


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """`NormKernels.layer_norm` for float32 and float64, all of one dtype."""
    mean = np.empty((len(x), 1), x.dtype)
    out, scale = _normalised(x, weight, bias, eps, mean)
    return out, mean, scale


def rms_norm(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """`NormKernels.rms_norm` for float32 and float64, all of one dtype."""
    return _normalised(x, weight, None, eps, None)


def _normalised(
    x: Array, weight: Array | None, bias: Array | None, eps: float, mean: Array | None
) -> tuple[Array, Array]:
    """Rows less their mean, which is written, if there is to be one; and the scale."""
    share = 1.0 / x.shape[1]
    ones = None if mean is None else _ones(x.shape[1], x.dtype)
    out, scale = buffers.empty(x.shape, x.dtype), np.empty((len(x), 1), x.dtype)

    def work(_: int, part: slice) -> None:
        rows = np.ascontiguousarray(x[part])
        y, s = out[part], scale[part]
        if mean is not None:
            m = np.multiply(_dots(rows, ones), share, out=mean[part])
            rows = np.subtract(rows, m, out=y)
        np.multiply(_dots(rows, rows), share, out=s)
        s += eps
        np.sqrt(s, out=s)
        np.divide(1.0, s, out=s)
        np.multiply(rows, s, out=y)
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias

    _by_stripes(work, x)
    return out, scale


def layer_norm_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array | None,
    scale: Array,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:
    """`NormKernels.layer_norm_grad` for float32 and float64, all of one dtype.

    With y = x - mean, p = g * y and the scale s, it is

        dweight = s @ p,    dx = (g * weight - c y - mean(g * weight)) s

    where c = s^2 mean(p * weight); the means are products with weight / C. Without a
    mean y = x, and the last mean is left out: that is the gradient of RMS norm.
    """
    width = x.shape[1]
    dx = buffers.empty(x.shape, x.dtype) if needs[0] else None
    sums = np.zeros((STRIPES, 2, width), np.float64)
    shares = np.full(width, 1.0, x.dtype) if weight is None else weight
    shares = np.ascontiguousarray(shares * x.dtype.type(1.0 / width))

    def work(stripe: int, part: slice) -> None:
        y, some, s = x[part], np.ascontiguousarray(g[part]), scale[part]
        free, p = scratch.array(0, (2, *y.shape), y.dtype)
        if needs[0] or needs[1]:
            if mean is not None:
                y = np.subtract(y, mean[part], out=free)
            np.multiply(some, y, out=p)
        if needs[1]:
            _row_sums(sums[stripe, 0], s, p)
        if needs[2] and some.size <= VECTOR:
            sums[stripe, 1] += np.add.reduce(some, axis=0, dtype=np.float64)
        elif needs[2]:
            _row_sums(sums[stripe, 1], np.ones_like(s), some)
        if dx is None:
            return
        c = _dots(p, shares)
        c *= s
        c *= s
        y = np.multiply(y, c, out=free)
        if mean is not None:
            y += _dots(some, shares)
        d = dx[part]
        np.subtract(some if weight is None else np.multiply(some, weight, out=d), y, d)
        d *= s

    stripes = _by_stripes(work, x)
    total = sums[0] if stripes == 1 else np.add.reduce(sums[:stripes], axis=0)
    dweight = total[0].astype(x.dtype) if needs[1] else None
    return dx, dweight, total[1].astype(x.dtype) if needs[2] else None


def rms_norm_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    scale: Array,
    needs: tuple[bool, bool],
) -> tuple[Array | None, Array | None]:
    """`NormKernels.rms_norm_grad` for float32 and float64, all of one dtype."""
    return layer_norm_grad(g, x, weight, None, scale, (*needs, False))[:2]


def one_dtype(x: Array, *others: Array | None) -> bool:
    """Whether arrays are not empty and all of one dtype, float32 or float64."""
    dtype = x.dtype
    if dtype.char not in "fd" or not x.size:
        return False
    return all(each is None or each.dtype == dtype for each in others)


class NumpyNorms(NormKernels):
    """The kernels above where all arrays have one dtype; else the plain ones."""

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """The reference kernel, block of rows by block of rows."""
        if one_dtype(x, weight, bias):
            return layer_norm(x, weight, bias, eps)
        return super().layer_norm(x, weight, bias, eps)

    def layer_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        mean: Array,
        scale: Array,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The reference kernel, block of rows by block of rows."""
        if one_dtype(x, g, weight):
            return layer_norm_grad(g, x, weight, mean, scale, needs)
        return super().layer_norm_grad(g, x, weight, mean, scale, needs)

    def rms_norm(
        self, x: Array, weight: Array | None, eps: float
    ) -> tuple[Array, Array]:
        """The reference kernel, block of rows by block of rows."""
        if one_dtype(x, weight):
            return rms_norm(x, weight, eps)
        return super().rms_norm(x, weight, eps)

    def rms_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        scale: Array,
        needs: tuple[bool, bool],
    ) -> tuple[Array | None, Array | None]:
        """The reference kernel, block of rows by block of rows."""
        if one_dtype(x, g, weight):
            return rms_norm_grad(g, x, weight, scale, needs)
        return super().rms_norm_grad(g, x, weight, scale, needs)
