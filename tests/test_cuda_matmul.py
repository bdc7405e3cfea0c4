"""Products of matrices as the CUDA backend gives them to cuBLAS, a double of it here.

The double takes addresses, leading dimensions and strides as cuBLAS does: what is
tested is that they say what they should. Nothing here ran on a GPU.
"""

from __future__ import annotations

import cuda_checks as checks
import numpy as np
import pytest
import strict_cublas
import strict_cupy
from cuda_checks import assert_close, draw_array, dtype_of, wide
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends.cuda import gemm


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@pytest.fixture
def calls(monkeypatch):
    found: list = []
    monkeypatch.setattr(strict_cublas, "calls", found)
    return found


def laid_out(backend, x, order, steps=1):
    """x on the device, its axes in memory in another order, every `steps`-th row."""
    there = np.ascontiguousarray(x.transpose(order))
    if steps > 1:
        there = np.repeat(there, steps, axis=max(0, there.ndim - 2))
    device = backend.xp.asarray(there)
    if steps > 1:
        cut = [slice(None)] * there.ndim
        cut[max(0, there.ndim - 2)] = slice(None, None, steps)
        device = device[tuple(cut)]
    return device.transpose(*np.argsort(order))


def check(backend, a, b, on_a, on_b, dtype):
    expected = np.matmul(wide(a), wide(b))
    scale = np.matmul(abs(wide(a)), abs(wide(b)))
    assert_close(backend.matmul(on_a, on_b), expected, dtype, a.shape[-1] + 2, scale)


@settings(max_examples=150)
@given(st.data(), checks.dtypes, checks.seeds)
def test_any_views_of_any_shapes(backend, data, dtype, seed):
    rng = np.random.default_rng(seed)
    length = st.integers(1, 5)
    n, k, m = data.draw(length), data.draw(length), data.draw(length)
    batch = data.draw(st.lists(st.integers(1, 4), max_size=3))
    arrays = []
    for shape in ((n, k), (k, m)):
        own = [data.draw(st.sampled_from([d, d, 1])) for d in batch]
        own = own[data.draw(st.integers(0, len(own))) :]
        if len(shape) == 2 and not own and data.draw(st.booleans()):
            shape = (k,)
        arrays.append(draw_array(rng, (*own, *shape), dtype))
    a, b = arrays
    views = [
        laid_out(
            backend,
            x,
            data.draw(st.permutations(range(x.ndim))),
            data.draw(st.integers(1, 2)),
        )
        for x in arrays
    ]
    check(backend, a, b, *views, dtype)


