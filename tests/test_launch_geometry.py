"""The shapes that CUDA kernels are launched in, for arrays of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_softmax.backends.cuda import geometry, kernels

HELD = st.sampled_from([(32,), (32, 64), (32, 64, 128), (128,)])
SIZES = st.one_of(st.integers(1, 5000), st.integers(1, 2**40))


@given(SIZES, SIZES, st.sampled_from([4, 8]), HELD)
def test_rows(n, columns, itemsize, held):
    grid, (lanes, together), kept = geometry.rows(n, columns, itemsize, held)
    assert lanes & (lanes - 1) == 0
    assert 8 <= lanes <= geometry.WIDEST
    assert lanes * together % 32 == 0
    assert lanes * together <= geometry.WIDEST
    assert 1 <= grid[0] <= geometry.MOST_BLOCKS
    # Every row has its block, and no block is idle, unless there are too many.
    if grid[0] < geometry.MOST_BLOCKS:
        assert (grid[0] - 1) * together < n <= grid[0] * together
    # A row that is kept fits, and one that is not could not be.
    if kept:
        assert kept in held
        assert columns * itemsize <= lanes * kept
    else:
        assert columns * itemsize > geometry.WIDEST * held[-1]
        assert lanes == geometry.WIDEST
    # A column's number fits into 32 bits where the kernel counts so.
    assert not kept or lanes * kept < 2**31


def test_more_columns_never_take_fewer_lanes():
    for itemsize in (4, 8):
        lanes = [
            geometry.rows(1, c, itemsize, (32, 64, 128)).block[0]
            for c in range(1, 40000)
        ]
        assert lanes == sorted(lanes)


@given(SIZES, st.integers(1, 16), st.sampled_from([128, 256]))
def test_flat(n, per_thread, threads):
    grid, block, _ = geometry.flat(n, per_thread, threads)
    assert block == (threads,)
    if grid[0] < geometry.MOST_BLOCKS:
        assert (
            (grid[0] - 1) * threads * per_thread < n <= grid[0] * threads * per_thread
        )


@given(SIZES, st.integers(1, 200))
def test_spread(n, multiprocessors):
    grid, (threads,), _ = geometry.spread(n, multiprocessors)
    assert threads in (32, 64, 128, 256)
    if grid[0] < geometry.MOST_BLOCKS:
        assert (grid[0] - 1) * threads < n <= grid[0] * threads
    assert threads == 32 or grid[0] > 2 * multiprocessors


@pytest.mark.parametrize("n", [2**31 - 1, 2**31, 2**31 + 1, 2**34])
def test_past_two_to_the_31(n):
    assert geometry.rows(n, 8, 4, (32,)).grid == (-(-n // 16),)
    assert geometry.rows(1, n, 2, (32,)) == ((1,), (geometry.WIDEST, 1), 0)
    assert geometry.flat(n, 4).grid == (-(-n // 1024),)
    assert geometry.flat(2**45, 1).grid == (2**31 - 1,)


@given(SIZES, SIZES, st.sampled_from([4, 8]), HELD)
def test_summed_rows(n, columns, itemsize, held):
    (blocks,), (lanes, together), kept = geometry.summed_rows(
        n, columns, itemsize, held
    )
    assert lanes * together == max(geometry.SUMMING, lanes) <= geometry.WIDEST
    assert 1 <= blocks <= min(geometry.PLENTY, -(-n // together))
    if kept:
        assert columns * itemsize <= lanes * kept
        assert together * columns * itemsize <= kernels.PLAIN_SHARED or together == 1
    else:
        assert columns * itemsize > geometry.WIDEST * held[-1]


@given(SIZES, SIZES, st.sampled_from([1, 2, 4, 8]))
def test_columns_summed(n, columns, vector):
    (tiles, parts), (threads,), rows = geometry.columns_summed(n, columns, vector)
    assert (tiles - 1) * threads * vector < columns <= tiles * threads * vector
    assert (parts - 1) * rows < n <= parts * rows
    assert parts <= geometry.PARTS


@given(SIZES, SIZES, SIZES, st.sampled_from([1, 2, 4, 8]))
def test_channels_by_places(n, channels, places, vector):
    places = -(-places // vector) * vector
    found = geometry.channels_by_places(n, channels, places, vector)
    (blocks, parts), (lanes, together), samples, part, cuts, span = found
    assert (blocks - 1) * together < channels <= blocks * together
    assert lanes * together == geometry.SUMMING
    assert 1 <= span <= lanes
    assert part % vector == 0
    assert (cuts - 1) * part < places <= cuts * part
    of_samples, rest = divmod(parts, cuts)
    assert rest == 0
    assert (of_samples - 1) * samples < n <= of_samples * samples
    assert parts <= 2 * geometry.PARTS  # (of a grid's second axis: 65535)


@given(SIZES, SIZES, st.sampled_from([1, 2, 4, 8]))
def test_channels_by_columns(n, columns, vector):
    (tiles, parts), (lanes, together), rows = geometry.channels_by_columns(
        n, columns, vector
    )
    assert (tiles - 1) * lanes * vector < columns <= tiles * lanes * vector
    assert lanes * together == geometry.SUMMING
    assert (parts - 1) * rows < n <= parts * rows
    assert parts <= geometry.PLENTY


@given(st.integers(1, 2**33), st.sampled_from([2, 4, 8]), st.integers(0, 100))
def test_wide(columns, itemsize, shift):
    wide = geometry.is_wide(columns, itemsize, 512 + shift * itemsize)
    row_starts = [512 + shift * itemsize + i * columns * itemsize for i in range(4)]
    assert wide == all(start % 16 == 0 for start in row_starts)


def test_the_sources_agree():
    assert f"MOST_THREADS = {geometry.WIDEST};" in kernels.read("common.cuh")
    for source in kernels.SOURCES.values():
        assert kernels.functions(kernels.read(source.file)), source.file
        assert source.wide_loads | source.wide_stores <= set(
            kernels.functions(kernels.read(source.file))
        )
