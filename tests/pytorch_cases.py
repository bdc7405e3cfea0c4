"""What `nn` promises to do as PyTorch does, and PyTorch's own answers.

The cases are plain data, so that this file needs neither library. Run as a script,
with a Python that has torch, it writes the answers:

    python tests/pytorch_cases.py > tests/pytorch_answers.json
"""

from __future__ import annotations

import json
import sys

import numpy as np


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """Numbers in [-2, 2] without a pattern, the same everywhere."""
    return 2.0 * np.sin(1.7 * np.arange(np.prod(shape)) + phase).reshape(shape)


def proportions(*shape: int, axis: int) -> np.ndarray:
    positive = wave(*shape, phase=0.3) ** 2 + 0.1
    return positive / positive.sum(axis=axis, keepdims=True)


WEIGHT = [0.5, 1.0, 2.0, 0.25]
ROWS, LABELS = wave(5, 4), np.array([1, 0, 3, 2, 0])
PIXELS, PIXEL_LABELS = wave(2, 4, 3), np.array([[0, 1, 2], [3, -100, 1]])

# name: (input, target, keyword arguments)
CROSS_ENTROPY = {
    "indices": (ROWS, LABELS, {}),
    "sum": (ROWS, LABELS, {"reduction": "sum"}),
    "none": (ROWS, LABELS, {"reduction": "none"}),
    "weight": (ROWS, LABELS, {"weight": WEIGHT}),
    "ignored": (ROWS, np.array([1, -100, 3, -100, 0]), {"weight": WEIGHT}),
    "ignore 0": (ROWS, LABELS, {"ignore_index": 0}),
    "smoothed": (ROWS, LABELS, {"label_smoothing": 0.1, "weight": WEIGHT}),
    "pixels": (PIXELS, PIXEL_LABELS, {"weight": WEIGHT, "label_smoothing": 0.2}),
    "one sample": (ROWS[0], np.array(2), {}),
    "probabilities": (ROWS, proportions(5, 4, axis=1), {"weight": WEIGHT}),
    "pixel probabilities": (
        PIXELS,
        proportions(2, 4, 3, axis=1),
        {"label_smoothing": 0.1, "reduction": "none"},
    ),
    "one sample's probabilities": (ROWS[0], proportions(4, axis=0), {}),
}

# The input is the logarithm of probabilities.
NLL_LOSS = {
    "indices": (ROWS, LABELS, {}),
    "weight": (ROWS, LABELS, {"weight": WEIGHT}),
    "ignored": (ROWS, LABELS, {"ignore_index": 0, "reduction": "none"}),
    "pixels": (PIXELS, PIXEL_LABELS, {"weight": WEIGHT}),
    "one sample": (ROWS[0], np.array(2), {"reduction": "sum"}),
}


def main() -> None:
    import torch
    from torch.nn import functional

    def loss_case(function, case) -> dict:
        data, target, options = case
        options = dict(options)
        if "weight" in options:
            options["weight"] = torch.tensor(options["weight"], dtype=torch.float64)
        x = torch.tensor(data, requires_grad=True)
        loss = function(x, torch.tensor(target), **options)
        loss.sum().backward()
        return {"loss": loss.tolist(), "grad": x.grad.tolist()}

    answers = {
        "torch": torch.__version__,
        "cross_entropy": {
            name: loss_case(functional.cross_entropy, case)
            for name, case in CROSS_ENTROPY.items()
        },
        "nll_loss": {
            name: loss_case(functional.nll_loss, case)
            for name, case in NLL_LOSS.items()
        },
    }
    json.dump(answers, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
