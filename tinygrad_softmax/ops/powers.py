"""Powers, distances, angles: functions of two arrays, with NumPy's broadcasting.

Inputs are tensors, arrays or numbers; a number beside a tensor takes its dtype.
"""

from __future__ import annotations

from ..autograd import Variable, primitive
from ..backends import is_number, namespace
from .activations import sigmoid
from .arithmetic import where, zeros_as
from .comparisons import logical_and
from .elementwise import log


@primitive(name="pow")
def _pow(a, b):
    return namespace(a, b).power(a, b)


@_pow.vjp("a")
def _(g, a, b):
    # b a^(b-1), but 0 at 0^0: 0 * 0^-1 would be nan, at some higher order of a^2 too.
    corner = logical_and(a == 0, b == 0)
    return g * where(corner, 0.0, b * _pow(a, where(corner, 1.0, b) - 1.0))


@_pow.vjp("b")
def _(g, a, b, out):
    # a^b log(a), whose limit at a = 0 is 0.
    return g * where(a == 0, 0.0, out * log(where(a == 0, 1.0, a)))


@primitive(name="pow")
def _pow_static(x, *, exponent):
    return x**exponent


@_pow_static.vjp("x")
def _(g, x, exponent):
    if exponent == 0:
        return g * 0.0
    return g * (exponent * _pow_static(x, exponent=exponent - 1))


def pow(a, b):
    """a to the power b. d/da = b a^(b-1), d/db = a^b log(a).

    Both are 0 where the formula has 0 times infinity: d/da at 0^0, d/db at a = 0.
    Negative a with an array b that requires a gradient gives nan, as NumPy's log does.

    >>> tg.pow(tg.tensor([2.0, 3.0]), 2)
    tensor([4., 9.])
    """
    if is_number(b):
        weak = isinstance(a, Variable) and hasattr(b, "item")  # a NumPy scalar
        return _pow_static(a, exponent=b.item() if weak else b)
    return _pow(a, b)


@primitive
def copysign(a, b):
    """|a| with the sign of b. d/da = 1 where the signs agree, else -1; d/db = 0.

    >>> tg.copysign(tg.tensor([1.0, -2.0]), -1.0)
    tensor([-1., -2.])
    """
    return namespace(a, b).copysign(a, b)


@copysign.vjp("a")
def _(g, a, b):
    return g * (copysign(1.0, a) * copysign(1.0, b))


@copysign.vjp("b")
def _(g):
    return zeros_as(g)


@primitive
def hypot(a, b):
    """sqrt(a^2 + b^2) without overflow. d/da = a / hypot; 0 at the origin.

    >>> tg.hypot(tg.tensor([3.0]), 4.0)
    tensor([5.])
    """
    return namespace(a, b).hypot(a, b)


@hypot.vjp("a")
def _(g, a, out):
    return g * where(out == 0, 0.0, a / where(out == 0, 1.0, out))


@hypot.vjp("b")
def _(g, b, out):
    return g * where(out == 0, 0.0, b / where(out == 0, 1.0, out))


@primitive
def atan2(y, x):
    """The angle of the point (x, y), in [-pi, pi] radians.

    d/dy = x / (x^2 + y^2), d/dx = -y / (x^2 + y^2).

    >>> tg.atan2(tg.tensor([1.0]), -1.0)
    tensor([2.3561945])
    """
    return namespace(y, x).arctan2(y, x)


@atan2.vjp("y")
def _(g, y, x):
    r = hypot(y, x)
    return g * (x / r / r)


@atan2.vjp("x")
def _(g, y, x):
    r = hypot(y, x)
    return -g * (y / r / r)


@primitive
def logaddexp(a, b):
    """log(e^a + e^b), without overflow. d/da = sigmoid(a - b).

    >>> tg.logaddexp(tg.tensor([1000.0]), 1000.0)
    tensor([1000.69314])
    """
    return namespace(a, b).logaddexp(a, b)


@logaddexp.vjp("a")
def _(g, a, b):
    return g * sigmoid(a - b)


@logaddexp.vjp("b")
def _(g, a, b):
    return g * sigmoid(b - a)
