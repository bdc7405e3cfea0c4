"""For every file of kernels: awkward cases, and faults that they must catch.

A case takes the backend and raises if a result is wrong. `CASES[file]` are run by
test_cuda_sanitized.py under AddressSanitizer and UndefinedBehaviorSanitizer, in the
schedules of `cuda_shim`; test_cuda_faults.py plants `FAULTS`. Both are gathered from
the cuda_*_cases.py, which have CASES, (file, case), and FAULTS.
"""

from __future__ import annotations

from typing import NamedTuple

import cuda_attention_cases
import cuda_channel_cases
import cuda_cross_entropy
import cuda_cross_entropy_faults
import cuda_flat_cases
import cuda_norm_cases
import cuda_optimizer_cases
import cuda_optimizer_faults
import cuda_scatter_cases
import cuda_softmax_cases
import cuda_window_cases
from cuda_checks import Case

CASES: dict[str, list[Case]] = {}
for _file, _case in (
    *cuda_softmax_cases.CASES,
    *cuda_norm_cases.CASES,
    *cuda_channel_cases.CASES,
    *cuda_flat_cases.CASES,
    *(("cross_entropy.cu", each) for each in cuda_cross_entropy.CASES),
    *(("loss_sums.cu", each) for each in cuda_cross_entropy.CASES),
    *(("scatter.cu", each) for each in cuda_scatter_cases.CASES),
    *(("windows.cu", each) for each in cuda_window_cases.CASES),
    *(("attention.cu", each) for each in cuda_attention_cases.CASES),
    *(("optimizers.cu", each) for each in cuda_optimizer_cases.CASES_OF_UPDATES),
    *(("gradients.cu", each) for each in cuda_optimizer_cases.CASES_OF_GRADIENTS),
):
    CASES.setdefault(_file, []).append(_case)


class Fault(NamedTuple):
    """In `file`, `old`, which is there once, becomes `new`.

    It is caught when the case, which passes without it, fails in any of the schedules.
    """

    file: str
    old: str
    new: str
    why: str
    case: Case


FAULTS = [
    Fault(*each)
    for each in (
        *cuda_softmax_cases.FAULTS,
        *cuda_cross_entropy_faults.FAULTS,
        *cuda_norm_cases.FAULTS,
        *cuda_channel_cases.FAULTS,
        *cuda_attention_cases.FAULTS,
        *cuda_flat_cases.FAULTS,
        *cuda_optimizer_faults.FAULTS,
        *cuda_scatter_cases.FAULTS,
        *cuda_window_cases.FAULTS,
    )
]