@pytest.mark.double
@pytest.mark.parametrize("dtype", checks.DTYPES)
@pytest.mark.parametrize("turned", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_transposed_operand_is_not_copied(backend, calls, dtype, turned):
    rng = np.random.default_rng(0)
    a, b = draw_array(rng, (2, 3, 4, 5), dtype), draw_array(rng, (2, 3, 5, 6), dtype)
    on_a, on_b = (
        laid_out(backend, x, (0, 1, 3, 2) if turn else (0, 1, 2, 3))
        for x, turn in zip((a, b), turned, strict=True)
    )
    check(backend, a, b, on_a, on_b, dtype)
    (call,) = calls
    # To cuBLAS the right operand is the first.
    assert (call["A"], call["B"]) == (on_b.data.ptr, on_a.data.ptr)
    assert (call["transb"], call["transa"]) == turned
    assert call["batchCount"] == 6


@pytest.mark.double
def test_heads_side_by_side(backend, calls):
    """(N, L, H, E) seen as (N, H, L, E): a call for each sample, or copies."""
    rng = np.random.default_rng(0)
    for samples, expected in ((2, 2), (6, 1)):
        a = draw_array(rng, (samples, 5, 4, 5), "float32")
        b = draw_array(rng, (samples, 5, 5, 4), "float32")
        on_a = laid_out(backend, a, (0, 2, 1, 3))
        check(backend, a, b, on_a, laid_out(backend, b, (0, 3, 1, 2)), "float32")
        assert len(calls) == expected, "few calls need no copy, many are not made"
        calls.clear()


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_steps_back(backend, dtype):
    """Flipped along any axis: of the batch too, where cuBLAS promises nothing."""
    rng = np.random.default_rng(6)
    a, b = draw_array(rng, (3, 4, 5), dtype), draw_array(rng, (3, 5, 6), dtype)
    for axis in range(3):
        back = tuple(slice(None, None, -1 if i == axis else 1) for i in range(3))
        on_a, on_b = backend.xp.asarray(a), backend.xp.asarray(b)
        check(backend, a[back], b, on_a[back], on_b, dtype)
        check(backend, a, b[back], on_a, on_b[back], dtype)


@pytest.mark.double
def test_one_matrix_for_all_is_copied_once(backend, calls, monkeypatch):
    """Every second column of it, which cuBLAS can't take."""
    rng, made = np.random.default_rng(7), []
    a, b = draw_array(rng, (9, 4, 5), "float32"), draw_array(rng, (5, 12), "float32")
    copied = backend._copied
    monkeypatch.setattr(backend, "_copied", lambda x: made.append(x.shape) or copied(x))
    on_a, on_b = laid_out(backend, a, (1, 0, 2)), backend.xp.asarray(b)[:, ::2]
    check(backend, a, b[:, ::2], on_a, on_b, "float32")
    assert made == [(5, 6)]
    assert len(calls) == 1


@pytest.mark.double
def test_results_side_by_side(backend, calls):
    """What is written may be a view too: heads in one row of memory."""
    rng = np.random.default_rng(1)
    a, b = (
        draw_array(rng, (2, 3, 4, 5), "float32"),
        draw_array(rng, (2, 3, 5, 7), "float32"),
    )
    memory = backend.xp.empty((2, 4, 3, 7), "float32")
    out = memory.swapaxes(1, 2)
    got = backend.product(backend.xp.asarray(a), backend.xp.asarray(b), out)
    assert got is out
    assert_close(memory.swapaxes(1, 2), wide(a) @ wide(b), "float32", 8, 50.0)
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_factors_and_a_result_to_add_to(backend, dtype):
    rng = np.random.default_rng(2)
    a, b = draw_array(rng, (3, 4, 5), dtype), draw_array(rng, (3, 5, 6), dtype)
    c = draw_array(rng, (3, 4, 6), dtype)
    expected = 0.5 * (wide(a) @ wide(b)) + 2.0 * wide(c)
    on_a, on_b = backend.xp.asarray(a), backend.xp.asarray(b)
    for kind in {dtype_of(dtype), checks.working(dtype)}:
        out = backend.xp.asarray(c.astype(kind))
        backend.product(on_a, on_b, out, 0.5, 2.0)
        assert_close(out, expected, kind.name, 16, 50.0)
        backend.product(on_a[..., :0], on_b[:, :0], out, beta=2.0)
        assert_close(
            out, 2.0 * expected, kind.name, 16, 2000.0 if kind.itemsize < 4 else 50
        )
    empty = backend.product(on_a[..., :0], on_b[:, :0])
    assert not empty.get().any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("shapes", [((4096,), (4096,)), ((1, 4096), (4096, 1)),
                                    ((4096,), (4096, 2)), ((2, 4096), (4096,)),
                                    ((2, 3, 4096), (2, 4096, 2))])  # fmt: skip
def test_16_bits_are_summed_in_float32(backend, dtype, shapes):
    """4096 ones and a half: in 16 bits the sum would stop at 2048 or 256."""
    a, b = (np.ones(shape, dtype_of(dtype)) for shape in shapes)
    got = backend.matmul(backend.xp.asarray(a), backend.xp.asarray(b))
    assert got.dtype == dtype_of(dtype)
    assert (wide(got.get()) == 4096).all()


@pytest.mark.double
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_no_part_of_a_sum_is_rounded_to_16_bits(backend, calls, dtype):
    """Which cuBLAS may do, unless told otherwise; CuPy does not tell it."""
    rng, handle = np.random.default_rng(9), strict_cublas.get_cublas_handle()
    strict_cublas.setMathMode(handle, 2)
    try:
        for lead in ((), (3,)):
            a, b = (draw_array(rng, (*lead, 4, 4), dtype) for _ in range(2))
            check(backend, a, b, *map(backend.xp.asarray, (a, b)), dtype)
        assert len(calls) == 2
        assert strict_cublas.getMathMode(handle) == 2, "as it was before"
    finally:
        strict_cublas.setMathMode(handle, 0)


def test_two_dtypes(backend):
    rng = np.random.default_rng(3)
    for first, second in (("float16", "float32"), ("float32", "float64")):
        a, b = draw_array(rng, (2, 3, 4), first), draw_array(rng, (2, 4, 5), second)
        got = backend.matmul(backend.xp.asarray(a), backend.xp.asarray(b))
        assert_close(got, wide(a) @ wide(b), second, 16, 50.0)
    whole = backend.xp.asarray(np.arange(24).reshape(2, 3, 4))
    assert (backend.matmul(whole, whole.swapaxes(1, 2)).get() >= 14).all()


@pytest.mark.double
def test_a_gpu_that_has_no_bfloat16(backend, calls, monkeypatch):
    monkeypatch.setattr(strict_cupy, "CAPABILITY", "75")
    rng = np.random.default_rng(4)
    a, b = (draw_array(rng, shape, "bfloat16") for shape in ((2, 3, 4), (2, 4, 5)))
    check(backend, a, b, backend.xp.asarray(a), backend.xp.asarray(b), "bfloat16")
    check(backend, a[0], b[0], *map(backend.xp.asarray, (a[0], b[0])), "bfloat16")
    assert [call["Atype"] for call in calls] == [0, 0], "float32"


@pytest.mark.double
def test_tf32_is_cupys_switch(backend, calls, monkeypatch):
    x = backend.xp.ones((2, 3, 3), "float32")
    for value, compute in (("0", 68), ("1", 77)):
        monkeypatch.setenv("CUPY_TF32", value)
        backend.matmul(x, x)
        assert calls[-1]["computeType"] == compute


@pytest.mark.double
def test_all_rows_are_one_product_if_they_lie_in_order(backend, calls):
    rng = np.random.default_rng(5)
    a, b = draw_array(rng, (3, 4, 5), "float32"), draw_array(rng, (5, 6), "float32")
    on_b = backend.xp.asarray(b)
    check(backend, a, b, backend.xp.asarray(a), on_b, "float32")
    assert not calls, "it is CuPy's product of two matrices"
    check(backend, a, b, laid_out(backend, a, (1, 0, 2)), on_b, "float32")
    (call,) = calls
    assert call["strideA"] == 0, "the one matrix is there for the whole batch"


def test_what_does_not_fit_is_said_as_before(backend):
    x = tg.ones((2, 3, 4), device="cuda")
    with pytest.raises(ValueError, match="do not fit"):
        tg.matmul(x, x)
    with pytest.raises(ValueError, match=r"broadcast|shape"):
        tg.matmul(x, tg.ones((3, 4, 2), device="cuda"))
    assert tg.matmul(x, tg.ones((2, 4, 0), device="cuda")).shape == (2, 3, 0)


@pytest.mark.double
def test_gradients_wait_for_nothing(backend):
    with strict_cupy.strict_cuda() as cuda:
        a = tg.ones((2, 3, 4, 5), device="cuda", requires_grad=True)
        b = tg.ones((3, 5, 2), device="cuda", requires_grad=True)
        with cuda.counting() as seen:
            tg.matmul(a, b).sum().backward()
        assert not seen.waits
        assert not seen.uploads
        assert (a.grad.numpy() == 2).all()
        assert (b.grad.numpy() == 8).all()


@pytest.mark.double
def test_on_the_second_device():
    with strict_cupy.strict_cuda():
        a = tg.ones((2, 3, 4), device="cuda:1")
        assert tg.matmul(a, tg.ones((2, 4, 3), device="cuda:1")).numpy().sum() == 72


# -- how operands are given ------------------------------------------------------------


@given(st.data())
def test_layout_is_where_the_elements_are(data):
    shape = (data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)))
    strides = (data.draw(st.integers(0, 12)), data.draw(st.integers(0, 12)))
    found = gemm.layout(shape, strides)
    if found is None:
        return
    rows, columns = shape
    assert found.ld >= (rows if found.transposed else columns)
    for i in range(rows):
        for j in range(columns):
            place = j * found.ld + i if found.transposed else i * found.ld + j
            assert place == i * strides[0] + j * strides[1]


