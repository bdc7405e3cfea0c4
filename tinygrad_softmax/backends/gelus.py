"""gelu and its slope, in plain array code: one forward pass makes both.

The slope costs little beside the value, for both are made of the same exponential.
"""

from __future__ import annotations

import math
from typing import Any

from .dtypes import is_floating, working_dtype

FLAT = 40.0  # beyond, both cdfs are 0 or 1 to the last digit; x^3 may overflow
TANH_SCALE, TANH_CUBIC = 2.0 * math.sqrt(2.0 / math.pi), 0.044715


def gelu(backend: Any, x: Any, approximate: str, with_grad: bool) -> tuple[Any, Any]:
    """x Phi(x) and, or None, its slope; 16-bit floats are computed in float32."""
    wide = x.astype(working_dtype(x.dtype), copy=False) if is_floating(x.dtype) else x
    kernel = _by_erfc if approximate == "none" else _by_sigmoid
    out, slope = kernel(backend, wide, with_grad)
    if is_floating(x.dtype):
        out = out.astype(x.dtype, copy=False)
    return out, slope


def _by_erfc(backend: Any, x: Any, with_grad: bool) -> tuple[Any, Any]:
    cdf = 0.5 * backend.erfc(x * -math.sqrt(0.5))
    if not with_grad:
        return x * cdf, None
    y = backend.xp.clip(x, -FLAT, FLAT)
    pdf = backend.xp.exp(-0.5 * y * y)
    pdf *= math.sqrt(0.5 / math.pi)
    return x * cdf, cdf + y * pdf


def _by_sigmoid(backend: Any, x: Any, with_grad: bool) -> tuple[Any, Any]:
    """x sigmoid(z), z = 2 sqrt(2/pi) (x + 0.044715 x^3).

    With e = exp(-|z|) and r = 1 / (1 + e), sigmoid(z) is r for positive z and else e r,
    and in both cases sigmoid(z) sigmoid(-z) = e r^2. exp(min(z, 0)) chooses between 1
    and e faster than `where` does.
    """
    xp = backend.xp
    y = xp.clip(x, -FLAT, FLAT)
    y2 = y * y
    z = TANH_SCALE * (y + TANH_CUBIC * y2 * y)
    e = xp.exp(-xp.abs(z))
    r = 1.0 / (1.0 + e)
    s = xp.exp(xp.minimum(z, 0.0))
    s *= r
    if not with_grad:
        return x * s, None
    e *= r
    e *= r
    e *= y
    y2 *= 3.0 * TANH_CUBIC
    y2 += 1.0
    y2 *= TANH_SCALE
    e *= y2
    e += s
    return x * s, e
