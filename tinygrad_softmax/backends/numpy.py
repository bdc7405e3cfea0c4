"""The CPU backend: NumPy, with the loops that pay arranged for the cache."""

from __future__ import annotations

from functools import lru_cache, partial
from math import copysign
from typing import Any

import numpy as np

from . import buffers, threads
from .base import Array
from .dtypes import float16, float32, float64, is_half, working_dtype
from .numpy_attention import attention, attention_grad
from .numpy_channels import NumpyChannels
from .numpy_convolutions import LIMIT, NumpyConvolutions, multiply
from .numpy_gelu import gelu
from .numpy_norms import NumpyNorms, one_dtype
from .numpy_pooling import NumpyPooling
from .numpy_softmax import SoftmaxKernels, all_below
from .numpy_sums import FEW, RUN, scatter_add_rows, sum_axes, sum_batch
from .targets import LabelError, label_error

GELU_BYTES = 1024 * 1024  # of x at a time; measured best among 128 KB .. 2 MB
BLOCK = 1 << 17  # elements of an activation: threads that call rarely wait less
THREADED_BYTES = 1 << 21  # from which on it pays to wake a thread
WHERE_SIZE = 1 << 10  # elements from which on bits are faster than branches
ZEROS = 1 << 14  # of them are kept
ONE_THREAD = 1 << 21  # multiplications of a product that one thread does
BITS = {float16: np.int16, float32: np.int32, float64: np.int64}


