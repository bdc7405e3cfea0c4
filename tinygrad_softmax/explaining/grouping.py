"""Which entries belong together: module calls, functions made of several ops, and the
turns of a loop. And what parameters are called."""

from __future__ import annotations

import ast
from typing import Any

from .explanation import Entry, Explanation, Group, Repeat
from .recording import ModuleCall, note_of
from .sources import Source, source_of

LEAST_TURNS = 3  # fewer repeats are shown in full


def group(explanation: Explanation) -> None:
    """Fill in `groups`, `repeats`, each entry's group, and the labels of parameters."""
    paths = _name_parameters(explanation)
    _module_groups(explanation, paths)
    _call_groups(explanation)
    explanation.repeats = find_repeats(explanation.ops)


def _calls(entry: Entry) -> list[tuple[int, ModuleCall]]:
    """The module calls that an entry was made in, the outermost first, each with an
    identity that its other entries share."""
    note, found = note_of(entry.node), []
    plain = None if note is None else note.call
    while plain is not None:
        call = ModuleCall._make(plain)
        found.append((id(plain), call))
        plain = call.outer
    return found[::-1]


def _name_parameters(explanation: Explanation) -> dict[int, str]:
    """The path of each module by its id; parameters get theirs as their label.

    Of one model the paths are those of `state_dict`; of several each begins with what
    the program calls the model.
    """
    roots: dict[int, tuple[Any, ModuleCall]] = {}
    for entry in explanation.ops:
        for _, call in _calls(entry)[:1]:
            module = call.module()
            if module is not None:
                roots.setdefault(id(module), (module, call))
    paths: dict[int, str] = {}
    owners: dict[int, str] = {}
    for module, call in roots.values():
        prefix = _callee(call) or type(module).__name__ if len(roots) > 1 else ""
        for path, inner in module.named_modules(prefix):
            paths.setdefault(id(inner), path)
        for path, parameter in module.named_parameters(prefix):
            owners.setdefault(id(parameter), path)
    for entry in explanation.leaves:
        owner = entry.node.owner() if entry.node.owner is not None else None
        entry.label = owners.get(id(owner), entry.label)
    return paths


def _callee(call: ModuleCall) -> str:
    """What the program calls the module: "encoder" of `encoder(x)`."""
    try:
        text = source_of(call.code, call.lasti).text
        tree = ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    simple = isinstance(tree, ast.Call) and isinstance(
        tree.func, (ast.Name, ast.Attribute)
    )
    return ast.unparse(tree.func) if simple else ""  # type: ignore[attr-defined]


def _module_groups(explanation: Explanation, paths: dict[int, str]) -> None:
    made: dict[int, int] = {}
    for entry in explanation.ops:
        parent = None
        for identity, call in _calls(entry):
            index = made.get(identity)
            if index is None:
                module = call.module()
                index = made[identity] = len(explanation.groups)
                explanation.groups.append(
                    Group(
                        index,
                        "module",
                        "a module" if module is None else type(module).__name__,
                        paths.get(id(module), ""),
                        parent,
                        source=source_of(call.code, call.lasti),
                    )
                )
            explanation.groups[index].members.append(entry.number)
            parent = index
        entry.group = parent


def _call_groups(explanation: Explanation) -> None:
    """Ops that one expression made together, by a function of the library."""
    run: list[Entry] = []
    for entry in [*explanation.ops, None]:
        if run and (entry is None or _made_with(entry) != _made_with(run[-1])):
            _add_call_group(explanation, run)
            run = []
        if entry is not None and _made_with(entry) is not None:
            run.append(entry)


def _made_with(entry: Entry) -> tuple[Source, str, int | None] | None:
    if entry.source is None or not entry.via or entry.in_backward:
        return None
    return entry.source, entry.via, entry.group


def _add_call_group(explanation: Explanation, run: list[Entry]) -> None:
    if len(run) < 2 or run[0].via.startswith("forward"):
        return
    index, first = len(explanation.groups), run[0]
    numbers = [entry.number for entry in run]
    explanation.groups.append(
        Group(index, "call", first.via, "", first.group, numbers, first.source)
    )
    for entry in run:
        entry.group = index


def find_repeats(entries: list[Entry]) -> list[Repeat]:
    """Runs of ops that repeat, place by place, at least `LEAST_TURNS` times."""
    marks = [_mark(entry) for entry in entries]
    following: list[int | None] = [None] * len(marks)
    last: dict[Any, int] = {}
    for i in range(len(marks) - 1, -1, -1):
        following[i] = last.get(marks[i])
        last[marks[i]] = i
    repeats, i = [], 0
    while i < len(marks):
        start = following[i]
        length = 0 if start is None else start - i
        stop = i + length
        while length and stop < len(marks) and marks[stop] == marks[stop - length]:
            stop += 1
        count = (stop - i) // length if length else 0
        if count >= LEAST_TURNS:
            stop = i + count * length
            first, end = entries[i].number, entries[stop - 1].number
            repeats.append(Repeat(first, end, length, count))
            i = stop
        else:
            i += 1
    return repeats


def _mark(entry: Entry) -> tuple:
    """What must be the same for two entries to be turns of one loop."""
    calls = [getattr(call.module(), "__class__", None) for _, call in _calls(entry)]
    place = (entry.source, entry.via) if entry.source is not None else ()
    return entry.op, entry.shape, entry.dtype, place, tuple(calls)
