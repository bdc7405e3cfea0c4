"""Activation functions, element by element.

Each takes a tensor or an array of any shape and returns one of the same shape and
dtype. Those with a kink say what their gradient is there.
"""

from __future__ import annotations

import math

from ..autograd import is_grad_enabled, primitive, scaled
from ..backends import activations, backend_of, namespace
from ..backends.gelus import FLAT, TANH_CUBIC, TANH_SCALE
from .arithmetic import _clip, where
from .elementwise import TWO_OVER_SQRT_PI, erfc, exp


@primitive
def sigmoid(x):
    """1 / (1 + e^-x), without overflow. d/dx = sigmoid(x) sigmoid(-x).

    >>> tg.sigmoid(tg.tensor([0.0, 100.0]))
    tensor([0.5, 1. ])
    """
    return backend_of(x).elementwise(activations.sigmoid, x)


@sigmoid.vjp("x")
def _(g, x, out):
    return g * out * sigmoid(-x)  # 1 - out would be 0 for x above 37


sigmoid.fused("x")(activations.sigmoid_rule)


@primitive
def softplus(x):
    """log(1 + e^x), without overflow. d/dx = sigmoid(x).

    >>> tg.softplus(tg.tensor([0.0, 100.0]))
    tensor([  0.6931472, 100.       ])
    """
    return backend_of(x).elementwise(activations.softplus, x)


@softplus.vjp("x")
def _(g, x):
    return g * sigmoid(x)


softplus.fused("x")(activations.softplus_rule)


@primitive
def relu(x):
    """max(x, 0). d/dx = 1 for x > 0, else 0; 0 at 0.

    >>> tg.relu(tg.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """
    return backend_of(x).relu(x)


@relu.vjp("x")
def _(g, out):
    return where(out > 0, g, 0.0)


relu.fused("x")(activations.relu_rule)


@primitive(name="leaky_relu")
def _leaky_relu(x, *, negative_slope):
    return namespace(x).where(x > 0, x, negative_slope * x)


@_leaky_relu.vjp("x")
def _(g, x, negative_slope):
    return where(x > 0, g, negative_slope * g)


def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, else negative_slope * x. At 0 the gradient is negative_slope.

    >>> tg.leaky_relu(tg.tensor([-2.0, 3.0]))
    tensor([-0.02,  3.  ])
    """
    return _leaky_relu(x, negative_slope=negative_slope)


@primitive(name="elu")
def _elu(x, *, alpha):
    xp = namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@_elu.vjp("x")
def _(g, x, alpha):
    return where(x > 0, g, g * (alpha * exp(where(x > 0, 0.0, x))))


def elu(x, alpha=1.0):
    """x where x > 0, else alpha (e^x - 1). At 0 the gradient is alpha.

    Source: Clevert, Unterthiner & Hochreiter, 2016.

    >>> tg.elu(tg.tensor([-1.0, 3.0]))
    tensor([-0.6321206,  3.       ])
    """
    return _elu(x, alpha=alpha)


@primitive
def silu(x):
    """x sigmoid(x), also called swish.

    d/dx = s (1 + x (1 - s)) with s = sigmoid(x).
    Source: Elfwing, Uchibe & Doya, 2018.

    >>> tg.silu(tg.tensor([-1.0, 3.0]))
    tensor([-0.26894143,  2.8577225 ])
    """
    return backend_of(x).elementwise(activations.silu, x)


@silu.vjp("x")
def _(g, x):
    return g * (sigmoid(x) * (1.0 + x * sigmoid(-x)))


silu.fused("x")(activations.silu_rule)


@primitive(name="gelu", residuals=("slope",))
def _gelu(x, *, with_grad):
    return backend_of(x).gelu(x, "none", with_grad)


@_gelu.vjp("x")
def _(g, x):
    y = _clip(x, -FLAT, FLAT)
    normal_cdf = 0.5 * erfc(y * -math.sqrt(0.5))
    normal_pdf = (0.5 * math.sqrt(0.5) * TWO_OVER_SQRT_PI) * exp(-0.5 * y * y)
    return g * (normal_cdf + x * normal_pdf)


# (1 + tanh(u)) / 2 is sigmoid(2u), which keeps the digits of the negative tail.
@primitive(name="gelu", residuals=("slope",))
def _gelu_tanh(x, *, with_grad):
    return backend_of(x).gelu(x, "tanh", with_grad)


@_gelu_tanh.vjp("x")
def _(g, x):
    y = _clip(x, -FLAT, FLAT)
    inner = TANH_SCALE * (y + TANH_CUBIC * y * y * y)
    slope = TANH_SCALE * (1.0 + (3.0 * TANH_CUBIC) * y * y)
    s = sigmoid(inner)
    return g * (s + x * s * sigmoid(-inner) * slope)


@_gelu.fused("x")
def _(g, x, slope):
    return backend_of(x).gelu_grad(g, x, slope, "none", scaled)


@_gelu_tanh.fused("x")
def _(g, x, slope):
    return backend_of(x).gelu_grad(g, x, slope, "tanh", scaled)


def gelu(x, approximate="none"):
    """x times the normal distribution function of x.

    approximate: "none" for the exact x Phi(x), computed as x erfc(-x/sqrt(2)) / 2 so
        that the negative tail keeps its digits; "tanh" for
        x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    Source: Hendrycks & Gimpel, "Gaussian error linear units", 2016.

    >>> tg.gelu(tg.tensor([-1.0, 3.0]))
    tensor([-0.15865526,  2.9959502 ])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(
            f"gelu: approximate was given as {approximate!r}; expected 'none' or 'tanh'"
        )
    with_grad = is_grad_enabled() and getattr(x, "node", None) is not None
    kernel = _gelu if approximate == "none" else _gelu_tanh
    return kernel(x, with_grad=with_grad)
