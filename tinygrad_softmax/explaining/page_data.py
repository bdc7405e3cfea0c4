"""What a page is made of: an Explanation as the data that page/*.js draws.

It is `Explanation.to_json` with four differences, each for the page's sake: every array
is written once, and referred to by its place in `arrays`; the constants that ops were
given are nodes too; a fused op brings the steps it is made of, as nodes of a box that
may be unfolded; and formulas are MathML, in the names of the user's program.

Ids are text: "3" is entry 3, "c1" a constant, "3.2" and "3.c1" entry 2 and a constant
of what entry 3 unfolds to.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from .explanation import Entry, Explanation, Group, Message
from .formulas import TERMS
from .nudging import nudges_of
from .page_arrays import ArrayPool
from .page_formulas import formula_words, rule_words
from .page_turns import turn_boxes
from .summaries import host, plain
from .words import static_text

MOST = 5000  # entries; more would make a page that no browser likes
Data = dict[str, Any]


def page_data(explanation: Explanation) -> Data:
    """All that the page shows, as plain dicts and lists.

    Raises ValueError if the graph has more than `MOST` entries.
    """
    if len(explanation.entries) > MOST:
        raise ValueError(
            f"explore: the graph has {len(explanation.entries):,} nodes, and a page "
            f"shows up to {MOST:,}; mend: explain a smaller part of it, such as one "
            "step, or print(tg.explain(loss)), which summarises"
        )
    page = _Page(explanation)
    page.add(explanation)
    for number in explanation.unfoldable():
        page.unfold(number)
    place_leaves(page.nodes, page.boxes)
    return {
        "title": explanation.title,
        "root": str(explanation.root),
        "seed": page.pool.add(explanation.seed),
        "recorded": explanation.recorded,
        "notes": [*explanation.notes, *page.notes],
        "nodes": page.nodes,
        "messages": page.messages,
        "boxes": page.boxes,
        "terms": {name: TERMS[name] for name in sorted(page.terms)},
        "nudges": nudges_of(explanation, page.unfoldings),
        "arrays": page.pool.arrays,
    }


class _Page:
    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.pool = ArrayPool()
        self.nodes: list[Data] = []
        self.messages: list[Data] = []
        self.boxes: list[Data] = []
        self.terms: set[str] = set()
        self.notes: list[str] = []
        self.unfoldings: dict[int, Explanation] = {}
        self.constants: dict[tuple[str, int], Data] = {}

    def add(self, explanation: Explanation) -> None:
        for group in explanation.groups:
            self.boxes.append(box_of(group))
        turns, self.homes = turn_boxes(explanation, self.boxes)
        self.boxes += turns
        for entry in explanation.entries:
            box = self.home(entry)
            self.nodes.append(self.node(entry, "", box, explanation))
        for message in explanation.messages:
            self.messages.append(self.message(message, explanation, ""))

    def home(self, entry: Entry) -> str | None:
        """The innermost box that an entry is in."""
        return self.homes.get(entry.number, _group_id(entry.group))

    # -- a fused op --------------------------------------------------------------------

    def unfold(self, number: int) -> None:
        """Add the steps that a fused op is made of, as a box."""
        found = self.explanation.unfold(number)
        self.unfoldings[number] = found
        fused = self.explanation[number]
        box, prefix = f"u{number}", f"{number}."
        self.boxes.append(
            {
                "id": box,
                "kind": "fused",
                "title": fused.label or fused.op,
                "path": "",
                "parent": self.home(fused),
                "source": _source(fused),
                "node": str(number),
                "root": f"{prefix}{found.root}",
                "differs": self.difference(number, found),
                "notes": list(found.notes),
            }
        )
        self.notes += found.notes
        for entry in found.entries:
            if entry.number in found.outside:
                continue
            node = self.node(entry, prefix, box, found)
            self.nodes.append(node)
            if entry.kind == "leaf":
                continue
            if fused.primitive is not None:
                node["source"] = None  # it stands in this library
            for each, data in zip(entry.inputs, node["inputs"], strict=True):
                if each.entry in found.outside:
                    data["node"] = str(found.outside[each.entry])
        for message in found.messages:
            data = self.message(message, found, prefix)
            outside = found.outside.get(message.target)
            if outside is not None:
                data["to"] = str(outside)
                self.join(data, message, number, outside)
            self.messages.append(data)

    def join(self, data: Data, message: Message, number: int, outside: int) -> None:
        """A message that leaves an unfolding is added to what came to the entry outside
        before the fused op's own message did."""
        for sent in self.explanation.messages:
            if (sent.source, sent.target) == (number, outside):
                if sent.before is not None:
                    earlier = _float64(sent.before)
                    mine = 0.0 if message.before is None else _float64(message.before)
                    data["before"] = self.pool.add(earlier + mine)
                    data["after"] = self.pool.add(earlier + _float64(message.after))
                return

    def difference(self, number: int, found: Explanation) -> float | None:
        """The largest difference between what the fused op and its steps compute: the
        value, and the gradients that leave."""
        pairs = [(self.explanation[number].value, found[found.root].value)]
        for leaf in found.leaves:
            outside = found.outside.get(leaf.number)
            sent = [
                each.raw
                for each in self.explanation.messages
                if (each.source, each.target) == (number, outside)
            ]
            if leaf.gradient is not None and len(sent) == 1:
                pairs.append((sent[0], leaf.gradient))
        worst = 0.0
        with np.errstate(all="ignore"):
            for fused, steps in pairs:
                if fused is not None and steps is not None:
                    apart = np.abs(
                        _float64(fused) - _float64(steps).reshape(fused.shape)
                    )
                    worst = max(worst, float(np.max(apart, initial=0.0)))
        return worst if isfinite(worst) else None

    # -- nodes -------------------------------------------------------------------------

    def node(
        self, entry: Entry, prefix: str, box: str | None, explanation: Explanation
    ) -> Data:
        data: Data = {
            "id": f"{prefix}{entry.number}",
            "kind": entry.kind,
            "op": entry.op,
            "label": entry.label,
            "shape": list(entry.shape),
            "dtype": entry.dtype,
            "value": self.pool.add(entry.value),
            "gradient": self.pool.add(entry.gradient),
            "box": box,
        }
        if entry.check is not None and entry.check.agrees is not None:
            data["check"] = [entry.check.agrees, plain(entry.check.worst)]
        if entry.kind == "leaf":
            if entry.fills_grad:
                data["fills"] = True
            if entry.grad_before is not None:
                data["held"] = self.pool.add(entry.grad_before)
            return data
        data["source"] = _source(entry)
        data["inputs"] = [
            {"name": each.name, "node": self.input_id(entry, each, prefix, box)}
            for each in entry.inputs
        ]
        words, terms = formula_words(entry, explanation.__getitem__)
        data |= words
        self.terms |= terms
        statics = entry.statics
        if statics is None:  # what the rules kept tells some of them
            statics = {k.name: k.value for k in entry.keeps if k.kind == "static"}
        data["statics"] = [
            [name, static_text(value)]
            for name, value in statics.items()
            if name not in ("with_grad", "needs")
            if value is not None and value is not False
        ]
        data["keeps"] = [
            # (the last array of a kind is freed when backward has passed this node)
            [
                kept.name,
                kept.nbytes,
                kept.freed_at and f"{prefix}{explanation.order[kept.freed_at - 1]}",
            ]
            for kept in entry.keeps
            if kept.nbytes
        ]
        if entry.made_by is not None:
            data["by"] = f"{prefix}{entry.made_by}"
        if entry.hooks:
            data["hooks"] = entry.hooks
        return data

    def input_id(self, entry: Entry, each: Any, prefix: str, box: str | None) -> Any:
        """The id of the node that an input comes from; None of a number."""
        if each.entry is not None:
            return f"{prefix}{each.entry}"
        shape = getattr(each.value, "shape", ())
        if not each.known or not shape or not hasattr(each.value, "dtype"):
            return None
        found = self.same_outside(each.value) if prefix else None
        key = (prefix, id(each.value))
        if found is None:
            found = self.constants.get(key)
        if found is None:
            count = sum(1 for start, _ in self.constants if start == prefix) + 1
            found = self.constants[key] = {
                "id": f"{prefix}c{count}",
                "kind": "constant",
                "op": "constant",
                "label": each.label or each.name,
                "shape": list(shape),
                "dtype": each.value.dtype.name,
                "value": self.pool.add(each.value),
                "gradient": None,
                "box": box if prefix else None,
            }
            self.nodes.append(found)
        return found["id"]

    def same_outside(self, value: Any) -> Data | None:
        """The constant outside an unfolding that a value inside is a copy of."""
        place = self.pool.add(value) or 0  # (it is some)
        for (prefix, _), node in self.constants.items():
            if not prefix and self.pool.equal(node["value"], place):
                return node
        return None

    # -- messages ----------------------------------------------------------------------

    def message(self, message: Message, explanation: Explanation, prefix: str) -> Data:
        source = explanation[message.source]
        words, terms = rule_words(message, source, explanation.__getitem__)
        self.terms |= terms
        data: Data = {
            "from": f"{prefix}{message.source}",
            "to": f"{prefix}{message.target}",
            "input": message.input_name,
            "raw": self.pool.add(message.raw),
            "arrived": self.pool.add(message.arrived),
            "before": self.pool.add(message.before),
            "after": self.pool.add(message.after),
            **words,
        }
        if message.summed_axes:
            data["summed"] = list(message.summed_axes)
        if message.cast_from:
            data["cast"] = message.cast_from
        return data


