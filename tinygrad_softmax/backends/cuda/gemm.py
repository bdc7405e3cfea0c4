"""How a product of matrices is given to cuBLAS: pure functions of shapes and strides.

cuBLAS's matrices lie column by column, at any distance ("leading dimension") from
column to column, and a batch of them at any distance from matrix to matrix. A matrix
whose rows are contiguous is one of its matrices transposed. So most views need no copy.

Strides here are counted in elements.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

MOST = (
    2**31 - 1
)  # cuBLAS counts rows, columns, steps to the next and a batch in 32 bits
FEW_CALLS = 4  # that cost no more than a copy's own call
CALL_BYTES = 4 << 20  # a GPU copies about so many in the time of one call: an estimate,
# from 4 TB/s and 3 us a call


class Layout(NamedTuple):
    """How a matrix lies: row by row, or transposed, and from one to the next `ld`."""

    transposed: bool
    ld: int


class Batches(NamedTuple):
    """One call's batch, and the axes that are gone through call by call.

    strides: of the batch, for each operand. loops: (length, strides) of each axis.
    """

    size: int
    strides: tuple[int, ...]
    loops: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return prod(length for length, _ in self.loops)


def layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> Layout | None:
    """How the last two axes lie in memory; None where cuBLAS can't take them.

    >>> layout((2, 3), (3, 1)), layout((3, 2), (1, 3)), layout((2, 3), (6, 2))
    (Layout(transposed=False, ld=3), Layout(transposed=True, ld=3), None)
    """
    rows, columns = shape[-2:]
    down, along = strides[-2:]
    found = None
    if (along == 1 or columns == 1) and (rows == 1 or down >= columns):
        found = Layout(False, max(1, columns if rows == 1 else down))
    elif (down == 1 or rows == 1) and (columns == 1 or along >= rows):
        found = Layout(True, max(1, rows if columns == 1 else along))
    return None if found is None or found.ld > MOST else found


def check(n: int, k: int, m: int) -> None:
    """Raise ValueError for a product (n, k) times (k, m) that cuBLAS can't count.

    CuPy's would go wrong without a word.
    """
    if max(n, k, m) > MOST:
        raise ValueError(
            f"matmul: matrices of shapes {(n, k)} and {(k, m)} were given; on a CUDA "
            f"device at most {MOST} rows and columns can be multiplied; mend: multiply "
            "parts of them"
        )


def batches(shape: tuple[int, ...], *strides: tuple[int, ...]) -> Batches:
    """The batch axes of some operands, of one shape and with their own strides.

    Axes that lie one in the other alike, for all operands, are one. The longest is the
    batch, the others are loops.

    >>> batches((2, 3), (12, 4), (3, 1))  # a batch of 6
    Batches(size=6, strides=(4, 1), loops=())
    >>> batches((2, 3), (4, 8), (3, 1))
    Batches(size=3, strides=(8, 1), loops=((2, (4, 3)),))
    """
    merged: list[tuple[int, tuple[int, ...]]] = []
    for length, *steps in zip(shape, *strides, strict=True):
        if length == 1:
            continue
        if merged:
            outer, before = merged[-1]
            alike = all(b == length * s for b, s in zip(before, steps, strict=True))
            if alike and outer * length <= MOST:
                merged[-1] = (outer * length, tuple(steps))
                continue
        merged.append((length, tuple(steps)))
    if not merged:
        return Batches(1, (0,) * len(strides), ())
    longest = max(range(len(merged)), key=lambda i: merged[i][0])
    count, steps = merged.pop(longest)
    return Batches(count, steps, tuple(merged))


def to_copy(
    shape: tuple[int, ...],
    operands: tuple[tuple[int, ...], ...],
    out: tuple[int, ...],
    nbytes: tuple[int, ...],
) -> tuple[bool, ...]:
    """Which operands to copy, so that their batch axes are one: those that have to be,
    if that takes less time than the calls it saves.

    operands, out: strides of the batch axes. nbytes: of the copies.

    >>> to_copy((64, 8), ((4, 256), (8, 1)), (8, 1), (1 << 20, 1 << 20))
    (True, False)
    """
    calls = batches(shape, *operands, out).calls
    apart = tuple(batches(shape, each, out).calls > 1 for each in operands)
    moved = sum(size for size, copied in zip(nbytes, apart, strict=True) if copied)
    if are_worth(calls, moved) or batches(shape, out).calls > 1:
        return (False,) * len(operands)
    return apart


def are_worth(calls: int, nbytes: int) -> bool:
    """Whether to make so many calls, rather than to copy so many bytes.

    >>> are_worth(4, 1 << 10), are_worth(64, 1 << 20), are_worth(64, 1 << 30)
    (True, False, True)
    """
    return calls <= FEW_CALLS or nbytes >= calls * CALL_BYTES
