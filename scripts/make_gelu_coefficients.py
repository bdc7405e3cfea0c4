"""Print the table of tinygrad_softmax/backends/numpy_gelu.py (wants mpmath).

    python scripts/make_gelu_coefficients.py

Beyond 0 the normal distribution function falls as its density does, and its ratio to
exp(-a^2 / 2) is smooth (Mills' ratio, DLMF 7.8.1):

    M(a) = exp(a^2 / 2) Phi(-a) = exp(a^2 / 2) erfc(a / sqrt(2)) / 2

The table is a quotient of two polynomials in a, of degrees 4 and 5, since M falls as
1 / a. It goes through M at as many points as it has free coefficients: Chebyshev's, in
t = (a - 3) / (a + 3), which lays 0 <= a <= 15 where M changes evenly. (Phi(-14.2) is
below the smallest float32.) Coefficients are printed from the constant upwards. None is
negative, so that the sums lose no digits.
"""

from mpmath import cos, erfc, exp, lu_solve, matrix, mp, mpf, pi, polyval, sqrt

DEGREES = (4, 5)
CENTRE, END = mpf(3), mpf(15)


def mills(a):
    """exp(a^2 / 2) times the normal distribution function at -a."""
    return exp(a * a / 2) * erfc(a / sqrt(2)) / 2


def points(number):
    """Chebyshev's points between 0 and END in t, as values of a."""
    low, high = -1, (END - CENTRE) / (END + CENTRE)
    for k in range(number):
        t = (low + high + (high - low) * cos(pi * (2 * k + 1) / (2 * number))) / 2
        yield CENTRE * (1 + t) / (1 - t)


def fitted():
    """The coefficients of numerator and denominator, whose constant is 1."""
    upper, lower = DEGREES
    size = upper + lower + 1
    system, right = matrix(size, size), matrix(size, 1)
    for i, a in enumerate(points(size)):
        for j in range(upper + 1):
            system[i, j] = a**j / mills(a)
        for j in range(1, lower + 1):
            system[i, upper + j] = -(a**j)
        right[i] = 1
    found = list(lu_solve(system, right))
    return found[: upper + 1], [mpf(1), *found[upper + 1 :]]


def main():
    mp.dps = 50
    numerator, denominator = fitted()
    worst = 0
    for k in range(2001):
        a = END * (mpf(k) / 2000) ** 2
        value = polyval(numerator[::-1], a) / polyval(denominator[::-1], a)
        worst = max(worst, abs(value / mills(a) - 1))
    print(f"MILLS = (  # at most {float(worst):.1e} off")
    for row in (numerator, denominator):
        numbers = [repr(float(number)) for number in row]
        print(f"    ({', '.join(numbers[:3])},")
        print(f"     {', '.join(numbers[3:])}),")
    print(")")


if __name__ == "__main__":
    main()
