"""An explanation as HTML, for a notebook: a drawing of the graph (drawing.py), and the
ledger with formulas as MathML.

It is plain HTML with its own few rules of style, no script, and its size is bounded:
what the ledger folds is folded here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from .drawing import drawing_svg
from .explanation import Entry, Explanation, Message
from .formula_text import as_mathml
from .ledger import Ledger
from .outline import Item, heads
from .words import array_lines, counted, shape_text

LIMIT = 25  # ops that are shown in full
WIDTH = 76  # characters of an array's line

_STYLE = """
.tg-explain { font: 13px/1.5 system-ui, sans-serif; }
.tg-explain > :not(.tg-wide) { max-width: 60em; }
.tg-explain summary { cursor: pointer; }
.tg-explain h4 { margin: 0.9em 0 0.2em; }
.tg-explain table { border-collapse: collapse; margin: 0.2em 0 0.6em 1.2em; }
.tg-explain th, .tg-explain td { text-align: left; vertical-align: top;
  padding: 0.1em 0.8em 0.1em 0; font-weight: normal; background: none; border: 0; }
.tg-explain th { opacity: 0.7; white-space: nowrap; }
.tg-explain pre, .tg-explain code { font-size: 12px; margin: 0; background: none; }
.tg-explain .tg-box { border-left: 2px solid currentColor; padding-left: 0.8em;
  margin: 0.3em 0 0.3em 0.2em; }
