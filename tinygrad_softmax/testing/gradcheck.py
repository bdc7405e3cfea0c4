"""`check_grads`: compare gradients with finite differences.

A function is checked order by order. Order 1 compares its gradient with central
differences of its values; order 2 does the same to the gradient function, whose inputs
are those of the function and the gradients given to its outputs; and so on. So what a
rule keeps constant, though it should not, is found at its second derivative.

Everything is deterministic: what is random comes from a fixed seed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, log2
from typing import Any

import numpy as np

from ..autograd import enable_grad, grad
from ..backends import is_number
from ..backends.dtypes import is_floating
from ..creation import asarray, ones_like, zeros_like
from ..tensor import Tensor
from .differences import PRECISIONS, Slope, Steps, Tolerance, slope

SMALL = 24  # up to so many elements, each is checked; above, random directions
DIRECTIONS = 4

# Called with leaves, and with record=True where its result will be differentiated.
Function = Callable[..., tuple[Tensor, ...]]


def check_grads(
    f: Callable[..., Any],
    *inputs: Any,
    order: int = 2,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Compare the gradients of f with central differences in float64.

    f: takes as many tensors as there are inputs, and returns a floating tensor of any
        shape, or a tuple of them. It is called many times and must be deterministic.
        Outputs are multiplied by fixed random numbers and summed.
    inputs: tensors, arrays or numbers, on any device. Of a floating input each element
        is checked or, above 24 of them, random directions; elements that are not finite
        are left out. Other inputs (labels, masks) are handed to f as they are.
    order: up to which order. 1 is the gradient, both as `backward` computes it and with
        create_graph=True; 2 is the gradient of the gradient; and so on.
    rtol, atol: two numbers may differ by `rtol * (the larger one) + atol`. By default
        by the coarsest dtype of inputs and outputs: 1e-6 and 1e-8 for float64, 1e-3 and
        1e-4 for float32, 2e-2 and 1e-2 for float16, 1e-1 and 5e-2 for bfloat16; and the
        atol is multiplied by the largest value of f where that is above 1.
    eps: the step, rounded to a power of 2. By default about the fifth root of the
        spacing of f's dtype (2**-10 for float64), and less where the differences have
        not converged.
    names: names of the inputs for messages; by default those of f's parameters.

    The differences are those of f at the inputs' values in float64: a float32 input is
    compared with more digits than its own gradient has. f must be smooth within a step
    of the inputs: at a kink there is no derivative to compare with.

    Raises AssertionError that names f, the input and its position, the index, both
    numbers and the tolerance. Raises TypeError for an input or a result that is no
    tensor, and ValueError for an order below 1.

    Source: L. F. Richardson, "The approximate arithmetical solution by finite
    differences of physical problems", 1911, for the extrapolation to step 0.

    >>> from tinygrad_softmax.testing import check_grads
    >>> check_grads(tg.tanh, tg.tensor([-1.0, 0.5]))
    >>> @tg.primitive
    ... def cube(x):
    ...     return x * x * x
    >>> @cube.vjp("x")
    ... def _(g, x):
    ...     return g * x * x
    >>> check_grads(cube, np.array(2.0))
    Traceback (most recent call last):
    ...
    AssertionError: check_grads(cube), order 1: input 0 (x) at index (): backward
    gives 4 and finite differences give 12; they may differ by 1.208e-05 (rtol 1e-06,
    atol 8e-08)
    """
    if order < 1:
        raise ValueError(f"check_grads: order was given as {order}; expected 1 or more")
    title = getattr(f, "__name__", type(f).__name__)
    tensors = [_fresh(x, position) for position, x in enumerate(inputs)]
    if not any(map(_varies, tensors)):
        raise TypeError(f"check_grads: {title} was given no floating input to vary")
    labels = _labels(f, names, len(tensors))
    function: Function = lambda *xs, record: _listed(f(*xs), title)  # noqa: E731
    spacing = 0.0
    for number in range(1, order + 1):
        outputs = function(*_leaves(tensors), record=False)
        wide = function(*_leaves(map(_wide, tensors)), record=False)
        spacing = max(spacing, *(PRECISIONS[out.dtype.name].spacing for out in wide))
        step = 2.0 ** round(log2(eps) if eps else log2(spacing) / 5)
        cotangents = _cotangents(outputs)
        level = _Level(
            subject=f"check_grads({title}), order {number}",
            function=function,
            gradient=_gradient_of(function, len(tensors)),
            tensors=tensors,
            cotangents=cotangents,
            labels=labels,
            tolerance=_tolerance(tensors, outputs, rtol, atol),
            steps=Steps(step, eps is None, spacing),
        )
        level.check()
        function, tensors = level.gradient, [*tensors, *cotangents]
        labels = [
            *labels,
            *(f"gradient given to output {k}" for k in range(len(outputs))),
        ]


