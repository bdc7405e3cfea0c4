"""`checkpoint`: give up a function's saved arrays, compute them again in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends.dtypes import autocast_dtypes
from ..backends.random import States, noting_draws, repeating_draws
from .graph import Node, Variable, enable_grad, is_grad_enabled, next_order, setting
from .rules import Plan
from .walk import gradients


def checkpoint(f: Callable[..., Any], *args: Any) -> Any:
    """f(*args), keeping nothing of what happens inside it for backward.

    Backward runs f again (with the same draws, and as it was under `tg.autocast`) and
    differentiates that: memory for one more forward pass. Exact, and of any order. f
    may use other tensors than its arguments; their gradients arrive too. f must compute
    the same again.

    f: returns a tensor, or a tuple of tensors; of a tuple, f is run again once for each
        tensor that receives a gradient.

    Raises TypeError if f returns anything else.

    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.checkpoint(lambda x: tg.exp(x) * x, x).sum().backward()
    >>> x.grad
    tensor([ 5.4365635, 22.167168 ])
    """
    if not is_grad_enabled():
        return f(*args)
    start = next_order()
    with noting_draws() as states:
        outputs = f(*args)
    several = isinstance(outputs, tuple)
    listed = outputs if several else (outputs,)
    if not all(isinstance(out, Variable) for out in listed):
        raise TypeError(
            f"checkpoint: the function returned {type(outputs).__name__}; it must "
            "return a tensor or a tuple of tensors"
        )
    replays = [_Replay(f, states, k if several else None) for k in range(len(listed))]
    hidden = [_hide(*pair, start, args) for pair in zip(listed, replays, strict=True)]
    return tuple(hidden) if several else hidden[0]


def _hide(out: Variable, replay: _Replay, start: int, args: tuple) -> Variable:
    """`out` with one node in place of all that were made since number `start`."""
    if out.node is None or out.node.order < start:
        return out
    frontier: dict[Node, None] = {}  # what f used that was there before
    seen, stack = {out.node}, [out.node]
    while stack:
        for parent in stack.pop().parents or ():
            if parent is None or parent in seen:
                continue
            seen.add(parent)
            if parent.order < start:
                frontier[parent] = None
            else:
                stack.append(parent)
    parents = tuple(frontier)
    replay.positions = tuple(range(len(parents)))
    replay.residual = (False,) * (1 + len(args))
    kept = [
        (x.result_class, x.array, x.node)
        if isinstance(x, Variable)
        else (None, x, None)
        for x in args
    ]
    node = Node(replay.plan, parents, ((parents, *kept),), out.array)
    node.note = out.node.note  # (of a recording: where f ended)
    return type(out).result_class(out.array, node)


class _Replay:
    """The gradient rule of one checkpoint: run f again and walk back through it."""

    several, fused, split = True, None, 0

    def __init__(self, f: Callable, states: States, output: int | None) -> None:
        self.f, self.states, self.output = f, states, output
        self.autocast = autocast_dtypes.get()
        self.positions: tuple[int, ...] = ()
        self.residual: tuple[bool, ...] = ()
        self.names: tuple[str, ...] = ()

    @property
    def plan(self) -> Any:
        return Plan(checkpoint, (self,), _never_saves)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"checkpoint({getattr(self.f, '__name__', self.f)})"

    def variables(self, args: tuple, node: Node, wrap: type[Variable]) -> tuple:
        return args

    def formula(self, g: Any, frontier: tuple[Node, ...], *kept: Any) -> tuple:
        args = [x if wrap is None else wrap(x, node) for wrap, x, node in kept]
        casting = setting(autocast_dtypes, self.autocast)
        with repeating_draws(self.states), enable_grad(), casting:
            out = self.f(*args)
        out = out if self.output is None else out[self.output]
        record = isinstance(g, Variable)
        found = gradients([out], [g], frontier, record, record, cut=True)
        return tuple(x if record or x is None else x.array for x in found)


def _never_saves(*args: Any, **keywords: Any) -> tuple:
    raise AssertionError("a checkpoint's node is made by _hide")
