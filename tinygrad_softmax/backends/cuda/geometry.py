"""The shapes that kernels are launched in: pure functions of sizes.

They hold for any size, past 2^31 elements too, and are tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import isqrt
from typing import NamedTuple

BLOCK = 128  # threads of a block where a row needs no more
WIDEST = 512  # threads that a block over rows may have: MOST_THREADS of common.cuh
MOST_BLOCKS = 2**31 - 1  # of a grid's first axis
MOST_ROWS = 65535  # of its second axis
STATIC = 2048  # bytes of shared memory left for what kernels declare themselves
SHORTEST_CHUNK = 16
ACCESS = 16  # bytes of the widest load and store
MOST_ARRAYS = 160  # of a launch over many arrays, as in arrays.cuh
CHUNK_THREADS = 256  # of its blocks
CHUNK = 4096  # elements of a chunk
FLAT_THREADS = 128  # of flat.cuh and cast.cu
CAST_PACK, OF_CAST = 4, 4  # of cast.cu
TILE = 64  # the fewest rows of a tile of bias_activations.cu
DEEP, OF_SUM = 8, 32  # threads of its kernels that share a column
ENOUGH_TILES = 8192  # beyond them a tile gets more rows
WARP = 32  # threads


class Launch(NamedTuple):
    """Blocks, threads of a block, and the macro HELD."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    held: int


