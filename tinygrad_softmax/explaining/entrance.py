"""`tg.explain`: the user's own graph, step by step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..autograd.callers import users_frame
from ..tensor import Tensor
from .checking import check_gradients
from .collecting import collect
from .explanation import Explanation
from .grouping import group
from .recording import record
from .sources import source_of


def explain(
    target: Tensor | Callable[..., Any],
    *args: Any,
    gradient: Any = None,
    check: bool = False,
) -> Explanation:
    """The graph of a tensor, forward and backward, as a numbered ledger.

    target: a tensor that was computed, best under `tg.record()`; or a function, which
        is called with `args` under it and returns such a tensor.
    gradient: that of the tensor's entries, of its shape; 1 for a scalar.
    check: put central finite differences beside every gradient. The ops are run again
        for them, in float64, from what was recorded.

    Returns an `Explanation`. Printed (or shown by a notebook) it is the ledger: each op
    with its place in the program, its formula, its value, what it keeps for backward
    and until when; then each step of backward with the messages that it sends, what
    they were summed over and what they are added to. As data it has `entries`,
    `messages` and `groups`; `to_json()` gives plain dicts.

    Nothing that is computed changes: the rules run once more on what they kept, on a
    graph that stays, and no `.grad` is written, no hook runs, no random number is
    drawn. (A function under `tg.checkpoint` is run again, as in backward.) Every
    gradient on the way is kept, which takes as much memory again as the values.

    Raises:
        TypeError: `target` is neither a tensor nor a function, or the function returns
            no tensor; or a tensor was given with further arguments.
        RuntimeError: the tensor has no graph, or an earlier backward freed it; it is
            not a scalar and no gradient was given; or `check` was asked for and nothing
            was recorded.
        ValueError: the gradient has not the tensor's shape.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> explanation = tg.explain(lambda w: (w * w).sum(), w)
    >>> explanation
    <Explanation of a function: 2 ops, 1 leaf>
    >>> print(explanation.text(60))  # doctest: +ELLIPSIS
    a function: 2 ops, 1 leaf
    ...
    GRADIENTS: what backward() would add to .grad
    #1 w
       grad     [4, 6]
    ...
    """
    names: dict[int, str] = {}
    constants: dict[int, str] = {}
    title = ""
    if isinstance(target, Tensor):
        if args:
            raise TypeError(
                f"explain: a tensor was given with {len(args)} further "
                f"argument{'s' * (len(args) != 1)}; mend: tg.explain(loss), or "
                "tg.explain(f, *args) with the function that computes it"
            )
    else:
        target, names, constants, title = _called(target, args)
    _check_graph(target)
    explanation = collect(target, gradient, title, names, constants)
    _forget_this_call(explanation)
    explanation.title = title or explanation[explanation.root].label or "a tensor"
    group(explanation)
    if check:
        if not explanation.recorded and explanation.ops:
            raise RuntimeError(
                "explain: check=True runs the ops again, and none of them was "
                "recorded; mend: run the forward pass inside `with tg.record():`, or "
                "tg.explain(f, *args, check=True)"
            )
        check_gradients(explanation)
    return explanation


def _forget_this_call(explanation: Explanation) -> None:
    """In `e = tg.explain(tg.softmax, x)` the variable e is not the op's result."""
    frame, _ = users_frame()
    here = source_of(frame.f_code, frame.f_lasti)
    for entry in explanation.ops:
        if entry.source == here and entry.label == here.assigned:
            entry.label = ""


def _check_graph(root: Tensor) -> None:
    if root.node is None:
        raise RuntimeError(
            f"explain: this {root.dtype} tensor of shape {root.shape} has no graph: it "
            "does not depend on any tensor that requires a gradient; mend: create its "
            "inputs with requires_grad=True, and outside tg.no_grad()"
        )
    seen, stack = {root.node}, [root.node]
    while stack:
        node = stack.pop()
        if node.parents is None:
            raise RuntimeError(
                f"explain: the graph of this {node.name} was freed by an earlier "
                "backward, and there is nothing left to show; mend: explain before "
                "backward, or pass retain_graph=True to it"
            )
        for parent in node.parents:
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)


def _called(f: Any, args: tuple) -> tuple[Tensor, dict, dict, str]:
    """f(*args) under `record`; what its arguments are called, those in the graph by
    their nodes' numbers and the others by their arrays' ids; and what f is called."""
    if not callable(f):
        raise TypeError(
            f"explain: a {type(f).__name__} was given; expected a tensor, or a "
            "function that returns one; mend: tg.explain(loss)"
        )
    title = getattr(f, "__name__", type(f).__name__)
    title = "a function" if title == "<lambda>" else title
    with record():
        result = f(*args)
    if not isinstance(result, Tensor):
        raise TypeError(
            f"explain: {title} returned a {type(result).__name__}; it must return a "
            "tensor; mend: return the loss alone"
        )
    names, constants = {}, {}
    try:
        parameters = list(inspect.signature(getattr(f, "forward", f)).parameters)
    except (TypeError, ValueError):  # some callables have none
        parameters = []
    for name, value in zip(parameters, args):
        if isinstance(value, Tensor) and value.node is None:
            constants[id(value.array)] = name
        elif isinstance(value, Tensor) and value.node is not None and value.is_leaf:
            names[value.node.order] = name
        elif hasattr(value, "__setitem__"):
            constants[id(value)] = name
    return result, names, constants, title
