"""Training steps of the networks in examples/models/, and of their twins in PyTorch.

The twins load the examples' weights by name, so they have the same parameters. That
they compute the same is checked before they are timed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from .goals import Ratio, Row
from .measuring import OURS, PYTORCH, Effort, Entry, Measured, side_by_side

LR = 1e-5  # so small that the last step computes with the same numbers as the first


def example(name: str) -> Any:
    """The module examples/models/<name>.py."""
    folder = str(Path(__file__).resolve().parent.parent / "examples" / "models")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


def training_step(
    lib: Any, model: Any, x: np.ndarray, labels: np.ndarray, **options: Any
) -> Entry:
    """AdamW on the cross-entropy, matrices decay: the same code for both libraries.

    The scores of `model(x)` have the classes on their last axis.
    """
    batch, target = lib.tensor(x), lib.tensor(labels).reshape(-1)
    parameters = list(model.parameters())
    matrices = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = lib.optim.AdamW(groups, lr=LR, **options)

    def step() -> Any:
        optimizer.zero_grad()
        scores = model(batch)
        scores = scores.reshape(-1, scores.shape[-1])
        loss = lib.nn.functional.cross_entropy(scores, target)
        loss.backward()
        optimizer.step()
        return loss

    def numbers() -> dict[str, list[Any]]:
        """Not the parameters: AdamW makes a whole step of a gradient that is rounding.

        (That of the bias of attention's keys is one.) tests/parity/ compares AdamW.
        """
        loss = step().item()
        named = sorted(model.named_parameters(), key=lambda item: item[0])
        return {"loss": [loss], "gradients": [p.grad.numpy().copy() for _, p in named]}

    return Entry(step, numbers)


def twins(
    build: Callable[[], Any], build_twin: Callable[[], Any], *batch: Any, **options: Any
) -> dict[str, Callable[[], Entry]]:
    """A model and its twin in PyTorch with the same weights."""
    tg.manual_seed(0)
    model = build()
    weights = {name: p.numpy().copy() for name, p in model.state_dict().items()}

    def pytorch() -> Entry:
        import torch

        twin = build_twin()
        twin.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
        return training_step(torch, twin, *batch, **options)

    return {OURS: lambda: training_step(tg, model, *batch, **options), PYTORCH: pytorch}


# -- GPT -----------------------------------------------------------------------------


def gpt_twin(vocabulary: int, context: int, width: int, layers: int, heads: int) -> Any:
    """GPT of examples/models/gpt.py in PyTorch: the same names, the same products."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Linear(width, width)
            self.key = nn.Linear(width, width)
            self.value = nn.Linear(width, width)
            self.output = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            def split(y: Any) -> Any:
                return y.reshape(*y.shape[:2], heads, width // heads).swapaxes(1, 2)

            attended = nn.functional.scaled_dot_product_attention(
                split(self.query(x)),
                split(self.key(x)),
                split(self.value(x)),
                is_causal=True,
            )
            return self.output(attended.swapaxes(1, 2).reshape(x.shape))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.attention = Attention()
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(context, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, idx: Any) -> Any:
            x = self.tokens(idx) + self.places.weight[: idx.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return GPT().to(torch.float32)


def measure_gpt(effort: Effort) -> Iterator[Measured]:
    sizes = dict(vocabulary=96, context=64, width=128, layers=2, heads=4)
    rows = 16
    if effort.toy:
        sizes, rows = dict(vocabulary=7, context=4, width=8, layers=1, heads=2), 2
    random = np.random.default_rng(0)
    shape = (rows, sizes["context"] + 1)
    tokens = random.integers(0, sizes["vocabulary"], shape)
    builders = twins(
        lambda: example("gpt").GPT(**sizes),
        lambda: gpt_twin(**sizes),
        tokens[:, :-1].copy(),
        tokens[:, 1:].copy(),
        betas=(0.9, 0.99),
        weight_decay=0.1,
    )
    yield side_by_side(f"batch {rows}", builders, effort)


# -- CNN -----------------------------------------------------------------------------


def cnn_twin(size: int, channels: tuple[int, int]) -> Any:
    """CNN of examples/models/cnn.py in PyTorch."""
    from torch import nn

    first, second = channels

    class CNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, first, kernel_size=3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(first, second, kernel_size=3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            self.classifier = nn.Sequential(
                nn.Flatten(), nn.Linear(second * (size // 4) ** 2, 10)
            )

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x))

    return CNN()


def measure_cnn(effort: Effort) -> Iterator[Measured]:
    size, channels, rows = (8, (2, 3), 4) if effort.toy else (28, (16, 32), 64)
    random = np.random.default_rng(0)
    images = random.standard_normal((rows, 1, size, size), np.float32)
    builders = twins(
        lambda: example("cnn").CNN(size, channels),
        lambda: cnn_twin(size, channels),
        images,
        random.integers(0, 10, rows),
        weight_decay=0.05,
    )
    yield side_by_side(f"batch {rows}", builders, effort)


ROWS = (
    Row(
        "gpt",
        "GPT of 2 layers, width 128, context 64, batch 16: AdamW step",
        measure_gpt,
        (Ratio(1.0),),
    ),
    Row(
        "cnn",
        "CNN, 28x28, 16 and 32 channels, batch 64: AdamW step",
        measure_cnn,
        (Ratio(1.5),),
    ),
)
