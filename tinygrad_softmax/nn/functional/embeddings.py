"""Rows of a table by number, and numbers as rows."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends import backend_of, check_devices, there
from ...creation import asarray

__all__ = ["embedding", "one_hot"]


def embedding(
    input: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    """The rows of `weight` at the indices `input`.

    Gradients are dense, of weight's shape; `sparse=True` is refused.

    Args:
        input: integers, any shape.
        weight: shape (rows, width).
        padding_idx: a row that gets no gradient; negative ones count from the end.
        max_norm: rows that are used and whose norm is larger are first scaled down to
            it, in place and without a graph.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it is used here.

    Returns:
        Shape (*input.shape, width).

    Raises:
        IndexError: an index is not in [0, rows). On a GPU that is raised when a value
            is next read; until then the rows of wrong indices are nan.
        TypeError, ValueError: indices that are no integers, a weight that is no matrix,
            or a padding_idx out of range.

    >>> weight = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> embedding(tg.tensor([1, 1, 0]), weight)
    tensor([[3., 4.],
            [3., 4.],
            [1., 2.]])
    """
    if sparse:
        raise ValueError("embedding: gradients here are dense; mend: sparse=False")
    padding = _check(input, weight, padding_idx)
    index = getattr(input, "array", input)
    table = getattr(weight, "array", weight)
    backend = backend_of(table)
    bad = backend.check_labels(index, len(table), None, embedding_error)
    with there(table):
        if bad is not None:  # a GPU reports it later; until then these rows are nan
            index = backend.xp.where(bad, index.dtype.type(0), index)
        if max_norm is not None:
            _limit_norms(table, index, max_norm, norm_type)
        skipped = None if padding is None else (index == padding)[..., None]
        scale = None
        if scale_grad_by_freq:
            counts = backend.xp.zeros(len(table), table.dtype)
            one = backend.xp.ones(index.shape, table.dtype)
            backend.scatter_add(counts, index, one)
            scale = (1.0 / counts[index])[..., None]
    rows = ops.take(weight, index, axis=0)
    values = rows.detach() if hasattr(rows, "detach") else rows
    if scale is not None:  # the same values; their gradient passes through the scale
        rows = values + (rows - values) * scale
    if skipped is not None:
        rows = ops.where(skipped, values, rows)
    if bad is not None:
        rows = ops.where(bad[..., None], float("nan"), rows)
    return rows


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """1 in the place that a class label names, 0 elsewhere; int64.

    Args:
        tensor: labels, integers of any shape.
        num_classes: how many there are; -1 takes the largest label plus 1, which waits
            for a GPU.

    Returns:
        Shape (*tensor.shape, num_classes).

    Raises:
        IndexError: a label is not in [0, num_classes). On a GPU that is raised when a
            value is next read; until then such rows are 0.
        TypeError, ValueError: labels that are no integers, or no labels and no number
            of classes.

    >>> one_hot(tg.tensor([1, 0]), 3)
    tensor([[0, 1, 0],
            [1, 0, 0]])
    """
    labels = asarray(tensor).array
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: the labels are {labels.dtype}; expected integers")
    if num_classes == -1:
        if not labels.size:
            raise ValueError("one_hot: there are no labels; mend: give num_classes")
        with there(labels):
            num_classes = int(labels.max()) + 1
    if num_classes < 1:
        raise ValueError(
            f"one_hot: num_classes was given as {num_classes}; expected 1 or more, or "
            "-1 for as many as the labels have"
        )
    backend = backend_of(labels)
    backend.check_labels(labels, num_classes, None, one_hot_error)
    with there(labels):
        hot = labels[..., None] == backend.xp.arange(num_classes)
        return asarray(hot.astype("int64"))


def embedding_error(
    position: tuple[int, ...], value: int, rows: int, ignored: None
) -> IndexError:
    """The error for an index out of range: names its position, value and the range."""
    return IndexError(
        f"embedding: the index at {_place(position)} is {value}, but with {rows} rows "
        f"an index must be in 0..{rows - 1}"
    )


def one_hot_error(
    position: tuple[int, ...], value: int, classes: int, ignored: None
) -> IndexError:
    """The error for a label out of range: names its position, value and the range."""
    return IndexError(
        f"one_hot: the label at {_place(position)} is {value}, but with {classes} "
        f"classes a label must be in 0..{classes - 1}"
    )


def _place(position: tuple[int, ...]) -> str:
    return f"position {position[0] if len(position) == 1 else position}"


def _check(input: Any, weight: Any, padding_idx: int | None) -> int | None:
    """The padding row counted from 0, after the checks."""
    kind = getattr(getattr(input, "dtype", None), "kind", None)
    if kind is None or kind not in "iu":
        found = getattr(input, "dtype", type(input).__name__)
        raise TypeError(
            f"embedding: the indices are {found}; expected an integer tensor or array"
        )
    if weight.ndim != 2:
        raise ValueError(
            f"embedding: weight has shape {tuple(weight.shape)}; expected (rows, width)"
        )
    table, index = (getattr(each, "array", each) for each in (weight, input))
    check_devices("embedding", table, index, ("weight", "the indices"))
    rows = weight.shape[0]
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(
            f"embedding: padding_idx={padding_idx} is none of the {rows} rows"
        )
    return padding_idx % rows


def _limit_norms(table: Any, index: Any, max_norm: float, norm_type: float) -> None:
    """Scale the rows at `index` down to `max_norm`, in place.

    A row that is named twice is written twice, with the same values.
    """
    rows = table[index]
    norms = ops.norm(rows, ord=norm_type, axis=-1, keepdims=True)
    xp = backend_of(table).xp
    scale = xp.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    table[index] = (rows * scale).astype(table.dtype)
