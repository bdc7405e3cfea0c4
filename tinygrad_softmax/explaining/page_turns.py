"""The turns of loops as boxes of a page, so that a long loop can be folded.

Of a loop with many turns the first and the last are boxes of their own, and those
between are in one more box, which is one node until somebody unfolds it.
"""

from __future__ import annotations

from typing import Any

from .explanation import Entry, Explanation, Repeat

LEAST = 4  # turns; of fewer each is shown as it is
Box = dict[str, Any]


def turn_boxes(
    explanation: Explanation, boxes: list[Box]
) -> tuple[list[Box], dict[int, str]]:
    """Boxes for the turns of loops, and in which of them each op's entry is, where it
    is in no module's box inside the turn. `boxes` are those of modules: a turn that has
    some in it becomes the one around them."""
    found: list[Box] = []
    homes: dict[int, str] = {}
    by_index = {int(box["id"][1:]): box for box in boxes}
    for number, repeat in enumerate(explanation.repeats):
        turns = _turns(explanation, repeat)
        if len(turns) < LEAST:
            continue
        common = _common(explanation, turns)
        inside = [_groups_inside(explanation, turn, common) for turn in turns]
        if any(groups is None for groups in inside):
            continue  # a module's call that goes on from one turn to the next
        parent = None if common is None else f"g{common}"
        middle = f"r{number}"
        found.append(_box(middle, "turns", f"{len(turns) - 2}", parent))
        for i, (turn, groups) in enumerate(zip(turns, inside, strict=True)):
            home = middle if 0 < i < len(turns) - 1 else parent
            if repeat.length > 1:  # (a single op needs no box of its own)
                name = f"{middle}t{i + 1}"
                found.append(_box(name, "turn", f"{i + 1}/{len(turns)}", home))
                home = name
            if home is not None:
                homes |= {each.number: home for each in turn if each.group == common}
            for index in groups or ():
                by_index[index]["parent"] = home
    return found, homes


def _turns(explanation: Explanation, repeat: Repeat) -> list[list[Entry]]:
    ops = [
        entry
        for entry in explanation.entries[repeat.first - 1 : repeat.last]
        if entry.kind == "op"
    ]
    starts = range(0, len(ops), repeat.length)
    return [ops[start : start + repeat.length] for start in starts]


def _chain(explanation: Explanation, index: int | None) -> list[int]:
    """The groups around something, the outermost first."""
    found: list[int] = []
    while index is not None:
        found.insert(0, index)
        index = explanation.groups[index].parent
    return found


def _common(explanation: Explanation, turns: list[list[Entry]]) -> int | None:
    """The innermost group that has every turn in it."""
    chains = [_chain(explanation, entry.group) for turn in turns for entry in turn]
    common = None
    for level in zip(*chains):
        if len(set(level)) > 1:
            break
        common = level[0]
    return common


def _groups_inside(
    explanation: Explanation, turn: list[Entry], common: int | None
) -> set[int] | None:
    """The groups right under the common one that a turn has; None if one of them goes
    beyond it."""
    depth = len(_chain(explanation, common))
    numbers = {entry.number for entry in turn}
    found = set()
    for entry in turn:
        chain = _chain(explanation, entry.group)
        if len(chain) > depth:
            if not numbers.issuperset(explanation.groups[chain[depth]].members):
                return None
            found.add(chain[depth])
    return found


def _box(name: str, kind: str, title: str, parent: str | None) -> Box:
    return {
        "id": name,
        "kind": kind,
        "title": title,
        "path": "",
        "parent": parent,
        "source": None,
    }
