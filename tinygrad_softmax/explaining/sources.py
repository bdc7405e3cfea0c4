"""From a place in a code object to the expression that stands there.

CPython 3.11 and later knows for every instruction the first and last line and column of
the expression it belongs to (PEP 657), `co_positions()`. A recording keeps the code and
the instruction's offset; here it is looked up, when somebody wants to see it.
"""

from __future__ import annotations

import ast
import dis
import linecache
import os
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType


@dataclass(frozen=True)
class Source:
    """An expression in a program.

    file, line, end_line; column, end_column: from 0, in characters; None where Python
        was told to keep no columns (-X no_debug_ranges).
    text: the expression, exactly; or the whole line; "" where there is no source.
    function: the function it stands in; "<module>" outside of any.
    assigned: the variable that its value is stored in, or "".

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> with tg.record():
    ...     loss = (w * w).sum()
    >>> source = tg.explain(loss).entries[1].source
    >>> source.text, source.line, source.column, source.end_column, source.assigned
    ('w * w', 2, 12, 17, '')
    """

    file: str
    line: int
    end_line: int
    column: int | None
    end_column: int | None
    text: str
    function: str
    assigned: str

    @property
    def place(self) -> str:
        """The file's name and the line, as "train.py:12"."""
        return f"{os.path.basename(self.file)}:{self.line}"


def source_of(code: CodeType, lasti: int) -> Source:
    """The expression that the instruction at offset `lasti` of `code` belongs to."""
    # The same code in two files is equal in Python's eyes.
    return _source_of(code, lasti, code.co_filename)


@lru_cache(maxsize=4096)
def _source_of(code: CodeType, lasti: int, file: str) -> Source:
    linecache.checkcache(file)  # it may have been edited, and loaded again
    positions = list(code.co_positions())
    found = positions[lasti // 2] if 0 <= lasti // 2 < len(positions) else (None,) * 4
    line, end_line, column, end_column = found
    line = code.co_firstlineno if line is None else line
    end_line = line if end_line is None else end_line
    lines = linecache.getlines(file)[line - 1 : end_line]
    lines = [text.rstrip("\r\n") for text in lines]
    text = " ".join(each.strip() for each in lines)
    if lines and column is not None and end_column is not None:
        # Columns count bytes of UTF-8.
        last, first = lines[-1].encode(), lines[0].encode()
        lines[-1] = last[:end_column].decode(errors="replace")
        head = lines[0].encode() if len(lines) == 1 else first
        lines[0] = head[column:].decode(errors="replace")
        text = " ".join(each.strip() for each in lines)
        column = len(first[:column].decode(errors="replace"))
        end_column = len(last[:end_column].decode(errors="replace"))
    name = getattr(code, "co_qualname", code.co_name)
    stored = _stored(code, lasti)
    return Source(file, line, end_line, column, end_column, text, name, stored)


def _stored(code: CodeType, lasti: int) -> str:
    """The variable that the next instruction stores the result in, if it does."""
    after = (each for each in dis.get_instructions(code) if each.offset > lasti)
    step = next(after, None)
    if step is None or not step.opname.startswith("STORE_"):
        return ""
    if step.opname.startswith(("STORE_SUBSCR", "STORE_SLICE", "STORE_ATTR")):
        return str(step.argval) if step.opname == "STORE_ATTR" else ""
    name = step.argval
    return str(name[0] if isinstance(name, tuple) else name)


# What modules are usually called: `tg.exp(z)` is a function of z, `z.exp(w)` a method.
_MODULES = frozenset(("F", "functional", "math", "nn", "np", "ops", "tg", "torch"))


@lru_cache(maxsize=4096)
def operands_of(text: str, count: int) -> tuple[str, ...]:
    """What an expression calls the `count` inputs of its op; "" where it can't be told.

    >>> operands_of("x @ self.weight", 2), operands_of("tg.exp(z + 1)", 1)
    (('x', 'self.weight'), ('',))
    """
    try:
        tree = ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError):
        return ("",) * count
    if isinstance(tree, ast.BinOp):
        found: list[ast.expr] = [tree.left, tree.right]
    elif isinstance(tree, ast.UnaryOp):
        found = [tree.operand]
    elif isinstance(tree, ast.Compare):
        found = [tree.left, *tree.comparators]
    elif isinstance(tree, ast.Subscript):
        found = [tree.value]
    elif isinstance(tree, ast.Call):
        found = list(tree.args)
        method = tree.func if isinstance(tree.func, ast.Attribute) else None
        if method is not None and not _is_module(method.value):
            found.insert(0, method.value)
    else:
        found = []
    names = [_name(each) for each in found[:count]]
    return tuple(names + [""] * (count - len(names)))


def _is_module(tree: ast.expr) -> bool:
    while isinstance(tree, ast.Attribute):
        tree = tree.value
    return isinstance(tree, ast.Name) and tree.id in _MODULES


def _name(tree: ast.expr) -> str:
    """A variable, an attribute of one, or an element of one by a number or name."""
    if isinstance(tree, ast.Name):
        return tree.id
    if isinstance(tree, ast.Attribute) and _name(tree.value):
        return ast.unparse(tree)
    simple = (ast.Constant, ast.Name)
    if isinstance(tree, ast.Subscript) and isinstance(tree.slice, simple):
        return ast.unparse(tree) if _name(tree.value) else ""
    return ""
