"""What the softmax cross-entropy costs: memory, copies, and blocks of rows."""

from __future__ import annotations

import gc
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hst

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Backend, backend_of, numpy_softmax
from tinygrad_softmax.backends.numpy import NumpyBackend
from tinygrad_softmax.backends.targets import Targets
from tinygrad_softmax.testing import strategies


def peak_bytes(function):
    """The most that was allocated at once while `function` ran (NumPy reports it)."""
    function()  # what is made once does not count
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = function()
        return tracemalloc.get_traced_memory()[1] - before, result
    finally:
        tracemalloc.stop()


def problem(shape, axis, kind, dtype="float32"):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=shape).astype(dtype)
    if kind == "values":
        return logits, generator.random(shape).astype("float32")
    rows = shape[:axis] + shape[axis:][1:]
    return logits, generator.integers(0, shape[axis], rows)


MEMORY = {
    "contiguous": ((4096, 1000), 1, "labels", {}),
    "target values": ((4096, 1000), 1, "values", {}),
    "weights, smoothing, ignored rows": (
        (4096, 1000),
        1,
        "labels",
        {"weight": np.ones(1000), "label_smoothing": 0.1, "ignore_index": 3},
    ),
    "columns": ((1000, 4096), 0, "labels", {}),
    "images": ((16, 64, 64, 64), 1, "labels", {}),
    "images, target values": ((16, 64, 64, 64), 1, "values", {}),
    "many small matrices": ((20000, 100, 2), 1, "labels", {}),
    "float64": ((2048, 1000), 1, "labels", {"dtype": "float64"}),
}


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", MEMORY)
def test_nothing_of_the_logits_size_but_the_gradient(name, reduction):
    shape, axis, kind, options = MEMORY[name]
    options = dict(options)
    dtype = options.pop("dtype", "float32")
    logits, target = problem(shape, axis, kind, dtype)

    def step():
        x = tg.asarray(logits, requires_grad=True)
        loss = tg.softmax_cross_entropy(
            x, target, axis=axis, reduction=reduction, **options
        )
        (loss.sum() if reduction == "none" else loss * 0.5).backward()
        return x.grad

    peak, gradient = peak_bytes(step)
    assert gradient.shape == shape
    assert peak <= 1.25 * logits.nbytes


@pytest.mark.parametrize("name", MEMORY)
def test_nothing_of_the_logits_size_without_a_graph(name):
    shape, axis, kind, options = MEMORY[name]
    options = dict(options)
    logits, target = problem(shape, axis, kind, options.pop("dtype", "float32"))
    x = tg.asarray(logits, requires_grad=True)

    def loss():
        with tg.no_grad():
            return tg.softmax_cross_entropy(x, target, axis=axis, **options)

    assert peak_bytes(loss)[0] <= 0.25 * logits.nbytes


def test_the_graph_keeps_the_gradient_and_no_other_array():
    logits, target = problem((4096, 1000), 1, "labels")

    def forward():
        return tg.softmax_cross_entropy(tg.asarray(logits, requires_grad=True), target)

    forward()
    gc.collect()
    tracemalloc.start()
    loss = forward()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert loss.requires_grad
    assert kept <= 1.01 * logits.nbytes


# -- the gradient is handed on, not copied ---------------------------------------------


def residual_of(loss):
    """The gradient that the forward pass made."""
    node = loss.node
    rule = next(rule for rule in node.plan.rules if rule.op.inputs[0] == "logits")
    (saved,) = node.saved
    residuals = zip(saved, rule.residual, strict=True)
    return next(value for value, own in residuals if own)


def small_loss(**options):
    """A leaf, its loss, and the gradient that the forward pass made."""
    x = tg.tensor(np.zeros((3, 4)), requires_grad=True)
    loss = tg.softmax_cross_entropy(x, tg.tensor([0, 1, 2]), **options)
    return x, loss, residual_of(loss)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_engines_own_seed_does_not_multiply(reduction):
    """What can't be written to comes out as it is: the same array, the leaf's own."""
    x, loss, made = small_loss(reduction=reduction)
    made.flags.writeable = False
    loss.backward()
    assert x.grad.array is made


