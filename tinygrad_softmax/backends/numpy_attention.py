"""Attention on the CPU: a few heads at a time, so that their scores stay in the cache.

Scores are computed, masked, normalised and multiplied with the values before the next
heads' are; long sequences go block of queries by block of queries, and a causal block
leaves out the keys behind its last query. What a block has depends on the shapes alone,
and no two blocks add into one array unless one thread does both.

A row's softmax needs no maximum taken off where all scores are small: exp has the same
relative error everywhere, and nothing overflows. Taking it off costs rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import threads

Array = Any
Grads = tuple[Array | None, Array | None, Array | None]

BLOCK_BYTES = 512 * 1024  # of scores; measured best among 64 KB .. 512 KB
THREADED_BYTES = 256 * 1024  # of all scores, from which on threads pay
SMALL_PRODUCT = 1 << 18  # multiplications up to which OpenBLAS starts no threads
SAFE = 40.0  # exp(+-40) and sums of them are far from the ends of float32


class _Tasks(NamedTuple):
    """How the work is cut: some heads of some samples, `rows` queries at a time."""

    places: list[tuple[slice, slice]]
    rows: int
    threads: int

    def run(self, work: Callable[[tuple[slice, slice]], None]) -> None:
        """Call work((samples, heads)) for each, on so many threads."""
        places = self.places
        threads.for_each(lambda i: work(places[i]), len(places), self.threads)


def _cut(query: Array, key: Array, value: Array) -> _Tasks:
    samples, number, length, width = query.shape
    keys = key.shape[2]
    row = keys * query.itemsize
    heads = min(number, max(1, BLOCK_BYTES // (length * row)))
    some = max(1, BLOCK_BYTES // (number * length * row))
    rows = min(length, max(16, BLOCK_BYTES // row))
    places = [
        (slice(n, n + some), slice(h, h + heads))
        for n in range(0, samples, some)
        for h in range(0, number, heads)
    ]
    # A product that BLAS shares out among threads must not be called from threads.
    small = rows * keys * max(width, value.shape[3]) <= SMALL_PRODUCT
    large = samples * number * length * row >= THREADED_BYTES
    return _Tasks(places, rows, threads.get_num_threads() if small and large else 1)


def _four_axes(x: Array) -> Array:
    """x as (samples, heads, length, width)."""
    if x.ndim < 4:
        return x.reshape((1,) * (4 - x.ndim) + x.shape)
    return x if x.ndim == 4 else x.reshape(-1, *x.shape[-3:])


def _empty(like: Array, width: int) -> Array:
    """A new array of the shape of `like`, but for the last axis, and laid out as it is.

    The heads of a query mostly lie side by side in memory, and so should theirs.
    """
    samples, heads, length, _ = like.shape
    if like.strides[1] < like.strides[2]:
        return np.empty((samples, length, heads, width), like.dtype).swapaxes(1, 2)
    return np.empty((samples, heads, length, width), like.dtype)


def _weigh(p: Array, first: int, seen: Array | None) -> None:
    """Turn scores into weights, in place; from key `first` on, only what is `seen`."""
    if not (p.min() >= -SAFE and p.max() <= SAFE):  # or there is a nan
        p -= _large_maxima(p, first, seen)
    np.exp(p, out=p)
    if seen is not None:
        p[..., first:] *= seen
    p /= np.add.reduce(p, axis=-1, keepdims=True)


def _large_maxima(p: Array, first: int, seen: Array | None) -> Array:
    """The maximum of each row; 0 where all that it sees is small, so that no row's
    digits depend on another's scores. What is not seen becomes -inf."""
    tail, hidden = p[..., first:], None if seen is None else seen == 0.0
    if hidden is not None:
        np.copyto(tail, 0.0, where=hidden)
    small = p.min(axis=-1, keepdims=True) >= -SAFE
    small &= p.max(axis=-1, keepdims=True) <= SAFE
    if hidden is not None:
        np.copyto(tail, -np.inf, where=hidden)
    m = p.max(axis=-1, keepdims=True)
    m[small] = 0.0
    return m


