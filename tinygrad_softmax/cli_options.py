"""The options of the command line, and its words for what it does not know."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .classifier import EPOCHS, LEAST_STEPS, train_classifier

__all__ = [
    "CHECKPOINT_NAME",
    "FIGURE_NAME",
    "MODEL_NAME",
    "PAGE_NAME",
    "UsageError",
    "parse",
]

MODEL_NAME, FIGURE_NAME = "model.safetensors", "training.png"
CHECKPOINT_NAME, PAGE_NAME = "checkpoint.safetensors", "explore.html"
BATCH_ROWS = 4  # of the page

TRAIN_EXAMPLES = """\
examples:
  train                                     softmax regression on handwritten digits
  train --hidden 64                         a network with 64 hidden units instead
  train --data iris.csv --target species    a table of your own

A CSV file begins with a line that names the columns, and every column but the target
holds numbers; --drop leaves a column out. Its delimiter and encoding are found out.
Messages count its lines as an editor does: the one that names the columns is line 1.

A quarter of the rows, the same share of every class, is held out of training to measure
the result. It chooses nothing.

Ctrl-C saves checkpoint.safetensors, as do every tenth of the epochs and the end. The
same command with --resume goes on from there, to the same result as if it had never
been stopped; with more --epochs it trains further.
"""

PREDICT_EXAMPLES = """\
examples:
  predict trained/model.safetensors                     digits it was not trained on
  predict trained/model.safetensors --data new.csv      one label a line
  predict trained/model.safetensors --data new.csv --proba > labels.csv

The columns of the CSV file are found by their names; further columns are ignored.
"""

EXPLORE_EXAMPLES = """\
examples:
  explore                                                the lecture's example
  explore trained/model.safetensors                      a digit it was not trained on
  explore trained/model.safetensors --data new.csv       the first row of a CSV file
  explore trained/model.safetensors --data new.csv --row 7 --label setosa

Open the file that it writes in a browser. It shows the graph of one loss: every value,
and step by step how backward makes every gradient of them. The arrow keys go through
the steps. It needs no network.

