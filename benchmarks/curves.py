"""Cost against size, from 1 KB to 1 GB: `python -m benchmarks.curves [FOLDER]`.

Two curves: the softmax cross-entropy of rows of 128 classes, and the engine on
elementwise ops, sum(x * w + x), both forward and backward. A size is left out where it
would need more than half of the machine's memory, or more than `--memory` GB. That is 4
unless it is given: enough for 512 MB. The whole gigabyte needs 6.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from . import cross_entropy, machine
from .measuring import OURS, PYTORCH, Effort, Entry, Measured, side_by_side

SIZES = (*(1024 * 4**k for k in range(10)), 2**29, 2**30)  # bytes
CLASSES = 128
# At the largest sizes a call takes a second: one in a block must do.
EFFORT = Effort("curves", blocks=3, calls=20, seconds=0.02, longest=0.5)
# Arrays of the input's size that are alive at once: the inputs, which both libraries
# share, and what the one needs that is at work. Measured: 4.8 and 4.0, with PyTorch.
ARRAYS = 5
# Comparing takes memory, and what is the same up to this size is beyond it.
CHECKED = 2**24


def room(gigabytes: float = 4.0) -> float:
    """The bytes that may be used: no more than half of the machine's memory."""
    memory = machine.memory_gb()
    return min(gigabytes, 0.5 * memory if memory else 1.0) * 1e9


def cross_entropy_at(size: int, effort: Effort) -> Measured:
    logits, labels = cross_entropy.batch(size // (4 * CLASSES), CLASSES)
    builders = {
        OURS: lambda: cross_entropy.ours(logits, labels),
        PYTORCH: lambda: cross_entropy.pytorch(logits, labels),
    }
    return side_by_side(str(size), builders, effort, check=size <= CHECKED)


def engine_at(size: int, effort: Effort) -> Measured:
    random = np.random.default_rng(0)
    values = random.standard_normal((2, size // 4), np.float32)

    def entry(x: Any, w: Any) -> Entry:
        x.requires_grad = True

        def step() -> None:
            (x * w + x).sum().backward()
            x.grad = None  # or its memory would be kept while the other library works

        def numbers() -> dict[str, list[Any]]:
            (x * w + x).sum().backward()  # of a sum that nearly cancels: not compared
            gradient, x.grad = x.grad.numpy(), None
            return {"gradients": [gradient]}

        return Entry(step, numbers)

    def ours() -> Entry:
        return entry(*map(tg.asarray, values))

    def pytorch() -> Entry:
        import torch

        return entry(*map(torch.from_numpy, values))

    builders = {OURS: ours, PYTORCH: pytorch}
    return side_by_side(str(size), builders, effort, check=size <= CHECKED)


CURVES: dict[str, Callable[[int, Effort], Measured]] = {
    "softmax cross-entropy": cross_entropy_at,
    "the engine: sum(x * w + x)": engine_at,
}


def measure(
    limit: float, sizes: Iterable[int] = SIZES, effort: Effort = EFFORT
) -> dict[str, list[dict[str, Any]]]:
    """Of each curve, the sizes that need no more than `limit` bytes."""
    sizes = [size for size in sizes if size * ARRAYS <= limit]
    return {
        name: [at(size, effort).as_dict() for size in sizes]
        for name, at in CURVES.items()
    }


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Seconds against bytes, and below them the ratio to PyTorch."""
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


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", type=Path, nargs="?", help="default: results/<date>/")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB")
    options = parser.parse_args()
    folder = Path(__file__).parent / "results" / date.today().isoformat()
    write(options.folder or folder, measure(room(options.memory)))


if __name__ == "__main__":
    main()
