"""A layered layout, left to right, of boxes and the edges between them.

The layers are those of longest paths; within a layer, boxes are ordered by the mean of
their neighbours' places, the best of several sweeps; heights are the least squares that
leave no overlap. An edge that passes a layer goes through a bend in it, which takes
room as a box does, so edges do not cross boxes.

Source: Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical
system structures", 1981. (page/layout.js does the same for boxes in boxes.)
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field

GAP = 44.0  # between layers
SPACE = 14.0  # between the boxes of a layer
SWEEPS = 12
FIRM = 50.0  # how much more an op's place counts than a leaf's

Point = tuple[float, float]


@dataclass(eq=False)
class Spot:
    """A box to be placed, or a bend of edges from one box (`bend`).

    x, y: its upper left corner. layer: its number, from the left. left, right: the ends
    of its layer. before, after: its neighbours in the layers beside it.
    """

    width: float
    height: float
    bend: bool = False
    source: bool = False  # it has no inputs of its own: it stands beside its first user
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    left: float = 0.0
    right: float = 0.0
    place: int = 0
    wish: float = 0.0
    before: list[Spot] = field(default_factory=list)
    after: list[Spot] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


@dataclass(eq=False)
class Links:
    """The edges from one box. pieces: straight (level) or curved parts, each from left
    to right; edges share those that they have in common. tips: where edges end."""

    source: int
    pieces: list[tuple[Point, Point]] = field(default_factory=list)
    tips: list[Point] = field(default_factory=list)


def lay_out(
    spots: list[Spot], edges: list[tuple[int, int]]
) -> tuple[float, float, list[Links]]:
    """Place the spots; returns the width and the height of all, and the edges' lines.

    edges: pairs of places in `spots`, each from an earlier to a later one.
    """
    edges = sorted(set(edges))
    _rank(spots, edges)
    layers: list[list[Spot]] = [[] for _ in range(max(s.layer for s in spots) + 1)]
    for spot in spots:
        layers[spot.layer].append(spot)
    chains = _thread(spots, edges, layers)
    _order(layers)
    _place_down(layers)
    width = _place_across(layers)
    height = max(spot.y + spot.height for layer in layers for spot in layer)
    return width, height, _lines(chains)


def _rank(spots: list[Spot], edges: list[tuple[int, int]]) -> None:
    inputs: dict[int, list[int]] = {}
    users: dict[int, list[int]] = {}
    for start, end in edges:
        inputs.setdefault(end, []).append(start)
        users.setdefault(start, []).append(end)
    for i, spot in enumerate(spots):
        spot.layer = max((spots[j].layer + 1 for j in inputs.get(i, ())), default=0)
    for i, spot in enumerate(spots):
        if i not in inputs and i in users:
            spot.layer = min(spots[j].layer for j in users[i]) - 1
    first = min(spot.layer for spot in spots)
    for spot in spots:
        spot.layer -= first


def _thread(
    spots: list[Spot], edges: list[tuple[int, int]], layers: list[list[Spot]]
) -> dict[int, list[list[Spot]]]:
    """For each source, the chain of spots that each of its edges goes along."""
    bends: dict[tuple[int, int], Spot] = {}
    chains: dict[int, list[list[Spot]]] = {}
    for start, end in edges:
        chain = [spots[start]]
        for number in range(spots[start].layer + 1, spots[end].layer):
            bend = bends.get((start, number))
            if bend is None:
                bend = bends[start, number] = Spot(0.0, 2.0, bend=True, layer=number)
                layers[number].append(bend)
                _join(chain[-1], bend)
            chain.append(bend)
        _join(chain[-1], spots[end])
        chains.setdefault(start, []).append([*chain, spots[end]])
    return chains


def _join(one: Spot, two: Spot) -> None:
    one.after.append(two)
    two.before.append(one)


# -- the order within layers -----------------------------------------------------------


def _order(layers: list[list[Spot]]) -> None:
    _number(layers)
    best, least = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        if not least:
            break
        forward = not sweep % 2
        for layer in layers if forward else layers[::-1]:
            for spot in layer:
                near = spot.before if forward else spot.after
                places = [each.place for each in near]
                spot.wish = sum(places) / len(places) if places else spot.place
            layer.sort(key=lambda spot: (spot.wish, spot.place))
            _number([layer])
        crossed = _crossings(layers)
        if crossed < least:
            best, least = [list(layer) for layer in layers], crossed
    layers[:] = best
    _number(layers)


def _number(layers: list[list[Spot]]) -> None:
    for layer in layers:
        for place, spot in enumerate(layer):
            spot.place = place


def _crossings(layers: list[list[Spot]]) -> int:
    count = 0
    for layer in layers:
        seen: list[int] = []
        for spot in layer:
            ends = [each.place for each in spot.after]
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


# -- coordinates -----------------------------------------------------------------------


def _place_down(layers: list[list[Spot]]) -> None:
    for layer in layers:
        y = 0.0
        for spot in layer:
            spot.y = y
            y += spot.height + SPACE
    for sweep in range(SWEEPS):
        forward = not sweep % 2
        for layer in layers if forward else layers[::-1]:
            for spot in layer:
                near = spot.before if forward else spot.after
                near = near or [*spot.before, *spot.after]
                # Leaves move to the ops, so that a chain of ops stays level.
                near = [each for each in near if not each.source] or near
                wishes = [each.middle - spot.height / 2 for each in near]
                spot.wish = sum(wishes) / len(wishes) if wishes else spot.y
            _spread(layer)
    top = min(spot.y for layer in layers for spot in layer)
    for layer in layers:
        for spot in layer:
            spot.y -= top


def _spread(layer: list[Spot]) -> None:
    """The heights nearest to what spots wish for, in order and without overlap, by
    pooling neighbours that would overlap. Leaves give way to ops."""
    blocks: list[tuple[list[tuple[Spot, float]], float, float]] = []
    offset = 0.0
    for spot in layer:
        weight = 1.0 if spot.source else FIRM
        members, total = [(spot, offset)], weight * (spot.wish - offset)
        offset += spot.height + SPACE
        while blocks and blocks[-1][1] / blocks[-1][2] > total / weight:
            earlier, their_total, their_weight = blocks.pop()
            members = [*earlier, *members]
            total, weight = total + their_total, weight + their_weight
        blocks.append((members, total, weight))
    for members, total, weight in blocks:
        for spot, shift in members:
            spot.y = total / weight + shift


def _place_across(layers: list[list[Spot]]) -> float:
    x = 0.0
    for layer in layers:
        width = max(spot.width for spot in layer)
        for spot in layer:
            spot.x = x + (width - spot.width) * (1.0 if spot.source else 0.5)
            spot.left, spot.right = x, x + width
        x += width + GAP
    return x - GAP


def _lines(chains: dict[int, list[list[Spot]]]) -> list[Links]:
    found = []
    for source, several in chains.items():
        links = Links(source)
        pieces: dict[tuple[Point, Point], None] = {}
        for chain in several:
            points = _points(chain)
            pieces.update(dict.fromkeys(zip(points, points[1:])))
            links.tips.append(points[-1])
        links.pieces = list(pieces)
        found.append(links)
    return found


def _points(chain: list[Spot]) -> list[Point]:
    """Where an edge goes: out of its box to the end of the layer, level through each
    layer that it passes, and into the box at its end."""
    first, last = chain[0], chain[-1]
    points = [(first.x + first.width, first.middle)]
    if first.right > points[0][0]:
        points.append((first.right, first.middle))
    for bend in chain[1:-1]:
        points.append((bend.left, bend.middle))
        if bend.right > bend.left:
            points.append((bend.right, bend.middle))
    if last.left < last.x:
        points.append((last.left, last.middle))
    return [*points, (last.x, last.middle)]
