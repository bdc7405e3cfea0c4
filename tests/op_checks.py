"""What is checked of every row of the op table.

A check takes a row, the number of one of its cases and a device, and raises an
AssertionError. The oracle of values and of first derivatives is the row's reference
(and its central differences); that of each higher order is the central difference of
the order below.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from op_kinks import Kink
from op_references import listed
from op_table import HERE, Row

import tinygrad_softmax as tg
from tinygrad_softmax.autograd import PRIMITIVES, graph
from tinygrad_softmax.backends import backend_of
from tinygrad_softmax.backends.dtypes import as_dtype, is_floating, is_half

STEP = 1e-3  # of central differences of order 4 on numbers around 1 ...
TOLERANCE = 1e-8  # ... whose error is below this share of the largest number


# -- what the row says -----------------------------------------------------------------


@functools.cache
def expected(row: Row, k: int) -> list[np.ndarray]:
    """The outputs that the reference gives."""
    return _reference(row, k, row.arrays(k))


def _reference(row: Row, k: int, inputs: list[Any]) -> list[np.ndarray]:
    outs = row.reference(*inputs, **row.cases[k].statics)
    return [np.asarray(out) for out in listed(outs)]


@functools.cache
def cotangents(row: Row, k: int) -> list[np.ndarray]:
    """The gradients of the outputs that a check begins with: random, none near 0."""
    rng = np.random.default_rng(k + 1)
    return [rng.uniform(0.5, 1.5, out.shape) for out in expected(row, k)]


@functools.cache
def directions(row: Row, k: int, order: int) -> list[np.ndarray]:
    """A direction to differentiate along, for each floating input."""
    rng, arrays = np.random.default_rng(100 * order + k), row.arrays(k)
    return [rng.uniform(-1.0, 1.0, arrays[i].shape) for i in row.floating[k]]


@functools.cache
def expected_gradients(row: Row, k: int) -> list[np.ndarray]:
    """Central differences of the reference, for every entry of every floating input."""
    arrays, weights, gradients = row.arrays(k), cotangents(row, k), []
    for i in row.floating[k]:
        gradient = np.empty(arrays[i].shape)
        for place in np.ndindex(gradient.shape):

            def along(t: float, i: int = i, place: tuple = place) -> Any:
                moved = list(arrays)
                moved[i] = arrays[i].copy()
                moved[i][place] += t
                outs = _reference(row, k, moved)
                return sum(
                    np.sum(w * out) for w, out in zip(weights, outs, strict=True)
                )

            gradient[place] = slope(along)
        gradients.append(gradient)
    return gradients


def slope(f: Callable[[float], Any]) -> Any:
    """df/dt at 0 by central differences, with an error of STEP^4."""
    near, far = f(STEP) - f(-STEP), f(2 * STEP) - f(-2 * STEP)
    return (8.0 * near - far) / (12.0 * STEP)


# -- running the op --------------------------------------------------------------------


def raw(value: Any, device: str, dtype: Any = None) -> Any:
    """An array of the backend with the values of a NumPy array; others as they are."""
    if not isinstance(value, np.ndarray):
        return value
    return tg.tensor(value, dtype, device).array


def host(value: Any) -> np.ndarray:
    """A NumPy array of what an op returned."""
    array = value.array if isinstance(value, tg.Tensor) else value
    return np.asarray(backend_of(array).to_host(array))


def prepared(
    row: Row, k: int, device: str, dtypes: Any = None, grad: bool = True
) -> list:
    """The inputs of a case as Tensors, floating ones in `dtypes`, with a gradient."""
    inputs, positions = row.arrays(k), row.floating[k]
    if not isinstance(dtypes, (list, tuple)):
        dtypes = [dtypes or np.float64] * len(positions)
    for i, dtype in zip(positions, dtypes):
        inputs[i] = tg.tensor(inputs[i], dtype, device, grad and row.differentiable)
    return [
        tg.tensor(x, None, device) if isinstance(x, np.ndarray) else x for x in inputs
    ]


def called(row: Row, k: int, inputs: Sequence[Any], device: str) -> list[Any]:
    """The op's results."""
    statics = {}
    for name, value in row.cases[k].statics.items():
        if type(value) is tuple:
            value = tuple(raw(part, device) for part in value)
        value = device if isinstance(value, str) and value == HERE else value
        statics[name] = raw(value, device)
    return listed(row.op(*inputs, **statics))


