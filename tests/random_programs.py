"""Random programs: what Hypothesis builds, and a naive forward mode to judge by.

A program is a list of steps over earlier values. Each step is a `Move`: the op of the
library, and beside it the value and the derivative as NumPy and SciPy have them, on
pairs (value, tangent): dual numbers, written without the library.

Programs are smooth where they are evaluated. Where an op needs a domain (log, asin,
max), a guard is put before it that leads any number into it; nothing is filtered out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.special as sp
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import ops

MOST = 24  # elements of a value
SHAPES = [(), (1,), (3,), (2, 3), (2, 1), (1, 3), (2, 2), (2, 1, 3)]


class Dual(NamedTuple):
    """A value and its derivative along a direction."""

    v: np.ndarray
    d: np.ndarray


@dataclass(frozen=True)
class Move:
    """One kind of step.

    op: the library's function. dual: the same on dual numbers.
    fits: whether it can be applied to a value of a shape.
    statics: draws its keywords for the values it is applied to.
    guards: for each operand, a name in GUARDS, or None.
    """

    op: Callable
    dual: Callable
    fits: Callable[[tuple[int, ...]], bool] = lambda shape: True
    statics: Callable[..., dict] = lambda draw, *values: {}
    guards: tuple[str | None, ...] = (None,)


class Step(NamedTuple):
    """One step of a program; `operands` are numbers of earlier values."""

    name: str
    operands: tuple[int, ...]
    statics: dict[str, Any]


@dataclass
class Program:
    """Inputs, steps, and the weights of the values that no later step uses."""

    inputs: list[np.ndarray]
    steps: list[Step] = field(default_factory=list)

    def results(self) -> list[int]:
        used = {i for step in self.steps for i in step.operands}
        n = len(self.inputs) + len(self.steps)
        return [i for i in range(n) if i not in used]

    def run(self, inputs: list[Any]) -> Any:
        """The program by the library, on the device of its inputs: a scalar."""
        values = list(inputs)
        for step in self.steps:
            operands = (values[i] for i in step.operands)
            statics = {name: beside(inputs[0], x) for name, x in step.statics.items()}
            values.append(ALL[step.name].op(*operands, **statics))
        total = 0.0
        for i in self.results():
            weights = beside(inputs[0], _weights(values[i].shape))
            total = total + ops.sum(values[i] * weights)
        return total

    def duals(self, inputs: list[np.ndarray], along: list[np.ndarray]) -> list[Dual]:
        values = [Dual(x, d) for x, d in zip(inputs, along, strict=True)]
        for step in self.steps:
            operands = (values[i] for i in step.operands)
            values.append(ALL[step.name].dual(*operands, **step.statics))
        return values

    def slope(self, inputs: list[np.ndarray], along: list[np.ndarray]) -> float:
        """The derivative of the result along a direction, by dual numbers."""
        values = self.duals(inputs, along)
        return float(sum((values[i].d * _weights(values[i].d.shape)).sum()
                         for i in self.results()))  # fmt: skip

    def gradient(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The derivative along every axis in turn."""
        zeros = [np.zeros_like(x) for x in inputs]
        gradients = [np.zeros_like(x) for x in inputs]
        for i, gradient in enumerate(gradients):
            for place in np.ndindex(gradient.shape):
                along = list(zeros)
                along[i] = np.zeros_like(inputs[i])
                along[i][place] = 1.0
                gradient[place] = self.slope(inputs, along)
        return gradients

    def __str__(self) -> str:
        lines = [f"{i} = {x.tolist()}" for i, x in enumerate(self.inputs)]
        for i, (name, operands, statics) in enumerate(self.steps, len(self.inputs)):
            shown = [str(o) for o in operands] + [
                f"{k}={v}" for k, v in statics.items()
            ]
            lines.append(f"{i} = {name}({', '.join(shown)})")
        return "\n".join(lines)


def beside(x: Any, constant: Any) -> Any:
    """A constant array on the device of a tensor; as it is beside an array."""
    if isinstance(x, tg.Tensor) and isinstance(constant, np.ndarray):
        return tg.tensor(constant, None, x.device)
    return constant


