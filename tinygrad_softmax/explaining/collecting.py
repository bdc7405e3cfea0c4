"""From a graph to an `Explanation`: its nodes, what was recorded of them, what they
keep, and then the messages of a backward pass (tracing.py)."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import Node, Variable
from ..backends import backend_of
from .explanation import Entry, Explanation, Input, Kept, Message
from .formulas import formula_of
from .recording import Note, note_of
from .sources import operands_of, source_of
from .tracing import Trace, trace

NOT_RECORDED = "not recorded"
HOOKS = (
    "Hooks are not run here: where one returns another gradient, backward() goes on "
    "with that."
)


def collect(
    root: Variable,
    gradient: Any,
    title: str,
    names: dict[int, str],
    constants: dict[int, str] | None = None,
    cut: frozenset[Node] = frozenset(),
) -> Explanation:
    """The explanation of a tensor that is in a graph. names, constants: what the leaves
    of these node numbers, and the arrays of these ids, are called, where the caller
    knows. cut: nodes that are taken for leaves."""
    found = trace(
        root, gradient, cut
    )  # first: it raises what there is to complain about
    explanation, numbers = _forward(root, title, names, cut)
    explanation.seed = found.seed
    _messages(explanation, found, numbers)
    _label_ops(explanation)
    _label_leaves(explanation)
    _label_constants(explanation, constants or {})
    _when_freed(explanation)
    _notes_on_what_is_missing(explanation)
    if any(entry.hooks for entry in explanation.entries):
        explanation.notes.append(HOOKS)
    return explanation


def collect_forward(root: Variable, cut: frozenset[Node] = frozenset()) -> Explanation:
    """The same without a backward pass: there are no messages and no gradients, and
    nodes that backward has freed have no inputs."""
    explanation, _ = _forward(root, "", {}, cut)
    _label_ops(explanation)
    _label_leaves(explanation)
    for entry in explanation.entries:
        entry.gradient_note = "not computed"
        entry.value_note = NOT_RECORDED if entry.value is None else ""
    return explanation


def _forward(
    root: Variable, title: str, names: dict[int, str], cut: frozenset[Node]
) -> tuple[Explanation, dict[Node, int]]:
    """The entries, joined, and the number of each node's."""
    assert root.node is not None
    nodes = nodes_of(root.node, cut)
    numbers = {node: number for number, node in enumerate(nodes, 1)}
    by_order = {node.order: number for node, number in numbers.items()}
    explanation = Explanation(title, numbers[root.node], None, [])
    for node in nodes:
        entry = _entry(node, numbers, names, by_order, node in cut)
        explanation.entries.append(entry)
        explanation.recorded += entry.kind == "op" and entry.source is not None
    explanation[explanation.root].value = root.array
    _join(explanation)
    return explanation, numbers


def nodes_of(root: Node, cut: frozenset[Node] = frozenset()) -> list[Node]:
    """The nodes that a node depends on, in order of creation; it comes last."""
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        for parent in () if node in cut else node.parents or ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.order)


def _entry(
    node: Node,
    numbers: dict[Node, int],
    names: dict[int, str],
    orders: dict[int, int],
    cut: bool,
) -> Entry:
    plan = node.plan
    leaf = plan is None or cut
    entry = Entry(
        number=numbers[node],
        kind="leaf" if leaf else "op",
        op="leaf" if leaf else node.name,
        shape=tuple(node.shape),
        dtype=node.dtype.name,
        label=names.get(node.order, ""),
        hooks=len(node.hooks or ()),
        node=node,
    )
    owner = node.owner() if node.owner is not None else None
    entry.fills_grad = owner is not None
    if owner is not None:
        entry.value, before = owner.array, owner.grad
        entry.grad_before = None if before is None else before.array
        entry.device = backend_of(owner.array).device_of(owner.array)
    if plan is None or cut:
        return entry
    note, op = note_of(node), plan.op
    known = hasattr(op, "forward")  # a checkpoint's has not: its note is its last op's
    entry.primitive = op if known else None
    entry.formula = formula_of(op)
    entry.inputs = _inputs(node, numbers, note if known else None)
    if note is not None:
        _recorded(entry, note, orders)
    entry.keeps = _kept(node, numbers)
    return entry


