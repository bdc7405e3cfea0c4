"""Optimizers and schedulers against PyTorch's answers, kept in answers/."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from parity.optimizer_cases import CASES, Case
from parity.optimizer_runs import (
    Ours,
    all_rates,
    assert_same,
    kept,
    read_answers,
    run,
    unpacked,
)

answers = cache(read_answers)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_pytorch_answered(case: Case, device: str):
    trajectory = kept(run(case, Ours(device)))
    assert_same(case, trajectory, unpacked(answers()[f"run {case}"]))


def test_rates_are_pytorchs():
    found = all_rates(Ours())
    for name, values in found.items():
        np.testing.assert_array_equal(values, answers()[f"rates {name}"], name)


def test_the_answers_are_those_of_the_cases():
    expected = {f"run {case}" for case in CASES}
    expected |= {f"rates {name}" for name in all_rates(Ours())}
    assert set(answers()) == expected


@pytest.mark.parametrize("position", [0, 1, 2, 4])
def test_a_wrong_answer_is_seen(position):
    case = CASES[0]
    right = kept(run(case, Ours()))
    wrong = [[p.copy() for p in row] for row in right]
    wrong[2][position] += 3e-12 * (1 + np.abs(wrong[2][position]))
    with pytest.raises(AssertionError, match=f"parameter {position} after step 3"):
        assert_same(case, wrong, right)
