"""The main job in one call: from labelled rows to a trained classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .autograd import no_grad
from .backends import manual_seed
from .creation import tensor
from .data import (
    DataLoader,
    LabelledRows,
    StandardScaler,
    TensorDataset,
    stratified_split,
)
from .nn import Linear, Module, ReLU, Sequential
from .ops import softmax
from .optim import Adam
from .training import Callback, History, Trainer, accuracy, confusion_matrix

__all__ = [
    "Classifier",
    "OtherRunError",
    "TrainingRun",
    "default_epochs",
    "make_model",
    "train_classifier",
]

EPOCHS, LEAST_STEPS = 40, 1600  # by default; a small table needs more epochs
ROWS_AT_ONCE = 8192  # rows in one forward pass where no gradient is wanted
SAMPLES = 10  # held-out rows whose positions a classifier remembers


@dataclass(frozen=True)
class Classifier:
    """A model together with what turns rows into its input and its output into names.

    Attributes:
        model: what `make_model(sizes)` returned, trained.
        sizes: number of columns, of hidden units layer by layer, and of classes.
        scaler: learnt from the training rows.
        feature_names: the columns, in the order that the model expects.
        class_names: the classes, in the order of the model's outputs.
        target_name: what the classes are called together.
        source: the name of the data it was trained on.
        held_out: positions of a few rows of `source` that it was not trained on.
    """

    model: Module
    sizes: tuple[int, ...]
    scaler: StandardScaler
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    target_name: str
    source: str
    held_out: tuple[int, ...] = ()

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """The probability of each class for rows as they came, not yet scaled.

        Args:
            features: shape (rows, columns), in the order of `feature_names`.

        Returns:
            float32, shape (rows, classes); each row sums to 1, or is nan where its
            numbers are so far from the training data that they overflow.
        """
        return predict_proba(self.model, self.scaler.transform(features))


@dataclass(frozen=True)
class TrainingRun:
    """What `train_classifier` returns.

    Attributes:
        classifier: ready for new rows.
        history: what was measured, epoch by epoch.
        train, test: loss and accuracy at the end, on the training rows and held out.
        confusion: counts of the held-out rows by true and predicted class.
        train_rows: positions of the rows that it was trained on.
        test_rows: positions of the rows held out.
    """

    classifier: Classifier
    history: History
    train: dict[str, float]
    test: dict[str, float]
    confusion: np.ndarray
    train_rows: np.ndarray
    test_rows: np.ndarray


class OtherRunError(ValueError):
    """A checkpoint belongs to a run with other data or other options."""


class _SameRun(Callback):
    """Keeps what a run was asked for in its checkpoint, and refuses another run's."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def state_dict(self) -> dict[str, Any]:
        return self.options

    def load_state_dict(self, state: dict[str, Any]) -> None:
        differing = [
            f"{name} was {state.get(name)!r} and is {value!r}"
            for name, value in self.options.items()
            if state.get(name) != value
        ]
        if differing:
            raise OtherRunError(
                f"the checkpoint is of another run: {'; '.join(differing)}"
            )


