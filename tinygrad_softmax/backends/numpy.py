"""The CPU backend: NumPy, with the loops that pay arranged for the cache."""

from __future__ import annotations

from math import copysign
from typing import Any

import numpy as np

from .base import Array
from .dtypes import float16, float32, float64, working_dtype
from .numpy_convolutions import LIMIT, NumpyConvolutions, multiply
from .numpy_norms import layer_norm, layer_norm_grad
from .numpy_pooling import NumpyPooling
from .numpy_softmax import SoftmaxKernels
from .numpy_sums import RUN, scatter_add_rows, sum_axes
from .scratch import empty
from .targets import LabelError, label_error

GELU_BYTES = 128 * 1024  # of x; there are some eight arrays of that size on the way
WHERE_SIZE = 1 << 11  # elements from which on bits are faster than branches
ONE_THREAD = 1 << 21  # multiplications of a product that one thread does
BITS = {float16: np.int16, float32: np.int32, float64: np.int64}


class NumpyBackend(NumpyConvolutions, NumpyPooling, SoftmaxKernels):
    """Arrays in host memory, computed by NumPy."""

    name = "cpu"
    xp = np
    array_type = np.ndarray

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        """The sum over some axes, in blocks: exact over a long batch too."""
        if x.dtype.char in "fd" and x.size and axis:
            if axis == (0,) and len(x) <= RUN:
                return np.add.reduce(x, axis=0, keepdims=keepdims)
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
        out = empty(np.broadcast_shapes(condition.shape, a.shape), bits)
        return np.multiply(condition, a.view(bits), out=out).view(a.dtype)

    def relu(self, x: Array) -> Array:
        """`np.maximum(x, 0)`, which is only fast beside an array of zeros."""
        if x.size < WHERE_SIZE or x.dtype.char not in "fd" or not x.flags.c_contiguous:
            return np.maximum(x, 0)
        out = empty(x.shape, x.dtype)
        whole, rows = x.size - x.size % WHERE_SIZE, (-1, WHERE_SIZE)
        flat, into = x.reshape(-1), out.reshape(-1)
        zeros = np.zeros(WHERE_SIZE, x.dtype)
        np.maximum(flat[:whole].reshape(rows), zeros, out=into[:whole].reshape(rows))
        np.maximum(flat[whole:], 0, out=into[whole:])
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
        if not integers or not scatter_add_rows(out, key, values):
            super().scatter_add(out, index, values)

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """The reference kernel, block of rows by block of rows."""
        if _one_dtype(x, weight, bias):
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
        if _one_dtype(x, g, weight):
            return layer_norm_grad(g, x, weight, mean, scale, needs)
        return super().layer_norm_grad(g, x, weight, mean, scale, needs)

    def examine_labels(
        self,
        labels: Array,
        classes: int,
        ignore_index: int | None,
        error: LabelError = label_error,
    ) -> tuple[Array | None, int | None]:
        """One pass where all labels are classes: below 0 they are huge if unsigned."""
        if labels.size and labels.dtype.kind in "iu":
            unsigned = labels.view(f"u{labels.itemsize}")
            if np.maximum.reduce(unsigned, axis=None) < classes:
                if ignore_index is not None and 0 <= ignore_index < classes:
                    return None, ignore_index
                return None, None
        return super().examine_labels(labels, classes, ignore_index, error)

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """The reference kernel, block by block: what it makes stays in cache."""
        step = GELU_BYTES // max(1, x.itemsize)
        if x.size <= step or x.dtype.kind != "f":
            return super().gelu(x, approximate, with_grad)
        flat = np.ascontiguousarray(x).reshape(-1)
        out = np.empty_like(flat)
        slope = np.empty(flat.shape, working_dtype(x.dtype)) if with_grad else None
        for start in range(0, flat.size, step):
            part = slice(start, start + step)
            out[part], found = super().gelu(flat[part], approximate, with_grad)
            if slope is not None:
                slope[part] = found
        return out.reshape(x.shape), None if slope is None else slope.reshape(x.shape)


def _one_dtype(x: Array, *others: Array | None) -> bool:
    """Whether arrays are not empty and all of one dtype, float32 or float64."""
    same = all(each is None or each.dtype == x.dtype for each in others)
    return same and x.dtype.char in "fd" and x.size > 0
