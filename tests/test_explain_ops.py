"""`tg.explain` of every op: a walk through the whole op table.

What backward puts into `.grad` is the oracle of every gradient that is shown, to the
last bit. Formulas are evaluated by a small interpreter of their own (it knows NumPy and
nothing of the library) and held against what the rules return.
"""

from __future__ import annotations

import ast
import math

import numpy as np
import op_checks as checks
import pytest
from explain_tools import leaf
from op_table import ROWS

import tinygrad_softmax as tg
from tinygrad_softmax.autograd import PRIMITIVES
from tinygrad_softmax.explaining.formula_source import read_formula
from tinygrad_softmax.explaining.formula_text import as_mathml, as_text
from tinygrad_softmax.explaining.formulas import FORMULAS, TERMS, formula_of, key_of

OURS = [op for op in PRIMITIVES if op.__module__.startswith("tinygrad_softmax.")]
DIFFERENTIABLE = [row for row in ROWS if row.differentiable]


def host(value):
    return checks.host(getattr(value, "array", value))


def explained(row, k, device, **options):
    """(the explanation, the inputs, the weights) of one case, or None where its result
    does not depend on a floating input."""
    inputs = checks.prepared(row, k, device)
    weights = [checks.raw(w, device) for w in checks.cotangents(row, k)]
    with tg.record():
        outs = checks.called(row, k, inputs, device)
        total = sum((out * w).sum() for out, w in zip(outs, weights, strict=True))
    if not row.floating[k] or not getattr(total, "requires_grad", False):
        return None
    return tg.explain(total, **options), inputs, total


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=str)
def test_every_op_is_explained_with_the_gradients_of_backward(row, device):
    seen = 0
    for k in range(len(row.cases)):
        found = explained(row, k, device)
        if found is None:
            continue
        explanation, inputs, total = found
        text = explanation.text(80)
        assert str(explanation.root) in text
        assert all(len(line) <= 80 for line in text.splitlines())
        assert explanation._repr_html_().count("<math>") > 0
        total.backward()
        assert all(message.formula for message in explanation.messages)
        leaves = {id(each.node): each for each in explanation.leaves}
        for i in row.floating[k]:
            x = inputs[i]
            if not isinstance(x, tg.Tensor) or x.grad is None:
                continue
            entry = leaves[id(x.node)]
            np.testing.assert_array_equal(host(entry.gradient), host(x.grad))
            np.testing.assert_array_equal(host(entry.value), host(x))
            seen += 1
    assert seen


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=str)
def test_every_entry_agrees_with_finite_differences(row, device):
    """Of the table's cases the four smallest: `check=True` runs each op many times."""
    cases = sorted(range(len(row.cases)), key=lambda k: _work(row, k))
    checked = 0
    for k in cases[:4]:
        found = explained(row, k, device, check=True)
        if found is None:
            continue
        for entry in found[0].entries:
            assert entry.check is not None
            assert entry.check.agrees, (row.name, k, entry.op, vars(entry.check))
            checked += 1
    assert checked


def _work(row, k):
    sizes = [x.size for x in row.arrays(k) if isinstance(x, np.ndarray)]
    return (0 in sizes, sum(sizes))


# -- formulas --------------------------------------------------------------------------


@pytest.mark.parametrize("op", OURS, ids=key_of)
def test_every_primitive_has_a_formula_for_itself_and_each_rule(op):
    """A new primitive needs a line in explaining/formulas.py."""
    formula = FORMULAS.get(key_of(op))
    assert formula is not None, f"{key_of(op)} has no formula in explaining/formulas.py"
    assert set(formula.rules) == set(op.rules)
    assert formula.forward
    for name, text in formula.rules.items():
        names = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
        assert "g" in names or formula.note, f"the rule of {name} passes no gradient on"


def test_the_table_has_no_formula_without_an_op():
    assert set(FORMULAS) <= {key_of(op) for op in OURS}


def test_a_primitive_without_a_formula_is_seen():
    @tg.primitive
    def brand_new(x):
        return x * 2.0

    try:
        assert key_of(brand_new) not in FORMULAS
        assert formula_of(brand_new).forward == "x * 2.0"
    finally:
        PRIMITIVES.remove(brand_new)


def every_formula():
    for key, formula in FORMULAS.items():
        yield f"{key}", formula.forward
        for name, text in formula.rules.items():
            yield f"{key} {name}", text


@pytest.mark.parametrize(("name", "text"), list(every_formula()))
def test_formulas_become_text_and_mathml(name, text):
    from xml.dom.minidom import parseString

    shown = as_text(text)
    assert shown.isascii()
    assert "**" not in shown
    math = parseString(as_mathml(text)).documentElement
    assert math.tagName == "math"
    assert "?" not in as_mathml(text)


NUMPYS = """
abs acos acosh all any argmax argmin argsort asin asinh atan atan2 atanh ceil
concatenate cos cosh cumsum exp floor log log10 log2 max mean min pad prod reshape roll
round sign sin sinh sqrt sum tan tanh tril triu trunc
"""
KNOWN = {*NUMPYS.split(), "erf", "sigmoid", "softmax"}


