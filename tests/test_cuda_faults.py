"""Faults planted in the CUDA kernels are caught by their cases."""

from __future__ import annotations

import cuda_checks as checks
import cuda_shim
import pytest
from cuda_cases import FAULTS, Fault

from tinygrad_softmax.backends.cuda import kernels


def run(fault: Fault) -> None:
    """The case in every schedule, until it fails."""
    with checks.kernels_on_the_cpu() as backend:
        for schedule in cuda_shim.SCHEDULES:
            with cuda_shim.schedule(schedule):
                fault.case(backend)


def named(fault: Fault) -> str:
    return f"{fault.file}: {fault.why}"


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_a_planted_fault_is_caught(fault, monkeypatch):
    run(fault)
    right = kernels.code
    assert kernels.read(fault.file).count(fault.old) == 1
    assert fault.new != fault.old

    def wrong(file: str) -> str:
        return right(file).replace(fault.old, fault.new)

    monkeypatch.setattr(kernels, "code", wrong)
    with pytest.raises((AssertionError, cuda_shim.ShimError)):
        run(fault)
