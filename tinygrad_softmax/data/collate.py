"""From the samples of a batch to tensors with one more axis."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from ..creation import asarray
from ..ops import stack
from ..tensor import Tensor
from .dataset import StackedSamples

__all__ = ["default_collate", "default_convert", "map_tensors"]

EXPECTED = (
    "tensors, NumPy arrays, numbers, strings, and tuples, lists and dicts of them"
)
MEND = "mend: give DataLoader a collate_fn of your own"


def default_collate(batch: Sequence) -> Any:
    """Stack the samples of a batch along a new first axis.

    batch: the samples, all of one structure. They become, as in PyTorch:

    - tensors and NumPy arrays of one shape: a tensor, shape (len(batch), *shape), of
      their dtype;
    - bools: a bool tensor; ints: an int64 one; floats: a float64 one, whatever the
      default dtype is, so that no digit is lost; NumPy's scalars keep their dtype;
    - strings and bytes: the sequence of them, within tuples and lists a tuple;
    - tuples and lists: a list with one entry for each position; named tuples: the same
      named tuple; dicts: the same dict with every key collated.

    A `StackedSamples` is the list of its columns, which are stacked already. What is
    not a tensor yet goes to the default device.

    Raises ValueError, naming the sample, where shapes, lengths or keys differ, and
    TypeError for samples of other types or of different ones.

    >>> tg.data.default_collate([(tg.zeros(2), 0), (tg.ones(2), 1)])
    [tensor([[0., 0.],
            [1., 1.]]), tensor([0, 1])]
    >>> tg.data.default_collate([{"x": 0.5, "name": "a"}, {"x": 1.5, "name": "b"}])
    {'x': tensor([0.5, 1.5], dtype=float64), 'name': ['a', 'b']}
    """
    if not len(batch):
        raise ValueError("default_collate: the batch has no samples; it needs one")
    if isinstance(batch, StackedSamples):
        return [asarray(column) for column in batch.columns]
    return _collated(list(batch), "")


def _collated(batch: Sequence, where: str) -> Any:
    """`where` says which part of the samples this is: "[0]['x']"."""
    first = batch[0]
    for kinds, collate in _COLLATE:
        if isinstance(first, kinds):
            _check_kinds(batch, kinds, where)
            return collate(batch, where)
    raise TypeError(
        f"default_collate: {_part(0, where)} is of type {type(first).__name__}; "
        f"expected {EXPECTED}; {MEND}"
    )


def _tensors(batch: Sequence[Tensor], where: str) -> Tensor:
    _check_shapes(batch, where)
    return stack(batch)


def _arrays(batch: Sequence[np.ndarray], where: str) -> Tensor:
    if batch[0].dtype.kind not in "biufV":
        raise TypeError(
            f"default_collate: {_part(0, where)} is an array of {batch[0].dtype}; "
            f"expected numbers or bools; {MEND}"
        )
    _check_shapes(batch, where)
    return asarray(np.stack(batch))


def _numpy_scalars(batch: Sequence[np.generic], where: str) -> Tensor:
    return asarray(np.array(batch))


def _floats(batch: Sequence[float], where: str) -> Tensor:
    return asarray(np.array(batch, dtype=np.float64))


def _integers(batch: Sequence, where: str) -> Tensor:
    return asarray(batch)


def _strings(batch: Sequence, where: str) -> Sequence:
    return batch


def _mappings(batch: Sequence[Mapping], where: str) -> Any:
    first = batch[0]
    for number, sample in enumerate(batch):
        if sample.keys() != first.keys():
            raise ValueError(
                f"default_collate: {_part(number, where)} has the keys "
                f"{sorted(map(str, sample))}, but {_part(0, where)} has "
                f"{sorted(map(str, first))}; {MEND}"
            )
    collated = {
        key: _collated([sample[key] for sample in batch], f"{where}[{key!r}]")
        for key in first
    }
    if type(first) is dict or not isinstance(first, MutableMapping):
        return collated
    result = copy.copy(first)  # such as a defaultdict, whose factory is kept
    result.update(collated)
    return result


def _sequences(batch: Sequence[Sequence], where: str) -> Any:
    first = batch[0]
    for number, sample in enumerate(batch):
        if len(sample) != len(first):
            raise ValueError(
                f"default_collate: {_part(number, where)} has {len(sample)} entries, "
                f"but {_part(0, where)} has {len(first)}; {MEND}"
            )
    collated = [
        _collated(entries, f"{where}[{position}]")
        for position, entries in enumerate(zip(*batch, strict=True))
    ]
    return type(first)(*collated) if hasattr(first, "_fields") else collated


# The first that fits: a str is a Sequence, and np.float64 is a float.
_COLLATE: tuple[tuple[Any, Callable[[Any, str], Any]], ...] = (
    (Tensor, _tensors),
    (np.ndarray, _arrays),
    ((np.bool_, np.number), _numpy_scalars),
    (float, _floats),
    (int, _integers),
    ((str, bytes), _strings),
    (Mapping, _mappings),
    (Sequence, _sequences),
)


def _check_kinds(batch: Sequence, kinds: Any, where: str) -> None:
    if isinstance(batch[0], (int, float)):
        kinds = (int, float, np.number, np.bool_)  # numbers mix
    for number, sample in enumerate(batch):
        if not isinstance(sample, kinds):
            raise TypeError(
                f"default_collate: {_part(number, where)} is of type "
                f"{type(sample).__name__}, but {_part(0, where)} is of type "
                f"{type(batch[0]).__name__}; {MEND}"
            )


def _check_shapes(batch: Sequence, where: str) -> None:
    shape = batch[0].shape
    for number, sample in enumerate(batch):
        if sample.shape != shape:
            raise ValueError(
                f"default_collate: {_part(number, where)} has shape {sample.shape}, "
                f"but {_part(0, where)} has shape {shape}; mend: give all samples one "
                "shape, or DataLoader a collate_fn that pads them"
            )


def _part(number: int, where: str) -> str:
    return f"sample {number}{where}"


def default_convert(data: Any) -> Any:
    """A single sample with tensors in place of its NumPy arrays and NumPy scalars.

    What `DataLoader` does to samples that it does not batch (`batch_size=None`).
    Python's numbers and strings, and what is not known, stay as they are; tuples become
    lists, as in PyTorch.

    >>> tg.data.default_convert((np.zeros(2), "name", 3))
    [tensor([0., 0.], dtype=float64), 'name', 3]
    """
    if isinstance(data, (np.ndarray, np.bool_, np.number)):
        return asarray(data) if data.dtype.kind in "biufV" else data
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, Sequence):
        return [default_convert(each) for each in data]
    return data


def map_tensors(function: Callable[[Tensor], Any], batch: Any) -> Any:
    """`batch` with `function(tensor)` in place of every tensor in its containers."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, (str, bytes)):
        return batch
    if isinstance(batch, Mapping):
        moved = {key: map_tensors(function, value) for key, value in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return moved
        result = copy.copy(batch)
        result.update(moved)
        return result
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(map_tensors(function, each) for each in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(map_tensors(function, each) for each in batch)
    return batch