def gradients(
    row: Row, k: int, inputs: Sequence[Any], weights: Any = None, create_graph=False
) -> list[Any]:
    """The gradients of the inputs that require one, of the weighted outputs."""
    device = _device(inputs)
    outs = called(row, k, inputs, device)
    weights = cotangents(row, k) if weights is None else weights
    weights = [raw(w, device) for w in weights]
    return list(tg.grad(outs, _leaves(inputs), weights, None, create_graph))


def _device(inputs: Sequence[Any]) -> str:
    return next(x.device for x in inputs if isinstance(x, tg.Tensor))


def _leaves(inputs: Sequence[Any]) -> list[Any]:
    return [x for x in inputs if isinstance(x, tg.Tensor) and x.requires_grad]


def moved(row: Row, k: int, t: float, order: int, device: str) -> list[Any]:
    """The inputs, each t along its direction."""
    inputs, along = row.arrays(k), iter(directions(row, k, order))
    for i in row.floating[k]:
        inputs[i] = np.asarray(inputs[i] + t * next(along))
    return [
        tg.tensor(x, None, device, i in row.floating[k])
        if isinstance(x, np.ndarray)
        else x
        for i, x in enumerate(inputs)
    ]


def close(actual: Any, wanted: Any, tolerance: float, what: str) -> None:
    """Equal up to a share of the largest number (or of 1, if that is larger)."""
    actual, wanted = host(actual), np.asarray(wanted)
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, {wanted.shape}"
    if not wanted.size:
        return
    actual = actual.astype(np.float64)
    error = np.abs(actual - wanted)
    limit = tolerance * max(1.0, np.abs(wanted).max())
    if not (error <= limit).all():
        at = np.unravel_index(
            np.nanargmax(np.where(error <= limit, -1, error)), error.shape
        )
        at = tuple(map(int, at))
        raise AssertionError(f"{what} at {at}: {actual[at]}, expected {wanted[at]}")


def epsilon(dtype: Any) -> float:
    """The distance from 1 to the next number."""
    return 2.0**-7 if as_dtype(dtype).name == "bfloat16" else float(np.finfo(dtype).eps)


# -- the checks ------------------------------------------------------------------------


def check_value(row: Row, k: int, device: str, dtype: Any = np.float64) -> None:
    """The value, its dtype and its shape; the reference sees the rounded inputs."""
    inputs = prepared(row, k, device, dtype)
    outs = called(row, k, inputs, device)
    rounded = [host(x) if isinstance(x, tg.Tensor) else x for x in inputs]
    rounded = [
        x.astype(np.float64)
        if isinstance(x, np.ndarray) and is_floating(x.dtype)
        else x
        for x in rounded
    ]
    wanted = _reference(row, k, rounded)
    assert len(outs) == len(wanted)
    for out, want in zip(outs, wanted, strict=True):
        assert isinstance(out, tg.Tensor)
        assert out.device == device or device == "cuda"
        assert out.dtype == result_dtype(row, dtype), f"the dtype is {out.dtype}"
        assert out.shape == want.shape, f"the shape is {out.shape}, not {want.shape}"
        assert out.requires_grad == (row.differentiable and bool(row.floating[k]))
        if not is_floating(out.dtype):
            np.testing.assert_array_equal(host(out), want)
            continue
        got = host(out).astype(np.float64)
        size = np.abs(want)
        size = size if row.scale == "entry" else size.max(initial=1.0)
        limit = row.ulps * epsilon(out.dtype) * size
        wrong = ~((np.abs(got - want) <= limit) | (got == want))
        assert not wrong.any(), f"{got[wrong]}, expected {want[wrong]}"


def result_dtype(row: Row, dtype: Any) -> Any:
    """The dtype of the op's result for inputs of a dtype."""
    dtype = as_dtype(dtype)
    if row.result == "wide":
        return as_dtype("float32") if is_half(dtype) else dtype
    return dtype if row.result == "same" else as_dtype(row.result)


def check_first(row: Row, k: int, device: str) -> None:
    """Every entry of the gradient."""
    found = gradients(row, k, prepared(row, k, device))
    for i, got, want in zip(row.floating[k], found, expected_gradients(row, k)):
        close(got, want, TOLERANCE, f"the gradient of input {i}")


