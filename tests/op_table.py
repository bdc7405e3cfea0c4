"""The op table: a row for each op, which drives most of its tests.

A row is the op, what it should compute (op_references.py: never the op itself), inputs
of several shapes, and the domain they are drawn from. op_checks.py says what is checked
of every row, test_op_table.py runs it, and mutate_rules.py asks whether it would notice
a wrong gradient rule.

In a case a tuple stands for a floating input of that shape, drawn from the row's
domain; anything else is given as it is. Keywords are the op's statics. What an op does
at kinks is in op_kinks.py.
"""

from __future__ import annotations

import operator
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import mpmath as mp
import numpy as np
import op_references as ref
import window_references as windows
from op_references import along_axis, each, exact, over_axes

from tinygrad_softmax import ops
from tinygrad_softmax.autograd import core_ops
from tinygrad_softmax.backends.random import Draw
from tinygrad_softmax.backends.windows import Window
from tinygrad_softmax.nn import functional
from tinygrad_softmax.nn.functional import (
    binary_losses,
    channel_norms,
    dropouts,
    gates,
    linears,
    normalizations,
)
from tinygrad_softmax.ops import arithmetic, convolution, indexing, placement, pooling

HERE = "here"  # stands for the device under test
Domain = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """One way to call an op."""

    inputs: tuple[Any, ...]
    statics: dict[str, Any]

    def __str__(self) -> str:
        shown = [str(x) if isinstance(x, tuple) else repr(x) for x in self.inputs]
        shown += [f"{k}={v!r}" for k, v in self.statics.items()]
        return " ".join(f"({', '.join(shown)})".split())


def case(*inputs: Any, **statics: Any) -> Case:
    return Case(inputs, statics)


@dataclass(frozen=True, eq=False)
class Row:
    """One op.

    domains: where the floating inputs are drawn from: one for all, or one for each.
    differentiable: whether the op has a gradient.
    result: "same" dtype as the inputs, or another that is fixed, or "wide": the
        losses of 16-bit logits are float32.
    ulps: the error allowed in the value, in units of the last place ...
    scale: ... of each "entry", or of the "largest" one (or of 1), where the op sums.
    slack: the error allowed in gradients of lower precision, in epsilons of 1 or more.
    without: checks that make no sense here, each with the reason.
    """

    name: str
    op: Callable
    reference: Callable
    cases: tuple[Case, ...]
    domains: Any
    differentiable: bool = True
    result: str = "same"
    ulps: float = 4.0
    scale: str = "entry"
    slack: float = 8.0
    without: dict[str, str] = field(default_factory=dict)

    def arrays(self, k: int) -> list[Any]:
        """The inputs of case number k, floating ones in float64; always the same."""
        return [x.copy() if isinstance(x, np.ndarray) else x for x in self._drawn(k)]

    @cache  # noqa: B019  (rows live as long as the process)
    def _drawn(self, k: int) -> list[Any]:
        rng = np.random.default_rng(zlib.crc32(f"{self.name} {k}".encode()))
        domains = self.domains
        inputs = []
        for i, given in enumerate(self.cases[k].inputs):
            if isinstance(given, tuple):
                domain = domains[i] if isinstance(domains, tuple) else domains
                given = np.asarray(domain(rng, given))
            inputs.append(given)
        return inputs

    @cached_property
    def floating(self) -> list[tuple[int, ...]]:
        """For each case, the positions of its floating inputs."""
        return [
            tuple(i for i, x in enumerate(c.inputs) if isinstance(x, tuple))
            for c in self.cases
        ]

    def takes(self, k: int, dtype: Any) -> bool:
        """Whether case k makes sense in a dtype.

        bfloat16 is a guest in NumPy: beside a Python number it becomes float32.
        """
        numbers = any(isinstance(x, (int, float)) for x in self.cases[k].inputs)
        name = np.dtype(dtype).name
        return name not in self.without and not (numbers and name == "bfloat16")

    def __str__(self) -> str:
        return self.name


# -- domains ---------------------------------------------------------------------------


def between(low: float, high: float) -> Domain:
    return lambda rng, shape: rng.uniform(low, high, shape)


def around(points: Domain, spread: float) -> Domain:
    """Points with a little noise."""
    return lambda rng, shape: points(rng, shape) + rng.uniform(-spread, spread, shape)


def sometimes(point: float, domain: Domain) -> Domain:
    """A special point in about a third of the places."""
    return lambda rng, shape: np.where(
        rng.random(shape) < 0.3, point, domain(rng, shape)
    )


def multiples(step: float, offset: float = 0.0) -> Domain:
    return lambda rng, shape: step * rng.integers(-4, 5, shape) + offset


def nonzero(rng, shape):
    """At least 0.4 from 0, of either sign: away from a kink or a pole."""
    return rng.uniform(0.4, 2.0, shape) * rng.choice([-1.0, 1.0], shape)


def distinct(rng, shape):
    """No two closer than 0.2: no ties, and none within a finite difference's step."""
    n = int(np.prod(shape))
    order = rng.permutation(n).reshape(shape)
    return 0.3 * (order - (n - 1) / 2) + rng.uniform(-0.05, 0.05, shape)


def distinct_sizes(rng, shape):
    """The same of their absolute values, which are at least 0.3."""
    n = int(np.prod(shape))
    sizes = 0.3 * (1 + rng.permutation(n).reshape(shape))
    return (sizes + rng.uniform(-0.05, 0.05, shape)) * rng.choice([-1.0, 1.0], shape)


def special_values(rng, shape):
    return rng.choice([0.0, -1.5, np.inf, -np.inf, np.nan], shape)


plain, positive = between(-2.0, 2.0), between(0.4, 2.0)
bases = sometimes(1.0, positive)
exponents = sometimes(0.0, sometimes(1.0, plain))
off_integers = around(multiples(1.0, 0.5), 0.3)  # where floor has no step
on_integers = around(multiples(1.0), 0.3)  # where round has none
halves, quarters = around(multiples(0.5), 0.05), around(multiples(0.5, 0.25), 0.05)
digits = multiples(1.0)  # with many ties
dividends = around(multiples(1.0, 0.5), 0.1)  # dividend / divisor is never an integer
divisors = lambda rng, shape: rng.choice([-1.0, 1.0], shape)  # noqa: E731


