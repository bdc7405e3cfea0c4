"""Datasets: what is learnt from, one sample at a time or a batch at once.

The names and signatures are those of `torch.utils.data`. A dataset of the map style has
`__getitem__` and `__len__`; any sequence, such as a list, serves as one. It may also
have `__getitems__(indices)`, which returns the samples of a whole batch: a list of
them, or a `StackedSamples` where all of them are at hand as arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..backends import Generator, backend_of
from ..creation import asarray
from ..tensor import Tensor
from .randomness import permutation

T = TypeVar("T", covariant=True)

__all__ = [
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackedSamples",
    "Subset",
    "TensorDataset",
    "random_split",
    "samples_of",
]


class Dataset(Generic[T]):
    """A dataset of the map style: subclass it and define `__getitem__` and `__len__`.

    `__getitem__(index)` returns the sample number `index`, and raises IndexError where
    there is none. Define `__getitems__(indices)` too where a batch can be had faster
    than sample by sample; `DataLoader` uses it.

    >>> class Squares(tg.data.Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> Squares()[3], len(Squares() + Squares())
    ((3, 9), 8)
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError(
            f"{type(self).__name__} has no __getitem__; mend: define it, to return the "
            "sample of a given number"
        )

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """A dataset that is read from its beginning to its end: define `__iter__`.

    For a stream, a file too large for memory, or samples that are made up as they are
    asked for. It can neither be shuffled nor split by number.

    >>> class Counting(tg.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(5))
    >>> [batch.tolist() for batch in tg.data.DataLoader(Counting(), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(
            f"{type(self).__name__} has no __iter__; mend: define it, to return an "
            "iterator over the samples"
        )


class StackedSamples(Sequence):
    """The samples of a batch, kept as one array for each of their parts.

    columns: tensors or NumPy arrays with one first length, the number of samples.

    It is a sequence of samples, each a tuple with one row of every column. What
    `default_collate` would stack is stacked already, and it takes the columns as they
    are: return one from `__getitems__` for a batch by one index operation an array.

    >>> x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> batch = tg.data.StackedSamples(x, np.arange(2))
    >>> len(batch), batch[1]
    (2, (tensor([3., 4.]), np.int64(1)))
    """

    __slots__ = ("columns",)

    def __init__(self, *columns: Any) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[tuple]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        rows = tuple(column[index] for column in self.columns)
        return StackedSamples(*rows) if isinstance(index, slice) else rows


def samples_of(dataset: Any, indices: Sequence[int]) -> Sequence:
    """The samples of these numbers: by `__getitems__` if the dataset has it.

    A subclass that defines `__getitem__` alone means it: the `__getitems__` that it
    inherits knows nothing of that, and is passed over.
    """
    for each in type(dataset).__mro__:
        if "__getitems__" in vars(each):
            return dataset.__getitems__(indices)
        if "__getitem__" in vars(each):
            break
    return [dataset[index] for index in indices]


def checked_indices(name: str, indices: Sequence[int], length: int) -> np.ndarray:
    """`indices` as int64 in 0..length - 1; negative ones count from the end.

    Checked here, on the host: a GPU wraps an index that is out of range, silently.
    """
    numbers = np.asarray(indices, dtype=np.int64)
    bad = (numbers < -length) | (numbers >= length)
    if bad.any():
        raise IndexError(
            f"{name}: sample {numbers[bad.argmax()]} was asked for, but there are "
            f"{length} samples, 0 to {length - 1}"
        )
    return np.where(numbers < 0, numbers + length, numbers)


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors whose rows are the samples: sample i is `(a[i], b[i], ...)`.

    tensors: tensors or arrays of one first length. An array becomes a tensor as
        `tg.asarray` makes one: on the default device, there sharing its memory.

    A batch is one index operation for each tensor, on the device of that tensor.

    Raises ValueError where the first lengths differ.

    >>> dataset = tg.data.TensorDataset(tg.zeros((3, 2)), np.array([4, 5, 6]))
    >>> len(dataset), dataset[2]
    (3, (tensor([0., 0.]), tensor(6)))
    """

    def __init__(self, *tensors: Any) -> None:
        if not tensors:
            raise ValueError("TensorDataset: no tensors were given; it needs one")
        self.tensors: tuple[Tensor, ...] = tuple(asarray(each) for each in tensors)
        shapes = [tensor.shape for tensor in self.tensors]
        if () in shapes or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                f"TensorDataset: the shapes are {', '.join(map(str, shapes))}; their "
                "first lengths, the number of samples, must be the same"
            )

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __getitems__(self, indices: Sequence[int]) -> StackedSamples:
        rows = checked_indices("TensorDataset", indices, len(self))
        placed: dict[str, Any] = {}  # the row numbers, once on each device
        return StackedSamples(*(_rows(each, rows, placed) for each in self.tensors))