def check_alone(row: Row, k: int, device: str) -> None:
    """Each input alone requires a gradient; the others are tensors, then raw arrays."""
    for place, i in enumerate(row.floating[k]):
        for plain, create_graph in ((False, False), (False, True), (True, False)):
            inputs = prepared(row, k, device, grad=False)
            if plain:
                inputs = [x.array if isinstance(x, tg.Tensor) else x for x in inputs]
            inputs[i] = prepared(row, k, device)[i]
            (got,) = gradients(row, k, inputs, None, create_graph)
            want = expected_gradients(row, k)[place]
            close(got, want, TOLERANCE, f"the gradient of input {i} alone")


def check_recorded(row: Row, k: int, device: str) -> None:
    """With create_graph the formula runs on Tensors: it equals the fused body."""
    plain = gradients(row, k, prepared(row, k, device))
    recorded = gradients(row, k, prepared(row, k, device), create_graph=True)
    for i, got, want in zip(row.floating[k], recorded, plain):
        assert isinstance(got, tg.Tensor)
        close(got, host(want), 1e-13, f"the recorded gradient of input {i}")


def check_twice(row: Row, k: int, device: str) -> None:
    """Another backward through a graph that was kept finds what was saved unchanged."""
    inputs = prepared(row, k, device)
    outs = called(row, k, inputs, device)
    weights = [raw(w, device) for w in cotangents(row, k)]
    found = [
        tg.grad(outs, _leaves(inputs), weights, keep) for keep in (True, True, False)
    ]
    for first, *others in zip(*found, strict=True):
        for other in others:
            close(other, host(first), 0.0, "the gradient of the second backward")


def check_second(row: Row, k: int, device: str) -> None:
    """The gradient of (gradient . v), also with respect to the outputs' gradient."""
    weights = [tg.tensor(w, None, device, True) for w in cotangents(row, k)]
    found = _hessian_products(row, k, prepared(row, k, device), weights)

    def first(t: float) -> list[np.ndarray]:
        inputs = moved(row, k, t, 1, device)
        return list(map(host, gradients(row, k, inputs)))

    def value(t: float) -> list[np.ndarray]:
        return list(map(host, called(row, k, moved(row, k, t, 1, device), device)))

    wanted = [*_slopes(first), *_slopes(value)]
    for i, (got, want) in enumerate(zip(found, wanted, strict=True)):
        close(got, want, TOLERANCE, f"second derivative {i}")


def check_third(row: Row, k: int, device: str) -> None:
    """The gradient of (v' Hessian u)."""
    inputs = prepared(row, k, device)
    wanted_inputs = [inputs[i] for i in row.floating[k]]
    hvp = _hessian_products(row, k, inputs, cotangents(row, k), create_graph=True)
    found = _directional(hvp, wanted_inputs, directions(row, k, 2), device)

    def second(t: float) -> list[np.ndarray]:
        shifted = moved(row, k, t, 2, device)
        return list(map(host, _hessian_products(row, k, shifted, cotangents(row, k))))

    for i, (got, want) in enumerate(zip(found, _slopes(second), strict=True)):
        close(got, want, TOLERANCE, f"third derivative {i}")


def _slopes(f: Callable[[float], list[np.ndarray]]) -> list[np.ndarray]:
    """`slope` of a function that returns several arrays."""
    points = [f(t) for t in (STEP, -STEP, 2 * STEP, -2 * STEP)]
    return [
        (8.0 * (a - b) - (c - d)) / (12.0 * STEP)
        for a, b, c, d in zip(*points, strict=True)
    ]


def _hessian_products(
    row: Row, k: int, inputs: list[Any], weights: list[Any], create_graph: bool = False
) -> list[Any]:
    device = _device(inputs)
    first = gradients(row, k, inputs, weights, create_graph=True)
    by = [inputs[i] for i in row.floating[k]]
    by += [w for w in weights if isinstance(w, tg.Tensor)]
    return _directional(first, by, directions(row, k, 1), device, create_graph)


def _directional(values, by, along, device, create_graph=False) -> list[Any]:
    """The gradient of sum(value . direction); zeros where nothing depends."""
    pairs = [(x, raw(v, device)) for x, v in zip(values, along, strict=True)]
    pairs = [(x, v) for x, v in pairs if x.requires_grad]
    if not pairs:
        return [tg.zeros_like(x) for x in by]
    outs, seeds = zip(*pairs, strict=True)
    found = tg.grad(outs, by, seeds, None, create_graph, allow_unused=True)
    return [
        tg.zeros_like(x) if g is None else g for x, g in zip(by, found, strict=True)
    ]


