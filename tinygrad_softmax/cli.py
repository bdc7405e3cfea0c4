"""The command line: `train` a classifier, `predict` with it, `explore` its graph.

Results go to stdout; progress, notes and errors to stderr. The exit code is 0, 2 for a
mistake that the user can mend (one sentence, no traceback), 130 after Ctrl-C, and 141
when the reader of stdout went away, as shells have it.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .backends import resolve_device
from .classifier import Classifier, OtherRunError, TrainingRun, train_classifier
from .classifier_file import ModelFileError, load_classifier, save_classifier
from .cli_explore import explore_classifier, explore_lecture, write_batch_page
from .cli_options import (
    CHECKPOINT_NAME,
    FIGURE_NAME,
    MODEL_NAME,
    PAGE_NAME,
    UsageError,
    parse,
)
from .data import (
    DIGITS,
    DataError,
    LabelledRows,
    Table,
    feature_matrix,
    labelled_rows,
    listed,
    load_digits,
    read_table,
)
from .extras import MissingExtraError, require
from .figures import training_figure
from .saving import CheckpointError, write_atomically
from .training import DivergedError, TensorBoard

__all__ = ["main"]

INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the signal's number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments after the program's name; None takes `sys.argv`.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A class name that the terminal cannot show is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        commands = {"train": _train, "predict": _predict, "explore": _explore}
        commands[options.command](options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        _discard_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("\n" * sys.stderr.isatty() + "interrupted", file=sys.stderr)  # below ^C
        return INTERRUPTED
    except OtherRunError as error:
        print(f"error: {error}; give the same, or leave out --resume", file=sys.stderr)
        return 2
    except (
        UsageError,
        DataError,
        ModelFileError,
        CheckpointError,
        MissingExtraError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        print(f"error: {error} with --lr", file=sys.stderr)
        return 2
    except OSError as error:
        where = error.filename or "the output"
        print(f"error: cannot write {where} ({error.strerror})", file=sys.stderr)
        if error.filename is None:
            _discard_stdout()
        return 2


def _discard_stdout() -> None:
    """What stdout still holds goes nowhere: the interpreter flushes it as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# -- train -----------------------------------------------------------------------


