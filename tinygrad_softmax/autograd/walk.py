"""The walk back: from a loss to the gradients.

Nodes are visited in reverse order of creation, with a heap. Every node is created after
its inputs, so when a node is reached all the messages to it have arrived. Nothing is
recursive, and what is pending lives in the walk, not on the nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from heapq import heappop, heappush
from typing import Any

from ..backends import backend_of, several_devices, there
from ..backends.dtypes import is_floating
from ..backends.given import check_replacement, given_gradient
from .core_ops import add, cast, sum_to
from .graph import Node, Variable, _grad_enabled, current_observer
from .rules import Rule

_fused_call: ContextVar[tuple[Any, bool]] = ContextVar("fused", default=(None, False))
_deposit = threading.Lock()  # two threads may share a leaf
_BORROWED, _FRESH, _SUMMED = range(3)  # a pending gradient is somebody else's; nobody
# else's, so that a leaf may keep it; a sum that the walk made and may add to in place


def backward(
    root: Variable,
    seed: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add d root / d leaf to `.grad` of every leaf that `root` depends on."""
    kind = _WalkOverDevices if several_devices else _Walk
    walk = kind([_root(root, seed, "backward")], None, retain_graph, create_graph)
    results = walk.run(type(root).result_class)
    with _deposit:
        for node, gradient in results:
            owner = node.owner() if node.owner is not None else None
            if owner is not None:
                before = owner.grad
                owner.grad = gradient if before is None else add(before, gradient)


def gradients(
    roots: Sequence[Variable],
    seeds: Sequence[Any],
    nodes: Sequence[Node],
    retain_graph: bool | None = None,
    create_graph: bool = False,
    cut: bool = False,
) -> list[Any]:
    """The gradient of sum(root * seed) at each of `nodes`; None where none arrives.

    Only rules on a path to one of `nodes` run, and no `.grad` is touched. With `cut`
    the walk ends at `nodes`, also where one of them leads to another.
    """
    pairs = [_root(*pair, "grad") for pair in zip(roots, seeds, strict=True)]
    kind = _WalkOverDevices if several_devices else _Walk
    walk = kind(pairs, frozenset(nodes), retain_graph, create_graph, cut)
    found = dict(walk.run(type(roots[0]).result_class))
    return [found.get(node) for node in nodes]


def _root(root: Variable, seed: Any, caller: str) -> tuple[Node, Any, bool]:
    """(node, seed, whether the seed is the engine's own 1), after the checks."""
    node = root.node
    if node is None:
        raise RuntimeError(
            f"{caller}: this {root.array.dtype} tensor of shape {root.array.shape} "
            "does not depend on any tensor that requires a gradient; mend: create its "
            "inputs with requires_grad=True, and outside tg.no_grad()"
        )
    backend = backend_of(root.array)
    if seed is None:
        if root.array.size != 1:
            raise RuntimeError(
                f"{caller}: only a scalar has a gradient without more being said, and "
                f"this tensor has shape {node.shape}; mend: reduce it with .sum() or "
                ".mean(), or give the gradient of its entries, of that shape"
            )
        with there(root.array):
            return node, backend.unit(node.shape, node.dtype), True
    is_tensor = isinstance(seed, Variable)
    array = given_gradient(caller, root.array, _raw(seed), is_tensor)
    if is_tensor and seed.node is not None:
        array = type(root).result_class(array, seed.node)
    return node, array, False


