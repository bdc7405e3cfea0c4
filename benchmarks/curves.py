"""Cost against size, from 1 KB to 1 GB: `python -m benchmarks.curves [FOLDER]`.

Two curves: the softmax cross-entropy of rows of 128 classes, and the engine on
elementwise ops, sum(x * w + x), both forward and backward. A size is left out where it
would need more than 4 GB or half of the machine's memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from . import cross_entropy, machine
from .measuring import OURS, PYTORCH, Effort, Entry, Measured, side_by_side

SIZES = tuple(1024 * 4**k for k in range(11))  # bytes
CLASSES = 128
# At the largest sizes a call takes a second: one in a block must do.
EFFORT = Effort("curves", blocks=3, calls=20, seconds=0.02, longest=0.5)
# The arrays of the input's size that are alive at once, in both libraries together.
CROSS_ENTROPY_ARRAYS, ENGINE_ARRAYS = 7, 10


def room() -> float:
    """The bytes that may be used: 4 GB, or half of a smaller machine's memory."""
    memory = machine.memory_gb()
    return min(4.3e9, 0.5e9 * memory if memory else 1e9)


def cross_entropy_at(size: int, effort: Effort) -> Measured:
    logits, labels = cross_entropy.batch(size // (4 * CLASSES), CLASSES)
    builders = {
        OURS: lambda: cross_entropy.ours(logits, labels),
        PYTORCH: lambda: cross_entropy.pytorch(logits, labels),
    }
    return side_by_side(str(size), builders, effort)


def engine_at(size: int, effort: Effort) -> Measured:
    def build(lib: Any) -> Entry:
        random = np.random.default_rng(0)
        values = random.standard_normal((2, size // 4), np.float32)
        x, w = lib.tensor(values[0], requires_grad=True), lib.tensor(values[1])

        def step() -> Any:
            x.grad = None
            loss = (x * w + x).sum()
            loss.backward()
            return loss

        def numbers() -> dict[str, list[Any]]:
            step()  # the sum itself nearly cancels, so only its gradient is compared
            return {"gradients": [x.grad.numpy()]}

        return Entry(step, numbers)

    def pytorch() -> Entry:
        import torch

        return build(torch)

    return side_by_side(str(size), {OURS: lambda: build(tg), PYTORCH: pytorch}, effort)


CURVES: dict[str, tuple[Callable[[int, Effort], Measured], int]] = {
    "softmax cross-entropy": (cross_entropy_at, CROSS_ENTROPY_ARRAYS),
    "the engine: sum(x * w + x)": (engine_at, ENGINE_ARRAYS),
}


def measure(
    sizes: Iterable[int] = SIZES, effort: Effort = EFFORT
) -> dict[str, list[dict[str, Any]]]:
    """Of each curve, the sizes that fit in memory."""
    return {
        name: [at(n, effort).as_dict() for n in sizes if n * arrays <= room()]
        for name, (at, arrays) in CURVES.items()
    }


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Nanoseconds a byte against bytes, and below it the ratio to PyTorch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots(2, len(curves), sharex=True, squeeze=False)
    for (top, bottom), (name, points) in zip(axes.T, curves.items()):
        sizes = np.array([int(point["case"]) for point in points], float)
        medians = {
            library: np.array([point["median"][library] for point in points])
            for library in points[0]["median"]
        }
        for library, seconds in medians.items():
            top.loglog(sizes, seconds, marker="o", label=library)
        top.set(title=name, ylabel="seconds, forward and backward")
        top.legend()
        if PYTORCH in medians:
            bottom.semilogx(sizes, medians[OURS] / medians[PYTORCH], marker="o")
        bottom.axhline(1.0, color="grey", linewidth=1)
        bottom.set(xlabel="bytes of the input", ylabel=f"ours / {PYTORCH}")
        bottom.set_ylim(bottom=0.0)
    figure.savefig(path, dpi=110)


def write(folder: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    """`curves.json`, and `curves.png` where there is matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine.describe(), "load": machine.load(), "curves": curves}
    text = json.dumps(results, indent=1) + "\n"
    (folder / "curves.json").write_text(text, "utf-8")
    try:
        draw(curves, folder / "curves.png")
    except ImportError:
        print("no picture: matplotlib is missing")


if __name__ == "__main__":
    results = Path(__file__).parent / "results" / date.today().isoformat()
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else results, measure())