def _train(options: argparse.Namespace) -> None:
    device = _device(options.device)
    # What is needed at the end is asked for at the beginning.
    require("safetensors", "safetensors", "saving the model")
    if options.figure:
        require("matplotlib", "matplotlib", "the picture (or give --no-figure)")
    rows = _training_rows(options)
    _make_folder(options.output)
    checkpoint = options.output / CHECKPOINT_NAME
    if options.resume and not checkpoint.exists():
        raise UsageError(
            f"there is no {checkpoint} to go on from: leave out --resume, or give the "
            f"folder of the run with --output"
        )
    callbacks = [] if options.log_dir is None else [TensorBoard(options.log_dir)]
    try:
        run = train_classifier(
            rows,
            hidden=options.hidden,
            epochs=options.epochs,
            batch_size=options.batch_size,
            lr=options.lr,
            weight_decay=options.weight_decay,
            seed=options.seed,
            device=device,
            callbacks=callbacks,
            progress=None,
            checkpoint=checkpoint,
            resume=options.resume,
        )
    except KeyboardInterrupt:
        if checkpoint.exists():
            print(
                f"saved {checkpoint}: the same command with --resume goes on",
                file=sys.stderr,
            )
        raise
    sizes = run.classifier.sizes
    kind = f"{'network' if options.hidden else 'softmax regression'} "
    kind += "-".join(map(str, sizes))
    saved = [options.output / MODEL_NAME]
    save_classifier(saved[0], run.classifier)
    if options.figure:
        saved.append(options.output / FIGURE_NAME)
        title = f"{kind} on {rows.name}"
        names = run.classifier.class_names
        picture = training_figure(run.history, run.confusion, names, title)
        write_atomically(saved[1], picture)
    if options.page:
        saved.append(options.output / PAGE_NAME)
        batch = run.test_rows
        write_batch_page(
            saved[-1], run.classifier, rows.features[batch], rows.target[batch]
        )
    _print_report(rows, run, f"{kind} on {device}")
    for path in saved:
        print(f"saved {path}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"--output {path} is a file: give a folder") from None


def _print_report(rows: LabelledRows, run: TrainingRun, what: str) -> None:
    count, columns = rows.features.shape
    print(
        f"{rows.name}: {count} rows, {columns} columns, {len(rows.class_names)} classes"
    )
    print(f"{len(run.train_rows)} rows to train on, {len(run.test_rows)} held out")
    print(what)
    for part, measured in (("train", run.train), ("test", run.test)):
        print(f"{part} loss {measured['loss']:.4f}")
        print(f"{part} accuracy {measured['accuracy']:.3f}")


def _training_rows(options: argparse.Namespace) -> LabelledRows:
    if options.data is None:
        for name in ("target", "drop"):
            if getattr(options, name):
                raise UsageError(f"--{name} goes with --data FILE, which is not given")
        _refuse_reading_options(options)
        return load_digits()
    table = _read(options)
    if options.target is None:
        raise UsageError(
            f"--target is not given: which column of {table.name} is to be predicted? "
            f"Its columns: {listed(table.columns)}"
        )
    return labelled_rows(table, options.target, drop=options.drop)


# -- predict ---------------------------------------------------------------------


def _predict(options: argparse.Namespace) -> None:
    device = _device(options.device)
    classifier = _classifier(options, device)
    if options.data is None:
        _predict_digits(options, classifier)
        return
    table = _read(options)
    features = feature_matrix(table, classifier.feature_names)
    probabilities = classifier.predict_proba(features)
    lost = ~np.isfinite(probabilities).all(axis=1)
    if lost.any():
        raise DataError(
            f"{table.name}, line {table.lines[int(lost.argmax())]}: a value is too far "
            f"from what the model was trained on to be computed with; correct it"
        )
    _print_labels(classifier, probabilities, options.proba)


def _predict_digits(options: argparse.Namespace, classifier: Classifier) -> None:
    """Show a few held-out digits beside what the model takes them for."""
    _refuse_reading_options(options)
    if classifier.source != DIGITS:
        raise UsageError(
            f"the model was trained on {classifier.source}: give the rows to label "
            f"with --data FILE"
        )
    digits = load_digits()
    rows = np.array(classifier.held_out, dtype=np.int64)
    if not len(rows) or rows.max() >= len(digits.target):
        raise ModelFileError("the model names no held-out digits: train it again")
    probabilities = classifier.predict_proba(digits.features[rows])
    if options.proba:
        _print_labels(classifier, probabilities, True)
        return
    print("held-out row  digit  predicted  probability")
    for row, proba in zip(rows, probabilities):
        true, label = digits.class_names[digits.target[row]], int(proba.argmax())
        name = classifier.class_names[label]
        print(f"{row:12}  {true:>5}  {name:>9}  {proba[label]:11.3f}")


def _print_labels(
    classifier: Classifier, probabilities: np.ndarray, proba: bool
) -> None:
    """One label a line, or CSV with the probability of every class."""
    labels = [classifier.class_names[i] for i in probabilities.argmax(axis=1)]
    if not proba:
        for label in labels:
            print(" ".join(label.split()))  # one line, whatever the CSV file had
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([classifier.target_name, *classifier.class_names])
    for label, row in zip(labels, probabilities):
        writer.writerow([label, *(f"{value:.6f}" for value in row)])


# -- explore ---------------------------------------------------------------------


def _explore(options: argparse.Namespace) -> None:
    device = _device(options.device)
    if options.model is None:
        explore_lecture(options)
        print("the lecture's example: z = W a + b, and the loss of a cat")
    else:
        classifier = _classifier(options, device)
        table = None if options.data is None else _read(options)
        print(explore_classifier(options, classifier, table))
    print(f"saved {options.output}: open it in a browser")


# -- all ------------------------------------------------------------------------


def _classifier(options: argparse.Namespace, device: str) -> Classifier:
    """The model that was asked for: a file, or the folder that it is in."""
    path = options.model / MODEL_NAME if options.model.is_dir() else options.model
    classifier = load_classifier(path)
    classifier.model.to(device)
    return classifier


def _read(options: argparse.Namespace) -> Table:
    table = read_table(
        options.data, delimiter=options.delimiter, encoding=options.encoding
    )
    if table.guessed:
        print(
            f"note: {table.name} is not UTF-8 and was read as {table.encoding}; "
            f"--encoding says otherwise",
            file=sys.stderr,
        )
    return table


def _refuse_reading_options(options: argparse.Namespace) -> None:
    for name in ("delimiter", "encoding"):
        if getattr(options, name):
            raise UsageError(f"--{name} goes with --data FILE, which is not given")


def _device(name: str | None) -> str:
    """The full name of the device, or one sentence on why it cannot be had."""
    try:
        return resolve_device(name)[1]
    except (ValueError, RuntimeError, ImportError) as error:
        raise UsageError(str(error)) from None
