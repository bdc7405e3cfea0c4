"""Characters, their numbers, and blocks of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.data import (
    CharDataset,
    CharVocabulary,
    DataError,
    DataLoader,
    StackedSamples,
    split_text,
)

anything = st.text(st.characters(), min_size=1, max_size=30)  # lone surrogates too


@given(text=anything)
def test_decoding_undoes_encoding(text):
    vocabulary = CharVocabulary(text)
    numbers = vocabulary.encode(text)
    assert vocabulary.characters == "".join(sorted(set(text)))
    assert numbers.tolist() == [vocabulary.characters.index(c) for c in text]
    assert numbers.dtype == np.int64
    assert vocabulary.decode(numbers) == vocabulary.decode(numbers.tolist()) == text
    assert len(vocabulary) == len(set(text))


def test_a_vocabulary_is_its_characters(device):
    vocabulary = CharVocabulary("hello")
    assert vocabulary == CharVocabulary(["o", "l", "he"])
    assert hash(vocabulary) == hash(CharVocabulary("ehlo"))
    assert vocabulary != CharVocabulary("help")
    assert vocabulary != "ehlo"
    assert repr(vocabulary) == "CharVocabulary('ehlo')"
    assert [c in vocabulary for c in ("h", "x", "", "he", 1)] == [True] + [False] * 4
    assert vocabulary.decode(tg.tensor([1, 0], device=device)) == "he"
    assert vocabulary.encode("").tolist() == []
    assert vocabulary.decode([]) == ""


def test_an_unknown_character_is_named_with_its_position():
    vocabulary = CharVocabulary("abc xyz")
    words = (
        r"the character 'é' \(U\+00E9\) at position 12, in 'c xyz abc é xyz', is not "
        "among the 7"
    )
    with pytest.raises(DataError, match=words):
        vocabulary.encode("abc xyz abc é xyz")
    with pytest.raises(DataError, match=r"'~' \(U\+007E\) at position 1"):
        vocabulary.encode("a~")  # greater than all it knows


def test_numbers_without_a_character():
    vocabulary = CharVocabulary("abc")
    with pytest.raises(
        DataError, match="number 3 at position 1 stands for no character"
    ):
        vocabulary.decode([0, 3])
    with pytest.raises(DataError, match="number -1 at position 0"):
        vocabulary.decode(np.array([-1]))
    with pytest.raises(
        TypeError, match=r"got float64 of shape \(1,\); expected integers"
    ):
        vocabulary.decode([0.5])
    with pytest.raises(DataError, match="the text is empty"):
        CharVocabulary("")


@given(
    text=st.text("abcd", min_size=2, max_size=30),
    block_size=st.integers(1, 8),
    stride=st.integers(1, 9),
    data=st.data(),
)
def test_blocks_and_their_next_characters(text, block_size, stride, data):
    if len(text) <= block_size:
        return
    dataset = CharDataset(text, block_size, stride=stride)
    starts = list(range(0, len(text) - block_size, stride))
    assert len(dataset) == len(starts)
    decode = dataset.vocabulary.decode
    for i, start in enumerate(starts):
        x, y = dataset[i]
        assert decode(x) == text[start : start + block_size]
        assert decode(y) == text[start + 1 : start + block_size + 1]
    index = st.integers(-len(starts), len(starts) - 1)
    indices = data.draw(st.lists(index, min_size=1, max_size=5))
    batch = dataset.__getitems__(indices)
    assert isinstance(batch, StackedSamples)
    x, y = batch.columns
    assert x.tolist() == [dataset[i][0].tolist() for i in indices]
    assert y.tolist() == [dataset[i][1].tolist() for i in indices]


def test_blocks_are_on_the_default_device(device):
    with tg.use_device(device):
        dataset = CharDataset("hello world", 4)
        x, y = next(iter(DataLoader(dataset, 3)))
    assert x.shape == y.shape == (3, 4)
    assert x.dtype == y.dtype == np.int64
    assert x.device == tg.zeros(1, device=device).device
    np.testing.assert_array_equal(x.numpy()[:, 1:], y.numpy()[:, :-1])


def test_a_vocabulary_of_another_text():
    train, valid = split_text("abcabcabcabcabcabcab" * 2)
    dataset = CharDataset(valid, 2, CharVocabulary(train))
    assert dataset.vocabulary == CharVocabulary("abc")
    with pytest.raises(DataError, match="the character 'z'"):
        CharDataset("abz", 1, CharVocabulary(train))


def test_what_makes_no_blocks():
    with pytest.raises(DataError, match="has 4 characters, but a block of 4 and the"):
        CharDataset("abcd", 4)
    with pytest.raises(ValueError, match="block_size was given as 0; expected an int"):
        CharDataset("abcd", 0)
    with pytest.raises(ValueError, match=r"stride was given as 0\.5"):
        CharDataset("abcd", 1, stride=0.5)  # pyright: ignore
    with pytest.raises(IndexError, match="CharDataset: sample 3 was asked for"):
        CharDataset("abcd", 1)[3]


@given(text=st.text(max_size=40), percent=st.integers(1, 99))
def test_a_text_is_cut_once(text, percent):
    first, rest = split_text(text, percent / 100)
    assert first + rest == text
    assert abs(len(first) - len(text) * percent / 100) <= 1


def test_the_last_tenth():
    assert [len(part) for part in split_text("x" * 1005)] == [904, 101]
    for fraction in (0, 1, 1.5):
        with pytest.raises(ValueError, match="expected a number between 0 and 1"):
            split_text("abc", fraction)