The loss is that of the row's class: the one that --label names, else the one in the
CSV file's target column, else the one that the model finds most probable.
"""


class UsageError(ValueError):
    """The command line is at fault."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options; `command` among them says what is to be done.

    Raises:
        UsageError: with one sentence for the user.
        SystemExit: after --help or --version.
    """
    parser, commands = _parsers()
    first = argv[0] if argv else ""
    if first not in commands and first not in parser.own_options():
        *names, last = commands
        known = f"{', '.join(names)} and {last}"
        problem = f"there is no command {first!r}{_nearest(first, list(commands))}"
        if not first:
            problem = f"no command is given: begin with {parser.prog} train"
        elif first.startswith("-"):
            problem = f"the command comes first, and {first} after it"
        raise UsageError(f"{problem} (the commands are {known})")
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(unknown[0], commands[options.command])
    return options


class _Parser(argparse.ArgumentParser):
    """Its errors are one sentence for `main` to print, not a usage text and an exit."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help explains)")

    def own_options(self) -> list[str]:
        """Every option, under each of its names."""
        return [name for action in self._actions for name in action.option_strings]


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    program = Path(sys.argv[0]).name
    parser = _Parser(
        prog=program if "tinygrad" in program else "python -m tinygrad_softmax",
        description="Train a softmax classifier, label rows with it, and look inside.",
        epilog="Begin with `train`, which needs no options. `train --help` says more.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    train = commands.add_parser(
        "train",
        help="train on handwritten digits or on a CSV file",
        description="Train a softmax classifier, measure it on held-out rows, save it.",
        epilog=TRAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_data_options(train.add_argument_group("data"), target=True)
    _add_training_options(train.add_argument_group("model and training"))
    _add_output_options(train.add_argument_group("output"))
    predict = commands.add_parser(
        "predict",
        help="label new rows with a trained model",
        description="Label rows with a model that `train` saved.",
        epilog=PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    predict.add_argument(
        "model", metavar="MODEL", type=Path, help="the file that `train` saved"
    )
    _add_data_options(predict, target=False)
    predict.add_argument(
        "--proba",
        action="store_true",
        help="print CSV: each row's label and the probability of every class",
    )
    _add_device_option(predict)
    explore = commands.add_parser(
        "explore",
        help="write a page that shows how a loss and its gradients come about",
        description="Write a page that shows a loss and its gradients, step by step.",
        epilog=EXPLORE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_explore_options(explore)
    return parser, {"train": train, "predict": predict, "explore": explore}


def _add_explore_options(explore: Any) -> None:
    explore.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        nargs="?",
        help="a file that `train` saved (default: the lecture's example)",
    )
    _add_data_options(explore, target=False)
    explore.add_argument(
        "--row",
        metavar="N",
        type=_whole,
        help="which row of the CSV file, or which held-out digit, from 1 (default: 1)",
    )
    explore.add_argument("--label", metavar="CLASS", help="the class of the row")
    explore.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path(PAGE_NAME),
        help=f"the page (default: {PAGE_NAME})",
    )
    _add_device_option(explore)


def _add_data_options(group: Any, *, target: bool) -> None:
    group.add_argument(
        "--data", metavar="FILE", type=Path, help="a CSV file (default: the digits)"
    )
    if target:
        group.add_argument("--target", metavar="COLUMN", help="the column to predict")
        group.add_argument(
            "--drop",
            metavar="COLUMN",
            action="append",
            default=[],
            help="leave a column out, such as a name; may be given several times",
        )
    group.add_argument(
        "--delimiter",
        metavar="D",
        help="what is between two values: a character, or tab, space, ... "
        "(default: found out)",
    )
    group.add_argument(
        "--encoding",
        metavar="NAME",
        help="the file's encoding, such as cp1252 (default: found out)",
    )


def _add_training_options(group: Any) -> None:
    group.add_argument(
        "--hidden",
        metavar="N",
        type=_whole,
        nargs="+",
        default=[],
        help="units of the hidden layers, a number for each (default: no hidden layer, "
        "which is softmax regression)",
    )
    group.add_argument(
        "--epochs",
        metavar="N",
        type=_whole,
        help=f"passes over the training rows (default: {EPOCHS}, and more where rows "
        f"are few, for {LEAST_STEPS} steps)",
    )
    defaults = train_classifier.__kwdefaults__ or {}
    for option, metavar, kind, meaning in (
        ("--batch-size", "N", _whole, "rows a step"),
        ("--lr", "X", _positive, "learning rate of the optimizer, Adam"),
        ("--weight-decay", "X", _not_negative, "factor of the L2 penalty"),
        ("--seed", "N", _seed, "of the split, the first weights and the rows' order"),
    ):
        default = defaults[option[2:].replace("-", "_")]
        group.add_argument(
            option,
            metavar=metavar,
            type=kind,
            default=default,
            help=f"{meaning} (default: {default})",
        )
    _add_device_option(group)


def _add_device_option(group: Any) -> None:
    group.add_argument(
        "--device",
        metavar="NAME",
        help="cpu, cuda or cuda:1 (default: $TINYGRAD_SOFTMAX_DEVICE, else cpu)",
    )


def _add_output_options(group: Any) -> None:
    group.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("trained"),
        help=f"folder for {MODEL_NAME}, {FIGURE_NAME}, {PAGE_NAME} and "
        f"{CHECKPOINT_NAME} (default: trained)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help=f"go on from {CHECKPOINT_NAME} in that folder",
    )
    group.add_argument(
        "--log-dir",
        metavar="DIR",
        type=Path,
        help="also write events for TensorBoard there",
    )
    group.add_argument(
        "--no-figure",
        dest="figure",
        action="store_false",
        help="draw no picture (matplotlib is not needed then)",
    )
    group.add_argument(
        "--no-page",
        dest="page",
        action="store_false",
        help=f"write no {PAGE_NAME}, which shows a batch of {BATCH_ROWS} held-out rows",
    )


def _whole(text: str) -> int:
    return _integer(text, 1)


def _seed(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number from {least} on"
        )
    return value


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def _refuse(argument: str, parser: _Parser) -> NoReturn:
    """UsageError for an argument that the parser does not know."""
    if argument.startswith("-"):
        option = argument.partition("=")[0]
        what = f"there is no option {option}{_nearest(option, parser.own_options())}"
    else:
        what = f"the argument {argument!r} is one too many"
    raise UsageError(f"{what} ({parser.prog} --help lists the options)")


def _nearest(wrong: str, known: list[str]) -> str:
    if len(wrong) == 2:  # "-o": no name is like it, but one may begin with it
        near = [name for name in known if name.startswith(f"-{wrong}")][:1]
    else:
        near = get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else ""
