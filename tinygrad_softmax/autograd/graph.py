"""The graph: what is recorded, and when.

A `Variable` is an array and its place in the graph, a `Node`. A node keeps what its
gradient rules asked for and edges to the nodes of its inputs, never to a Variable: so a
graph holds only the arrays that some rule named, and is freed by reference counting.

Read next: primitive.py (how a function becomes an op that records nodes), then walk.py
(how gradients walk back along them); rules.py has the fine print of rules.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

from ..backends.dtypes import is_floating

_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)
_observer: ContextVar[Any] = ContextVar("observer", default=None)
grad_enabled = _grad_enabled.get  # bound: 6 ns a read
current_observer = _observer.get
next_order = count().__next__  # atomic: threads may share it


class Variable:
    """An array and its place in the graph. `Tensor` adds everything a user sees."""

    __slots__ = ("__weakref__", "array", "grad", "node")
    result_class: type[Variable]  # the class of an op's result: not a subclass's

    def __init__(self, array: Any, node: Node | None = None) -> None:
        self.array = array
        self.node = node
        self.grad: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> Any:
        return self.array.dtype


Variable.result_class = Variable


class Node:
    """One application of a primitive, or a leaf.

    plan: what was recorded, a `rules.Plan`; None for a leaf.
    parents: the nodes of its inputs, by position; None for an input that is constant.
        The field itself is None once backward has freed the node.
    saved: for each rule that will run, the values it names.
    owner: weak reference to the Variable whose `.grad` this node fills, if any.
    note: whatever an observer (anomaly detection, a recorder) attaches.
    """

    __slots__ = (
        "dtype",
        "hooks",
        "note",
        "order",
        "owner",
        "parents",
        "plan",
        "saved",
        "shape",
    )

    def __init__(
        self,
        plan: Any,
        parents: tuple[Node | None, ...] | None,
        saved: tuple[tuple, ...] | None,
        array: Any,
    ) -> None:
        self.order = next_order()
        self.plan = plan
        self.parents = parents
        self.saved = saved
        self.shape: tuple[int, ...] = array.shape
        self.dtype = array.dtype
        self.owner: weakref.ref[Variable] | None = None
        self.hooks: dict[int, Callable] | None = None
        self.note: Any = None

    @property
    def name(self) -> str:
        """The op's name, for messages."""
        return "leaf" if self.plan is None else self.plan.name


def make_leaf(variable: Variable) -> None:
    """Make `variable` a leaf of the graph: backward will fill its `.grad`."""
    if not is_floating(variable.array.dtype):
        raise TypeError(
            f"a {variable.array.dtype} tensor can't require a gradient: only floating "
            "dtypes can; mend: .astype(tg.float32)"
        )
    variable.node = Node(None, (), (), variable.array)
    retain_grad(variable)


def retain_grad(variable: Variable) -> None:
    """Ask backward to fill `.grad` of a Variable that is in the graph."""
    if variable.node is None:
        raise RuntimeError(
            "retain_grad: this tensor does not require a gradient, so backward never "
            "reaches it; mend: tg.tensor(..., requires_grad=True)"
        )
    variable.node.owner = weakref.ref(variable)


# -- modes -------------------------------------------------------------------------


@contextmanager
def setting(variable: ContextVar, value: Any) -> Iterator[None]:
    """Set a mode for a block; an exception in the block leaves it as it was."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def is_grad_enabled() -> bool:
    """Whether operations are recorded now.

    >>> import tinygrad_softmax as tg
    >>> with tg.no_grad():
    ...     tg.is_grad_enabled()
    False
    """
    return grad_enabled()


def no_grad():
    """A context (or decorator) in which nothing is recorded.

    The mode belongs to the current thread or asyncio task.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """
    return setting(_grad_enabled, False)


def enable_grad():
    """A context (or decorator) in which operations are recorded again.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> with tg.no_grad(), tg.enable_grad():
    ...     y = x * 2
    >>> y.requires_grad
    True
    """
    return setting(_grad_enabled, True)


def observing(observer: Any):
    """A context in which `observer` is told of every op and every rule.

    It has three methods: `forward(op, inputs, result, statics)` with raw inputs (and,
    of an op that has static parameters, these and its residuals), `before(node)` and
    `backward(node, rule, g, results)`. It may have `call(module, args, kwargs)`, which
    a module's call then goes through, and `joined(inner)`: the two as one, for a block
    inside its own.
    """
    joined = getattr(current_observer(), "joined", None)
    return setting(_observer, joined(observer) if joined else observer)