.tg-explain .tg-quiet { opacity: 0.7; }
.tg-explain .tg-wide { overflow-x: auto; max-width: 100%; margin: 0.4em 0; }
.tg-explain svg { max-width: none; }
.tg-explain .tg-wrong { color: #c22; font-weight: bold; }
"""


def notebook_html(explanation: Explanation, limit: int = LIMIT) -> str:
    """The ledger as an HTML element."""
    ledger = Ledger(explanation, WIDTH + 13, limit)
    page = _Page(explanation, ledger)
    page.head()
    page.drawing()
    page.leaves()
    page.forward()
    page.backward()
    body = "".join(page.parts)
    return f'<div class="tg-explain"><style>{_STYLE}</style>{body}</div>'


class _Page:
    def __init__(self, explanation: Explanation, ledger: Ledger) -> None:
        self.explanation, self.ledger = explanation, ledger
        self.parts: list[str] = []

    def add(self, html: str) -> None:
        self.parts.append(html)

    def head(self) -> None:
        ops = counted(len(self.explanation.ops), "op")
        leaves = counted(len(self.explanation.leaves), "leaf")
        title = escape(self.explanation.title)
        self.add(f"<div><b>{title}</b>: {ops}, {leaves}</div>")
        ledger = Ledger(self.explanation, 200, 1)
        ledger.head()
        for style, text in ledger.lines:
            if style == "quiet":
                self.add(f'<div class="tg-quiet">{escape(text)}</div>')

    def drawing(self) -> None:
        self.add(f'<div class="tg-wide">{drawing_svg(self.explanation)}</div>')
        legend = (
            "In a box: left the value, right the gradient (negative brown, positive "
        )
        legend += (
            "blue, each to its own largest); dashed: not computed, or not recorded"
        )
        self.add(f'<div class="tg-quiet">{legend}</div>')

    def leaves(self) -> None:
        leaves = self.explanation.leaves
        shown = leaves[: self.ledger.limit]
        self.add(
            '<details open="open"><summary><b>Leaves and their gradients</b></summary>'
        )
        self.add("<table>")
        for leaf in shown:
            kind = f"{leaf.dtype} {shape_text(leaf.shape)}"
            name = escape(self.ledger.name(leaf.number))
            self.add(f"<tr><th>{name}</th><td>{kind}</td></tr>")
            self.row("value", _pre(self.ledger.value(leaf, 0)))
            gradient = [leaf.gradient_note]
            if leaf.gradient is not None:
                gradient = array_lines(leaf.gradient, WIDTH)
            self.row("gradient", _pre(gradient))
            self.check(leaf)
        self.add("</table>")
        if len(shown) < len(leaves):
            rest = f"{len(leaves) - len(shown):,} more leaves"
            self.add(f'<div class="tg-quiet">... and {rest}</div>')
        self.add("</details>")

    def row(self, name: str, html: str) -> None:
        self.add(f"<tr><th>{escape(name)}</th><td>{html}</td></tr>")

    def check(self, entry: Entry) -> None:
        if entry.check is not None:
            lines = self.ledger.check(entry.check, 0, 1)
            wrong = entry.check.agrees is False
            text = _pre(lines)
            self.row("check", f'<div class="tg-wrong">{text}</div>' if wrong else text)

    def forward(self) -> None:
        self.add('<details open="open"><summary><b>Forward</b></summary>')
        self.boxed(self.ledger.items, self.entry, False)
        self.add("</details>")

    def boxed(
        self, items: Sequence[Item], show: Callable[[Entry], None], steps: bool
    ) -> None:
        """Items, each in the boxes of its modules."""
        before: tuple[Item, ...] = ()
        for item in items:
            new = heads(item, before)
            self.add("</div>" * (len(before) - item.depth + len(new)))
            for head in new:
                self.line(head, "")
                self.add('<div class="tg-box">')
            before = item.boxes
            if item.kind == "entry":
                show(self.explanation[item.numbers[0]])
            else:
                self.line(item, self.ledger.steps(item) if steps else "")
        self.add("</div>" * len(before))

    def line(self, item: Item, extra: str) -> None:
        quiet = Ledger(self.explanation, 200, 1)
        quiet.summary_line(item, extra)
        text = quiet.lines[-1][1].strip()
        self.add(f'<div class="tg-quiet">{escape(text)}</div>')

    def entry(self, entry: Entry) -> None:
        kind = f"{entry.dtype} {shape_text(entry.shape)}"
        label = f" -&gt; <b>{escape(entry.label)}</b>" if entry.label else ""
        head = f"#{entry.number} {escape(entry.op)}{label}"
        self.add(f"<div>{head} <span class='tg-quiet'>{kind}</span></div><table>")
        if entry.source is not None:
            place = f"<span class='tg-quiet'>{escape(entry.source.place)}</span>"
            self.row("code", f"<code>{escape(entry.source.text[:200])}</code> {place}")
        math = as_mathml(entry.formula.forward) if entry.formula else ""
        if math:
            self.row("formula", math)
        inputs = [
            self.ledger.input(each) for each in entry.inputs if self.ledger.says(each)
        ]
        self.row("inputs", escape(", ".join(inputs)))
        self.row("value", _pre(self.ledger.value(entry, 0)))
        kept = [self.ledger.kept(each) for each in entry.keeps if each.nbytes]
        if kept:
            self.row("keeps", _pre(kept))
        self.add("</table>")

    def backward(self) -> None:
        self.add('<details open="open"><summary><b>Backward</b></summary>')
        self.boxed(self.ledger.items[::-1], self.step, True)
        self.add("</details>")

    def step(self, entry: Entry) -> None:
        if entry.step is None:
            return
        name = escape(self.ledger.name(entry.number))
        self.add(f"<div>step {entry.step}: <b>{name}</b></div><table>")
        self.row("g", _pre(array_lines(entry.gradient, WIDTH)))
        self.check(entry)
        sent = {
            m.position: m
            for m in self.ledger.messages_of(entry)
            if m.step == entry.step
        }
        for each in entry.inputs:
            message = sent.get(each.position)
            if message is not None:
                self.message(message)
            elif self.ledger.says(each) and each.entry is None:
                what = self.ledger.constant(each, short=True)
                self.row(
                    f"to {each.name}", f"not computed: {escape(what)} is a constant"
                )
        self.add("</table>")

    def message(self, message: Message) -> None:
        target = escape(self.ledger.name(message.target))
        lines = array_lines(message.raw, WIDTH)
        if message.arrived is not message.raw:
            lines += [line.strip() for line in self.ledger.fitted(message, WIDTH)]
        if message.before is not None:
            lines += [line[2:] for line in self.ledger.addition(message, WIDTH)]
        math = as_mathml(message.formula)
        self.row(f"to {message.input_name}", f"{target} {math}{_pre(lines)}")


def _pre(lines: list[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
