"""`linear_cross_entropy` is the softmax cross-entropy of a linear layer, in chunks."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.testing import check_grads

N, D, C = 7, 3, 5
CHUNKS = [1, 2, 3, 7, 8, 1000, None]
REDUCTIONS = ["mean", "sum", "none"]
by_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
by_half = pytest.mark.parametrize("half", ["float16", "bfloat16"])

KINDS = {
    "labels": {},
    "everything": {
        "class_weight": [0.5, 1.0, 2.0, 0.25, 1.5],
        "ignore_index": 3,
        "label_smoothing": 0.2,
    },
    "values": {"class_weight": [1.0, 2.0, 3.0, 4.0, 5.0], "label_smoothing": 0.5},
}


def layer(device, *, bias=True, shape=(N,), dtype="float64", seed=0):
    """x, weight, bias (or None): leaves."""
    generator = np.random.default_rng(seed)

    def leaf(*shape):
        array = generator.normal(size=shape)
        return tg.tensor(array, dtype=dtype, device=device, requires_grad=True)

    x, weight = leaf(*shape, D), leaf(C, D)
    return x, weight, leaf(C) if bias else None


def targets(kind, device, shape=(N,)):
    generator = np.random.default_rng(1)
    if kind == "values":
        return tg.tensor(generator.normal(size=(*shape, C)), device=device)
    return tg.tensor(generator.integers(0, C, shape), device=device)


def in_two_steps(x, weight, target, bias=None, *, class_weight=None, **options):
    logits = x @ weight.T
    logits = logits if bias is None else logits + bias
    return tg.softmax_cross_entropy(logits, target, weight=class_weight, **options)


def derivatives(f, inputs, **options):
    """The loss and its gradients, with a gradient for each row of `none`."""
    loss = f(*inputs)
    seed = np.linspace(-1.0, 2.0, max(loss.size, 1))[: loss.size].reshape(loss.shape)
    seed = tg.tensor(seed, dtype=loss.dtype, device=loss.device)
    leaves = [each for each in inputs if each is not None and each.requires_grad]
    found = tg.grad(loss, leaves, seed if loss.shape else None, **options)
    return [each.detach().numpy() for each in (loss, *found)]


def assert_same(found, wanted, rtol=1e-12, atol=1e-14):
    for each, other in zip(found, wanted, strict=True):
        assert each.dtype == other.dtype
        assert each.shape == other.shape
        np.testing.assert_allclose(each, other, rtol=rtol, atol=atol)


# -- equal to two steps ----------------------------------------------------------------


@by_reduction
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_two_steps(bias, kind, chunk, reduction, device):
    inputs, target = layer(device, bias=bias), targets(kind, device)
    options = {"reduction": reduction, **KINDS[kind]}

    def in_one(x, weight, bias):
        return tg.linear_cross_entropy(x, weight, target, bias, chunk=chunk, **options)

    def in_two(x, weight, bias):
        return in_two_steps(x, weight, target, bias, **options)

    wanted = derivatives(in_two, inputs)
    assert_same(derivatives(in_one, inputs), wanted)
    assert_same(derivatives(in_one, inputs, create_graph=True), wanted)
    with tg.no_grad():
        np.testing.assert_array_equal(in_one(*inputs).numpy(), in_one(*inputs).numpy())
        np.testing.assert_allclose(in_one(*inputs).numpy(), wanted[0], rtol=1e-12)


@by_reduction
@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_gradients_that_nobody_asked_for(needed, reduction, device):
    inputs, target = layer(device), targets("labels", device)
    inputs = [x if k in needed else x.detach() for k, x in enumerate(inputs)]

    def in_one(x, weight, bias):
        return tg.linear_cross_entropy(
            x, weight, target, bias, chunk=3, reduction=reduction
        )

    def in_two(x, weight, bias):
        return in_two_steps(x, weight, target, bias, reduction=reduction)

    wanted = derivatives(in_two, inputs)
    assert_same(derivatives(in_one, inputs), wanted)
    assert_same(derivatives(in_one, inputs, create_graph=True), wanted)


@by_reduction
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (2, 3), (2, 1, 3), (0,), (2, 0)])
def test_rows_of_any_shape(shape, kind, reduction, device):
    inputs, target = layer(device, shape=shape), targets(kind, device, shape)
    options = {"reduction": reduction, **KINDS[kind]}

    def in_one(x, weight, bias):
        return tg.linear_cross_entropy(x, weight, target, bias, chunk=2, **options)

    def in_two(x, weight, bias):
        return in_two_steps(x, weight, target, bias, **options)

    found, wanted = derivatives(in_one, inputs), derivatives(in_two, inputs)
    assert_same(found, wanted)
    if reduction == "none":
        assert found[0].shape == shape


@by_reduction
def test_all_rows_ignored(reduction, device):
    inputs, target = layer(device), targets("labels", device) * 0 - 1

    def in_one(x, weight, bias):
        return tg.linear_cross_entropy(
            x, weight, target, bias, chunk=2, reduction=reduction, ignore_index=-1
        )

    loss, *gradients = derivatives(in_one, inputs)
    assert np.isnan(loss).all() == (reduction == "mean")
    assert reduction == "mean" or not loss.any()
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@by_reduction
def test_backward_through_one_graph_three_times(reduction, device):
    inputs, target = layer(device), targets("labels", device)
    loss = tg.linear_cross_entropy(
        inputs[0], inputs[1], target, inputs[2], chunk=2, reduction=reduction
    ).sum()
    once = [each.numpy().copy() for each in tg.grad(loss, inputs, retain_graph=True)]
    for times in (1, 2, 3):
        loss.backward(retain_graph=times < 3)
        for leaf, gradient in zip(inputs, once, strict=True):
            np.testing.assert_allclose(leaf.grad.numpy(), times * gradient, rtol=1e-14)


def test_plain_arrays_in_plain_arrays_out():
    x, weight, bias = (each.detach().numpy() for each in layer("cpu"))
    labels = targets("labels", "cpu").numpy()
    found = tg.linear_cross_entropy(x, weight, labels, bias, chunk=2)
    assert isinstance(found, np.floating)
    wanted = tg.softmax_cross_entropy(x @ weight.T + bias, labels)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_nothing_is_written_to():
    arrays = [each.detach().numpy() for each in layer("cpu")]
    labels = targets("labels", "cpu").numpy()
    for array in (*arrays, labels):
        array.flags.writeable = False
    x, weight, bias = (tg.asarray(array, requires_grad=True) for array in arrays)
    for reduction in REDUCTIONS:
        loss = tg.linear_cross_entropy(x, weight, labels, bias, reduction=reduction)
        loss.sum().backward()


# -- derivatives -----------------------------------------------------------------------


@by_reduction
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives(kind, reduction, device):
    """Of all inputs, target values included, at first and second order."""
    inputs, target = layer(device, shape=(3,)), targets(kind, device, (3,))
    options = {"chunk": 2, "reduction": reduction, **KINDS[kind]}

    def loss(x, weight, bias, target):
        return tg.linear_cross_entropy(x, weight, target, bias, **options)

    check_grads(loss, *inputs, target)


def test_third_derivatives(device):
    inputs = layer(device, shape=(2,), bias=False)
    labels = targets("labels", device, (2,))

    def loss(x, weight):
        return tg.linear_cross_entropy(x, weight, labels, chunk=1)

    check_grads(loss, inputs[0], inputs[1], order=3)


# -- 16 bits ---------------------------------------------------------------------------


@by_half
@by_reduction
@pytest.mark.parametrize("chunk", [1, 3, None])
def test_16_bit_inputs_are_computed_in_float32(half, reduction, chunk, device):
    """Against float64 at the same values: nothing in between was rounded to 16 bits."""
    inputs, target = layer(device, dtype=half), targets("labels", device)
    wide = [x.detach().astype("float64").requires_grad_() for x in inputs]

    def in_one(x, weight, bias):
        return tg.linear_cross_entropy(
            x, weight, target, bias, chunk=chunk, reduction=reduction
        )

    def in_two(x, weight, bias):
        return in_two_steps(x, weight, target, bias, reduction=reduction)

    wanted = derivatives(in_two, wide)
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[half]
    for create_graph in (False, True):
        loss, *gradients = derivatives(in_one, inputs, create_graph=create_graph)
        assert loss.dtype == np.float32
        np.testing.assert_allclose(loss, wanted[0], rtol=1e-6)
        for found, x, other in zip(gradients, inputs, wanted[1:], strict=True):
            assert found.dtype == x.dtype
            found = found.astype(np.float64)
            np.testing.assert_allclose(found, other, rtol=2 * eps, atol=eps / 100)


@by_half
def test_a_mean_over_many_16_bit_rows_is_not_flushed(half, device):
    n, scale = 70_000, 4096.0
    generator = np.random.default_rng(0)
    x = tg.tensor(generator.normal(size=(n, D)), dtype=half, device=device)
    weight = tg.tensor(generator.normal(size=(C, D)), dtype=half, device=device)
    labels = tg.tensor(np.arange(n) % C, device=device)

    def step(x, weight):
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        (tg.linear_cross_entropy(x, weight, labels) * scale).backward()
        return x.grad.numpy().astype(float), weight.grad.numpy().astype(float)

    found = step(x, weight)
    wanted = step(x.astype("float64"), weight.astype("float64"))
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[half]
    for each, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(each, other, rtol=eps, atol=1e-6)
    assert np.count_nonzero(found[0]) == found[0].size


# -- memory ----------------------------------------------------------------------------


@by_reduction
@pytest.mark.parametrize("kind", ["labels", "values"])
def test_the_logits_are_never_held(kind, reduction):
    """Above the inputs: their gradients and, of the logits, a few chunks."""
    n, d, classes, chunk = 1000, 8, 1000, 10
    generator = np.random.default_rng(0)
    arrays = [
        generator.normal(size=s).astype("float32") for s in ((n, d), (classes, d))
    ]
    target = generator.integers(0, classes, n)
    if kind == "values":
        target = np.broadcast_to(np.float32(1 / classes), (n, classes))
    whole, logits = n * classes * 4, chunk * classes * 4

    def step():
        x, weight = (tg.asarray(array, requires_grad=True) for array in arrays)
        loss = tg.linear_cross_entropy(
            x, weight, target, chunk=chunk, reduction=reduction
        )
        loss.sum().backward()
        return x.grad, weight.grad

    step()
    gc.collect()
    tracemalloc.start()
    result = step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result) == 2
    assert peak <= 2 * sum(each.nbytes for each in arrays) + 8 * logits
    assert peak <= whole / 8


def test_the_chunk_by_default_bounds_the_logits():
    """At most 8 MiB of them at a time, however many classes."""
    x = np.zeros((1000, 2), np.float32)
    weight, labels = np.zeros((30_000, 2), np.float32), np.zeros(1000, int)
    tracemalloc.start()
    tg.linear_cross_entropy(x, weight, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 5 * 8 * 2**20 < 1000 * 30_000 * 4 / 2


# -- errors ----------------------------------------------------------------------------


def zeros(*shape):
    return np.zeros(shape)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "error", "text"),
    [
        (zeros(7, 4), zeros(C, D), None, ValueError, r"\(7, 4\) and weight \(5, 3\)"),
        (zeros(N, D), zeros(D, C), None, ValueError, r"\(\.\.\., D\) and \(C, D\)"),
        (zeros(N, D), zeros(D), None, ValueError, r"weight \(3,\); expected"),
        (zeros(), zeros(C, D), None, ValueError, r"x has shape \(\)"),
        (zeros(N, D), zeros(0, D), None, ValueError, "has no classes"),
        (zeros(N, D), zeros(C, D), zeros(D), ValueError, r"bias has .*\(3,\).*\(5,\)"),
        (zeros(N, D), zeros(C, D), zeros(1, C), ValueError, r"bias has .*\(1, 5\)"),
        (zeros(N, D).astype(int), zeros(C, D), None, TypeError, "x is int64; .*mend"),
        (zeros(N, D), zeros(C, D).astype(int), None, TypeError, "weight is int64"),
        (zeros(N, D), zeros(C, D), zeros(C).astype(int), TypeError, "bias is int64"),
        (zeros(N, D), [[1.0]], None, TypeError, "weight is list"),
    ],
)
def test_inputs_that_do_not_fit(x, weight, bias, error, text):
    with pytest.raises(error, match=f"linear_cross_entropy: .*{text}"):
        tg.linear_cross_entropy(x, weight, np.zeros(N, int), bias)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"chunk": 0}, ValueError, "chunk was given as 0; expected"),
        ({"chunk": 1.5}, ValueError, "chunk was given as 1.5; expected an integer"),
        ({"reduction": "avg"}, ValueError, "reduction was given as 'avg'"),
        ({"label_smoothing": 2.0}, ValueError, "label_smoothing was given as 2.0"),
        ({"class_weight": [1.0]}, ValueError, r"class_weight has shape \(1,\)"),
    ],
)
def test_options_that_mean_nothing(options, error, text, device):
    x, weight, _ = layer(device)
    with pytest.raises(error, match=f"linear_cross_entropy: {text}"):
        tg.linear_cross_entropy(x, weight, targets("labels", device), **options)


def test_a_label_out_of_range_by_its_place(device):
    x, weight, _ = layer(device, shape=(2, 3))
    labels = tg.tensor([[0, 1, 2], [0, 9, -1]], device=device)
    for reduction in REDUCTIONS:
        said = r"linear_cross_entropy: the label in row \(1, 1\) is 9, .* 5 classes"
        with pytest.raises(IndexError, match=said):
            tg.linear_cross_entropy(
                x, weight, labels, chunk=1, reduction=reduction
            ).detach().numpy()
    with pytest.raises(IndexError, match=r"row \(1, 2\) is -1"):
        tg.linear_cross_entropy(x, weight, labels, ignore_index=9).detach().numpy()


def test_targets_that_fit_nowhere(device):
    x, weight, _ = layer(device)
    one_hot = tg.tensor(np.eye(N, C, dtype=int), device=device)
    with pytest.raises(TypeError, match=r"linear_cross_entropy: .*\.astype\(float\)"):
        tg.linear_cross_entropy(x, weight, one_hot)
    with pytest.raises(ValueError, match="ignore_index=1 was given with rows"):
        tg.linear_cross_entropy(x, weight, one_hot.astype("float64"), ignore_index=1)
