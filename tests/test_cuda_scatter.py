"""Adding by index on the CUDA backend: kernels run on the CPU, never a GPU's result."""

from __future__ import annotations

import subprocess
import sys

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
import strict_cupy
from cuda_checks import assert_close, draw_array, dtype_of, on_device, wide
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import (
    are_deterministic_algorithms_enabled,
    use_deterministic_algorithms,
)
from tinygrad_softmax.backends.cuda import geometry
from tinygrad_softmax.nn.functional import embedding


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@pytest.fixture
def sorting():
    use_deterministic_algorithms(True)
    yield
    use_deterministic_algorithms(False)


def check(backend, start, index, values, dtype, shift=0):
    """Against np.add.at in float64, on indices that are in range."""
    lengths = iter(start.shape)
    inside = tuple(
        part % next(lengths)
        if isinstance(part, np.ndarray)
        else (part, next(lengths))[0]
        for part in index
    )
    expected, scale = wide(start), abs(wide(start))
    np.add.at(expected, inside, wide(values))
    np.add.at(scale, inside, abs(wide(values)))
    out = on_device(backend, start, shift)
    given_ = tuple(
        backend.xp.asarray(part) if isinstance(part, np.ndarray) else part
        for part in index
    )
    backend.scatter_add(out, given_, backend.xp.asarray(values))
    terms = 4 + max(values.size, 1)
    assert_close(out, expected, dtype, min(terms, 300), scale)


def rows_case(rng, outer, n, rows, inner, dtype):
    shape = (outer, rows, inner)
    index = rng.integers(-rows, 2 * rows, n)
    values = draw_array(rng, (outer, n, inner), dtype)
    return draw_array(rng, shape, dtype), (slice(None), index), values


@settings(max_examples=80)
@given(st.data(), checks.dtypes, checks.schedules, st.booleans(), checks.seeds)
def test_rows(backend, data, dtype, schedule, sort, seed):
    outer, n = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 90))
    rows, inner = data.draw(st.integers(1, 40)), data.draw(st.sampled_from(INNER))
    shift = data.draw(st.sampled_from([0, 0, 1]))
    case = rows_case(np.random.default_rng(seed), outer, n, rows, inner, dtype)
    use_deterministic_algorithms(sort)
    try:
        with cuda_shim.schedule(schedule, seed % 1000):
            check(backend, *case, dtype, shift)
    finally:
        use_deterministic_algorithms(False)


INNER = (1, 2, 3, 4, 8, 31, 32, 33, 40, 128, 136)


def index_of(data, rng, shape):
    """Slices, integers, arrays, None and ...: what NumPy takes."""
    length = data.draw(st.integers(1, 4))
    parts: list = []
    for size in shape[: data.draw(st.integers(1, len(shape)))]:
        kind = data.draw(st.sampled_from("swanah"))
        if kind == "a":
            parts.append(rng.integers(-size, size, (length,)))
        elif kind == "h":
            parts.append(rng.integers(-size, size, (2, 1)))
        elif kind == "n":
            parts.append(int(rng.integers(-size, size)))
        elif kind == "s":
            parts.append(slice(None, None, data.draw(st.sampled_from([None, 2, -1]))))
        else:
            parts.append(slice(None))
    if not any(isinstance(part, np.ndarray) for part in parts):
        parts[0] = rng.integers(0, shape[0], length)
    if data.draw(st.booleans()):
        whole = [i for i, part in enumerate(parts) if isinstance(part, slice)]
        if whole and len(whole) == 1 and len(parts) == len(shape):
            parts[whole[0]] = Ellipsis
        else:
            parts.append(Ellipsis)
    if data.draw(st.booleans()):
        parts.insert(data.draw(st.integers(0, len(parts))), None)
    return tuple(parts)


@settings(max_examples=150)
@given(st.data(), st.booleans(), checks.seeds)
def test_any_index(backend, data, sort, seed):
    rng = np.random.default_rng(seed)
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    start, index = draw_array(rng, shape, "float32"), index_of(data, rng, shape)
    values = draw_array(rng, start[index].shape, "float32")
    if data.draw(st.booleans()):
        values = values.sum(dtype=np.float32)[()]
    expected = wide(start)
    np.add.at(expected, index, wide(np.asarray(values)))
    out = backend.xp.asarray(start)
    parts = tuple(
        backend.xp.asarray(part) if isinstance(part, np.ndarray) else part
        for part in index
    )
    use_deterministic_algorithms(sort)
    try:
        backend.scatter_add(out, parts, backend.xp.asarray(values))
    finally:
        use_deterministic_algorithms(False)
    assert_close(out, expected, "float32", 1000, 100.0)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 33, 64, 200])
@pytest.mark.parametrize("rows", [1, 2, 7, 500])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_runs_that_cross_chunks(backend, n, rows, dtype, sorting):
    rng = np.random.default_rng(n)
    check(backend, *rows_case(rng, 2, n, rows, 5, dtype), dtype)


def test_sorted_sums_have_the_same_bits_in_every_schedule(backend, sorting):
    rng, results = np.random.default_rng(0), set()
    start, index, values = rows_case(rng, 1, 150, 6, 9, "float32")
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            out = backend.xp.asarray(start)
            at = (slice(None), backend.xp.asarray(index[1]))
            backend.scatter_add(out, at, backend.xp.asarray(values))
            results.add(out.get().tobytes())
    assert len(results) == 1