def _weights(shape: tuple[int, ...]) -> np.ndarray:
    """Different numbers around 1, so that no two elements are alike."""
    n = int(np.prod(shape))
    return (1.0 + 0.5 * np.cos(1.0 + np.arange(n))).reshape(shape)


# -- dual numbers ----------------------------------------------------------------------


def one(f: Callable, slope: Callable) -> Callable:
    """An elementwise function and its derivative."""
    return lambda x: Dual(f(x.v), slope(x.v) * x.d)


def two(f: Callable, by_a: Callable, by_b: Callable) -> Callable:
    return lambda a, b: Dual(f(a.v, b.v), by_a(a.v, b.v) * a.d + by_b(a.v, b.v) * b.d)


def linear(f: Callable) -> Callable:
    return lambda x, **statics: Dual(f(x.v, **statics), f(x.d, **statics))


def several(f: Callable) -> Callable:
    """Linear in all operands together."""
    return lambda *xs, **s: Dual(f([x.v for x in xs], **s), f([x.d for x in xs], **s))


def product(f: Callable) -> Callable:
    """Linear in each of two operands."""
    return lambda a, b, **s: Dual(f(a.v, b.v, **s), f(a.d, b.v, **s) + f(a.v, b.d, **s))


def _softmax(x, axis):
    p = sp.softmax(x.v, axis)
    return Dual(p, p * (x.d - (p * x.d).sum(axis, keepdims=True)))


def _log_softmax(x, axis):
    p = sp.softmax(x.v, axis)
    return Dual(sp.log_softmax(x.v, axis), x.d - (p * x.d).sum(axis, keepdims=True))


def _logsumexp(x, axis, keepdims):
    p = sp.softmax(x.v, axis)
    return Dual(
        sp.logsumexp(x.v, axis, keepdims=keepdims),
        (p * x.d).sum(axis, keepdims=keepdims),
    )


def _prod(x, axis, keepdims):
    return Dual(
        np.prod(x.v, axis, keepdims=keepdims),
        np.prod(x.v, axis, keepdims=keepdims)
        * (x.d / x.v).sum(axis, keepdims=keepdims),
    )


def _var(x, axis, keepdims):
    away = x.v - x.v.mean(axis, keepdims=True)
    return Dual(
        (away**2).mean(axis, keepdims=keepdims),
        (2.0 * away * x.d).mean(axis, keepdims=keepdims),
    )


def _std(x, axis, keepdims):
    v, d = _var(x, axis, keepdims)
    return Dual(np.sqrt(v), d / (2.0 * np.sqrt(v)))


def _norm(x, axis, keepdims):
    v = np.sqrt((x.v**2).sum(axis, keepdims=keepdims))
    return Dual(v, (x.v * x.d).sum(axis, keepdims=keepdims) / v)


def _extreme(choose):
    def dual(x, axis, keepdims):
        at = np.expand_dims(choose(x.v, axis), axis)
        picked = [np.take_along_axis(part, at, axis) for part in x]
        return Dual(*(p if keepdims else p.squeeze(axis) for p in picked))

    return dual


def _sort(x, axis):
    order = np.argsort(x.v, axis)
    return Dual(*(np.take_along_axis(part, order, axis) for part in x))


def _put(x, values, index, add):
    def put(x, values):
        out = x.copy()
        if add:
            np.add.at(out, index, values)
        else:
            out[index] = values
        return out

    return Dual(put(x.v, values.v), put(x.d, values.d))


def _cross_entropy(x, target, smoothing):
    t = np.eye(x.v.shape[1])[target] * (1 - smoothing) + smoothing / x.v.shape[1]
    lp, n = sp.log_softmax(x.v, 1), len(x.v)
    return Dual(-(t * lp).sum() / n, ((np.exp(lp) - t) * x.d).sum() / n)


# -- what a step's keywords may be -----------------------------------------------------


def _axis(draw, *values):
    ndim = values[0].ndim
    return {"axis": draw(st.integers(-ndim, ndim - 1))}


def _axis_kept(draw, x):
    return {**_axis(draw, x), "keepdims": draw(st.booleans())}