# -- cases that many ops share ---------------------------------------------------------

UNARY = tuple(case(shape) for shape in [(), (3,), (2, 3), (0,), (2, 0)])
PAIRS = (
    *(case(a, a) for a in [(), (3,), (2, 3), (0,)]),
    *(case(*each) for each in [((2, 3), (3,)), ((), (2,)), ((2, 1), (1, 3))]),
    *(case(*each) for each in [((3,), ()), ((2, 0), (1, 1)), ((3, 1, 2), (2, 2))]),
)
NUMBERS = (*PAIRS, case((3,), 1.5), case(1.5, (2, 2)), case((), 0.75))
BOOLS = [np.array([True, False, True]), np.array([False, True, True]), np.array(False)]
REDUCED = (
    *(case(shape) for shape in [(), (4,), (2, 3)]),
    *(case((2, 3), axis=axis) for axis in (0, 1, -1, (0, 1))),
    *(case((2, 3, 2), axis=axis, keepdims=True) for axis in (None, 1, (0, -1))),
    *(case((2, 0, 3), axis=axis) for axis in (0, 2)),
    case((1, 2), axis=0),
)
ALONG = (
    *(case(shape) for shape in [(4,), (2, 3), (1, 1)]),
    *(case((2, 3, 2), axis=axis) for axis in (0, 1, -2, -1)),
    *(case(shape) for shape in [(0, 3)]),
)
NO_AXIS = {"0-d": "it needs an axis"}
NEEDS_ELEMENTS = {"empty": "it needs an element"}
NO_BFLOAT16 = {"bfloat16": "on NumPy it does not take a Python number's side"}
NO_HALF_ERF = {"bfloat16": "erf and erfc have no bfloat16 on NumPy"}


def elementwise(name, f, domain=plain, **options):
    reference = options.pop("reference", None) or exact(f)
    cases = options.pop("cases", UNARY)
    return Row(name, getattr(ops, name), reference, cases, domain, **options)


def binary(name, f, domains=plain, **options):
    return elementwise(name, f, domains, cases=options.pop("cases", NUMBERS), **options)


def comparison(name, f, cases=NUMBERS, domain=digits, dtype=bool, **options):
    options = dict(differentiable=False, result=np.dtype(dtype).name) | options
    return Row(name, getattr(ops, name), each(f, dtype), cases, domain, **options)


def reduction(name, f, domain=plain, cases=REDUCED, **options):
    options = dict(scale="largest") | options
    return Row(name, getattr(ops, name), over_axes(f), cases, domain, **options)


def shaping(name, reference, *cases, op=None, **options):
    options = dict(ulps=0) | options
    return Row(name, op or getattr(ops, name), reference, cases, plain, **options)


ROWS: list[Row] = []

# -- element by element ----------------------------------------------------------------

ROWS += [
    elementwise("abs", abs, nonzero),
    elementwise("acos", mp.acos, between(-0.8, 0.8)),
    elementwise("acosh", mp.acosh, between(1.4, 3.0)),
    elementwise("asin", mp.asin, between(-0.8, 0.8)),
    elementwise("asinh", mp.asinh),
    elementwise("atan", mp.atan),
    elementwise("atanh", mp.atanh, between(-0.7, 0.7)),
    elementwise("ceil", mp.ceil, off_integers),
    elementwise("cos", mp.cos),
    elementwise("cosh", mp.cosh),
    elementwise(
        "elu",
        ref.elu,
        nonzero,
        cases=(*UNARY, case((5,), alpha=0.5)),
        without=NO_BFLOAT16,
    ),
    elementwise("erf", mp.erf, without=NO_HALF_ERF),
    elementwise("erfc", mp.erfc, without=NO_HALF_ERF),
    elementwise("exp", mp.exp),
    elementwise("expm1", mp.expm1),
    elementwise("floor", mp.floor, off_integers),
    elementwise(
        "gelu",
        ref.gelu,
        cases=(*UNARY, *(case(s, approximate="tanh") for s in [(), (4,), (0,)])),
        without=NO_HALF_ERF,
    ),
    elementwise(
        "leaky_relu",
        ref.leaky_relu,
        nonzero,
        cases=(*UNARY, case((5,), negative_slope=0.25)),
        without=NO_BFLOAT16,
    ),
    elementwise("log", mp.log, positive),
    elementwise("log10", mp.log10, positive),
    elementwise("log1p", mp.log1p, between(-0.5, 2.0)),
    elementwise("log2", lambda x: mp.log(x, 2), positive),
    elementwise("negative", operator.neg),
    elementwise("positive", operator.pos),
    elementwise("reciprocal", lambda x: 1 / x, nonzero, without=NO_BFLOAT16),
    elementwise("relu", lambda x: max(x, 0), nonzero),
    elementwise("round", mp.nint, on_integers),
    elementwise("sigmoid", ref.sigmoid, without=NO_BFLOAT16),
    elementwise("sign", mp.sign, nonzero),
    elementwise("silu", lambda x: x * ref.sigmoid(x), without=NO_BFLOAT16),
    elementwise("sin", mp.sin),
    elementwise("sinh", mp.sinh),
    elementwise("softplus", lambda x: mp.log1p(mp.exp(x)), without=NO_BFLOAT16),
    elementwise("sqrt", mp.sqrt, positive),
    elementwise("square", lambda x: x * x),
    elementwise("tan", mp.tan, between(-1.1, 1.1)),
    elementwise("tanh", mp.tanh),
    elementwise("trunc", lambda x: mp.sign(x) * mp.floor(abs(x)), off_integers),
]

# -- of two and three arrays, with broadcasting ----------------------------------------