@pytest.mark.double
def test_atomic_sums_have_not(backend):
    """So that the test above can fail. (On a GPU 32 lanes may well take turns in the
    same order each time.)"""
    values = np.float32([[1e8, 1.0, -1e8, 1.0] * 8]).T
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            out = backend.xp.zeros((1, 1), "float32")
            index = backend.xp.asarray(np.zeros(32, np.int64))
            backend.scatter_add(out, index, backend.xp.asarray(values))
            results.add(out.get().tobytes())
    assert len(results) > 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("inner", [1, 64])
@pytest.mark.parametrize("sort", [False, True])
def test_16_bits_are_rounded_once(backend, dtype, inner, sort):
    """In 16 bits, 4096 ones would stop at 2048 or 256."""
    use_deterministic_algorithms(sort)
    try:
        out = backend.xp.zeros((2, inner), dtype_of(dtype))
        index = backend.xp.asarray(np.ones(4096, np.int32))
        backend.scatter_add(out, index, backend.xp.ones((4096, inner), dtype_of(dtype)))
    finally:
        use_deterministic_algorithms(False)
    assert (wide(out.get()) == [[0.0], [4096.0]]).all()


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64", "int64"])
@pytest.mark.parametrize("sort", [False, True])
def test_dtypes_of_indices(backend, kind, sort):
    use_deterministic_algorithms(sort)
    try:
        out = backend.xp.zeros((3, 2), "float32")
        index = backend.xp.asarray(np.array([2, 0, 2], kind))
        backend.scatter_add(out, index, 1.0)
    finally:
        use_deterministic_algorithms(False)
    assert (out.get() == [[1, 1], [0, 0], [2, 2]]).all()


@pytest.mark.parametrize("sort", [False, True])
def test_a_view_is_added_to(backend, sort):
    use_deterministic_algorithms(sort)
    try:
        whole = backend.xp.zeros((3, 4), "float32")
        index = backend.xp.asarray(np.array([1, 1]))
        backend.scatter_add(whole.T[1:3], index, 1.0)
        backend.scatter_add(whole, index[:0], backend.xp.zeros((0, 4), "float32"))
        backend.scatter_add(whole[:, :0], index, 1.0)
    finally:
        use_deterministic_algorithms(False)
    assert (whole.get() == [[0, 0, 2, 0]] * 3).all()


@pytest.mark.parametrize("sort", [False, True])
def test_nan_and_inf(backend, sort):
    use_deterministic_algorithms(sort)
    try:
        out = backend.xp.zeros((4, 1), "float32")
        values = np.float32([[np.nan], [np.inf], [np.inf], [-np.inf], [-np.inf], [2]])
        index = backend.xp.asarray(np.array([0, 1, 2, 2, 3, 0]))
        backend.scatter_add(out, index, backend.xp.asarray(values))
    finally:
        use_deterministic_algorithms(False)
    np.testing.assert_array_equal(out.get()[:, 0], [np.nan, np.inf, np.nan, -np.inf])


@pytest.mark.parametrize("sort", [False, True])
def test_few_blocks(backend, sort, monkeypatch):
    """A grid that is too small goes round, in both its axes."""
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    monkeypatch.setattr(geometry, "MOST_ROWS", 2)
    use_deterministic_algorithms(sort)
    try:
        rng = np.random.default_rng(3)
        check(backend, *rows_case(rng, 3, 150, 20, 397, "float32"), "float32")
    finally:
        use_deterministic_algorithms(False)


# -- through the library ---------------------------------------------------------------


@pytest.mark.double
@pytest.mark.parametrize("sort", [False, True])
def test_gradients_wait_for_nothing(sort):
    use_deterministic_algorithms(sort)
    try:
        with strict_cupy.strict_cuda() as cuda:
            weight = tg.ones((5, 3), device="cuda", requires_grad=True)
            labels = tg.tensor([[1, 4], [1, 1]], device="cuda")
            with cuda.counting() as seen:
                embedding(labels, weight).sum().backward()
                tg.take(weight, labels, axis=1 - 1).sum().backward()
                tg.take_along_axis(weight, labels[:1, :1] - 2, axis=1).sum().backward()
            assert not seen.waits
            assert not seen.uploads
            counts = np.array([0, 6, 0, 0, 2.0])[:, None] + np.array([0, 0, 1.0])
            assert (weight.grad.numpy() == counts).all()
    finally:
        use_deterministic_algorithms(False)


def test_the_setting():
    assert not are_deterministic_algorithms_enabled()
    use_deterministic_algorithms(True, warn_only=True)
    assert are_deterministic_algorithms_enabled()
    use_deterministic_algorithms(False)
    assert not are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "False"), ("1", "True"), ("0", "False")]
)
def test_the_environment_sets_it(value, expected):
    code = (
        "from tinygrad_softmax import backends; "
        "print(backends.are_deterministic_algorithms_enabled())"
    )
    environment = {} if value is None else {"TINYGRAD_SOFTMAX_DETERMINISTIC": value}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == expected


def test_shapes_past_2_to_the_31():
    launch = geometry.items(2**40, 2**33)
    assert launch.grid == (2**31 - 1, 2**16 - 1)
    assert launch.block == (32, 8)
    assert geometry.items(5, 1) == ((1, 1), (1, 256), 0)
    for n, packs in ((1, 1), (2**40, 1), (2**20, 2**20)):
        size = geometry.chunk(n, packs)
        assert size >= 16
        assert size & (size - 1) == 0
        assert -(-n // size) <= max(2**17, 2 * n**0.5 + 1)
