"""The shapes that kernels are launched in: pure functions of sizes.

They hold for any size, past 2^31 elements too, and are tested without a GPU.
"""

from __future__ import annotations

from typing import NamedTuple

BLOCK = 128  # threads of a block where a row needs no more
WIDEST = 512  # threads that a block over rows may have: MOST_THREADS of common.cuh
MOST_BLOCKS = 2**31 - 1  # of a grid's first axis
MOST_ROWS = 65535  # of its second axis
STATIC = 2048  # bytes of shared memory left for what kernels declare themselves
ACCESS = 16  # bytes of the widest load and store
FLAT_THREADS = 128  # of flat.cuh and cast.cu
CAST_PACK, OF_CAST = 4, 4  # of cast.cu
TILE = 64  # the fewest rows of a tile of bias_activations.cu
DEEP, SUMMING = 8, 32  # threads of its kernels that share a column
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


def flat(n: int, per_thread: int, threads: int = 256) -> Launch:
    """How a kernel over n elements is launched: blocks of threads that each do
    `per_thread` elements, and go on by the size of the grid if that is too few.

    >>> flat(1000, 4)
    Launch(grid=(1,), block=(256,), held=0)
    """
    blocks = -(-n // (per_thread * threads))
    return Launch((max(1, min(blocks, MOST_BLOCKS)),), (threads,), 0)


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