def _recorded(entry: Entry, note: Note, orders: dict[int, int]) -> None:
    """What only a recording tells of an op."""
    entry.value = note.value
    entry.device = backend_of(note.value).device_of(note.value)
    entry.source = source_of(note.code, note.lasti)
    entry.via = "" if note.via is None else note.via.co_name
    entry.in_backward = note.rule_of is not None
    entry.made_by = None if note.rule_of is None else orders.get(note.rule_of)
    op = entry.primitive
    if op is not None:
        given = {**op.statics, **(note.statics or {})}
        entry.statics = {k: v for k, v in given.items() if k in op.static_names}


def _inputs(node: Node, numbers: dict[Node, int], note: Note | None) -> list[Input]:
    parents, op = node.parents or (), node.plan.op
    names = getattr(op, "inputs", ())
    labels: tuple[str, ...] = ("",) * len(parents)
    if note is not None and _called_here(note):
        labels = operands_of(source_of(note.code, note.lasti).text, len(parents))
    inputs = []
    for position, parent in enumerate(parents):
        name = names[min(position, len(names) - 1)] if names else "input"
        if getattr(op, "variadic", False) or not names:
            name = f"{name}[{position}]"
        entry = None if parent is None else numbers[parent]
        found = Input(name, position, entry, label=labels[position])
        if note is not None:
            found.value, found.known = note.inputs[position], True
        inputs.append(found)
    return inputs


def _called_here(note: Note) -> bool:
    """Whether the program called the op at this place, and not a module or backward."""
    in_module = note.call is not None and (note.code, note.lasti) == note.call[2:4]
    return not in_module and note.rule_of is None


def _kept(node: Node, numbers: dict[Node, int]) -> list[Kept]:
    """What is saved, each value once, with the rules that name it."""
    op, parents, found = node.plan.op, node.parents or (), {}
    if not hasattr(op, "forward"):
        return _kept_by_checkpoint(node)
    for rule, args in zip(node.plan.rules, node.saved or ()):
        served = tuple(op.inputs[0 if op.variadic else p] for p in rule.positions)
        fused = op.fused_bodies.get(op.rules[served[0]])
        names = (*rule.names, *(() if fused is None else _parameters(fused)))
        for name, value in zip(names, args, strict=True):
            if name in ("needs", "position"):
                continue
            if name not in found:
                found[name] = Kept(name, _kind(op, name), value, ())
            found[name].rules += tuple(s for s in served if s not in found[name].rules)
    flat = []
    for kept in found.values():
        several = op.variadic and kept.kind == "input"
        for position, value in enumerate(kept.value if several else (kept.value,)):
            place = position if several else 0
            each = Kept(kept.name, kept.kind, value, kept.rules)
            if several:
                each.name = f"{kept.name}[{place}]"
            elif kept.kind == "input":
                place = op.inputs.index(kept.name)
            each.nbytes = int(getattr(value, "nbytes", 0)) if _is_array(value) else 0
            if kept.kind == "output":
                each.entry = numbers[node]
            parent = parents[place] if kept.kind == "input" else None
            if parent is not None:
                each.entry = numbers[parent]
            flat.append(each)
    order = {name: i for i, name in enumerate((*op.inputs, "out", *op.residuals))}
    return sorted(flat, key=lambda kept: order.get(kept.name, len(order)))


def _kept_by_checkpoint(node: Node) -> list[Kept]:
    """A checkpoint keeps what its function was called with."""
    kept = []
    for args in node.saved or ():
        for position, argument in enumerate(args[1:]):
            value = argument[1]
            nbytes = int(value.nbytes) if _is_array(value) else 0
            kept.append(Kept(f"argument {position}", "input", value, (), nbytes))
    return kept


def _kind(op: Any, name: str) -> str:
    if name == "out":
        return "output"
    if name in op.inputs:
        return "input"
    if name in op.residuals:
        return "residual"
    return "static" if name in op.static_names else "shape"


def _parameters(function: Any) -> tuple[str, ...]:
    from ..signatures import parameters_of

    return tuple(name for name, _, _ in parameters_of(function))[1:]


def _is_array(value: Any) -> bool:
    return hasattr(value, "__setitem__") and hasattr(value, "dtype")


