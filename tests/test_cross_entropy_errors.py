"""Labels and targets that are refused, and what is said; softmax given twice."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cross_entropy_reference import reference

import tinygrad_softmax as tg
from tinygrad_softmax.backends import Backend
from tinygrad_softmax.backends.numpy import NumpyBackend
from tinygrad_softmax.backends.targets import Targets
from tinygrad_softmax.testing import strategies as st

LABELS = st.LABEL_DTYPES
NAN = float("nan")


def put(array, device, **options):
    return tg.tensor(array, device=device, **options)


# -- labels ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", LABELS)
def test_labels_of_every_integer_dtype(dtype, device):
    logits = np.random.default_rng(0).normal(size=(5, 3))
    ignored = 100 if dtype.startswith("u") else -100
    wanted = reference(logits, np.array([0, 2, ignored, 1, 1]), ignore_index=ignored)
    x = put(logits, device, requires_grad=True)
    labels = put(np.array([0, 2, ignored, 1, 1]).astype(dtype), device)
    loss = tg.softmax_cross_entropy(x, labels, ignore_index=ignored)
    loss.backward()
    np.testing.assert_allclose(loss.item(), wanted[0], rtol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), wanted[1], rtol=1e-13)


def read(loss):
    """A GPU reports a bad label when a value is read."""
    return loss.detach().numpy()


@pytest.mark.parametrize(
    ("shape", "axis", "labels", "options", "text"),
    [
        ((4, 3), -1, [0, 1, 5, -1], {}, r"label in row 2 is 5, .* 3 classes .*0\.\.2"),
        ((4, 3), -1, [0, -1, 1, 9], {}, r"label in row 1 is -1, .* 0\.\.2; mend"),
        ((4, 3), -1, [0, -9, -1, 2], {"ignore_index": -9}, r"row 2 is -1, .*index=-9;"),
        ((4, 3), -1, [0, 2, 2, 3], {"ignore_index": 1}, r"row 3 is 3, .*index=1;"),
        ((2, 2, 3), -1, [[0, 1], [2, 3]], {}, r"label in row \(1, 1\) is 3,"),
        ((2, 3, 2), 1, [[0, 1], [7, 7]], {}, r"label in row \(1, 0\) is 7,"),
        ((3, 2, 2), 0, [[0, -2], [7, 7]], {}, r"label in row \(0, 1\) is -2,"),
        ((3,), 0, 3, {}, r"the label is 3, .* 3 classes .*0\.\.2"),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8"])
def test_a_label_out_of_range(shape, axis, labels, options, text, dtype, device):
    x = put(np.zeros(shape), device, requires_grad=True)
    target = put(np.array(labels).astype(dtype), device)
    for reduction in ("mean", "sum", "none"):
        with pytest.raises(IndexError, match=text):
            read(
                tg.softmax_cross_entropy(
                    x, target, axis=axis, reduction=reduction, **options
                )
            )
        with pytest.raises(IndexError, match=text), tg.no_grad():
            read(tg.softmax_cross_entropy(x, target, axis=axis, **options))


@pytest.mark.parametrize(
    ("dtype", "label"), [("uint8", 255), ("uint16", 65535), ("uint64", 2**64 - 1)]
)
def test_minus_one_in_an_unsigned_dtype(dtype, label, device):
    """Is out of range, and not the last class."""
    labels = put(np.array([0, label], dtype=dtype), device)
    for options in ({}, {"ignore_index": -1}):
        with pytest.raises(IndexError, match="the label in row 1 is"):
            read(
                tg.softmax_cross_entropy(
                    put(np.zeros((2, 3)), device), labels, **options
                )
            )


def test_a_bad_label_leaves_the_logits_and_the_graph_alone(device):
    x = put(np.array([[1.0, 2.0]]), device, requires_grad=True)
    with pytest.raises(IndexError):
        read(tg.softmax_cross_entropy(x, put([2], device)))
    tg.softmax_cross_entropy(x, put([1], device)).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0.26894142, -0.26894142]])


@pytest.mark.parametrize("kernel", [Backend, NumpyBackend])
def test_until_it_is_reported_a_bad_row_is_nan(kernel, monkeypatch):
    """A GPU goes on computing; the other rows are what they should be."""
    monkeypatch.setattr(kernel, "block_bytes", 48)  # two rows
    logits, labels = (
        np.random.default_rng(0).normal(size=(5, 3)),
        np.array([0, 9, 2, -4, 1]),
    )
    bad = (labels < 0) | (labels > 2)
    for scale in (1.0, 0.0):
        gradient = np.empty_like(logits)
        targets = Targets(np, labels, bad=bad)
        loss = kernel().softmax_cross_entropy(logits, targets, gradient, scale)
        np.testing.assert_array_equal(np.isnan(loss), bad)
        np.testing.assert_array_equal(np.isnan(gradient), np.stack([bad] * 3, 1))
        wanted = reference(logits[~bad], labels[~bad], reduction="none")
        np.testing.assert_allclose(loss[~bad], wanted[0], rtol=1e-14)
        np.testing.assert_allclose(gradient[~bad], scale * wanted[1], rtol=1e-12)


# -- what is refused -------------------------------------------------------------------


def eye(dtype):
    return np.eye(4, 3).astype(dtype)


@pytest.mark.parametrize(
    ("target", "error", "text"),
    [
        (eye("int64"), TypeError, r"mend: one-hot .*\.astype\(float\)"),
        (eye("uint8"), TypeError, r"one-hot.*\.astype\(float\)"),
        (eye("bool"), TypeError, r"one-hot.*\.astype\(float\)"),
        (np.zeros(4), TypeError, r"float64 of shape \(4,\).*mend: \.astype\(int\)"),
        (np.zeros(4, bool), TypeError, r"bool of shape \(4,\).*mend: \.astype\(int\)"),
        (np.zeros(3, int), ValueError, r"int64 of shape \(3,\); .* shape \(4,\)"),
        (np.zeros((4, 1), int), ValueError, r"shape \(4, 1\); .* shape \(4,\)"),
        (
            np.zeros((3, 4)),
            ValueError,
            r"\(3, 4\); .* floating values of shape \(4, 3\)",
        ),
        (
            np.zeros((4, 1)),
            ValueError,
            r"\(4, 1\); .* floating values of shape \(4, 3\)",
        ),
    ],
)
def test_targets_that_fit_nowhere(target, error, text, device):
    with pytest.raises(error, match=f"softmax_cross_entropy: the target is .*{text}"):
        tg.softmax_cross_entropy(put(np.zeros((4, 3)), device), put(target, device))


@pytest.mark.parametrize("target", [[0, 1], (0, 1), None, "01", True, 1.0])
def test_targets_that_are_no_arrays(target):
    with pytest.raises(TypeError, match=f"target is a {type(target).__name__};.*mend"):
        tg.softmax_cross_entropy(tg.zeros((2, 3)), target)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"reduction": "avg"}, ValueError, "reduction was given as 'avg'; expected"),
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing was given as 1.5"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing was given as -0.1"),
        ({"label_smoothing": NAN}, ValueError, "label_smoothing was given as nan"),
        ({"weight": [1.0, 2.0]}, ValueError, r"weight has shape \(2,\).*\(3,\)"),
        ({"ignore_index": 1.5}, TypeError, "ignore_index was given as 1.5; .*integer"),
        ({"axis": 2}, ValueError, r"axis 2 is out of range for shape \(4, 3\)"),
        ({"axis": 0}, ValueError, r"classes on axis 0; .*axis"),
    ],
)
def test_options_that_mean_nothing(options, error, text, device):
    x, labels = put(np.zeros((4, 3)), device), put([0, 1, 2, 0], device)
    with pytest.raises(error, match=f"softmax_cross_entropy: .*{text}"):
        tg.softmax_cross_entropy(x, labels, **options)


@pytest.mark.parametrize(
    ("logits", "error", "text"),
    [
        (np.zeros((4, 3), int), TypeError, r"logits are int64; .*mend: .*float"),
        (np.zeros(()), ValueError, "0-dimensional"),
        (np.zeros((4, 0)), ValueError, r"shape \(4, 0\) have no classes"),
        ([[1.0, 2.0]], TypeError, r"logits are list; .*mend: tg.tensor"),
    ],
)
def test_logits_that_are_none(logits, error, text):
    with pytest.raises(error, match=f"softmax_cross_entropy: .*{text}"):
        tg.softmax_cross_entropy(logits, np.zeros(4, int))


def test_target_values_have_no_label_to_ignore(device):
    x, t = put(np.zeros((4, 3)), device), put(np.zeros((4, 3)), device)
    for ignore_index in (-100, 0):
        with pytest.raises(ValueError, match=f"ignore_index={ignore_index} .*mend"):
            tg.softmax_cross_entropy(x, t, ignore_index=ignore_index)


def test_class_weights_are_constants(device):
    x, labels = put(np.zeros((4, 3)), device), put([0, 1, 2, 0], device)
    weight = put(np.ones(3), device, requires_grad=True)
    with pytest.raises(TypeError, match=r"weight requires .*mend: weight\.detach\(\)"):
        tg.softmax_cross_entropy(x, labels, weight=weight)
    assert tg.softmax_cross_entropy(x, labels, weight=weight.detach()).item() > 1.0


# -- softmax twice ---------------------------------------------------------------------


def test_softmax_of_softmax_warns_once_per_place(device):
    x = put(np.zeros((2, 3)), device, requires_grad=True)
    labels = put([0, 1], device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            tg.softmax_cross_entropy(tg.softmax(x), labels)
    assert len(caught) == 1
    assert caught[0].category is UserWarning
    assert "mend: give it the scores (logits)" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_the_warning_names_the_users_line_through_nn_too(device):
    x = put(np.zeros((2, 3)), device, requires_grad=True)
    with pytest.warns(UserWarning, match="output of softmax") as caught:
        tg.nn.CrossEntropyLoss()(tg.softmax(x), put([0, 1], device))
    assert caught[0].filename == __file__


def test_what_only_looks_like_softmax_of_softmax(device):
    """Warnings are errors in these tests."""
    x = put(np.zeros((3, 3)), device, requires_grad=True)
    labels = put([0, 1, 2], device)
    tg.softmax_cross_entropy(tg.softmax(x, axis=0), labels, axis=1)
    tg.softmax_cross_entropy(tg.log_softmax(x), labels)
    tg.softmax_cross_entropy(tg.softmax(x) * 5.0, labels)
    tg.softmax_cross_entropy(x, tg.softmax(x).detach())