def check_dtypes(row: Row, k: int, device: str, dtypes: Any) -> None:
    """The gradients have their inputs' dtypes and shapes, recorded or not."""
    for create_graph in (False, True):
        inputs = prepared(row, k, device, dtypes)
        outs = called(row, k, inputs, device)
        weights = [w.astype(o.dtype) for w, o in zip(cotangents(row, k), outs)]
        found = gradients(row, k, inputs, weights, create_graph)
        coarsest = max(epsilon(inputs[i].dtype) for i in row.floating[k])
        for i, got, want in zip(row.floating[k], found, expected_gradients(row, k)):
            assert got.dtype == inputs[i].dtype, f"gradient of input {i} is {got.dtype}"
            close(got, want, row.slack * coarsest, f"the gradient of input {i}")


def check_computed_in_float32(row: Row, k: int, device: str) -> None:
    """Gradients of float16 inputs are rounded once, at the end: they are within 3/4 of
    an epsilon (of the largest entry) of the float64 ones, recorded or not. If one of
    the inputs is float32, its gradient has that precision."""
    positions = row.floating[k]
    for wide in (None, *positions):
        dtypes = [np.float32 if i == wide else np.float16 for i in positions]
        inputs, exact = (prepared(row, k, device, dtypes) for _ in range(2))
        for i in positions:
            exact[i] = tg.tensor(host(exact[i].detach()), np.float64, device, True)
        wanted = list(map(host, gradients(row, k, exact)))
        for create_graph in (False, True):
            found = gradients(row, k, inputs, None, create_graph)
            for i, got, want in zip(positions, found, wanted, strict=True):
                if wide is None or i == wide:
                    share = 0.75 if wide is None else 8.0
                    error = np.abs(host(got).astype(np.float64) - want)
                    limit = share * epsilon(got.dtype) * np.abs(want).max(initial=0.0)
                    assert (error <= limit).all(), f"input {i}: {got}, expected {want}"


def check_layouts(row: Row, k: int, device: str) -> None:
    """Transposed, strided and reversed inputs and gradients change nothing."""
    for arrange in (transposed, strided, reversed_):
        inputs = prepared(row, k, device)
        for i in row.floating[k]:
            array = arrange(inputs[i].array)
            inputs[i] = tg.asarray(array, requires_grad=row.differentiable)
        for got, want in zip(called(row, k, inputs, device), expected(row, k)):
            close(got, want, 1e-13, f"the value of {arrange.__name__} inputs")
        if row.differentiable:
            weights = [arrange(raw(w, device)) for w in cotangents(row, k)]
            found = gradients(row, k, inputs, weights)
            for i, got, want in zip(row.floating[k], found, expected_gradients(row, k)):
                what = f"the gradient of {arrange.__name__} input {i}"
                close(got, want, TOLERANCE, what)


def transposed(array: Any) -> Any:
    return array.T.copy().T


def strided(array: Any) -> Any:
    """Every second element along each axis of something larger."""
    xp = backend_of(array).xp
    if not array.ndim:
        return array
    large = xp.full([2 * n for n in array.shape], xp.asarray(7, array.dtype))
    part = large[tuple(slice(None, None, 2) for _ in array.shape)]
    part[...] = array
    return part


def reversed_(array: Any) -> Any:
    back = tuple(slice(None, None, -1) for _ in array.shape)
    return array[back].copy()[back]


def check_broadcast(row: Row, k: int, device: str) -> None:
    """Inputs that NumPy made with broadcast_to (strides of 0) are as good as copies."""
    results = []
    for copies in (True, False):
        inputs = prepared(row, k, device)
        for i in row.floating[k]:
            array, xp = inputs[i].array, backend_of(inputs[i].array).xp
            if array.ndim and array.size:
                array = xp.broadcast_to(array[:1], array.shape)
            array = array.copy() if copies else array
            inputs[i] = tg.asarray(array, requires_grad=row.differentiable)
        results.append(list(map(host, called(row, k, inputs, device))))
        if row.differentiable:
            results[-1] += map(host, gradients(row, k, inputs))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def check_plain(row: Row, k: int, device: str) -> None:
    """Arrays in, arrays out, of the same values; and nothing is recorded."""
    inputs = prepared(row, k, device)
    wanted = called(row, k, inputs, device)
    arrays = [x.array if isinstance(x, tg.Tensor) else x for x in inputs]
    seen = Seen()
    with graph.observing(seen):
        outs = called(row, k, arrays, device)
    assert not seen.ops, f"recorded {seen.ops}"
    kinds = tuple(type(x) for x in arrays if hasattr(x, "shape"))
    for out, want in zip(outs, wanted, strict=True):
        assert isinstance(out, (*kinds, np.generic)), f"a {type(out).__name__} came out"
        assert out.dtype == want.dtype
        np.testing.assert_array_equal(host(out), host(want))


