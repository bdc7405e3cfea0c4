"""`tinygrad_softmax.data` against `torch.utils.data`, where both must agree exactly.

Orders that are drawn at random cannot agree; how many numbers they hold does.
"""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.utils.data as theirs
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import data as ours


class Point(NamedTuple):
    x: Any
    y: Any


def plain(batch: Any) -> Any:
    """A batch as lists, with the dtype of each tensor: equal iff the batches are."""
    if isinstance(batch, torch.Tensor):
        return ("tensor", str(batch.dtype).removeprefix("torch."), batch.tolist())
    if isinstance(batch, tg.Tensor):
        return ("tensor", batch.dtype.name, batch.tolist())
    if isinstance(batch, dict):
        return (type(batch).__name__, {k: plain(v) for k, v in batch.items()})
    if isinstance(batch, (list, tuple)):
        return (type(batch).__name__, [plain(each) for each in batch])
    return (type(batch).__name__, batch)


SAMPLES = {
    "floats": [0.1, 0.2],
    "ints": [1, -2],
    "bools": [True, False],
    "ints and floats": [1, 2.5],
    "floats and ints": [2.5, 1],
    "float32 scalars": [np.float32(0.1), np.float32(0.2)],
    "float64 scalars": [np.float64(0.1), np.float64(0.2)],
    "int8 scalars": [np.int8(1), np.int8(2)],
    "bool scalars": [np.bool_(True), np.bool_(False)],
    "arrays": [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)],
    "0-d arrays": [np.array(1.5), np.array(2.5)],
    "text": ["a", "b"],
    "bytes": [b"a", b"b"],
    "tuples": [(1, "a"), (2, "b")],
    "lists": [[1, 0.5], [2, 1.5]],
    "named tuples": [Point(1, [np.ones(2)]), Point(2, [np.zeros(2)])],
    "dicts": [{"x": 1, "y": (2.0,)}, {"y": (3.0,), "x": 4}],
    "ordered dicts": [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "deep": [{"a": [({"b": 1}, "s")]}, {"a": [({"b": 2}, "t")]}],
    "empty tuples": [(), ()],
}


@pytest.mark.parametrize("case", SAMPLES)
def test_default_collate(case):
    samples = SAMPLES[case]
    expected = plain(theirs.default_collate(samples))
    assert plain(ours.default_collate(samples)) == expected


@pytest.mark.parametrize("case", [c for c in SAMPLES if "ordered" not in c])
def test_default_convert(case):
    for sample in SAMPLES[case]:
        expected = plain(theirs.default_convert(sample))
        assert plain(ours.default_convert(sample)) == expected


def test_both_refuse_the_same_batches():
    refused = [
        [np.ones(2), np.ones(3)],
        [[1, 2], [1]],
        [None, None],
        [np.array(["a"]), np.array(["b"])],
        [{"a": 1}, {"b": 1}],
        [1j, 2j],
        [(1, "a"), ("a", 1)],
    ]
    for samples in refused:
        for collate in (theirs.default_collate, ours.default_collate):
            with pytest.raises((TypeError, ValueError, RuntimeError, KeyError)):
                collate(samples)


lengths_or_fractions = st.lists(st.integers(0, 12), max_size=4) | st.lists(
    st.sampled_from([0.0, 0.1, 0.125, 0.2, 0.25, 0.3, 0.5, 0.7, 0.9, 1.0]),
    min_size=1,
    max_size=4,
)


@given(n=st.integers(0, 40), lengths=lengths_or_fractions)
def test_random_split(n, lengths):
    def split(module):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            try:
                parts = module.random_split(range(n), lengths)
            except ValueError:
                return "refused", bool(seen)
        return [len(part) for part in parts], bool(seen)

    try:
        expected = split(theirs)
    except TypeError:  # floats that sum to n: PyTorch takes them for counts, and fails
        mine = split(ours)[0]
        assert mine == "refused" or sum(mine) == n
        return
    # PyTorch warns of every empty part, and then may refuse the lengths.
    assert split(ours)[0] == expected[0]
    if expected[0] != "refused":
        assert split(ours)[1] == expected[1]


