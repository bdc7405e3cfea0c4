"""The CUDA kernels of the cross-entropy: on the CPU by cuda_shim, which are not a GPU's
numbers; or on a GPU with `--device cuda`.
"""

from __future__ import annotations

import cuda_checks as checks
import cuda_cross_entropy
import cuda_shim
import numpy as np
import pytest
from cuda_cross_entropy import Case
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.backends import cupy_cross_entropy
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.cuda import geometry
from tinygrad_softmax.backends.targets import Targets


@pytest.fixture(scope="module")
def backend(request):
    with checks.kernels_on(request.config.getoption("device")) as backend:
        yield backend


@pytest.mark.parametrize("case", cuda_cross_entropy.CASES, ids=str)
def test_every_kernel_with_every_option(backend, case):
    case(backend)


@settings(max_examples=150)
@given(
    st.integers(1, 40),
    checks.columns,
    checks.dtypes,
    st.sampled_from(["int32", "int64", "float32", "same"]),
    st.sampled_from(["mean", "sum", "none"]),
    st.booleans(),
    st.sampled_from([None, -100, 0]),
    st.sampled_from([0.0, 0.0, 0.1, 1.0]),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0.1, 3.0, 30.0]),
    checks.schedules,
    checks.seeds,
)
def test_rows(backend, n, columns, dtype, target, reduction, weighted, ignore, e, shift,
              scale, schedule, seed):  # fmt: skip
    n = min(n, 3 if columns > 1000 else 40)
    if target == "same" or (target == "float32" and dtype == "float64"):
        target = dtype
    ignore = ignore if "int" in target else None
    case = Case((n, columns), 1, dtype, target, reduction, weighted, ignore, e, shift,
                scale, seed)  # fmt: skip
    with cuda_shim.schedule(schedule, seed % 1000):
        case(backend)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.data(),
    checks.dtypes,
    st.sampled_from(["int32", "int64", "same"]),
    st.sampled_from(["mean", "sum", "none"]),
    st.booleans(),
    st.booleans(),
    checks.seeds,
)
def test_any_axis(
    backend, shape, data, dtype, target, reduction, weighted, turned, seed
):
    axis = data.draw(st.integers(0, len(shape) - 1))
    target = dtype if target == "same" else target
    Case(tuple(shape), axis, dtype, target, reduction, weighted, seed=seed,
         transposed=turned)(backend)  # fmt: skip


@pytest.mark.parametrize("most_rows", [geometry.MOST_ROWS, 2])
def test_some_long_rows_in_parts(backend, monkeypatch, most_rows):
    """As many as half of an H200's multiprocessors could have; and more than a grid's
    second axis takes."""
    limits = backend.kernels.limits()._replace(multiprocessors=132)
    monkeypatch.setattr(backend.kernels, "limits", lambda: limits)
    monkeypatch.setattr(geometry, "MOST_ROWS", most_rows)
    for case in (
        Case((5, 8200), 1, "float64"),
        Case(
            (5, 20001), 1, "bfloat16", reduction="none", ignore_index=3, smoothing=0.1
        ),
        Case((3, 16400), 1, target="float32", weighted=True),
    ):
        for schedule in cuda_shim.SCHEDULES:
            with cuda_shim.schedule(schedule):
                case(backend)


def test_confident_rows_keep_their_digits(backend):
    cuda_cross_entropy.confident_rows(backend)


SPECIAL = (0.0, 1.0, -200.0, np.inf, -np.inf, np.nan)


@settings(max_examples=150)
@given(
    st.sampled_from([2, 3, 9, 40, 17001]),
    st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=6),
    st.integers(0, 40),
    st.booleans(),
    checks.schedules,
    checks.seeds,
)
def test_infinities_and_nan_are_where_the_reference_has_them(
    backend, columns, values, label, soft, schedule, seed
):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4, columns))
    places = rng.integers(0, x.size, len(values))
    x.reshape(-1)[places] = values
    label = min(label, columns - 1)
    target = np.full(4, label)
    if soft:
        target = rng.random(x.shape) * (rng.random(x.shape) < 0.6)
    found = []
    with cuda_shim.schedule(schedule):
        for device in ("cuda", "cpu"):
            logits = tg.tensor(x, device=device, requires_grad=True)
            to = tg.tensor(target, device=device)
            loss = tg.softmax_cross_entropy(logits, to, reduction="none")
            loss.sum().backward()
            found.append((loss.detach().numpy(), logits.grad.numpy()))
    for ours, reference in zip(*found, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-11, atol=1e-13)


def test_in_place_over_the_logits(backend):
    """As linear_cross_entropy asks for it: the gradient takes the logits' place."""
    rng = np.random.default_rng(1)
    for columns in (5, 64, 17001):
        x, labels = rng.normal(size=(3, columns)), rng.integers(0, columns, 3)
        expected = x.copy()
        losses = Backend().softmax_cross_entropy(x, Targets(np, labels), expected)
        place = backend.xp.asarray(x)
        targets = Targets(backend.xp, backend.xp.asarray(labels))
        got = backend.softmax_cross_entropy(place, targets, place)
        np.testing.assert_allclose(got.get(), losses, rtol=1e-12)
        np.testing.assert_allclose(place.get(), expected, rtol=1e-12, atol=1e-14)


def test_float16_gradients_are_not_flushed_by_the_mean(backend):
    """1 / n is left to backward: half of these would be 0 in float16."""
    n = 70000
    x = tg.tensor(np.zeros((n, 2), "float16"), device="cuda", requires_grad=True)
    loss = tg.softmax_cross_entropy(x, tg.tensor(np.zeros(n, "int64"), device="cuda"))
    (loss * 4096.0).backward()
    expected = np.float16(0.5 * 4096 / n)
    np.testing.assert_allclose(abs(x.grad.numpy()), expected, rtol=2e-3)
    assert cupy_cross_entropy.scales_late(np.dtype("float16"))
