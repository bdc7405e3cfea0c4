"""Training steps of the MLP, the CNN and the GPT of examples/models/, and their memory.

The twins in PyTorch (benchmarks/models.py) load the examples' weights by name. Loss and
gradients are compared before a step is timed. All is float32, without TF32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .checks import WrongNumbersError, check_same
from .lab import Lab, peak_of_ours, peak_of_theirs
from .row import OURS, PYTORCH, Result, Row
from .timing import Step

LR = 1e-5  # so small that the last step computes with the same numbers as the first
TOLERANCE = 1e-4
MEMORY_STEPS = 3


@dataclass(frozen=True)
class Model:
    """ours, theirs: build it; batch: inputs and labels, NumPy arrays, from a seed."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def mlp(lab: Lab, rows: int, hidden: int, layers: int) -> Model:
    rows, hidden = lab.size(rows)[0], lab.size(hidden)[0]
    features, classes, widths = 784, 10, (hidden,) * layers

    def theirs() -> Any:
        from torch import nn

        parts: list[Any] = [nn.Flatten()]
        width = features
        for each in widths:  # Identity stands for the example's dropout of nothing
            parts += [nn.Linear(width, each), nn.ReLU(), nn.Identity()]
            width = each

        class MLP(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = nn.Sequential(*parts, nn.Linear(width, classes))

            def forward(self, x: Any) -> Any:
                return self.layers(x)

        return MLP()

    return Model(
        lambda: _models().example("mlp").MLP(features, widths, classes),
        theirs,
        lambda random: (
            random.standard_normal((rows, features), np.float32),
            random.integers(0, classes, rows),
        ),
    )


def cnn(lab: Lab, rows: int, channels: tuple[int, int]) -> Model:
    (rows,), (first, second) = lab.size(rows), lab.size(*channels)
    size = 8 if lab.toy else 28
    return Model(
        lambda: _models().example("cnn").CNN(size, (first, second)),
        lambda: _models().cnn_twin(size, (first, second)),
        lambda random: (
            random.standard_normal((rows, 1, size, size), np.float32),
            random.integers(0, 10, rows),
        ),
    )


def gpt(lab: Lab, rows: int, **sizes: int) -> Model:
    if lab.toy:
        rows, sizes = 2, dict(vocabulary=7, context=4, width=8, layers=1, heads=2)

    def batch(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        shape = (rows, sizes["context"] + 1)
        tokens = random.integers(0, sizes["vocabulary"], shape)
        return tokens[:, :-1].copy(), tokens[:, 1:].copy()

    return Model(
        lambda: _models().example("gpt").GPT(**sizes),
        lambda: _models().gpt_twin(**sizes),
        batch,
    )


def _models() -> Any:
    """benchmarks/models.py, imported late: rows are listed without the libraries."""
    from benchmarks import models

    return models


def training_step(lab: Lab, library: str, model: Any, x: Any, labels: Any) -> Step:
    """AdamW on the cross-entropy: the same code for both libraries."""
    lib, device = lab.library(library), lab.device
    device = device if library == OURS else lab.torch_device
    options: dict[str, Any] = {} if library == OURS or lab.toy else {"fused": True}
    batch = lib.tensor(x, device=device)
    target = lib.tensor(labels, device=device).reshape(-1)
    optimizer = lib.optim.AdamW(list(model.parameters()), lr=LR, **options)

    def call(i: int) -> Any:
        optimizer.zero_grad()
        scores = model(batch)
        scores = scores.reshape(-1, scores.shape[-1])
        loss = lib.nn.functional.cross_entropy(scores, target)
        loss.backward()
        optimizer.step()
        return loss

    return Step(library, call)


def measure(
    lab: Lab, tell: Callable[[Result], None], make: Callable[..., Model]
) -> Result:
    """Both libraries in turns; a few steps between two events, launches included."""
    model = make(lab)
    x, labels = model.batch(np.random.default_rng(0))
    mine = model.ours().to(lab.device)
    steps = {}
    twin = None
    if lab.torch is not None:
        weights = {k: lab.torch.tensor(p.numpy()) for k, p in mine.state_dict().items()}
        twin = model.theirs().to(lab.torch_device)
        twin.load_state_dict(weights)
        steps[PYTORCH] = training_step(lab, PYTORCH, twin, x, labels)
    steps = {OURS: training_step(lab, OURS, mine, x, labels), **steps}
    first = {name: step.call(0) for name, step in steps.items()}
    if twin is not None:
        _check(lab, first, mine, twin)
    return {"times": lab.timed(steps, seconds=1.0, together=5)}


def _check(lab: Lab, losses: dict[str, Any], mine: Any, twin: Any) -> None:
    """All gradients as one array: that of the bias of attention's keys is rounding.

    Not the parameters: AdamW makes a whole step of such a gradient. The optimizers'
    rows compare those.
    """
    ours, theirs = losses[OURS].item(), losses[PYTORCH].item()
    if not abs(ours - theirs) <= TOLERANCE * abs(theirs):
        raise WrongNumbersError(f"the loss is {ours}, and PyTorch's {theirs}")
    named = dict(twin.named_parameters())
    pairs = [(lab.theirs(p.grad), named[k].grad) for k, p in mine.named_parameters()]
    found, expected = (
        lab.torch.cat([each.reshape(-1) for each in part]) for part in zip(*pairs)
    )
    check_same("the gradient of all parameters", found, expected, TOLERANCE)


def memory(
    lab: Lab, tell: Callable[[Result], None], make: Callable[..., Model], library: str
) -> Result:
    """The peak of a few steps, the model and the optimizer included."""
    model = make(lab)
    x, labels = model.batch(np.random.default_rng(0))
    if library == OURS:
        watch: Any = peak_of_ours(lab.cupy)
        build, device = model.ours, lab.device
    else:
        watch = peak_of_theirs(lab.torch)
        build, device = model.theirs, lab.torch_device
    with watch as peak:
        step = training_step(lab, library, build().to(device), x, labels)
        losses = [step.call(i).item() for i in range(MEMORY_STEPS)]
        found = peak()
    if not all(loss == loss for loss in losses):
        raise WrongNumbersError("the loss is nan")
    return {"peak": {library: found["used"]}, "held": {library: found["held"]}}


MODELS: tuple[tuple[str, Callable[[Lab], Model]], ...] = (
    ("MLP 784-128-10, batch 128", partial(mlp, rows=128, hidden=128, layers=1)),
    (
        "MLP 784-4096-4096-10, batch 8192",
        partial(mlp, rows=8192, hidden=4096, layers=2),
    ),
    (
        "CNN 28x28, 16 and 32 channels, batch 64",
        partial(cnn, rows=64, channels=(16, 32)),
    ),
    (
        "CNN 28x28, 64 and 128 channels, batch 1024",
        partial(cnn, rows=1024, channels=(64, 128)),
    ),
    (
        "GPT of 2 layers, width 128, context 64, batch 16",
        partial(gpt, rows=16, vocabulary=96, context=64, width=128, layers=2, heads=4),
    ),
    (
        "GPT of 8 layers, width 512, context 256, batch 16, 8192 tokens",
        partial(
            gpt, rows=16, vocabulary=8192, context=256, width=512, layers=8, heads=8
        ),
    ),
)

ROWS = (
    *(Row("training step", name, partial(measure, make=make)) for name, make in MODELS),
    *(
        Row(
            f"peak memory of {library}",
            name,
            partial(memory, make=make, library=library),
            process=library,
        )
        for library in (OURS, PYTORCH)
        for name, make in MODELS
    ),
)
