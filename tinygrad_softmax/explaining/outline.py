"""What of a graph is shown in full: with thousands of ops, modules are folded into one
line each, loops show their first and last turn, and the rest is counted."""

from __future__ import annotations

from dataclasses import dataclass, field

from .explanation import Entry, Explanation, Group, Repeat

LIMIT = 40  # ops that are shown in full, unless the caller says otherwise
LINE = 0.2  # of the room of an op, which a line takes


@dataclass(eq=False)
class Item:
    """A line of the outline.

    kind: "entry" (shown in full), "folded" (a group that is shown as one line), "turns"
        (turns of a loop that are left out), "rest" (entries that are left out), or
        "open" (the head of a group whose members are shown).
    numbers: the ops it stands for, in order of creation.
    boxes: the "open" items that it is in, the outermost first.
    """

    kind: str
    numbers: list[int]
    boxes: tuple[Item, ...] = ()
    group: Group | None = None
    repeat: Repeat | None = None

    @property
    def depth(self) -> int:
        return len(self.boxes)


def heads(item: Item, before: tuple[Item, ...]) -> list[Item]:
    """The boxes of an item that are not open yet, where those `before` are."""
    same = 0
    while same < min(len(before), item.depth) and before[same] is item.boxes[same]:
        same += 1
    return list(item.boxes[same:])


@dataclass(eq=False)
class _Box:
    """A run of ops of one group, with the runs of the groups inside it."""

    group: Group | None
    parts: list[_Box | Entry] = field(default_factory=list)

    def entries(self) -> list[Entry]:
        found: list[Entry] = []
        stack: list[_Box | Entry] = [self]
        while stack:
            part = stack.pop()
            if isinstance(part, _Box):
                stack.extend(reversed(part.parts))
            else:
                found.append(part)
        return found


def outline(explanation: Explanation, limit: int | None = LIMIT) -> list[Item]:
    """The ops of an explanation, as lines: at most about `limit` of them in full."""
    root = _boxes(explanation)
    hidden = {} if limit is None else _left_out_turns(explanation, limit)
    unfolded = _unfolded(root, limit, hidden)
    items: list[Item] = []
    _lay_out(root, (), unfolded, hidden, items)
    return items if limit is None else _shortened(items, limit)


def _boxes(explanation: Explanation) -> _Box:
    root = _Box(None)
    open_boxes = [root]
    for entry in explanation.ops:
        chain: list[Group] = []
        index = entry.group
        while index is not None:
            chain.insert(0, explanation.groups[index])
            index = explanation.groups[index].parent
        depth = 0
        while (
            depth < min(len(chain), len(open_boxes) - 1)
            and open_boxes[depth + 1].group is chain[depth]
        ):
            depth += 1
        del open_boxes[depth + 1 :]
        for group in chain[depth:]:
            box = _Box(group)
            open_boxes[-1].parts.append(box)
            open_boxes.append(box)
        open_boxes[-1].parts.append(entry)
    return root


def _left_out_turns(explanation: Explanation, limit: int) -> dict[int, Repeat]:
    """The ops of the middle turns of loops, where there are too many ops to show."""
    hidden: dict[int, Repeat] = {}
    if len(explanation.ops) <= limit:
        return hidden
    places = {entry.number: i for i, entry in enumerate(explanation.ops)}
    numbers = [entry.number for entry in explanation.ops]
    for repeat in explanation.repeats:
        start = places[repeat.first]
        middle = range(
            start + repeat.length, start + repeat.length * (repeat.count - 1)
        )
        hidden.update((numbers[i], repeat) for i in middle)
    return hidden


def _unfolded(
    root: _Box, limit: int | None, hidden: dict[int, Repeat]
) -> set[int] | None:
    """Which boxes are opened (by id): the outer ones first, while there is room."""
    if limit is None:
        return None
    opened: set[int] = set()
    room = limit - _direct(root, hidden)
    queue = [part for part in root.parts if isinstance(part, _Box)]
    while queue:
        box = queue.pop(0)
        need = _direct(box, hidden)
        if need <= room:
            room -= need
            opened.add(id(box))
            queue += [part for part in box.parts if isinstance(part, _Box)]
    return opened


def _direct(box: _Box, hidden: dict[int, Repeat]) -> float:
    """How much room an open box takes: its own ops, and a line for each box in it."""
    room = 0.0
    for part in box.parts:
        if not isinstance(part, _Box):
            room += part.number not in hidden
        elif not all(entry.number in hidden for entry in part.entries()):
            room += LINE
    return room


def _lay_out(
    box: _Box,
    boxes: tuple[Item, ...],
    opened: set[int] | None,
    hidden: dict[int, Repeat],
    items: list[Item],
) -> None:
    for part in box.parts:
        numbers = (
            [each.number for each in part.entries()]
            if isinstance(part, _Box)
            else [part.number]
        )
        repeat = hidden.get(numbers[0]) if all(n in hidden for n in numbers) else None
        if repeat is not None:
            if items and items[-1].kind == "turns" and items[-1].repeat is repeat:
                items[-1].numbers += numbers
            else:
                items.append(Item("turns", numbers, boxes, repeat=repeat))
        elif not isinstance(part, _Box):
            items.append(Item("entry", numbers, boxes))
        elif opened is None or id(part) in opened:
            head = Item("open", numbers, boxes, part.group)
            _lay_out(part, (*boxes, head), opened, hidden, items)
        else:
            items.append(Item("folded", numbers, boxes, part.group))


def _shortened(items: list[Item], limit: int) -> list[Item]:
    """The first and the last items, with one for all that lie between."""
    if len(items) <= 2 * limit:
        return items
    start, stop = limit, len(items) - limit
    middle = [number for item in items[start:stop] for number in item.numbers]
    return [*items[:start], Item("rest", middle), *items[stop:]]
