"""The CPU's blocked and threaded kernels, each against its plain definition in Backend.

Blocks and the sizes that decide between one way and another are set small, so that
small arrays take every path.
"""

from __future__ import annotations

import sys
import threading
import tracemalloc
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hst

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Backend, numpy_softmax, softmax_blocks, threads
from tinygrad_softmax.backends.dtypes import working_dtype
from tinygrad_softmax.backends.numpy import NumpyBackend
from tinygrad_softmax.backends.scratch import KEPT_BYTES, Scratch
from tinygrad_softmax.backends.targets import Targets
from tinygrad_softmax.testing import strategies as st

FAST, PLAIN = NumpyBackend(), Backend()
DTYPES = ["float64", "float32", "float16"]
SPECIAL = [np.inf, -np.inf, np.nan, 0.0, -0.0]


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


@contextmanager
def small(block_bytes=64, narrow=True, number=1):
    """Blocks of a few numbers; all blocks transposed or none; so many threads."""
    narrow_size = 0 if narrow else sys.maxsize
    with (
        patch.object(NumpyBackend, "block_bytes", block_bytes),
        patch.object(softmax_blocks, "NARROW_SIZE", narrow_size),
        patch.object(numpy_softmax, "THREADED_BYTES", 0),
        patch.object(softmax_blocks, "SUM_AT_ONCE", 4),
    ):
        tg.set_num_threads(number)
        yield


SETTINGS = hst.fixed_dictionaries(
    {
        "block_bytes": hst.sampled_from([1, 64, 300, 1 << 20]),
        "narrow": hst.booleans(),
        "number": hst.integers(1, 3),
    }
)


@hst.composite
def rows(draw, special=True):
    """(n, C) logits of some dtype and layout, some infinite or nan; also broadcast."""
    shape = draw(st.shapes(min_ndim=2, max_ndim=2, max_side=9))
    arrays = st.arrays(shape, hst.sampled_from(DTYPES), low=-16.0, high=16.0)
    x = draw(arrays)
    if special and draw(hst.integers(0, 3)) == 0:
        place = tuple(draw(hst.integers(0, n - 1)) for n in shape)
        x[place] = draw(hst.sampled_from(SPECIAL))
    if draw(hst.integers(0, 5)) == 0:
        x = np.broadcast_to(x[:, :1], shape)
    return x


def assert_close(found, plain, size=None):
    """Within a few epsilons of `size` (by default of the plain result), and nan and
    infinite where that is."""
    assert found.dtype == plain.dtype
    assert found.shape == plain.shape
    work = working_dtype(plain.dtype)
    eps = float(8 * np.finfo(work).eps)
    if plain.dtype != work:
        eps += float(np.finfo(plain.dtype).eps)
    found, plain = found.astype(np.float64), plain.astype(np.float64)
    finite = np.isfinite(plain)
    np.testing.assert_array_equal(found[~finite], plain[~finite])
    size = np.abs(plain) if size is None else np.broadcast_to(size, plain.shape)
    allowed = eps * size[finite].astype(np.float64) + np.finfo(work).tiny
    assert (np.abs(found[finite] - plain[finite]) <= allowed).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@given(x=rows(), settings=SETTINGS)
def test_softmaxes(name, x, settings):
    before = x.copy()
    plain = getattr(PLAIN, name)(x)
    with small(**settings):
        found = getattr(FAST, name)(x)
    # A float16 result near 0 rounds to a subnormal; m + log1p(s) may cancel.
    size = np.abs(plain.astype(np.float64)) + (1.0 if x.dtype == np.float16 else 0.0)
    if name == "logsumexp":
        size = size + np.abs(np.where(np.isfinite(x), x, 0)).max(axis=1)
    assert_close(found, plain, size)
    np.testing.assert_array_equal(x, before)


LARGE = [80.0, 89.0, -80.0, -104.0, 710.0, -746.0, 1e4, -1e4]


@given(x=rows(), settings=SETTINGS, data=hst.data())
def test_softmax_of_large_and_small_rows(x, settings, data):
    """Where exp(x) is too large or too small for its digits, in some rows or in some
    elements; and no row's digits depend on the other rows."""
    for _ in range(data.draw(hst.integers(1, 4))):
        i = data.draw(hst.integers(0, len(x) - 1))
        x = x.copy()
        if data.draw(hst.booleans()):
            x[i] += x.dtype.type(data.draw(hst.sampled_from(LARGE)))
        else:
            x[i, -1] = data.draw(hst.sampled_from(LARGE))
    plain = PLAIN.softmax(x)
    with small(**settings):
        found = FAST.softmax(x)
        # (Two rows: the sum over one that is transposed would be along memory. So is
        # that of a last block of one row.)
        step = FAST._rows_at_once(x)
        whole = len(x) - (step > 1 and len(x) % step == 1)
        alone = [FAST.softmax(x[[i, i]])[0] for i in range(whole)]
    size = np.abs(plain.astype(np.float64)) + (1.0 if x.dtype == np.float16 else 0.0)
    assert_close(found, plain, size)
    np.testing.assert_array_equal(found[:whole], np.reshape(alone, found[:whole].shape))


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_is_1_where_nothing_else_counts(narrow, dtype):
    """Of one class, and of one that is far above the others."""
    x = np.linspace(-60.0, 60.0, 1001).astype(dtype)[:, None]
    above = x + np.array([0.0, -45.0, -50.0], dtype)
    with small(narrow=narrow):
        np.testing.assert_array_equal(FAST.softmax(x), np.ones_like(x))
        assert (FAST.softmax(above)[:, 0] == 1.0).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@given(x=rows(special=False), settings=SETTINGS, layout=hst.booleans())
