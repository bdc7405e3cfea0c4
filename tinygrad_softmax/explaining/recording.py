"""`tg.record`: where in the user's program each node was made, and of what values.

The engine tells an observer of every op (autograd/graph.py). The recorder among them
attaches a `Note` to the result's node, and so lives and dies with the graph: nothing is
kept anywhere else, and no reference cycle is made. A note is a tuple of references, no
array is copied, and the source line is looked up when it is asked for (sources.py).
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

from ..autograd.graph import Node, Variable, current_observer, observing
from ..autograd.walk import _Walk

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_frame = sys._getframe


class _Ours(dict):
    """Whether a file belongs to the package, by its name; asked once of each."""

    def __missing__(self, name: str) -> bool:
        found = self[name] = name.startswith(_PACKAGE)
        return found


_ours = _Ours()
_WALK = _Walk.run.__code__


class Note(NamedTuple):
    """What a recording keeps of one node.

    value: the raw result. inputs: the raw inputs, by position. statics: the op's static
        parameters, and its residuals; None where it has none.
    code, lasti: the place in the user's program, to be resolved by `sources.source_of`.
    via: the code of the library's function that the user called there, if that is
        another than the op.
    call: the module call in which it happened, a `ModuleCall` as a plain tuple.
    rule_of: the number (`Node.order`) of the node whose gradient rule made this one, in
        a backward with create_graph=True.
    beside: what another observer (anomaly detection) had attached.
    """

    value: Any
    inputs: Any
    statics: dict[str, Any] | None
    code: CodeType
    lasti: int
    via: CodeType | None
    call: tuple | None
    rule_of: int | None
    beside: Any


class ModuleCall(NamedTuple):
    """One call of a module: what a box around nodes is made of.

    module: a weak reference, since a module may keep a tensor of the graph.
    outer: the call in which this one happened, again as a plain tuple.
    code, lasti: where the user's program called it.
    """

    module: weakref.ref
    outer: tuple | None
    code: CodeType
    lasti: int


def note_of(node: Any) -> Note | None:
    """What was recorded of a node. (A plain tuple is made in a third of the time of a
    named one, so that is what the recorder attaches.)"""
    note: Any = getattr(node, "note", None)
    whole = type(note) is tuple and len(note) == len(Note._fields)
    return Note._make(note) if whole else None


class Recorder:
    """The observer. One belongs to one `with` block, in one thread or task."""

    def __init__(self, beside: Any = None, outer: Recorder | None = None) -> None:
        self.beside = beside  # another observer, which is told first
        self.within: Any = None if outer is None else outer.within
        self.rule_of: int | None = None

    def joined(self, inner: Any) -> Any:
        """This recorder and an observer of a block inside its own, as one."""
        return inner if isinstance(inner, Recorder) else Recorder(inner, self)

    def forward(
        self, op: Any, inputs: Any, result: Variable, statics: dict[str, Any] | None
    ) -> None:
        node, beside = result.node, None
        if self.beside is not None:
            self.beside.forward(op, inputs, result, statics)
            beside = None if node is None else node.note
        if node is None:
            return
        # 0 is this function, 1 the engine's, 2 the op's own wrapper, 3 who called it.
        frame, within, via, rule_of = _frame(3), self.within, None, None
        code = frame.f_code
        while _ours[code.co_filename]:
            if code is _CALL:  # everything outside it is known
                code, lasti = within[2], within[3]
                break
            if code is _WALK:
                rule_of = self.rule_of
            via, above = code, frame.f_back
            if above is None:
                lasti = frame.f_lasti
                break
            frame, code = above, above.f_code
        else:
            lasti = frame.f_lasti
        node.note = (
            result.array, inputs, statics, code, lasti, via, within, rule_of, beside
        )  # fmt: skip

    def call(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Run a module's forward, with its call noted in what is recorded there."""
        outer, frame = self.within, _frame(2)  # 1 is Module.__call__
        code = frame.f_code
        while _ours[code.co_filename]:
            above = frame.f_back
            if code is _CALL or above is None:
                break
            frame, code = above, above.f_code
        lasti = frame.f_lasti
        if code is _CALL:
            _, _, code, lasti = outer
        self.within = (weakref.ref(module), outer, code, lasti)
        try:
            return module.forward(*args, **kwargs)
        finally:
            self.within = outer

    def before(self, node: Node) -> None:
        self.rule_of = node.order
        if self.beside is not None:
            self._tell(node, self.beside.before, node)

    def backward(self, node: Node, rule: Any, g: Any, results: tuple) -> None:
        if self.beside is not None:
            self._tell(node, self.beside.backward, node, rule, g, results)

    def _tell(self, node: Node, method: Callable, *args: Any) -> None:
        """Tell the other observer, which finds its own note on the node."""
        kept, note = node.note, note_of(node)
        node.note = kept if note is None else note.beside
        try:
            method(*args)
        finally:
            node.note = kept


_CALL = Recorder.call.__code__


def record():
    """A context in which every op keeps its value and its place in your program.

    `tg.explain` shows them. The values are references to the arrays, not copies, and
    stay as long as the graph does; an array that is written in place later (a parameter
    after an optimizer's step) shows what it then holds. An op costs less than a
    microsecond more, and so does the call of a module (`python -m
    benchmarks.recording`). Outside the block nothing is kept. The mode belongs to the
    current thread or asyncio task.

    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.record():
    ...     loss = (x * x).sum()
    >>> print(tg.explain(loss).entries[1].value)
    [1. 4.]
    """
    outer = current_observer()
    if isinstance(outer, Recorder):
        return observing(Recorder(outer.beside, outer))
    return observing(Recorder(outer))
