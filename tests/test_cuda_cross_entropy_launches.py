"""What a cross-entropy launches and waits for, by the strict double of CuPy."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import strict_cupy
import strict_kernels

import tinygrad_softmax as tg


@pytest.fixture(scope="module")
def cuda():
    with strict_cupy.strict_cuda() as cuda:
        yield cuda


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(5, 4), (40000, 2)])
def test_a_bad_label_is_named_when_a_value_is_read(cuda, reduction, weighted, shape):
    n, classes = shape
    labels = np.zeros(n, "int64")
    labels[[2, n - 1]] = classes, -1
    logits = tg.tensor(np.zeros(shape, "float32"), device="cuda", requires_grad=True)
    weight = tg.ones(classes, device="cuda") if weighted else None
    target = tg.tensor(labels, device="cuda")
    with cuda.counting() as seen:
        loss = tg.softmax_cross_entropy(
            logits, target, reduction=reduction, weight=weight
        )
        loss.sum().backward()
    assert not seen.waits
    losses, gradient = loss.array.get(), logits.grad.array.get()
    assert np.isnan(losses if reduction != "none" else losses[[2, n - 1]]).all()
    assert np.isnan(gradient[[2, n - 1]]).all()
    rest = np.delete(gradient, [2, n - 1], axis=0)
    assert np.isfinite(rest).all()
    message = rf"the label in row 2 is {classes}, but with {classes} classes"
    with pytest.raises(IndexError, match=message):
        loss.detach().numpy()
    tg.ones(1, device="cuda").numpy()  # raised once


def test_the_logits_are_read_once_and_the_gradient_is_written_once(cuda):
    """Two launches, and one array of the logits' size."""
    logits = tg.tensor(np.ones((64, 512), "float32"), device="cuda", requires_grad=True)
    target = tg.tensor(np.zeros(64, "int64"), device="cuda")
    with cuda.counting() as seen:
        tg.softmax_cross_entropy(logits, target).backward()
    assert seen.launches == ["cross_entropy", "tally_rows"]


def test_sums_do_not_depend_on_the_device(cuda):
    """Not on its number of multiprocessors: the parts are a function of the shape."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40000, 2)).astype("float32"), rng.integers(0, 2, 40000)
    found = set()
    for count in (1, 3, 132):
        attributes = {**strict_kernels.ATTRIBUTES, "MultiProcessorCount": count}
        with (
            mock.patch.object(cuda.backend.kernels, "_limits", {}),
            mock.patch("strict_kernels.ATTRIBUTES", attributes),
        ):
            loss = tg.softmax_cross_entropy(
                tg.tensor(x, device="cuda"), tg.tensor(y, device="cuda")
            )
            found.add(loss.item())
    assert len(found) == 1


def test_a_loss_alone_keeps_no_row(cuda):
    """Shared memory for a row would leave a multiprocessor one block at a time."""
    room = []
    logits = np.zeros((2, 17001), "float32")
    check = strict_kernels.RawKernel._check_shape

    def noting(kernel, grid, block, shared_mem):
        room.append(shared_mem)
        check(kernel, grid, block, shared_mem)

    with mock.patch.object(strict_kernels.RawKernel, "_check_shape", noting):
        for wanted in (False, True):
            x = tg.tensor(logits, device="cuda", requires_grad=wanted)
            tg.softmax_cross_entropy(x, tg.tensor([0, 1], device="cuda"))
    assert room == [0, 0, logits[0].nbytes, 0]
