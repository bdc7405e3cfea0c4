"""The formula of every op and of its gradient rules, for people.

A formula is written as a Python expression over the op's inputs, its static parameters,
`out` (the result) and `g` (the gradient that arrives at the result), and the functions
of `TERMS`. So it is text, it can be parsed (formula_text.py makes plain text and MathML
of it), and it can be tried: tests/test_explain_formulas.py evaluates them beside the
rules. What a rule's result does not show, because the engine does it for every op, is
left out: sums over what was broadcast, and casts.

The rules themselves stand beside the ops (`ops/`, `nn/functional/`); an op that is not
here, such as a user's own, is explained by the source of its rules (formula_source.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .formula_source import read_formula


@dataclass(frozen=True)
class Formula:
    """forward: the result. rules: for each input with a gradient, what its rule returns.
    note: what the formulas leave unsaid. source: a textbook or paper, where apt."""

    forward: str
    rules: dict[str, str] = field(default_factory=dict)
    note: str = ""
    source: str = ""


# What the functions in formulas mean, beyond NumPy's own names.
TERMS = {
    "at": "the places that an index names",
    "added_at": "zeros with g added at the places that the index names",
    "back_through_windows": "each window's value added to the elements under it",
    "d_sigmoid": "the derivative of sigmoid, sigmoid(x) sigmoid(-x)",
    "correlate": "for each element of the window, what it sees of x times g, summed",
    "cross_entropy": "-sum(target log(softmax(logits)))",
    "einsum": "the products summed over the letters that the result lacks",
    "hot": "a label as a row: 1 at the label, 0 elsewhere",
    "mean_over": "the mean over the axes that are normalised together",
    "normal": "(x - mean) / sqrt(var + eps)",
    "others": "the product of the other elements",
    "part": "the part of g that this input became",
    "Phi": "the normal distribution function",
    "phi": "the normal density",
    "permute": "the axes in another order",
    "permute_back": "the axes back in their old order",
    "picked": "1 where x is the extremum (ties share it), else 0",
    "reverse": "in reversed order along the axis",
    "spread": "repeated along the axes that were reduced",
    "stayed": "whether a value is the last one put in its place",
    "sum_over": "the sum over the axis",
    "windows": "the elements under each window",
    "with_cast": "with another dtype",
}


def _f(forward: str, note: str = "", source: str = "", /, **rules: str) -> Formula:
    return Formula(forward, rules, note, source)


_BISHOP = "Bishop, Pattern Recognition and Machine Learning, 2006, section 4.3.4"
_GOODFELLOW = "Goodfellow, Bengio & Courville, Deep Learning, 2016, section 6.2.2.3"
_MATRICES = "Petersen & Pedersen, The Matrix Cookbook, 2012, section 2.5"
_DLMF = "NIST Digital Library of Mathematical Functions, section "

ELEMENT_BY_ELEMENT = {
    "autograd.core_ops.add": _f("a + b", a="g", b="g"),
    "ops.arithmetic.subtract": _f("a - b", a="g", b="-g"),
    "ops.arithmetic.negative": _f("-x", x="-g"),
    "ops.arithmetic.multiply": _f("a * b", a="g * b", b="g * a"),
    "ops.arithmetic.divide": _f("a / b", a="g / b", b="-g * out / b"),
    "ops.arithmetic.remainder": _f(
        "a - floor(a / b) * b", a="g", b="-g * floor(a / b)"
    ),
    "ops.arithmetic.floor_divide": _f("floor(a / b)", a="0 * g", b="0 * g"),
    "ops.arithmetic.maximum": _f(
        "max(a, b)",
        "where the two tie, each gets half of g",
        a="g if a > b else (g / 2 if a == b else 0)",
        b="g if b > a else (g / 2 if a == b else 0)",
    ),
    "ops.arithmetic.minimum": _f(
        "min(a, b)",
        "where the two tie, each gets half of g",
        a="g if a < b else (g / 2 if a == b else 0)",
        b="g if b < a else (g / 2 if a == b else 0)",
    ),
    "ops.arithmetic.where": _f(
        "a if condition else b", a="g if condition else 0", b="0 if condition else g"
    ),
    "ops.arithmetic._clip": _f(
        "min(max(x, min), max)",
        "g goes to x within the limits, else to the limit that holds",
        x="g if min <= x <= max else 0",
        min="g if x < min <= max else 0",
        max="g if x > max or min > max else 0",
    ),
    "ops.arithmetic.zeros_as": _f("0 * x"),
    "ops.elementwise.sign": _f("sign(x)", "a step function", x="0 * g"),
    "ops.elementwise.floor": _f("floor(x)", "a step function", x="0 * g"),
    "ops.elementwise.ceil": _f("ceil(x)", "a step function", x="0 * g"),
    "ops.elementwise.trunc": _f("trunc(x)", "a step function", x="0 * g"),
    "ops.elementwise.round": _f("round(x)", "a step function", x="0 * g"),
    "ops.elementwise.abs": _f("abs(x)", "0 at 0", x="g * sign(x)"),
    "ops.elementwise.positive": _f("x", x="g"),
    "ops.elementwise.square": _f("x ** 2", x="g * 2 * x"),
    "ops.elementwise.sqrt": _f("sqrt(x)", x="g / (2 * out)"),
    "ops.elementwise.reciprocal": _f("1 / x", x="-g * out ** 2"),
    "ops.elementwise.exp": _f("exp(x)", x="g * out"),
    "ops.elementwise.expm1": _f("exp(x) - 1", x="g * exp(x)"),
    "ops.elementwise.log": _f("log(x)", x="g / x"),
    "ops.elementwise.log1p": _f("log(1 + x)", x="g / (1 + x)"),
    "ops.elementwise.log2": _f("log2(x)", x="g / (x * log(2))"),
    "ops.elementwise.log10": _f("log10(x)", x="g / (x * log(10))"),
    "ops.elementwise.sin": _f("sin(x)", "", _DLMF + "4.20", x="g * cos(x)"),
    "ops.elementwise.cos": _f("cos(x)", "", _DLMF + "4.20", x="-g * sin(x)"),
    "ops.elementwise.tan": _f("tan(x)", "", _DLMF + "4.20", x="g * (1 + out ** 2)"),
    "ops.elementwise.asin": _f(
        "asin(x)", "", _DLMF + "4.24", x="g / sqrt((1 - x) * (1 + x))"
    ),
    "ops.elementwise.acos": _f(
        "acos(x)", "", _DLMF + "4.24", x="-g / sqrt((1 - x) * (1 + x))"
    ),
    "ops.elementwise.atan": _f("atan(x)", "", _DLMF + "4.24", x="g / (1 + x ** 2)"),
    "ops.elementwise.sinh": _f("sinh(x)", "", _DLMF + "4.34", x="g * cosh(x)"),
    "ops.elementwise.cosh": _f("cosh(x)", "", _DLMF + "4.34", x="g * sinh(x)"),
    "ops.elementwise.tanh": _f("tanh(x)", "", _DLMF + "4.34", x="g * (1 - out ** 2)"),
    "ops.elementwise.asinh": _f("asinh(x)", "", _DLMF + "4.38", x="g / sqrt(x**2 + 1)"),
    "ops.elementwise.acosh": _f(
        "acosh(x)", "", _DLMF + "4.38", x="g / sqrt((x - 1) * (x + 1))"
    ),
    "ops.elementwise.atanh": _f(
        "atanh(x)", "", _DLMF + "4.38", x="g / ((1 - x) * (1 + x))"
    ),
    "ops.elementwise.erf": _f(
        "erf(x)", "", _DLMF + "7.2", x="g * 2 / sqrt(pi) * exp(-x ** 2)"
    ),
    "ops.elementwise.erfc": _f(
        "1 - erf(x)", "", _DLMF + "7.2", x="-g * 2 / sqrt(pi) * exp(-x ** 2)"
    ),
    "ops.powers._pow": _f(
        "a ** b",
        "0 where a and b are 0, and for b where a is 0",
        a="g * b * a ** (b - 1)",
        b="g * out * log(a)",
    ),
    "ops.powers._pow_static": _f(
        "x ** exponent", "", x="g * exponent * x ** (exponent - 1)"
    ),
    "ops.powers.copysign": _f(
        "abs(a) * sign(b)", a="g * sign(a) * sign(b)", b="0 * g"
    ),
    "ops.powers.hypot": _f(
        "sqrt(a ** 2 + b ** 2)", "0 at the origin", a="g * a / out", b="g * b / out"
    ),
    "ops.powers.atan2": _f(
        "atan2(y, x)", y="g * x / (x ** 2 + y ** 2)", x="-g * y / (x ** 2 + y ** 2)"
    ),
    "ops.powers.logaddexp": _f(
        "log(exp(a) + exp(b))", a="g * sigmoid(a - b)", b="g * sigmoid(b - a)"
    ),
}

ACTIVATIONS = {
    "ops.activations.sigmoid": _f(
        "1 / (1 + exp(-x))", "1 - out is computed as sigmoid(-x)", x="g * out * (1-out)"
    ),
    "ops.activations.softplus": _f("log(1 + exp(x))", x="g * sigmoid(x)"),
    "ops.activations.relu": _f("max(x, 0)", x="g if out > 0 else 0"),
    "ops.activations._leaky_relu": _f(
        "x if x > 0 else negative_slope * x", x="g if x > 0 else negative_slope * g"
    ),
    "ops.activations._elu": _f(
        "x if x > 0 else alpha * (exp(x) - 1)",
        "",
        "Clevert, Unterthiner & Hochreiter, 2016",
        x="g if x > 0 else g * alpha * exp(x)",
    ),
    "ops.activations.silu": _f(
        "x * sigmoid(x)",
        "",
        "Elfwing, Uchibe & Doya, 2018",
        x="g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))",
    ),
    "ops.activations._gelu": _f(
        "x * Phi(x)",
        "",
        "Hendrycks & Gimpel, Gaussian error linear units, 2016",
        x="g * (Phi(x) + x * phi(x))",
    ),
    "ops.activations._gelu_tanh": _f(
        "x * sigmoid(2 * u)",
        "u = sqrt(2/pi) (x + 0.044715 x^3), and du/dx is sqrt(2/pi) (1 + 0.134145 x^2)",
        "Hendrycks & Gimpel, Gaussian error linear units, 2016",
        x="g * (sigmoid(2*u) + x * sigmoid(2*u) * sigmoid(-2*u) * 2 * (du/dx))",
    ),
}

ARRANGEMENT = {
    "autograd.core_ops.broadcast_to": _f(
        "spread(x)",
        "every element had a part in each of its copies",
        x="sum_over(g, copies)",
    ),
    "autograd.core_ops.sum_to": _f("sum_over(x, axes)", x="spread(g)"),
    "autograd.core_ops.cast": _f("with_cast(x, dtype)", x="g"),
    "ops.placement.copy": _f("x", x="g"),
    "ops.placement._to_integer": _f("with_cast(x, dtype)"),
    "ops.placement._to_device": _f("x", "on another device", x="g"),
    "ops.shaping._reshape": _f("reshape(x, shape)", x="reshape(g, x_shape)"),
    "ops.shaping._permute": _f("permute(x, axes)", x="permute_back(g, axes)"),
    "ops.shaping._flip": _f("reverse(x, axis)", x="reverse(g, axis)"),
    "ops.shaping._roll": _f("roll(x, shift, axis)", x="roll(g, -shift, axis)"),
    "ops.shaping._tril": _f("tril(x, k)", x="tril(g, k)"),
    "ops.shaping._triu": _f("triu(x, k)", x="triu(g, k)"),
    "ops.joining._concatenate": _f(
        "concatenate(arrays, axis)", arrays="part(g, position)"
    ),
    "ops.joining._pad": _f("pad(x, pad_width)", x="part(g, inside)"),
    "ops.indexing._getitem": _f(
        "x[index]",
        "an element that was taken twice gets both gradients",
        x="added_at(g, index)",
    ),
    "ops.indexing._scatter": _f("added_at(x, index)", x="g[index]"),
    "ops.indexing._index_add": _f("x + added_at(values, index)", x="g", values="g[index]"),
    "ops.indexing._index_update": _f(
        "values if at(index) else x",
        "of a place that is named twice only the value that stayed gets its gradient",
        x="0 if at(index) else g",
        values="g[index]",
    ),
    "ops.indexing._stayed": _f("1 if stayed(picked) else 0"),
}

REDUCTIONS = {
    "ops.reductions._sum": _f("sum(x, axis)", "each element counts once", x="spread(g)"),
    "ops.reductions._mean": _f(
        "sum(x, axis) / n", "n elements share in each mean", x="spread(g) / n"
    ),
    "ops.reductions._var": _f(
        "sum((x - mean(x)) ** 2, axis) / (n - correction)",
        "",
        x="spread(g) * 2 * (x - mean(x)) / (n - correction)",
    ),
    "ops.reductions._std": _f(
        "sqrt(sum((x - mean(x)) ** 2, axis) / (n - correction))",
        "0 where it is 0",
        x="spread(g) * (x - mean(x)) / ((n - correction) * out)",
    ),
    "ops.reductions._prod": _f("prod(x, axis)", x="spread(g) * others(x)"),
    "ops.reductions._max": _f("max(x, axis)", x="spread(g) * picked(x)"),
    "ops.reductions._min": _f("min(x, axis)", x="spread(g) * picked(x)"),
    "ops.reductions._ties": _f("1 if x == extremum else 0"),
    "ops.reductions._cumsum": _f(
        "cumsum(x, axis)", x="reverse(cumsum(reverse(g, axis), axis), axis)"
    ),
    "ops.reductions._logsumexp": _f(
        "log(sum(exp(x), axis))", x="spread(g) * softmax(x)"
    ),
    "ops.reductions._norm": _f(
        "sqrt(sum(x ** 2, axis))", "0 where it is 0", x="spread(g) * x / out"
    ),
    "ops.softmaxes._softmax": _f(
        "exp(x) / sum(exp(x), axis)",
        "the Jacobian is diag(out) - out out^T",
        _GOODFELLOW,
        x="out * (g - sum(g * out, axis))",
    ),
    "ops.softmaxes._log_softmax": _f(
        "x - log(sum(exp(x), axis))", "", _GOODFELLOW, x="g - exp(out) * sum(g, axis)"
    ),
}

_MATRIX_NOTE = "of matrices; a vector is a matrix of one row or column"

PRODUCTS = {
    "ops.linalg._matmul": _f(
        "a @ b", _MATRIX_NOTE, _MATRICES, a="g @ b.T", b="a.T @ g"
    ),
    "ops.linalg._einsum": _f(
        "einsum(subscripts, operands)", operands="einsum(g, others(operands))"
    ),
    "nn.functional.linears._linear": _f(
        "input @ weight.T + bias",
        "the bias was added to every row, so its gradient is summed over the rows",
        _MATRICES,
        input="g @ weight",
        weight="g.T @ input",
        bias="g",
    ),
    "ops.convolution.convolution": _f(
        "sum(weight * windows(x)) + bias",
        "",
        "Dumoulin & Visin, A guide to convolution arithmetic, 2016",
        x="back_through_windows(g * weight)",
        weight="correlate(x, g)",
        bias="sum_over(g, batch_and_places)",
    ),
    "ops.convolution.transposed_convolution": _f(
        "back_through_windows(y * weight)",
        "",
        "Dumoulin & Visin, A guide to convolution arithmetic, 2016",
        y="sum(weight * windows(g))",
        weight="correlate(g, y)",
    ),
    "ops.convolution.kernel_correlation": _f(
        "correlate(x, y)", x="back_through_windows(y * g)", y="sum(g * windows(x))"
    ),
    "nn.functional.attention._attention": _f(
        "softmax(scale * query @ key.T) @ value",
        "p = softmax(scale query key^T) and ds = p (dp - sum(p dp)) with dp = g value^T",
        "Vaswani et al., Attention is all you need, 2017, equation 1",
        query="scale * ds @ key",
        key="scale * ds.T @ query",
        value="p.T @ g",
    ),
}

WINDOWS = {
    "ops.pooling.window_sum": _f("sum(windows(x))", x="back_through_windows(g)"),
    "ops.pooling.window_spread": _f("back_through_windows(y)", y="sum(windows(g))"),
    "ops.pooling.max_pool": _f(
        "max(windows(x))",
        "of equals, the first has the gradient",
        x="back_through_windows(g * picked(x))",
    ),
    "ops.pooling._winners": _f("argmax(windows(x))"),
    "ops.pooling.max_pool_indices": _f("argmax(windows(x))"),
}

_LOSS_NOTE = (
    "y_hat - y over m, the number of rows (1 unless reduction is 'mean'). Labels are "
    "rows hot(label). In general it is y_hat sum(y) - y, and class weights multiply y: "
    "that y sums to 1 is assumed in y_hat - y"
)

LOSSES = {
    "ops.cross_entropy._cross_entropy": _f(
        "-sum(target * log(softmax(logits))) / m",
        _LOSS_NOTE,
        _BISHOP,
        logits="g * (softmax(logits) - target) / m",
        target="-g * log(softmax(logits)) / m",
    ),
    "ops.cross_entropy._first_max": _f("1 if logits == max(logits, axis) else 0"),
    "ops.cross_entropy._dense": _f("hot(target)"),
    "ops.cross_entropy._row_factor": _f("1 / n"),
    "ops.chunked._linear_cross_entropy": _f(
        "cross_entropy(x @ weight.T + bias, target)",
        "d = (softmax(x weight^T + bias) - target) / m, a chunk of rows at a time",
        "Wijmans et al., Cut your losses in large-vocabulary language models, 2024",
        x="g * d @ weight",
        weight="g * d.T @ x",
        bias="g * sum_over(d, rows)",
        target="-g * log(softmax(x @ weight.T + bias)) / m",
    ),
    "nn.functional.binary_losses._binary_cross_entropy": _f(
        "-(target * log(input) + (1 - target) * log(1 - input))",
        "logarithms are limited to -100 and above",
        _BISHOP,
        input="g * (input - target) / (input * (1 - input))",
        target="g * (log(1 - input) - log(input))",
    ),
}

_NORM_RULE = "scale * (h - mean_over(h) - normal(input) * mean_over(h * normal(input)))"
_NORM_NOTE = "h = g weight and scale = 1 / sqrt(var + eps)"

NORMALISATIONS = {
    "nn.functional.normalizations._layer_norm": _f(
        "normal(input) * weight + bias",
        _NORM_NOTE,
        "Ba, Kiros & Hinton, Layer normalization, 2016",
        input=_NORM_RULE,
        weight="g * normal(input)",
        bias="g",
    ),
    "nn.functional.normalizations._rms_norm": _f(
        "input * scale * weight",
        "h = g weight, scale = 1 / sqrt(mean_over(input^2) + eps)",
        "Zhang & Sennrich, Root mean square layer normalization, 2019",
        input="scale * (h - input * scale * mean_over(h * input * scale))",
        weight="g * input * scale",
    ),
    "nn.functional.channel_norms._batch_norm": _f(
        "normal(input) * weight + bias",
        _NORM_NOTE + ", over the batch, for each channel",
        "Ioffe & Szegedy, Batch normalization, 2015",
        input=_NORM_RULE,
        weight="sum_over(g * normal(input), batch_and_places)",
        bias="sum_over(g, batch_and_places)",
    ),
    "nn.functional.channel_norms._channel_affine": _f(
        "(input - mean) * scale + shift",
        "for each channel",
        input="g * scale",
        mean="-sum_over(g * scale, batch_and_places)",
        scale="sum_over(g * (input - mean), batch_and_places)",
        shift="sum_over(g, batch_and_places)",
    ),
    "nn.functional.channel_norms._group_norm": _f(
        "normal(input) * weight + bias",
        _NORM_NOTE + ", over each group of channels",
        "Wu & He, Group normalization, 2018",
        input=_NORM_RULE,
        weight="sum_over(g * normal(input), batch_and_places)",
        bias="sum_over(g, batch_and_places)",
    ),
}

_GATES = "gates holds i, f, z and o side by side"
_GRU = "r = r_x + r_h, z = z_x + z_h and n = tanh(n_x + sigmoid(r) n_h)"

CELLS = {
    "nn.functional.gates.lstm_state": _f(
        "sigmoid(f) * state + sigmoid(i) * tanh(z)",
        _GATES + "; its gradient has the four parts side by side",
        "Hochreiter & Schmidhuber, Long short-term memory, 1997",
        gates="concatenate(g * tanh(z) * d_sigmoid(i), g * state * d_sigmoid(f), "
        "g * sigmoid(i) * (1 - tanh(z) ** 2), 0)",
        state="g * sigmoid(f)",
    ),
    "nn.functional.gates.lstm_output": _f(
        "sigmoid(o) * tanh(state)",
        _GATES,
        "Hochreiter & Schmidhuber, Long short-term memory, 1997",
        gates="concatenate(0, 0, 0, g * tanh(state) * d_sigmoid(o))",
        state="g * sigmoid(o) * (1 - tanh(state) ** 2)",
    ),
    "nn.functional.gates.gru_state": _f(
        "(1 - sigmoid(z)) * n + sigmoid(z) * state",
        _GRU + "; dn = g (1 - sigmoid(z)) (1 - n^2) and dr = dn n_h sigmoid'(r)",
        "Cho et al., Learning phrase representations using RNN encoder-decoder, 2014",
        from_input="concatenate(dr, g * (state - n) * d_sigmoid(z), dn)",
        from_state="concatenate(dr, g * (state - n) * d_sigmoid(z), dn * sigmoid(r))",
        state="g * sigmoid(z)",
    ),
}

COMPARISONS = {
    f"ops.comparisons.{name}": _f(formula, "true or false: no gradient goes through")
    for name, formula in {
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
    f"ops.comparisons._{name}": _f(f"{name}(x, axis)", "places: no gradient goes through")
    for name in ("argmax", "argmin", "argsort")
}

FORMULAS: dict[str, Formula] = {
    **ELEMENT_BY_ELEMENT,
    **ACTIVATIONS,
    **ARRANGEMENT,
    **REDUCTIONS,
    **PRODUCTS,
    **WINDOWS,
    **LOSSES,
    **NORMALISATIONS,
    **CELLS,
    **COMPARISONS,
}

CHECKPOINT = Formula(
    "f(inputs)",
    {},
    "nothing inside f was kept: backward runs f again and walks back through it",
    "Chen et al., Training deep nets with sublinear memory cost, 2016",
)


def key_of(op: Any) -> str:
    """Where an op's forward stands: "ops.elementwise.exp"."""
    forward = op.forward
    package = __name__.partition(".")[0] + "."
    return f"{forward.__module__.removeprefix(package)}.{forward.__name__}"


def formula_of(op: Any) -> Formula | None:
    """The formula of a primitive; of one that is not in the table, as its source says
    it; None where there is no source either."""
    if not hasattr(op, "forward"):
        return CHECKPOINT
    found = FORMULAS.get(key_of(op))
    if found is None:
        forward, rules = read_formula(op)
        found = Formula(forward, rules, "as the op's own source says it")
    return found
