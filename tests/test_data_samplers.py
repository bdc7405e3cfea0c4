"""Samplers: every order is one draw, made when the epoch begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax import data


@pytest.fixture
def generator():
    return tg.Generator(5)


def test_in_order():
    assert list(data.SequentialSampler("abcd")) == [0, 1, 2, 3]
    assert len(data.SequentialSampler("abcd")) == 4


def test_every_epoch_is_one_draw_and_another_order(generator):
    sampler = data.RandomSampler(range(100), generator=generator)
    first = list(sampler)
    assert generator.state == (5, 1)
    second = list(sampler)
    assert generator.state == (5, 2)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    generator.state = (5, 1)
    assert list(sampler) == second


def test_the_order_is_drawn_before_the_first_number_is_taken(generator):
    n, weights = range(4), [1.0, 2.0, 3.0, 4.0]
    samplers = [
        data.RandomSampler(n, generator=generator),
        data.RandomSampler(n, True, 9, generator),
        data.RandomSampler(n, False, 9, generator),
        data.SubsetRandomSampler([3, 1], generator),
        data.WeightedRandomSampler(weights, 3, False, generator),
        data.BatchSampler(data.RandomSampler(n, generator=generator), 2, False),
    ]
    for sampler in samplers:
        before = generator.count
        numbers = iter(sampler)
        assert generator.count == before + 1
        list(numbers)
        assert generator.count == before + 1


def test_no_generator_means_the_default_one():
    tg.manual_seed(11)
    first = list(data.RandomSampler(range(30)))
    assert first == list(data.RandomSampler(range(30), generator=tg.Generator(11)))
    tg.manual_seed(0)


def test_with_replacement_and_with_more_than_there_are(generator):
    drawn = list(data.RandomSampler(range(5), True, 200, generator))
    assert len(drawn) == 200
    assert set(drawn) == set(range(5))
    rounds = list(data.RandomSampler(range(5), num_samples=12, generator=generator))
    assert sorted(rounds[:5]) == sorted(rounds[5:10]) == list(range(5))
    assert len(set(rounds[10:])) == 2
    few = data.RandomSampler(range(5), num_samples=2, generator=generator)
    assert len(set(few)) == len(few) == 2


def test_a_subset_in_random_order(generator):
    sampler = data.SubsetRandomSampler([30, 10, 20], generator)
    assert sorted(sampler) == [10, 20, 30]
    assert len(sampler) == 3
    orders = {tuple(sampler) for _ in range(40)}
    assert len(orders) > 3


def test_weights_decide_how_often(generator):
    weights = np.array([1.0, 0.0, 3.0])
    drawn = list(data.WeightedRandomSampler(weights, 4000, generator=generator))
    counts = np.bincount(drawn, minlength=3)
    assert counts[1] == 0
    # The number of zeros is binomial (4000, 1/4): six standard deviations are 164.
    assert abs(counts[0] - 1000) < 164
    once = data.WeightedRandomSampler(tg.tensor([1.0, 0.0, 9.0]), 2, False, generator)
    assert sorted(once) == [0, 2]


@given(n=st.integers(1, 30), size=st.integers(1, 12), drop=st.booleans())
def test_batches_are_slices(n, size, drop):
    batches = [list(range(i, min(i + size, n))) for i in range(0, n, size)]
    if drop and len(batches[-1]) < size:
        batches.pop()
    sampler = data.BatchSampler(data.SequentialSampler(range(n)), size, drop)
    assert list(sampler) == batches
    assert len(sampler) == len(batches)


REFUSED = {
    "no samples": (lambda: data.RandomSampler([]), ValueError, "the dataset is empty"),
    "none drawn": (
        lambda: data.RandomSampler([1], num_samples=0),
        ValueError,
        "num_samples was given as 0; expected an integer >= 1",
    ),
    "replacement": (
        lambda: data.RandomSampler([1], replacement=1),  # pyright: ignore
        TypeError,
        "replacement was given as 1; expected True or False",
    ),
    "a seed": (
        lambda: data.RandomSampler([1], generator=3),  # pyright: ignore
        TypeError,
        r"generator was given as a int; expected a tg\.Generator",
    ),
    "a batch of 0": (
        lambda: data.BatchSampler([1], 0, False),
        ValueError,
        "batch_size was given as 0; expected an integer >= 1",
    ),
    "a batch of True": (
        lambda: data.BatchSampler([1], True, False),
        ValueError,
        "batch_size was given as True",
    ),
    "drop_last": (
        lambda: data.BatchSampler([1], 1, 0),  # pyright: ignore
        ValueError,
        "drop_last was given as 0; expected True or False",
    ),
    "negative weights": (
        lambda: data.WeightedRandomSampler([1.0, -2.0], 1),
        ValueError,
        r"shape \(2,\) and values from -2.0 to 1.0; expected finite numbers >= 0",
    ),
    "no weights": (
        lambda: data.WeightedRandomSampler([], 1),
        ValueError,
        r"shape \(0,\) and values from none to none",
    ),
    "zero weights": (
        lambda: data.WeightedRandomSampler([0.0], 1),
        ValueError,
        "and one above 0",
    ),
    "nan": (
        lambda: data.WeightedRandomSampler([float("nan")], 1),
        ValueError,
        "expected finite numbers",
    ),
    "too many": (
        lambda: data.WeightedRandomSampler([1.0, 0.0, 1.0], 3, replacement=False),
        ValueError,
        "3 samples were asked for without replacement, but only 2 have a weight",
    ),
    "no order": (
        lambda: iter(data.Sampler()),
        NotImplementedError,
        "Sampler has no __iter__",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_sampler_refuses(case):
    make, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        make()
