"""What the softmax cross-entropy means: its table, its options, its layouts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from cross_entropy_reference import reference
from examples_of import part
from hypothesis import given
from pytorch_cases import CROSS_ENTROPY

import tinygrad_softmax as tg
from tinygrad_softmax.testing import check_grads
from tinygrad_softmax.testing import strategies as st

NAN, INF = float("nan"), float("inf")
by_order = pytest.mark.parametrize("create_graph", [False, True])


def put(array, device, **options):
    return tg.tensor(array, device=device, **options)


def values(problem, device, create_graph=False):
    """(Loss, gradient) of a problem, as NumPy arrays."""
    x = tg.asarray(problem.logits, device=device).detach().requires_grad_()
    loss = problem.loss(x)
    gradient = tg.grad(loss.sum(), x, create_graph=create_graph)
    return loss.detach().numpy(), gradient.detach().numpy()


# -- the table of meanings -------------------------------------------------------------


def assert_is_reference(problem, loss, gradient):
    wanted_loss, wanted = reference(problem.logits, problem.target, **problem.options)
    dtype = problem.logits.dtype
    wide = np.float32 if dtype == np.float16 else dtype
    assert loss.dtype == wide
    assert gradient.dtype == dtype
    assert loss.shape == np.shape(wanted_loss)
    assert gradient.shape == problem.logits.shape
    rows = np.moveaxis(problem.logits.astype(np.float64), problem.axis, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    spread = 1.0 + max((np.ptp(row[np.isfinite(row)]) for row in rows), default=0.0)
    close = 100 * spread * np.finfo(wide).eps
    np.testing.assert_allclose(loss, wanted_loss, rtol=close, atol=close)
    close += np.finfo(dtype).eps
    np.testing.assert_allclose(gradient, wanted, rtol=close, atol=close)


@part(2)
@given(problem=st.softmax_problems(infinite=True, degenerate=True))
@by_order
def test_it_is_the_table(device, create_graph, problem):
    assert_is_reference(problem, *values(problem, device, create_graph))


def test_the_reference_itself():
    """Each kind of row, worked out by hand from softmax([0, log 3]) = [1/4, 3/4]."""
    x = np.array([[0.0, math.log(3.0)], [0.0, 0.0]])
    a, b, c = math.log(4.0), math.log(4.0 / 3.0), math.log(2.0)

    def check(target, loss, gradient, **options):
        found = reference(x, np.array(target), **options)
        np.testing.assert_allclose(found[0], loss, rtol=1e-15)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-15, atol=1e-16)

    check([0, 1], (a + c) / 2, [[-0.375, 0.375], [0.25, -0.25]])
    check([0, 1], a + c, [[-0.75, 0.75], [0.5, -0.5]], reduction="sum")
    options = {"weight": [2.0, 3.0]}
    check([0, 1], (2 * a + 3 * c) / 5, [[-0.3, 0.3], [0.3, -0.3]], **options)
    options["ignore_index"] = 1
    check([0, 1], a, [[-0.75, 0.75], [0, 0]], **options)
    options = {"label_smoothing": 0.5, "reduction": "none"}
    check([0, 1], [(3 * a + b) / 4, c], [[-0.5, 0.5], [0.25, -0.25]], **options)
    options["weight"] = [2.0, 4.0]
    wanted = [[0.625 - 1.5, 1.875 - 1.0], [1.75 - 0.5, 1.75 - 3.0]]
    check([0, 1], [(6 * a + 4 * b) / 4, 3.5 * c], wanted, **options)
    rows = [[0.5, 1.0], [2.0, 0.0]]
    wanted = [[(0.375 - 0.5) / 2, (1.125 - 1.0) / 2], [-0.5, 0.5]]
    check(rows, (0.5 * a + b + 2 * c) / 2, wanted)


@pytest.mark.parametrize("name", CROSS_ENTROPY)
def test_pytorchs_own_answers(name, device):
    logits, target, options = CROSS_ENTROPY[name]
    path = Path(__file__).with_name("pytorch_answers.json")
    answer = json.loads(path.read_text("utf-8"))["cross_entropy"][name]
    if np.asarray(target).dtype.kind in "iu":
        options = {"ignore_index": -100, **options}
    x = put(logits, device, requires_grad=True)
    axis = 0 if logits.ndim == 1 else 1
    loss = tg.softmax_cross_entropy(x, put(target, device), axis=axis, **options)
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), answer["loss"], rtol=1e-13)
    np.testing.assert_allclose(x.grad.numpy(), answer["grad"], rtol=1e-12, atol=1e-15)


# -- derivatives -----------------------------------------------------------------------


@part(0.6)
@given(problem=st.softmax_problems(infinite=True))
def test_derivatives_of_the_logits(device, problem):
    check_grads(problem.loss, tg.asarray(problem.logits, device=device))


@part(0.3)
@given(
    problem=st.softmax_problems(
        targets=["probabilities", "values"], dtypes=["float64", "float32"], max_side=2
    )
)
def test_derivatives_of_the_target_too(device, problem):
    logits = tg.asarray(problem.logits, device=device)
    check_grads(problem.loss, logits, tg.asarray(problem.target, device=device))


@part(0.15)
@given(
    problem=st.softmax_problems(
        dtypes=["float64"], max_ndim=2, max_side=2, max_classes=3, extreme=False
    )
)
def test_third_derivatives(device, problem):
    check_grads(problem.loss, tg.asarray(problem.logits, device=device), order=3)


@by_order
@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 2.0]])
def test_the_gradient_of_a_target(weight, create_graph, device):
    """-(1 - e) w lp over the number of rows; 0 for a class of weight 0 (0 x -inf)."""
    logits = np.array([[1.0, -INF, 3.0], [0.5, -0.25, 0.0]])
    rows = np.array([[0.5, 0.0, 0.5], [0.25, 0.5, 0.25]])
    if weight is None:
        logits[0, 1] = -2.0
    t = put(rows, device, requires_grad=True)
    loss = tg.softmax_cross_entropy(
        put(logits, device), t, weight=weight, label_smoothing=0.0 if weight else 0.25
    )
    found = tg.grad(loss, t, create_graph=create_graph).detach().numpy()
    lp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    w = np.ones(3) if weight is None else np.array(weight)
    factor = -1.0 if weight else -0.75
    wanted = factor * np.where(w == 0, 0.0, w * np.where(w == 0, 0.0, lp)) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


# -- rows that do not count ------------------------------------------------------------


@by_order
@pytest.mark.parametrize(
    ("rows", "labels", "options"),
    [
        (2, [-1, -1], {"ignore_index": -1}),
        (2, [1, 1], {"ignore_index": 1, "weight": [1.0, 2.0, 3.0]}),
        (2, [1, 1], {"weight": [1.0, 0.0, 2.0]}),
        (3, [1, 1, 5], {"weight": [1.0, 0.0, 2.0], "ignore_index": 5}),
        (0, [], {}),
        (0, [], {"weight": [1.0, 2.0, 3.0], "ignore_index": -1}),
    ],
)
def test_a_mean_over_nothing(rows, labels, options, create_graph, device):
    """Is nan, and its gradient is exactly 0; the sum is 0, and no warning escapes."""
    logits = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    target = put(np.array(labels, dtype=np.int64), device)
    for reduction, wanted in (("mean", NAN), ("sum", 0.0), ("none", 0.0)):
        x = put(logits, device, requires_grad=True)
        loss = tg.softmax_cross_entropy(x, target, reduction=reduction, **options)
        assert loss.shape == ((rows,) if reduction == "none" else ())
        np.testing.assert_array_equal(
            loss.detach().numpy(), np.full(loss.shape, wanted)
        )
        gradient = tg.grad(loss.sum(), x, create_graph=create_graph)
        np.testing.assert_array_equal(gradient.detach().numpy(), np.zeros((rows, 3)))


@by_order
def test_a_mean_over_labels_of_weight_zero_when_smoothed(create_graph, device):
    """Smoothing leaves them a loss; there is nothing to divide it by."""
    x = put(np.array([[1.0, 2.0]]), device, requires_grad=True)
    loss = tg.softmax_cross_entropy(
        x, put([0], device), weight=[0.0, 1.0], label_smoothing=0.5
    )
    assert math.isnan(loss.item())
    gradient = tg.grad(loss, x, create_graph=create_graph)
    np.testing.assert_array_equal(gradient.detach().numpy(), [[0.0, 0.0]])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_rows_of_target_values(reduction, device):
    x = put(np.zeros((0, 3)), device, requires_grad=True)
    t = put(np.zeros((0, 3)), device, requires_grad=True)
    loss = tg.softmax_cross_entropy(x, t, reduction=reduction)
    assert loss.shape == ((0,) if reduction == "none" else ())
    if reduction != "none":
        assert math.isnan(loss.item()) == (reduction == "mean")
    loss.sum().backward()
    assert x.grad.shape == t.grad.shape == (0, 3)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_what_an_ignored_row_holds_does_not_matter(reduction, device):
    """At any order: 0 times nan, or times inf, is not 0."""
    logits = np.array([[1.0, 2.0, 3.0], [NAN, INF, 0.0], [0.0, -INF, 1.0], [-INF] * 3])
    labels = np.array([0, 9, 2, 9])
    kept = logits[[0, 2]]

    def derivatives(logits, labels):
        x = put(logits, device, requires_grad=True)
        target = put(labels, device)
        loss = tg.softmax_cross_entropy(
            x, target, ignore_index=9, reduction=reduction, weight=[1.0, 2.0, 3.0]
        )
        plain = tg.grad(loss.sum(), x, retain_graph=True)
        first = tg.grad(loss.sum(), x, create_graph=True)
        second = tg.grad((first * first).sum(), x, create_graph=True)
        third = tg.grad((second * second).sum(), x)
        return [each.detach().numpy() for each in (plain, first, second, third)]

    found = derivatives(logits, labels)
    for each, wanted in zip(found, derivatives(kept, labels[[0, 2]]), strict=True):
        np.testing.assert_array_equal(each[[0, 2]], wanted)
        np.testing.assert_array_equal(each[[1, 3]], np.zeros((2, 3)))


@by_order
def test_what_arrives_at_an_ignored_row_does_not_matter(create_graph, device):
    """The square root of its loss has an infinite derivative."""
    x = put(np.array([[1.0, 2.0], [3.0, 4.0]]), device, requires_grad=True)
    target = put(np.array([0, -1]), device)
    losses = tg.softmax_cross_entropy(x, target, ignore_index=-1, reduction="none")
    infinite = put(np.array([1.0, INF]), device)
    gradient = tg.grad(losses, x, infinite, create_graph=create_graph)
    np.testing.assert_array_equal(gradient.detach().numpy()[1], [0.0, 0.0])


# -- where the logits come from --------------------------------------------------------


def test_plain_arrays_in_plain_arrays_out():
    logits, labels = np.array([[5.0, 2.0, -1.0, 3.0]], np.float32), np.array([1])
    for reduction in ("mean", "sum", "none"):
        loss = tg.softmax_cross_entropy(logits, labels, reduction=reduction)
        assert isinstance(loss, (np.ndarray, np.float32))
        assert loss.dtype == np.float32
        np.testing.assert_allclose(loss, [3.1719353] if loss.shape else 3.1719353)
    one = tg.softmax_cross_entropy(logits[0], np.int64(1))
    np.testing.assert_allclose(one, 3.1719353)
    with pytest.raises(
        IndexError, match="softmax_cross_entropy: the label in row 0 is 4"
    ):
        tg.softmax_cross_entropy(logits, np.array([4]))


def test_a_tensor_beside_plain_arrays():
    logits, labels = np.zeros((2, 3)), np.array([0, 1])
    x = tg.tensor(logits, requires_grad=True)
    assert isinstance(tg.softmax_cross_entropy(x, labels), tg.Tensor)
    assert isinstance(tg.softmax_cross_entropy(logits, tg.tensor(labels)), tg.Tensor)
    t = tg.tensor(np.full((2, 3), 1 / 3), requires_grad=True)
    tg.softmax_cross_entropy(logits, t).backward()
    np.testing.assert_allclose(t.grad.numpy(), np.full((2, 3), math.log(3) / 2))


def test_the_lectures_arrangement(device):
    """Classes are rows and examples are columns there: a C x m matrix."""
    predicted = np.array(
        [[0.3, 0.5, 0.2], [0.2, 0.1, 0.3], [0.1, 0.2, 0.4], [0.4, 0.2, 0.1]]
    )
    y = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    x = put(np.log(predicted), device, requires_grad=True)
    for target in (y.astype(float), np.array([1, 2, 0])):
        x.grad = None
        loss = tg.softmax_cross_entropy(x, put(target, device), axis=0)
        np.testing.assert_allclose(loss.item(), -math.log(0.2), rtol=1e-15)
        loss.backward()
        np.testing.assert_allclose(x.grad.numpy(), (predicted - y) / 3, atol=1e-16)


LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "every other": lambda x: np.repeat(np.repeat(x, 2, 0), 3, -1)[::2, ..., ::3],
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "inner axes swapped": lambda x: np.swapaxes(np.swapaxes(x, 1, -1).copy(), 1, -1),
    "broadcast": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -2])
@pytest.mark.parametrize("kind", ["labels", "values"])
def test_classes_on_any_axis_in_any_memory(layout, axis, kind, device):
    generator = np.random.default_rng(0)
    logits = LAYOUTS[layout](generator.normal(size=(3, 4, 2, 5)))
    rows = np.delete(np.array(logits.shape), axis)
    target = generator.integers(0, 2, rows)
    if kind == "values":
        target = LAYOUTS[layout](generator.normal(size=logits.shape))
    x = tg.asarray(logits, device=device).detach().requires_grad_()
    for reduction in ("mean", "none"):
        x.grad = None
        loss = tg.softmax_cross_entropy(
            x, tg.asarray(target, device=device), axis=axis, reduction=reduction
        )
        loss.sum().backward()
        wanted = reference(logits, target, axis=axis, reduction=reduction)
        np.testing.assert_allclose(loss.detach().numpy(), wanted[0], rtol=1e-13)
        np.testing.assert_allclose(x.grad.numpy(), wanted[1], rtol=1e-12, atol=1e-15)


def test_logits_and_targets_are_never_written_to():
    generator = np.random.default_rng(0)
    logits, rows = generator.normal(size=(2, 50, 30))
    labels, weight = np.arange(50) % 30, np.ones(30)
    for array in (logits, rows, labels, weight):
        array.flags.writeable = False
    for target in (labels, rows):
        for axis, arrays in ((1, (logits, target)), (0, (logits.T, target.T))):
            x = tg.asarray(arrays[0], requires_grad=True)
            t = tg.asarray(arrays[1])
            loss = tg.softmax_cross_entropy(
                x, t, axis=axis, weight=weight, label_smoothing=0.1
            )
            tg.grad(loss, x, create_graph=True)
            loss.backward()
            assert x.grad.array.flags.writeable


def test_the_value_is_the_same_without_a_graph(device):
    """The kernel that makes no gradient computes the same loss."""
    x = put(np.random.default_rng(0).normal(size=(200, 7)), device, requires_grad=True)
    labels = put(np.arange(200) % 7, device)
    recorded = tg.softmax_cross_entropy(x, labels).item()
    with tg.no_grad():
        assert tg.softmax_cross_entropy(x, labels).item() == recorded
    assert tg.softmax_cross_entropy(x.detach(), labels).item() == recorded
