"""Formulas of the ops that work element by element: see formulas.py."""

from __future__ import annotations

from .formula_text import formula

_DLMF = "NIST Digital Library of Mathematical Functions, section "

ELEMENT_BY_ELEMENT = {
    "autograd.core_ops.add": formula("a + b", a="g", b="g"),
    "ops.arithmetic.subtract": formula("a - b", a="g", b="-g"),
    "ops.arithmetic.negative": formula("-x", x="-g"),
    "ops.arithmetic.multiply": formula("a * b", a="g * b", b="g * a"),
    "ops.arithmetic.divide": formula("a / b", a="g / b", b="-g * out / b"),
    "ops.arithmetic.remainder": formula(
        "a - floor(a / b) * b", a="g", b="-g * floor(a / b)"
    ),
    "ops.arithmetic.floor_divide": formula("floor(a / b)", a="0 * g", b="0 * g"),
    "ops.arithmetic.maximum": formula(
        "max(a, b)",
        "where the two tie, each gets half of g",
        a="g if a > b else (g / 2 if a == b else 0)",
        b="g if b > a else (g / 2 if a == b else 0)",
    ),
    "ops.arithmetic.minimum": formula(
        "min(a, b)",
        "where the two tie, each gets half of g",
        a="g if a < b else (g / 2 if a == b else 0)",
        b="g if b < a else (g / 2 if a == b else 0)",
    ),
    "ops.arithmetic.where": formula(
        "a if condition else b", a="g if condition else 0", b="0 if condition else g"
    ),
    "ops.arithmetic._clip": formula(
        "min(max(x, min), max)",
        "g goes to x within the limits, else to the limit that holds",
        x="g if min <= x <= max else 0",
        min="g if x < min <= max else 0",
        max="g if x > max or min > max else 0",
    ),
    "ops.arithmetic.zeros_as": formula("0 * x"),
    "ops.elementwise.sign": formula("sign(x)", "a step function", x="0 * g"),
    "ops.elementwise.floor": formula("floor(x)", "a step function", x="0 * g"),
    "ops.elementwise.ceil": formula("ceil(x)", "a step function", x="0 * g"),
    "ops.elementwise.trunc": formula("trunc(x)", "a step function", x="0 * g"),
    "ops.elementwise.round": formula("round(x)", "a step function", x="0 * g"),
    "ops.elementwise.abs": formula("abs(x)", "0 at 0", x="g * sign(x)"),
    "ops.elementwise.positive": formula("x", x="g"),
    "ops.elementwise.square": formula("x ** 2", x="g * 2 * x"),
    "ops.elementwise.sqrt": formula("sqrt(x)", x="g / (2 * out)"),
    "ops.elementwise.reciprocal": formula("1 / x", x="-g * out ** 2"),
    "ops.elementwise.exp": formula("exp(x)", x="g * out"),
    "ops.elementwise.expm1": formula("exp(x) - 1", x="g * exp(x)"),
    "ops.elementwise.log": formula("log(x)", x="g / x"),
    "ops.elementwise.log1p": formula("log(1 + x)", x="g / (1 + x)"),
    "ops.elementwise.log2": formula("log2(x)", x="g / (x * log(2))"),
    "ops.elementwise.log10": formula("log10(x)", x="g / (x * log(10))"),
    "ops.elementwise.sin": formula("sin(x)", "", _DLMF + "4.20", x="g * cos(x)"),
    "ops.elementwise.cos": formula("cos(x)", "", _DLMF + "4.20", x="-g * sin(x)"),
    "ops.elementwise.tan": formula(
        "tan(x)", "", _DLMF + "4.20", x="g * (1 + out ** 2)"
    ),
    "ops.elementwise.asin": formula(
        "asin(x)", "", _DLMF + "4.24", x="g / sqrt((1 - x) * (1 + x))"
    ),
    "ops.elementwise.acos": formula(
        "acos(x)", "", _DLMF + "4.24", x="-g / sqrt((1 - x) * (1 + x))"
    ),
    "ops.elementwise.atan": formula(
        "atan(x)", "", _DLMF + "4.24", x="g / (1 + x ** 2)"
    ),
    "ops.elementwise.sinh": formula("sinh(x)", "", _DLMF + "4.34", x="g * cosh(x)"),
    "ops.elementwise.cosh": formula("cosh(x)", "", _DLMF + "4.34", x="g * sinh(x)"),
    "ops.elementwise.tanh": formula(
        "tanh(x)", "", _DLMF + "4.34", x="g * (1 - out ** 2)"
    ),
    "ops.elementwise.asinh": formula(
        "asinh(x)", "", _DLMF + "4.38", x="g / sqrt(x**2 + 1)"
    ),
    "ops.elementwise.acosh": formula(
        "acosh(x)", "", _DLMF + "4.38", x="g / sqrt((x - 1) * (x + 1))"
    ),
    "ops.elementwise.atanh": formula(
        "atanh(x)", "", _DLMF + "4.38", x="g / ((1 - x) * (1 + x))"
    ),
    "ops.elementwise.erf": formula(
        "erf(x)", "", _DLMF + "7.2", x="g * 2 / sqrt(pi) * exp(-x ** 2)"
    ),
    "ops.elementwise.erfc": formula(
        "1 - erf(x)", "", _DLMF + "7.2", x="-g * 2 / sqrt(pi) * exp(-x ** 2)"
    ),
    "ops.powers._pow": formula(
        "a ** b",
        "0 where a and b are 0, and for b where a is 0",
        a="g * b * a ** (b - 1)",
        b="g * out * log(a)",
    ),
    "ops.powers._pow_static": formula(
        "x ** exponent", "", x="g * exponent * x ** (exponent - 1)"
    ),
    "ops.powers.copysign": formula(
        "abs(a) * sign(b)", a="g * sign(a) * sign(b)", b="0 * g"
    ),
    "ops.powers.hypot": formula(
        "sqrt(a ** 2 + b ** 2)", "0 at the origin", a="g * a / out", b="g * b / out"
    ),
    "ops.powers.atan2": formula(
        "atan2(y, x)", y="g * x / (x ** 2 + y ** 2)", x="-g * y / (x ** 2 + y ** 2)"
    ),
    "ops.powers.logaddexp": formula(
        "log(exp(a) + exp(b))", a="g * sigmoid(a - b)", b="g * sigmoid(b - a)"
    ),
}

