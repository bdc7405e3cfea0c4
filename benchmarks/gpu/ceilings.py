"""What the device reaches with the simplest work: a copy, and large matrix products."""

from __future__ import annotations

from functools import partial
from typing import Any

from .checks import check_same
from .lab import Lab
from .row import CUPY, OURS, PYTORCH, Result, Row
from .timing import Step

COPY = "copy on the device"
MEGABYTES = (64, 256, 1024)
TF32 = "PyTorch, TF32"
PRODUCT = 8192
# Random operands: 16-bit ones are summed in float32 and rounded once.
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}


def copy(lab: Lab, tell: Any, megabytes: int) -> Result:
    """Bytes read and written; the larger figure of the two is the ceiling."""
    (size,) = lab.size(megabytes << 18)
    count, cold = lab.sets(8 * size)
    pairs = [
        (lab.normal((size,)), lab.cupy.empty(size, "float32")) for _ in range(count)
    ]
    steps = {
        CUPY: Step(
            CUPY,
            lambda i: lab.cupy.copyto(pairs[i % count][1], pairs[i % count][0]),
            cold,
        )
    }
    if lab.torch is not None:
        theirs = [(lab.theirs(a), lab.theirs(b)) for a, b in pairs]
        steps[PYTORCH] = Step(
            PYTORCH, lambda i: theirs[i % count][1].copy_(theirs[i % count][0]), cold
        )
        original, copied = theirs[0]
        for step in steps.values():
            copied.fill_(float("nan"))
            step.call(0)
            check_same("the copy", copied, original, 0.0, "the original")
    return {"times": lab.timed(steps), "bytes": 8 * size}


def product(lab: Lab, tell: Any, dtype: str) -> Result:
    """Square matrices; ours, and PyTorch's with and (float32) without TF32."""
    n = lab.size(PRODUCT)[0]
    a, b = lab.normal((n, n), dtype), lab.normal((n, n), dtype)
    x, y = lab.tensor(OURS, a), lab.tensor(OURS, b)
    steps = {OURS: Step(OURS, lambda i: lab.tg.matmul(x, y))}
    if lab.torch is not None:
        v, w, matmul = lab.theirs(a), lab.theirs(b), lab.torch.matmul
        steps[PYTORCH] = Step(PYTORCH, lambda i: matmul(v, w))
        some = slice(0, 64)
        for step in steps.values():
            found = step.call(0)
            found = lab.theirs(found) if step.library == OURS else found
            expected = v[some].double() @ w.double()
            check_same(
                "the product", found[some], expected, TOLERANCE[dtype], "float64"
            )
        if dtype == "float32":
            steps[TF32] = Step(PYTORCH, lambda i: _with_tf32(lab.torch, v, w))
    return {"times": lab.timed(steps), "flops": 2 * n**3}


def _with_tf32(torch: Any, v: Any, w: Any) -> None:
    switch = torch.backends.cuda.matmul
    switch.allow_tf32 = True
    try:
        torch.matmul(v, w)
    finally:
        switch.allow_tf32 = False


ROWS = (
    *(Row(COPY, f"{mb} MB", partial(copy, megabytes=mb)) for mb in MEGABYTES),
    *(
        Row(
            "matrix product",
            f"{PRODUCT} x {PRODUCT} {dtype}",
            partial(product, dtype=dtype),
        )
        for dtype in ("float32", "float16", "bfloat16")
    ),
)
