"""A graph as one static picture: SVG for notebooks and files, without a script.

It shows the boxes that page/graph.js draws, folded by outline.py to at most `MOST`,
laid out by drawing_layout.py. Its size is bounded whatever the graph, and it asks for
nothing: light and dark are a media query.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

from .drawing_cells import picture, scalar_text
from .drawing_layout import Links, Point, Spot, lay_out
from .explanation import Entry, Explanation, Input
from .outline import Item, outline
from .words import array_lines, counted, cut

MOST = 40  # boxes
FEW = 12  # ops and leaves, where there are more than there is room for
LIMITS = (40, 28, 20, 14, 10, 7, 5, 3, 2, 1)  # of the outline, tried in turn
HEIGHT = 72.0
LETTER, SMALL = 7.6, 6.3  # the widths of a name's letters, and of the line below it
NAME, KIND = 20, 32  # letters of these
MARGIN = 12.0

STYLE = """
.tg-drawing { --card: #fff; --ink: #22262b; --soft: #5b636d; --edge: #9aa3ad;
 --fold: #f1f3f5; --root: #1f5fa8; --zero: #f4f4f1; --odd: #7b1fa2; --p1: #d3e3f4;
 --p2: #9cc2e6; --p3: #3a76b6; --p4: #174d8c; --n1: #f3e0cd; --n2: #e3bb8d;
 --n3: #a0611f; --n4: #70400f; background: var(--card); }
@media (prefers-color-scheme: dark) {
.tg-drawing { --card: #1d2126; --ink: #e6e8ea; --soft: #a3acb6; --edge: #6b7580;
 --fold: #2a3037; --root: #7db4ef; --zero: #2a2e33; --odd: #ce93d8; --p1: #223a55;
 --p2: #2b5a8f; --p3: #79b2ea; --p4: #b9dcff; --n1: #453220; --n2: #7a4f22;
 --n3: #dfa664; --n4: #ffd9ab; } }
.tg-drawing rect { fill: var(--card); stroke: var(--edge); stroke-width: 1.2; }
.tg-drawing .leaf > .shape { stroke: var(--ink); }
.tg-drawing .constant > .shape { stroke-dasharray: 4 3; }
.tg-drawing .folded > rect { fill: var(--fold); }
.tg-drawing .root > .shape { stroke: var(--root); stroke-width: 2.2; }
.tg-drawing text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.tg-drawing .name { font: 600 12.5px ui-monospace, Menlo, Consolas,
 "DejaVu Sans Mono", monospace; fill: var(--ink); }
.tg-drawing .number { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono",
 monospace; fill: var(--ink); }
.tg-drawing .edge { fill: none; stroke: var(--edge); stroke-width: 1.3; }
.tg-drawing .tip { fill: var(--edge); }
.tg-drawing .rim { fill: none; stroke: var(--edge); stroke-width: 0.7; }
.tg-drawing .hollow { fill: none; stroke-dasharray: 2.5 2.5; }
.tg-drawing .zero { fill: var(--zero); } .tg-drawing .odd { fill: var(--odd); }
.tg-drawing .p1 { fill: var(--p1); } .tg-drawing .p2 { fill: var(--p2); }
.tg-drawing .p3 { fill: var(--p3); } .tg-drawing .p4 { fill: var(--p4); }
.tg-drawing .n1 { fill: var(--n1); } .tg-drawing .n2 { fill: var(--n2); }
.tg-drawing .n3 { fill: var(--n3); } .tg-drawing .n4 { fill: var(--n4); }
"""


@dataclass(eq=False)
class Box:
    """One box of the drawing.

    kind: "leaf", "constant", "op", "folded" (several ops) or "more" (several leaves).
    name, about: its two lines. tip: what is shown under the pointer, in full.
    value, gradient: raw arrays, None where not computed. receives: whether gradients
    come here at all. numbers: the entries that it stands for; none for a constant.
    users: for what is no op, the entries that use it.
    """

    kind: str
    name: str
    about: str
    value: Any = None
    gradient: Any = None
    receives: bool = True
    numbers: list[int] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    tip: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Drawing:
    """A graph, laid out. spots[i] is where boxes[i] stands. gradients: whether they are
    drawn."""

    title: str
    boxes: list[Box]
    spots: list[Spot]
    links: list[Links]
    width: float
    height: float
    root: int
    gradients: bool


def drawing_svg(explanation: Explanation, gradients: bool = True) -> str:
    """The drawing of an explanation as an `<svg>` element in HTML. gradients: False
    where none were asked for, and then none are drawn."""
    return as_svg(draw(explanation, gradients))


def draw(explanation: Explanation, gradients: bool = True) -> Drawing:
    """Choose the boxes, and lay them out."""
    boxes, items = [], []
    for limit in LIMITS:
        items = outline(explanation, limit)
        ops = [_box_of(explanation, item) for item in items]
        boxes = [*_givens(explanation, items), *ops]
        if len(boxes) <= MOST or len(items) <= FEW:
            break
    if len(boxes) > MOST:
        boxes = _shortened(boxes, len(items))
    edges, root = _edges(explanation, boxes)
    spots = [_spot(box) for box in boxes]
    width, height, links = lay_out(spots, edges)
    title = _title(explanation, boxes)
    return Drawing(title, boxes, spots, links, width, height, root, gradients)


def _title(explanation: Explanation, boxes: list[Box]) -> str:
    ops, leaves = len(explanation.ops), len(explanation.leaves)
    title = f"The graph of {explanation.title}, from left to right: "
    title += f"{counted(ops, 'op')}, {counted(leaves, 'leaf')}"
    folded = sum(len(box.numbers) for box in boxes if box.kind == "folded")
    return title + (f"; {counted(folded, 'op')} folded" if folded else "")


# -- the boxes -------------------------------------------------------------------------


def _box_of(explanation: Explanation, item: Item) -> Box:
    last = explanation[item.numbers[-1]]
    if item.kind == "entry":
        return _entry(last)
    ops, group = counted(len(item.numbers), "op"), item.group
    if item.kind == "turns" and item.repeat is not None:
        turns = len(item.numbers) // item.repeat.length
        name, about = f"{counted(turns, 'more turn')}", ops
    elif item.kind == "rest" or group is None:
        name, about = f"{ops}", "not shown"
    else:
        name, about = group.path or group.title, ops
        about = f"{group.title} \u00b7 {ops}" if group.path else ops
    box = Box("folded", name, about, last.value, last.gradient, numbers=item.numbers)
    span = f"#{item.numbers[0]} to #{item.numbers[-1]}, {ops}"
    box.tip = [name, span, *_arrays(last, "of the last op")]
    return box


def _entry(entry: Entry) -> Box:
    name, node = entry.label or entry.op, entry.node
    what = "" if entry.kind == "op" and not entry.label else entry.op
    if entry.kind == "leaf" and node is not None and node.plan is not None:
        # The graph goes on to the left of it.
        name, what = entry.label or node.name, "earlier"
    about = [what, shape_of(entry.shape)]
    box = Box(entry.kind, name, " \u00b7 ".join(filter(None, about)))
    box.value, box.gradient, box.numbers = entry.value, entry.gradient, [entry.number]
    box.users = entry.users
    box.tip = [f"#{entry.number} {entry.label or entry.op}: {entry.dtype}"]
    if entry.source is not None:
        box.tip.append(f"{cut(entry.source.text, 80)}  ({entry.source.place})")
    box.tip += _arrays(entry)
    return box


def _arrays(entry: Entry, whose: str = "") -> list[str]:
    """What a box's value and gradient are, or why they are not known, as text."""
    found = []
    pairs = (
        ("value", entry.value, entry.value_note),
        ("gradient", entry.gradient, entry.gradient_note),
    )
    for name, value, note in pairs:
        small = value is not None and getattr(value, "size", 1) <= 16
        lines = array_lines(value, 76) if small else []
        if value is None:
            lines = [note or "not computed"]
        found += [f"{name} {whose}".rstrip() + f": {line}" for line in lines[:1]]
    return found


def shape_of(shape: tuple[int, ...]) -> str:
    """ "4\u00d71", "(3)" and "scalar", as in the page."""
    if len(shape) == 1:
        return f"({shape[0]})"
    return "\u00d7".join(map(str, shape)) or "scalar"


def _givens(explanation: Explanation, items: list[Item]) -> list[Box]:
    """The leaves and constants. What goes into folded ops alone is folded with them,
    but for constants that the program has a name for: they are the data."""
    shown = {n for item in items if item.kind == "entry" for n in item.numbers}
    home = {n: i for i, item in enumerate(items) for n in item.numbers}
    leaves = [
        _entry(leaf)
        for leaf in explanation.leaves
        if not items
        or not shown.isdisjoint(leaf.users)
        or len({home[user] for user in leaf.users if user in home}) > 1
    ]
    constants: dict[int, Box] = {}
    for entry in explanation.ops:
        for each in entry.inputs:
            if _is_constant(each) and (entry.number in shown or each.label):
                box = constants.get(id(each.value))
                if box is None:
                    box = constants[id(each.value)] = _constant(each)
                box.users.append(entry.number)
    return [*leaves, *constants.values()]


def _is_constant(each: Input) -> bool:
    return each.entry is None and bool(each.shape) and hasattr(each.value, "dtype")


def _constant(each: Input) -> Box:
    shape, dtype = shape_of(tuple(each.value.shape)), each.value.dtype.name
    box = Box("constant", each.label or each.name, f"constant \u00b7 {shape}")
    box.value, box.receives = each.value if each.known else None, False
    box.tip = [f"{box.name}: a constant, {dtype}"]
    return box


def _shortened(boxes: list[Box], ops: int) -> list[Box]:
    """As many leaves and constants as there is room for, and one box for the others."""
    given = boxes[: len(boxes) - ops]
    room = min(max(MOST - ops - 1, 0), FEW)
    kept, rest = given[:room], given[room:]
    more = Box("more", f"{len(rest):,} more", "leaves and constants", receives=False)
    more.numbers = [number for box in rest for number in box.numbers]
    more.users = sorted({user for box in rest for user in box.users})
    more.tip = [f"{len(rest):,} more leaves and constants, which are not shown"]
    return [*kept, more, *boxes[len(given) :]]


def _edges(
    explanation: Explanation, boxes: list[Box]
) -> tuple[list[tuple[int, int]], int]:
    """The pairs of boxes that are joined, and which of them has the root."""
    homes = {n: i for i, box in enumerate(boxes) for n in box.numbers}
    edges = set()
    for i, box in enumerate(boxes):
        if box.kind in ("leaf", "constant", "more"):
            edges |= {(i, homes[user]) for user in box.users if user in homes}
    for entry in explanation.ops:
        for each in entry.inputs:
            start, end = homes.get(each.entry or 0), homes[entry.number]
            if start is not None and start != end:
                edges.add((start, end))
    return sorted(edges), homes.get(explanation.root, len(boxes) - 1)


# -- SVG -------------------------------------------------------------------------------


def as_file(svg: str) -> str:
    """An `<svg>` element as a file of its own, which must name its language."""
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def as_svg(drawing: Drawing) -> str:
    """The drawing as an `<svg>` element with its own style."""
    width, height = (n + 2 * MARGIN for n in (drawing.width, drawing.height))
    shown = escape(_plain(drawing.title))
    parts = [
        f'<svg class="tg-drawing" role="img" '
        f'aria-label="{shown}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}">',
        f"<title>{shown}</title><style>{STYLE}</style>",
    ]
    parts += map(_edge, drawing.links)
    for i, (box, spot) in enumerate(zip(drawing.boxes, drawing.spots, strict=True)):
        parts.append(_drawn(box, spot, drawing.gradients, i == drawing.root))
    return "".join([*parts, "</svg>"])


def _edge(links: Links) -> str:
    lines = "".join(_piece(start, end) for start, end in links.pieces)
    tips = "".join(f"M{_at(x, y)}l-8,-4v8z" for x, y in links.tips)
    return f'<path class="edge" d="{lines}"/><path class="tip" d="{tips}"/>'


def _piece(start: Point, end: Point) -> str:
    (x0, y0), (x1, y1) = start, end
    if abs(y0 - y1) < 0.05:
        return f"M{_at(x0, y0)}L{_at(x1, y1)}"
    half = (x0 + x1) / 2
    return f"M{_at(x0, y0)}C{_at(half, y0)} {_at(half, y1)} {_at(x1, y1)}"


def _drawn(box: Box, spot: Spot, gradients: bool, root: bool) -> str:
    width, kind = spot.width, box.kind + " root" * root
    size = f'width="{width:g}" height="{spot.height:g}"'
    behind = f'<rect x="4" y="-4" {size} rx="8"/>' if _is_folded(box) else ""
    name, about = _short(box.name, NAME), _short(box.about, KIND)
    radius = 16 if box.kind == "leaf" else 8
    parts = [
        f'<g class="{kind}" transform="translate({_at(spot.x, spot.y)})">',
        f"<title>{escape(_plain(chr(10).join(box.tip)))}</title>{behind}",
        f'<rect class="shape" {size} rx="{radius}"/>',
        f'<text class="name" x="12" y="20">{escape(name)}</text>',
        f'<text x="12" y="36">{escape(about)}</text>',
    ]
    if box.kind != "more":
        both = gradients and box.receives
        room = width / 2 - 16 if both else width - 24
        parts.append(_array(box.value, 12, room))
        if both:
            parts.append(_array(box.gradient, width / 2 + 4, room))
    return "".join([*parts, "</g>"])


def _array(value: Any, x: float, room: float) -> str:
    """An array in a box: a number, a small heat map, or dashed where it is unknown."""
    if value is None:
        return f'<rect class="hollow" x="{x:g}" y="46" width="16" height="14" rx="3"/>'
    number = scalar_text(value, int(room / SMALL))
    if number:
        return f'<text class="number" x="{x:g}" y="58">{escape(number)}</text>'
    cells = picture(value, room, 18.0)
    return f'<g transform="translate({x:g} 46)">{cells}</g>'


def _is_folded(box: Box) -> bool:
    return box.kind in ("folded", "more")


def _spot(box: Box) -> Spot:
    name, about = _short(box.name, NAME), _short(box.about, KIND)
    wide = max(_letters(name) * LETTER, _letters(about) * SMALL)
    source = box.kind in ("leaf", "constant", "more")
    return Spot(max(112.0, float(round(wide + 24))), HEIGHT, source=source)


def _letters(text: str) -> int:
    """How many letters wide a text is; Chinese ones count twice."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _short(text: str, most: int) -> str:
    """A text of at most `most` letters; of a path the end is kept."""
    text = _plain(text).replace("\n", " ")
    if len(text) <= most:
        return text
    keep = most - 1
    return "\u2026" + text[-keep:] if "." in text else text[:keep] + "\u2026"


def _plain(text: str) -> str:
    """Text without what XML can't hold: control characters and lone surrogates."""
    return "".join(
        each if each >= " " or each in "\n\t" else "\ufffd"
        for each in text.encode("utf-8", "replace").decode("utf-8")
        if each not in "\ufffe\uffff"
    )


def _at(x: float, y: float) -> str:
    return f"{round(x, 1):g},{round(y, 1):g}"
