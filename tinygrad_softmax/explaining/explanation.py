"""The data model: what an explanation holds.

An `Explanation` is made by collecting.py (the forward pass) and tracing.py (the
backward pass). It is data alone: ledger.py prints it, notebook.py makes HTML of it, and
`Explanation.to_json` (jsonable.py) makes plain dicts and lists. Arrays stay arrays of
their backend until somebody renders them.

Whatever was not computed is None, and the field beside it (`value_note`,
`gradient_note`) says why; it is never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .formula_text import Formula
from .sources import Source
from .words import counted


@dataclass(eq=False)
class Input:
    """One input of an op.

    name: the op's parameter, such as "a". position: which input it is.
    entry: the number of the entry it comes from; None for a constant, which has no
        place in the graph.
    value: the raw array, number or None that went in, where it is known.
    known: whether `value` is (None is a value: an absent bias).
    label: what the user's expression calls it, such as "x" or "self.weight"; or "".

    >>> w = tg.tensor([2.0], requires_grad=True)
    >>> a, b = tg.explain(lambda w: (w * 3.0).sum(), w).entries[1].inputs
    >>> a.name, a.entry, a.label, b.entry, b.value
    ('a', 1, 'w', None, 3.0)
    """

    name: str
    position: int
    entry: int | None
    value: Any = None
    known: bool = False
    label: str = ""

    @property
    def shape(self) -> tuple[int, ...] | None:
        return getattr(self.value, "shape", () if self.known else None)


@dataclass(eq=False)
class Kept:
    """A value that a node keeps for its gradient rules.

    name: what the rules call it: an input, "out", `<input>_shape`, a static parameter
        or a residual. kind: "input", "output", "residual", "shape" or "static".
    rules: the inputs whose rules need it.
    nbytes: of an array; 0 for shapes and statics, which keep no array.
    entry: the number of the entry whose value this array is; None for a residual or a
        constant.
    freed_at: the step of backward after which no node keeps this array any more.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> (kept,) = tg.explain(lambda w: tg.exp(w).sum(), w).entries[1].keeps
    >>> kept.name, kept.kind, kept.nbytes, kept.freed_at
    ('out', 'output', 8, 2)
    """

    name: str
    kind: str
    value: Any
    rules: tuple[str, ...]
    nbytes: int = 0
    entry: int | None = None
    freed_at: int | None = None


@dataclass(eq=False)
class Message:
    """What a gradient rule sent to one input of its node: an edge, walked backward.

    number: 1, 2, ... in the order of arrival. step: the backward step it belongs to.
    source, target: entry numbers; the gradient goes from `source` (the node whose rule
        ran) to `target` (the node of its input).
    input_name, position: which input of `source` that is.
    rule: the rule's name, "multiply.vjp('a')". formula: its formula, as an expression.
    raw: what the rule returned. arrived: the same fitted to the input: summed over
        `summed_axes` of `raw` where the forward broadcast, and cast where dtypes
        differ (`cast_from` is then the raw dtype's name).
    before: the sum of the messages that had come to `target`; None for the first one.
    after: the sum with this one; of the first, `arrived` itself.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> message = tg.explain(lambda w: (w * w).sum(), w).messages[-1]
    >>> message.source, message.target, message.formula
    (2, 1, 'g * a')
    >>> print(message.before, message.arrived, message.after)
    [2. 3.] [2. 3.] [4. 6.]
    """

    number: int
    step: int
    source: int
    target: int
    input_name: str
    position: int
    rule: str
    formula: str
    raw: Any
    arrived: Any
    summed_axes: tuple[int, ...] = ()
    cast_from: str | None = None
    before: Any = None
    after: Any = None


@dataclass(eq=False)
class Check:
    """A gradient beside central finite differences (checking.py).

    kind: "elements" (`measured` has the gradient's shape), "direction" (`measured` and
        `analytic` are the slope along one direction of random signs), or "none".
    doubt: how far the differences themselves may be off. worst: the largest distance.
    agrees: whether that is within the tolerance; None where nothing was measured, for
        the reason in `note`.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> check = tg.explain(lambda w: (w * w).sum(), w, check=True).entries[0].check
    >>> check.kind, check.measured.round(6).tolist(), check.agrees
    ('elements', [4.0, 6.0], True)
    """

    kind: str
    measured: Any = None
    analytic: Any = None
    doubt: float | None = None
    worst: float | None = None
    agrees: bool | None = None
    note: str = ""


@dataclass(eq=False)
class Entry:
    """One node of the graph: a leaf, or an op that was applied.

    number: 1, 2, ... in order of creation, so an op's inputs come before it.
    kind: "leaf" or "op". op: the op's name; "leaf" for a leaf.
    label: what a reader would call it: a parameter's path ("layers.0.weight"), the
        variable it was assigned to ("y_hat"), the argument's name, or "".
    shape, dtype (a name such as "float32"), device ("" where nothing tells).
    value: the raw array; None where `value_note` says why it is not known.
    inputs: in the op's order. users: numbers of the entries it goes into.
    source: where in the user's program; None if it was not recorded.
    via: the library's function called there, where that is not the op itself.
    group: the index in `Explanation.groups` of the innermost group it is in, or None.
    in_backward: whether a backward with create_graph=True made this node (for higher
        orders). made_by: the number of the entry whose gradient rule did, if here.
    formula: of the op and of its rules. statics: the op's static parameters, if known.
    keeps: what it keeps for backward.
    step: the backward step in which its rules run; None for a leaf.
    messages: numbers of the messages that came to it, in order of arrival.
    gradient: d root / d value, the sum of them; None where `gradient_note` says why.
    fills_grad: whether backward puts the gradient into a tensor's `.grad`. grad_before:
        what is in that `.grad` now, to which backward would add.
    hooks: how many hooks would see the gradient (`explain` runs none).
    check: with check=True.
    primitive, node: the op itself and the engine's node, for code that goes on from
        here.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> entry = tg.explain(lambda w: tg.exp(w).sum(), w).entries[1]
    >>> entry.number, entry.op, entry.source.text, entry.formula.rules
    (2, 'exp', 'tg.exp(w)', {'x': 'g * out'})
    """

    number: int
    kind: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    label: str = ""
    device: str = ""
    value: Any = None
    value_note: str = ""
    inputs: list[Input] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    source: Source | None = None
    via: str = ""
    group: int | None = None
    in_backward: bool = False
    made_by: int | None = None
    formula: Formula | None = None
    statics: dict[str, Any] | None = None
    keeps: list[Kept] = field(default_factory=list)
    step: int | None = None
    messages: list[int] = field(default_factory=list)
    gradient: Any = None
    gradient_note: str = ""
    fills_grad: bool = False
    grad_before: Any = None
    hooks: int = 0
    check: Check | None = None
    primitive: Any = None
    node: Any = None

    @property
    def size(self) -> int:
        """How many elements."""
        total = 1
        for n in self.shape:
            total *= n
        return total


@dataclass(eq=False)
class Group:
    """Entries that belong together, to be shown as one box.

    kind: "module" (a module's call) or "call" (a function of the library that is made
        of several ops).
    title: "Linear", "layer_norm". path: a module's, "layers.0"; "" for the outermost.
    index: its place in `Explanation.groups`. parent: that of the group around it.
    members: the numbers of all entries in it and in the groups inside it.

    >>> model = tg.nn.Sequential(tg.nn.Linear(2, 1), tg.nn.Tanh())
    >>> groups = tg.explain(lambda x: model(x).sum(), tg.ones((1, 2))).groups
    >>> [(group.title, group.path, group.parent, group.members) for group in groups]
    [('Sequential', '', None, [3, 4]), ('Linear', '0', 0, [3]), ('Tanh', '1', 0, [4])]
    """

    index: int
    kind: str
    title: str
    path: str = ""
    parent: int | None = None
    members: list[int] = field(default_factory=list)
    source: Source | None = None


@dataclass(eq=False)
class Repeat:
    """A run of entries that says the same thing several times: the turns of a loop.

    first, last: entry numbers. length: entries in one turn. count: how many turns.

    >>> def loop(h):
    ...     for _ in range(4):
    ...         h = tg.tanh(h) * 0.5
    ...     return h
    >>> tg.explain(loop, tg.tensor(1.0, requires_grad=True)).repeats
    [Repeat(first=2, last=9, length=2, count=4)]
    """

    first: int
    last: int
    length: int
    count: int


@dataclass(eq=False)
class Explanation:
    """A graph, its forward pass and its backward pass, as data.

    title: what was explained. root: the number of the entry that gradients are of; the
        last one. seed: the gradient given to it (1 for a scalar).
    entries: in order of creation; `explanation[n]` is the one numbered n.
    messages: in order of arrival; `explanation.message(n)` is the one numbered n.
    order: the entry number at each backward step: step 1 is `order[0]`.
    groups, repeats: see `Group` and `Repeat`.
    recorded: how many of the op entries were made under `tg.record()`.
    checked: how finite differences were made, with check=True. notes: what else there
        is to know.
    parent: of an unfolding, (the explanation, the entry number) that it unfolds.
    outside: of an unfolding, for its leaves' numbers those of the entries they are.

    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> explanation = tg.explain(lambda w: (w * w).sum(), w)
    >>> [entry.op for entry in explanation.entries], explanation.order
    (['leaf', 'multiply', 'sum'], [3, 2])
    >>> print(explanation[2].value, explanation.named("w").gradient)
    [4. 9.] [4. 6.]
    """

    title: str
    root: int
    seed: Any
    entries: list[Entry]
    messages: list[Message] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    recorded: int = 0
    checked: str = ""
    notes: list[str] = field(default_factory=list)
    parent: tuple[Explanation, int] | None = None
    outside: dict[int, int] = field(default_factory=dict)

    def __getitem__(self, number: int) -> Entry:
        """The entry of that number, 1 to len(entries)."""
        if not 1 <= number <= len(self.entries):
            raise IndexError(
                f"entry {number} was asked for; the entries are numbered 1 to "
                f"{len(self.entries)}"
            )
        return self.entries[number - 1]

    def message(self, number: int) -> Message:
        """The message of that number, 1 to len(messages)."""
        return self.messages[number - 1]

    def named(self, label: str) -> Entry:
        """The last entry with that label, such as "y_hat" or "layers.0.weight"."""
        for entry in reversed(self.entries):
            if entry.label == label:
                return entry
        known = sorted({entry.label for entry in self.entries if entry.label})
        there = f"there are {', '.join(known)}" if known else "none has a name"
        raise KeyError(f"no entry is called {label!r}; {there}")

    def unfold(self, number: int) -> Explanation:
        """The steps that a fused op is made of, as an explanation of its own: of the
        softmax cross-entropy exp, sum, divide, log and the product with the target. It
        is computed in float64 from the recorded values.

        number: of the entry. Raises ValueError for an op that is not fused, or was not
        recorded.

        >>> z = tg.tensor([[5.0, 2.0, -1.0, 3.0]], requires_grad=True)
        >>> explanation = tg.explain(tg.softmax_cross_entropy, z, tg.tensor([1]))
        >>> [entry.op for entry in explanation.unfold(2).ops]
        ['exp', 'sum', 'divide', 'log', 'multiply', 'sum', 'negative', 'sum']
        """
        from .unfolding import unfold

        return unfold(self, number)

    def unfoldable(self) -> list[int]:
        """The numbers of the entries that `unfold` takes."""
        from .unfolding import can_unfold

        return [entry.number for entry in self.ops if can_unfold(entry)]

    def text(self, width: int | None = None, limit: int | None = 40) -> str:
        """The ledger as text.

        width: in characters, at least 60; None is the terminal's, at most 120.
        limit: about how many ops are shown in full: of larger graphs, modules are
            folded and loops show their first and last turn. None shows everything.

        Raises ValueError for a limit that is no whole number from 1 on.
        """
        from .ledger import ledger_text

        if limit is not None and (limit < 1 or limit != int(limit)):
            raise ValueError(
                f"text: the limit is {limit}; expected a whole number from 1 on, or "
                "None for all ops"
            )

        return ledger_text(self, width, limit)

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        """What a notebook shows: the same, with formulas as MathML."""
        from .notebook import notebook_html

        return notebook_html(self)

    def __rich_console__(self, console: Any, options: Any) -> Any:
        """What `rich.print` shows: the ledger, in colour."""
        from .ledger import rich_lines

        return rich_lines(self, options.max_width)

    def __repr__(self) -> str:
        what = f"{counted(len(self.ops), 'op')}, {counted(len(self.leaves), 'leaf')}"
        return f"<Explanation of {self.title}: {what}>"

    def to_json(self) -> dict[str, Any]:
        """All of it as plain dicts and lists, large arrays as summaries: what
        `json.dumps` takes. The keys are the names of the fields."""
        from .jsonable import jsonable

        return jsonable(self)

    @property
    def ops(self) -> list[Entry]:
        """The entries that are no leaves."""
        return [entry for entry in self.entries if entry.kind == "op"]

    @property
    def leaves(self) -> list[Entry]:
        """The entries whose `.grad` backward would fill."""
        return [entry for entry in self.entries if entry.kind == "leaf"]