def _shape(draw, x):
    n = x.size
    shapes = [(n,), (1, n), (n, 1), *([(n // 2, 2), (2, n // 2)] * (n % 2 == 0))]
    return {"shape": draw(st.sampled_from(shapes))}


def _order(draw, x):
    return {"axes": tuple(draw(st.permutations(range(x.ndim))))}


def _index(draw, x):
    n = x.shape[0]
    rows = st.lists(st.integers(-n, n - 1), min_size=1, max_size=3)
    index = draw(
        st.one_of(
            st.integers(-n, n - 1),
            st.sampled_from([slice(None, None, -1), slice(n // 2, None), None, ...]),
            rows.map(np.array),
            st.tuples(st.just(...), st.integers(-x.shape[-1], x.shape[-1] - 1)),
        )
    )
    return {"index": index}


def _rows(draw, x, values):
    n = x.shape[0]
    order = draw(st.permutations(range(n)))
    return {"index": np.array(order[: draw(st.integers(1, n))])}


def _rows_again(draw, x, values):
    n = x.shape[0]
    rows = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=3))
    return {"index": np.array(rows)}


def _along(draw, x):
    axis = draw(st.integers(0, x.ndim - 1))
    n = x.shape[axis]
    shape = tuple(2 if i == axis else length for i, length in enumerate(x.shape))
    flat = draw(st.lists(st.integers(0, n - 1), min_size=int(np.prod(shape)),
                         max_size=int(np.prod(shape))))  # fmt: skip
    return {"indices": np.array(flat).reshape(shape), "axis": axis}


def _labels(draw, x):
    n, classes = x.shape
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    return {"target": np.array(labels), "smoothing": draw(st.sampled_from([0.0, 0.2]))}


def _mask(draw, a, b):
    shape = np.broadcast_shapes(a.shape, b.shape)
    numbers = draw(st.integers(0, 9)) + np.arange(np.prod(shape, dtype=int))
    return {"mask": np.cos(numbers).reshape(shape) > 0}


def draws(**choices):
    """Each keyword is one of a few values."""
    return lambda draw, *values: {
        name: draw(st.sampled_from(given)) for name, given in choices.items()
    }


# -- the table -------------------------------------------------------------------------


def some(shape):
    return len(shape) > 0


def long(shape):
    return len(shape) > 0 and min(shape) > 1


def matrix(shape):
    return len(shape) == 2


def small(shape):
    return np.prod(shape) <= 6


GUARDS = {
    "positive": Move(  # to 0.5 .. 1.5
        lambda x: ops.sigmoid(x) + 0.5,
        one(lambda v: sp.expit(v) + 0.5, lambda v: sp.expit(v) * sp.expit(-v)),
    ),
    "unit": Move(  # to -0.8 .. 0.8
        lambda x: ops.tanh(x) * 0.8,
        one(lambda v: 0.8 * np.tanh(v), lambda v: 0.8 / np.cosh(v) ** 2),
    ),
    "apart": Move(  # no two closer than 0.1
        lambda x: ops.tanh(x) * 0.1 + beside(x, _spread(x.shape)),
        one(
            lambda v: 0.1 * np.tanh(v) + _spread(v.shape),
            lambda v: 0.1 / np.cosh(v) ** 2,
        ),
    ),
}


def _spread(shape):
    """Multiples of 0.3, shuffled, from 0.3 on."""
    n = int(np.prod(shape))
    return 0.3 * (1 + (np.arange(n) * 7) % n if n % 7 else 1 + np.arange(n)).reshape(
        shape
    )


def _gelu_slope(v):
    return sp.ndtr(v) + v * np.exp(-v * v / 2.0) / np.sqrt(2.0 * np.pi)


def _silu_slope(v):
    return sp.expit(v) * (1.0 + v * sp.expit(-v))


MOVES: dict[str, Move] = {
    "sin": Move(ops.sin, one(np.sin, np.cos)),
    "cos": Move(ops.cos, one(np.cos, lambda v: -np.sin(v))),
    "tanh": Move(ops.tanh, one(np.tanh, lambda v: np.cosh(v) ** -2.0)),
    "sigmoid": Move(ops.sigmoid, one(sp.expit, lambda v: sp.expit(v) * sp.expit(-v))),
    "softplus": Move(ops.softplus, one(lambda v: np.logaddexp(0.0, v), sp.expit)),
    "silu": Move(ops.silu, one(lambda v: v * sp.expit(v), _silu_slope)),
    "gelu": Move(ops.gelu, one(lambda v: v * sp.ndtr(v), _gelu_slope)),
    "atan": Move(ops.atan, one(np.arctan, lambda v: 1.0 / (1.0 + v * v))),
    "asinh": Move(ops.asinh, one(np.arcsinh, lambda v: 1.0 / np.sqrt(1.0 + v * v))),
    "erf": Move(ops.erf, one(sp.erf, lambda v: 2.0 / np.sqrt(np.pi) * np.exp(-v * v))),
    "negative": Move(ops.negative, one(np.negative, lambda v: -1.0)),
    "square": Move(ops.square, one(np.square, lambda v: 2.0 * v), guards=("unit",)),
    "cube": Move(
        lambda x: x**3, one(lambda v: v**3, lambda v: 3.0 * v * v), guards=("unit",)
    ),
    "exp": Move(ops.exp, one(np.exp, np.exp), guards=("unit",)),
    "expm1": Move(ops.expm1, one(np.expm1, np.exp), guards=("unit",)),
    "sinh": Move(ops.sinh, one(np.sinh, np.cosh), guards=("unit",)),
    "cosh": Move(ops.cosh, one(np.cosh, np.sinh), guards=("unit",)),
    "tan": Move(ops.tan, one(np.tan, lambda v: np.cos(v) ** -2.0), guards=("unit",)),
    "asin": Move(
        ops.asin, one(np.arcsin, lambda v: (1.0 - v * v) ** -0.5), guards=("unit",)
    ),
    "acos": Move(
        ops.acos, one(np.arccos, lambda v: -((1.0 - v * v) ** -0.5)), guards=("unit",)
    ),
    "atanh": Move(
        ops.atanh, one(np.arctanh, lambda v: 1.0 / (1.0 - v * v)), guards=("unit",)
    ),
    "log": Move(ops.log, one(np.log, lambda v: 1.0 / v), guards=("positive",)),
    "log1p": Move(
        ops.log1p, one(np.log1p, lambda v: 1.0 / (1.0 + v)), guards=("positive",)
    ),
    "sqrt": Move(
        ops.sqrt, one(np.sqrt, lambda v: 0.5 / np.sqrt(v)), guards=("positive",)
    ),
    "reciprocal": Move(
        ops.reciprocal, one(np.reciprocal, lambda v: -1.0 / v**2), guards=("positive",)
    ),
    "abs": Move(ops.abs, one(np.abs, np.sign), guards=("apart",)),
    # -- reductions --
    "sum": Move(ops.sum, linear(np.sum), some, _axis_kept),
    "mean": Move(ops.mean, linear(np.mean), some, _axis_kept),
    "cumsum": Move(ops.cumsum, linear(np.cumsum), some, _axis),
    "prod": Move(ops.prod, _prod, some, _axis_kept, ("positive",)),
    "var": Move(ops.var, _var, some, _axis_kept),
    "std": Move(ops.std, _std, long, _axis_kept, ("apart",)),
    "norm": Move(ops.norm, _norm, some, _axis_kept, ("positive",)),
    "max": Move(ops.max, _extreme(np.argmax), some, _axis_kept, ("apart",)),
    "min": Move(ops.min, _extreme(np.argmin), some, _axis_kept, ("apart",)),
    "logsumexp": Move(ops.logsumexp, _logsumexp, some, _axis_kept),
    "softmax": Move(ops.softmax, _softmax, some, _axis),
    "log_softmax": Move(ops.log_softmax, _log_softmax, some, _axis),
    "sort": Move(ops.sort, _sort, some, _axis, ("apart",)),
    "cross_entropy": Move(
        lambda x, target, smoothing: ops.softmax_cross_entropy(
            x * 1.0, target, label_smoothing=smoothing
        ),
        _cross_entropy,
        matrix,
        _labels,
    ),
    # -- arrangement and indexing --
    "reshape": Move(ops.reshape, linear(np.reshape), lambda s: np.prod(s) > 0, _shape),
    "permute_dims": Move(ops.permute_dims, linear(np.transpose), some, _order),
    "flip": Move(ops.flip, linear(np.flip), some, _axis),
    "roll": Move(ops.roll, linear(np.roll), statics=draws(shift=[1, 2], axis=[None])),
    "expand_dims": Move(
        ops.expand_dims,
        linear(np.expand_dims),
        lambda s: len(s) < 3,
        draws(axis=[0, -1]),
    ),
    "broadcast_to": Move(
        lambda x: ops.broadcast_to(x, (2, *x.shape)),
        linear(lambda v: np.stack([v, v])),
        small,
    ),
    "tile": Move(ops.tile, linear(np.tile), small, draws(reps=[2, (2, 1)])),
    "repeat": Move(
        ops.repeat, linear(np.repeat), small, draws(repeats=[2], axis=[None])
    ),
    "pad": Move(ops.pad, linear(np.pad), lambda s: len(s) == 1, draws(pad_width=[1])),
    "tril": Move(ops.tril, linear(np.tril), matrix, draws(k=[0, 1, -1])),
    "diagonal": Move(
        ops.diagonal, linear(np.diagonal), lambda s: s[:1] == s[1:2] != ()
    ),
    "getitem": Move(
        lambda x, index: ops.getitem(x, index),
        linear(lambda v, index: v[index]),
        some,
        _index,
    ),
    "take_along_axis": Move(
        ops.take_along_axis, linear(np.take_along_axis), some, _along
    ),
    "split": Move(
        lambda x: ops.split(x, 2, axis=-1)[1] - ops.split(x, 2, axis=-1)[0],
        linear(lambda v: np.split(v, 2, axis=-1)[1] - np.split(v, 2, axis=-1)[0]),
        lambda s: len(s) > 0 and s[-1] % 2 == 0,
    ),
    # -- a value with itself transposed, as two operands that share a node --
    "gram": Move(
        lambda x: ops.matmul(x, ops.swapaxes(x, -1, -2)) * 0.1,
        lambda x: Dual(
            0.1 * x.v @ np.swapaxes(x.v, -1, -2),
            0.1 * (x.d @ np.swapaxes(x.v, -1, -2) + x.v @ np.swapaxes(x.d, -1, -2)),
        ),
        lambda s: len(s) >= 2,
    ),
    "outer": Move(
        lambda x: ops.outer(x, ops.tanh(x)),
        lambda x: Dual(
            np.outer(x.v, np.tanh(x.v)),
            np.outer(x.d, np.tanh(x.v)) + np.outer(x.v, x.d / np.cosh(x.v) ** 2),
        ),
        lambda s: len(s) == 1 and s[0] <= 4,
    ),
}

# Two operands, whose shapes broadcast together.
PAIRS: dict[str, Move] = {
    "add": Move(ops.add, two(np.add, lambda a, b: 1.0, lambda a, b: 1.0)),
    "subtract": Move(
        ops.subtract, two(np.subtract, lambda a, b: 1.0, lambda a, b: -1.0)
    ),
    "multiply": Move(ops.multiply, product(np.multiply), guards=("bounded", "bounded")),
    "divide": Move(
        ops.divide,
        two(np.divide, lambda a, b: 1.0 / b, lambda a, b: -a / b**2),
        guards=(None, "positive"),
    ),
    "pow": Move(
        ops.pow,
        two(np.power, lambda a, b: b * a ** (b - 1.0), lambda a, b: a**b * np.log(a)),
        guards=("positive", "bounded"),
    ),
    "hypot": Move(
        ops.hypot,
        two(np.hypot, lambda a, b: a / np.hypot(a, b), lambda a, b: b / np.hypot(a, b)),
        guards=(None, "positive"),
    ),
    "atan2": Move(
        ops.atan2,
        two(
            np.arctan2,
            lambda a, b: b / (a * a + b * b),
            lambda a, b: -a / (a * a + b * b),
        ),
        guards=(None, "positive"),
    ),
    "logaddexp": Move(
        ops.logaddexp,
        two(np.logaddexp, lambda a, b: sp.expit(a - b), lambda a, b: sp.expit(b - a)),
    ),
    "where": Move(
        lambda a, b, mask: ops.where(mask, a, b),
        lambda a, b, mask: Dual(np.where(mask, a.v, b.v), np.where(mask, a.d, b.d)),
        statics=_mask,
    ),
}

# Two operands of one shape.
TWINS: dict[str, Move] = {
    "concatenate": Move(
        lambda *xs, axis: ops.concatenate(xs, axis),
        several(np.concatenate),
        some,
        _axis,
    ),
    "stack": Move(
        lambda *xs, axis: ops.stack(xs, axis),
        several(np.stack),
        small,
        draws(axis=[0, -1]),
    ),
    "einsum": Move(
        lambda a, b: ops.einsum("...i,...i->...", a, b),
        product(lambda a, b: (a * b).sum(-1)),
        some,
        guards=("bounded", "bounded"),
    ),
    "matmul": Move(
        lambda a, b: ops.matmul(ops.swapaxes(a, -1, -2), b),
        product(lambda a, b: np.swapaxes(a, -1, -2) @ b),
        lambda s: len(s) >= 2,
        guards=("bounded", "bounded"),
    ),
    "tensordot": Move(
        ops.tensordot,
        product(np.tensordot),
        lambda s: len(s) > 0 and small(s),
        draws(axes=[((0,), (0,))]),
        guards=("bounded", "bounded"),
    ),
    "index_add": Move(
        lambda x, values, index: ops.index_add(x, index, values[index] * 1.0),
        lambda x, values, index: _put(x, _taken(values, index), index, True),
        some,
        _rows_again,
    ),
    "index_update": Move(
        lambda x, values, index: ops.index_update(x, index, values[index] * 1.0),
        lambda x, values, index: _put(x, _taken(values, index), index, False),
        some,
        _rows,
    ),
}


def _taken(x, index):
    return Dual(x.v[index], x.d[index])


GUARDS["bounded"] = Move(ops.asinh, MOVES["asinh"].dual)  # only where it is needed
ALL = {f"guard: {name}": move for name, move in GUARDS.items()} | MOVES | PAIRS | TWINS


# -- building a program ----------------------------------------------------------------

NUMBERS = st.integers(-20, 20).map(lambda n: n / 10.0)


@st.composite
def programs(draw, most_steps: int = 8) -> Program:
    """One to three inputs and a few steps, each over values that are there already."""
    inputs = []
    for shape in draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3)):
        n = int(np.prod(shape))
        numbers = draw(st.lists(NUMBERS, min_size=n, max_size=n))
        inputs.append(np.array(numbers).reshape(shape))
    program, values = Program(inputs), list(inputs)
    for _ in range(draw(st.integers(1, most_steps))):
        _add_step(draw, program, values)
    return program


def _add_step(draw, program: Program, values: list[np.ndarray]) -> None:
    """Choose a value, then a move that fits it, then what else the move needs."""
    first = draw(st.integers(0, len(values) - 1).map(lambda i: len(values) - 1 - i))
    shape = values[first].shape
    twins = [i for i, x in enumerate(values) if x.shape == shape]
    mates = [
        i
        for i, x in enumerate(values)
        if x.shape == shape or _broadcast(shape, x.shape)
    ]
    group = draw(st.sampled_from([MOVES, PAIRS, TWINS]))
    name = draw(
        st.sampled_from([n for n, m in group.items() if m.fits(shape)] or ["sin"])
    )
    move, operands = ALL[name], [first]
    if name in PAIRS or name in TWINS:
        operands.append(draw(st.sampled_from(mates if name in PAIRS else twins)))
        if draw(st.booleans()):
            operands.reverse()
    for place, guard in zip(range(len(operands)), move.guards):
        largest = np.abs(values[operands[place]]).max(initial=0.0)
        if guard is not None and (guard != "bounded" or largest > 4.0):
            operands[place] = _append(
                program, values, Step(f"guard: {guard}", (operands[place],), {})
            )
    statics = move.statics(draw, *(values[i] for i in operands))
    _append(program, values, Step(name, tuple(operands), statics))


def _append(program: Program, values: list[np.ndarray], step: Step) -> int:
    program.steps.append(step)
    operands = (Dual(values[i], np.zeros_like(values[i])) for i in step.operands)
    values.append(np.asarray(ALL[step.name].dual(*operands, **step.statics).v))
    return len(values) - 1


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    try:
        return np.prod(np.broadcast_shapes(a, b)) <= MOST
    except ValueError:
        return False


def tensors(arrays: list[np.ndarray], device: str) -> list[Any]:
    return [tg.tensor(x, None, device, requires_grad=True) for x in arrays]