def test_a_one_from_elsewhere_is_a_number_like_any_other():
    """The seed is known by identity: to look at values, a GPU would have to wait."""
    _, loss, made = small_loss()
    made.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        loss.backward(tg.tensor(np.array(1.0)))


def test_a_dying_gradient_is_scaled_in_place():
    x, loss, made = small_loss()
    wanted = made * 3.0
    (loss * 3.0).backward()
    assert x.grad.array is made
    np.testing.assert_array_equal(made, wanted)


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_gradient_that_is_needed_again_is_copied(factor):
    x, loss, made = small_loss()
    before = made.copy()
    (loss if factor == 1.0 else loss * factor).backward(retain_graph=True)
    assert not np.shares_memory(x.grad.array, made)
    x.grad.array[...] = 99.0
    np.testing.assert_array_equal(made, before)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_three_backwards_through_one_graph(reduction, factor):
    x = tg.tensor(np.array([[0.0, 1.0, 2.0]]), requires_grad=True)
    loss = tg.softmax_cross_entropy(x, tg.tensor([1]), reduction=reduction).sum()
    scaled = loss if factor == 1.0 else loss * factor
    once = tg.grad(scaled, x, retain_graph=True).numpy().copy()
    for times in (1, 2, 3):
        scaled.backward(retain_graph=True)
        np.testing.assert_allclose(x.grad.numpy(), times * once, rtol=1e-15)
    x.grad = None
    scaled.backward()
    np.testing.assert_array_equal(x.grad.numpy(), once)
    with pytest.raises(RuntimeError, match="freed"):
        scaled.backward()


def test_two_leaves_never_share_a_gradient():
    x = tg.tensor(np.array([[0.0, 1.0]]), requires_grad=True)
    y = tg.tensor(np.array([[0.0, 1.0]]), requires_grad=True)
    tg.softmax_cross_entropy(x + y, tg.tensor([1])).backward()
    assert not np.shares_memory(x.grad.array, y.grad.array)
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


# -- blocks of rows --------------------------------------------------------------------


def small_blocks(monkeypatch, rows, classes, itemsize):
    monkeypatch.setattr(NumpyBackend, "block_bytes", rows * classes * itemsize)


OPTIONS = {
    "labels": {},
    "weights": {"weight": np.linspace(0.5, 2.0, 7)},
    "smoothing": {"label_smoothing": 0.25},
    "ignored rows": {"ignore_index": 2},
    "everything": {
        "weight": np.linspace(0.5, 2.0, 7),
        "label_smoothing": 0.25,
        "ignore_index": 2,
    },
    "bad labels": {"bad": np.arange(23) % 5 == 1},
}


