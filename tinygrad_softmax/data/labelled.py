"""From a table of text to numbers and classes, with errors that name the cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .cells import MISSING_CLASS, no_such_column, number, place, problem
from .csv_table import Table, delimiter_hint
from .errors import DataError, quoted

__all__ = ["LabelledRows", "feature_matrix", "labelled_rows"]

MANY_NUMBERS = 20  # more different fractions than this are a measurement, not classes
FEW_CLASSES = 10  # up to here a class with one row is named instead


@dataclass(frozen=True)
class LabelledRows:
    """Examples to learn from: what is known of each, and its class.

    Attributes:
        name: where they come from, for messages.
        features: float64, shape (rows, columns).
        target: int64, shape (rows,), each a position in `class_names`.
        feature_names: one for each column of `features`.
        class_names: one for each class.
        target_name: what is predicted.

    >>> from tinygrad_softmax.data import load_digits
    >>> digits = load_digits()
    >>> digits.features.shape, digits.target.shape, digits.class_names[:3]
    ((1797, 64), (1797,), ('0', '1', '2'))
    """

    name: str
    features: np.ndarray
    target: np.ndarray
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...]
    target_name: str


def labelled_rows(
    table: Table, target: str, *, drop: Iterable[str] = ()
) -> LabelledRows:
    """Take the column `target` as classes and every other column as numbers.

    Args:
        table: what `read_table` returned.
        target: the column that holds the classes; numbers and text are both welcome.
        drop: columns to leave out, such as a row's name.

    Raises:
        DataError: no such column, a cell that is no number, a missing value, fewer
            than two classes, a class with one row, or a target that is a measurement.

    Classes are in numerical order if all of them are whole numbers, else in the
    order of their characters.

    >>> table = Table("t", ("x", "y"), [["1", "b"], ["2", "a"], ["3", "b"], ["4", "a"]],
    ...               [2, 3, 4, 5], "utf-8", False, ",")
    >>> rows = labelled_rows(table, "y")
    >>> rows.class_names, rows.target.tolist(), rows.features.T.tolist()
    (('a', 'b'), [1, 0, 1, 0], [[1.0, 2.0, 3.0, 4.0]])
    """
    dropped = set(drop)
    if target not in table.columns:
        raise no_such_column(table, target)
    for column in dropped:
        if column not in table.columns:
            raise no_such_column(table, column)
    if target in dropped:
        raise DataError(
            f"the column {quoted(target)} is the target: it cannot be dropped"
        )
    names = [c for c in table.columns if c != target and c not in dropped]
    if not names:
        raise DataError(
            f"{table.name} has no column to learn from beside the target "
            f"{quoted(target)}"
            + (delimiter_hint(table) or ": at least one column of numbers is needed")
        )
    class_names, codes = _classes(table, target)
    features = _features(table, names, drops=True)
    if (features == features[0]).all():
        raise DataError(
            f"{table.name}: every column of features holds the same value in all rows, "
            f"so there is nothing to learn from"
        )
    return LabelledRows(table.name, features, codes, tuple(names), class_names, target)


def feature_matrix(table: Table, columns: Sequence[str]) -> np.ndarray:
    """The named columns as float64 numbers, shape (rows, len(columns)).

    Columns are found by name, so their order in the file and further columns do not
    matter.

    Raises:
        DataError: a column is not there, or a cell holds no finite number; the
            message names the line and the column.

    >>> rows = [["1", "a", "2.5"]]
    >>> table = Table("x.csv", ("w", "kind", "h"), rows, [2], "utf-8", False, ",")
    >>> feature_matrix(table, ["h", "w"]).tolist()
    [[2.5, 1.0]]
    """
    return _features(table, columns)


def _features(table: Table, columns: Sequence[str], drops: bool = False) -> np.ndarray:
    """drops: whether a column may be left out, as where they are chosen for training.
    A model that was trained needs all of its own."""
    places = {name: i for i, name in enumerate(table.columns)}
    absent = [name for name in columns if name not in places]
    if absent:
        others = f" (and {len(absent) - 1} more are missing)" if len(absent) > 1 else ""
        raise no_such_column(table, absent[0], others)
    wanted = [places[name] for name in columns]
    result = np.empty((len(table.rows), len(wanted)), dtype=np.float64)
    for i, cells in enumerate(table.rows):
        try:
            result[i] = [number(cells[j]) for j in wanted]
        except ValueError:
            j = next(j for j in wanted if problem(cells[j]))
            raise _bad_cell(table, i, j, wanted, drops) from None
    return result


def _bad_cell(
    table: Table, row: int, column: int, wanted: Sequence[int], drops: bool
) -> DataError:
    """The sentence for a cell that is no number."""
    name, cell = table.columns[column], table.rows[row][column]
    kind = problem(cell)
    if kind == "missing":
        rows = sum(any(problem(r[j]) == kind for j in wanted) for r in table.rows)
        also = f" (one of {rows} such lines)" if rows > 1 else ""
        what = (
            f"{quoted(cell)} marks a missing value" if cell else "the value is missing"
        )
        fault = f"{what}{also}; fill it in or delete the line"
    elif kind == "comma":
        fault = (
            f"{quoted(cell)} has a decimal comma; write numbers with a point, as "
            f"{cell.replace(',', '.')}"
        )
    elif kind == "infinite":
        fault = (
            f"{quoted(cell)} is infinite or too large for a number; correct it or "
            f"delete the line"
        )
    elif drops and all(problem(r[column]) in ("text", "missing") for r in table.rows):
        fault = (
            f"the column holds text, such as {quoted(cell)}, and only numbers can be "
            f"features; make numbers of it, or leave it out with --drop {_shell(name)}"
        )
    else:
        fault = f"{quoted(cell)} is not a number; correct it"
        if drops:
            fault += f", or leave the column out with --drop {_shell(name)}"
    return DataError(f"{place(table, name, row)}: {fault}")


def _classes(table: Table, target: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The class names in order, and each row's position among them."""
    column = table.columns.index(target)
    labels = [cells[column] for cells in table.rows]
    first_row: dict[str, int] = {}
    for row, label in enumerate(labels):
        if label.casefold() in MISSING_CLASS:
            what = f"{quoted(label)} marks a missing class" if label else "no class"
            raise DataError(
                f"{place(table, target, row)}: {what}; fill it in or delete the line"
            )
        first_row.setdefault(label, row)
    _check_classes(table, target, labels, first_row)
    try:
        names = sorted(first_row, key=lambda label: (int(label), label))
    except ValueError:
        names = sorted(first_row)
    codes = {label: code for code, label in enumerate(names)}
    return tuple(names), np.array([codes[label] for label in labels], dtype=np.int64)