ACTIVATIONS = {
    "ops.activations.sigmoid": formula(
        "1 / (1 + exp(-x))", "1 - out is computed as sigmoid(-x)", x="g * out * (1-out)"
    ),
    "ops.activations.softplus": formula("log(1 + exp(x))", x="g * sigmoid(x)"),
    "ops.activations.relu": formula("max(x, 0)", x="g if out > 0 else 0"),
    "ops.activations._leaky_relu": formula(
        "x if x > 0 else negative_slope * x", x="g if x > 0 else negative_slope * g"
    ),
    "ops.activations._elu": formula(
        "x if x > 0 else alpha * (exp(x) - 1)",
        "",
        "Clevert, Unterthiner & Hochreiter, 2016",
        x="g if x > 0 else g * alpha * exp(x)",
    ),
    "ops.activations.silu": formula(
        "x * sigmoid(x)",
        "",
        "Elfwing, Uchibe & Doya, 2018",
        x="g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))",
    ),
    "ops.activations._gelu": formula(
        "x * Phi(x)",
        "",
        "Hendrycks & Gimpel, Gaussian error linear units, 2016",
        x="g * (Phi(x) + x * phi(x))",
    ),
    "ops.activations._gelu_tanh": formula(
        "x * sigmoid(2 * u)",
        "u = sqrt(2/pi) (x + 0.044715 x^3), and du/dx is sqrt(2/pi) (1 + 0.134145 x^2)",
        "Hendrycks & Gimpel, Gaussian error linear units, 2016",
        x="g * (sigmoid(2*u) + x * sigmoid(2*u) * sigmoid(-2*u) * 2 * (du/dx))",
    ),
}

COMPARISONS = {
    f"ops.comparisons.{name}": formula(text, "true or false: no gradient goes through")
    for name, text in {
        "equal": "a == b",
        "not_equal": "a != b",
        "less": "a < b",
        "less_equal": "a <= b",
        "greater": "a > b",
        "greater_equal": "a >= b",
        "logical_and": "a and b",
        "logical_or": "a or b",
        "logical_xor": "a != b",
        "logical_not": "not x",
        "isnan": "x != x",
        "isinf": "abs(x) == inf",
        "isfinite": "abs(x) < inf",
        "_any": "any(x, axis)",
        "_all": "all(x, axis)",
    }.items()
} | {
    f"ops.comparisons._{name}": formula(
        f"{name}(x, axis)", "places: no gradient goes through"
    )
    for name in ("argmax", "argmin", "argsort")
}