@given(n=st.integers(0, 30), size=st.integers(1, 12), drop=st.booleans())
def test_batch_sampler(n, size, drop):
    mine = ours.BatchSampler(ours.SequentialSampler(range(n)), size, drop)
    other = theirs.BatchSampler(theirs.SequentialSampler(range(n)), size, drop)
    assert list(mine) == list(other)
    assert len(mine) == len(other)


@given(
    n=st.integers(1, 20),
    replacement=st.booleans(),
    num_samples=st.none() | st.integers(1, 50),
)
def test_random_sampler(n, replacement, num_samples):
    mine = ours.RandomSampler(range(n), replacement, num_samples)
    other = theirs.RandomSampler(range(n), replacement, num_samples)
    assert len(mine) == len(other) == len(list(mine)) == len(list(other))
    if not replacement:  # each as often as in PyTorch, but for the last round
        whole = len(mine) // n * n
        assert sorted(list(mine)[:whole]) == sorted(list(other)[:whole])


@given(n=st.integers(1, 20), size=st.integers(1, 7), drop=st.booleans())
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_of_a_loader(num_workers, n, size, drop):
    x, y = np.arange(2.0 * n).reshape(n, 2), np.arange(n)
    mine = ours.DataLoader(
        ours.TensorDataset(x, y), size, drop_last=drop, num_workers=num_workers
    )
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    other = theirs.DataLoader(theirs.TensorDataset(*tensors), size, drop_last=drop)
    assert [plain(batch) for batch in mine] == [plain(batch) for batch in other]
    assert len(mine) == len(other)


@given(n=st.integers(1, 20), size=st.none() | st.integers(1, 7), drop=st.booleans())
def test_batches_of_a_stream(n, size, drop):
    def batches(module):
        class Stream(module.IterableDataset):
            def __iter__(self):
                return iter([(i, f"{i}") for i in range(n)])

            def __len__(self):
                return n

        loader = module.DataLoader(Stream(), size, drop_last=drop and size is not None)
        return [plain(batch) for batch in loader], len(loader)

    assert batches(ours) == batches(theirs)


OPTIONS: list[dict[str, Any]] = [
    dict(shuffle=True, sampler=[0]),
    dict(batch_sampler=[[0]], batch_size=2),
    dict(batch_sampler=[[0]], shuffle=True),
    dict(batch_sampler=[[0]], sampler=[0]),
    dict(batch_sampler=[[0]], drop_last=True),
    dict(batch_size=None, drop_last=True),
    dict(batch_size=0),
    dict(num_workers=-1),
    dict(timeout=-1),
    dict(prefetch_factor=2),
    dict(persistent_workers=True),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_both_refuse_the_same_options(options):
    with pytest.raises(ValueError, match=r"\w"):
        ours.DataLoader(range(4), **options)
    with pytest.raises(ValueError, match=r"\w"):
        theirs.DataLoader(range(4), **options)


NAMES = (
    "BatchSampler ConcatDataset DataLoader RandomSampler SequentialSampler Subset "
    "SubsetRandomSampler TensorDataset WeightedRandomSampler default_collate "
    "default_convert random_split"
)
WITHOUT = {"pin_memory_device"}  # PyTorch's own word for `device`, deprecated there


@pytest.mark.parametrize("name", NAMES.split())
def test_signatures(name):
    def parameters(module):
        signature = inspect.signature(getattr(module, name))
        return {
            p.name: (p.kind, p.default)
            for p in signature.parameters.values()
            if p.name not in WITHOUT
        }

    mine, other = parameters(ours), parameters(theirs)
    if "generator" in other:  # random_split's is PyTorch's default generator
        other["generator"] = (other["generator"][0], None)
    assert list(mine)[: len(other)] == list(other)
    assert {key: mine[key] for key in other} == other
    assert set(mine) - set(other) <= {"device"}


def test_concatenated_and_cut():
    def of(module):
        both = module.ConcatDataset([[10, 11], [], [12]])
        subset = module.Subset(both, [2, 0])
        return (
            [both[i] for i in (0, 2, -1, -3)],
            both.cumulative_sizes,
            len(both),
            [subset[i] for i in range(2)],
            subset.__getitems__([1, 0]),
        )

    assert of(ours) == of(theirs)