@given(st.data())
def test_batches_are_where_the_matrices_are(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=4)))
    both = []
    for _ in range(2):
        order = data.draw(st.permutations(range(len(shape))))
        kept = data.draw(
            st.lists(st.booleans(), min_size=len(shape), max_size=len(shape))
        )
        memory = np.arange(np.prod(shape, dtype=int)).reshape([shape[i] for i in order])
        view = memory.transpose(np.argsort(order))
        strides = (s // 8 * keep for s, keep in zip(view.strides, kept, strict=True))
        both.append(tuple(strides))
    plan = gemm.batches(shape, *both)

    def places(axes):
        found = [(0, 0)]
        for length, (first, second) in axes:
            found = [
                (x + i * first, y + i * second) for x, y in found for i in range(length)
            ]
        return sorted(found)

    whole = [(n, steps) for n, *steps in zip(shape, *both, strict=True)]
    assert places([(plan.size, plan.strides), *plan.loops]) == places(whole)
    assert plan.calls * plan.size == np.prod(shape, dtype=int)


def test_past_2_to_the_31():
    """Strides are 64 bits; the batch of a contiguous array is one, however large."""
    step = 2**20
    shape, strides = (2**12, 2**6), (2**6 * step, step)
    assert gemm.batches(shape, strides, strides) == (2**18, (step, step), ())
    assert gemm.layout((3, 2**20), (2**31 - 1, 1)) == (False, 2**31 - 1)
    assert gemm.layout((3, 2**20), (2**31, 1)) is None
    assert gemm.layout((2**20, 3), (1, 2**31)) is None
    shape, strides = (2**12, 2**12, 2**12), (2**24, 2**12, 1)
    assert gemm.batches(shape, strides) == (2**24, (2**12,), ((2**12, (1,)),))


@pytest.mark.double
def test_more_rows_than_cublas_counts(backend, calls, monkeypatch):
    """16 stands for 2^31 - 1: a batch is no single matrix then, and one that is longer
    is refused, by an error and not by a wrong result."""
    monkeypatch.setattr(gemm, "MOST", 16)
    rng, xp = np.random.default_rng(8), backend.xp
    a, b = draw_array(rng, (3, 6, 5), "float32"), draw_array(rng, (5, 7), "float32")
    check(backend, a, b, xp.asarray(a), xp.asarray(b), "float32")
    assert [call["batchCount"] for call in calls] == [3]
    long, short = xp.ones((17, 2), "float32"), xp.ones((2, 3), "float32")
    for pair in ((long, short), (short.T, long.T), (long.T, long), (long[None], short)):
        with pytest.raises(ValueError, match="at most 16 rows"):
            backend.matmul(*pair)
    assert backend.matmul(long[:, 0], long[:, 1]).get() == 17


def test_what_is_copied():
    heads, rows = ((4, 256), (8, 1)), (8, 1)
    few, many, large = 1 << 10, 1 << 20, 1 << 30
    assert gemm.to_copy((4, 8), heads, rows, (few, few)) == (False, False)
    assert gemm.to_copy((64, 8), heads, rows, (many, many)) == (True, False)
    assert gemm.to_copy((64, 8), heads, rows, (large, many)) == (False, False)


# -- the double refuses what cuBLAS would take and go wrong with -----------------------


@pytest.mark.double
def test_the_double_refuses(backend):
    xp = backend.xp
    a, b, c = (xp.ones((4, 4), "float32") for _ in range(3))
    one = np.ones(2, np.float32)
    right = dict(
        handle=strict_cublas.get_cublas_handle(), transa=0, transb=0, m=4, n=4, k=4,
        alpha=one.ctypes.data, A=a.data.ptr, Atype=0, lda=4, strideA=0,
        B=b.data.ptr, Btype=0, ldb=4, strideB=0, beta=one.ctypes.data,
        C=c.data.ptr, Ctype=0, ldc=4, strideC=0, batchCount=1, computeType=68, algo=-1,
    )  # fmt: skip
    strict_cublas.gemmStridedBatchedEx(**right)
    assert (c.get() == 5).all()
    half = xp.ones((4, 4), "float16")
    wrong = {
        "lda": 3,  # less than the rows
        "m": 5,
        "k": 5,  # outside the array
        "batchCount": 2,
        "strideA": np.int64(0),
        "n": 2**31,
        "Atype": 2,
        "B": half.data.ptr,
        "computeType": 70,
        "C": c.data.ptr + 4,
        "A": one.ctypes.data,
        "alpha": a.data.ptr,
        "handle": strict_cublas.HANDLE + 1,
    }
    halves = dict(A=half.data.ptr, B=half.data.ptr, C=half.data.ptr)
    in_halves = {**right, **halves, "Atype": 2, "Btype": 2, "Ctype": 2}
    with pytest.raises(RuntimeError, match="rounded to 16 bits"):
        strict_cublas.gemmStridedBatchedEx(**in_halves)
    for name, value in wrong.items():
        with pytest.raises((RuntimeError, OverflowError, TypeError, KeyError)):
            strict_cublas.gemmStridedBatchedEx(**{**right, name: value})
    with backend.on("cuda:1"), pytest.raises((RuntimeError, ValueError)):
        backend.matmul(xp.ones((1, 2, 2), "float32"), a[None, :2, :2])
