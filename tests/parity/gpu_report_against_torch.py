"""Every row of the GPU report runs, beside PyTorch's CPU, and finds planted faults.

At toy sizes, over the strict double of CuPy; no result of it is a result on a GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from toy_lab import toy_lab, toy_torch

import tinygrad_softmax as tg
from benchmarks.gpu import ceilings, checks, cross_entropy, functions, steps, updates
from benchmarks.gpu.row import COMPILED, OURS, PYTORCH
from benchmarks.gpu.rows import ROWS

ROOT = Path(__file__).resolve().parent.parent.parent
EVERY = [row for rows in ROWS.values() for row in rows]


@pytest.fixture
def lab():
    with toy_lab(toy_torch()) as lab:
        yield lab


@pytest.fixture(autouse=True)
def example_models_are_forgotten():
    yield
    for path in (ROOT / "examples" / "models").glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_a_row_measures_both_libraries(row, lab):
    told = []
    result = row.run(lab, told.append)
    if "peak" in result:
        assert set(result["peak"]) == {row.process}
        return
    peer = COMPILED if row.work == cross_entropy.AGAINST_COMPILED else PYTORCH
    assert peer in result["times"]
    assert not result.get("errors")
    assert all(time["device"] > 0.0 for time in result["times"].values())
    assert row.work == ceilings.COPY or OURS in result["times"]


# -- planted faults: a wrong row is not timed ------------------------------------------


def first(rows, work: str):
    return next(row for row in rows if row.work.startswith(work))


def spoilt(function, change):
    """The function, and a change of the gradient of its first argument."""

    def wrong(x, *rest, **options):
        if not isinstance(x, tg.Tensor):
            return function(x, *rest, **options)
        out = function(x, *rest, **options)
        return out + change * (x - x.detach()).sum()

    return wrong


@pytest.mark.parametrize(
    ("rows", "work", "name"),
    [
        (cross_entropy.ROWS, "cross-entropy, forward", "cross_entropy"),
        (functions.ROWS, "softmax", "softmax"),
        (functions.ROWS, "layer norm", "layer_norm"),
        (functions.ROWS, "gelu", "gelu"),
        (functions.ROWS, "dropout", "dropout"),
        (functions.ROWS, "convolution", "conv2d"),
        (functions.ROWS, "max pooling", "max_pool2d"),
    ],
)
def test_a_wrong_gradient_is_found(rows, work, name, lab, monkeypatch):
    module = tg.nn.functional
    monkeypatch.setattr(module, name, spoilt(getattr(module, name), 1e-2))
    with pytest.raises(checks.WrongNumbersError, match="gradient"):
        first(rows, work).run(lab, lambda result: None)


def test_a_wrong_loss_is_found(lab, monkeypatch):
    module = tg.nn.functional
    right = module.cross_entropy

    def wrong(x, *rest, **options):
        return right(x, *rest, **options) * 1.0001

    monkeypatch.setattr(module, "cross_entropy", wrong)
    row = first(cross_entropy.ROWS, cross_entropy.LOSS_ONLY)
    with pytest.raises(checks.WrongNumbersError, match=r"the loss is .* float64's"):
        row.run(lab, lambda result: None)


@pytest.mark.parametrize("row", updates.ROWS[::2], ids=lambda row: row.name)
def test_a_wrong_update_is_found(row, lab, monkeypatch):
    optimizer = getattr(tg.optim, row.work.split(", ")[1])
    right = optimizer.step

    def wrong(self):
        right(self)
        for parameter in self.param_groups[0]["params"][:1]:
            with tg.no_grad():
                parameter.array += 1e-4

    monkeypatch.setattr(optimizer, "step", wrong)
    with pytest.raises(checks.WrongNumbersError, match="the change of 3 steps"):
        row.run(lab, lambda result: None)


def test_a_wrong_product_is_found(lab, monkeypatch):
    monkeypatch.setattr(tg, "matmul", lambda a, b: (a @ b) * 1.0001)
    row = first(ceilings.ROWS, "matrix product")
    with pytest.raises(checks.WrongNumbersError, match="the product"):
        row.run(lab, lambda result: None)


@pytest.mark.parametrize("name", ["MLP", "CNN", "GPT"])
def test_a_model_that_differs_is_found(name, lab, monkeypatch):
    row = next(r for r in steps.ROWS if r.case.startswith(name))
    right = tg.nn.Linear.forward
    monkeypatch.setattr(tg.nn.Linear, "forward", lambda self, x: right(self, x) * 1.001)
    with pytest.raises(checks.WrongNumbersError):
        row.run(lab, lambda result: None)


def test_nan_is_wrong(lab):
    found = torch.tensor([1.0, float("nan")])
    with pytest.raises(checks.WrongNumbersError, match="is nan from"):
        checks.check_same("it", found, torch.ones(2), 1.0)


def test_a_peer_that_fails_is_named_and_ours_is_measured(lab):
    def compile(function, **options):
        raise RuntimeError("no compiler")

    lab.torch.compile = compile
    row = cross_entropy.COMPILED_ROWS[0]
    result = row.run(lab, lambda result: None)
    assert result["errors"][COMPILED] == "RuntimeError: no compiler"
    assert set(result["times"]) == {OURS}
