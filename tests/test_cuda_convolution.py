"""Convolution and pooling on the CUDA backend: kernels run on the CPU, cuBLAS's double.

No result here is a GPU's.
"""

from __future__ import annotations

from typing import Any

import cuda_checks as checks
import cuda_shim
import cuda_window_cases as cases
import numpy as np
import pytest
import strict_cublas
import strict_cupy
from cuda_checks import REFERENCE, assert_close, draw_array, wide
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends.cuda import geometry
from tinygrad_softmax.backends.windows import Window
from tinygrad_softmax.nn import functional as F  # noqa: N812  (PyTorch's habit)


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@st.composite
def forms(draw: Any, groups: int = 1) -> cases.Form:
    axes = draw(st.integers(1, 3))

    def numbers(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(axes))

    lengths, kernel = numbers(1, 40 if axes == 1 else 6), numbers(1, 3)
    stride, padding, dilation = numbers(1, 3), numbers(0, 3), numbers(1, 3)
    n, channels = draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    return cases.form(lengths, kernel, stride, padding, dilation, n, channels)


@settings(max_examples=50)
@given(st.data(), checks.dtypes, checks.schedules, checks.seeds)
def test_the_three_products(backend, data, dtype, schedule, seed):
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    of, outputs = data.draw(forms(groups)), groups * data.draw(st.integers(1, 3))
    with cuda_shim.schedule(schedule):
        cases.convolving(of, groups, outputs, dtype, seed)(backend)


@settings(max_examples=50)
@given(forms(), checks.dtypes, checks.schedules, checks.seeds)
def test_columns(backend, of, dtype, schedule, seed):
    with cuda_shim.schedule(schedule):
        cases.columns(of, dtype, seed)(backend)


@settings(max_examples=50)
@given(forms(), checks.dtypes, checks.schedules, st.integers(0, 2), checks.seeds)
def test_pooling(backend, of, dtype, schedule, digits, seed):
    with cuda_shim.schedule(schedule):
        cases.pooling(of, dtype, digits, seed)(backend)


