"""The CUDA kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cuda_shim
import pytest
from cuda_cases import CASES

from tinygrad_softmax.backends.cuda import kernels

TESTS = Path(__file__).resolve().parent
NOTHING = "nothing was found\n"


def run(*names: str) -> dict[str, str]:
    """What sanitized.py says of each name."""
    done = subprocess.run(
        [sys.executable, TESTS / "cuda_shim" / "sanitized.py", *names],
        env={
            **os.environ,
            "CUDA_SHIM_SANITIZE": "1",
            "LD_PRELOAD": " ".join(
                map(cuda_shim.runtime, ("libasan.so", "libubsan.so"))
            ),
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            "PYTHONMALLOC": "malloc",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    start, *parts = done.stdout.split("== ")
    assert start == ""
    said = dict(part.split("\n", 1) for part in parts)
    assert list(said) == list(names)
    return said


@pytest.mark.parametrize("file", kernels.SOURCES)
def test_nothing_is_found(file):
    assert CASES[file], "cuda_cases.py has no case for the file"
    assert run(file)[file] == NOTHING


def test_what_is_planted_is_found():
    expected = {
        "past-the-end": "heap-buffer-overflow",
        "before-the-array": "heap-buffer-overflow",
        "misaligned": "runtime error: .*misaligned address",
        "past-shared": "runtime error: index 8 out of bounds|global-buffer-overflow",
        "past-dynamic": "heap-buffer-overflow",
        "shift": "runtime error: shift exponent 44 is too large",
        "nothing": "^" + NOTHING,
    }
    said = run(*expected)
    for name, pattern in expected.items():
        assert re.search(pattern, said[name]), said[name]
        assert (NOTHING in said[name]) == (name == "nothing")
