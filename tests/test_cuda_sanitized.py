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


def run(name: str) -> str:
    """What sanitized.py says, on both streams."""
    done = subprocess.run(
        [sys.executable, TESTS / "cuda_shim" / "sanitized.py", name],
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
        capture_output=True,
        text=True,
    )
    assert ("nothing was found" in done.stdout) == (done.returncode == 0)
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", kernels.SOURCES)
def test_nothing_is_found(file):
    assert CASES[file], "cuda_cases.py has no case for the file"
    assert run(file) == "nothing was found\n"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("past-the-end", "heap-buffer-overflow"),
        ("before-the-array", "heap-buffer-overflow"),
        ("misaligned", "runtime error: .*misaligned address"),
        ("past-shared", "runtime error: index 8 out of bounds|global-buffer-overflow"),
        ("past-dynamic", "heap-buffer-overflow"),
        ("shift", "runtime error: shift exponent 44 is too large"),
    ],
)
def test_what_is_planted_is_found(fault, said):
    assert re.search(said, run(fault))


def test_what_is_right_is_not_found():
    assert run("nothing") == "nothing was found\n"
