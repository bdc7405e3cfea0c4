"""Print the coefficient tables of tinygrad_softmax/backends/special.py (wants mpmath).

    python scripts/make_erf_coefficients.py

Each is a near-best polynomial, through the values at Chebyshev's points worked out with
50 digits; its coefficients are printed from the highest power to the constant.

NEAR    erf(x) / x - 1 as a polynomial in z = x^2, for 0 <= x <= 1.
FAR     (0.625 + 1.75 x) exp(x^2) erfc(x) - 1 as a polynomial in t = (x - 2) / (x + 3),
        for 0.75 <= x <= 28 (erfc(27.3) is below the smallest float64). exp(x^2) undoes
        the fall of erfc, and the line the 1 / (sqrt(pi) x) that is left (DLMF 7.12.1):
        with its two short numbers the value stays within 0.06. t takes the long range
        of x to (-0.34, 0.84); it loses least to rounding near 0, where x = 2, and the
        value is steep only below that.

SHORT is for float16 and float32, LONG for float64.
"""

from mpmath import chebyfit, erf, erfc, exp, mp, mpf, pi, sqrt

LENGTHS = {"SHORT": (7, 10), "LONG": (12, 22)}  # coefficients of NEAR and of FAR


def near(z):
    """erf(x) / x - 1 at x = sqrt(z), with its limit at 0 (DLMF 7.6.1)."""
    x = sqrt(z)
    return erf(x) / x - 1 if x else 2 / sqrt(pi) - 1


def far(t):
    """(0.625 + 1.75 x) exp(x^2) erfc(x) - 1 at the x whose (x - 2) / (x + 3) is t."""
    x = (2 + 3 * t) / (1 - t)
    return (mpf("0.625") + mpf("1.75") * x) * exp(x * x) * erfc(x) - 1


def show(name, function, interval, length):
    """Fit `length` coefficients and print them, rounded to float64, as Python."""
    coefficients, error = chebyfit(function, interval, length, error=True)
    numbers = [repr(float(coefficient)) for coefficient in coefficients]
    print(f"{name} = (  # at most {float(error):.1e} off")
    for start in range(0, length, 3):
        print(f"    {', '.join(numbers[start : start + 3])},")
    print(")")


def main():
    mp.dps = 50
    for name, (near_length, far_length) in LENGTHS.items():
        show(f"_{name}_NEAR", near, [mpf(0), mpf(1)], near_length)
        ends = [(x - 2) / (x + 3) for x in (mpf("0.75"), mpf(28))]
        show(f"_{name}_FAR", far, ends, far_length)


if __name__ == "__main__":
    main()
