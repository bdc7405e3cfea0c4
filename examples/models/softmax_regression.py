"""Softmax regression: one linear layer under the softmax cross-entropy.

The scores of the classes are W x + b; the model is `nn.Linear` and nothing else.

    python examples/models/softmax_regression.py --seeds 5
"""

from __future__ import annotations

from on_digits import run

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class SoftmaxRegression(nn.Module):
    """Scores for `classes` from features, shape (N, features) -> (N, classes).

    Axes after the first are flattened, so images may be given as they are.
    """

    def __init__(self, features: int = 64, classes: int = 10) -> None:
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(features, classes)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(self.flatten(x))


if __name__ == "__main__":
    run(SoftmaxRegression, lr=1e-2)