@dataclass
class _Level:
    """The check of one order: `gradient` against differences of `function`."""

    subject: str
    function: Function
    gradient: Function
    tensors: list[Tensor]
    cotangents: list[Tensor]
    labels: list[str]
    tolerance: Tolerance
    steps: Steps

    def check(self) -> None:
        leaves = partial(_leaves, self.tensors)
        seeds = self.cotangents
        plain = self.gradient(*leaves(), *_leaves(seeds), record=False)
        others = {
            "backward with create_graph=True": self.gradient(
                *leaves(), *_leaves(seeds), record=True
            ),
            "backward from -2 times the gradient, times -1/2,": tuple(
                g * -0.5
                for g in self.gradient(
                    *leaves(), *(c * -2.0 for c in seeds), record=False
                )
            ),
        }
        if len(seeds) == 1 and seeds[0].size == 1:  # its gradient is 1: see _cotangents
            others["backward()"] = self.gradient(*leaves(), record=False)
        self.points = [_host(x) if _varies(x) else x for x in self.tensors]
        self.seeds = [_host(c) for c in seeds]
        value = self.phi(self.points)
        if isfinite(value) and not self.tolerance.allows(value, self.phi(self.points)):
            raise AssertionError(
                f"{self.subject}: called twice with the same inputs, the function gave "
                "different values; mend: seed what is random in it at each call"
            )
        positions = [k for k, x in enumerate(self.tensors) if _varies(x)]
        for place, k in enumerate(positions):
            self.compare_with_differences(k, _host(plain[place]))
            for path, gradients in others.items():
                self.compare(k, _host(plain[place]), path, _host(gradients[place]))

    def compare_with_differences(self, k: int, plain: np.ndarray) -> None:
        """Raise for the first wrong element of the gradient of input k."""
        movable = np.flatnonzero(np.isfinite(self.points[k]))
        for direction in _directions(movable, plain.size):
            found = self.failure(k, direction, plain)
            if found is not None:
                raise AssertionError(self.narrowed(k, direction, plain) or found)

    def compare(self, k: int, plain: np.ndarray, path: str, other: np.ndarray) -> None:
        """Raise for the first element where two ways to the gradient disagree."""
        agree = self.tolerance.allows(plain, other)
        for i in np.flatnonzero(~agree)[:1]:
            a, b = float(plain.flat[i]), float(other.flat[i])
            raise AssertionError(
                f"{self.subject}: {self.place(k, [i])}: backward gives {a:.10g} and "
                f"{path} gives {b:.10g}; {self.tolerance.text(a, b)}"
            )

    def failure(self, k: int, direction: np.ndarray, plain: np.ndarray) -> str | None:
        """What is wrong with the gradient of input k along a direction, if anything."""
        moved = np.flatnonzero(direction)
        a = float(plain.ravel()[moved] @ direction[moved])
        b, doubt = self.slope(k, direction)
        if isfinite(b) and self.tolerance.allows(a, b):
            return None
        if not isfinite(b):
            return (
                f"{self.subject}: {self.place(k, moved)}: the function is not finite "
                f"within {self.steps.first:.2g} of it, so there are no differences to "
                "compare with; mend: choose inputs further inside its domain, or eps"
            )
        text = (
            f"{self.subject}: {self.place(k, moved)}: backward gives {a:.10g} and "
            f"finite differences give {b:.10g}; {self.tolerance.text(a, b)}"
        )
        if self.seeds[0].size > 1 or len(self.seeds) > 1:
            text += ", for the sum of the outputs times fixed random numbers"
        if doubt > self.tolerance.size(b, b):
            text += f". The differences are sure only to {doubt:.1g}: is this a kink?"
        return text

    def narrowed(self, k: int, direction: np.ndarray, plain: np.ndarray) -> str | None:
        """The failure at one element, found by halving the direction that failed."""
        moved = np.flatnonzero(direction)
        while len(moved) > 1:
            half = moved[: len(moved) // 2]
            part = np.zeros_like(direction)
            part[half] = direction[half]
            wrong = self.failure(k, part, plain) is not None
            moved = half if wrong else moved[len(half) :]
        single = np.zeros_like(direction)
        single[moved] = 1.0
        return self.failure(k, single, plain)

    def slope(self, k: int, direction: np.ndarray) -> Slope:
        """The derivative along a direction of input k, by differences."""

        def moved_to(point: np.ndarray) -> float:
            return self.phi([*self.points[:k], point, *self.points[k + 1 :]])

        x: Any = self.points[k]
        v = direction.reshape(x.shape)
        return slope(moved_to, x, v, self.steps, self.tolerance)

    def phi(self, points: Sequence[Any]) -> float:
        """The sum of outputs times cotangents in float64, at inputs in float64."""
        tensors = [
            asarray(point, device=x.device) if _varies(x) else x
            for point, x in zip(points, self.tensors, strict=True)
        ]
        with np.errstate(all="ignore"):  # a step may leave the domain
            outputs = self.function(*_leaves(tensors), record=False)
            pairs = zip(outputs, self.seeds, strict=True)
            return float(sum((_host(out) * seed).sum() for out, seed in pairs))

    def place(self, k: int, moved: Any) -> str:
        if len(moved) > 1:
            return f"{self.labels[k]} along a direction"
        index = np.unravel_index(moved[0], self.tensors[k].shape)
        return f"{self.labels[k]} at index {tuple(map(int, index))}"


def _tolerance(
    inputs: Iterable[Tensor],
    outputs: Sequence[Tensor],
    rtol: float | None,
    atol: float | None,
) -> Tolerance:
    floating = [x for x in (*inputs, *outputs) if _varies(x)]
    coarsest = max(PRECISIONS[x.dtype.name] for x in floating)
    sizes = [np.abs(_host(out)) for out in outputs]
    largest = max((x[np.isfinite(x)].max(initial=1.0) for x in sizes), default=1.0)
    return Tolerance(
        coarsest.rtol if rtol is None else rtol,
        coarsest.atol * float(largest) if atol is None else atol,
    )


def _gradient_of(function: Function, count: int) -> Function:
    """The gradient of a function of `count` inputs, as a function of these and of the
    gradients given to its outputs, if any are. It has an output for each floating
    input."""

    def gradient(*args: Tensor, record: bool) -> tuple[Tensor, ...]:
        inputs = [x for x in args[:count] if _varies(x)]
        with enable_grad():
            outputs = function(*args[:count], record=True)
        given = args[count:] or [None] * len(outputs)
        pairs = [
            (out, seed)
            for out, seed in zip(outputs, given, strict=True)
            if out.requires_grad
        ]
        if not pairs:
            return tuple(map(zeros_like, inputs))
        outputs, seeds = zip(*pairs, strict=True)
        found = grad(outputs, inputs, seeds, create_graph=record, allow_unused=True)
        return tuple(
            zeros_like(x) if g is None else g
            for x, g in zip(inputs, found, strict=True)
        )

    return gradient


def _fresh(x: Any, position: int) -> Tensor:
    """The input as a tensor without a graph; strided memory stays as it is."""
    if isinstance(x, float) and not hasattr(x, "dtype"):
        return asarray(np.float64(x))
    if not is_number(x) and not hasattr(x, "dtype"):
        raise TypeError(
            f"check_grads: input {position} is a {type(x).__name__}; expected a "
            "tensor, array or number; mend: tg.tensor(...); options go into a lambda"
        )
    return asarray(x).detach()


def _labels(f: Callable, names: Sequence[str] | None, count: int) -> list[str]:
    """ "input 0 (x)", ... by the names given, else by f's parameters."""
    if names is None:
        try:
            parameters = inspect.signature(f).parameters.values()
        except (TypeError, ValueError):  # some callables have none
            parameters = ()
        kinds = (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        )
        found = [p.name for p in parameters if p.kind in kinds]
        names = (found + [""] * count)[:count]
    if len(names) != count:
        raise ValueError(
            f"check_grads: {len(names)} names for {count} inputs were given"
        )
    return [
        f"input {k}" + (f" ({name})" if name else "") for k, name in enumerate(names)
    ]


def _listed(outputs: Any, title: str) -> tuple[Tensor, ...]:
    listed = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
    for out in listed:
        if not isinstance(out, Tensor) or not _varies(out):
            found = getattr(out, "dtype", type(out).__name__)
            raise TypeError(
                f"check_grads: {title} returned a {found}; it must return a floating "
                "tensor, or a tuple of them"
            )
    return listed


def _varies(x: Tensor) -> bool:
    return is_floating(x.dtype)


def _leaves(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [x.detach().requires_grad_(_varies(x)) for x in tensors]


def _host(x: Tensor) -> np.ndarray:
    return x.detach().numpy().astype(np.float64)


def _wide(x: Tensor) -> Tensor:
    return x.astype("float64") if _varies(x) else x


def _cotangents(outputs: Sequence[Tensor]) -> list[Tensor]:
    """What outputs are multiplied by before they are summed: 1 for a lone number; else
    numbers of size 1/2 to 3/2, exact in every dtype."""
    if len(outputs) == 1 and outputs[0].size == 1:
        return [ones_like(outputs[0])]
    generator, cotangents = np.random.default_rng(0), []
    for out in outputs:
        sizes = generator.integers(64, 192, out.shape) / 128
        signs = generator.choice([-1.0, 1.0], out.shape)
        cotangents.append(asarray(sizes * signs, out.dtype, out.device))
    return cotangents


def _directions(movable: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Each element on its own or, of a large input, some random signs."""
    if size <= SMALL:
        for place in movable:
            direction = np.zeros(size)
            direction[place] = 1.0
            yield direction
        return
    generator = np.random.default_rng(1)
    for _ in range(DIRECTIONS):
        direction = np.zeros(size)
        direction[movable] = generator.choice([-1.0, 1.0], len(movable))
        yield direction
