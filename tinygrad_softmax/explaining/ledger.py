"""An explanation as text: the numbered ledger that a terminal shows."""

from __future__ import annotations

from typing import Any

from .explanation import Check, Entry, Explanation, Input, Kept, Message
from .formula_text import as_text, functions_in
from .formulas import TERMS
from .outline import LIMIT, Item, heads, outline
from .words import (
    array_lines,
    counted,
    cut,
    flat,
    number,
    shape_text,
    size_text,
    static_text,
)

INDENT = 13  # where the texts of an entry begin, behind "value" and its like
CODE = 20  # the longest expression that serves as a name


class Ledger:
    """The lines of one explanation, each with a style: "title", "head", "entry", "text"
    or "quiet"."""

    def __init__(self, explanation: Explanation, width: int, limit: int | None) -> None:
        self.explanation, self.width, self.limit = explanation, width, limit
        self.items = outline(explanation, limit)
        self.lines: list[tuple[str, str]] = []
        self.terms: set[str] = set()
        self.noted: set[str] = set()

    def write(self) -> list[tuple[str, str]]:
        self.head()
        self.leaves()
        if self.explanation.ops:
            self.forward()
            self.backward()
        self.gradients()
        self.glossary()
        return self.lines

    # -- pieces ----------------------------------------------------------------------

    def add(self, style: str, text: str = "", depth: int = 0) -> None:
        self.lines.append((style, cut("  " * depth + text, self.width)))

    def field(self, name: str, texts: list[str], depth: int, style="text") -> None:
        """A named line of an entry, with what follows it below."""
        for i, text in enumerate(texts):
            label = f"   {name if not i else ''}"
            if len(label) >= INDENT:
                self.add(style, label, depth)
                label = ""
            self.add(style, f"{label:<{INDENT}}{text}", depth)

    def room(self, depth: int) -> int:
        return max(20, self.width - INDENT - 2 * depth)

    def wrapped(self, text: str, depth: int) -> list[str]:
        """Prose, broken between words."""
        from textwrap import wrap

        return wrap(text, self.room(depth), break_long_words=False) or [""]

    def name(self, number: int) -> str:
        """#4 y_hat; of an entry without a name #3 t.sum(), its code if that is short,
        or its op."""
        entry = self.explanation[number]
        code, own = "", entry.via in ("", entry.op) or entry.via.startswith("__")
        own = own and entry.primitive is not None
        if own and entry.source is not None and not entry.in_backward:
            code = entry.source.text if len(entry.source.text) <= CODE else ""
        return f"#{number} {entry.label or code or entry.op}"

    # -- the head ----------------------------------------------------------------------

    def head(self) -> None:
        explanation = self.explanation
        ops, leaves = len(explanation.ops), len(explanation.leaves)
        what = f"{counted(ops, 'op')}, {counted(leaves, 'leaf')}"
        self.add("title", f"{explanation.title}: {what}")
        if explanation.recorded < ops:
            some = (
                "None" if not explanation.recorded else f"Only {explanation.recorded}"
            )
            text = (
                f"{some} of the ops {'was' if some == 'None' else 'were'} recorded, so "
                "some values and all places in the program are missing. To see them: "
                "run the forward pass inside `with tg.record():`, or call "
                "tg.explain(f, *args)."
            )
            for line in self.prose(text):
                self.add("quiet", line)
        for note in explanation.notes:
            for line in self.prose(note):
                self.add("quiet", line)

    def prose(self, text: str) -> list[str]:
        from textwrap import wrap

        return wrap(text, self.width)

    def leaves(self) -> None:
        leaves = self.explanation.leaves
        if not leaves:
            return
        self.add("text")
        self.add("head", "LEAVES: what gradients are wanted of")
        shown, most = leaves, self.limit
        if most is not None and len(leaves) > most:
            shown = leaves[: max(1, most // 2)]
        widest = max(len(self.name(leaf.number)) for leaf in shown)
        for leaf in shown:
            kind = f"{leaf.dtype} {shape_text(leaf.shape)}"
            self.add("entry", f"{self.name(leaf.number):<{widest}}  {kind}")
            self.field("value", self.value(leaf, 0), 0)
        if len(shown) < len(leaves):
            rest = len(leaves) - len(shown)
            leaf_or_leaves = "leaf" if rest == 1 else "leaves"
            self.add("quiet", f"... and {rest:,} more {leaf_or_leaves}")

    # -- forward -----------------------------------------------------------------------

    def forward(self) -> None:
        self.add("text")
        self.add("head", "FORWARD: the ops, in the order in which they ran")
        before: tuple[Item, ...] = ()
        for item in self.items:
            for head in heads(item, before):
                self.summary_line(head, "")
            before = item.boxes
            if item.kind == "entry":
                self.entry(self.explanation[item.numbers[0]], item.depth)
            else:
                self.summary_line(item, "")

    def entry(self, entry: Entry, depth: int) -> None:
        label = f" -> {entry.label}" if entry.label else ""
        kind = f"{entry.dtype} {shape_text(entry.shape)}"
        self.add("entry", f"#{entry.number} {entry.op}{label}: {kind}", depth)
        if entry.source is not None:
            place = f"  ({entry.source.place})"
            code = cut(entry.source.text, self.room(depth) - len(place))
            self.field("code", [(code + place).lstrip()], depth, "code")
        if entry.in_backward:
            text = "a backward with create_graph=True"
            if entry.made_by is not None:
                text += f", at {self.name(entry.made_by)}"
            self.field("made by", [text], depth)
        self.field("formula", self.formula(entry, depth), depth)
        self.field("value", self.value(entry, depth), depth)
        kept = [self.kept(each) for each in entry.keeps if each.nbytes]
        self.field("keeps", kept, depth)

    def formula(self, entry: Entry, depth: int) -> list[str]:
        formula = as_text(entry.formula.forward) if entry.formula else ""
        self.note_terms(entry.formula.forward if entry.formula else "")
        head = f"out = {formula}" if formula else f"out = {entry.op}(...)"
        inputs = [self.input(each) for each in entry.inputs if self.says(each)]
        statics = entry.statics
        if statics is None:  # what the rules kept tells some of them
            statics = {k.name: k.value for k in entry.keeps if k.kind == "static"}
        for name, value in statics.items():
            if name != "with_grad" and value is not None and value is not False:
                inputs.append(f"{name} = {static_text(value)}")
        whole = f"{head}   with {', '.join(inputs)}" if inputs else head
        if len(whole) <= self.room(depth):
            return [whole]
        lines = self.wrapped(head, depth)
        return lines + self.wrapped(f"with {', '.join(inputs)}", depth)

    def says(self, each: Input) -> bool:
        return each.entry is not None or not (each.known and each.value is None)

    def input(self, each: Input) -> str:
        if each.entry is not None:
            return f"{each.name} = {self.name(each.entry)}"
        return f"{each.name} = {self.constant(each)}"

    def constant(self, each: Input, short: bool = False) -> str:
        if each.known and not getattr(each.value, "shape", None):
            return flat(each.value)
        if short:
            return each.label or each.name
        text = "constant"
        if each.known:
            text += f" {each.value.dtype} {shape_text(tuple(each.value.shape))}"
        return f"{each.label}, a {text}" if each.label else f"a {text}"

    def value(self, entry: Entry, depth: int) -> list[str]:
        if entry.value is None:
            return [cut(entry.value_note, self.room(depth))]
        return array_lines(entry.value, self.room(depth))

    def kept(self, kept: Kept) -> str:
        what = kept.name if kept.kind != "output" else "out"
        if kept.entry is not None and kept.kind == "input":
            what += f" ({self.name(kept.entry)})"
        size = size_text(kept.nbytes)
        until = f", until step {kept.freed_at} of backward" if kept.freed_at else ""
        return f"{what}, {size}{until}"

    def summary_line(self, item: Item, extra: str) -> None:
        """A group or a run of ops that stands for many."""
        numbers, group = item.numbers, item.group
        span = f"#{min(numbers)} to #{max(numbers)}"
        span = f"#{numbers[0]}" if len(numbers) == 1 else span
        ops = counted(len(numbers), "op")
        if item.kind == "turns" and item.repeat is not None:
            turns = len(numbers) // item.repeat.length
            text = f"... {counted(turns, 'more turn')} ({span}, {ops})"
        elif item.kind == "rest" or group is None:
            text = f"... {ops} not shown ({span}); text(limit=None) shows all"
        else:
            path = f"{group.path} " if group.path else ""
            text = f"[{path}{group.title}] {ops}"
            if item.kind == "folded":
                last = self.explanation[numbers[-1]]
                text += f", {span}: {last.dtype} {shape_text(last.shape)}"
        self.add("box", text + extra, item.depth)

    # -- backward ----------------------------------------------------------------------

    def backward(self) -> None:
        self.add("text")
        root = self.name(self.explanation.root)
        seed = cut(flat(self.explanation.seed), 30)
        size = self.explanation[self.explanation.root].size
        seed = seed if size <= 8 else "the gradient given"
        head = f"BACKWARD: the gradient of {root}, beginning with {seed}"
        self.add("head", head)
        before: tuple[Item, ...] = ()
        for item in reversed(self.items):
            for head in heads(item, before):
                self.summary_line(head, "")
            before = item.boxes
            if item.kind == "entry":
                self.step(self.explanation[item.numbers[0]], item.depth)
            else:
                self.summary_line(item, self.steps(item))

    def steps(self, item: Item) -> str:
        """Which steps of backward a line stands for."""
        steps = [self.explanation[number].step for number in item.numbers]
        known = sorted(step for step in steps if step is not None)
        if not known:
            return ""
        several = known[0] != known[-1]
        return f"; steps {known[0]} to {known[-1]}" if several else f"; step {known[0]}"

    def step(self, entry: Entry, depth: int) -> None:
        if entry.step is None:
            return
        name = self.name(entry.number)
        op = "" if name == f"#{entry.number} {entry.op}" else f" ({entry.op})"
        self.add("entry", f"step {entry.step}: {name}{op}", depth)
        self.field("g", self.arrived(entry, depth), depth)
        if entry.check is not None:
            self.field("check", self.check(entry.check, depth, 1), depth)
        if entry.hooks:
            text = f"{counted(entry.hooks, 'hook')} would see it; explain runs none"
            self.field("hooks", [text], depth)
        sent = [m for m in self.messages_of(entry) if m.step == entry.step]
        by_input = {m.position: m for m in sent}
        for each in entry.inputs:
            message = by_input.get(each.position)
            if message is not None:
                self.message(message, depth)
            elif self.says(each) and each.entry is None:
                text = f"not computed: {self.constant(each, short=True)} is a constant"
                self.field(f"to {each.name}", [text], depth)
        note = entry.formula.note if entry.formula else ""
        if note and note not in self.noted:
            self.noted.add(note)
            self.field("note", self.wrapped(note, depth), depth, "quiet")

    def arrived(self, entry: Entry, depth: int) -> list[str]:
        """The gradient that a step begins with. A large one that came in one message
        has just been shown."""
        lines = array_lines(entry.gradient, self.room(depth))
        messages = [self.explanation.message(n) for n in entry.messages]
        if len(messages) == 1 and len(lines) > 1:
            return [f"what step {messages[0].step} sent, {shape_text(entry.shape)}"]
        if len(messages) > 1:
            text = f"  (the sum of {len(messages)} messages)"
            if len(lines[-1]) + len(text) <= self.room(depth):
                lines[-1] += text
        return lines

    def messages_of(self, entry: Entry) -> list[Message]:
        if not hasattr(self, "_sent"):
            self._sent: dict[int, list[Message]] = {}
            for message in self.explanation.messages:
                self._sent.setdefault(message.source, []).append(message)
        return self._sent.get(entry.number, [])

    def message(self, message: Message, depth: int) -> None:
        room = self.room(depth)
        rule = as_text(message.formula)
        self.note_terms(message.formula)
        lines = [f"{self.name(message.target)}" + (f":  {rule}" if rule else "")]
        if len(lines[0]) > room:
            lines = [f"{self.name(message.target)}:"]
            lines += [f"  {line}" for line in self.wrapped(rule, depth + 1)]
        raw = array_lines(message.raw, room - 4)
        equal = message.arrived is message.raw
        lines += [f"  = {raw[0]}", *(f"    {line}" for line in raw[1:])]
        if not equal:
            lines += self.fitted(message, room)
        if message.before is not None:
            lines += self.addition(message, room)
        self.field(f"to {message.input_name}", lines, depth)

    def fitted(self, message: Message, room: int) -> list[str]:
        """How a message was made to fit its input."""
        raw = shape_text(tuple(getattr(message.raw, "shape", ())))
        lines = []
        if message.summed_axes:
            axes = ", ".join(map(str, message.summed_axes))
            axes = f"ax{'i' if len(message.summed_axes) == 1 else 'e'}s {axes}"
            shape = shape_text(tuple(message.arrived.shape))
            name = message.input_name
            name += f", a {shape}," if shape == "scalar" else f" {shape}"
            lines.append(f"  {name} was broadcast to {raw}: sum over {axes}")
        if message.cast_from:
            name = getattr(message.arrived, "dtype", "")
            lines.append(f"  cast from {message.cast_from} to {name}")
        arrived = array_lines(message.arrived, room - 4)
        return [*lines, f"  = {arrived[0]}", *(f"    {each}" for each in arrived[1:])]

    def addition(self, message: Message, room: int) -> list[str]:
        parts = [flat(x) if _small(x) else "" for x in
                 (message.before, message.arrived, message.after)]  # fmt: skip
        text = f"  adds up: {parts[0]} + {parts[1]} = {parts[2]}"
        if all(parts) and len(text) <= room:
            return [text]
        lines = []
        names = ("before", "this", "after")
        for name, value in zip(
            names, (message.before, message.arrived, message.after), strict=True
        ):
            shown = array_lines(value, room - 10)
            lines += [f"  {name:<6}  {shown[0]}"]
            lines += [f"          {each}" for each in shown[1:]]
        return lines

    def check(self, check: Check, depth: int, most: int = 64) -> list[str]:
        """What was measured, in at most so many lines if it agrees, and the verdict."""
        if check.agrees is None:
            return self.wrapped(f"not checked: {check.note}", depth)
        verdict = "agrees, off by" if check.agrees else "DOES NOT AGREE, off by"
        text = f"{verdict} at most {check.worst:.1g}" if check.worst else "agrees"
        text += f" ({check.note})" if check.note else ""
        if check.kind == "direction":
            both = (
                f"{number(check.analytic)} here and {number(check.measured)} measured"
            )
            return self.wrapped(f"along a random direction {both}: {text}", depth)
        shown = array_lines(check.measured, self.room(depth))
        if check.agrees and len(shown) > most:
            return [f"measured, {counted(check.measured.size, 'element')}: {text}"]
        if len(shown[-1]) + len(text) + 2 <= self.room(depth):
            return [*shown[:-1], f"{shown[-1]}  {text}"]
        return [*shown, *self.wrapped(text, depth)]

    # -- the end -----------------------------------------------------------------------

    def gradients(self) -> None:
        leaves = [leaf for leaf in self.explanation.leaves if leaf.fills_grad]
        if not leaves:
            return
        self.add("text")
        root = self.explanation[self.explanation.root].label
        root = root if root.isidentifier() else "its"
        head = f"GRADIENTS: what {root}.backward() would add to .grad"
        self.add("head", head.replace("its.", ""))
        most = self.limit
        shown = leaves
        if most is not None and len(leaves) > most:
            shown = leaves[: max(1, most // 2)]
        for leaf in shown:
            self.add("entry", self.name(leaf.number))
            gradient = [leaf.gradient_note]
            if leaf.gradient is not None:
                gradient = array_lines(leaf.gradient, self.room(0))
            self.field("grad", gradient, 0)
            if leaf.hooks:
                text = f"{counted(leaf.hooks, 'hook')} would see it; explain runs none"
                self.field("hooks", [text], 0)
            if leaf.grad_before is not None:
                before = array_lines(leaf.grad_before, self.room(0) - 22)
                self.field("", [f"to what is there: {before[0]}", *before[1:]], 0)
            if leaf.check is not None:
                self.field("check", self.check(leaf.check, 0), 0)
        if len(shown) < len(leaves):
            self.add("quiet", f"... and {len(leaves) - len(shown):,} more")
        if self.explanation.checked:
            for line in self.prose(f"check: {self.explanation.checked}"):
                self.add("quiet", line)

    def note_terms(self, formula: str) -> None:
        self.terms |= functions_in(formula)

    def glossary(self) -> None:
        known = sorted(self.terms & set(TERMS))
        if known:
            self.add("text")
        for term in known:
            self.add("quiet", f"{term}: {TERMS[term]}")


def _small(value: Any) -> bool:
    return getattr(value, "size", 1) <= 16


def ledger_text(
    explanation: Explanation, width: int | None = None, limit: int | None = LIMIT
) -> str:
    """The ledger as text. width: in characters, 60 or more; None is the terminal's, at
    most 120."""
    if width is None:
        from shutil import get_terminal_size

        width = min(120, get_terminal_size((80, 24)).columns)
    lines = Ledger(explanation, max(60, width), limit).write()
    return "\n".join(text.rstrip() for _, text in lines)


_STYLES = {"title": "bold", "head": "bold cyan", "entry": "bold", "quiet": "dim"}
_STYLES |= {"code": "green", "box": "magenta"}


def rich_lines(explanation: Explanation, width: int) -> Any:
    """The lines for rich, which is there when this is asked for."""
    from rich.text import Text

    for style, text in Ledger(explanation, max(60, width), LIMIT).write():
        yield Text(text.rstrip(), _STYLES.get(style, ""), no_wrap=True)
