"""Gradient rules: what they may name, what is saved for them, and how they are run.

A rule is a function whose parameter names say what it needs. When an op is first used
with some choice of inputs that require a gradient, a `Plan` is made for that choice:
the rules that will run, and a function that picks just the values they name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..signatures import parameters_of
from .graph import Node, Variable

RESERVED = ("g", "out", "needs", "position")
_CONSTANT, _OUT, _ALL = -1, -2, -3  # sources of a rule's argument; else its position


class Rule:
    """A gradient rule of one op for some of its inputs, ready to run.

    positions: the inputs it serves.
    formula, fused: what to call with g and its saved values; `fused` may be None.
    split: how many saved values the formula has; those of `fused` come after them.
    sources: where each value of the formula came from, to find its node again.
    residual: whether each saved value is a residual.
    """

    __slots__ = (
        "formula",
        "fused",
        "names",
        "op",
        "positions",
        "residual",
        "several",
        "sources",
        "split",
    )

    def __init__(self, op, formula, fused, names, fused_names, positions, several):
        self.op, self.formula, self.fused = op, formula, fused
        self.names, self.split = names, len(names)
        self.positions, self.several = positions, several
        self.sources = tuple(self._source(name) for name in names)
        self.residual = tuple(name in op.residuals for name in names + fused_names)

    def _source(self, name: str) -> int:
        if name == "out":
            return _OUT
        if name not in self.op.inputs:
            return _CONSTANT
        return _ALL if self.op.variadic else self.op.inputs.index(name)

    def variables(self, args: tuple, node: Node, wrap: type[Variable]) -> list:
        """The formula's saved arrays as Variables, each at its place in the graph."""

        def at(value, parent):
            return wrap(value, parent) if hasattr(value, "__setitem__") else value

        parents, values = node.parents or (), []
        for value, source in zip(args, self.sources, strict=False):
            if source == _CONSTANT:
                values.append(value)
            elif source == _OUT:
                values.append(at(value, node))
            elif source == _ALL:
                values.append(tuple(map(at, value, parents)))
            else:
                values.append(at(value, parents[source]))
        return values

    def __str__(self) -> str:
        inputs = self.op.inputs
        if self.op.variadic:
            return (
                f"{self.op.__name__}.vjp({inputs[0]!r}) at position {self.positions[0]}"
            )
        named = ", ".join(repr(inputs[position]) for position in self.positions)
        return f"{self.op.__name__}.vjp({named})"


class Plan:
    """What one op records for one choice of inputs that need a gradient."""

    __slots__ = ("name", "op", "rules", "save")

    def __init__(self, op: Any, rules: tuple[Rule, ...], save: Callable) -> None:
        self.op, self.name = op, op.__name__
        self.rules, self.save = rules, save


def make_plan(op: Any, needs: tuple[bool, ...]) -> Plan:
    """The rules that run when the inputs marked in `needs` require a gradient, and a
    function that picks the values they name: `save(out, *inputs, static=, ...)`.

    The function is compiled from a line of source, once, so that recording costs one
    call and one tuple: for multiply it is `lambda out, a, b: ((b,), (a,))`.
    """
    rules, picks = [], []
    done: set[tuple] = set()
    for position in (i for i, needed in enumerate(needs) if needed):
        name = op.inputs[0 if op.variadic else position]
        served = op.rules.get(name)
        if served is None:
            raise TypeError(
                f"{op.__name__}: its input {name!r} requires a gradient, but there is "
                f"no rule for it; mend: @{op.__name__}.vjp({name!r}), or pass "
                f"{name}.detach()"
            )
        key = (served, position if op.variadic else None)
        if key in done:
            continue
        done.add(key)
        if op.variadic:
            positions: tuple[int, ...] = (position,)
        else:
            positions = tuple(op.inputs.index(each) for each in served)
        formula, fused = op.formulas[served], op.fused_bodies.get(served)
        names = _parameters(formula)[1:]
        fused_names = () if fused is None else _parameters(fused)[1:]
        several = len(served) > 1
        rules.append(Rule(op, formula, fused, names, fused_names, positions, several))
        literal = {
            "position": repr(position),
            "needs": repr(tuple(needs[p] for p in positions)) if several else "",
        }
        values = [_pick(op, each, literal) for each in names + fused_names]
        picks.append("(" + "".join(f"{value}, " for value in values) + ")")
    kept = (*op.static_names, *op.residuals)
    taken = ["out", *op.inputs, *(["*"] if kept else [])]
    taken += [f"{k}=_given_[{k!r}]" if k in op.statics else k for k in kept]
    source = f"lambda {', '.join(taken)}: ({', '.join(picks)},)"
    scope = {"_shape_": _shape, "_given_": op.statics}
    plan = Plan(op, tuple(rules), eval(source, scope))  # noqa: S307
    op.plans[needs] = plan
    return plan


def _pick(op: Any, name: str, literal: dict[str, str]) -> str:
    """The source of the value that a rule's parameter stands for."""
    base = name.removesuffix("_shape")
    if name not in op.inputs and base in op.inputs and base != name:
        return f"tuple(map(_shape_, {base}))" if op.variadic else f"_shape_({base})"
    return literal.get(name, name)


def _shape(value: Any) -> tuple[int, ...]:
    return getattr(value, "shape", ())


def _parameters(function: Callable) -> tuple[str, ...]:
    return tuple([name for name, _, _ in parameters_of(function)])


def add_rule(op: Any, fused: bool, *inputs: str) -> Callable[[Callable], Callable]:
    """The decorator that checks a rule's parameter names and gives it to `op`."""
    kind = "fused" if fused else "vjp"
    label = f"{op.__name__}.{kind}({', '.join(map(repr, inputs))})"
    if not inputs or any(name not in op.inputs for name in inputs):
        raise TypeError(f"{label}: the inputs of {op.__name__} are {op.inputs}")
    if not op.differentiable:
        raise TypeError(f"{label}: {op.__name__} was declared differentiable=False")
    if fused and inputs not in op.formulas:
        raise TypeError(f"{label}: define the formula first, @{op.__name__}.vjp(...)")
    legal = [*op.inputs, *(f"{name}_shape" for name in op.inputs), "out"]
    legal += op.static_names
    legal += ["needs"] if len(inputs) > 1 else []
    legal += ["position"] if op.variadic else []
    legal += op.residuals if fused else ()

    def add(rule: Callable) -> Callable:
        names = _parameters(rule)
        wrong = [name for name in names[1:] if name not in legal]
        if names[:1] != ("g",) or wrong:
            found = f"names {', '.join(wrong)}" if wrong else f"begins with {names[:1]}"
            raise TypeError(
                f"{label}: the rule {found}; its first parameter is g, and the others "
                f"may be {', '.join(legal)}"
            )
        (op.fused_bodies if fused else op.formulas)[inputs] = rule
        op.rules.update(dict.fromkeys(inputs, inputs))
        op.plans.clear()
        return rule

    return add
