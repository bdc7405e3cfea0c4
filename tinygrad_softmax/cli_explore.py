"""What `explore` of the command line does, and the page that `train` writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier
from .classifier_file import ModelFileError
from .cli_options import BATCH_ROWS, UsageError
from .creation import tensor
from .data import DIGITS, DataError, Table, feature_matrix, listed, load_digits
from .explaining import explore
from .explaining.programs import explain_classifier, explain_lecture

__all__ = ["explore_classifier", "explore_lecture", "write_batch_page"]


def explore_lecture(options: argparse.Namespace) -> None:
    """Write the page of the lecture's example."""
    for name in ("data", "row", "label", "delimiter", "encoding"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"--{name} goes with a MODEL, which is not given: "
                f"explore MODEL --{name} ..."
            )
    explore(explain_lecture(), options.output)


def explore_classifier(
    options: argparse.Namespace, classifier: Classifier, table: Table | None
) -> str:
    """Write the page of one row, and say of which."""
    if table is None:
        features, true, what = _digit(options, classifier)
    else:
        features, true, what = _row(options, classifier, table)
    name = options.label if options.label is not None else true
    inputs = classifier.scaler.transform(features)
    x, device = _on_its_device(inputs, classifier)
    if name is None:
        # Nobody says what it is: what the model would answer.
        name = classifier.class_names[int(classifier.predict_proba(features).argmax())]
        what += f", taken for {name}"
    else:
        what += f", {classifier.target_name} {name}"
    if name not in classifier.class_names:
        raise UsageError(
            f"--label {name}: there is no such class; the model knows "
            f"{listed(classifier.class_names)}"
        )
    label = tensor(np.array([classifier.class_names.index(name)]), device=device)
    with np.errstate(over="ignore", invalid="ignore"):
        page = explain_classifier(classifier.model, x, label, what)
    if not np.isfinite(_number(page)):
        raise DataError(
            f"{what}: a value is too far from what the model was trained on to be "
            "computed with; correct it"
        )
    explore(page, options.output)
    return what


def write_batch_page(
    path: Path, classifier: Classifier, features: np.ndarray, target: np.ndarray
) -> None:
    """Write the page of the first few rows, as one batch."""
    rows = slice(0, BATCH_ROWS)
    inputs = classifier.scaler.transform(features[rows])
    x, device = _on_its_device(inputs, classifier)
    title = f"{len(inputs)} rows of {classifier.source}"
    label = tensor(target[rows], device=device)
    explore(explain_classifier(classifier.model, x, label, title), path)


def _on_its_device(inputs: np.ndarray, classifier: Classifier) -> tuple[Any, Any]:
    device = next(classifier.model.parameters()).device
    return tensor(inputs, device=device), device


def _number(explanation: Any) -> float:
    return float(explanation[explanation.root].value)


def _digit(
    options: argparse.Namespace, classifier: Classifier
) -> tuple[np.ndarray, str, str]:
    """A held-out digit: its features, its class, and what it is."""
    if classifier.source != DIGITS:
        raise UsageError(
            f"the model was trained on {classifier.source}: give a file with the row "
            f"with --data FILE"
        )
    for name in ("delimiter", "encoding"):
        if getattr(options, name):
            raise UsageError(f"--{name} goes with --data FILE, which is not given")
    digits, rows = load_digits(), classifier.held_out
    if not rows or max(rows) >= len(digits.target):
        raise ModelFileError("the model names no held-out digits: train it again")
    number = _which(options.row, len(rows), "held-out digits that the model names")
    row = rows[number - 1]
    name = digits.class_names[digits.target[row]]
    return digits.features[[row]], name, f"held-out digit {row}"


def _row(
    options: argparse.Namespace, classifier: Classifier, table: Table
) -> tuple[np.ndarray, str | None, str]:
    """A row of a table: its features, its class if it says one, and where it is."""
    number = _which(options.row, len(table.rows), f"rows of {table.name}")
    row, line = table.rows[number - 1], table.lines[number - 1]
    one = table._replace(rows=[row], lines=[line])
    features = feature_matrix(one, classifier.feature_names)
    name = None
    if classifier.target_name in table.columns:
        name = row[table.columns.index(classifier.target_name)].strip() or None
    known = classifier.class_names
    if name is not None and options.label is None and name not in known:
        raise DataError(
            f"{table.name}, line {line}: the model knows no class {name!r}; "
            f"give one of {listed(known)} with --label"
        )
    return features, name, f"{table.name}, line {line}"


def _which(row: int | None, count: int, what: str) -> int:
    number = 1 if row is None else row
    if number > count:
        raise UsageError(f"--row {number}: there are {count} {what}")
    return number
