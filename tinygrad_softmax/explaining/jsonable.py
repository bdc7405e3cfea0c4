"""An explanation as dicts, lists, strings and numbers: for a page, and for files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .explanation import Check, Entry, Explanation, Input, Kept, Message
from .formula_text import as_mathml, functions_in
from .formulas import TERMS
from .summaries import plain, summary

Summary = Callable[[Any], Any]


def jsonable(explanation: Explanation, arrays: Summary = summary) -> dict[str, Any]:
    """The whole of it, with `arrays` of every array (a `summary` by default).

    The keys are the fields of explanation.py's classes. An entry's formula has
    "forward" and "rules"; `None` stands for what was not computed, with its reason
    beside it. "mathml" has every formula as a `<math>` element, by its expression, and
    "terms" what their functions mean.
    """
    parent, expressions = explanation.parent, _expressions(explanation)
    called = set().union(*map(functions_in, expressions))
    return {
        "title": explanation.title,
        "root": explanation.root,
        "seed": arrays(explanation.seed),
        "recorded": explanation.recorded,
        "checked": explanation.checked,
        "notes": list(explanation.notes),
        "order": list(explanation.order),
        "entries": [_entry(entry, arrays) for entry in explanation.entries],
        "messages": [_message(each, arrays) for each in explanation.messages],
        "groups": [
            {**vars(each), "source": _source(each.source)}
            for each in explanation.groups
        ],
        "repeats": [asdict(each) for each in explanation.repeats],
        "mathml": {text: as_mathml(text) for text in expressions},
        "terms": {k: v for k, v in TERMS.items() if k in called},
        "unfoldable": explanation.unfoldable(),
        "unfolds": None if parent is None else parent[1],
        "outside": {str(k): v for k, v in explanation.outside.items()},
    }


def _expressions(explanation: Explanation) -> list[str]:
    """Every formula, once."""
    found: dict[str, None] = {}
    for entry in explanation.ops:
        if entry.formula is not None:
            texts = (entry.formula.forward, *entry.formula.rules.values())
            found.update(dict.fromkeys(text for text in texts if text))
    return list(found)


def _entry(entry: Entry, arrays: Summary) -> dict[str, Any]:
    same = "number kind op label dtype device value_note users via group in_backward"
    same += " made_by step messages gradient_note fills_grad hooks"
    found = {name: getattr(entry, name) for name in same.split()}
    formula = entry.formula
    found |= {
        "shape": list(entry.shape),
        "value": arrays(entry.value),
        "gradient": arrays(entry.gradient),
        "grad_before": arrays(entry.grad_before),
        "inputs": [_input(each, arrays) for each in entry.inputs],
        "source": _source(entry.source),
        "formula": None if formula is None else {**vars(formula)},
        "statics": {k: _static(v) for k, v in (entry.statics or {}).items()},
        "keeps": [_kept(each) for each in entry.keeps],
        "check": None if entry.check is None else _check(entry.check, arrays),
    }
    return found


def _input(each: Input, arrays: Summary) -> dict[str, Any]:
    constant = each.entry is None and each.known
    return {
        "name": each.name,
        "position": each.position,
        "entry": each.entry,
        "label": each.label,
        "constant": constant,
        "value": arrays(each.value) if constant else None,
    }


def _kept(kept: Kept) -> dict[str, Any]:
    found = {k: v for k, v in vars(kept).items() if k != "value"}
    shown = kept.kind in ("shape", "static")
    found["value"] = _static(kept.value) if shown else None
    found["shape"] = list(getattr(kept.value, "shape", ())) if kept.nbytes else None
    return found


def _message(message: Message, arrays: Summary) -> dict[str, Any]:
    same = "number step source target input_name position rule formula cast_from"
    found = {name: getattr(message, name) for name in same.split()}
    found["summed_axes"] = list(message.summed_axes)
    changed = message.arrived is not message.raw
    found["raw"] = arrays(message.raw)
    found["arrived"] = arrays(message.arrived) if changed else found["raw"]
    found["before"] = arrays(message.before)
    first = message.before is None
    found["after"] = found["arrived"] if first else arrays(message.after)
    return found


def _check(check: Check, arrays: Summary) -> dict[str, Any]:
    found = dict(vars(check))
    found["measured"], found["analytic"] = map(arrays, (check.measured, check.analytic))
    return {k: plain(v) for k, v in found.items()}


def _source(source: Any) -> dict[str, Any] | None:
    if source is None:
        return None
    return {**asdict(source), "place": source.place}


def _static(value: Any) -> Any:
    """A static parameter: as it is where JSON has such a thing, else in words."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return plain(value)
    if isinstance(value, (tuple, list)):
        return [_static(each) for each in value]
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return summary(value)
    return str(value)
