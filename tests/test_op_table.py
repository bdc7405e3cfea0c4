"""Every row of the op table, against every check of op_checks.py."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager

import ml_dtypes
import numpy as np
import op_checks as checks
import pytest
from op_table import ROWS, Row

import tinygrad_softmax as tg
from tinygrad_softmax import ops
from tinygrad_softmax.autograd import PRIMITIVES

SMOOTH = [row for row in ROWS if row.differentiable]
HALVES = [np.float16, ml_dtypes.bfloat16]


def every(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=str)


@contextmanager
def naming(row: Row, k: int) -> Iterator[None]:
    """Say in a failure which call it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{row.name}{row.cases[k]}")
        raise


def over_cases(row: Row, check, *args, floating: bool = False) -> None:
    for k in range(len(row.cases)):
        if row.floating[k] or not floating:
            with naming(row, k):
                check(row, k, *args)


def over_cases_in(dtype, row: Row, check, device) -> None:
    for k in range(len(row.cases)):
        if row.takes(k, dtype):
            with naming(row, k):
                check(row, k, device, dtype)


# -- the table is complete -------------------------------------------------------------


def test_every_public_op_has_a_row():
    assert set(ops.__all__) <= {row.name for row in ROWS}


def test_every_primitive_is_reached_by_a_row():
    for module in pkgutil.walk_packages(tg.__path__, "tinygrad_softmax."):
        if not module.name.endswith(("__main__", ".cupy")):
            importlib.import_module(module.name)
    reached = [op for row in ROWS for op in checks.primitives_of(row, "cpu")]
    ours = [op for op in PRIMITIVES if op.__module__.startswith("tinygrad_softmax")]
    missing = [
        f"{op.__module__}.{op.__name__}"
        for op in ours
        if not any(op is each for each in reached)
    ]
    assert not missing


@every(ROWS)
def test_row_has_0d_and_empty_cases(row):
    shapes = [np.shape(x) for k in range(len(row.cases)) for x in row.arrays(k)]
    assert () in shapes or "0-d" in row.without
    assert any(0 in shape for shape in shapes) or "empty" in row.without


# -- values ----------------------------------------------------------------------------


@every(ROWS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, *HALVES])
def test_value(row, dtype, device):
    over_cases_in(dtype, row, checks.check_value, device)


@every(ROWS)
def test_arrays_in_arrays_out(row, device):
    over_cases(row, checks.check_plain, device)


@every(ROWS)
def test_layouts_and_broadcast_inputs(row, device):
    over_cases(row, checks.check_layouts, device, floating=True)
    over_cases(row, checks.check_broadcast, device, floating=True)


# -- gradients -------------------------------------------------------------------------


@every(SMOOTH)
def test_first_derivative(row, device):
    over_cases(row, checks.check_first, device)


@every(SMOOTH)
def test_each_input_alone(row, device):
    over_cases(row, checks.check_alone, device)


@every(SMOOTH)
def test_recorded_equals_plain(row, device):
    over_cases(row, checks.check_recorded, device)


@every(SMOOTH)
def test_backward_twice(row, device):
    over_cases(row, checks.check_twice, device)


@every(SMOOTH)
def test_second_derivative(row, device):
    over_cases(row, checks.check_second, device)


@every(SMOOTH)
def test_third_derivative(row, device):
    over_cases(row, checks.check_third, device)


@every(SMOOTH)
@pytest.mark.parametrize("dtype", [np.float32, *HALVES])
def test_gradient_of_lower_precision(row, dtype, device):
    over_cases_in(dtype, row, checks.check_dtypes, device)


@every([row for row in SMOOTH if row.result == "wide"])
def test_float16_is_computed_in_float32(row, device):
    over_cases(row, checks.check_computed_in_float32, device)


@every([row for row in SMOOTH if any(len(f) > 1 for f in row.floating)])
def test_mixed_dtypes(row, device):
    """Each input's gradient has that input's dtype."""
    mixed = [np.float32, np.float64, np.float32, np.float64]
    for k in range(len(row.cases)):
        if len(row.floating[k]) > 1:
            with naming(row, k):
                checks.check_dtypes(row, k, device, mixed)
                checks.check_dtypes(row, k, device, mixed[1:])


@every(SMOOTH)
def test_nothing_is_written_to(row):
    with checks.rules_given_read_only():
        over_cases(row, checks.check_read_only)


@every([row for row in ROWS if not row.differentiable])
def test_not_differentiable(row, device):
    """The result requires no gradient, whatever the inputs do."""
    for k in range(len(row.cases)):
        inputs = checks.prepared(row, k, device)
        for i in row.floating[k]:
            inputs[i].requires_grad_()
        assert not any(
            out.requires_grad for out in checks.called(row, k, inputs, device)
        )