def test_every_function_in_a_formula_is_explained_or_is_numpys():
    used = set()
    for _, text in every_formula():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                used.add(node.func.id)
    assert used - KNOWN - set(TERMS) == set()
    assert set(TERMS) <= used


def normal_density(x):
    return np.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi)


erf = np.vectorize(math.erf, otypes=[float])


def choose(condition, a, b):
    return np.where(condition, a, b)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


class Elementwise(ast.NodeTransformer):
    """Conditions and chained comparisons of numbers become those of arrays."""

    def visit_IfExp(self, node):
        self.generic_visit(node)
        parts = [node.test, node.body, node.orelse]
        return ast.Call(ast.Name("call_choose", ast.Load()), parts, [])

    def visit_Call(self, node):
        """What is called may have the name of an input: min(max(x, min), max)."""
        args = [self.visit(each) for each in node.args]
        return ast.Call(ast.Name(f"call_{node.func.id}", ast.Load()), args, [])

    def visit_Compare(self, node):
        self.generic_visit(node)
        parts, left = [], node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            parts.append(ast.Compare(left, [op], [right]))
            left = right
        return self.both("logical_and", parts)

    def visit_BoolOp(self, node):
        self.generic_visit(node)
        name = "logical_and" if isinstance(node.op, ast.And) else "logical_or"
        return self.both(name, node.values)

    def both(self, name, parts):
        total = parts[0]
        for part in parts[1:]:
            total = ast.Call(ast.Name(f"call_{name}", ast.Load()), [total, part], [])
        return total


SAME_IN_NUMPY = """
abs ceil cos cosh cumsum exp floor log log10 log2 logical_and logical_or mean round sign
sin sinh sqrt tan tanh tril triu trunc
"""


def evaluate(text, values):
    tree = ast.fix_missing_locations(Elementwise().visit(ast.parse(text, mode="eval")))
    scope: dict = {name: getattr(np, name) for name in SAME_IN_NUMPY.split()}
    scope |= dict(acos=np.arccos, acosh=np.arccosh, asin=np.arcsin, asinh=np.arcsinh)
    scope |= dict(atan=np.arctan, atanh=np.arctanh, atan2=np.arctan2, erf=erf)
    scope |= dict(choose=choose, softmax=softmax, phi=normal_density)
    scope |= dict(sigmoid=lambda x: 1.0 / (1.0 + np.exp(-x)))
    scope |= dict(Phi=lambda x: (1.0 + erf(x / math.sqrt(2.0))) / 2.0)
    scope |= dict(sum=lambda x, axis: np.sum(x, axis, keepdims=True))
    scope |= dict(max=np.maximum, min=np.minimum, reverse=np.flip)
    scope = {f"call_{name}": value for name, value in scope.items()}
    scope["pi"] = math.pi
    scope |= {f"call_{k}": v for k, v in values.items() if callable(v)}
    return eval(compile(tree, "formula", "eval"), {**scope, **values})  # noqa: S307


BY_KEY = {key_of(op): op for op in OURS}
# What the interpreter can do as it is: element by element, products of matrices, and
# sums that keep their axes.
SOME = """
autograd.core_ops.add ops.activations.sigmoid ops.activations.softplus
ops.activations.relu ops.activations._leaky_relu ops.activations._elu
ops.activations.silu ops.activations._gelu ops.softmaxes._softmax
ops.softmaxes._log_softmax ops.linalg._matmul nn.functional.linears._linear
ops.cross_entropy._cross_entropy ops.shaping._tril ops.shaping._triu ops.shaping._flip
ops.reductions._cumsum nn.functional.binary_losses._binary_cross_entropy
"""
ALL_OF = ("ops.elementwise.", "ops.powers.", "ops.arithmetic.")
TRIED = [*(key for key in FORMULAS if key.startswith(ALL_OF)), *SOME.split()]
STATICS = {
    "_pow_static": dict(exponent=2.5),
    "_leaky_relu": dict(negative_slope=0.25),
    "_elu": dict(alpha=0.5),
    "_softmax": dict(axis=-1),
    "_log_softmax": dict(axis=-1),
    "_gelu": dict(with_grad=True),
    "_tril": dict(k=0),
    "_triu": dict(k=0),
    "_flip": dict(axis=(1,)),
    "_cumsum": dict(axis=1),
    "_cross_entropy": dict(axis=1, reduction="mean", weight=None, ignore_index=None,
                           label_smoothing=0.0, with_grad=True),
}  # fmt: skip
DOMAIN = {"acosh": (1.2, 3.0), "atanh": (-0.8, 0.8), "asin": (-0.8, 0.8)}
DOMAIN |= {"acos": (-0.8, 0.8), "_binary_cross_entropy": (0.1, 0.9)}
TAKE_NEGATIVES = """
abs add subtract negative multiply divide sin cos tan tanh sinh cosh asinh atan erf erfc
exp expm1 relu _leaky_relu _elu silu _gelu sigmoid softplus maximum minimum sign floor
ceil trunc round positive square _softmax _log_softmax _matmul _linear _tril _triu _flip
_cumsum copysign hypot atan2 logaddexp
"""
SIGNED = set(TAKE_NEGATIVES.split())


