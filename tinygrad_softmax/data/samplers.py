"""Samplers: in which order the samples of a dataset are visited.

The names and signatures are those of `torch.utils.data`. A sampler is an iterable of
sample numbers; a batch sampler one of lists of them. Those here draw all their random
numbers in `iter(sampler)`, before the first number is taken. So the order of an epoch
is settled when it begins, and `DataLoader` can repeat it from the generator's state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from ..backends import Generator
from .randomness import checked_generator, next_numbers, permutation

T = TypeVar("T", covariant=True)

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]


class Sampler(Generic[T]):
    """Base of samplers: subclass it and define `__iter__`, and `__len__` if known.

    >>> class Backwards(tg.data.Sampler):
    ...     def __init__(self, data_source):
    ...         self.data_source = data_source
    ...     def __iter__(self):
    ...         return reversed(range(len(self.data_source)))
    >>> list(Backwards("abc"))
    [2, 1, 0]
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError(
            f"{type(self).__name__} has no __iter__; mend: define it, to return an "
            "iterator over sample numbers"
        )


class SequentialSampler(Sampler[int]):
    """The numbers of all samples in order.

    >>> list(tg.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """The numbers of the samples in a new random order for every epoch.

    data_source: the dataset, for its length.
    replacement: draw each number from all of them, so that some repeat.
    num_samples: how many to draw, by default as many as there are samples. More than
        that without replacement: one permutation after the other.
    generator: a `tg.Generator`; None is the default one, of `tg.manual_seed`. An epoch
        takes one draw of it.

    Raises ValueError if `num_samples` (or the dataset's length) is not positive.

    >>> sorted(tg.data.RandomSampler("abcd", generator=tg.Generator(0)))
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        checked_generator("RandomSampler", generator)
        _check_replacement("RandomSampler", replacement)
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples
        if num_samples is None and not len(data_source):
            raise ValueError(
                "RandomSampler: the dataset is empty, so there is nothing to shuffle; "
                "mend: shuffle=False, or a dataset with samples"
            )
        _check_count("RandomSampler", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many numbers an epoch has."""
        if self._num_samples is None:
            return len(self.data_source)
        return self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, wanted = len(self.data_source), self.num_samples
        if not self.replacement and wanted <= n:
            return iter(permutation(n, self.generator)[:wanted].tolist())
        numbers = next_numbers(self.generator)
        if self.replacement:
            return iter(numbers.integers(0, n, wanted).tolist())
        rounds = -(-wanted // n)
        drawn = np.concatenate([numbers.permutation(n) for _ in range(rounds)])
        return iter(drawn[:wanted].tolist())

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given sample numbers in a new random order for every epoch.

    >>> sorted(tg.data.SubsetRandomSampler([5, 8], tg.Generator(0)))
    [5, 8]
    """

    def __init__(
        self, indices: Sequence[int], generator: Generator | None = None
    ) -> None:
        checked_generator("SubsetRandomSampler", generator)
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = permutation(len(self.indices), self.generator)
        return iter([self.indices[i] for i in order.tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Sample numbers drawn with given weights: number i as often as weights[i] says.

    weights: one number >= 0 for each sample; they need not sum to 1.
    num_samples: how many to draw.
    replacement: draw each from all of them; else none is drawn twice.
    generator: a `tg.Generator`; None is the default one.

    Raises ValueError for weights that are negative, not finite, all 0 or not along one
    axis, and for more samples than there are weights above 0 to draw from without
    replacement.

    >>> list(tg.data.WeightedRandomSampler([0.0, 3.0, 0.0], 4))
    [1, 1, 1, 1]
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        checked_generator("WeightedRandomSampler", generator)
        _check_replacement("WeightedRandomSampler", replacement)
        _check_count("WeightedRandomSampler", num_samples)
        given = weights.numpy() if hasattr(weights, "numpy") else weights  # pyright: ignore[reportAttributeAccessIssue]
        self.weights = np.array(given, dtype=np.float64)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator
        self._check_weights()

    def _check_weights(self) -> None:
        w = self.weights
        if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any() or not w.any():
            raise ValueError(
                f"WeightedRandomSampler: weights has shape {w.shape} and values from "
                f"{w.min() if w.size else 'none'} to {w.max() if w.size else 'none'}; "
                "expected finite numbers >= 0 along one axis, and one above 0"
            )
        possible = int(np.count_nonzero(w))
        if not self.replacement and self.num_samples > possible:
            raise ValueError(
                f"WeightedRandomSampler: {self.num_samples} samples were asked for "
                f"without replacement, but only {possible} have a weight above 0"
            )

    def __iter__(self) -> Iterator[int]:
        numbers = next_numbers(self.generator)
        drawn = numbers.choice(
            len(self.weights),
            self.num_samples,
            replace=self.replacement,
            p=self.weights / self.weights.sum(),
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """The numbers of another sampler, in lists of `batch_size`.

    drop_last: leave out a last list that is shorter.

    >>> list(tg.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self, sampler: Iterable[int], batch_size: int, drop_last: bool
    ) -> None:
        if not _is_count(batch_size):
            raise ValueError(
                f"batch_size was given as {batch_size!r}; expected an integer >= 1"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(
                f"drop_last was given as {drop_last!r}; expected True or False"
            )
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        return self._lists(iter(self.sampler))  # the sampler draws now, not later

    def _lists(self, numbers: Iterator[int]) -> Iterator[list[int]]:
        while batch := list(islice(numbers, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        n: Any = len(self.sampler)  # pyright: ignore[reportArgumentType]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_count(name: str, num_samples: Any) -> None:
    if not _is_count(num_samples):
        raise ValueError(
            f"{name}: num_samples was given as {num_samples!r}; expected an integer "
            ">= 1"
        )


def _check_replacement(name: str, replacement: Any) -> None:
    if not isinstance(replacement, bool):
        raise TypeError(
            f"{name}: replacement was given as {replacement!r}; expected True or False"
        )
