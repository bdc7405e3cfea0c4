"""Functions of one array, element by element.

Every function here takes a tensor (or a plain array, and then returns one) of any shape
and returns one of the same shape and dtype; integers become the default dtype. Where
NumPy warns (the logarithm of a negative number), these do.
"""

from __future__ import annotations

import math

from ..autograd import primitive
from ..backends import activations, backend_of, namespace
from .arithmetic import zeros_as

# -- rounding and sign: piecewise constant, so their gradient is 0 everywhere --------


@primitive
def sign(x):
    """-1, 0 or 1. The gradient is 0, at 0 too.

    >>> tg.sign(tg.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    return namespace(x).sign(x)


@primitive
def floor(x):
    """The largest integer not above x. The gradient is 0, at the steps too.

    >>> tg.floor(tg.tensor([-1.5, 1.5]))
    tensor([-2.,  1.])
    """
    return namespace(x).floor(x)


@primitive
def ceil(x):
    """The smallest integer not below x. The gradient is 0, at the steps too.

    >>> tg.ceil(tg.tensor([-1.5, 1.5]))
    tensor([-1.,  2.])
    """
    return namespace(x).ceil(x)


@primitive
def trunc(x):
    """x without its fraction. The gradient is 0, at the steps too.

    >>> tg.trunc(tg.tensor([-1.5, 1.5]))
    tensor([-1.,  1.])
    """
    return namespace(x).trunc(x)


@primitive
def round(x):
    """The nearest integer, halves to even. The gradient is 0, at the steps too.

    >>> tg.round(tg.tensor([0.5, 1.5, 1.7]))
    tensor([0., 2., 2.])
    """
    return namespace(x).round(x)


for _op in (sign, floor, ceil, trunc, round):
    _op.vjp("x")(lambda g: zeros_as(g))


@primitive
def abs(x):
    """|x|. d|x|/dx = sign(x), and 0 at 0.

    >>> tg.abs(tg.tensor([-2.0, 3.0]))
    tensor([2., 3.])
    """
    return namespace(x).abs(x)


@abs.vjp("x")
def _(g, x):
    return g * sign(x)


@primitive
def positive(x):
    """+x.

    >>> tg.positive(tg.tensor([-2.0, 3.0]))
    tensor([-2.,  3.])
    """
    return +x


@positive.vjp("x")
def _(g):
    return g


# -- powers, exponentials, logarithms ------------------------------------------------


@primitive
def square(x):
    """x^2. d/dx = 2x.

    >>> tg.square(tg.tensor([-2.0, 3.0]))
    tensor([4., 9.])
    """
    return x * x


@square.vjp("x")
def _(g, x):
    return g * (2.0 * x)


@primitive
def sqrt(x):
    """The square root. d/dx = 1 / (2 sqrt(x)), infinite at 0.

    >>> tg.sqrt(tg.tensor([4.0, 9.0]))
    tensor([2., 3.])
    """
    return namespace(x).sqrt(x)


@sqrt.vjp("x")
def _(g, out):
    return 0.5 * g / out


@primitive
def reciprocal(x):
    """1 / x. d/dx = -1 / x^2.

    >>> tg.reciprocal(tg.tensor([2.0, 4.0]))
    tensor([0.5 , 0.25])
    """
    return 1.0 / x


@reciprocal.vjp("x")
def _(g, out):
    return -g * out * out


@primitive
def exp(x):
    """e^x. d/dx = e^x.

    >>> tg.exp(tg.tensor([0.0, 1.0]))
    tensor([1.       , 2.7182817])
    """
    return namespace(x).exp(x)


@exp.vjp("x")
def _(g, out):
    return g * out


@primitive
def expm1(x):
    """e^x - 1, exact near 0. d/dx = e^x.

    >>> tg.expm1(tg.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """
    return namespace(x).expm1(x)


@expm1.vjp("x")
def _(g, x):
    return g * exp(x)


@primitive
def log(x):
    """The natural logarithm. d/dx = 1 / x.

    >>> tg.log(tg.tensor([1.0, 2.0]))
    tensor([0.       , 0.6931472])
    """
    return namespace(x).log(x)


@log.vjp("x")
def _(g, x):
    return g / x


@primitive
def log1p(x):
    """log(1 + x), exact near 0. d/dx = 1 / (1 + x).

    >>> tg.log1p(tg.tensor([0.0, 1e-10]))
    tensor([0.e+00, 1.e-10])
    """
    return namespace(x).log1p(x)


@log1p.vjp("x")
def _(g, x):
    return g / (1.0 + x)


@primitive
def log2(x):
    """The logarithm to base 2. d/dx = 1 / (x log 2).

    >>> tg.log2(tg.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return namespace(x).log2(x)


@log2.vjp("x")
def _(g, x):
    return g * (1.0 / math.log(2.0)) / x


@primitive
def log10(x):
    """The logarithm to base 10. d/dx = 1 / (x log 10).

    >>> tg.log10(tg.tensor([1.0, 1000.0]))
    tensor([0., 3.])
    """
    return namespace(x).log10(x)


@log10.vjp("x")
def _(g, x):
    return g * (1.0 / math.log(10.0)) / x


# -- circular and hyperbolic functions (derivatives: DLMF 4.20, 4.24, 4.34, 4.38) ----


@primitive
def sin(x):
    """The sine of x radians. d/dx = cos(x).

    >>> tg.sin(tg.tensor([0.0, 1.0]))
    tensor([0.       , 0.8414709])
    """
    return namespace(x).sin(x)


@sin.vjp("x")
def _(g, x):
    return g * cos(x)


@primitive
def cos(x):
    """The cosine of x radians. d/dx = -sin(x).

    >>> tg.cos(tg.tensor([0.0, 1.0]))
    tensor([1.       , 0.5403023])
    """
    return namespace(x).cos(x)


@cos.vjp("x")
def _(g, x):
    return -g * sin(x)


@primitive
def tan(x):
    """The tangent of x radians. d/dx = 1 + tan(x)^2.

    >>> tg.tan(tg.tensor([0.0, 1.0]))
    tensor([0.       , 1.5574077])
    """
    return namespace(x).tan(x)


@tan.vjp("x")
def _(g, out):
    return g * (1.0 + out * out)


@primitive
def asin(x):
    """The inverse sine, in [-pi/2, pi/2]. d/dx = 1 / sqrt(1 - x^2), infinite at 1.

    >>> tg.asin(tg.tensor([0.0, 1.0]))
    tensor([0.       , 1.5707964])
    """
    return namespace(x).arcsin(x)


@asin.vjp("x")
def _(g, x):
    return g / sqrt((1.0 - x) * (1.0 + x))


@primitive
def acos(x):
    """The inverse cosine, in [0, pi]. d/dx = -1 / sqrt(1 - x^2), infinite at 1.

    >>> tg.acos(tg.tensor([0.0, 1.0]))
    tensor([1.5707964, 0.       ])
    """
    return namespace(x).arccos(x)


@acos.vjp("x")
def _(g, x):
    return -g / sqrt((1.0 - x) * (1.0 + x))


@primitive
def atan(x):
    """The inverse tangent, in [-pi/2, pi/2]. d/dx = 1 / (1 + x^2).

    >>> tg.atan(tg.tensor([0.0, 1.0]))
    tensor([0.       , 0.7853982])
    """
    return namespace(x).arctan(x)


@atan.vjp("x")
def _(g, x):
    return g / (1.0 + x * x)


@primitive
def sinh(x):
    """The hyperbolic sine. d/dx = cosh(x).

    >>> tg.sinh(tg.tensor([0.0, 1.0]))
    tensor([0.       , 1.1752012])
    """
    return namespace(x).sinh(x)


@sinh.vjp("x")
def _(g, x):
    return g * cosh(x)


@primitive
def cosh(x):
    """The hyperbolic cosine. d/dx = sinh(x).

    >>> tg.cosh(tg.tensor([0.0, 1.0]))
    tensor([1.       , 1.5430807])
    """
    return namespace(x).cosh(x)


@cosh.vjp("x")
def _(g, x):
    return g * sinh(x)


@primitive
def tanh(x):
    """The hyperbolic tangent. d/dx = 1 - tanh(x)^2.

    >>> tg.tanh(tg.tensor([0.0, 1.0]))
    tensor([0.       , 0.7615942])
    """
    return namespace(x).tanh(x)


@tanh.vjp("x")
def _(g, out):
    return g * (1.0 - out * out)


tanh.fused("x")(activations.tanh_rule)


@primitive
def asinh(x):
    """The inverse hyperbolic sine. d/dx = 1 / sqrt(x^2 + 1).

    >>> tg.asinh(tg.tensor([0.0, 1.0]))
    tensor([0.       , 0.8813736])
    """
    return namespace(x).arcsinh(x)


@asinh.vjp("x")
def _(g, x):
    return g / sqrt(x * x + 1.0)


@primitive
def acosh(x):
    """The inverse hyperbolic cosine, x >= 1. d/dx = 1 / sqrt(x^2 - 1), infinite at 1.

    >>> tg.acosh(tg.tensor([1.0, 2.0]))
    tensor([0.       , 1.316958 ])
    """
    return namespace(x).arccosh(x)


@acosh.vjp("x")
def _(g, x):
    return g / sqrt((x - 1.0) * (x + 1.0))


@primitive
def atanh(x):
    """The inverse hyperbolic tangent, |x| < 1. d/dx = 1 / (1 - x^2).

    >>> tg.atanh(tg.tensor([0.0, 0.5]))
    tensor([0.       , 0.5493061])
    """
    return namespace(x).arctanh(x)


@atanh.vjp("x")
def _(g, x):
    return g / ((1.0 - x) * (1.0 + x))


# -- the error function (DLMF 7.2) ---------------------------------------------------

TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


@primitive
def erf(x):
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    d/dx = 2/sqrt(pi) exp(-x^2).

    >>> tg.erf(tg.tensor([0.0, 1.0]))
    tensor([0.       , 0.8427008])
    """
    return backend_of(x).erf(x)


@erf.vjp("x")
def _(g, x):
    return g * (TWO_OVER_SQRT_PI * exp(-x * x))


@primitive
def erfc(x):
    """1 - erf(x), exact where that would cancel. d/dx = -2/sqrt(pi) exp(-x^2).

    >>> tg.erfc(tg.tensor([0.0, 5.0]))
    tensor([1.000000e+00, 1.537460e-12])
    """
    return backend_of(x).erfc(x)


@erfc.vjp("x")
def _(g, x):
    return g * (-TWO_OVER_SQRT_PI * exp(-x * x))
