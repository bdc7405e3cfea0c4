"""`tg.explain`: the user's own graph, step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .collecting import collect
from .explanation import Explanation
from .grouping import group
from .recording import record


def explain(
    target: Tensor | Callable[..., Any],
    *args: Any,
    gradient: Any = None,
    check: bool = False,
) -> Explanation:
    """The graph of a tensor, forward and backward, as a numbered ledger.
    """
    names: dict[int, str] = {}
    title = "a tensor"
    if not isinstance(target, Tensor):
        target, names, title = _called(target, args)
    elif args:
        raise TypeError(
            "explain: a tensor was given with further arguments; mend: "
            "tg.explain(loss), or tg.explain(f, *args) with a function that returns it"
        )
    if target.node is None:
        raise RuntimeError("explain: no graph")
    explanation = collect(target, gradient, title, names)
    group(explanation)
    return explanation


def _called(f: Any, args: tuple) -> tuple[Tensor, dict[int, str], str]:
    """f(*args) under `record`, what its arguments are called, and what f is called."""
    if not callable(f):
        raise TypeError("explain: x")
    with record():
        result = f(*args)
    names = {}
    function = getattr(f, "forward", f)
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = []
    for name, value in zip(parameters, args):
        if isinstance(value, Tensor) and value.node is not None and value.is_leaf:
            names[value.node.order] = name
    return result, names, getattr(f, "__name__", type(f).__name__)
