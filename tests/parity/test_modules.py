"""Modules and functions against PyTorch's answers, which are kept in answers/."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from parity.harness import (
    FAMILIES,
    Case,
    Ours,
    assert_same,
    cases_of,
    kept_answers,
    run,
)

CASES = [(family, case) for family in FAMILIES for case in cases_of(family)]


answers_of = cache(kept_answers)


@pytest.mark.parametrize(
    ("family", "case"), CASES, ids=[f"{family}-{case}" for family, case in CASES]
)
def test_as_pytorch_answered(family: str, case: Case, device: str):
    assert_same(run(case, Ours(device)), answers_of(family)[case.name])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answers_are_those_of_the_cases(family):
    assert set(answers_of(family)) == {case.name for case in cases_of(family)}


def test_a_wrong_answer_is_seen():
    right = run(cases_of("basic")[0], Ours())
    for name in right:
        if name != "keys":
            wrong = {
                **right,
                name: right[name] + 2e-9 * np.abs(right[name]).max() + 2e-9,
            }
            with pytest.raises(AssertionError):
                assert_same(right, wrong)
    with pytest.raises(AssertionError, match="only one side has"):
        assert_same(right, {k: v for k, v in right.items() if k != "output 0"})
