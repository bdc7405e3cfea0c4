"""The laws of the softmax cross-entropy, over whatever `softmax_problems` draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from examples_of import part
from hypothesis import given

import tinygrad_softmax as tg
from tinygrad_softmax.testing import strategies as st

whole = part(0.4)
PATHS = pytest.mark.parametrize("create_graph", [False, True])


def values(problem, device, create_graph=False):
    """(Loss, gradient) of a problem, as NumPy arrays."""
    x = tg.asarray(problem.logits, device=device).detach().requires_grad_()
    loss = problem.loss(x)
    gradient = tg.grad(loss.sum(), x, create_graph=create_graph)
    return loss.detach().numpy(), gradient.detach().numpy()


def in_rows(array, axis):
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


def scale_of(problem):
    """The size of the terms that a gradient is the sum of."""
    target = 1.0 if problem.has_labels else np.abs(problem.target).max(initial=0.0)
    weight = 1.0 if problem.weight is None else problem.weight.max()
    classes = problem.logits.shape[problem.axis]
    return float(classes * max(target, 1.0) * weight) * 2


@PATHS
@whole
@given(problem=st.softmax_problems(infinite=True))
def test_rows_of_the_gradient_sum_to_zero(device, create_graph, problem):
    """sum_c (p[c] S - u[c]) = S - S, with S = sum(u), whatever the target."""
    _, gradient = values(problem, device, create_graph)
    sums = in_rows(gradient.astype(np.float64), problem.axis).sum(axis=1)
    assert np.abs(sums).max() <= 4 * np.finfo(gradient.dtype).eps * scale_of(problem)


@PATHS
@whole
@given(problem=st.softmax_problems(dtypes=["float64"], extreme=False, infinite=True))
@pytest.mark.parametrize("shift", [1.0, -(2.0**20), 2.0**30])
def test_a_shift_changes_nothing(device, create_graph, shift, problem):
    """Not a bit: the sums are exact, and only differences are looked at."""
    shifted = replace(problem, logits=problem.logits + shift)
    found = values(shifted, device, create_graph)
    for each, wanted in zip(found, values(problem, device, create_graph), strict=True):
        np.testing.assert_array_equal(each, wanted)


def permuted(problem, order):
    """The problem with class `order[k]` in place of class k."""
    target = problem.target
    if problem.has_labels:
        place = np.argsort(order)
        inside = (target >= 0) & (target < len(order))
        moved = np.where(inside, place[np.where(inside, target, 0)], target)
        target = moved.astype(target.dtype)
    else:
        target = np.take(target, order, axis=problem.axis)
    ignored = problem.ignore_index
    if ignored is not None and 0 <= ignored < len(order):
        ignored = int(np.argsort(order)[ignored])
    return replace(
        problem,
        logits=np.take(problem.logits, order, axis=problem.axis),
        target=target,
        weight=None if problem.weight is None else problem.weight[order],
        ignore_index=ignored,
    )


@PATHS
@whole
@given(problem=st.softmax_problems(dtypes=["float64"], extreme=False, infinite=True))
def test_the_names_of_the_classes_do_not_matter(device, create_graph, problem):
    classes = problem.logits.shape[problem.axis]
    order = np.random.default_rng(classes).permutation(classes)
    loss, gradient = values(problem, device, create_graph)
    found = values(permuted(problem, order), device, create_graph)
    close = {"rtol": 1e-13, "atol": 1e-14 * scale_of(problem)}
    np.testing.assert_allclose(found[0], loss, **close)
    wanted = np.take(gradient, order, axis=problem.axis)
    np.testing.assert_allclose(found[1], wanted, **close)


@PATHS
@whole
@given(
    problem=st.softmax_problems(
        dtypes=["float64"], reductions=["none"], infinite=True, degenerate=True
    )
)
def test_reductions(device, create_graph, problem):
    """`sum` and `mean` are those of `none`, the mean over weights for labels."""
    losses, gradients = values(problem, device, create_graph)
    total = values(replace(problem, reduction="sum"), device, create_graph)
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(total[0], losses.sum(), **close)
    np.testing.assert_array_equal(total[1], gradients)
    divisor = float(losses.size)
    if problem.has_labels:
        kept = problem.target[problem.target != problem.ignore_index].astype(int)
        weight = problem.weight
        divisor = float(kept.size if weight is None else weight[kept].sum())
    mean = values(replace(problem, reduction="mean"), device, create_graph)
    if divisor:
        np.testing.assert_allclose(mean[0], losses.sum() / divisor, **close)
        np.testing.assert_allclose(mean[1], gradients / divisor, **close)
    else:
        assert math.isnan(mean[0])
        np.testing.assert_array_equal(mean[1], np.zeros_like(mean[1]))


@PATHS
@whole
@given(
    problem=st.softmax_problems(
        targets=["labels"], reductions=["sum", "none"], infinite=True
    )
)
def test_labels_are_one_hot_rows(device, create_graph, problem):
    """To the bit; an ignored row is a row of zeros, where nothing is smoothed."""
    axis, target = problem.axis, problem.target
    classes = problem.logits.shape[axis]
    legal = np.where((target >= 0) & (target < classes), target, 0).astype(int)
    rows = np.eye(classes)[legal]
    if problem.ignore_index is not None:
        rows[target == problem.ignore_index] = 0.0
        problem = replace(problem, label_smoothing=0.0)
    one_hot = replace(problem, target=np.moveaxis(rows, -1, axis), ignore_index=None)
    found = values(problem, device, create_graph)
    for each, wanted in zip(found, values(one_hot, device, create_graph), strict=True):
        np.testing.assert_array_equal(each, wanted)


@whole
@given(problem=st.softmax_problems(targets=["probabilities"], dtypes=["float64"]))
def test_smoothing_is_a_mixture_of_targets(device, problem):
    """t' = (1 - e) t + e / C."""
    e, classes = problem.label_smoothing, problem.logits.shape[problem.axis]
    target = (1 - e) * problem.target.astype(np.float64) + e / classes
    mixed = replace(problem, target=target, label_smoothing=0.0)
    close = {"rtol": 1e-12, "atol": 1e-12}
    pairs = zip(values(problem, device), values(mixed, device), strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, **close)


