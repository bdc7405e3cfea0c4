"""Reductions: many elements become one.

All take `axis` (None for all axes, a number, or several) and, but for `cumsum`,
`keepdims` (keep the reduced axes with length 1), as NumPy's do. 16-bit floats are
accumulated in float32.
"""

from __future__ import annotations

import builtins
from math import inf, nan
from math import prod as _product

from ..autograd import primitive
from ..autograd.core_ops import broadcast_to
from ..backends import backend_of, namespace
from ..backends.dtypes import float32, is_floating, is_half
from .arithmetic import multiply, where
from .axes import check_array, check_axes, check_axis, kept_shape, length
from .elementwise import abs, sign
from .joining import concatenate
from .powers import pow
from .shaping import _reshape, flip, moveaxis
from .softmaxes import rows_of, softmax


def _spread(g, x_shape, axis):
    """A gradient of the reduced shape, repeated along the axes that were reduced."""
    return broadcast_to(_reshape(g, shape=kept_shape(x_shape, axis)), shape=x_shape)


def _accumulator(x):
    return float32 if is_half(x.dtype) else None


@primitive(name="sum")
def _sum(x, *, axis, keepdims):
    out = backend_of(x).sum(x, axis, keepdims)
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_sum.vjp("x")
def _(g, x_shape, axis):
    return _spread(g, x_shape, axis)


def sum(x, axis=None, keepdims=False):
    """The sum over some axes. d/dx = 1.

    >>> tg.sum(tg.ones((2, 3)), axis=1)
    tensor([3., 3.])
    """
    return _sum(x, axis=check_axes("sum", axis, x), keepdims=keepdims)


@primitive(name="mean")
def _mean(x, *, axis, keepdims):
    n = length(x.shape, axis)
    if not n or not is_floating(x.dtype):
        return namespace(x).mean(x, axis=axis, keepdims=keepdims)
    out = backend_of(x).sum(x, axis, keepdims) / n
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_mean.vjp("x")
def _(g, x_shape, axis):
    return _spread(g * (1.0 / builtins.max(1, length(x_shape, axis))), x_shape, axis)