class _Walk:
    """One walk back from some roots. All of its state is local to it, so that an
    interrupted walk leaves nothing behind and a rule may start a walk of its own."""

    def __init__(
        self,
        roots: Iterable[tuple[Node, Any, bool]],
        wanted: frozenset[Node] | None,
        retain_graph: bool | None,
        create_graph: bool,
        cut: bool = False,
    ) -> None:
        self.cut = cut
        self.create_graph = create_graph
        self.keep = create_graph if retain_graph is None else retain_graph
        self.wanted, self.only = wanted, None
        self.roots = list(roots)
        self.unit: Any = None
        # By minus a node's number, so that the heap gives the youngest first: the node,
        # the sum of the messages to it, and whose array that is.
        self.pending: dict[int, list[Any]] = {}
        self.heap: list[int] = []

    def run(self, wrap: type[Variable]) -> list[tuple[Node, Any]]:
        """Walk to the end; the gradients, as Variables, of leaves and wanted nodes."""
        self.wrap = wrap
        self.observer = current_observer()
        heap, pending, wanted = self.heap, self.pending, self.wanted
        if wanted is not None:
            roots = [root for root, _, _ in self.roots]
            self.only = _leading_to(roots, wanted, self.cut)
        for node, seed, is_unit in self.roots:
            if self.only is None or node in self.only:
                self.unit = seed if is_unit else self.unit
                seed = self.variable(seed) if self.create_graph else _raw(seed)
                if -node.order in pending:  # given twice
                    self.accumulate(pending[-node.order], seed)
                else:
                    pending[-node.order] = [node, seed, _BORROWED]
                    heappush(heap, -node.order)
        results = []
        token = _grad_enabled.set(self.create_graph)
        try:
            while heap:
                node, g, whose = pending.pop(heappop(heap))
                if node.hooks is not None:
                    g, whose = self.run_hooks(node, g, whose)
                if wanted is not None:
                    if node in wanted:
                        results.append((node, self.result(g, whose)))
                        if self.cut or not _leads_on(node, self.only):
                            continue
                elif node.owner is not None:
                    results.append((node, self.result(g, whose)))
                if node.plan is not None:
                    self.visit(node, g)
        finally:
            _grad_enabled.reset(token)
        return results

    def visit(self, node: Node, g: Any) -> None:
        """Run the rules of one node and pass their results on."""
        parents, saved = node.parents, node.saved
        pending, only, observer = self.pending, self.only, self.observer
        create_graph, heap = self.create_graph, self.heap
        if parents is None or saved is None:
            raise _freed(node)
        if observer is not None:
            observer.before(node)
        for rule, args in zip(node.plan.rules, saved):
            if only is not None and not any(parents[i] in only for i in rule.positions):
                continue
            try:
                if create_graph:
                    result = rule.formula(g, *rule.variables(args, node, self.wrap))
                elif rule.fused is not None:
                    result = self.run_fused(rule, g, args)
                else:
                    result = rule.formula(g, *args) if args else rule.formula(g)
            except Exception as error:
                error.add_note(f"(raised in the gradient rule {rule})")
                raise
            results = result if rule.several else (result,)
            if observer is not None:
                observer.backward(node, rule, g, results)
            found: Any = ((rule.positions[0], result),)
            if rule.several:
                found = zip(rule.positions, results)
            for position, result in found:
                parent, whose = parents[position], _BORROWED
                if parent is None or result is None:
                    continue
                if only is not None and parent not in only:
                    continue
                shape, dtype = node.shape, node.dtype  # g's, which a rule may return
                if result is not g:
                    shape = getattr(result, "shape", None)
                    dtype = getattr(result, "dtype", None)
                if shape != parent.shape or dtype is not parent.dtype:
                    result, given = self.fit(result, parent, rule), result
                    whose = _BORROWED if result is given else _FRESH
                key = -parent.order
                entry = pending.get(key)
                if entry is not None:
                    self.accumulate(entry, result)
                    continue
                if parent.owner is not None and whose is _BORROWED:
                    whose = self.whose(result, g, args, results, rule)
                pending[key] = [parent, result, whose]
                heappush(heap, key)
        if not self.keep:
            node.parents = node.saved = None

    def run_fused(self, rule: Rule, g: Any, args: tuple) -> Any:
        """Call a fused body, telling `scaled` what it may do with the residuals."""
        assert rule.fused is not None
        unit = self.unit if g is self.unit else None
        token = _fused_call.set((unit, not self.keep))
        try:
            return rule.fused(g, *args[rule.split :])
        finally:
            _fused_call.reset(token)

    def accumulate(self, entry: list[Any], g: Any) -> None:
        """Add another message: in place from the third on, the sum is the walk's."""
        if self.create_graph:
            entry[1] = add(entry[1], g)
        elif entry[2] is _SUMMED:
            entry[1] += g
        else:
            entry[1] = entry[1] + g
            if entry[0].shape:  # (a sum of 0-d arrays is a NumPy scalar)
                entry[2] = _SUMMED

    def fit(self, result: Any, parent: Node, rule: Rule) -> Any:
        """Sum a result that was broadcast, and give it its input's dtype.

        This is the one place where a broadcast turns into a sum.
        """
        shape, dtype = getattr(result, "shape", None), getattr(result, "dtype", None)
        if shape is None or dtype is None or not is_floating(dtype):
            raise TypeError(
                f"the gradient rule {rule} returned a "
                f"{dtype or type(result).__name__}; it must return a floating "
                f"array of shape {parent.shape}"
            )
        if shape != parent.shape:
            if not _broadcasts(parent.shape, shape):
                raise ValueError(
                    f"the gradient rule {rule} returned shape {shape} for an input of "
                    f"shape {parent.shape}; it must return the input's shape, or a "
                    "shape that the input broadcasts to"
                )
            total = sum_to if self.create_graph else sum_to.forward
            result = total(result, shape=parent.shape)
        return result if dtype == parent.dtype else cast(result, dtype=parent.dtype)

    def whose(
        self, result: Any, g: Any, args: tuple, results: tuple, rule: Rule
    ) -> int:
        """Whether a leaf may keep a rule's result without a copy (_FRESH).

        Only if nobody else holds it: it owns its memory, is none of the values that the
        rule was given, and is returned once. A residual of a node that dies now is
        nobody else's.
        """
        if getattr(result, "base", result) is not None or result is g:
            return _BORROWED
        if rule.several and sum(result is each for each in results) > 1:
            return _BORROWED
        for arg, own in zip(args, rule.residual):
            if result is arg and (self.keep or not own):
                return _BORROWED
        return _FRESH

    def result(self, g: Any, whose: int) -> Any:
        """A gradient as it is handed out: a Variable whose array nobody else holds."""
        if isinstance(g, Variable) and g.node is not None:
            return g
        array = _raw(g)
        if not hasattr(array, "__setitem__"):  # NumPy's scalars
            array = backend_of(array).asarray(array)
        elif whose is _BORROWED:
            array = array.copy()
        return self.wrap(array)

    def run_hooks(self, node: Node, g: Any, whose: int) -> tuple[Any, int]:
        """Show a gradient to the hooks of its tensor, which may replace it.

        Where the walk was cut, the walk that asked for it runs them.
        """
        if self.cut and self.wanted is not None and node in self.wanted:
            return g, whose
        for hook in list((node.hooks or {}).values()):
            seen, whose = hook(self.variable(g)), _BORROWED  # it may keep either
            if seen is None:
                continue
            check_replacement(_raw(g), _raw(seen))
            g = self.variable(seen) if self.create_graph else _raw(seen)
            if g.dtype != node.dtype:
                g = cast(g, dtype=node.dtype)
        return g, whose

    def variable(self, g: Any) -> Variable:
        """A Variable around a gradient: an array, a scalar, or one already."""
        return g if isinstance(g, Variable) else self.wrap(backend_of(g).asarray(g))