def _join(explanation: Explanation) -> None:
    """What entries tell about each other: users, values, what leaves are called."""
    for entry in explanation.entries:
        for each in entry.inputs:
            if each.entry is None:
                continue
            source = explanation[each.entry]
            if entry.number not in source.users:
                source.users.append(entry.number)
            if each.known and (source.value is None or source.kind == "leaf"):
                source.value = each.value  # what was computed with, also if it changed
        for kept in entry.keeps:
            if kept.kind == "input" and kept.entry is not None:
                source = explanation[kept.entry]
                if source.value is None and _is_array(kept.value):
                    source.value = kept.value
            elif kept.kind == "output" and entry.value is None:
                entry.value = kept.value


def _messages(explanation: Explanation, found: Trace, numbers: dict) -> None:
    for step, (node, g) in enumerate(zip(found.order, found.gradients, strict=True), 1):
        entry = explanation[numbers[node]]
        entry.step, entry.gradient = step, g
        explanation.order.append(entry.number)
    for sent in found.sent:
        source, target = explanation[numbers[sent.source]], numbers[sent.target]
        name = source.inputs[sent.position].name
        rules = source.formula.rules if source.formula else {}
        # (arrays[2] of concatenate has the rule of arrays)
        formula = rules.get(name) or rules.get(name.partition("[")[0], "")
        message = Message(
            number=len(explanation.messages) + 1,
            step=sent.step,
            source=source.number,
            target=target,
            input_name=name,
            position=sent.position,
            rule=str(sent.rule),
            formula=formula,
            raw=sent.raw,
            arrived=sent.arrived,
            before=sent.before,
            after=sent.after,
        )
        _say_how_it_was_fitted(message, sent)
        explanation.messages.append(message)
        explanation[target].messages.append(message.number)
        if explanation[target].kind == "leaf":
            explanation[target].gradient = sent.after
    root = explanation[explanation.root]
    if root.kind == "leaf":
        root.gradient = found.seed


def _say_how_it_was_fitted(message: Message, sent: Any) -> None:
    raw, shape = tuple(getattr(sent.raw, "shape", ())), tuple(sent.target.shape)
    if raw != shape:
        extra = len(raw) - len(shape)
        message.summed_axes = tuple(
            i for i, n in enumerate(raw) if i < extra or shape[i - extra] != n
        )
    dtype = getattr(sent.raw, "dtype", None)
    if dtype is not None and dtype != sent.target.dtype:
        message.cast_from = dtype.name


def _label_ops(explanation: Explanation) -> None:
    """An op is called what it is assigned to: the last one, where one expression made
    several."""
    ops = explanation.ops
    for entry, after in zip(ops, [*ops[1:], None]):
        source = entry.source
        if source is None or entry.in_backward:
            continue
        # (In a loop the op that follows may be made by the same expression, too.)
        alone = entry.via in ("", entry.op) or after is None or after.source != source
        if source.assigned and alone:
            entry.label = entry.label or source.assigned


def _label_leaves(explanation: Explanation) -> None:
    """A leaf is called what the expressions that use it call it: of several names the
    one that is nothing else's, then the most frequent."""
    taken = {entry.label for entry in explanation.ops}
    names: dict[int, dict[str, int]] = {}
    for entry in explanation.ops:
        for each in entry.inputs:
            if each.entry is not None and each.label:
                counts = names.setdefault(each.entry, {})
                counts[each.label] = counts.get(each.label, 0) + 1
    for leaf in explanation.leaves:
        counts = names.get(leaf.number, {})
        if counts and not leaf.label:
            leaf.label = max(counts, key=lambda name: (name not in taken, counts[name]))


def _label_constants(explanation: Explanation, constants: dict[int, str]) -> None:
    for entry in explanation.ops:
        for each in entry.inputs:
            if each.entry is None:
                each.label = constants.get(id(each.value), each.label)


def _when_freed(explanation: Explanation) -> None:
    """After which step of backward no node keeps an array any more."""
    steps: dict[int, int] = {}
    for entry in explanation.ops:
        for kept in entry.keeps:
            if kept.nbytes and entry.step is not None:
                key = id(kept.value)
                steps[key] = max(steps.get(key, 0), entry.step)
    for entry in explanation.ops:
        for kept in entry.keeps:
            if kept.nbytes:
                kept.freed_at = steps.get(id(kept.value))


def _notes_on_what_is_missing(explanation: Explanation) -> None:
    for entry in explanation.entries:
        if entry.value is None:
            entry.value_note = NOT_RECORDED
        if entry.gradient is None:
            entry.gradient_note = "not computed: no message came to it"