class NumpyBackend(
    NumpyConvolutions, NumpyPooling, SoftmaxKernels, NumpyNorms, NumpyChannels
):
    """Arrays in host memory, computed by NumPy."""

    name = "cpu"
    xp = np
    array_type = np.ndarray

    def unit(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """NumPy's scalar where it may be one: it is added twenty times as fast."""
        return np.ones(shape, dtype) if shape else dtype.type(1)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """`np.empty`; a large one may be an earlier result that nobody holds."""
        return buffers.empty(shape, dtype)

    def workers(self, nbytes: int) -> int:
        """All threads that kernels may use, from 2 MB on."""
        return threads.get_num_threads() if nbytes >= THREADED_BYTES else 1

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        """The sum over some axes, in blocks: exact over a long batch too."""
        if x.dtype.char in "fd" and x.size and axis:
            if axis == (0,) and len(x) <= RUN:
                return np.add.reduce(x, axis=0, keepdims=keepdims)
            few = x.ndim == 2 and len(x) <= FEW and x.flags.c_contiguous
            if axis == (0,) and few:
                return sum_batch(x)[None] if keepdims else sum_batch(x)
            return sum_axes(x, axis, keepdims)
        return super().sum(x, axis, keepdims)

    def where(self, condition: Array, a: Any, b: Any) -> Array:
        """`np.where`; a choice between floats and 0 is made of their bits.

        That is ten times faster on values in no order, whose branches can't be
        predicted: x 0 or x 1, as integers, leaves nan, inf and -0.0 as they are.
        """
        size = getattr(condition, "size", 0)
        if size < WHERE_SIZE or condition.dtype != bool:
            return np.where(condition, a, b)
        if type(a) is float:
            condition, a, b = ~condition, b, a
        bits = BITS.get(getattr(a, "dtype", None))
        if bits is None or type(b) is not float or b or copysign(1.0, b) < 0.0:
            return np.where(condition, a, b)
        return np.multiply(condition, a.view(bits)).view(a.dtype)

    def relu(self, x: Array) -> Array:
        """`np.maximum(x, 0)`, much faster beside zeros than beside a number."""
        plain = getattr(x, "ndim", 0) and x.dtype.char in "fd" and x.flags.c_contiguous
        if not plain:
            return np.maximum(x, 0)
        zeros = _zeros(x.dtype)
        if x.size <= ZEROS:
            return np.maximum(x, zeros[: x.size].reshape(x.shape))
        out = self.empty(x.shape, x.dtype)
        whole, rows = x.size - x.size % ZEROS, (-1, ZEROS)
        flat, into = x.reshape(-1), out.reshape(-1)
        np.maximum(flat[:whole].reshape(rows), zeros, out=into[:whole].reshape(rows))
        np.maximum(flat[whole:], zeros[: x.size - whole], out=into[whole:])
        return out

    def matmul(self, a: Array, b: Array) -> Array:
        """What is not worth two threads keeps BLAS from waking its own.

        They go on spinning afterwards and hold up those of the next kernel.
        """
        if a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.dtype.char in "fd":
            size = a.size * b.shape[1]
            if not LIMIT < size <= ONE_THREAD or a.shape[1] != b.shape[0]:
                return np.matmul(a, b)
            out = np.empty((a.shape[0], b.shape[1]), a.dtype)
            multiply(a, b, out, LIMIT)
            return out
        return super().matmul(a, b)

    def scatter_add(self, out: Array, index: Any, values: Array) -> None:
        """`out[index] += values` in place; rows of a matrix four times faster."""
        key = index[0] if isinstance(index, tuple) and len(index) == 1 else index
        integers = isinstance(key, np.ndarray) and key.dtype.kind in "iu"
        if not integers or is_half(out.dtype) or not scatter_add_rows(out, key, values):
            super().scatter_add(out, index, values)

    def attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        scale: float,
        causal: bool,
        with_grad: bool,
    ) -> tuple[Array, Array | None]:
        """The reference kernel, a few heads at a time."""
        if one_dtype(query, key, value):
            return attention(query, key, value, scale, causal, with_grad)
        return super().attention(query, key, value, scale, causal, with_grad)

    def attention_grad(
        self,
        g: Array,
        query: Array,
        key: Array,
        value: Array,
        weights: Array,
        scale: float,
        causal: bool,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The reference kernel, a few heads at a time."""
        arrays = query, key, value, weights
        if one_dtype(*arrays) and one_dtype(query, g):
            return attention_grad(g, *arrays, scale, causal, needs)
        return super().attention_grad(g, *arrays, scale, causal, needs)

    def examine_labels(
        self,
        labels: Array,
        classes: int,
        ignore_index: int | None,
        error: LabelError = label_error,
    ) -> tuple[Array | None, int | None]:
        """One pass where all labels are classes: below 0 they are huge if unsigned."""
        whole = labels.size and labels.dtype.kind in "iu"
        if whole and all_below(labels, classes):
            if ignore_index is not None and 0 <= ignore_index < classes:
                return None, ignore_index
            return None, None
        return super().examine_labels(labels, classes, ignore_index, error)

    def bad_labels(
        self, labels: Array, classes: int, ignore_index: int | None
    ) -> Array | None:
        """None where all are good, which the host may look at: it has a faster kernel
        for those."""
        bad = super().bad_labels(labels, classes, ignore_index)
        return bad if bad is not None and bad.any() else None

    def elementwise(self, function: Any, *arrays: Array) -> Array:
        """The function, block by block, on several threads."""
        x = arrays[0]
        kinds = {(getattr(a, "shape", None), getattr(a, "dtype", None)) for a in arrays}
        if len(kinds) > 1 or getattr(x, "dtype", None) not in BITS or x.size <= BLOCK:
            return function(np, *arrays)
        flat = [np.ascontiguousarray(each).reshape(-1) for each in arrays]
        out = self.empty(x.shape, x.dtype)

        def work(i: int) -> None:
            part = slice(i * BLOCK, (i + 1) * BLOCK)
            out.reshape(-1)[part] = function(np, *(each[part] for each in flat))

        threads.for_each(work, -(-x.size // BLOCK), threads.get_num_threads())
        return out

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """The reference kernel, block by block; float32 has a faster one."""
        if approximate == "none" and x.size and x.dtype.char in "ef":
            plain = partial(super().gelu, approximate=approximate, with_grad=with_grad)
            return gelu(x, with_grad, plain)
        step = GELU_BYTES // max(1, x.itemsize)
        if x.size <= step or x.dtype.kind != "f":
            return super().gelu(x, approximate, with_grad)
        flat, kernel = np.ascontiguousarray(x).reshape(-1), super().gelu
        out = self.empty(x.shape, x.dtype)
        slope = self.empty(x.shape, working_dtype(x.dtype)) if with_grad else None

        def work(i: int) -> None:
            part = slice(i * step, (i + 1) * step)
            out.reshape(-1)[part], found = kernel(flat[part], approximate, with_grad)
            if slope is not None:
                slope.reshape(-1)[part] = found

        threads.for_each(work, -(-x.size // step), threads.get_num_threads())
        return out, slope


@lru_cache(maxsize=2)
def _zeros(dtype: Any) -> Array:
    """Zeros that stay: not to be written to."""
    zeros = np.zeros(ZEROS, dtype)
    zeros.flags.writeable = False
    return zeros
