"""A multilayer perceptron: linear layers with ReLU between them.

python examples/models/mlp.py --seeds 5
"""

from __future__ import annotations

from collections.abc import Sequence

from on_digits import run

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class MLP(nn.Module):
    """Scores for `classes`, shape (N, features) -> (N, classes).

    Axes after the first are flattened, so images may be given as they are.

    hidden: the width of each hidden layer.
    """

    def __init__(
        self,
        features: int = 64,
        hidden: Sequence[int] = (256,),
        classes: int = 10,
        dropout: float = 0.0,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for width in hidden:
            layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.layers(x)


if __name__ == "__main__":
    run(MLP)
