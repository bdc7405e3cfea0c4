"""The parameters of a function, read off its code.

The standard library's `inspect.signature` says the same, and more; but importing
`inspect` takes a tenth of the time that importing NumPy does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

MISSING: Any = object()  # in place of a default
KEYWORD_ONLY = "keyword"
VAR_POSITIONAL, VAR_KEYWORD = 0x04, 0x08  # flags of a code object


def parameters_of(function: Callable) -> list[tuple[str, str, Any]]:
    """(name, kind, default) of each parameter, in the order of the signature.

    kind: "" for one that may be given by position, "*", "keyword", or "**".

    >>> def f(a, b=2, *c, d, e=5, **g): ...
    >>> [(name, kind) for name, kind, _ in parameters_of(f)]
    [('a', ''), ('b', ''), ('c', '*'), ('d', 'keyword'), ('e', 'keyword'), ('g', '**')]
    """
    plain: Any = function
    while hasattr(plain, "__wrapped__"):  # as decorators leave it
        plain = plain.__wrapped__
    if not isinstance(plain, FunctionType) or hasattr(plain, "__signature__"):
        return _inspected(function)
    code = plain.__code__
    names = code.co_varnames
    split, end = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    defaults, keywords = plain.__defaults__ or (), plain.__kwdefaults__ or {}
    first = split - len(defaults)
    found = [
        (name, "", defaults[i - first] if i >= first else MISSING)
        for i, name in enumerate(names[:split])
    ]
    if code.co_flags & VAR_POSITIONAL:
        found.append((names[end], "*", MISSING))
    found += [(k, KEYWORD_ONLY, keywords.get(k, MISSING)) for k in names[split:end]]
    if code.co_flags & VAR_KEYWORD:
        extra = end + bool(code.co_flags & VAR_POSITIONAL)
        found.append((names[extra], "**", MISSING))
    return found


def _inspected(function: Callable) -> list[tuple[str, str, Any]]:
    """Of what has no code of its own, such as a method or a callable object."""
    import inspect

    kinds = {"VAR_POSITIONAL": "*", "KEYWORD_ONLY": KEYWORD_ONLY, "VAR_KEYWORD": "**"}
    return [
        (
            each.name,
            kinds.get(each.kind.name, ""),
            MISSING if each.default is each.empty else each.default,
        )
        for each in inspect.signature(function).parameters.values()
    ]