@np.errstate(all="ignore")
def attention(
    query: Array,
    key: Array,
    value: Array,
    scale: float,
    causal: bool,
    with_grad: bool,
) -> tuple[Array, Array | None]:
    """`AttentionKernels.attention` for float32 and float64, all of one dtype."""
    lead = query.shape[:-2]
    q, k, v = _four_axes(query), _four_axes(key), _four_axes(value)
    tasks, length, keys = _cut(q, k, v), q.shape[2], k.shape[2]
    out = _empty(q, v.shape[3])
    weights = np.empty((*q.shape[:3], keys), q.dtype) if with_grad else None
    lower = np.tri(tasks.rows, dtype=q.dtype) if causal else None

    def work(place: Any) -> None:
        turned = k[place].swapaxes(-1, -2)
        turned = np.multiply(turned, scale, order="C")
        for start in range(0, length, tasks.rows):
            some, end = _visible(start, tasks.rows, length, keys, causal)
            seen = None
            if lower is not None and end > start:
                seen = lower[: some.stop - start, : end - start]
            p = None if weights is None else weights[place][..., some, :end]
            p = np.matmul(q[place][..., some, :], turned[..., :end], out=p)
            _weigh(p, start, seen)
            np.matmul(p, v[place][..., :end, :], out=out[place][..., some, :])

    tasks.run(work)
    if weights is not None:
        weights = weights.reshape(*lead, length, keys)
    return out.reshape(*lead, length, v.shape[3]), weights


@np.errstate(all="ignore")
def attention_grad(
    g: Array,
    query: Array,
    key: Array,
    value: Array,
    weights: Array,
    scale: float,
    causal: bool,
    needs: tuple[bool, bool, bool],
) -> Grads:
    """`AttentionKernels.attention_grad` with the weights that `attention` left."""
    g, weights = _four_axes(g), _four_axes(weights)
    q, k, v = _four_axes(query), _four_axes(key), _four_axes(value)
    tasks, length, keys = _cut(q, k, v), q.shape[2], k.shape[2]
    at_once = tasks.rows == length and (not causal or length >= keys)
    dq = _empty(q, q.shape[3]) if needs[0] else None
    dk = _empty(k, k.shape[3]) if needs[1] else None
    dv = _empty(v, v.shape[3]) if needs[2] else None

    def work(place: Any) -> None:
        turned = np.multiply(v[place].swapaxes(-1, -2), scale, order="C")
        for each in (dk, dv):
            if each is not None and not at_once:
                each[place] = 0.0
        for start in range(0, length, tasks.rows):
            some, end = _visible(start, tasks.rows, length, keys, causal)
            rows, p = g[place][..., some, :], weights[place][..., some, :end]
            if dv is not None:
                _product(dv[place][..., :end, :], p.swapaxes(-1, -2), rows, at_once)
            if dq is None and dk is None:
                continue
            ds = np.matmul(rows, turned[..., :end])
            ds -= np.vecdot(ds, p)[..., None]
            ds *= p
            if dq is not None:
                np.matmul(ds, k[place][..., :end, :], out=dq[place][..., some, :])
            if dk is not None:
                ds = ds.swapaxes(-1, -2)
                _product(dk[place][..., :end, :], ds, q[place][..., some, :], at_once)

    tasks.run(work)
    pairs = ((dq, query), (dk, key), (dv, value))
    dq, dk, dv = (None if x is None else x.reshape(y.shape) for x, y in pairs)
    return dq, dk, dv


def _visible(
    start: int, rows: int, length: int, keys: int, causal: bool
) -> tuple[slice, int]:
    """A block's queries, and how many keys its last one sees."""
    stop = min(length, start + rows)
    return slice(start, stop), min(stop, keys) if causal else keys


def _product(out: Array, a: Array, b: Array, at_once: bool) -> None:
    """Write or, where there are several blocks, add a b to `out`."""
    if at_once:
        np.matmul(a, b, out=out)
    else:
        out += np.matmul(a, b)
