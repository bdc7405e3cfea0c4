"""Formulas for a page: MathML in the names of the user's program, and their terms."""

from __future__ import annotations

import ast
import keyword
from collections.abc import Callable
from typing import Any

from .explanation import Entry, Input, Message
from .formula_text import as_mathml
from .formulas import TERMS
from .words import number

Words = dict[str, Any]
Inputs = Callable[[int], Entry]  # the entry of a number
Named = tuple[dict[str, ast.expr], bool]
SHORT = 16  # characters of a formula that may stand inside another

# Names that formulas use for something else than a variable of the program.
_TAKEN = {"g", "out", "m", "n", "e", "pi", "inf", *TERMS}
_TAKEN |= {"exp", "log", "sum", "mean", "max", "min", "sqrt", "abs", "tanh", "softmax"}


def formula_words(entry: Entry, inputs: Inputs) -> tuple[Words, set[str]]:
    """The formula of an op for its node, and the terms that it uses.

    "forward" is "label = formula" as MathML, in the program's own names where all
    inputs have a plain one. Else it is in the op's, which "where" lists.
    """
    formula = entry.formula
    if formula is None:
        return {}, set()
    words: Words = {}
    if formula.note:
        words["note"] = formula.note
    if formula.source:
        words["cite"] = formula.source
    if not formula.forward:
        return words, set()
    names, plain = _names(entry, inputs)
    left = _own_name(entry) or "out"
    right = as_mathml(_renamed(formula.forward, names))
    words["forward"] = as_mathml(left).replace("</math>", "<mo>=</mo>") + right.replace(
        "<math>", ""
    )
    if not plain:
        words["where"] = True
    return words, _terms(formula.forward)


def rule_words(
    message: Message, source: Entry, inputs: Inputs
) -> tuple[Words, set[str]]:
    """The formula of a message, as "rule", and the terms that it uses."""
    if not message.formula:
        return {}, set()
    names, plain = _names(source, inputs)
    own = _own_name(source)
    if own:
        names["out"] = ast.Name(own)
    words: Words = {"rule": as_mathml(_renamed(message.formula, names))}
    if not plain:
        words["where"] = True
    return words, _terms(message.formula)


def _names(entry: Entry, inputs: Inputs, deep: bool = True) -> Named:
    """What stands in the formula for the op's own names, and whether every input has
    its name in the program there, or a short formula of such names."""
    found: dict[str, ast.expr] = {}
    used: dict[str, int | None] = {}  # names, and the entries that they are of
    plain = True
    for each in entry.inputs:
        constant = _scalar(each)
        label, made = each.label, None if each.entry is None else inputs(each.entry)
        if constant is not None:
            found[each.name] = constant
        elif each.known and each.entry is None and each.value is None:
            continue
        elif _simple(label) and used.get(label, each.entry) == each.entry:
            used[label] = each.entry
            found[each.name] = ast.Name(label)
        elif deep and made is not None and _short(made, inputs) is not None:
            found[each.name] = _short(made, inputs)  # type: ignore[assignment]
        else:
            plain = False
    if not plain or used.keys() & _free(entry, found):
        numbers = {each.name: _scalar(each) for each in entry.inputs}
        found = {k: v for k, v in numbers.items() if v is not None}
        plain = False
    for name, value in (entry.statics or {}).items():
        if type(value) in (int, float) and name != "axis":
            found[name] = _number(value)
    return found, plain


def _short(made: Entry, inputs: Inputs) -> ast.expr | None:
    """The formula of an op without a name, if it is short: the W a of W a + b."""
    if made.formula is None or not made.formula.forward or made.label:
        return None
    names, plain = _names(made, inputs, deep=False)
    text = _renamed(made.formula.forward, names) if plain else ""
    return ast.parse(text, mode="eval").body if 0 < len(text) <= SHORT else None


def _free(entry: Entry, renamed: dict[str, ast.expr]) -> set[str]:
    """The names in an op's formulas that stay: static parameters and the like."""
    formula = entry.formula
    texts = [] if formula is None else [formula.forward, *formula.rules.values()]
    names: set[str] = set()
    for text in filter(None, texts):
        tree = ast.parse(text, mode="eval")
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names - set(renamed)


def _own_name(entry: Entry) -> str:
    return entry.label if _simple(entry.label) else ""


def _simple(label: str) -> bool:
    plain = label.isidentifier() and not keyword.iskeyword(label)
    return plain and label not in _TAKEN


def _scalar(each: Input) -> ast.expr | None:
    """A constant number that an op was given."""
    if each.entry is not None or not each.known or each.value is None:
        return None
    if getattr(each.value, "shape", ()) != ():
        return None
    try:
        return _number(each.value.item() if hasattr(each.value, "item") else each.value)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> ast.expr:
    text = number(value)
    if text.startswith("-"):
        return ast.UnaryOp(ast.USub(), ast.Name(text[1:]))
    return ast.Name(text)  # (a Name, for the digits to stay as they are)


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.args = [self.visit(each) for each in node.args]
        return node  # the function keeps its name


def _renamed(formula: str, names: dict[str, ast.expr]) -> str:
    tree = _Renamed(names).visit(ast.parse(formula, mode="eval"))
    return ast.unparse(ast.fix_missing_locations(tree))


def _terms(formula: str) -> set[str]:
    tree = ast.parse(formula, mode="eval")
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in TERMS
    }
