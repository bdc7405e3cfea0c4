"""softmax and log_softmax along one axis."""

from __future__ import annotations

from math import prod

from ..autograd import primitive
from ..autograd.core_ops import sum_to
from ..backends import backend_of, namespace
from ..backends.dtypes import get_default_dtype, is_floating
from .axes import check_array, check_axis
from .elementwise import exp


def rows_of(x, axis):
    """x as rows (n, C) with `axis` last, and a function that puts rows back.

    Integers become the default dtype.
    """
    floats = x if is_floating(x.dtype) else x.astype(get_default_dtype())
    return _rows_of_floats(floats, axis)


def _rows_of_floats(x, axis):
    if x.ndim == 2 and axis == 1:
        return x, lambda out: out  # (a view of it would look borrowed)
    xp = namespace(x)
    last = xp.moveaxis(x, axis, -1)
    rows = last.reshape(prod(last.shape[:-1]), x.shape[axis])
    return rows, lambda out: xp.moveaxis(out.reshape(last.shape), -1, axis)


@primitive(name="softmax")
def _softmax(x, *, axis):
    rows, back = rows_of(x, axis)
    return back(backend_of(x).softmax(rows))


@_softmax.vjp("x")
def _(g, out, axis):
    # The Jacobian is diag(p) - p p^T.
    weighted = g * out
    return weighted - out * _sum_along(weighted, axis)


@_softmax.fused("x")
def _(g, out, axis):
    rows, back = _rows_of_floats(out, axis)
    return back(backend_of(out).softmax_vjp(_rows_of_floats(g, axis)[0], rows))


@primitive(name="log_softmax")
def _log_softmax(x, *, axis):
    rows, back = rows_of(x, axis)
    return back(backend_of(x).log_softmax(rows))


@_log_softmax.vjp("x")
def _(g, out, axis):
    return g - exp(out) * _sum_along(g, axis)


@_log_softmax.fused("x")
def _(g, out, axis):
    rows, back = _rows_of_floats(out, axis)
    return back(backend_of(out).log_softmax_vjp(_rows_of_floats(g, axis)[0], rows))


def _sum_along(x, axis):
    return sum_to(x, shape=tuple(1 if i == axis else n for i, n in enumerate(x.shape)))


def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along an axis: positive numbers that sum to 1.

    Shifted by the maximum, so that nothing overflows. 16-bit floats are computed in
    float32. A slice that is all -inf, or holds +inf, is nan.

    For the loss use `softmax_cross_entropy` on the scores themselves: it is more exact
    than a logarithm of this.

    Source: Goodfellow, Bengio & Courville, "Deep Learning", 2016, section 4.1 and
    6.2.2.3.

    >>> tg.softmax(tg.tensor([5.0, 2.0, -1.0, 3.0]))
    tensor([0.84203357, 0.04192238, 0.00208719, 0.11395684])
    """
    return _softmax(_nonscalar("softmax", x), axis=check_axis("softmax", axis, x))


def log_softmax(x, axis=-1):
    """log(softmax(x)) along an axis, computed as (x - max) - log1p(s).

    s is the sum of exp(x - max) over the other elements: exact also where the
    probability is 0 or 1 to the last digit.

    >>> tg.log_softmax(tg.tensor([1000.0, 0.0]))
    tensor([    0., -1000.])
    """
    axis = check_axis("log_softmax", axis, _nonscalar("log_softmax", x))
    return _log_softmax(x, axis=axis)


def _nonscalar(name, x):
    check_array(name, x)
    if not x.ndim:
        raise ValueError(f"{name}: a 0-dimensional tensor has no axis to sum along")
    return x