@pytest.mark.parametrize("dtype", checks.DTYPES)
def test_a_whole_plane_is_not_left_to_one_thread(backend, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    x = draw_array(rng, (2, 3, 20, 30), dtype, 1.0)
    whole = Window((20, 30), (20, 30), (0, 0), (1, 1))
    names, launch = [], backend._window_launch
    monkeypatch.setattr(
        backend, "_window_launch", lambda *args: names.append(args[0]) or launch(*args)
    )
    expected = wide(x).sum((2, 3), keepdims=True)
    scale = abs(wide(x)).sum((2, 3), keepdims=True)
    got = backend.window_sum(checks.on_device(backend, x), whole, (1, 1))
    assert_close(got, expected, dtype, 600, scale)
    assert not names
    for less in (whole._replace(padding=(0, 1)), whole._replace(kernel=(20, 29))):
        expected = REFERENCE.window_sum(wide(x), less, (1, 1))
        got = backend.window_sum(checks.on_device(backend, x), less, (1, 1))
        assert_close(got, expected, dtype, 600, scale)
    assert names == ["window_sum"] * 2


@pytest.mark.parametrize("case", cases.CASES)
def test_few_blocks(backend, case, monkeypatch):
    """A grid that is too small goes round, in both its axes."""
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    monkeypatch.setattr(geometry, "MOST_ROWS", 1)
    case(backend)


@pytest.mark.parametrize("size", [1, 2000, 1 << 20])
@pytest.mark.parametrize("groups", [1, 2])
def test_columns_are_made_for_some_samples_at_a_time(
    backend, size, groups, monkeypatch
):
    """Never more than `column_bytes` of them, or those of one sample."""
    monkeypatch.setattr(backend, "column_bytes", size)
    of, made = cases.form((6, 5), (3, 3), padding=(1, 1), n=5), []
    empty = backend.xp.empty

    def noting(shape, dtype=float):
        made.append(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return empty(shape, dtype)

    monkeypatch.setattr(backend.xp, "empty", noting)
    cases.convolving(of, groups, 4, "float32")(backend)
    of_sample = 4 * 9 * 30 * 4
    assert max(made) <= max(size, of_sample, 5 * 4 * 30 * 4)
    assert max(made) >= min(5 * of_sample, size // of_sample * of_sample)


def test_a_window_of_one_element_needs_no_columns(backend, monkeypatch):
    def unwanted(*_: Any) -> None:
        raise AssertionError("columns were made")

    for name in ("_im2col", "_col2im"):
        monkeypatch.setattr(backend, name, unwanted)
    cases.convolving(cases.POINTS, 2, 2, "float32")(backend)
    with pytest.raises(AssertionError, match="columns were made"):
        cases.convolving(cases.SPARSE, 1, 2, "float32")(backend)


@pytest.mark.double
def test_one_product_for_the_batch(backend, monkeypatch):
    """One call of cuBLAS each, with nothing transposed but by its flags."""
    calls: list = []
    monkeypatch.setattr(strict_cublas, "calls", calls)
    cases.convolving(cases.form((6, 5), (3, 3), n=7), 1, 4, "float16")(backend)
    assert [call["batchCount"] for call in calls] == [7, 7, 1]
    assert [call["Ctype"] for call in calls] == [2, 0, 0], "float16, then float32 sums"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bits_are_summed_in_float32(backend, dtype):
    """4096 ones: in 16 bits the sum would stop at 2048 or 256."""
    xp, kind = backend.xp, checks.dtype_of(dtype)
    x, ones = xp.ones((1, 4096, 3), kind), xp.ones((1, 4096, 1), kind)
    window = Window((1,), (2,), (0,), (1,))
    got = backend.convolution(x, ones, None, window, (2,), 1)
    assert (wide(got.get()) == 4096).all()
    window = Window((4096,), (1,), (4095,), (1,))
    long = xp.ones((1, 1, 4096), kind)
    assert wide(backend.window_sum(long, window, (4096,)).get())[0, 0, -1] == 4096
    assert wide(backend.window_spread(long, window, (4096,)).get())[0, 0, 0] == 4096


def test_two_dtypes_and_a_wider_bias(backend):
    rng, xp = np.random.default_rng(0), backend.xp
    x, w = draw_array(rng, (2, 3, 5), "float16"), draw_array(rng, (4, 3, 2), "float32")
    bias, window = draw_array(rng, 4, "float64"), Window((2,), (1,), (0,), (1,))
    on = [xp.asarray(each) for each in (x, w, bias)]
    expected = REFERENCE.convolution(wide(x), wide(w), None, window, (4,), 1)
    got = backend.convolution(*on[:2], None, window, (4,), 1)
    assert_close(got, expected, "float32", 16, 100.0)
    got = backend.convolution(*on, window, (4,), 1)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got.get(), expected + bias[:, None], atol=1e-4)


def test_what_has_no_kernel(backend):
    """Integers, four axes and arrays without elements are done by the plain code."""
    xp, window = backend.xp, Window((2,), (1,), (0,), (1,))
    whole = np.arange(6).reshape(1, 1, 6)
    best, numbers = backend.window_max(xp.asarray(whole), window, (5,))
    assert (best.get() == [[[1, 2, 3, 4, 5]]]).all()
    assert (numbers.get() == 1).all()
    assert (backend.window_sum(xp.asarray(whole), window, (5,)).get()[0, 0] % 2).all()
    assert backend.window_spread(xp.asarray(whole), window, (7,)).get().sum() == 30
    assert (backend.im2col(xp.asarray(whole), window, (5,)).get()[0, 0] < 5).all()
    none = xp.zeros((0, 1, 6), "float32")
    assert backend.window_max(none, window, (5,))[0].shape == (0, 1, 5)
    weight = xp.ones((2, 1, 2), "float32")
    assert backend.convolution(none, weight, None, window, (5,), 1).shape == (0, 2, 5)
    got = backend.kernel_correlation(none, xp.zeros((0, 2, 5), "float32"), window, 1)
    assert not got.get().any()
    four = Window((1,) * 4, (1,) * 4, (0,) * 4, (1,) * 4)
    x = xp.ones((1, 2, 2, 2, 2, 2), "float32")
    weight = xp.ones((3, 2, 1, 1, 1, 1), "float32")
    assert (backend.convolution(x, weight, None, four, (2,) * 4, 1).get() == 2).all()


def test_planes_past_2_to_the_30_have_no_kernel(backend):
    """Their elements are counted in 32 bits; planes are not."""
    x, window = backend.xp.ones((1, 1, 1), "float32"), Window((1,), (1,), (0,), (1,))
    assert backend._has_window_kernel(x, window, (2**29,), (2**29,))
    assert not backend._has_window_kernel(x, window, (1,), (2**30 + 1,))
    far = Window((2,), (1,), (0,), (2**30,))
    assert not backend._has_window_kernel(x, far, (1,), (1,))
    two = Window((1, 1), (1, 1), (0, 0), (1, 1))
    assert not backend._has_window_kernel(x, two, (1, 1), (2**16, 2**15))
    assert geometry.items(2**40, 2**30).grid == (2**31 - 1, 2**16 - 1)


@pytest.mark.double
def test_training_waits_for_nothing():
    with strict_cupy.strict_cuda() as cuda:
        rng = np.random.default_rng(0)
        x, w = rng.normal(size=(2, 4, 6, 6)), rng.normal(size=(6, 2, 3, 3))
        results = []
        for device in ("cuda", "cpu"):
            on_x = tg.tensor(x, device=device, requires_grad=True)
            on_w = tg.tensor(w, device=device, requires_grad=True)
            bias = tg.zeros(6, dtype="float64", device=device, requires_grad=True)
            with cuda.counting() as seen:
                y = F.conv2d(on_x, on_w, bias, padding=1, groups=2)
                z = F.max_pool2d(y, 2) + F.avg_pool2d(y, 2)
                F.conv_transpose2d(z, on_w, groups=2).sum().backward()
            assert not seen.waits
            assert not seen.uploads
            results.append([each.grad.numpy() for each in (on_x, on_w, bias)])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)