class Seen:
    """An observer that keeps which primitives ran on Tensors, by identity."""

    def __init__(self) -> None:
        self.ops: list[Any] = []

    def forward(self, op: Any, inputs: Any, result: Any, statics: Any) -> None:
        if op not in self.ops:
            self.ops.append(op)

    def before(self, node: Any) -> None:
        pass

    def backward(self, node: Any, rule: Any, g: Any, results: Any) -> None:
        pass


def primitives_of(row: Row, device: str) -> list[Any]:
    """The primitives that a row reaches, forward and in gradients that are recorded."""
    seen = Seen()
    with graph.observing(seen):
        for k in range(len(row.cases)):
            inputs = prepared(row, k, device)
            if row.differentiable and row.floating[k]:
                gradients(row, k, inputs, create_graph=True)
            else:
                called(row, k, inputs, device)
    return seen.ops


def check_kink(kink: Kink, device: str) -> None:
    """The convention of the first derivative, recorded or not, and of the second."""
    for create_graph in (False, True):
        inputs = [tg.tensor(np.array(x), None, device, True) for x in kink.inputs]
        out = kink.op(*inputs)
        weights = np.ones(out.shape) if kink.weights is None else np.array(kink.weights)
        found = tg.grad(out, inputs, raw(2.0 * weights, device), None, create_graph)
        for got, want in zip(found, kink.gradients, strict=True):
            same(got, 2.0 * np.array(want, float), "the gradient")
    if kink.second is not None:
        along = [np.arange(1.0, x.size + 1).reshape(x.shape) for x in inputs]
        for got, v in zip(_directional(found, inputs, along, device), along):
            same(got, 2.0 * kink.second * v, "the second derivative")


def same(actual: Any, wanted: np.ndarray, what: str) -> None:
    """Equal to all digits but two, also where tiny; nan equals nan."""
    actual = host(actual)
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, {wanted.shape}"
    np.testing.assert_allclose(actual, wanted, rtol=1e-14, atol=0, err_msg=what)


def check_read_only(row: Row, k: int) -> None:
    """No op writes to its inputs; in `rules_given_read_only`, no rule to anything."""
    for create_graph in (False, True):
        inputs = prepared(row, k, "cpu")
        arrays = [x.array for x in inputs if isinstance(x, tg.Tensor)]
        before = [x.copy() for x in arrays]
        for x in arrays:
            x.flags.writeable = False
        gradients(row, k, inputs, create_graph=create_graph)
        for old, new in zip(before, arrays, strict=True):
            np.testing.assert_array_equal(old, new)


@contextmanager
def rules_given_read_only() -> Iterator[None]:
    """No rule can write to its g or to a saved array while it runs.

    But for the residuals: a fused body may scale those of a node that dies.
    """
    tables = [(op, t) for op in PRIMITIVES for t in (op.formulas, op.fused_bodies)]
    before = [dict(table) for _, table in tables]
    for op, table in tables:
        op.plans.clear()
        table.update({key: _guarded(rule, op) for key, rule in table.items()})
    try:
        yield
    finally:
        for (op, table), rules in zip(tables, before, strict=True):
            table.update(rules)
            op.plans.clear()


def _guarded(rule: Callable, op: Any) -> Callable:
    names = tuple(inspect.signature(rule).parameters)

    @functools.wraps(rule)  # so that its parameters' names can still be read
    def guarded(*args: Any) -> Any:
        flags = []
        for name, value in zip(names, args, strict=True):
            array = getattr(value, "array", value)
            if isinstance(array, np.ndarray) and name not in op.residuals:
                flags.append((array.flags, array.flags.writeable))
                array.flags.writeable = False
        try:
            return rule(*args)
        finally:
            for flag, value in flags:
                flag.writeable = value

    return guarded
