"""The formula of an op that formulas.py does not know, read out of its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def read_formula(op: Any) -> tuple[str, dict[str, str]]:
    """The expression that an op returns, and the one that each of its rules returns.

    A rule for several inputs returns a tuple, of which each input gets its part. Where
    a function does more than return an expression, its formula is "".
    """
    rules: dict[str, str] = {}
    for inputs, rule in op.formulas.items():
        tree = _returned(rule)
        if len(inputs) == 1:
            rules[inputs[0]] = "" if tree is None else ast.unparse(tree)
        elif isinstance(tree, ast.Tuple) and len(tree.elts) == len(inputs):
            rules |= {k: ast.unparse(v) for k, v in zip(inputs, tree.elts)}
        else:
            rules |= dict.fromkeys(inputs, "")
    tree = _returned(op.forward)
    if op.residuals and isinstance(tree, ast.Tuple) and tree.elts:
        tree = tree.elts[0]
    return "" if tree is None else ast.unparse(tree), rules


def _returned(function: Callable) -> ast.expr | None:
    """What a function returns, if that is all it does."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        tree: Any = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if isinstance(tree, ast.FunctionDef):
        body = [each for each in tree.body if not _is_text(each)]
        if len(body) == 1 and isinstance(body[0], ast.Return):
            return body[0].value
        return None
    lambdas = [each for each in ast.walk(tree) if isinstance(each, ast.Lambda)]
    return lambdas[0].body if len(lambdas) == 1 else None


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