def _check_classes(
    table: Table, target: str, labels: Sequence[str], first_row: dict[str, int]
) -> None:
    """Refuse a target that does not sort the rows into classes."""
    distinct = len(first_row)
    if distinct == 1:
        raise DataError(
            f"{place(table, target)}: every row is {quoted(labels[0])}, and a "
            f"classifier needs rows of two classes or more; choose another --target "
            f"or add rows"
        )
    numbers = all(not problem(label) for label in first_row)
    fraction = next((x for x in first_row if numbers and float(x) % 1), None)
    if fraction is not None and distinct > MANY_NUMBERS:
        raise DataError(
            f"{place(table, target, first_row[fraction])}: {fraction} is one of "
            f"{distinct} different numbers, so this is a measurement and not a class; "
            f"choose another --target, or sort it into a few classes first"
        )
    if 2 * distinct > len(labels) and distinct > FEW_CLASSES:
        raise DataError(
            f"{place(table, target)}: {distinct} different values in {len(labels)} "
            f"rows are too many to be classes; choose another --target, or add rows of "
            f"each class"
        )
    for label, count in Counter(labels).items():
        if count == 1:
            raise DataError(
                f"{place(table, target, first_row[label])}: {quoted(label)} is the "
                f"only row of its class, and one is needed to learn from and one to "
                f"test on; add rows of this class or delete the line"
            )


def _shell(name: str) -> str:
    """`name` as a shell takes it as one word."""
    import re

    return name if re.fullmatch(r"[\w.-]+", name) else f'"{name}"'