@pytest.mark.parametrize("rows", [1, 4, 23, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["labels", "values"])
@pytest.mark.parametrize("name", OPTIONS)
def test_blocks_of_rows_are_the_reference_kernel(name, kind, dtype, rows, monkeypatch):
    """NumpyBackend against Backend on every option: all but the sums' last digits."""
    options = dict(OPTIONS[name])
    if kind == "values":
        options.pop("ignore_index", None)
        options.pop("bad", None)
    small_blocks(monkeypatch, rows, 7, np.dtype(dtype).itemsize)
    generator = np.random.default_rng(0)
    logits = (generator.normal(size=(23, 7)) * 9).astype(dtype)
    target = (
        generator.integers(0, 7, 23) if kind == "labels" else generator.random((23, 7))
    )
    targets = Targets(np, target, **options)
    for scale in (1.0, 0.125, np.float32(0.3)):
        found, wanted = np.empty_like(logits), np.empty_like(logits)
        loss = NumpyBackend().softmax_cross_entropy(logits, targets, found, scale)
        plain = Backend().softmax_cross_entropy(logits, targets, wanted, scale)
        eps = np.finfo(plain.dtype).eps
        np.testing.assert_allclose(loss, plain, rtol=4 * eps)
        largest = np.abs(wanted).max(axis=1, keepdims=True).astype(plain.dtype)
        rounding = np.finfo(dtype).eps * largest if dtype == "float16" else 0.0
        allowed = 4 * eps * largest + rounding
        same = (found == wanted) | np.isnan(found) & np.isnan(wanted)
        assert (same | (np.abs(found - wanted) <= allowed)).all()
    found = NumpyBackend().softmax_cross_entropy(logits, targets)
    np.testing.assert_array_equal(found, loss)


@pytest.mark.parametrize("rows", [1, 2, 5, 1000])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_blocks_of_matrices(axis, rows, monkeypatch):
    """With axes before and after the classes, small matrices are copied together."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, 4, 2, 5))
    target = generator.random(logits.shape)
    labels = target.argmax(axis=axis)

    def values(target):
        x = tg.tensor(logits, requires_grad=True)
        loss = tg.softmax_cross_entropy(x, target, axis=axis, reduction="none")
        loss.sum().backward()
        return loss.detach().numpy(), x.grad.numpy()

    wanted = [values(target), values(labels)]
    small_blocks(monkeypatch, rows, 8, 8)
    found = [values(target), values(labels)]
    for each, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(each[0], other[0])
        np.testing.assert_array_equal(each[1], other[1])


def test_a_large_problem_goes_through_blocks():
    """The block that is really used, against the reference kernel on the whole."""
    logits, labels = problem((3000, 333), 1, "labels")
    backend = backend_of(logits)
    assert logits.nbytes > 3 * backend.block_bytes
    x = tg.tensor(logits, requires_grad=True)
    loss = tg.softmax_cross_entropy(x, labels)
    loss.backward()
    wanted = np.empty_like(logits)
    losses = Backend().softmax_cross_entropy(
        logits, Targets(np, labels), wanted, 1 / 3000
    )
    np.testing.assert_allclose(loss.item(), losses.mean(dtype=float), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-6)


LABELS_KERNEL = (
    dict(),
    dict(ignore_index=2),
    dict(ignore_index=-100),
    dict(weight=np.linspace(0.5, 2.0, 7, dtype="float32")),
    dict(reduction="sum"),
)


@pytest.mark.parametrize("options", LABELS_KERNEL)
@pytest.mark.parametrize("rows", [5, 3000])
def test_labels_never_become_rows_of_targets_on_the_cpu(options, rows, monkeypatch):
    """The plain kernel, which makes such rows, takes several times as long."""

    def plain(*_args, **_options):
        raise AssertionError("the plain kernel was used")

    monkeypatch.setattr(Backend, "softmax_cross_entropy", plain)
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((rows, 4)).astype("f"), requires_grad=True)
    weight = tg.tensor(rng.standard_normal((7, 4)).astype("f"), requires_grad=True)
    target = tg.tensor(rng.integers(0, 7, rows))
    tg.softmax_cross_entropy(x @ weight.T, target, **options).backward()
    if "weight" in options:
        options = dict(class_weight=options["weight"])
    tg.linear_cross_entropy(x, weight, target, **options).backward()


@given(
    strategies.shapes(min_ndim=2, max_ndim=2, max_side=9),
    hst.sampled_from(["float32", "float64"]),
    hst.sampled_from(["int32", "int64"]),
    hst.integers(0, 99),
)
def test_the_short_way_of_a_small_batch_gives_the_same_bits(shape, dtype, kind, seed):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal(shape) * 10).astype(dtype)
    target = rng.integers(0, shape[1], shape[0]).astype(kind)
    found = []
    for backend in (numpy_softmax.SoftmaxKernels, Backend):
        way = backend.cross_entropy
        with mock.patch.object(numpy_softmax.SoftmaxKernels, "cross_entropy", way):
            x = tg.tensor(logits, requires_grad=True)
            loss = tg.softmax_cross_entropy(x, tg.tensor(target))
            loss.backward()
            found.append((loss.detach().numpy(), x.grad.numpy()))
    for short, long in zip(*found, strict=True):
        np.testing.assert_array_equal(short, long)