def inputs_of(name, op):
    rng = np.random.default_rng(len(name))
    low, high = DOMAIN.get(name, (-2.0, 2.0) if name in SIGNED else (0.3, 2.0))
    values = {each: rng.uniform(low, high, (3, 3)) for each in op.inputs}
    if name == "where":
        values["condition"] = values["condition"] > 1.0
    if name == "_clip":
        values["min"], values["max"] = np.full((3, 3), 0.7), np.full((3, 3), 1.4)
    if name == "_linear":
        values["bias"] = values["bias"][0]
    if name == "_cross_entropy":
        values["target"] = softmax(values["target"])
    return values


@pytest.mark.parametrize("key", TRIED)
def test_formulas_say_what_ops_and_rules_do(key):
    op, formula, name = BY_KEY[key], FORMULAS[key], key.rpartition(".")[2]
    statics, inputs = STATICS.get(name, {}), inputs_of(key.rpartition(".")[2], op)
    forward = op.forward(*inputs.values(), **statics)
    out = forward[0] if op.residuals else forward
    values = {**inputs, **statics, "m": 3, "out": out}
    mine = evaluate(formula.forward, {**values, "sum": loss_sum(name)})
    np.testing.assert_allclose(mine, out, rtol=1e-12, atol=1e-14)
    tensors = {k: tg.tensor(v, requires_grad=k in op.rules) for k, v in inputs.items()}
    result = op(*tensors.values(), **statics)
    if not formula.rules:
        assert not result.requires_grad
        return
    g = np.random.default_rng(1).uniform(-1.0, 1.0, result.shape)
    result.backward(g)
    for each, text in formula.rules.items():
        got = np.asarray(evaluate(text, {**values, "g": g}))
        want = host(tensors[each].grad)
        if got.ndim > want.ndim:  # the engine sums what was broadcast
            got = got.sum(axis=0)
        np.testing.assert_allclose(got + 0 * want, want, rtol=1e-12, atol=1e-14)


def loss_sum(name):
    if name == "_cross_entropy":
        return lambda x: np.sum(x)
    return lambda x, axis: np.sum(x, axis, keepdims=True)


def test_a_wrong_formula_is_seen():
    x = np.array([0.5, 1.5])
    assert evaluate("x ** 2 if x > 1 else 0", {"x": x}).tolist() == [0.0, 2.25]
    assert evaluate("0 if 1 < x <= 2 or x < 0 else x", {"x": x}).tolist() == [0.5, 0.0]
    assert not np.allclose(evaluate("g * x", {"x": x, "g": 1.0}), np.exp(x))


# -- the formulas of ops that are not in the table -------------------------------------


@pytest.mark.parametrize(
    ("f", "rule"),
    [
        (lambda x, y: tg.concatenate([x, y, x]).sum(), "part(g, position)"),
        (lambda x, y: tg.stack([x, y]).sum(), "part(g, position)"),
        (lambda x, y: tg.einsum("i,i->", x, y), "einsum(g, others(operands))"),
    ],
)
def test_messages_to_each_of_several_inputs_have_their_formula(f, rule, device):
    x, y = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    explanation = tg.explain(f, x, y)
    joined = next(e for e in explanation.ops if e.op in ("concatenate", "einsum"))
    sent = [m.formula for m in explanation.messages if m.source == joined.number]
    assert sent == [rule] * len(joined.inputs)
    assert rule in explanation.text(80)


def test_a_users_op_is_explained_by_its_source():
    @tg.primitive
    def scaled_cube(x, *, factor):
        """factor x^3."""
        return factor * x**3

    scaled_cube.vjp("x")(lambda g, x, factor: g * 3.0 * factor * x**2)

    @tg.primitive
    def two_steps(a, b):
        c = a + b
        return c * c

    @two_steps.vjp("a", "b")
    def _(g, a, b):
        return g * 2.0 * (a + b), g * 2.0 * (a + b)

    try:
        rules = {"x": "g * 3.0 * factor * x ** 2"}
        assert read_formula(scaled_cube) == ("factor * x ** 3", rules)
        rule = "g * 2.0 * (a + b)"
        assert read_formula(two_steps) == ("", {"a": rule, "b": rule})
        x = tg.tensor([2.0], requires_grad=True)
        explanation = tg.explain(lambda x: scaled_cube(x, factor=0.5).sum(), x)
        assert "g * 3.0 * factor * x^2" in explanation.text(80)
        assert explanation[2].statics == {"factor": 0.5}
    finally:
        del PRIMITIVES[-2:]
