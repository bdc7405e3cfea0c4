"""What a formula is, and how it becomes text for a terminal and MathML for a page.

A formula is a Python expression (formulas.py); nothing here knows what it is about.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True)
class Formula:
    """The formulas of one op, each a Python expression.

    forward: the result. rules: for each input that can have a gradient, what its rule
        returns. note: what these leave unsaid. source: a textbook or paper, where apt.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> tg.explain(lambda w: tg.tanh(w).sum(), w).entries[1].formula.rules
    {'x': 'g * (1 - out ** 2)'}
    """

    forward: str
    rules: dict[str, str] = field(default_factory=dict)
    note: str = ""
    source: str = ""


def formula(forward: str, note: str = "", source: str = "", /, **rules: str) -> Formula:
    """A line of the tables."""
    return Formula(forward, rules, note, source)


_SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "\u2212",
    ast.Mult: "\u22c5",  # element by element; the product of matrices is a space
    ast.FloorDiv: "//",
    ast.Mod: "mod",
    ast.Eq: "=",
    ast.NotEq: "\u2260",
    ast.Lt: "<",
    ast.LtE: "\u2264",
    ast.Gt: ">",
    ast.GtE: "\u2265",
    ast.And: "and",
    ast.Or: "or",
}
_GREEK = {"alpha": "\u03b1", "pi": "\u03c0", "phi": "\u03c6", "Phi": "\u03a6"}
_GREEK |= {"inf": "\u221e"}


def functions_in(expression: str) -> set[str]:
    """The names of the functions that a formula calls.

    >>> sorted(functions_in("g * exp(sum(x, axis))"))
    ['exp', 'sum']
    """
    if not expression:
        return set()
    calls = [n for n in ast.walk(ast.parse(expression)) if isinstance(n, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def as_text(expression: str) -> str:
    """A formula for a terminal, in ASCII.

    >>> as_text("g @ b.T * x**2")
    'g @ b^T * x^2'
    """
    if not expression:
        return ""
    text = ast.unparse(ast.parse(expression, mode="eval"))
    return text.replace(" ** ", "^").replace(".T", "^T")


def as_mathml(expression: str) -> str:
    """A formula as a `<math>` element; "" for "".

    >>> as_mathml("g / b")
    '<math><mfrac><mi>g</mi><mi>b</mi></mfrac></math>'
    """
    if not expression:
        return ""
    return f"<math>{_math(ast.parse(expression, mode='eval').body)}</math>"


def _math(tree: ast.expr) -> str:
    if isinstance(tree, ast.Name):
        return _identifier(tree.id)
    if isinstance(tree, ast.Constant):
        return f"<mn>{escape(str(tree.value))}</mn>"
    if isinstance(tree, ast.Attribute):  # b.T is the only one
        return f"<msup>{_inside(tree.value, 9)}<mi>{escape(tree.attr)}</mi></msup>"
    if isinstance(tree, ast.Subscript):
        return f"<msub>{_inside(tree.value, 9)}{_math(tree.slice)}</msub>"
    if isinstance(tree, ast.UnaryOp):
        sign = "<mi>not</mi>" if isinstance(tree.op, ast.Not) else "<mo>\u2212</mo>"
        return _row([sign, _inside(tree.operand, 6)])
    if isinstance(tree, ast.BinOp):
        return _binary(tree)
    if isinstance(tree, ast.Compare):
        parts = [_inside(tree.left, 4)]
        for op, right in zip(tree.ops, tree.comparators):
            parts += [_operator(op), _inside(right, 4)]
        return _row(parts)
    if isinstance(tree, ast.BoolOp):
        word = _operator(tree.op).replace("mo>", "mtext>")
        return _row(_between([_inside(each, 3) for each in tree.values], word))
    if isinstance(tree, ast.IfExp):
        return _cases(tree)
    if isinstance(tree, ast.Call):
        return _call(tree)
    return f"<mtext>{escape(ast.unparse(tree))}</mtext>"


_LEVELS = {ast.Add: 5, ast.Sub: 5, ast.Pow: 8}


def _level(tree: ast.expr) -> int:
    """How tightly an expression holds together: 9 needs no brackets anywhere."""
    if isinstance(tree, ast.BinOp):
        return 9 if isinstance(tree.op, ast.Div) else _LEVELS.get(type(tree.op), 6)
    if isinstance(tree, ast.UnaryOp):
        return 5
    if isinstance(tree, ast.Compare):
        return 4
    return 2 if isinstance(tree, (ast.BoolOp, ast.IfExp)) else 9


def _inside(tree: ast.expr, level: int) -> str:
    """A part of an expression, in brackets if it holds less tightly than `level`."""
    text = _math(tree)
    return text if _level(tree) >= level else _brackets(text)


def _binary(tree: ast.BinOp) -> str:
    if isinstance(tree.op, ast.Div):
        return f"<mfrac>{_math(tree.left)}{_math(tree.right)}</mfrac>"
    if isinstance(tree.op, ast.Pow):
        return f"<msup>{_inside(tree.left, 9)}{_math(tree.right)}</msup>"
    level = _level(tree)
    after = level + isinstance(tree.op, ast.Sub)
    parts = [_inside(tree.left, level), _operator(tree.op), _inside(tree.right, after)]
    if isinstance(tree.right, ast.UnaryOp):
        parts[2] = _brackets(_math(tree.right))
    return _row(parts)


def _call(tree: ast.Call) -> str:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ast.unparse(tree.func)
    args = tree.args
    if name == "exp":
        return f"<msup><mi>e</mi>{_math(args[0])}</msup>"
    if name == "sqrt":
        return f"<msqrt>{_math(args[0])}</msqrt>"
    if name == "abs":
        return _row(["<mo>|</mo>", _math(args[0]), "<mo>|</mo>"])
    if name == "floor":
        return _row(["<mo>\u230a</mo>", _math(args[0]), "<mo>\u230b</mo>"])
    if name in ("sum", "sum_over", "prod"):
        big = "<mo>\u220f</mo>" if name == "prod" else "<mo>\u2211</mo>"
        if len(args) > 1:
            big = f"<munder>{big}{_math(args[1])}</munder>"
        return _row([big, _inside(args[0], 6)])
    inner = _row(_between([_math(each) for each in args], "<mo>,</mo>"))
    return _row([_identifier(name), _brackets(inner)])


def _cases(tree: ast.expr) -> str:
    """a if c else b, and what else there is, as lines behind a brace."""
    lines = []
    while isinstance(tree, ast.IfExp):
        lines.append((_math(tree.body), _row(["<mtext>if </mtext>", _math(tree.test)])))
        tree = tree.orelse
    lines.append((_math(tree), "<mtext>else</mtext>"))
    rows = "".join(
        f"<mtr><mtd>{value}</mtd><mtd>{when}</mtd></mtr>" for value, when in lines
    )
    return _row(["<mo>{</mo>", f"<mtable>{rows}</mtable>"])


def _identifier(name: str) -> str:
    if name in _GREEK:
        return f"<mi>{_GREEK[name]}</mi>"
    before, _, hat = name.removesuffix("_hat").rpartition("_")
    if name.endswith("_hat") and len(hat) == 1:
        accented = f'<mover accent="true"><mi>{escape(hat)}</mi><mo>^</mo></mover>'
        return _row([_identifier(before), accented]) if before else accented
    base, _, index = name.partition("_")
    if base and index and len(base) == 1:
        return f"<msub><mi>{escape(base)}</mi><mi>{escape(index)}</mi></msub>"
    return f"<mi>{escape(name.replace('_', ' '))}</mi>"


def _operator(op: ast.AST) -> str:
    if isinstance(op, ast.MatMult):
        return '<mspace width="0.3em"/>'
    return f"<mo>{escape(_SYMBOLS.get(type(op), '?'))}</mo>"


def _brackets(text: str) -> str:
    tall = "" if "<mfrac>" in text else ' stretchy="false"'
    return _row([f"<mo{tall}>(</mo>", text, f"<mo{tall}>)</mo>"])


def _row(parts: Iterable[str]) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _between(parts: list[str], separator: str) -> list[str]:
    return [each for part in parts for each in (separator, part)][1:]
