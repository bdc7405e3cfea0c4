"""The main job in one call: from labelled rows to a trained classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .backends import manual_seed
from .data import LabelledRows, StandardScaler, stratified_split
from .nn import Linear, Module, ReLU, Sequential
from .optim import Adam
from .training import History, confusion_matrix, fit, predict_proba

__all__ = [
    "Classifier",
    "TrainingRun",
    "default_epochs",
    "make_model",
    "train_classifier",
]

EPOCHS, LEAST_STEPS = 40, 1600  # by default; a small table needs more epochs
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
        history: loss and accuracy after each epoch.
        confusion: counts of the held-out rows by true and predicted class.
        train_rows: positions of the rows that it was trained on.
        test_rows: positions of the rows held out.
    """

    classifier: Classifier
    history: History
    confusion: np.ndarray
    train_rows: np.ndarray
    test_rows: np.ndarray


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
    on_epoch: Callable[[int, int, History], None] | None = None,
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
        on_epoch: called after each epoch with its number, from 1, how many there will
            be, and the history.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    train, test = stratified_split(rows.target, seed=seed)
    scaler = StandardScaler.fit(rows.features[train])
    inputs = scaler.transform(rows.features)
    sizes = (inputs.shape[1], *hidden, len(rows.class_names))
    if epochs is None:
        epochs = default_epochs(len(train), batch_size)
    manual_seed(seed)
    model = make_model(sizes).to(device)
    history = fit(
        model,
        Adam(model.parameters(), lr=lr, weight_decay=weight_decay),
        (inputs[train], rows.target[train]),
        (inputs[test], rows.target[test]),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        on_epoch=on_epoch,
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
    confusion = confusion_matrix(rows.target[test], predicted, sizes[-1])
    return TrainingRun(classifier, history, confusion, train, test)