def place_leaves(nodes: list[Data], boxes: list[Data]) -> None:
    """A leaf or a constant is in the innermost box that has all that use it."""
    parents = {box["id"]: box["parent"] for box in boxes}
    by_id = {node["id"]: node for node in nodes}

    def chain(box: str | None) -> list[str]:
        found: list[str] = []
        while box is not None:
            found.insert(0, box)
            box = parents[box]
        return found

    around: dict[str, list[str]] = {}
    for node in nodes:
        inside = chain(node["box"])
        if inside and inside[-1].startswith("u"):
            inside = inside[:-1]  # (what an op is given stays outside when it unfolds)
        for each in node.get("inputs", ()):
            source = each["node"]
            if source is None or by_id[source]["kind"] == "op":
                continue
            if by_id[source]["id"].rpartition(".")[0]:
                continue  # (a constant of an unfolding has its place)
            known = around.get(source)
            if known is None:
                around[source] = inside
            else:
                same = [a for a, b in zip(known, inside) if a == b]
                around[source] = same
    for number, inside in around.items():
        by_id[number]["box"] = inside[-1] if inside else None


def box_of(group: Group) -> Data:
    return {
        "id": f"g{group.index}",
        "kind": group.kind,
        "title": group.title,
        "path": group.path,
        "parent": _group_id(group.parent),
        "source": _place(group.source),
    }


def _group_id(index: int | None) -> str | None:
    return None if index is None else f"g{index}"


def _source(entry: Entry) -> list[str] | None:
    return None if entry.in_backward else _place(entry.source)


def _place(source: Any) -> list[str] | None:
    """A place in the program: the file's name and line, and the expression."""
    return None if source is None else [source.place, source.text]


def _float64(value: Any) -> Any:
    return host(value).astype(np.float64)
