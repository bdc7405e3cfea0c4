"""The Hypothesis strategies draw what they promise, all of it and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from examples_of import part
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as hst

import tinygrad_softmax as tg
from tinygrad_softmax.testing import strategies as st

FLOATS = ["float64", "float32", "float16", "bfloat16"]


def sample(strategy, count):
    """The first things that a strategy draws, always the same."""
    drawn = []

    @settings(
        max_examples=count, derandomize=True, database=None, phases=[Phase.generate]
    )
    @given(strategy)
    def keep(each):
        drawn.append(each)

    keep()
    return drawn


def run_python(code: str) -> subprocess.CompletedProcess:
    root = str(Path(tg.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )


def test_the_rest_of_testing_needs_no_hypothesis():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from tinygrad_softmax.testing import check_grads\n"
        "import tinygrad_softmax as tg; check_grads(tg.tanh, 1.0); print('checked')"
    )
    assert run_python(code).stdout == "checked\n"


def test_without_hypothesis_it_says_what_to_install():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from tinygrad_softmax.testing import strategies"
    )
    error = run_python(code).stderr.splitlines()[-1]
    assert error.startswith("ImportError: tinygrad_softmax.testing.strategies needs")
    assert 'mend: pip install "tinygrad-softmax[test]"' in error


# -- arrays ----------------------------------------------------------------------------

domains = hst.tuples(
    hst.floats(-1e3, 1e3, width=32), hst.floats(0.0, 1e3, width=32)
).map(lambda pair: (pair[0], pair[0] + pair[1] + 0.25 * abs(pair[0]) + 1e-3))


@given(data=hst.data(), domain=domains, dtype=hst.sampled_from(FLOATS))
def test_elements_are_in_the_domain(data, domain, dtype):
    """Also after rounding to 16 bits."""
    low, high = domain
    x = data.draw(st.arrays(dtype=dtype, low=low, high=high))
    assert x.dtype == np.dtype(tg.tensor(0.0, dtype=dtype).dtype)
    wide = x.astype(np.float64)
    assert ((wide >= low) & (wide <= high)).all()


@pytest.mark.parametrize("dtype", [*st.LABEL_DTYPES, "bool"])
@part(0.2)
@given(data=hst.data())
def test_integers(dtype, data):
    x = data.draw(st.arrays(dtype=dtype, low=0, high=1.5))
    assert x.dtype == dtype
    assert np.isin(x, [0, 1]).all()


@given(x=st.arrays(low=-1.0, high=1.0))
def test_elements_are_equal_or_well_apart(x):
    gaps = np.diff(np.unique(x))
    assert (gaps >= 2.0**-9).all()


@part(0.3)
@given(x=st.arrays(st.shapes(1, 2, max_side=10), unique=True))
def test_unique_elements(x):
    assert np.unique(x).size == x.size


def test_shapes():
    drawn = sample(st.shapes(min_side=0), 300)
    assert {len(shape) for shape in drawn} == {0, 1, 2, 3}
    assert {side for shape in drawn for side in shape} == {0, 1, 2, 3, 4}
    assert {len(shape) for shape in sample(st.shapes(2, 5), 300)} == {2, 3, 4, 5}
    assert {x.shape for x in sample(st.arrays((2, 3)), 10)} == {(2, 3)}


def test_layouts():
    drawn = sample(st.arrays((3, 3)), 100)
    assert any(x.flags.c_contiguous for x in drawn)
    assert any(x.flags.f_contiguous for x in drawn)
    assert any(x.strides[0] < 0 and x.strides[1] < 0 for x in drawn)
    assert any(x.strides[1] > x.itemsize and x.strides[0] > x.strides[1] for x in drawn)


@part(0.3)
@given(x=st.arrays(st.shapes(2, 3), layouts=["C"]))
def test_one_layout(x):
    assert x.flags.c_contiguous


def test_strategies_for_the_options():
    dtypes = hst.sampled_from(["float32", "int64"])
    drawn = sample(st.arrays(st.shapes(1, 1), dtypes), 30)
    assert {x.dtype for x in drawn} == {np.dtype("float32"), np.dtype("int64")}


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("float64", 1.0, 0.0), ("int64", 0.2, 0.8)]
)
def test_a_domain_without_numbers(dtype, low, high):
    with pytest.raises(ValueError, match=f"there is no {dtype} from {low} to {high}"):
        find(st.arrays((), dtype, low=low, high=high), lambda x: True)


def test_a_counterexample_is_plain():
    options = settings(max_examples=1000, database=None)
    least = find(st.arrays(), lambda x: (x > 1.0).any(), settings=options)
    assert least.tolist() == 1.0 + 2.0**-7


@part(0.3)
@given(data=hst.data())
def test_tensors(device, data):
    x = data.draw(st.tensors(dtype="float32", device=device, low=1.0, high=2.0))
    assert x.dtype == tg.float32
    assert x.device == tg.zeros(1, device=device).device
    assert not x.requires_grad
    x = data.draw(st.tensors((2, 3), requires_grad=True, device=device))
    assert x.requires_grad
    assert x.is_leaf
    assert x.shape == (2, 3)


@given(xs=st.broadcastable(3, "float32", low=0.5, high=1.0, max_ndim=2))
def test_broadcastable(xs):
    assert len(xs) == 3
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    assert (xs[0] + xs[1] + xs[2]).shape == shape
    assert len(shape) <= 2
    assert all(x.dtype == np.float32 and (x >= 0.5).all() for x in xs)


def test_broadcastable_shapes_differ():
    drawn = sample(st.broadcastable(min_side=0), 200)
    assert any(a.ndim != b.ndim for a, b in drawn)
    assert any(a.size > 1 and b.size > 1 and a.shape != b.shape for a, b in drawn)
    assert any(a.size == 0 for a, b in drawn)


# -- softmax problems ------------------------------------------------------------------


def classes_of(problem):
    return problem.logits.shape[problem.axis]


def finite(problem):
    return problem.logits[np.isfinite(problem.logits)]


@given(problem=st.softmax_problems(infinite=True))
def test_a_problem_fits_together(problem):
    logits, target = problem.logits, problem.target
    assert 1 <= logits.ndim <= 4
    assert -logits.ndim <= problem.axis < logits.ndim
    assert logits.dtype in ("float64", "float32", "float16")
    assert 0.0 <= problem.label_smoothing <= 1.0
    rows = np.moveaxis(logits, problem.axis, -1)
    assert np.isfinite(rows).any(axis=-1).all()
    assert not (np.isnan(logits) | np.isposinf(logits)).any()
    if problem.weight is not None:
        assert problem.weight.shape == (classes_of(problem),)
        assert (problem.weight > 0).all()
    if problem.has_labels:
        assert target.shape == rows.shape[:-1]
        legal = (target >= 0) & (target < classes_of(problem))
        kept = target != problem.ignore_index
        assert (legal | ~kept).all()
        assert kept.any()
    else:
        assert target.shape == logits.shape
        assert target.dtype.kind == "f"
        assert problem.ignore_index is None


@given(problem=st.softmax_problems(infinite=True))
def test_its_loss_is_finite(problem, device):
    x = tg.tensor(problem.logits, device=device, requires_grad=True)
    loss = problem.loss(x)
    assert loss.device == x.device
    assert np.isfinite(loss.detach().numpy()).all()
    loss.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@given(problem=st.softmax_problems(targets=["probabilities"]))
def test_probabilities_are_proper(problem):
    sums = problem.target.astype(float).sum(axis=problem.axis)
    assert (problem.target >= 0).all()
    allowed = classes_of(problem) * np.finfo(problem.target.dtype).eps
    np.testing.assert_allclose(sums, np.ones_like(sums), rtol=allowed)


@pytest.fixture(scope="module")
def problems():
    return sample(st.softmax_problems(infinite=True), 600)


@pytest.fixture(scope="module")
def degenerate_problems():
    return sample(st.softmax_problems(degenerate=True), 250)


@pytest.mark.parametrize(
    "condition",
    [
        lambda p: p.axis < 0 and p.logits.ndim == 4,
        lambda p: p.axis == 0 and p.logits.ndim == 3,
        lambda p: p.logits.ndim == 1,
        lambda p: classes_of(p) == 1,
        lambda p: p.logits.dtype == np.float16 and finite(p).max() > 500,
        lambda p: p.logits.dtype == np.float32 and finite(p).min() < -9e7,
        lambda p: p.logits.dtype == np.float64 and np.ptp(finite(p)) > 1e8,
        lambda p: 100 < np.ptp(finite(p)) < 1000,
        lambda p: np.isneginf(p.logits).any() and p.has_labels,
        lambda p: np.isneginf(p.logits).any() and not p.has_labels,
        lambda p: not p.logits.flags.c_contiguous and p.logits.size > 8,
        lambda p: p.reduction == "none" and p.weight is not None,
        lambda p: p.label_smoothing == 1.0,
        lambda p: p.has_labels and p.ignore_index in range(classes_of(p)),
        lambda p: p.has_labels and p.ignore_index == 100,
        lambda p: p.has_labels and (p.target == -100).any(),
        lambda p: not p.has_labels and p.target.min() < 0,
        lambda p: not p.has_labels and p.target.dtype != p.logits.dtype,
        *(lambda p, d=d: p.target.dtype == d for d in st.LABEL_DTYPES),
    ],
)
def test_all_of_this_is_drawn(condition, problems):
    assert any(map(condition, problems))


@pytest.mark.parametrize(
    "condition",
    [
        lambda p: p.logits.size == 0 and p.has_labels,
        lambda p: p.logits.size == 0 and not p.has_labels,
        lambda p: p.logits.size and p.has_labels and (p.target == p.ignore_index).all(),
        lambda p: p.weight is not None and not p.weight.any(),
    ],
)
def test_means_over_nothing_are_drawn(condition, degenerate_problems, problems):
    assert any(map(condition, degenerate_problems))
    assert not any(map(condition, problems))


@part(0.3)
@given(
    problem=st.softmax_problems(
        dtypes=["float32"],
        targets=["labels"],
        reductions=["sum"],
        max_ndim=2,
        max_side=2,
        max_classes=3,
        extreme=False,
    )
)
def test_a_problem_can_be_narrowed(problem):
    assert problem.logits.dtype == np.float32
    assert problem.has_labels
    assert problem.reduction == "sum"
    assert problem.logits.ndim <= 2
    assert max(problem.target.shape, default=1) <= 2
    assert classes_of(problem) <= 3
    assert abs(problem.logits).max() <= 2.0


def test_an_unknown_kind_of_target():
    with pytest.raises(ValueError, match="'soft'; expected 'labels', 'probabilities'"):
        find(st.softmax_problems(targets=["soft"]), lambda problem: True)


def test_a_problem_by_hand():
    problem = st.SoftmaxProblem(np.array([[5.0, 2.0, -1.0, 3.0]]), np.array([1]))
    assert problem.options == {
        "axis": -1,
        "reduction": "mean",
        "weight": None,
        "ignore_index": None,
        "label_smoothing": 0.0,
    }
    np.testing.assert_allclose(problem.loss(problem.logits).item(), 3.1719353933286786)
    other = problem.loss(tg.zeros((1, 4)), tg.tensor([[0.25, 0.25, 0.25, 0.25]]))
    np.testing.assert_allclose(other.item(), np.log(4.0), rtol=1e-6)