def make_model(sizes: Sequence[int]) -> Sequential:
    """A softmax classifier: from `sizes[0]` columns to `sizes[-1]` logits.

    With two sizes it is softmax regression, a single Linear. With more it is an MLP,
    and a ReLU stands between any two Linears.

    >>> [tuple(p.shape) for p in make_model([64, 32, 10]).parameters()]
    [(32, 64), (32,), (10, 32), (10,)]
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"make_model needs the number of columns, of hidden units layer by layer, "
            f"and of classes, each at least 1; got {list(sizes)}"
        )
    layers: list[Module] = [Linear(sizes[0], sizes[1])]
    for inputs, outputs in pairwise(sizes[1:]):
        layers += [ReLU(), Linear(inputs, outputs)]
    return Sequential(*layers)


def default_epochs(rows: int, batch_size: int) -> int:
    """40 passes over the training rows, and as many more as make 1,600 steps.

    >>> default_epochs(1348, 32), default_epochs(111, 32)
    (40, 400)
    """
    return max(EPOCHS, math.ceil(LEAST_STEPS / math.ceil(rows / batch_size)))


def train_classifier(
    rows: LabelledRows,
    *,
    hidden: Sequence[int] = (),
    epochs: int | None = None,
    batch_size: int = 32,
    lr: float = 0.005,
    weight_decay: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
    progress: bool | None = False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
) -> TrainingRun:
    """Train on three quarters of the rows and measure on the last quarter.

    The held-out quarter has the same share of each class and chooses nothing: scaling
    is learnt from the training rows, and the last epoch's model is the result.

    Args:
        rows: the data.
        hidden: units of the hidden layers; none is softmax regression.
        epochs: passes over the training rows; None is `default_epochs`.
        batch_size: rows a step.
        lr: learning rate of Adam.
        weight_decay: factor of the L2 penalty.
        seed: of the split, the first weights and the order of the rows; one seed on one
            machine gives one result.
        device: where it is trained, such as "cpu" or "cuda".
        callbacks, progress: as `training.Trainer` has them.
        checkpoint: file to save to ten times on the way, at the end, and at Ctrl-C.
        resume: go on from `checkpoint`; only the number of epochs may be another.

    Raises:
        DivergedError: the loss is no longer finite.
        OtherRunError: `resume` with other rows or options than the checkpoint's.
    """
    train, test = stratified_split(rows.target, seed=seed)
    scaler = StandardScaler.fit(rows.features[train])
    inputs = scaler.transform(rows.features)
    sizes = (inputs.shape[1], *hidden, len(rows.class_names))
    if epochs is None:
        epochs = default_epochs(len(train), batch_size)
    manual_seed(seed)
    model = make_model(sizes).to(device)
    same = _SameRun(
        data=rows.name,
        rows=len(rows.target),
        columns=list(rows.feature_names),
        hidden=list(hidden),
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
    )
    trainer = Trainer(
        model,
        Adam(model.parameters(), lr=lr, weight_decay=weight_decay),
        metrics={"accuracy": accuracy},
        callbacks=[same, *callbacks],
        progress=progress,
        checkpoint=checkpoint,
        checkpoint_every=max(1, epochs // 10),
    )
    # The rows are on the device once, so that a batch costs no copy from the host.
    train_set, test_set = (
        TensorDataset(
            tensor(inputs[part], device=device),
            tensor(rows.target[part], device=device),
        )
        for part in (train, test)
    )
    history = trainer.fit(
        DataLoader(train_set, batch_size, shuffle=True),
        DataLoader(test_set, ROWS_AT_ONCE),
        epochs=epochs,
        resume=checkpoint if resume else None,
    )
    predicted = predict_proba(model, inputs[test]).argmax(axis=1)
    classifier = Classifier(
        model=model,
        sizes=sizes,
        scaler=scaler,
        feature_names=rows.feature_names,
        class_names=rows.class_names,
        target_name=rows.target_name,
        source=rows.name,
        held_out=tuple(test[:SAMPLES].tolist()),
    )
    return TrainingRun(
        classifier,
        history,
        trainer.evaluate(DataLoader(train_set, ROWS_AT_ONCE)),
        trainer.evaluate(DataLoader(test_set, ROWS_AT_ONCE)),
        confusion_matrix(rows.target[test], predicted, sizes[-1]),
        train,
        test,
    )


def predict_proba(model: Module, inputs: np.ndarray) -> np.ndarray:
    """The probability of each class for each row, shape (rows, classes).

    A row whose numbers overflow on the way gets nan, silently.
    """
    device, blocks = next(model.parameters()).device, []
    with no_grad(), np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(inputs), ROWS_AT_ONCE):
            block = tensor(inputs[start : start + ROWS_AT_ONCE], device=device)
            blocks.append(softmax(model(block), axis=-1).numpy())
    return np.concatenate(blocks)
