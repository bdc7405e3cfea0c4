"""Layer normalisation on the CPU: block by block of rows, so that what is made on the
way stays in the cache. Each block is written where the result is wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .numpy_sums import sum_rows

Array = Any

BLOCK_BYTES = 512 * 1024  # of x; measured best among 64 KB .. 1 MB


def blocks(x: Array) -> list[slice]:
    """Stretches of the rows of x, each as large as stays in the cache."""
    step = max(1, BLOCK_BYTES // max(1, x.shape[1] * x.itemsize))
    return [slice(start, start + step) for start in range(0, len(x), step)]


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """`NormKernels.layer_norm` for float32 and float64, all of one dtype."""
    n, share = len(x), 1.0 / x.shape[1]
    out = np.empty(x.shape, x.dtype)
    mean, scale = np.empty((2, n, 1), x.dtype)
    parts = blocks(x)
    scratch = np.empty(x[parts[0]].shape, x.dtype)
    for part in parts:
        rows = np.ascontiguousarray(x[part])  # NumPy sums these pairwise
        y, m, s = out[part], mean[part], scale[part]
        np.add.reduce(rows, axis=1, keepdims=True, out=m)
        m *= share
        np.subtract(rows, m, out=y)
        squares = np.multiply(y, y, out=scratch[: len(rows)])
        np.add.reduce(squares, axis=1, keepdims=True, out=s)
        s *= share
        s += eps
        np.sqrt(s, out=s)
        np.divide(1.0, s, out=s)
        y *= s
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
    return out, mean, scale


def layer_norm_grad(
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    scale: Array,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:
    """`NormKernels.layer_norm_grad` for float32 and float64, all of one dtype.

    With p = g * normal the sums over a row are products, h = g @ weight and p @ weight.
    """
    width = x.shape[1]
    dx = np.empty(x.shape, x.dtype) if needs[0] else None
    dweight, dbias = np.zeros((2, width), np.float64)
    shares = np.full(width, 1.0, x.dtype) if weight is None else weight
    shares = shares * x.dtype.type(1.0 / width)
    parts = blocks(x)
    normals = np.empty(x[parts[0]].shape, x.dtype)
    products = np.empty_like(normals)
    for part in parts:
        rows, some = x[part], np.ascontiguousarray(g[part])
        normal, product = normals[: len(rows)], products[: len(rows)]
        if needs[0] or needs[1]:
            np.subtract(rows, mean[part], out=normal)
            normal *= scale[part]
            np.multiply(some, normal, out=product)
        if needs[1]:
            dweight += sum_rows(product[None])[0]
        if needs[2]:
            dbias += sum_rows(some[None])[0]
        if dx is None:
            continue
        normal *= np.matmul(product, shares)[:, None]
        y = dx[part]
        if weight is None:
            np.subtract(some, normal, out=y)
        else:
            np.multiply(some, weight, out=y)
            y -= normal
        y -= np.matmul(some, shares)[:, None]
        y *= scale[part]
    return (
        dx,
        dweight.astype(x.dtype) if needs[1] else None,
        dbias.astype(x.dtype) if needs[2] else None,
    )