MASK = np.array([[True, False, True], [False, False, True]])
CHOICES = (
    *(case(BOOLS[0], *pair) for pair in [((3,), (3,)), ((2, 3), (3,)), ((3,), ())]),
    *(case(BOOLS[2], *pair) for pair in [((), ()), ((2,), ()), ((0,), ())]),
    *(case(MASK, *pair) for pair in [((2, 1), (3,)), ((2, 3), 0.5), (-0.5, (1, 1))]),
)
LIMITS = (
    *(case(shape, -1.0, 1.0) for shape in [(), (4,), (2, 3), (0,)]),
    *(case((5,), *limits) for limits in [(None, 0.5), (-0.5, None), (0.5, -0.5)]),
    *(case((2, 3), *limits) for limits in [((2, 1), (3,)), ((3,), None), (None, ())]),
    *(case((6,), *limits) for limits in [((6,), (6,)), ((), -10.0), (10.0, ())]),
)
# x, the lower and the upper limit are never near each other.
THREE_APART = tuple(around(multiples(0.6, offset), 0.03) for offset in (0.0, 0.2, 0.4))
POWERS = (
    *(case(shape, 2) for shape in [(), (3,), (0,)]),
    *(case((2, 2), n) for n in (0, 1, 3, -1, -2, 0.5, 2.5, -1.5)),
    *(case(2.5, shape) for shape in [(), (3,)]),
)

ROWS += [
    binary("add", operator.add),
    binary("atan2", mp.atan2, nonzero),
    Row("clip", ops.clip, ref.clip, LIMITS, THREE_APART, ulps=0),
    binary("copysign", lambda a, b: abs(a) if b > 0 else -abs(a), nonzero),
    binary("divide", operator.truediv, (plain, nonzero)),
    binary("floor_divide", lambda a, b: mp.floor(a / b), (dividends, divisors)),
    binary("hypot", mp.hypot, nonzero),
    binary("logaddexp", lambda a, b: mp.log(mp.exp(a) + mp.exp(b)), scale="largest"),
    binary("maximum", max, (halves, quarters), cases=PAIRS, ulps=0),
    binary("minimum", min, (halves, quarters), cases=PAIRS, ulps=0),
    binary("multiply", operator.mul),
    binary("pow", mp.power, (bases, exponents), cases=(*PAIRS, *POWERS), ulps=6),
    binary(
        "remainder", lambda a, b: a - b * mp.floor(a / b), (dividends, divisors), ulps=8
    ),
    binary("subtract", operator.sub),
    Row("where", ops.where, each(lambda c, a, b: a if c else b, float), CHOICES, plain),
]

# -- comparisons, logic, positions -----------------------------------------------------

LOGIC = tuple(
    case(*pair)
    for pair in [(BOOLS[0], BOOLS[1]), (BOOLS[0], BOOLS[2]), (BOOLS[2], BOOLS[2])]
) + (case(np.zeros((0, 2), bool), BOOLS[2]), case(BOOLS[0], True))
BITS = tuple(case(x) for x in (*BOOLS, MASK, np.zeros((2, 0), bool)))
TRUTHS = tuple(
    case(x, **statics)
    for x in (MASK, BOOLS[2], np.zeros((2, 3), bool), np.zeros((0, 2), bool))
    for statics in (
        {},
        {"keepdims": True},
        *([{"axis": -1}, {"axis": 0}] * bool(x.ndim)),
    )
)
POSITIONS = tuple(c for c in REDUCED if not isinstance(c.statics.get("axis"), tuple))
PLACED = dict(differentiable=False, result="int64", ulps=0)

ROWS += [
    comparison("equal", operator.eq),
    comparison("not_equal", operator.ne),
    comparison("less", operator.lt),
    comparison("less_equal", operator.le),
    comparison("greater", operator.gt),
    comparison("greater_equal", operator.ge),
    comparison("logical_and", lambda a, b: a and b, LOGIC),
    comparison("logical_or", lambda a, b: a or b, LOGIC),
    comparison("logical_xor", operator.xor, LOGIC),
    comparison("logical_not", operator.not_, BITS),
    comparison("isnan", np.isnan, UNARY, special_values),
    comparison("isinf", lambda x: abs(x) == np.inf, UNARY, special_values),
    comparison("isfinite", lambda x: abs(x) < np.inf, UNARY, special_values),
    Row("any", ops.any, over_axes(any, bool), TRUTHS, None, False, "bool"),
    Row("all", ops.all, over_axes(all, bool), TRUTHS, None, False, "bool"),
    Row("argmax", ops.argmax, over_axes(ref.argmax, int), POSITIONS, digits, **PLACED),
    Row("argmin", ops.argmin, over_axes(ref.argmin, int), POSITIONS, digits, **PLACED),
    Row(
        "argsort",
        ops.argsort,
        along_axis(ref.argsort, int),
        (*ALONG, case((9,), descending=True), case((2, 5), axis=0, descending=True)),
        digits,
        without=NO_AXIS,
        **PLACED,
    ),
]

# -- reductions ------------------------------------------------------------------------

CORRECTED = (case((4,), correction=1), case((2, 3), axis=0, correction=1))
LENGTHY = tuple(c for c in REDUCED if c.inputs != ((),) and c.inputs != ((1, 2),))
NOTHING = case((2, 0, 3), axis=1)
FACTORS = (case((7,)), case((2, 6), axis=1), case((1, 5), axis=1))
NORMS = (
    *LENGTHY,
    NOTHING,
    *(case((2, 3), ord=ord, axis=1) for ord in (1, 3, np.inf, -np.inf, 1.5)),
    *(case((4,), ord=ord, keepdims=True) for ord in (1, np.inf, 0)),
)