def test_their_gradients(name, x, settings, layout):
    out = getattr(PLAIN, name)(x)
    g = (x[::-1] * x.dtype.type(0.125)).astype(x.dtype)
    g = np.asfortranarray(g) if layout else g
    kernel = name + "_vjp"
    plain = getattr(PLAIN, kernel)(g, out)
    with small(**settings):
        found = getattr(FAST, kernel)(g, out)
    sums = np.abs(g.astype(np.float64)).sum(axis=1, keepdims=True)
    assert_close(found, plain, np.abs(g.astype(np.float64)) + sums)


@hst.composite
def problems(draw):
    """Logits, and targets of every kind with every option."""
    x = draw(rows())
    n, classes = x.shape
    kind = draw(hst.sampled_from(["labels", "labels", "values"]))
    weight = draw(hst.sampled_from([None, 0.0, 0.5]))
    if weight is not None:
        weight = np.where(np.arange(classes) % 3 == 1, weight, 1.5)
    options: dict[str, Any] = {"weight": weight}
    options["label_smoothing"] = draw(hst.sampled_from([0.0, 0.0, 0.25]))
    if kind == "labels":
        ignore_index = draw(hst.sampled_from([None, 0, -100, classes]))
        legal = list(range(classes)) + ([] if ignore_index is None else [ignore_index])
        labels = draw(hst.lists(hst.sampled_from(legal), min_size=n, max_size=n))
        values = np.array(labels, dtype=draw(hst.sampled_from(["int64", "int32"])))
        return x, Targets(np, values, ignore_index=ignore_index, **options)
    values = draw(st.arrays(x.shape, "float64", low=0.0, high=1.0))
    return x, Targets(np, values, **options)


@given(
    problem=problems(),
    settings=SETTINGS,
    scale=hst.sampled_from([1.0, 0.125, np.float32(0.25)]),
    columns=hst.booleans(),
)
def test_cross_entropy(problem, settings, scale, columns):
    x, targets = problem
    before = x.copy()
    wanted, found = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    found = np.asfortranarray(found) if columns else found
    plain = PLAIN.softmax_cross_entropy(x, targets, wanted, scale)
    with small(**settings):
        losses = FAST.softmax_cross_entropy(x, targets, found, scale)
        alone = FAST.softmax_cross_entropy(x, targets)
    with np.errstate(invalid="ignore"):
        terms = np.abs(targets.dense(x.shape[1], np.dtype("float64"))).sum(axis=1)
    reach = np.where(np.isfinite(x), x, 0).astype(np.float64)
    reach = reach.max(axis=1) - reach.min(axis=1) + 1.0
    assert_close(losses, plain, terms * reach)
    np.testing.assert_array_equal(alone, losses)
    assert_close(found, wanted, terms[:, None])
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("narrow", [True, False])
def test_a_confident_row_keeps_its_digits(narrow):
    """The maximum is left out of the sum, not taken away from it; ties count."""
    x = np.array([[-40.0, 0.0], [0.0, -40.0], [0.0, 0.0], [-3.0, -3.0], [0.0, -0.0]])
    targets, grad = Targets(np, np.zeros(5, int)), np.empty_like(x)
    with small(narrow=narrow):
        loss = FAST.softmax_cross_entropy(x, targets, grad)
        lp, lse = FAST.log_softmax(x), FAST.logsumexp(x[1:2])
    tiny, half = 4.248354255291589e-18, np.log(2.0)
    np.testing.assert_allclose(loss, [40.0, tiny, half, half, half], rtol=1e-15)
    np.testing.assert_allclose(grad[1], [-tiny, tiny], rtol=1e-15)
    np.testing.assert_allclose(lp[:2, 0], [-40.0, -tiny], rtol=1e-15)
    np.testing.assert_allclose(lse, [tiny], rtol=1e-15)


@pytest.mark.parametrize("narrow", [True, False])
def test_a_label_of_weight_0_and_probability_0_costs_nothing(narrow):
    """0 times the infinite loss is 0, as it is in the plain kernel."""
    x = np.array([[0.0, -np.inf], [0.0, -np.inf]])
    targets = Targets(np, np.array([1, 0]), weight=np.array([2.0, 0.0]))
    grad, wanted = np.empty_like(x), np.empty_like(x)
    plain = PLAIN.softmax_cross_entropy(x, targets, wanted)
    with small(narrow=narrow):
        losses = FAST.softmax_cross_entropy(x, targets, grad)
    np.testing.assert_array_equal(plain, [0.0, 0.0])
    np.testing.assert_array_equal(losses, plain)
    np.testing.assert_array_equal(grad, wanted)


