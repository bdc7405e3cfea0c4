"""Hypothesis strategies: inputs for property tests of ops, the library's and your own.

    from hypothesis import given
    from tinygrad_softmax.testing import check_grads, strategies as st

    @given(st.tensors(low=0.5, high=4.0))
    def test_my_op(x):
        check_grads(my_op, x)

What is drawn lies in the domain that was asked for by construction: nothing is
filtered. Numbers are multiples of a power of 2, further apart than the step of
`check_grads`: a counterexample is short to read, and elements are equal or well apart.

Importing this module needs Hypothesis; nothing else in the library does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, frexp, log2
from typing import Any

import numpy as np

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(
        "tinygrad_softmax.testing.strategies needs Hypothesis, which is not installed; "
        'mend: pip install "tinygrad-softmax[test]"'
    ) from error

from ..backends.dtypes import as_dtype, is_floating
from ..creation import asarray
from ..ops import softmax_cross_entropy
from ..tensor import Tensor
from .differences import PRECISIONS

__all__ = [
    "SoftmaxProblem",
    "arrays",
    "broadcastable",
    "shapes",
    "softmax_problems",
    "tensors",
]

LAYOUTS = ("C", "F", "strided", "reversed")
LABEL_DTYPES = (
    "int64",
    "int8",
    "int16",
    "int32",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
Shape = tuple[int, ...]


def shapes(
    min_ndim: int = 0, max_ndim: int = 3, min_side: int = 1, max_side: int = 4
) -> st.SearchStrategy[Shape]:
    """Shapes of arrays. `min_side=0` also draws those of empty ones.

    >>> from hypothesis import given
    >>> @given(shapes(max_ndim=2))
    ... def check(shape):
    ...     assert len(shape) <= 2
    >>> check()
    """
    return hnp.array_shapes(
        min_dims=min_ndim, max_dims=max_ndim, min_side=min_side, max_side=max_side
    )


def arrays(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: Any = "float64",
    *,
    low: float = -2.0,
    high: float = 2.0,
    unique: bool = False,
    layouts: Sequence[str] = LAYOUTS,
) -> st.SearchStrategy[np.ndarray]:
    """NumPy arrays with elements in [low, high].

    shape: a shape or a strategy for one; by default `shapes()`.
    dtype: a floating or integer dtype, its name, or a strategy for one.
    low, high: the domain: low=0.5 keeps off the pole of log, for instance.
    unique: all elements differ, as a test of `max` or `sort` may need.
    layouts: how elements may lie in memory: "C", "F" (columns first), "strided" (every
        other one of a larger array), "reversed" (negative strides).

    Raises ValueError for a domain that holds no number of the dtype.

    >>> from hypothesis import given
    >>> @given(arrays(shape=(2, 3), dtype="float32", low=0.5, high=4.0))
    ... def check(x):
    ...     assert x.shape == (2, 3) and x.min() >= 0.5 and x.max() <= 4.0
    >>> check()
    """
    shape = shapes() if shape is None else shape
    return _arrays(shape, dtype, low, high, unique, tuple(layouts))


@st.composite
def _arrays(draw, shape, dtype, low, high, unique, layouts) -> np.ndarray:
    shape, dtype = _drawn(draw, shape), as_dtype(_drawn(draw, dtype))
    unit = _unit(dtype, low, high)
    first, last = ceil(low / unit), floor(high / unit)
    if first > last:
        raise ValueError(f"arrays: there is no {dtype} from {low} to {high}")
    multiples = draw(_integers(shape, first, last, unique))
    return _laid_out((multiples * unit).astype(dtype), draw(_one_of(layouts)))


# Strategies that are made again and again: what Hypothesis finds out about one is kept.


@lru_cache(1000)
def _integers(
    shape: Shape, first: int, last: int, unique: bool = False
) -> st.SearchStrategy[np.ndarray]:
    elements = st.integers(first, last)
    return hnp.arrays(np.int64, shape, elements=elements, unique=unique)


@lru_cache(1000)
def _one_of(choices: tuple) -> st.SearchStrategy[Any]:
    return st.sampled_from(choices)


def _drawn(draw: Any, value: Any) -> Any:
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _unit(dtype: np.dtype, low: float, high: float) -> float:
    """A power of 2 whose multiples up to `high` are exact: 1 for integers, else about
    a 512th of the range."""
    if not is_floating(dtype):
        return 1.0
    spacing = PRECISIONS[dtype.name].spacing * 2.0 ** frexp(max(-low, high))[1]
    return max(2.0 ** floor(log2((high - low) / 512)) if high > low else 0.0, spacing)


def _laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    if layout == "F":
        return np.asfortranarray(array) if array.ndim else array
    if layout == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "reversed" and array.ndim:
        return np.flip(np.flip(array).copy())
    return array


def tensors(
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    dtype: Any = "float64",
    *,
    device: str | None = None,
    requires_grad: bool = False,
    **domain: Any,
) -> st.SearchStrategy[Tensor]:
    """Tensors with elements in a domain: `arrays`, with its options, on a device.

    >>> from hypothesis import given
    >>> @given(tensors(low=1.0, high=2.0, requires_grad=True))
    ... def check(x):
    ...     assert x.requires_grad
    ...     assert (tg.log(x) >= 0).all()
    >>> check()
    """

    def placed(array: np.ndarray) -> Tensor:
        return asarray(array, device=device, requires_grad=requires_grad)

    return arrays(shape, dtype, **domain).map(placed)


def broadcastable(
    count: int = 2,
    dtype: Any = "float64",
    *,
    max_ndim: int = 3,
    min_side: int = 1,
    max_side: int = 4,
    **domain: Any,
) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
    """Tuples of `count` arrays whose shapes broadcast together; options as in `arrays`.

    >>> from hypothesis import given
    >>> @given(broadcastable(3))
    ... def check(xs):
    ...     a, b, c = xs
    ...     assert (a + b + c).shape == np.broadcast_shapes(a.shape, b.shape, c.shape)
    >>> check()
    """
    fitting = hnp.mutually_broadcastable_shapes(
        num_shapes=count, max_dims=max_ndim, min_side=min_side, max_side=max_side
    )

    def filled(found: Any) -> st.SearchStrategy[tuple[np.ndarray, ...]]:
        return st.tuples(*(arrays(s, dtype, **domain) for s in found.input_shapes))

    return fitting.flatmap(filled)


# -- softmax problems --------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SoftmaxProblem:
    """Logits, a target and the options of `softmax_cross_entropy`, as NumPy arrays.

    >>> problem = SoftmaxProblem(np.array([5.0, 2.0, -1.0, 3.0]), np.array(1))
    >>> round(problem.loss(problem.logits).item(), 4)
    3.1719
    """

    logits: np.ndarray
    target: np.ndarray
    axis: int = -1
    reduction: str = "mean"
    weight: np.ndarray | None = None
    ignore_index: int | None = None
    label_smoothing: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `softmax_cross_entropy`."""
        return {
            "axis": self.axis,
            "reduction": self.reduction,
            "weight": self.weight,
            "ignore_index": self.ignore_index,
            "label_smoothing": self.label_smoothing,
        }

    @property
    def has_labels(self) -> bool:
        """Whether the target holds class labels, and not rows of values."""
        return self.target.dtype.kind in "iu"

    def loss(self, logits: Any, target: Any = None) -> Tensor:
        """`softmax_cross_entropy` of other logits (and target), on their device."""
        logits, options = asarray(logits), self.options
        target = asarray(self.target if target is None else target)
        if self.weight is not None:
            options["weight"] = asarray(self.weight, device=logits.device)
        return softmax_cross_entropy(logits, target.to(logits.device), **options)