ROWS += [
    reduction("sum", sum, cases=(*REDUCED, NOTHING)),
    reduction("mean", ref.mean),
    reduction("var", ref.var, cases=(*REDUCED, *CORRECTED)),
    reduction(
        "std", ref.std, distinct, (*LENGTHY, *CORRECTED), without={"0-d": "a kink"}
    ),
    reduction(
        "prod", lambda row: float(np.prod(row)), cases=(*REDUCED, *FACTORS, NOTHING)
    ),
    reduction("max", max, distinct, scale="entry", ulps=0),
    reduction("min", min, distinct, scale="entry", ulps=0),
    Row(
        "cumsum",
        ops.cumsum,
        along_axis(ref.cumsum),
        (
            *(case((2, 3, 2), axis=axis) for axis in (0, 1, -2, -1)),
            *(case(shape, axis=None) for shape in [(), (4,), (2, 2), (0, 2)]),
        ),
        plain,
        scale="largest",
    ),
    reduction("logsumexp", ref.logsumexp),
    reduction(
        "norm", ref.norm, distinct_sizes, NORMS, without={"0-d": "a kink"} | NO_BFLOAT16
    ),
    Row(
        "softmax",
        ops.softmax,
        along_axis(ref.softmax),
        ALONG,
        plain,
        without=NO_AXIS,
    ),
    Row(
        "log_softmax",
        ops.log_softmax,
        along_axis(ref.log_softmax),
        ALONG,
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
]

# -- arrangement -----------------------------------------------------------------------

TRIANGLES = (case((2, 3)), case((3, 2), k=1), case((2, 3, 3), k=-1), case((0, 2)))

ROWS += [
    shaping(
        "reshape",
        ref.reshape,
        *(case((), shape=s) for s in [(1,), (), 1]),
        *(case((2, 3), shape=s) for s in [(3, 2), -1, (2, -1, 1), 6]),
        *(case((0, 2), shape=s) for s in [(0,), (2, 0)]),
    ),
    shaping(
        "permute_dims",
        ref.permute_dims,
        *(case((2, 3, 1), axes=axes) for axes in [(2, 0, 1), (1, -1, 0), (0, 1, 2)]),
        *(case(shape, axes=range(len(shape))[::-1]) for shape in [(), (3,), (0, 2)]),
    ),
    shaping(
        "transpose",
        ref.permute_dims,
        *(case(shape) for shape in [(), (3,), (2, 3), (2, 3, 2), (0, 2)]),
        case((2, 3, 2), axes=(1, 0, 2)),
    ),
    shaping(
        "swapaxes",
        np.swapaxes,
        case((2, 3, 2), axis1=0, axis2=1),
        case((2, 3, 2), axis1=-1, axis2=0),
        case((0, 2), axis1=0, axis2=-1),
        without=NO_AXIS,
    ),
    shaping(
        "moveaxis",
        np.moveaxis,
        case((2, 3, 4), source=0, destination=-1),
        case((2, 3, 2), source=(0, 2), destination=(1, 0)),
        case((2, 0), source=1, destination=0),
        without=NO_AXIS,
    ),
    shaping(
        "expand_dims",
        np.expand_dims,
        *(case((), axis=axis) for axis in [0, -1, (0, 1)]),
        *(case((2, 3), axis=axis) for axis in [1, -1, (0, 3), (-1, 0)]),
        case((0,), axis=0),
    ),
    shaping(
        "squeeze",
        np.squeeze,
        *(case(shape) for shape in [(), (1, 3, 1), (1, 0), (2,)]),
        case((1, 3, 1), axis=0),
        case((1, 3, 1), axis=(0, -1)),
    ),
    shaping(
        "broadcast_to",
        ref.broadcast_to,
        *(case((), shape=shape) for shape in [(), (3,), 3, (2, 0)]),
        *(case((2, 1), shape=shape) for shape in [(2, 3), (2, 2, 3), (2, 1)]),
        case((0, 1), shape=(0, 2)),
        case((1,), shape=(0,)),
    ),
    shaping(
        "flip",
        ref.flip,
        *(case(shape) for shape in [(), (4,), (2, 3), (0, 2)]),
        *(case((2, 3, 2), axis=axis) for axis in [1, -1, (0, 2)]),
    ),
    shaping(
        "roll",
        ref.roll,
        *(case((5,), shift=shift) for shift in [2, -1, 7]),
        *(case((2, 3), shift=2, axis=axis) for axis in [None, 0, -1, (0, 1)]),
        case((2, 3, 4), shift=(1, -2), axis=(0, 2)),
        case((), shift=1),
        case((0, 2), shift=1, axis=1),
    ),
    shaping(
        "tile",
        np.tile,
        *(case((2,), reps=reps) for reps in [2, (2, 3), 0, 1]),
        *(case((2, 3), reps=reps) for reps in [2, (2, 1), (2, 1, 2)]),
        case((), reps=(2, 2)),
        case((0,), reps=2),
    ),
    shaping(
        "tril", ref.triangle(lambda i, j, k: j <= i + k), *TRIANGLES, without=NO_AXIS
    ),
    shaping(
        "triu", ref.triangle(lambda i, j, k: j >= i + k), *TRIANGLES, without=NO_AXIS
    ),
    shaping(
        "concatenate",
        ref.concatenate,
        case((2,), (3,)),
        case((2, 3), (1, 3), (2, 3)),
        case((2, 3), (2, 1), axis=1),
        case((2, 1, 2), (2, 3, 2), axis=-2),
        case((2, 2), (), axis=None),
        case((0,), (2,)),
        op=lambda *arrays, **statics: ops.concatenate(arrays, **statics),
    ),
    shaping(
        "stack",
        lambda *arrays, axis=0: np.stack(arrays, axis),
        *(case(shape, shape) for shape in [(), (3,), (0,)]),
        case((2, 3), (2, 3), (2, 3), axis=1),
        case((2,), (2,), axis=-1),
        op=lambda *arrays, **statics: ops.stack(arrays, **statics),
    ),
    shaping(
        "split",
        np.split,
        *(case((6,), indices_or_sections=cuts) for cuts in [3, [1, 4], 1]),
        case((2, 5), indices_or_sections=[2], axis=1),
        case((2, 4), indices_or_sections=2, axis=-1),
        case((0, 2), indices_or_sections=2),
        without=NO_AXIS,
    ),
    shaping(
        "repeat",
        np.repeat,
        *(case((2, 3), repeats=2, axis=axis) for axis in [None, 0, 1, -1]),
        *(case((3,), repeats=repeats, axis=0) for repeats in [[2, 0, 1], 0]),
        case((), repeats=3),
        case((0, 2), repeats=2, axis=1),
    ),
    shaping(
        "pad",
        ref.pad,
        *(case((3,), pad_width=width) for width in [2, (1, 2), [(0, 1)]]),
        case((2, 3), pad_width=[(1, 0), (2, 1)], constant_values=-1.5),
        *(
            case((3, 2), pad_width=((1, 2), (0, 1)), mode=mode)
            for mode in ("edge", "reflect", "symmetric", "wrap")
        ),
        case((), pad_width=0),
        case((0, 2), pad_width=1),
    ),
    shaping("copy", np.array, *UNARY),
]

# -- picking, putting back, putting in order -------------------------------------------

ROWS_TWICE = np.array([1, 0, 1])
INDICES = [
    *(1, -1, slice(None), slice(None, None, -1), slice(0, 0), ..., None),
    *((slice(None), 1), (1, slice(0, 2)), (..., 0), (None, 1), (1, 2)),
    *(ROWS_TWICE, np.array([[0, 1], [1, 1]]), [1, 1], np.array([], int)),
    *((ROWS_TWICE, np.array([2, 0, 2])), (slice(None), np.array([0, 0, 2]))),
    *(MASK, np.array([True, False]), (np.array([True, True]), 1), ~MASK & MASK),
]
PUTS = [
    *(((2, 3), i) for i in (1, (slice(None), 1), slice(None, None, -1), MASK)),
    *(((2, 3), i) for i in (np.array([0]), (np.array([1, 0]), np.array([2, 0])))),
    *(((4,), i) for i in (np.array([2, 0]), slice(1, None, 2))),
]
TWICE = ((4,), np.array([2, 0, 2])), ((2, 3), (ROWS_TWICE, np.array([2, 0, 2])))


def put_cases(places):
    """Values of the shape of x[index], of fewer axes, and a number."""
    for shape, index in places:
        picked = np.zeros(shape)[index].shape
        yield case(shape, picked, index=index)
        yield case(shape, (), index=index)
    yield case((3,), 2.5, index=1)
    yield case((2, 2), (2, 1), index=...)
    yield case((0, 2), (0, 1), index=slice(None))
    yield case((), (), index=())


ROWS += [
    shaping(
        "getitem",
        ref.getitem,
        *(case((2, 3), index=index) for index in INDICES),
        *(case((), index=index) for index in [(), ..., None]),
        case((0, 2), index=slice(None)),
    ),
    shaping(
        "index_add",
        ref.index_add,
        *put_cases([*PUTS, *TWICE]),
        op=lambda x, values, index: ops.index_add(x, index, values),
        ulps=2,
        scale="largest",
    ),
    shaping(
        "index_update",
        ref.index_update,
        *put_cases(PUTS),
        op=lambda x, values, index: ops.index_update(x, index, values),
    ),
    shaping(
        "take",
        np.take,
        *(
            case((2, 3), indices=i, axis=1)
            for i in (2, np.array([2, 0, 2]), [[1], [0]])
        ),
        case((2, 3), indices=[5, 0, 5]),
        case((2, 3), indices=np.array([-1, 0]), axis=-2),
        case((), indices=[0, 0]),
        case((0, 2), indices=[1, 1], axis=1),
    ),
    shaping(
        "take_along_axis",
        np.take_along_axis,
        case((2, 3), indices=np.array([[2, 2, 0, 1], [0, 1, 1, 1]]), axis=1),
        case((2, 3), indices=np.array([[1, 0, 1]]), axis=0),
        case((2, 3), indices=np.array([[1]]), axis=-1),
        case((4,), indices=np.array([3, 3, 0]), axis=0),
        case((0, 2), indices=np.zeros((0, 1), int), axis=1),
        without=NO_AXIS,
    ),
    shaping(
        "diagonal",
        np.diagonal,
        *(case((3, 3), offset=offset) for offset in (0, 1, -1, 3)),
        case((2, 3), offset=1),
        case((2, 3, 3), axis1=2, axis2=1, offset=-1),
        case((2, 3, 2), axis1=0, axis2=-1),
        case((0, 2)),
        without=NO_AXIS,
    ),
    Row(
        "sort",
        ops.sort,
        along_axis(lambda row, descending=False: sorted(row, reverse=descending)),
        (*ALONG, case((5,), descending=True), case((2, 3), axis=0, descending=True)),
        distinct,
        ulps=0,
        without=NO_AXIS,
    ),
]

# -- products --------------------------------------------------------------------------


def products(name, reference, *cases, op=None, **options):
    op = op or getattr(ops, name)
    return Row(name, op, reference, cases, plain, scale="largest", **options)


ROWS += [
    products(
        "matmul",
        ref.matmul,
        *(case(*pair) for pair in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2))]),
        *(case(*pair) for pair in [((2, 3), (3, 2)), ((2, 2, 3), (3, 2))]),
        *(case(*pair) for pair in [((2, 2, 3), (2, 3, 1)), ((2, 3), (2, 3, 2))]),
        *(case(*pair) for pair in [((2, 1, 1, 2), (3, 2, 2)), ((3,), (2, 3, 2))]),
        *(case(*pair) for pair in [((2, 2, 3), (3,)), ((1, 1), (1, 1))]),
        *(
            case(*pair)
            for pair in [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (3, 0))]
        ),
        without=NO_AXIS,
    ),
    products(
        "einsum",
        ref.einsum,
        *(
            case((2, 3), (3, 2), subscripts=text)
            for text in ("ij,jk->ik", "ij,jk", "ij,ji->", "ij , jk -> kij", "ij,kl->jl")
        ),
        *(case((3, 3), subscripts=text) for text in ("ii->i", "ii", "ii->", "ij->ji")),
        *(case((2, 3), subscripts=text) for text in ("ij->i", "ij->", "...j->j...")),
        case((2, 2, 2), subscripts="iii->i"),
        case((2, 2, 3), (2, 2), subscripts="iij,ki->kj"),
        case((2, 2, 3), (3, 2), subscripts="AAi,iB->BA"),
        case((2, 3), (3,), (3, 2), subscripts="ij,j,jk->ik"),
        case((2, 1, 2, 3), (3, 3, 2), subscripts="...ij,...jk->...ik"),
        case((2, 2, 3), (3, 2), subscripts="...ij,jk"),
        case((), (2,), subscripts=",i->i"),
        case((0, 3), (3, 2), subscripts="ij,jk->ik"),
        op=lambda *operands, subscripts: ops.einsum(subscripts, *operands),
    ),
    products(
        "tensordot",
        np.tensordot,
        case((2, 3), (3, 2), axes=1),
        case((2, 3, 2), (3, 2, 2)),
        case((2,), (3,), axes=0),
        case((2, 3, 2), (2, 2, 3), axes=((0, 1), (1, -1))),
        case((2, 3), (2, 2), axes=(0, 0)),
        case((), (), axes=0),
        case((0, 3), (3, 2), axes=1),
    ),
    products(
        "outer",
        np.outer,
        *(
            case(*pair)
            for pair in [((2,), (3,)), ((2, 2), (3,)), ((), ()), ((0,), (2,))]
        ),
        *(case(*pair) for pair in [((2,), 1.5), (-0.5, (2,))]),
    ),
    products(
        "vecdot",
        ref.vecdot,
        *(case(*pair) for pair in [((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (4, 3))]),
        case((3, 2), (3, 2), axis=0),
        case((0, 3), (0, 3)),
        without=NO_AXIS,
    ),
]

