"""A small convolutional network: two convolutions, each with max-pooling, and a layer.

For images of one channel whose sides 4 divides: handwritten digits of 8 x 8 pixels, on
which it is trained here, and MNIST's of 28 x 28.

    python examples/models/cnn.py --seeds 5
"""

from __future__ import annotations

from on_digits import run

import tinygrad_softmax as tg
from tinygrad_softmax import nn


class CNN(nn.Module):
    """Scores for `classes` from images, shape (N, 1, size, size) -> (N, classes)."""

    def __init__(
        self, size: int = 8, channels: tuple[int, int] = (16, 32), classes: int = 10
    ) -> None:
        if size % 4:
            raise ValueError(f"CNN: size was given as {size}; expected a multiple of 4")
        first, second = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, first, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(second * (size // 4) ** 2, classes)
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.classifier(self.features(x))


if __name__ == "__main__":
    run(CNN, epochs=12, lr=5e-3)