class _WalkOverDevices(_Walk):
    """Where there are several GPUs: each step is done on the one that holds its g."""

    def visit(self, node: Node, g: Any) -> None:
        with there(_raw(g)):
            super().visit(node, g)

    def accumulate(self, entry: list[Any], g: Any) -> None:
        with there(_raw(g)):
            super().accumulate(entry, g)

    def result(self, g: Any, whose: int) -> Any:
        with there(_raw(g)):
            return super().result(g, whose)

    def run_hooks(self, node: Node, g: Any, whose: int) -> tuple[Any, int]:
        with there(_raw(g)):
            return super().run_hooks(node, g, whose)


def _raw(value: Any) -> Any:
    return value.array if isinstance(value, Variable) else value


def _freed(node: Node) -> RuntimeError:
    return RuntimeError(
        f"backward: the graph of this {node.name} was freed by an earlier backward; "
        "mend: pass retain_graph=True to the earlier one, or run the forward pass again"
    )


def _broadcasts(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape `small` broadcasts to exactly `large`."""
    if len(small) > len(large):
        return False
    tail = large[len(large) - len(small) :]
    return small == tail or all(a in (b, 1) for a, b in zip(small, tail, strict=True))


def _leads_on(node: Node, only: set[Node] | None) -> bool:
    return only is not None and any(parent in only for parent in node.parents or ())


def _leading_to(roots: Iterable[Node], wanted: frozenset[Node], cut: bool) -> set[Node]:
    """The nodes from which some node of `wanted` can be reached."""
    oldest = min((node.order for node in wanted), default=0)
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen and node.order >= oldest:
            seen.add(node)
            if node in wanted and cut:
                continue
            if node.parents is None and node not in wanted:
                raise _freed(node)
            stack.extend(parent for parent in node.parents or () if parent is not None)
    leading: set[Node] = set()
    for node in sorted(seen, key=lambda node: node.order):
        if node in wanted or _leads_on(node, leading):
            leading.add(node)
    return leading


def scaled(residual: Any, g: Any) -> Any:
    """`residual * g` for a fused body, without a copy where none is needed.

    The engine's own seed of 1 (known by identity, not by value) returns the residual as
    it is; a residual whose node dies now is scaled in place; else a copy is.

    >>> @tg.primitive(residuals=("doubled",))
    ... def squared(x):
    ...     return x * x, 2.0 * x
    >>> @squared.vjp("x")  # the definition, for higher orders
    ... def _(g, x):
    ...     return g * (2.0 * x)
    >>> @squared.fused("x")  # what runs on arrays
    ... def _(g, doubled):
    ...     return tg.scaled(doubled, g)
    >>> x = tg.tensor([1.0, 3.0], requires_grad=True)
    >>> squared(x).sum().backward()
    >>> x.grad
    tensor([2., 6.])
    """
    unit, dying = _fused_call.get()
    if unit is not None and g is unit:
        return residual
    if not dying or not hasattr(residual, "__setitem__"):  # or a NumPy scalar
        return (residual * g).astype(residual.dtype, copy=False)
    xp = backend_of(residual).xp
    return xp.multiply(residual, g, out=residual, casting="same_kind")
