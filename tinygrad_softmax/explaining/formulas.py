"""The formula of every op and of its gradient rules, for people.

A formula is written as a Python expression over the op's inputs, its static parameters,
`out` (the result) and `g` (the gradient that arrives at the result), and the functions
of `TERMS`. So it is text, it can be parsed (formula_text.py makes plain text and MathML
of it), and it can be tried: tests/test_explain_ops.py evaluates them beside the
rules. What a rule's result does not show, because the engine does it for every op, is
left out: sums over what was broadcast, and casts.

The rules themselves stand beside the ops (`ops/`, `nn/functional/`); an op that is not
here, such as a user's own, is explained by the source of its rules (formula_source.py).
"""

from __future__ import annotations

from typing import Any

from . import formulas_elementwise as elementwise
from . import formulas_of_arrays as of_arrays
from .formula_source import read_formula
from .formula_text import Formula

# What the functions in formulas mean, beyond NumPy's own names.
TERMS = {
    "activation": "the function that is applied to each element",
    "at": "the places that an index names",
    "added_at": "zeros with g added at the places that the index names",
    "back_through_windows": "each window's value added to the elements under it",
    "d_sigmoid": "the derivative of sigmoid, sigmoid(x) sigmoid(-x)",
    "correlate": "for each element of the window, what it sees of x times g, summed",
    "cross_entropy": "-sum(target log(softmax(logits)))",
    "einsum": "the products summed over the letters that the result lacks",
    "hot": "a label as a row: 1 at the label, 0 elsewhere",
    "kept": "whether the draw of the random numbers kept an element",
    "mean_over": "the mean over the axes that are normalised together",
    "normal": "(x - mean) / sqrt(var + eps)",
    "others": "the product of the other elements",
    "part": "the part of g that this input became",
    "Phi": "the normal distribution function",
    "phi": "the normal density",
    "permute": "the axes in another order",
    "permute_back": "the axes back in their old order",
    "picked": "1 where x is the extremum (ties share it), else 0",
    "reverse": "in reversed order along the axis",
    "spread": "repeated along the axes that were reduced",
    "stayed": "whether a value is the last one put in its place",
    "sum_over": "the sum over the axis",
    "windows": "the elements under each window",
    "with_cast": "with another dtype",
}

FORMULAS: dict[str, Formula] = {
    **elementwise.ELEMENT_BY_ELEMENT,
    **elementwise.ACTIVATIONS,
    **of_arrays.ARRANGEMENT,
    **of_arrays.REDUCTIONS,
    **of_arrays.PRODUCTS,
    **of_arrays.WINDOWS,
    **of_arrays.LOSSES,
    **of_arrays.NORMALISATIONS,
    **of_arrays.DROPOUT,
    **of_arrays.CELLS,
    **elementwise.COMPARISONS,
}

CHECKPOINT = Formula(
    "f(inputs)",
    {},
    "nothing inside f was kept: backward runs f again and walks back through it",
    "Chen et al., Training deep nets with sublinear memory cost, 2016",
)


def key_of(op: Any) -> str:
    """Where an op's forward stands: "ops.elementwise.exp"."""
    forward = op.forward
    package = __name__.partition(".")[0] + "."
    return f"{forward.__module__.removeprefix(package)}.{forward.__name__}"


def formula_of(op: Any) -> Formula | None:
    """The formula of a primitive; of one that is not in the table, as its source says
    it; None where there is no source either."""
    if not hasattr(op, "forward"):
        return CHECKPOINT
    found = FORMULAS.get(key_of(op))
    if found is None:
        forward, rules = read_formula(op)
        found = Formula(forward, rules, "as the op's own source says it")
    return found