@pytest.mark.parametrize("classes", [3, 32, 33, 1000, 5000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_real_blocks(classes, dtype):
    """The sizes that are really used, with several blocks and a last one that is not
    full: the same digits on 1, 2 and 3 threads, and near the plain ones."""
    generator = np.random.default_rng(0)
    n = 800_003 // classes
    x = (generator.normal(size=(n, classes)) * 3).astype(dtype)
    targets = Targets(np, generator.integers(0, classes, n), ignore_index=1)
    soft, results = FAST.softmax(x[:7]), []
    for number in (1, 2, 3):
        tg.set_num_threads(number)
        grad = np.empty_like(x)
        losses = FAST.softmax_cross_entropy(x, targets, grad, 0.5)
        p, lp = FAST.softmax(x), FAST.log_softmax(x)
        results.append((losses, grad, p, lp, FAST.logsumexp(x), FAST.softmax_vjp(x, p)))
    for other in results[1:]:
        for each, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(each, wanted)
    losses, grad, p, *_ = results[0]
    assert_close(p[:7], soft)
    wanted = np.empty_like(x)
    assert_close(losses, PLAIN.softmax_cross_entropy(x, targets, wanted, 0.5))
    assert_close(grad, wanted, 0.5)


def test_long_rows_are_summed_well():
    e = np.random.default_rng(0).random((3, 100_001)).astype(np.float32)
    exact = e.sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(softmax_blocks.row_sums(e), exact, rtol=3e-7)


# -- memory ----------------------------------------------------------------------------


def test_a_step_allocates_the_gradient_and_vectors():
    """A training loop does not fault in fresh pages for what is forgotten again."""
    for n, classes in ((60_000, 10), (6000, 100)):
        x = np.zeros((n, classes), np.float32)
        grad, targets = np.empty_like(x), Targets(np, np.zeros(n, int))
        for number in (1, 2):
            tg.set_num_threads(number)
            for _ in range(3):  # every thread has its arrays after a while
                FAST.softmax_cross_entropy(x, targets, grad)
            tracemalloc.start()
            try:
                FAST.softmax_cross_entropy(x, targets, grad)
                FAST.softmax_cross_entropy(x, targets)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            rows_at_once = FAST._rows_at_once(x)
            vectors = 8 * (n + 20 * number * rows_at_once)
            assert peak <= vectors + number * numpy_softmax.BLOCK_BYTES * 2.2


def test_scratch_is_used_again_but_not_kept_if_huge():
    scratch = Scratch()
    first = scratch.array(0, (4, 5), np.dtype("float32"))
    again = scratch.array(0, (2, 3), np.dtype("float32"))
    assert np.shares_memory(first, again)
    assert not np.shares_memory(first, scratch.array(1, (4, 5), np.dtype("float32")))
    assert not np.shares_memory(first, scratch.array(0, (4, 5), np.dtype("float64")))
    side = KEPT_BYTES
    huge = scratch.array(0, (2, side), np.dtype("int8"))
    assert not np.shares_memory(huge, scratch.array(0, (2, side), np.dtype("int8")))
    found = []
    thread = threading.Thread(
        target=lambda: found.append(scratch.array(0, (4, 5), np.dtype("float32")))
    )
    thread.start()
    thread.join()
    assert not np.shares_memory(first, found[0])


def test_the_gradient_of_softmax_is_the_leafs_own():
    """No copy on the way to `.grad`: the fused body's result belongs to nobody else."""
    x = tg.tensor(np.zeros((3, 4)), requires_grad=True)
    seed = tg.tensor(np.ones((3, 4)))
    made = []
    kernel = NumpyBackend.softmax_vjp

    def keep(self, g, out):
        made.append(kernel(self, g, out))
        return made[0]

    with patch.object(NumpyBackend, "softmax_vjp", keep):
        tg.softmax(x).backward(seed)
    assert x.grad.array is made[0]


# -- labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_examined_labels(dtype):
    """ignore_index is forgotten only where no label can be it."""
    labels = np.array([0, 2, 1], dtype)
    assert FAST.examine_labels(labels, 3, -100) == (None, None)
    assert FAST.examine_labels(labels, 3, None) == (None, None)
    assert FAST.examine_labels(labels, 3, 1) == (None, 1)
    assert FAST.examine_labels(labels, 2, 2) == (None, 2)
    assert FAST.examine_labels(labels[:0], 3, -100) == (None, -100)
    with pytest.raises(IndexError, match="row 1 is 2"):
        FAST.examine_labels(labels, 2, -100)
    with pytest.raises(IndexError, match="row 0 is -1"):
        FAST.examine_labels(np.array([-1, 0]), 2, None)
    with pytest.raises(IndexError, match="row 0 is -1"):  # 255, if unsigned
        FAST.examine_labels(np.array([-1, 0], "int8"), 300, None)
    ignored = np.array([-100, 0], "int8")
    assert FAST.examine_labels(ignored, 300, -100) == (None, -100)
    assert PLAIN.examine_labels(labels, 3, -100) == (None, -100)
