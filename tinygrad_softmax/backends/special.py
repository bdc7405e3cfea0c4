"""The error function and its complement, which NumPy lacks.

    erf(x) = 2 / sqrt(pi) * integral of exp(-t^2) for t from 0 to x
    erfc(x) = 1 - erf(x)

(DLMF 7.2.1 and 7.2.2; Abramowitz & Stegun 7.1.1 and 7.1.2.) Near 0, erf is x times a
polynomial in x^2; further out, erfc is exp(-x^2) times a smooth factor. Each function
takes, on each side of its joint, the one of the two that costs it no digits. The tables
are what scripts/make_erf_coefficients.py prints, and it says what they fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Table = tuple[float, ...]

_BLOCK = 16384  # elements worked on at a time: the temporaries stay in the cache
_UPPER_DIGITS = np.int64(-(1 << 29))  # a mask for 24 of float64's 53 binary digits

# fmt: off
_SHORT_NEAR = (  # at most 1.2e-09 off
    7.875875062685488e-05, -0.000801686428716587, 0.005189087423433974,
    -0.026854212010626412, 0.11283594715160218, -0.37612626666720334,
    0.12837916584835093,
)
_SHORT_FAR = (  # at most 3.5e-09 off
    -0.0032132008927043096, 0.012184948565775101, -0.005780910481453072,
    -0.06670080460120723, 0.23112547131070624, -0.4180492224281984,
    0.4816219766117754, -0.32940140201581775, 0.032035168834871126,
    0.05350716517187396,
)
_LONG_NEAR = (  # at most 7.4e-18 off
    -7.795898827002142e-10, 1.3720064546777686e-08, -1.6208483801871705e-07,
    1.6447424703317362e-06, -1.492473690741966e-05, 0.00012055294904839707,
    -0.0008548325975389692, 0.0052239776071164225, -0.02686617064323777,
    0.11283791670945006, -0.37612638903183543, 0.12837916709551256,
)
_LONG_FAR = (  # at most 6.1e-19 off
    -8.292673378475112e-07, 4.057317397045143e-06, -5.413014257346437e-06,
    -2.7296621705430465e-06, 3.9460072097234485e-06, 1.8608015630890952e-05,
    2.86518421211765e-06, -8.236288767877301e-05, -6.0397666108580543e-05,
    0.0003619335156072004, 0.00036896687738735285, -0.0018697510657051336,
    -0.0013418323588346038, 0.011692641064210129, -0.006040856669611676,
    -0.06654336697818618, 0.23112199670442907, -0.41806004791166773,
    0.4816232390945957, -0.3294012018627928, 0.0320351419887023,
    0.0535071647808362,
)
# fmt: on


def erf(x: Floats) -> Floats:
    """Error function of each element: 2 / sqrt(pi) * integral of exp(-t^2), 0 to x.

    `x` has any shape and dtype float16, float32 or float64; the result is a new array
    of that shape and dtype, odd (-0.0 at -0.0), 1 at inf, nan at nan, and at most 1.75
    units in the last place off (float32: 1.5). Other dtypes raise TypeError.
    Source: DLMF 7.2.1, A&S 7.1.1.

    >>> erf(np.array([-np.inf, -0.0, 0.5]))
    array([-1.        , -0.        ,  0.52049988])
    """
    return _in_blocks("erf", x, np.float32, 1.0, _erf_near, _erf_far)


def erfc(x: Floats) -> Floats:
    """Complementary error function of each element, 1 - erf(x), exact in its tail too.

    `x` has any shape and dtype float16, float32 or float64; the result is a new array
    of that shape and dtype, 2 at -inf, 0 at inf, nan at nan, and at most 2 units in
    the last place off (float32: 0.6). Other dtypes raise TypeError.
    Source: DLMF 7.2.2, A&S 7.1.2.

    >>> erfc(np.array([-np.inf, 0.5, 20.0]))
    array([2.00000000e+000, 4.79500122e-001, 5.39586561e-176])
    """
    # NumPy's float32 exp is up to 2.5 units off, so float32 is worked on in float64.
    return _in_blocks("erfc", x, np.float64, 0.75, _erfc_near, _erfc_far)


def _in_blocks(
    name: str,
    x: Floats,
    narrow: type[np.floating[Any]],
    joint: float,
    near: Callable[[Floats, Table], Floats],
    far: Callable[[Floats, Table], Floats],
) -> Floats:
    """`near` up to |x| = joint, else `far`; `narrow` is what 16 and 32 bits work in."""
    x = np.asarray(x)
    if x.dtype.type not in (np.float16, np.float32, np.float64):
        raise TypeError(
            f"{name}: got dtype {x.dtype}, expected float16, float32 or float64; "
            f"convert first, for example {name}(x.astype(np.float32))"
        )
    if x.dtype.type is np.float64:
        working, near_table, far_table = np.float64, _LONG_NEAR, _LONG_FAR
    else:
        working, near_table, far_table = narrow, _SHORT_NEAR, _SHORT_FAR
    result = np.empty(x.shape, x.dtype)
    source, target = x.reshape(-1), result.reshape(-1)
    # Tails underflow, and `near` may overflow where its result gives way to `far`'s.
    with np.errstate(all="ignore"):
        for start in range(0, source.size, _BLOCK):
            stretch = slice(start, start + _BLOCK)
            block = source[stretch].astype(working, copy=False)
            beyond = np.flatnonzero(np.abs(block) > joint)
            if beyond.size == block.size:
                target[stretch] = far(block, far_table)
                continue
            target[stretch] = near(block, near_table)
            if beyond.size:
                target[start + beyond] = far(block[beyond], far_table)
    return result


def _erf_near(x: Floats, table: Table) -> Floats:
    """x + x p(x^2): the large part, x, is exact."""
    result = _polynomial(table, x * x)
    result *= x
    result += x
    return result


def _erf_far(x: Floats, table: Table) -> Floats:
    """1 - erfc(|x|) with the sign of x; beyond 6 that is 1 to the last digit."""
    size = np.minimum(np.abs(x), 6.0)
    return np.copysign(1.0 - _tail(size, table), x)


def _erfc_near(x: Floats, table: Table) -> Floats:
    """1 - x - x p(x^2), summed from 1/2 - x, which is exact from x = 1/4 on."""
    result = 0.5 - x
    result -= x * _polynomial(table, x * x)
    result += 0.5
    return result


def _erfc_far(x: Floats, table: Table) -> Floats:
    """erfc(|x|), which is 0 from 28 on, or 2 minus it where x is negative."""
    size = np.minimum(np.abs(x), 28.0)
    tail = (_exact_tail if table is _LONG_FAR else _tail)(size, table)
    return np.subtract(2.0, tail, out=tail, where=x < 0)


def _tail(x: Floats, table: Table) -> Floats:
    """erfc(x) = exp(-x^2) (1 + p) / (0.625 + 1.75 x), for x >= 0.75."""
    result = np.exp(-x * x)
    result += result * _polynomial(table, (x - 2.0) / (x + 3.0))
    result /= 0.625 + 1.75 * x
    return result


def _exact_tail(x: Floats, table: Table) -> Floats:
    """`_tail` for float64 with only exp and the last sum rounded at full size.

    x, exp(-x^2) and 1 / (0.625 + 1.75 x) become a high part, of so few digits that
    products of high parts are exact, and a low rest. What the rounding of x^2 and the
    shortening of the reciprocal have left out goes, as a relative `lack`, into p.
    """
    p = _polynomial(table, (x - 2.0) / (x + 3.0))
    square = x * x
    x_high, x_low = _split(x)
    divisor = 0.625 + 1.75 * x_high
    reciprocal, _ = _split(1.0 / divisor)
    lack = 1.0 - divisor * reciprocal
    lack -= 1.75 * x_low * reciprocal
    lack += lack * lack
    lack -= x_high * x_high - square + x_low * (x_high + x)
    p += (1.0 + p) * lack
    exponential = np.exp(-square)
    high, low = _split(exponential)
    low += exponential * p
    low *= reciprocal
    high *= reciprocal
    high += low
    return high


def _split(x: Floats) -> tuple[Floats, Floats]:
    """A float64 array as the exact sum of its upper 24 digits and the rest."""
    high = (x.view(np.int64) & _UPPER_DIGITS).view(np.float64)
    return high, x - high


def _polynomial(table: Table, t: Floats) -> Floats:
    """Horner's rule; the table goes from the highest power to the constant."""
    result = table[0] * t
    for coefficient in table[1:-1]:
        result += coefficient
        result *= t
    result += table[-1]
    return result
