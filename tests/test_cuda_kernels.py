"""The CUDA kernels of softmax: on the CPU by cuda_shim, which are not a GPU's numbers;
or on a GPU with `--device cuda`.
"""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import numpy as np
import pytest
from cuda_checks import REFERENCE, assert_close, draw_array, on_device, wide
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_softmax.backends.cuda import geometry

FORWARD = ("softmax", "log_softmax", "logsumexp")


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


def check_forward(backend, x, dtype, shift=0, names=FORWARD):
    """Within the error of d = x - m, which is rounded once, and of some operations."""
    host, given_ = wide(x), on_device(backend, x, shift)
    with np.errstate(all="ignore"):
        m = host.max(axis=1, keepdims=True)
        ulps = np.nan_to_num(abs(host - m), nan=0.0, posinf=0.0) + 12
    for name in names:
        expected = getattr(REFERENCE, name)(host)
        allowed = ulps if name == "softmax" else 12
        scale = {"softmax": 0.0, "log_softmax": 1.0, "logsumexp": abs(m[:, 0])}[name]
        with np.errstate(all="ignore"):
            scale = np.nan_to_num(scale, posinf=0.0)
        assert_close(getattr(backend, name)(given_), expected, dtype, allowed, scale)


def check_backward(backend, g, x, dtype, shift=0):
    rows_g, rows_x = on_device(backend, g, shift), on_device(backend, x)
    for name in ("softmax", "log_softmax"):
        y = getattr(backend, name)(rows_x)
        host_g, host_y = wide(g), wide(y.get())
        p = host_y if name == "softmax" else np.exp(host_y)
        terms = abs(host_g * p) if name == "softmax" else abs(host_g)
        scale = p * terms.sum(axis=1, keepdims=True) + abs(host_g) * p + abs(host_g)
        expected = getattr(REFERENCE, f"{name}_vjp")(host_g, host_y)
        got = getattr(backend, f"{name}_vjp")(rows_g, y)
        assert_close(got, expected, dtype, 32, scale)


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    checks.columns,
    checks.dtypes,
    checks.schedules,
    st.sampled_from([0, 0, 0, 1]),
    checks.seeds,
)
def test_softmax(backend, n, columns, dtype, schedule, shift, seed):
    n = min(n, 3 if columns > 1000 else 40)
    rng = np.random.default_rng(seed)
    x = draw_array(rng, (n, columns), dtype)
    g = draw_array(rng, (n, columns), dtype, scale=1.0)
    with cuda_shim.schedule(schedule, seed % 1000):
        check_forward(backend, x, dtype, shift)
        check_backward(backend, g, x, dtype, shift)


SPECIAL = (0.0, 1.0, -1.0, 50.0, -200.0, np.inf, -np.inf, np.nan)


@settings(max_examples=60)
@given(
    st.sampled_from([1, 2, 3, 8, 70, 513, 16400]),
    checks.dtypes,
    checks.schedules,
    st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=6),
    st.sampled_from(SPECIAL),
    checks.seeds,
)
def test_nan_inf_and_ties(backend, columns, dtype, schedule, values, rest, seed):
    rng = np.random.default_rng(seed)
    x = np.full((3, columns), rest)
    for row in x:
        row[rng.integers(0, columns, len(values))] = values
    with cuda_shim.schedule(schedule):
        check_forward(backend, x.astype(checks.dtype_of(dtype)), dtype)


def test_a_confident_row_keeps_its_digits(backend):
    """log1p(s) where s is far below the last place of 1."""
    x = np.zeros((1, 40), np.float32)
    x[0, 7] = 60.0
    got = backend.log_softmax(on_device(backend, x)).get()
    assert got[0, 7] == pytest.approx(-39 * np.exp(-60.0), rel=1e-5)


@pytest.mark.parametrize("columns", [5, 600, 17000])
def test_few_blocks_for_many_rows(backend, monkeypatch, columns):
    monkeypatch.setattr(geometry, "MOST_BLOCKS", 2)
    rng = np.random.default_rng(0)
    n = 71 if columns < 100 else 11
    x = draw_array(rng, (n, columns), "float32")
    check_forward(backend, x, "float32")
    check_backward(backend, draw_array(rng, (n, columns), "float32"), x, "float32")


@pytest.mark.parametrize("columns", [7, 200, 2000, 17000])
def test_every_schedule_gives_the_same_bits(backend, columns):
    x = draw_array(np.random.default_rng(1), (5, columns), "float32")
    results = set()
    for schedule in cuda_shim.SCHEDULES:
        with cuda_shim.schedule(schedule):
            results.add(backend.softmax(on_device(backend, x)).get().tobytes())
    assert len(results) == 1


def test_views_are_made_contiguous(backend):
    x = draw_array(np.random.default_rng(2), (6, 30), "float32")
    got = backend.softmax(on_device(backend, x)[::2, 3:20]).get()
    assert (
        got.tolist() == backend.softmax(on_device(backend, x[::2, 3:20])).get().tolist()
    )


def test_what_has_no_kernel_takes_the_reference(backend, monkeypatch):
    monkeypatch.setattr(backend.kernels, "get", None)  # it would be called
    for x in (np.zeros((0, 3)), np.zeros((3, 0), "int64"), np.eye(3, dtype="int32")):
        if x.shape[1]:
            got = backend.softmax(on_device(backend, x))
            assert got.get().tolist() == REFERENCE.softmax(x).tolist()


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_each_device(device):
    x = draw_array(np.random.default_rng(3), (2, 9), "float32")
    with checks.kernels_on_the_cpu() as backend, backend.on(device):
        got = backend.softmax(backend.xp.asarray(x))
        assert backend.device_of(got) == device
