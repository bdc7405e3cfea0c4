"""The backward pass, watched: every message, and what it was added to.

It is the engine's own walk that runs (autograd/walk.py), with the rules and the sums of
`backward`, so that the numbers are the same to the last bit. But it keeps the graph,
writes to no `.grad`, and runs no hooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..autograd.graph import Node, _observer, setting
from ..autograd.rules import Rule
from ..autograd.walk import _root, _Walk, _WalkOverDevices
from ..backends import several_devices


@dataclass(eq=False)
class Sent:
    """One message, between nodes."""

    step: int
    source: Node
    target: Node
    position: int
    rule: Rule
    raw: Any
    arrived: Any
    before: Any
    after: Any


@dataclass(eq=False)
class Trace:
    """A walk back: the nodes in the order of their steps, with the gradients that their
    rules were given, the messages, and the seed."""

    order: list[Node] = field(default_factory=list)
    gradients: list[Any] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    seed: Any = None


def trace(root: Any, gradient: Any = None, cut: frozenset[Node] = frozenset()) -> Trace:
    """Walk back from a tensor, and keep everything. The graph is left as it was.

    gradient: of the root's entries; None is 1, for a scalar. cut: nodes where the walk
        ends.
    """
    first = _root(root, gradient, "explain")
    kind = _TracingOverDevices if several_devices else _Tracing
    walk: Any = kind([first], cut or None, True, False, bool(cut))
    walk.trace, walk.reached = Trace(seed=first[1]), set()
    try:
        with setting(_observer, walk):
            walk.run(type(root).result_class)
    finally:
        walk.observer = None  # (a cycle, which would keep every array of the trace)
    return walk.trace


class _Tracing(_Walk):
    """A walk that is its own observer."""

    trace: Trace
    reached: set[int]  # the numbers of the nodes that a message has come to

    def visit(self, node: Node, g: Any) -> None:
        self.trace.order.append(node)
        self.trace.gradients.append(g)
        self.node: Node = node
        self.returned: list[tuple[Rule, tuple]] = []
        self.fitted: list[Any] = []
        self.added: list[tuple[Any, Any]] = []
        super().visit(node, g)
        self.note_messages(node, g)

    def note_messages(self, node: Node, g: Any) -> None:
        """Put together what was seen at this node. The engine fits and adds results in
        order, and the first message to an input is added to nothing."""
        fitted, added = iter(self.fitted), iter(self.added)
        parents: Any = node.parents
        for rule, results in self.returned:
            for position, raw in zip(rule.positions, results):
                target = parents[position]
                if target is None or raw is None:
                    continue
                if self.only is not None and target not in self.only:
                    continue
                arrived, before = raw, None
                if not _fits(node if raw is g else raw, target):
                    arrived = next(fitted)
                after = arrived
                if target.order in self.reached:
                    before, after = next(added)
                self.reached.add(target.order)
                step = len(self.trace.order)
                arrays = raw, arrived, before, after
                self.trace.sent.append(
                    Sent(step, node, target, position, rule, *arrays)
                )

    def fit(self, result: Any, parent: Node, rule: Rule) -> Any:
        found = super().fit(result, parent, rule)
        self.fitted.append(found)
        return found

    def accumulate(self, entry: list[Any], g: Any) -> None:
        before = _copied(entry[1])  # the walk may add to it in place
        super().accumulate(entry, g)
        self.added.append((before, _copied(entry[1])))

    def run_hooks(self, node: Node, g: Any, whose: int) -> tuple[Any, int]:
        return g, whose

    # -- as an observer --------------------------------------------------------------

    def forward(self, op: Any, inputs: Any, result: Any, statics: Any) -> None:
        pass  # a checkpoint's rule runs its function again

    def before(self, node: Node) -> None:
        pass

    def backward(self, node: Node, rule: Rule, g: Any, results: tuple) -> None:
        if node is self.node:  # and not one of a walk that a checkpoint's rule started
            self.returned.append((rule, results))


class _TracingOverDevices(_Tracing, _WalkOverDevices):
    """The same where there are several GPUs."""


def _fits(raw: Any, target: Node) -> bool:
    """Whether the engine passes this on as it is."""
    shape, dtype = getattr(raw, "shape", None), getattr(raw, "dtype", None)
    return shape == target.shape and dtype is target.dtype


def _copied(value: Any) -> Any:
    return value.copy() if hasattr(value, "__setitem__") else value
