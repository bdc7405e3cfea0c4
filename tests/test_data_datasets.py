"""Datasets: what a sample is, a batch at once, joining and splitting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import data
from tinygrad_softmax.data.dataset import samples_of


def rows(samples) -> list:
    return [tuple(part.tolist() for part in sample) for sample in samples]


def test_a_sample_is_a_row_of_every_tensor(device):
    x, y = np.arange(6.0).reshape(3, 2), np.array([7, 8, 9])
    dataset = data.TensorDataset(
        tg.tensor(x, device=device), tg.tensor(y, device=device)
    )
    assert len(dataset) == 3
    assert rows([dataset[1], dataset[-1]]) == [([2.0, 3.0], 8), ([4.0, 5.0], 9)]
    assert rows(dataset) == [([0.0, 1.0], 7), ([2.0, 3.0], 8), ([4.0, 5.0], 9)]
    assert dataset[0][0].device == tg.zeros(1, device=device).device


def test_arrays_are_shared_on_the_cpu():
    x = np.zeros((2, 3), np.float32)
    dataset = data.TensorDataset(x)
    x[1] = 5.0
    assert dataset[1][0].tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("indices", [[2, 0, 2], [-1, 1], [0]])
def test_a_batch_is_the_rows_of_its_indices(device, indices):
    x, y = np.arange(6.0).reshape(3, 2), np.array([7, 8, 9])
    dataset = data.TensorDataset(
        tg.tensor(x, device=device), tg.tensor(y, device=device)
    )
    batch = dataset.__getitems__(indices)
    assert isinstance(batch, data.StackedSamples)
    np.testing.assert_array_equal(batch.columns[0].numpy(), x[indices])
    np.testing.assert_array_equal(batch.columns[1].numpy(), y[indices])
    assert rows(batch) == rows([dataset[i] for i in indices])
    assert rows(batch[:1]) == rows([dataset[indices[0]]])


def test_a_batch_takes_one_index_operation_for_each_tensor(monkeypatch, device):
    dataset = data.TensorDataset(
        tg.zeros((100, 2), device=device), tg.zeros(100, device=device)
    )
    taken = []
    getitem = tg.Tensor.__getitem__

    def spy(self, index):
        taken.append(index)
        return getitem(self, index)

    monkeypatch.setattr(tg.Tensor, "__getitem__", spy)
    (batch,) = data.DataLoader(dataset, batch_size=100)
    assert batch[0].shape == (100, 2)
    assert len(taken) == 2


def test_a_batch_keeps_the_graph_of_its_tensors(device):
    x = tg.ones((3, 2), device=device, requires_grad=True)
    ((batch,),) = data.DataLoader(data.TensorDataset(x), batch_size=3)
    (batch * batch).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 2.0]] * 3


@pytest.mark.parametrize("bad", [3, -4])
def test_an_index_out_of_range_is_an_error_on_every_device(device, bad):
    dataset = data.TensorDataset(tg.zeros(3, device=device))
    with pytest.raises(
        IndexError, match=f"sample {bad} was asked for, but there are 3"
    ):
        dataset.__getitems__([0, bad])
    both = data.ConcatDataset([dataset])
    with pytest.raises(IndexError, match=f"ConcatDataset: sample {bad} was asked for"):
        both[bad]


def test_tensors_must_have_one_first_length():
    with pytest.raises(
        ValueError, match=r"the shapes are \(2, 3\), \(4,\); their first"
    ):
        data.TensorDataset(np.zeros((2, 3)), np.zeros(4))
    with pytest.raises(ValueError, match=r"the shapes are \(\); their first"):
        data.TensorDataset(np.float64(1.0))
    with pytest.raises(ValueError, match="no tensors were given"):
        data.TensorDataset()


class Doubled(data.TensorDataset):
    def __getitem__(self, index):
        return tuple(2 * part for part in super().__getitem__(index))


def test_a_subclass_with_its_own_samples_means_them(device):
    dataset = Doubled(tg.tensor([1.0, 2.0], device=device))
    assert rows(samples_of(dataset, [1, 0])) == [(4.0,), (2.0,)]
    ((batch,),) = data.DataLoader(data.Subset(dataset, [1, 0]), batch_size=2)
    assert batch.tolist() == [4.0, 2.0]


def test_subset_and_concatenation(device):
    first = data.TensorDataset(tg.tensor([0, 1, 2], device=device))
    second = data.TensorDataset(tg.tensor([3, 4], device=device))
    both = first + second
    assert isinstance(both, data.ConcatDataset)
    assert both.cumulative_sizes == [3, 5]
    assert rows(both) == [(i,) for i in range(5)]
    assert rows(both.__getitems__([4, 0, -2, 2])) == [(4,), (0,), (3,), (2,)]
    assert isinstance(both.__getitems__([4, 3]), data.StackedSamples)
    subset = data.Subset(both, [4, 1])
    assert len(subset) == 2
    assert rows(subset) == [(4,), (1,)]
    assert rows(subset.__getitems__([1, 0])) == [(1,), (4,)]
    assert data.Subset(np.arange(5) * 10, [4, 1, 0])[[0, 2]].tolist() == [40, 0]


def test_a_concatenation_skips_empty_datasets():
    assert list(data.ConcatDataset([[], ["a"], [], ["b", "c"], []])) == ["a", "b", "c"]


def test_what_cannot_be_concatenated():
    class Stream(data.IterableDataset):
        pass

    with pytest.raises(ValueError, match="no datasets were given"):
        data.ConcatDataset([])
    with pytest.raises(ValueError, match="dataset 1 is an IterableDataset"):
        data.ConcatDataset([[1], Stream()])
    with pytest.raises(NotImplementedError, match="Stream has no __iter__"):
        iter(Stream())
    with pytest.raises(NotImplementedError, match="Dataset has no __getitem__"):
        data.Dataset()[0]


@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=5), data_=st.data())
def test_a_concatenation_is_that_of_lists(sizes, data_):
    parts = [[(i, j) for j in range(n)] for i, n in enumerate(sizes)]
    flat = [sample for part in parts for sample in part]
    both = data.ConcatDataset(parts)
    assert len(both) == len(flat)
    if flat:
        index = st.integers(-len(flat), len(flat) - 1)
        indices = data_.draw(st.lists(index, max_size=8))
        assert list(both.__getitems__(indices)) == [flat[i] for i in indices]
        assert [both[i] for i in indices] == [flat[i] for i in indices]


# -- random_split ------------------------------------------------------------------


@given(n=st.integers(0, 40), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_a_split_holds_every_sample_once(n, cuts):
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    lengths = [b - a for a, b in zip(edges[:-1], edges[1:])]
    if sum(lengths) == 1:
        return  # which are fractions
    parts = data.random_split(range(n), lengths, tg.Generator(3))
    assert [len(part) for part in parts] == lengths
    assert sorted(i for part in parts for i in part) == list(range(n))


def test_fractions_are_rounded_down_and_the_rest_dealt_out():
    lengths = [len(part) for part in data.random_split(range(11), [0.5, 0.3, 0.2])]
    assert lengths == [6, 3, 2]  # 5.5, 3.3, 2.2 and one left over


def test_a_split_follows_its_generator():
    def split(generator):
        return [
            list(part) for part in data.random_split(range(50), [25, 25], generator)
        ]

    assert split(tg.Generator(1)) == split(tg.Generator(1))
    assert split(tg.Generator(1)) != split(tg.Generator(2))
    tg.manual_seed(1)
    assert split(None) == split(tg.Generator(1))
    assert split(None) != split(tg.Generator(1))
    tg.manual_seed(0)


def test_lengths_that_do_not_fit():
    for lengths in ([5, 6], [-1, 11], [0.5, 0.6], [2.5, 7.5], []):
        with pytest.raises(ValueError, match="sum to the length of the dataset, 10"):
            data.random_split(range(10), lengths)
    with pytest.raises(ValueError, match=r"fraction 0 is 1\.5; expected a number"):
        data.random_split(range(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="part 1 of 2 samples is empty"):
        data.random_split(range(2), [0.9, 0.1])
    with pytest.raises(TypeError, match="generator was given as a int"):
        data.random_split(range(2), [1, 1], 5)