# -- losses ----------------------------------------------------------------------------

LABELS = np.array([2, 0, 1, 2])
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum"},
    {"reduction": "none"},
    {"label_smoothing": 0.3},
    {"weight": np.array([0.1, 0.2, 0.05])},
    {"weight": np.array([1.0, 0.0, 0.7]), "label_smoothing": 0.2, "reduction": "none"},
]
IGNORING: list[dict[str, Any]] = [
    {"ignore_index": 2},
    {"ignore_index": 0, "weight": np.array([0.5, 2.0, 0.7]), "label_smoothing": 0.1},
    {"ignore_index": 1, "reduction": "none"},
    {"ignore_index": -100, "reduction": "sum"},
]
LOSSES = (
    *(case((4, 3), LABELS, **options) for options in (*OPTIONS, *IGNORING)),
    *(case((4, 3), (4, 3), **options) for options in OPTIONS),
    case((3, 4), LABELS, axis=0),
    case((3, 4), (3, 4), axis=0, reduction="none", weight=np.array([0.5, 2.0, 0.7])),
    case((2, 3, 2), np.array([[1, 2], [0, 0]]), axis=1, label_smoothing=0.1),
    case(
        (2, 3, 2), np.array([[1, 2], [0, 0]]), axis=1, reduction="none", ignore_index=0
    ),
    case((3,), np.array(1)),
    case((3,), (3,), reduction="none"),
    case((0, 3), LABELS[:0], reduction="sum"),
    case((0, 3), (0, 3), reduction="none"),
    case((2, 1), np.array([0, 0])),
)


