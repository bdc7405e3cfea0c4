"""The same cases against PyTorch itself: run by scripts/test --full.

python -m pytest tests/parity/modules_against_torch.py
"""

from __future__ import annotations

import pytest
from parity.harness import FAMILIES, Case, Ours, Torch, assert_same, cases_of, run
from parity.test_modules import answers_of

CASES = [(family, case) for family in FAMILIES for case in cases_of(family)]


@pytest.mark.parametrize(
    ("family", "case"), CASES, ids=[f"{family}-{case}" for family, case in CASES]
)
def test_as_pytorch_answers_now(family: str, case: Case, device: str):
    expected = run(case, Torch())
    assert_same(run(case, Ours(device)), expected)
    assert_same(answers_of(family)[case.name], expected)
