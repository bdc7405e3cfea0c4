"""Runs the cases of files of kernels in the sanitized build: a process of its own.

    python tests/cuda_shim/sanitized.py softmax.cu ...     or names of the faults below

AddressSanitizer must be there from the process's first allocation:
test_cuda_sanitized.py starts this with it in LD_PRELOAD. What a sanitizer finds ends
the process, so that each name has a child of its own.
"""

from __future__ import annotations

import os
import sys

import cuda_checks as checks
import strict_cupy
from cuda_cases import CASES

import cuda_shim

# What the sanitizers must catch, or this run proves nothing.
FAULTS = {
    "past-the-end": "out[n + threadIdx.x] = 1.0f;",
    "before-the-array": "out[-1] = 1.0f;",
    "misaligned": "*reinterpret_cast<uint4*>(out + 1) = uint4();",
    "past-shared": (
        "__shared__ float kept[8]; kept[n + 4] = 1.0f; out[0] = kept[threadIdx.x % 8];"
    ),
    "past-dynamic": "DYNAMIC_SHARED(float, all); all[n] = 1.0f;",
    "shift": "out[0] = (float)(1 << (n + 40));",
    "nothing": "out[threadIdx.x] = 1.0f;",
}


def plant(body: str) -> None:
    text = f'extern "C" __global__ void f(float* out, long long n) {{ {body} }}'
    out = strict_cupy.make_modules()[0].zeros(4, "float32")
    checks.run_source(text, "f", "float32", (1,), (4,), out, 4, shared_mem=16)


def run_cases(file: str) -> None:
    with checks.kernels_on_the_cpu() as backend:
        for schedule in ("round-robin", "hashed"):
            with cuda_shim.schedule(schedule):
                for case in CASES[file]:
                    case(backend)


def main(names: list[str]) -> None:
    assert cuda_shim.sanitized()
    for name in names:
        print(f"== {name}", flush=True)  # noqa: T201  (what the test reads)
        child = os.fork()
        if not child:
            try:
                plant(FAULTS[name]) if name in FAULTS else run_cases(name)
                print("nothing was found", flush=True)  # noqa: T201
            finally:
                sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
                os._exit(0)
        os.waitpid(child, 0)


main(sys.argv[1:])