def softmax_problems(
    *,
    dtypes: Sequence[str] = ("float64", "float32", "float16"),
    targets: Sequence[str] = ("labels", "probabilities", "values"),
    reductions: Sequence[str] = ("mean", "sum", "none"),
    max_ndim: int = 4,
    max_side: int = 3,
    max_classes: int = 5,
    extreme: bool = True,
    infinite: bool = False,
    degenerate: bool = False,
) -> st.SearchStrategy[SoftmaxProblem]:
    """Problems for the softmax cross-entropy, or for a loss of your own like it.

    dtypes: of the logits.
    targets: "labels" (of any integer dtype), "probabilities" (rows that sum to 1, but
        for rounding) and "values" (any real numbers). Labels may have an ignore_index,
        inside or outside the range of classes; all may have weights and smoothing.
    max_ndim, max_side, max_classes: bounds of the logits' shape, classes on any axis.
    extreme: also rows whose logits are hundreds apart, or all near 1e8 (float16: 1e3).
    infinite: also logits of -inf, where the target is 0: the loss is finite.
    degenerate: also means over nothing: no rows, all rows ignored, weights of 0.

    >>> from hypothesis import given
    >>> @given(softmax_problems(targets=["labels"], reductions=["none"]))
    ... def check(problem):
    ...     losses = problem.loss(problem.logits).numpy()
    ...     assert losses.shape == problem.target.shape and np.isfinite(losses).all()
    >>> check()
    """
    return _softmax_problems(
        tuple(dtypes),
        tuple(targets),
        tuple(reductions),
        shapes(1, max_ndim, 0 if degenerate else 1, max_side),
        max_classes,
        extreme,
        infinite,
        degenerate,
    )