@PATHS
@whole
@given(
    logits=st.arrays(st.shapes(1, 1), low=-40, high=40), other=st.arrays((), low=-40)
)
def test_two_classes_are_logistic_regression(device, create_graph, logits, other):
    """y-hat = sigmoid(z1 - z0), and the loss of label 1 is log(1 + exp(z0 - z1))."""
    z = logits - other
    x = tg.tensor(np.stack([0 * logits + other, logits], 1), device=device)
    x.requires_grad_()
    for label in (0, 1):
        labels = tg.tensor(np.full(len(z), label), device=device)
        losses = tg.softmax_cross_entropy(x, labels, reduction="none")
        signed = -z if label else z
        wanted = [max(each, 0.0) + math.log1p(math.exp(-abs(each))) for each in signed]
        np.testing.assert_allclose(losses.detach().numpy(), wanted, rtol=1e-15)
        gradient = tg.grad(losses.sum(), x, create_graph=create_graph)
        # sigmoid(z) - y: where y = 1 that is -sigmoid(-z)
        slope = [(-1) ** label / (1.0 + math.exp(-each)) for each in signed]
        wanted = np.stack([np.negative(slope), slope], 1)
        np.testing.assert_allclose(gradient.detach().numpy(), wanted, rtol=1e-14)


# -- the Hessian -----------------------------------------------------------------------


def gradient_of(loss):
    return lambda x: tg.value_and_grad(loss)(x)[1]


@whole
@given(logits=st.arrays(st.shapes(1, 1, 2, 6), low=-4, high=4))
def test_the_hessian_is_that_of_log_sum_exp(device, logits):
    """diag(p) - p p^T, for any label; and its derivative is the third cumulant."""
    label = tg.tensor(len(logits) - 1, device=device)
    x = tg.tensor(logits, device=device)

    def hessian(x):
        gradient = gradient_of(lambda x: tg.softmax_cross_entropy(x, label))
        return tg.jacobian(gradient, x)

    p = np.exp(logits) / np.exp(logits).sum()
    wanted = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(hessian(x).numpy(), wanted, rtol=1e-12, atol=1e-15)
    centred = np.eye(len(p)) - p  # e_c - p, for each class c
    third = np.einsum("c,ci,cj,ck->ijk", p, centred, centred, centred)
    found = tg.jacobian(hessian, x).numpy()
    np.testing.assert_allclose(found, third, rtol=1e-12, atol=1e-15)


@whole
@given(
    problem=st.softmax_problems(
        targets=["labels", "probabilities"],
        dtypes=["float64"],
        reductions=["mean", "sum"],
        max_ndim=2,
        infinite=True,
    )
)
def test_the_loss_is_convex(device, problem):
    """The Hessian of a proper problem is symmetric and positive semi-definite."""
    x = tg.asarray(problem.logits, device=device)
    size = x.size
    hessian = tg.jacobian(gradient_of(problem.loss), x).numpy().reshape(size, size)
    allowed = 1e-14 * scale_of(problem) * size
    np.testing.assert_allclose(hessian, hessian.T, atol=allowed)
    assert np.linalg.eigvalsh(hessian).min() >= -allowed
    v = np.random.default_rng(size).normal(size=x.shape)
    product = tg.hvp(problem.loss, x, tg.tensor(v, device=device)).numpy()
    np.testing.assert_allclose(product.ravel(), hessian @ v.ravel(), atol=allowed)
    assert (product * v).sum() >= -allowed


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_hessian_in_float32_of_extreme_rows(reduction, device):
    """Every entry finite, where exp of a logit is not."""
    x = np.array([[1e4, -1e4, 0.0], [1e8, 1e8, -1e8], [0.0, -100.0, 89.0]], np.float32)
    label = tg.tensor([1, 0, 2], device=device)

    def loss(x):
        return tg.softmax_cross_entropy(x, label, reduction=reduction)

    hessian = tg.jacobian(gradient_of(loss), tg.tensor(x, device=device)).numpy()
    assert np.isfinite(hessian).all()
    found = hessian[1, :, 1, :] * (3 if reduction == "mean" else 1)
    wanted = [[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