def _rows(tensor: Tensor, rows: np.ndarray, placed: dict[str, Any]) -> Tensor:
    device = tensor.device
    if device not in placed:
        placed[device] = backend_of(tensor.array).asarray(rows, device=device)
    return tensor[placed[device]]


class Subset(Dataset[T]):
    """The samples of a dataset at some numbers, in their order.

    >>> subset = tg.data.Subset(["a", "b", "c", "d"], [3, 1])
    >>> len(subset), subset[0], list(subset)
    (2, 'd', ['d', 'b'])
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> T:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> Sequence:
        return samples_of(self.dataset, [self.indices[i] for i in indices])


class ConcatDataset(Dataset[T]):
    """Several datasets one after the other; `a + b` makes one, too.

    Raises ValueError if there are none, or one of them is an `IterableDataset`.

    >>> both = tg.data.ConcatDataset([["a", "b"], ["c"]])
    >>> len(both), both[2], both[-2], both.cumulative_sizes
    (3, 'c', 'b', [2, 3])
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: no datasets were given; it needs one")
        for position, dataset in enumerate(self.datasets):
            if isinstance(dataset, IterableDataset):
                raise ValueError(
                    f"ConcatDataset: dataset {position} is an IterableDataset, whose "
                    "samples have no numbers; mend: itertools.chain in an __iter__"
                )
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: Any) -> T:
        numbers = checked_indices("ConcatDataset", [index], len(self))
        ((which, within),) = self._places(numbers)
        return self.datasets[which][within]

    def __getitems__(self, indices: Sequence[int]) -> Sequence:
        numbers = checked_indices("ConcatDataset", indices, len(self))
        groups: dict[int, tuple[list[int], list[int]]] = {}
        for place, (which, within) in enumerate(self._places(numbers)):
            places, members = groups.setdefault(which, ([], []))
            places.append(place)
            members.append(within)
        if len(groups) == 1:
            ((which, (_, members)),) = groups.items()
            return samples_of(self.datasets[which], members)
        samples: list[Any] = [None] * len(numbers)
        for which, (places, members) in groups.items():
            found = samples_of(self.datasets[which], members)
            for place, sample in zip(places, found, strict=True):
                samples[place] = sample
        return samples

    def _places(self, numbers: np.ndarray) -> list[tuple[int, int]]:
        """For each sample number the dataset that holds it, and its number there."""
        ends = np.array(self.cumulative_sizes)
        which = np.searchsorted(ends, numbers, side="right")
        begins = np.concatenate([[0], ends])[which]
        return list(zip(which.tolist(), (numbers - begins).tolist()))


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset]:
    """Cut a dataset at random into parts that share no sample.

    lengths: how many samples each part gets; or fractions that sum to 1, each of which
        gets floor(fraction * len(dataset)) and, from the first on, one of those that
        are left over, as in PyTorch.
    generator: a `tg.Generator`; None is the default one, of `tg.manual_seed`.

    Raises ValueError if lengths do not sum to `len(dataset)`, a fraction lies outside
    [0, 1], or a length is negative. An empty part from a fraction warns, as PyTorch's.

    >>> train, valid = tg.data.random_split(range(10), [0.75, 0.25], tg.Generator(1))
    >>> len(train), len(valid), sorted([*train, *valid]) == list(range(10))
    (8, 2, True)
    """
    total = len(dataset)
    sizes = _whole_lengths(lengths, total)
    if any(size < 0 for size in sizes) or sum(sizes) != total:
        raise ValueError(
            f"random_split: lengths was given as {list(lengths)}; expected integers >= "
            f"0 that sum to the length of the dataset, {total}, or fractions that sum "
            "to 1"
        )
    order = permutation(total, generator).tolist()
    ends = np.cumsum(sizes).tolist()
    return [Subset(dataset, order[end - n : end]) for end, n in zip(ends, sizes)]


def _whole_lengths(lengths: Sequence[int | float], total: int) -> list[int]:
    """Lengths as they are, or what fractions that sum to 1 come to."""
    share = sum(lengths)
    if not (share <= 1 and abs(share - 1) <= 1e-9):
        if any(length != int(length) for length in lengths):
            return [-1]
        return [int(length) for length in lengths]
    for position, fraction in enumerate(lengths):
        if not 0 <= fraction <= 1:
            raise ValueError(
                f"random_split: fraction {position} is {fraction}; expected a number "
                "between 0 and 1"
            )
    sizes = [int(total * fraction) for fraction in lengths]
    for i in range(total - sum(sizes)):
        sizes[i % len(sizes)] += 1
    if 0 in sizes:
        import warnings

        warnings.warn(
            f"random_split: part {sizes.index(0)} of {total} samples is empty",
            stacklevel=3,
        )
    return sizes