@st.composite
def _softmax_problems(
    draw, dtypes, targets, reductions, shape, max_classes, extreme, infinite, degenerate
) -> SoftmaxProblem:
    dtype = as_dtype(draw(_one_of(dtypes)))
    rows, classes = draw(shape)[:-1], draw(st.integers(1, max_classes))
    place = draw(_one_of(tuple(range(len(rows) + 1))))
    kind, ignore_index = draw(_one_of(targets)), None
    if kind == "labels":
        target, ignore_index, harmless = _labels(draw, rows, classes, degenerate)
    else:
        target = _target_rows(draw, (*rows, classes), kind, dtype)
        harmless, target = target == 0, np.moveaxis(target, -1, place)
    logits = _logits(draw, (*rows, classes), dtype, extreme)
    smoothing = draw(_one_of((0.0, 0.0, 0.125, 0.5, 1.0)))
    if infinite and draw(st.booleans()):
        chosen = draw(_integers(logits.shape, 0, 1)).astype(bool) & harmless
        chosen &= ~chosen.all(axis=-1, keepdims=True)
        logits, smoothing = np.where(chosen, dtype.type(-np.inf), logits), 0.0
    weight = None
    if draw(st.booleans()):
        weight = draw(_integers((classes,), 0 if degenerate else 1, 8)) / 4
    return SoftmaxProblem(
        logits=_laid_out(np.moveaxis(logits, -1, place), draw(_one_of(LAYOUTS))),
        target=_laid_out(target, draw(_one_of(LAYOUTS))),
        axis=place - draw(_one_of((0, len(rows) + 1))),
        reduction=draw(_one_of(reductions)),
        weight=weight,
        ignore_index=ignore_index,
        label_smoothing=smoothing,
    )


def _labels(
    draw: Any, rows: Shape, classes: int, degenerate: bool
) -> tuple[np.ndarray, int | None, np.ndarray]:
    """(Labels, ignore_index, where a logit of -inf does no harm)."""
    dtype = np.dtype(draw(_one_of(LABEL_DTYPES)))
    inside = tuple(range(classes)) if classes > 1 else ()
    outside = -100 if dtype.kind == "i" else 100
    ignore_index = draw(_one_of((None, outside, *inside)))
    legal = [label for label in range(classes) if label != ignore_index]
    labels = np.array(legal, dtype)[draw(_integers(rows, 0, len(legal) - 1))]
    harmless = labels[..., None] != np.arange(classes, dtype=dtype)
    if ignore_index is not None:
        ignored = draw(_integers(rows, 0, 1)).astype(bool)
        if not degenerate:  # keep one row
            ignored.flat[draw(_one_of(tuple(range(ignored.size))))] = False
        labels = np.where(ignored, dtype.type(ignore_index), labels)
        harmless |= ignored[..., None]
    return np.asarray(labels), ignore_index, harmless


def _target_rows(draw: Any, shape: Shape, kind: str, dtype: np.dtype) -> np.ndarray:
    """Target values with the classes last: rows that sum to 1, or any numbers."""
    dtype = as_dtype(draw(_one_of((dtype.name, "float64", "float32"))))
    if kind == "values":
        return (draw(_integers(shape, -64, 64)) / 32).astype(dtype)
    if kind != "probabilities":
        raise ValueError(
            f"softmax_problems: targets holds {kind!r}; expected 'labels', "
            "'probabilities' or 'values'"
        )
    counts = draw(_integers(shape, 0, 8))
    counts[..., draw(_one_of(tuple(range(shape[-1]))))] += 1
    return (counts / counts.sum(axis=-1, keepdims=True)).astype(dtype)


def _logits(draw: Any, shape: Shape, dtype: np.dtype, extreme: bool) -> np.ndarray:
    """Logits with the classes last, each row with a spread and an offset of its own."""
    logits = draw(_integers(shape, -256, 256)) / 128
    if extreme and draw(st.booleans()):
        spread = {"float64": 128.0, "float32": 16.0}.get(dtype.name, 4.0)
        offset = 1e3 if dtype.itemsize == 2 else 1e8
        per_row = (*shape[:-1], 1)
        logits = logits * np.where(draw(_integers(per_row, 0, 1)), spread, 1.0)
        logits += offset * draw(_integers(per_row, -1, 1))
    return logits.astype(dtype)
