"""What the text of a table's cell is: a number, a missing value, something else."""

from __future__ import annotations

import math
import re

from .csv_table import Table, delimiter_hint
from .errors import DataError, listed, nearest, quoted

# How tables say that a value is not there.
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"})
# Of these, some may well name a class.
MISSING_CLASS = MISSING - {"none", "?", "-"}
DECIMAL_COMMA = r"[-+]?\d+,\d+"


def number(text: str) -> float:
    """A finite number, or ValueError."""
    value = float(text)
    if not math.isfinite(value) or "_" in text:  # Python's 1_000 is no number in a CSV
        raise ValueError(text)
    return value


def problem(text: str) -> str:
    """What is wrong with a cell that must be a number, in one word; "" if nothing."""
    if text.casefold() in MISSING:
        return "missing"
    try:
        number(text)
    except ValueError:
        pass
    else:
        return ""
    if re.fullmatch(DECIMAL_COMMA, text):
        return "comma"
    try:
        return "infinite" if math.isinf(float(text)) else "text"
    except ValueError:
        return "text"


def no_such_column(table: Table, name: str, others: str = "") -> DataError:
    """The error for a column that the table does not have."""
    numbers = sum(not problem(column) for column in table.columns)
    if 2 * numbers >= len(table.columns):
        hint = ": its first line must name the columns, and it holds numbers"
    elif not (hint := delimiter_hint(table)):
        guess = nearest(name, table.columns)
        columns = listed(table.columns)
        hint = (
            f": {guess} Its columns: {columns}"
            if guess
            else f"; its columns: {columns}"
        )
    return DataError(f"{table.name} has no column {quoted(name)}{others}{hint}")


def place(table: Table, column: str, row: int | None = None) -> str:
    """Where in the file, as every message begins."""
    line = "" if row is None else f"line {table.lines[row]}, "
    return f"{table.name}, {line}column {quoted(column)}"