def mean(x, axis=None, keepdims=False):
    """The arithmetic mean over some axes. d/dx = 1/n. The mean of nothing is nan.

    >>> tg.mean(tg.tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    return _mean(x, axis=check_axes("mean", axis, x), keepdims=keepdims)


@primitive(name="var")
def _var(x, *, axis, correction, keepdims):
    wide = _accumulator(x)
    out = namespace(x).var(x, axis=axis, dtype=wide, ddof=correction, keepdims=keepdims)
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_var.vjp("x")
def _(g, x, x_shape, axis, correction):
    factor = 2.0 * _over(length(x_shape, axis) - correction)
    return _spread(g * factor, x_shape, axis) * (x - _mean(x, axis=axis, keepdims=True))


def _over(n):
    return 1.0 / n if n > 0 else nan


def var(x, axis=None, correction=0, keepdims=False):
    """The variance, sum((x - mean)^2) / (n - correction), over some axes.

    correction: 0 for the population variance (as NumPy's default), 1 for the sample
        variance (as PyTorch's default). d/dx = 2 (x - mean) / (n - correction).

    >>> tg.var(tg.tensor([1.0, 3.0])), tg.var(tg.tensor([1.0, 3.0]), correction=1)
    (tensor(1.), tensor(2.))
    """
    axis = check_axes("var", axis, x)
    return _var(x, axis=axis, correction=correction, keepdims=keepdims)


@primitive(name="std")
def _std(x, *, axis, correction, keepdims):
    wide = _accumulator(x)
    out = namespace(x).std(x, axis=axis, dtype=wide, ddof=correction, keepdims=keepdims)
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_std.vjp("x")
def _(g, x, out, x_shape, axis, correction):
    # (x - mean) / ((n - correction) std), and 0 where std is 0.
    n = length(x_shape, axis) - correction
    scale = where(out == 0, 0.0, g * _over(n) / where(out == 0, 1.0, out))
    return _spread(scale, x_shape, axis) * (x - _mean(x, axis=axis, keepdims=True))


def std(x, axis=None, correction=0, keepdims=False):
    """The standard deviation: the square root of `var`, with its `correction`.

    The gradient is 0 where it is 0: there the function has a kink.

    >>> tg.std(tg.tensor([1.0, 3.0]))
    tensor(1.)
    """
    axis = check_axes("std", axis, x)
    return _std(x, axis=axis, correction=correction, keepdims=keepdims)


@primitive(name="prod")
def _prod(x, *, axis, keepdims):
    out = namespace(x).prod(x, axis=axis, dtype=_accumulator(x), keepdims=keepdims)
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_prod.vjp("x")
def _(g, x, x_shape, axis):
    # The product of the others, from both sides, is exact where elements are 0, and
    # so are its derivatives; out / x is neither.
    rest = tuple(i for i in range(len(x_shape)) if i not in axis)
    lengths = tuple(x_shape[i] for i in rest)
    n = length(x_shape, axis)
    flat = moveaxis(x, axis, range(len(rest), len(x_shape)))
    flat = _reshape(flat, shape=(*lengths, n))
    others = _products_before(flat) * flip(_products_before(flip(flat, -1)), -1)
    others = _reshape(others, shape=(*lengths, *(x_shape[i] for i in axis)))
    others = moveaxis(others, range(len(rest), len(x_shape)), axis)
    return _spread(g, x_shape, axis) * others


def _products_before(x):
    """Along the last axis, the product of the elements before each one, by doubling."""
    n = x.shape[-1]
    shifted, step = _shift_in_ones(x, 1), 1
    while step < n:
        shifted = multiply(shifted, _shift_in_ones(shifted, step))
        step *= 2
    return shifted


def _shift_in_ones(x, step):
    step = builtins.min(step, x.shape[-1])
    kept = x[..., : x.shape[-1] - step]
    array = getattr(x, "array", x)
    xp = backend_of(array).xp
    return concatenate([xp.ones((*x.shape[:-1], step), x.dtype), kept], axis=-1)


def prod(x, axis=None, keepdims=False):
    """The product over some axes. d/dx_i = the product of the others, exact at zeros.

    >>> tg.prod(tg.tensor([2.0, 3.0, 4.0]))
    tensor(24.)
    """
    return _prod(x, axis=check_axes("prod", axis, x), keepdims=keepdims)


@primitive(name="max")
def _max(x, *, axis, keepdims):
    return namespace(x).max(x, axis=axis, keepdims=keepdims)


@primitive(name="min")
def _min(x, *, axis, keepdims):
    return namespace(x).min(x, axis=axis, keepdims=keepdims)


@_max.vjp("x")
@_min.vjp("x")
def _(g, x, out, x_shape, axis):
    # The elements that tie at the extremum share the gradient evenly.
    ties = _ties(x, _spread(out, x_shape, axis))
    return _spread(g, x_shape, axis) * (ties / _sum(ties, axis=axis, keepdims=True))


@primitive(differentiable=False)
def _ties(x, extremum):
    """1 where x equals its extremum, else 0, in x's dtype."""
    return (x == extremum).astype(x.dtype)


def max(x, axis=None, keepdims=False):
    """The largest element over some axes; nan if one is. Ties share the gradient.

    >>> tg.max(tg.tensor([1.0, 3.0, 2.0]))
    tensor(3.)
    """
    return _max(x, axis=_nonempty("max", axis, x), keepdims=keepdims)


def min(x, axis=None, keepdims=False):
    """The smallest element over some axes; nan if one is. Ties share the gradient.

    >>> tg.min(tg.tensor([1.0, 3.0, 2.0]))
    tensor(1.)
    """
    return _min(x, axis=_nonempty("min", axis, x), keepdims=keepdims)


def _nonempty(name, axis, x):
    axis = check_axes(name, axis, x)
    if length(x.shape, axis) == 0:
        raise ValueError(
            f"{name}: shape {x.shape} has no elements along axis {axis}, and nothing "
            f"has no {name}"
        )
    return axis


@primitive(name="cumsum")
def _cumsum(x, *, axis):
    out = namespace(x).cumsum(x, axis=axis, dtype=_accumulator(x))
    return out.astype(x.dtype) if is_half(x.dtype) else out


@_cumsum.vjp("x")
def _(g, axis):
    return flip(_cumsum(flip(g, axis), axis=axis), axis)


def cumsum(x, axis=None):
    """The running sum along an axis (None: of the flattened array).

    >>> tg.cumsum(tg.tensor([1.0, 2.0, 3.0]))
    tensor([1., 3., 6.])
    """
    check_array("cumsum", x)
    if axis is None:
        x, axis = _reshape(x, shape=(_product(x.shape),)), 0
    return _cumsum(x, axis=check_axis("cumsum", axis, x))


@primitive(name="logsumexp")
def _logsumexp(x):
    rows, _ = rows_of(x, -1)
    return backend_of(x).logsumexp(rows).reshape(x.shape[:-1])


@_logsumexp.vjp("x")
def _(g, x, x_shape):
    return _spread(g, x_shape, (len(x_shape) - 1,)) * softmax(x, -1)


def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over some axes, without overflow. d/dx = softmax(x).

    Computed as m + log1p(s): m is the maximum and s the sum of exp(x - m) over the
    other elements. A slice of -inf gives -inf.

    >>> tg.logsumexp(tg.tensor([1000.0, 1000.0]))
    tensor(1000.69316)
    """
    axes = _nonempty("logsumexp", axis, x)
    shape = tuple(x.shape)
    rest = tuple(n for i, n in enumerate(shape) if i not in axes)
    last = moveaxis(x, axes, range(len(rest), len(shape)))
    out = _logsumexp(_reshape(last, shape=(*rest, length(shape, axes))))
    return _reshape(out, shape=kept_shape(shape, axes)) if keepdims else out


@primitive(name="norm")
def _norm(x, *, axis, keepdims):
    # Scaled by the largest element, so that squares neither overflow nor vanish.
    xp, out_dtype = namespace(x), x.dtype
    if is_half(x.dtype):
        x = x.astype(float32)
    scale = xp.ones((), x.dtype)
    if x.size:
        largest = xp.max(xp.abs(x), axis=axis, keepdims=True)
        usable = (largest > 0) & xp.isfinite(largest)
        scale = xp.where(usable, largest, xp.ones_like(largest))
    scaled = x / scale
    out = xp.sqrt(xp.sum(scaled * scaled, axis=axis, keepdims=True)) * scale
    out = out.astype(out_dtype) if is_half(out_dtype) else out
    if keepdims:
        return out
    return out.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axis))


@_norm.vjp("x")
def _(g, x, out, x_shape, axis):
    scale = where(out == 0, 0.0, g / where(out == 0, 1.0, out))
    return _spread(scale, x_shape, axis) * x


def norm(x, ord: float = 2, axis=None, keepdims=False):
    """The vector norm over some axes (None: of all elements, Frobenius for a matrix).

    ord: 2 for the Euclidean norm, 1, inf, -inf, 0 (the number of non-zeros, without a
        gradient), or any p > 0: sum(|x|^p)^(1/p).

    The gradient of the 2-norm is x / norm. At 0, where norms have a kink, it is 0.

    >>> tg.norm(tg.tensor([3.0, 4.0]))
    tensor(5.)
    """
    axes = check_axes("norm", axis, x)
    if ord in (None, 2, "fro"):
        return _norm(x, axis=axes, keepdims=keepdims)
    if isinstance(ord, str) or (ord < 0 and ord != -inf):
        raise ValueError(
            f"norm: ord was given as {ord!r}; expected a vector norm: 0, 1, 2, inf, "
            "-inf or any p > 0"
        )
    if ord == 0:
        return _sum(where(x == 0, 0.0, sign(x) * sign(x)), axis=axes, keepdims=keepdims)
    if ord in (inf, -inf):
        return (max if ord > 0 else min)(abs(x), axes, keepdims)
    if ord == 1:
        return _sum(abs(x), axis=axes, keepdims=keepdims)
    total = _sum(pow(abs(x), ord), axis=axes, keepdims=keepdims)
    return where(total == 0, 0.0, pow(where(total == 0, 1.0, total), 1.0 / ord))