def renamed(options):
    return {"class_weight" if k == "weight" else k: v for k, v in options.items()}


LINEAR_LOSSES = (
    *(
        case((4, 2), (3, 2), LABELS, (3,), chunk=3, **renamed(options))
        for options in (*OPTIONS, *IGNORING)
    ),
    *(case((4, 2), (3, 2), (4, 3), (3,), **renamed(options)) for options in OPTIONS),
    case((4, 2), (3, 2), LABELS),
    case((2, 2, 2), (3, 2), np.array([[1, 2], [0, 0]]), reduction="none", chunk=1),
    case((2, 2, 2), (3, 2), (2, 2, 3), None, reduction="none", chunk=3),
    case((2,), (3, 2), np.array(1), (3,)),
    case((0, 2), (3, 2), LABELS[:0], (3,), reduction="sum"),
)

ROWS += [
    Row(
        "softmax_cross_entropy",
        ops.softmax_cross_entropy,
        ref.softmax_cross_entropy,
        LOSSES,
        plain,
        result="wide",
        scale="largest",
        without=NO_AXIS,
    ),
    Row(
        "linear_cross_entropy",
        ops.linear_cross_entropy,
        ref.linear_cross_entropy,
        LINEAR_LOSSES,
        plain,
        result="wide",
        scale="largest",
        without=NO_AXIS,
    ),
]

# -- convolution and pooling -----------------------------------------------------------


def windowed(op: Callable) -> Callable:
    """An op that takes a Window, given its parts; the weight's kernel by default."""

    def flat(*inputs, kernel=None, stride, padding, dilation=None, **statics):
        kernel = inputs[1].shape[2:] if kernel is None else kernel
        dilation = (1,) * len(kernel) if dilation is None else dilation
        form = Window(kernel, stride, padding, dilation)
        return op(*inputs, window=form, **statics)

    return flat


def form(stride, padding, dilation):
    return dict(stride=stride, padding=padding, dilation=dilation)


FORMS = {
    "plain": form((1,), (0,), (1,)),
    "strided": form((2,), (1,), (2,)),
    "plane": form((1, 1), (0, 0), (1, 1)),
    "uneven": form((2, 1), (1, 0), (1, 2)),
}
NEEDS_BATCH = {"0-d": "it needs a batch and channels"}
# (form, kernel, positions, lengths): windows that reach past the end, that leave some
# of it out, and (the last) one that sees nothing.
GEOMETRIES = (
    ("plain", (2,), (4,), (4,)),
    ("strided", (3,), (2,), (4,)),
    ("strided", (2,), (2,), (6,)),
    ("plane", (2, 2), (2, 2), (3, 3)),
    ("plane", (1, 1), (2, 1), (2, 1)),
    ("uneven", (2, 2), (2, 1), (3, 3)),
    ("uneven", (3, 1), (2, 2), (3, 2)),
    ("plain", (2,), (5,), (4,)),
)


