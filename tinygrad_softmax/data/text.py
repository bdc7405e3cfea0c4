"""Text as a language model sees it: characters, and the character after each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..backends import backend_of, there
from ..creation import asarray
from ..tensor import Tensor
from .dataset import Dataset, StackedSamples, checked_indices
from .errors import DataError

__all__ = ["CharDataset", "CharVocabulary", "split_text"]


class CharVocabulary:
    """The characters of a text, each with a number: its place in their order.

    characters: a text, or any characters; repeated ones count once.

    Raises DataError if there are none.

    >>> vocabulary = tg.data.CharVocabulary("hello")
    >>> vocabulary.characters, len(vocabulary)
    ('ehlo', 4)
    >>> vocabulary.encode("hole")
    array([1, 3, 2, 0])
    >>> vocabulary.decode([1, 3, 2, 0])
    'hole'
    """

    def __init__(self, characters: str | Iterable[str]) -> None:
        every = characters if isinstance(characters, str) else "".join(characters)
        if not every:
            raise DataError("CharVocabulary: the text is empty; it needs a character")
        self._codes = np.unique(_code_points(every))  # sorted
        self.characters: str = _text(self._codes)

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and character in set(self.characters)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CharVocabulary):
            return NotImplemented
        return self.characters == other.characters

    def __hash__(self) -> int:
        return hash(self.characters)

    def __repr__(self) -> str:
        return f"CharVocabulary({self.characters!r})"

    def encode(self, text: str) -> np.ndarray:
        """The number of each character, int64, shape (len(text),).

        Raises DataError that names the first character that is not in the vocabulary,
        and its position.
        """
        codes = _code_points(text)
        numbers = np.searchsorted(self._codes, codes)
        found = self._codes[np.minimum(numbers, len(self) - 1)] == codes
        if not found.all():
            position = int(found.argmin())
            character = text[position]
            around = text[max(0, position - 10) : position + 10]
            raise DataError(
                f"the character {character!r} (U+{ord(character):04X}) at position "
                f"{position}, in {around!r}, is not among the {len(self)} of the "
                "vocabulary; mend: make the vocabulary of a text that has it, or take "
                "it out"
            )
        return numbers.astype(np.int64, copy=False)

    def decode(self, numbers: Any) -> str:
        """The text of character numbers: a tensor, an array or a list of one axis.

        Raises DataError for a number that no character has.
        """
        if isinstance(numbers, Tensor):
            numbers = numbers.numpy()
        numbers = np.asarray(numbers)
        if numbers.size == 0:
            return ""
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise TypeError(
                f"decode: got {numbers.dtype} of shape {numbers.shape}; expected "
                "integers along one axis"
            )
        bad = (numbers < 0) | (numbers >= len(self))
        if bad.any():
            position = int(bad.argmax())
            raise DataError(
                f"the number {numbers[position]} at position {position} stands for no "
                f"character; the vocabulary has 0 to {len(self) - 1}"
            )
        return _text(self._codes[numbers])


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _text(codes: np.ndarray) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


class CharDataset(Dataset[tuple[Tensor, Tensor]]):
    """Blocks of a text, and for each character the one that comes next.

    text: the text.
    block_size: how many characters a sample has.
    vocabulary: a `CharVocabulary`; by default that of the text. Give the training
        text's to a dataset for validation.
    stride: how far apart samples begin; 1 takes every block there is, `block_size`
        cuts the text into blocks without overlap.

    Sample i is (x, y), int64 of shape (block_size,) each, on the default device: x the
    characters from i * stride on, y those from i * stride + 1 on. A batch is one index
    operation.

    Raises DataError for a text that is shorter than `block_size` + 1, or has a
    character that the vocabulary has not.

    >>> dataset = tg.data.CharDataset("hello world", block_size=4)
    >>> x, y = dataset[0]
    >>> len(dataset), dataset.vocabulary.decode(x), dataset.vocabulary.decode(y)
    (7, 'hell', 'ello')
    """

    def __init__(
        self,
        text: str,
        block_size: int,
        vocabulary: CharVocabulary | None = None,
        stride: int = 1,
    ) -> None:
        for name, value in (("block_size", block_size), ("stride", stride)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"CharDataset: {name} was given as {value!r}; expected an integer "
                    ">= 1"
                )
        if len(text) <= block_size:
            raise DataError(
                f"CharDataset: the text has {len(text)} characters, but a block of "
                f"{block_size} and the character after it need {block_size + 1}"
            )
        self.vocabulary = CharVocabulary(text) if vocabulary is None else vocabulary
        self.block_size, self.stride = block_size, stride
        self.numbers: Tensor = asarray(self.vocabulary.encode(text))

    def __len__(self) -> int:
        return (len(self.numbers) - self.block_size - 1) // self.stride + 1

    def __getitem__(self, index: Any) -> tuple[Tensor, Tensor]:
        (number,) = checked_indices("CharDataset", [index], len(self)).tolist()
        start, stop = number * self.stride, number * self.stride + self.block_size
        return self.numbers[start:stop], self.numbers[start + 1 : stop + 1]

    def __getitems__(self, indices: Sequence[int]) -> StackedSamples:
        starts = checked_indices("CharDataset", indices, len(self)) * self.stride
        places = starts[:, None] + np.arange(self.block_size)
        backend = backend_of(self.numbers.array)
        placed = backend.asarray(places, device=self.numbers.device)
        with there(placed):
            following = placed + 1
        return StackedSamples(self.numbers[placed], self.numbers[following])


def split_text(text: str, fraction: float = 0.9) -> tuple[str, str]:
    """The beginning of a text, to train on, and the rest, to validate on.

    fraction: how much of it is the beginning; floor(fraction * len(text)) characters.
        Text is not shuffled: neighbouring blocks overlap, and would tell the answers.

    >>> tg.data.split_text("abcdefghij")
    ('abcdefghi', 'j')
    """
    if not 0 < fraction < 1:
        raise ValueError(
            f"split_text: fraction is {fraction}; expected a number between 0 and 1"
        )
    cut = int(len(text) * fraction)
    return text[:cut], text[cut:]