def rows(n: int, columns: int, itemsize: int, held: tuple[int, ...]) -> Launch:
    """How a kernel over rows (n, columns) is launched: blocks of (lanes, rows).

    itemsize: of what is computed in. held: the bytes of a row that a thread may keep in
    registers, ascending. The fewest lanes are taken that can keep the row, 32 before
    more of it is kept by each; where no block can, held is 0: the row is read twice.

    >>> rows(1000, 10, 4, (32, 128))
    Launch(grid=(63,), block=(8, 16), held=32)
    >>> rows(1000, 1024, 4, (32, 128))
    Launch(grid=(250,), block=(32, 4), held=128)
    >>> rows(1000, 100_000, 4, (32, 128))
    Launch(grid=(1000,), block=(512, 1), held=0)
    """
    lanes, kept = _lanes(columns, itemsize, held)
    together = max(1, BLOCK // lanes)
    return Launch((min(-(-n // together), MOST_BLOCKS),), (lanes, together), kept)


def _lanes(columns: int, itemsize: int, held: tuple[int, ...]) -> tuple[int, int]:
    for kept in held:
        last = kept == held[-1]
        lanes = 8 if kept == held[0] else 32
        while lanes <= (WIDEST if last else 32):
            if columns * itemsize <= lanes * kept:
                return lanes, kept
            lanes *= 2
    return WIDEST, 0


SUMMING = 256  # threads of a block that adds up its rows
FILLED, PLENTY = 132, 528  # blocks that are wanted at least, and enough: a device's
# multiprocessors, and four times so many (of an H100 or H200; but the digits must not
# depend on the device, so these are constants)
PARTS = 1056  # blocks that add up columns


def summed_rows(n: int, columns: int, itemsize: int, held: tuple[int, ...]) -> Launch:
    """`rows` for a kernel whose blocks also add up their rows: few blocks with many
    rows each. Where no block can hold a row, held is 0.

    >>> summed_rows(100_000, 1024, 4, (32,))
    Launch(grid=(528,), block=(128, 2), held=32)
    >>> summed_rows(300, 1024, 4, (32,))
    Launch(grid=(132,), block=(128, 2), held=32)
    """
    lanes, kept = 8, held[0]
    while columns * itemsize > lanes * kept and lanes < WIDEST:
        lanes *= 2
    fitting = [each for each in held if columns * itemsize <= lanes * each]
    together = max(1, SUMMING // lanes)
    groups = -(-n // together)
    blocks = max(min(groups, FILLED), min(-(-groups // 4), PLENTY))
    return Launch((blocks,), (lanes, together), fitting[0] if fitting else 0)


class Columns(NamedTuple):
    """Blocks, threads of a block, and the rows of (n, columns) that a block adds up."""

    grid: tuple[int, int]
    block: tuple[int, ...]
    rows: int


def columns_summed(n: int, columns: int, vector: int) -> Columns:
    """How a kernel that adds up the columns of (n, columns) is launched: a thread for
    every `vector` columns, and blocks beside each other for parts of the rows.

    >>> columns_summed(1000, 10_000, 4)
    Columns(grid=(10, 63), block=(256,), rows=16)
    """
    tiles = -(-columns // (vector * SUMMING))
    parts = min(-(-PARTS // tiles), -(-n // 16))
    rows = -(-n // parts)
    return Columns((tiles, -(-n // rows)), (SUMMING,), rows)


SHORT = 8  # places of a channel below which columns are added up instead


class Places(NamedTuple):
    """Blocks (for channels, for parts of them), threads of a block (lanes, channels),
    the samples and the places of a part, how many parts the places have, and how many
    lanes stand beside each other."""

    grid: tuple[int, int]
    block: tuple[int, int]
    samples: int
    places: int
    cuts: int
    span: int


def channels_by_places(n: int, channels: int, places: int, vector: int) -> Places:
    """How a kernel that adds up each channel of (n, channels, places) is launched.

    `vector` places are read at once, and divide `places`. There are as many parts as
    fill a device, of 4096 elements or more.

    >>> channels_by_places(32, 64, 56 * 56, 4)
    Places(grid=(64, 16), block=(256, 1), samples=2, places=3136, cuts=1, span=256)
    >>> channels_by_places(1, 4096, 64, 4)
    Places(grid=(128, 1), block=(8, 32), samples=1, places=64, cuts=1, span=8)
    """
    packs = n * places // vector
    lanes = 8
    while lanes < SUMMING and 4 * lanes < packs:
        lanes *= 2
    together = SUMMING // lanes
    blocks = -(-channels // together)
    wanted = max(1, min(-(-PARTS // blocks), n * places // 4096))
    samples = -(-n // min(wanted, n))
    parts = -(-n // samples)
    cuts = -(-wanted // parts) if samples == 1 else 1
    part = -(-places // (cuts * vector)) * vector
    cuts = -(-places // part)
    span = 1
    while span < lanes and span * vector < part:
        span *= 2
    return Places((blocks, parts * cuts), (lanes, together), samples, part, cuts, span)


def channels_by_columns(n: int, columns: int, vector: int) -> Columns:
    """The same for the columns of a matrix (n, columns), in blocks (lanes, rows); each
    of their rows is a part.

    >>> channels_by_columns(10_000, 100, 4)
    Columns(grid=(1, 157), block=(32, 8), rows=64)
    """
    lanes = 1
    while lanes < SUMMING and lanes * vector < columns:
        lanes *= 2
    together, tiles = SUMMING // lanes, -(-columns // (vector * lanes))
    parts = min(-(-PLENTY // tiles), -(-n // (8 * together)))
    rows = -(-n // parts)
    return Columns((tiles, -(-n // rows)), (lanes, together), rows)


def array_chunks(
    sizes: Sequence[int], most: int = CHUNK
) -> tuple[list[int], list[int]]:
    """How arrays of these sizes, one or more, are cut in one launch: the chunks, of at
    most so many elements, of each and all before it; and the size of each one's last.

    >>> array_chunks([5, 0, 8], 4)
    ([2, 2, 4], [1, 0, 4])
    """
    counts = [-(-size // most) for size in sizes]
    rest = [size - max(0, count - 1) * most for size, count in zip(sizes, counts)]
    return list(accumulate(counts)), rest


def flat(n: int, per_thread: int, threads: int = 256) -> Launch:
    """How a kernel over n elements is launched: blocks of threads that each do
    `per_thread` elements, and go on by the size of the grid if that is too few.

    >>> flat(1000, 4)
    Launch(grid=(1,), block=(256,), held=0)
    """
    blocks = -(-n // (per_thread * threads))
    return Launch((max(1, min(blocks, MOST_BLOCKS)),), (threads,), 0)


def items(count: int, packs: int, threads: int = 256) -> Launch:
    """How a kernel over `count` items of so many packs of columns is launched: blocks
    of (lanes, items), and on the grid's second axis the columns that lanes don't reach.

    >>> items(1000, 192)
    Launch(grid=(125, 6), block=(32, 8), held=0)
    >>> items(1000, 1)
    Launch(grid=(4, 1), block=(1, 256), held=0)
    """
    lanes = min(32, 1 << max(0, packs - 1).bit_length())
    together = threads // lanes
    blocks = max(1, min(-(-count // together), MOST_BLOCKS))
    return Launch((blocks, min(-(-packs // lanes), MOST_ROWS)), (lanes, together), 0)


def chunk(n: int, packs: int) -> int:
    """How many of n sorted positions, of so many packs of columns, one thread goes
    through: so few that a GPU has enough threads, else up to the root of n, since a row
    that many chunks name adds up all of theirs.

    >>> chunk(16384, 192), chunk(1 << 20, 1), chunk(100, 1)
    (32, 16, 16)
    """
    largest = min(n * packs >> 16, isqrt(n))
    return max(SHORTEST_CHUNK, 1 << max(0, largest.bit_length() - 1))


def spread(n: int, multiprocessors: int) -> Launch:
    """How a kernel with a long task for each of n threads is launched: in blocks small
    enough that every multiprocessor gets two, if threads are enough for that.

    >>> spread(1_000_000, 132)
    Launch(grid=(3907,), block=(256,), held=0)
    >>> spread(8192, 132)
    Launch(grid=(256,), block=(32,), held=0)
    """
    threads = 256
    while threads > 32 and n <= threads * 2 * multiprocessors:
        threads //= 2
    return flat(n, 1, threads)


def vector(itemsize: int, wide: bool) -> int:
    """Elements of one access: VECTOR of common.cuh.

    >>> vector(2, True), vector(2, False)
    (8, 1)
    """
    return ACCESS // itemsize if wide else 1


def elements(n: int, itemsize: int, inputs: int) -> Launch:
    """How a kernel of flat.cuh over n elements of some inputs is launched: a thread
    reads 16 bytes of one input twice before it computes, or of two once.

    >>> elements(10_000, 4, 1), elements(10_000, 4, 2)
    (Launch(grid=(10,), block=(128,), held=0), Launch(grid=(20,), block=(128,), held=0))
    """
    packs = 2 if inputs == 1 else 1
    return flat(n, packs * ACCESS // itemsize, FLAT_THREADS)


def casts(n: int) -> Launch:
    """How a kernel of cast.cu over n elements is launched.

    >>> casts(10_000)
    Launch(grid=(5,), block=(128,), held=0)
    """
    return flat(n, CAST_PACK * OF_CAST, FLAT_THREADS)


class Tiles(NamedTuple):
    """Blocks (down, across), threads of a block, and the rows of a tile."""

    grid: tuple[int, int]
    block: tuple[int, int]
    rows: int


def tiles(n: int, columns: int, vector: int) -> Tiles:
    """How a kernel over tiles of (n, columns) is launched, `vector` columns at a time:
    a tile has 32 packs of columns, and as many rows as leave enough tiles.

    >>> tiles(1000, 3072, 4)
    Tiles(grid=(16, 24), block=(32, 8), rows=64)
    >>> tiles(1_000_000, 3072, 4)
    Tiles(grid=(245, 24), block=(32, 8), rows=4096)
    """
    across = min(-(-columns // (WARP * vector)), MOST_ROWS)
    rows = TILE
    while -(-n // rows) * across > ENOUGH_TILES and rows < n:
        rows *= 2
    return Tiles((-(-n // rows), across), (WARP, DEEP), rows)


def is_wide(columns: int, itemsize: int, *pointers: int) -> bool:
    """Whether rows of so many elements at these addresses can be accessed 16 bytes at
    a time.

    >>> is_wide(8, 4, 512, 1024), is_wide(7, 4, 512), is_wide(8, 4, 520)
    (True, False, False)
    """
    aligned = all(pointer % ACCESS == 0 for pointer in pointers)
    return aligned and columns * itemsize % ACCESS == 0