def products_of(name, *, shapes, given):
    """Rows of one of the three products; `shapes` picks its two inputs."""
    x_w_y, cases = {}, []
    sizes = [(2, 2, 3, 1), (1, 4, 2, 2), (1, 2, 2, 2), (0, 2, 1, 1)]
    for number, (which, kernel, positions, lengths) in enumerate(GEOMETRIES):
        n, channels, outputs, groups = sizes[number % len(sizes)]
        x_w_y = {
            "x": (n, channels, *lengths),
            "weight": (outputs, channels // groups, *kernel),
            "y": (n, outputs, *positions),
        }
        free = dict(positions=positions, lengths=lengths, kernel=kernel)
        options = dict(FORMS[which], groups=groups, **{given: free[given]})
        cases.append(case(*(x_w_y[each] for each in shapes), **options))
    cube = form((1,) * 3, (1, 0, 0), (1,) * 3)
    if name == "convolution":
        cases += [
            case(
                (1, 1, 2, 2, 1), (1, 1, 2, 1, 1), positions=(3, 2, 1), groups=1, **cube
            ),
            case(
                (2, 2, 4), (2, 1, 2), (2,), positions=(3,), groups=2, **FORMS["plain"]
            ),
        ]
    return products(
        name,
        getattr(windows, name),
        *cases,
        op=windowed(getattr(convolution, name)),
        without=NEEDS_BATCH,
    )


def pools(name, given, *cases, domain=plain, **options):
    """Rows of pooling: the cases and those of the geometries."""
    found, used = list(cases), GEOMETRIES[:-1] if "max" in name else GEOMETRIES
    for number, (which, kernel, positions, lengths) in enumerate(used):
        n, channels = [(2, 1), (1, 2), (0, 2)][number % 3]
        end = positions if given == "lengths" else lengths
        free = dict(positions=positions, lengths=lengths)
        statics = dict(FORMS[which], kernel=kernel, **{given: free[given]})
        found.append(case((n, channels, *end), **statics))
    return Row(
        name,
        windowed(getattr(pooling, name)),
        getattr(windows, name),
        tuple(found),
        domain,
        scale="largest",
        without=NEEDS_BATCH,
        **options,
    )


NUMBERED = np.array([[[[0, 3], [2, 1]]]], np.uint8)
AVERAGES = (
    dict(limits=((0, 4),)),
    dict(limits=((-1, 5),)),
    dict(limits=((0, 4),), divisor=5),
)

ROWS += [
    products_of("convolution", shapes=("x", "weight"), given="positions"),
    products_of("transposed_convolution", shapes=("y", "weight"), given="lengths"),
    products_of("kernel_correlation", shapes=("x", "y"), given="kernel"),
    pools(
        "window_sum",
        "positions",
        case((1, 1, 3, 3), NUMBERED, kernel=(2, 2), positions=(2, 2), **FORMS["plane"]),
    ),
    pools(
        "window_spread",
        "lengths",
        case((1, 1, 2, 2), NUMBERED, kernel=(2, 2), lengths=(3, 3), **FORMS["plane"]),
    ),
    pools("max_pool", "positions", domain=distinct),
    pools(
        "max_pool_indices",
        "positions",
        domain=digits,
        differentiable=False,
        result="int64",
    ),
    Row(
        "average_pool",
        windowed(pooling.average_pool),
        windows.average_pool,
        (
            *(
                case(
                    (2, 2, 4),
                    kernel=(3,),
                    stride=(2,),
                    padding=(1,),
                    positions=(3,),
                    **a,
                )
                for a in AVERAGES
            ),
            case(
                (1, 2, 3, 4),
                kernel=(2, 3),
                stride=(1, 2),
                padding=(0, 1),
                positions=(3, 2),
                limits=((0, 3), (-1, 5)),
            ),
            case(
                (0, 2, 3),
                kernel=(2,),
                stride=(1,),
                padding=(0,),
                positions=(2,),
                limits=((0, 3),),
            ),
        ),
        plain,
        scale="largest",
        without=NEEDS_BATCH,
    ),
]

# -- elsewhere, and what has no public function of its own -----------------------------

ROWS += [
    Row(
        "astype",
        ops.astype,
        lambda x, dtype: np.trunc(x) if dtype == "int64" else x,
        tuple(case(c.inputs[0], dtype="float64") for c in UNARY),
        plain,
        result="float64",
        ulps=0,
    ),
    Row(
        "astype to integers",
        ops.astype,
        lambda x, dtype: each(int, int)(x),
        tuple(case(c.inputs[0], dtype="int64") for c in UNARY),
        plain,
        differentiable=False,
        result="int64",
    ),
    Row(
        "binary_cross_entropy",
        binary_losses._binary_cross_entropy,
        exact(lambda x, t: -t * mp.log(x) - (1 - t) * mp.log1p(-x)),
        PAIRS,
        between(0.25, 0.75),
        ulps=8,
        without=NO_BFLOAT16,
    ),
    shaping(
        "to_device",
        lambda x, device: x,
        *(case(c.inputs[0], device=HERE) for c in UNARY),
        op=lambda x, device: placement._to_device(x, device=device, origin=device),
    ),
    shaping(
        "cast",
        lambda x, dtype: x,
        *(case(c.inputs[0], dtype=np.dtype("float64")) for c in UNARY),
        op=core_ops.cast,
        result="float64",
    ),
    Row(
        "sum_to",
        core_ops.sum_to,
        ref.sum_to,
        (
            *(
                case((2, 3), shape=shape)
                for shape in [(2, 3), (3,), (2, 1), (1, 1), ()]
            ),
            case((2, 3, 2), shape=(3, 1)),
            case((), shape=()),
            case((0, 2), shape=(1, 2)),
        ),
        plain,
        scale="largest",
    ),
    shaping(
        "zeros_as",
        lambda x: np.zeros(x.shape),
        *UNARY,
        op=arithmetic.zeros_as,
        differentiable=False,
    ),
    shaping(
        "scatter",
        lambda x, index, shape: ref.index_add(np.zeros(shape), x, index),
        *(
            case(np.zeros((2, 3))[index].shape, index=index, shape=(2, 3))
            for index in (1, ROWS_TWICE, MASK, (slice(None), np.array([0, 0, 2])))
        ),
        case((), index=(), shape=()),
        case((0, 2), index=slice(0), shape=(3, 2)),
        op=indexing._scatter,
        ulps=2,
        scale="largest",
    ),
]

# -- layers ----------------------------------------------------------------------------

ROWS += [
    Row(
        "linear",
        functional.linear,
        ref.linear,
        (
            case((4, 3), (2, 3), (2,)),
            case((4, 3), (2, 3)),
            case((5, 2, 3), (4, 3), (4,)),
            case((3,), (2, 3), (2,)),
            case((0, 3), (2, 3), (2,)),
            case((2, 0, 3), (2, 3)),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
]

LINEARS = [((4, 3), (2, 3), (2,)), ((3, 2, 3), (5, 3), (5,)), ((3,), (2, 3), (2,))]
LINEARS += [((0, 3), (2, 3), (2,))]
DROPPED = [((), (0, 1), ()), ((3,), (0, 9), (3,)), ((2, 3), (0, 9), (2, 3))]
DROPPED += [((2, 3, 2), (0, 9), (2, 3, 1)), ((2, 3), (0, 11), (2, 1))]
DROPPED += [((0, 2), (0, 1), (0, 2))]

ROWS += [
    Row(
        "linear_activation",
        linears._linear_activation,
        ref.linear_activation,
        tuple(
            case(*each, activation=name, with_grad=True)
            for each in LINEARS
            for name in ("gelu", "gelu_tanh", "relu")
        ),
        plain,
        scale="largest",
        without=NO_AXIS | NO_HALF_ERF,
    ),
    Row(
        "dropout",
        dropouts._dropout,
        ref.dropout,
        tuple(
            case(each, p=0.25, draw=Draw(*draw), shape=shape)
            for each, draw, shape in DROPPED
        ),
        plain,
    ),
]

ROWS += [
    Row(
        "layer_norm",
        normalizations._layer_norm,
        ref.layer_norm,
        (
            case((3, 4), (4,), (4,), axes=1, eps=0.1),
            case((3, 4), None, None, axes=1, eps=0.5),
            case((2, 3, 4), (4,), None, axes=1, eps=1e-5),
            case((2, 2, 3), (2, 3), (2, 3), axes=2, eps=0.1),
            case((5,), None, (5,), axes=1, eps=1e-5),
            case((40, 3), (3,), (3,), axes=1, eps=0.5),
            case((0, 4), (4,), (4,), axes=1, eps=1e-5),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
]

ROWS += [
    Row(
        "rms_norm",
        normalizations._rms_norm,
        ref.rms_norm,
        (
            case((3, 4), (4,), axes=1, eps=0.1),
            case((3, 4), None, axes=1, eps=0.5),
            case((2, 2, 3), (2, 3), axes=2, eps=1e-5),
            case((5,), None, axes=1, eps=1e-5),
            case((40, 3), (3,), axes=1, eps=0.5),
            case((0, 4), (4,), axes=1, eps=1e-5),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
    Row(
        "batch_norm",
        channel_norms._batch_norm,
        ref.batch_norm,
        (
            case((5, 3), (3,), (3,), eps=0.1),
            case((5, 3), None, None, eps=0.5),
            case((40, 2), (2,), None, eps=1e-5),
            case((3, 2, 4), None, (2,), eps=0.1),
            case((2, 2, 2, 3), (2,), (2,), eps=0.1),
            case((0, 3), (3,), (3,), eps=0.1),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
    Row(
        "group_norm",
        channel_norms._group_norm,
        ref.group_norm,
        (
            case((2, 4, 2), (4,), (4,), groups=2, eps=0.1),
            case((2, 3, 2, 2), None, None, groups=3, eps=0.5),
            case((3, 4), (4,), None, groups=2, eps=0.1),
            case((1, 2, 9), None, (2,), groups=1, eps=1e-5),
        ),
        plain,
        scale="largest",
        without=NO_AXIS | NEEDS_ELEMENTS,
    ),
    Row(
        "channel_affine",
        channel_norms._channel_affine,
        ref.channel_affine,
        (
            case((5, 3), (3,), (3,), (3,)),
            case((3, 2, 4), None, (2,), (2,)),
            case((2, 2, 2, 2), (2,), None, None),
            case((2, 3, 2), (3,), (3,), None),
            case((2, 2, 3), None, None, (2,)),
            case((0, 3), (3,), (3,), (3,)),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
]

ROWS += [
    Row(
        "attention",
        functional.scaled_dot_product_attention,
        ref.attention,
        (
            case((3, 2), (4, 2), (4, 3)),
            case((2, 3, 2), (2, 3, 2), (2, 3, 2), is_causal=True),
            case((1, 2, 2, 2), (1, 2, 3, 2), (1, 2, 3, 1), is_causal=True, scale=0.5),
            case((3, 1), (2, 1), (2, 1), is_causal=True, scale=-2.0),
            case((0, 2), (3, 2), (3, 1)),
        ),
        plain,
        scale="largest",
        without=NO_AXIS,
    ),
]

# -- the gates of recurrent networks ---------------------------------------------------

LSTM_CASES = (case((2, 12), (2, 3)), case((4,), (1,)), case((0, 4), (0, 1)))
GRU_CASES = (
    case((3, 6), (3, 6), (3, 2)),
    case((3,), (3,), (1,)),
    case((0, 3), (0, 3), (0, 1)),
)

ROWS += [
    Row(op.__name__, op, reference, cases, plain, scale="largest", without=NO_AXIS)
    for op, reference, cases in (
        (gates.lstm_state, ref.lstm_state, LSTM_CASES),
        (gates.lstm_output, ref.lstm_output, LSTM_CASES),
        (gates.gru_state, ref.gru_state, GRU_CASES),
    )
]
