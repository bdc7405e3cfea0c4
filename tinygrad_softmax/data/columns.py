"""CSV files as columns of their own types.

`read_table` finds delimiter and encoding and gives text; here each column becomes an
array. Every error names file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends.dtypes import get_default_dtype
from .cells import (
    DECIMAL_COMMA,
    MISSING,
    MISSING_CLASS,
    no_such_column,
    number,
    place,
    problem,
)
from .csv_table import Table, read_table
from .dataset import TensorDataset
from .errors import DataError, listed, nearest, quoted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Columns", "read_csv"]

WORDS = {"true": True, "false": False}
KINDS = {bool: "bool", int: "int64", float: "float64", str: "str", object: "str"}
WHOLE = r"[-+]?\d+"


class Columns(Mapping[str, np.ndarray]):
    """The columns of a table: a mapping from each name to a NumPy array.

    name: the file's name, for messages.
    categories: for each column of categories their names; the array holds positions in
        them.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pets.csv")
    >>> rows = ["weight,age,kind", "4.1,3,cat", "9.5,7,dog", "3,1,cat", "8,2,dog"]
    >>> _ = path.write_text("\\n".join(rows))
    >>> pets = tg.data.read_csv(path)
    >>> pets
    Columns('pets.csv', 4 rows: weight float64, age int64, kind category (2))
    >>> pets["kind"], pets.categories["kind"]
    (array([0, 1, 0, 1]), ('cat', 'dog'))
    >>> dataset = pets.to_dataset(["weight", "age"], target="kind")
    >>> dataset[1]
    (tensor([9.5, 7. ]), tensor(1))
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        categories: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.name = name
        self.categories = dict(categories)
        self._arrays = dict(arrays)

    def __getitem__(self, column: str) -> np.ndarray:
        if column not in self._arrays:
            raise KeyError(self._unknown(column))
        return self._arrays[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return len(next(iter(self._arrays.values()), ())), len(self._arrays)

    @property
    def dtypes(self) -> dict[str, str]:
        """The type of each column: "int64", "float64", "bool", "category", "str"."""
        return {name: self._kind(name) for name in self}

    def __repr__(self) -> str:
        sizes = {name: f" ({len(names)})" for name, names in self.categories.items()}
        kinds = [f"{n} {kind}{sizes.get(n, '')}" for n, kind in self.dtypes.items()]
        return f"Columns({self.name!r}, {self.shape[0]} rows: {', '.join(kinds)})"

    def to_dataset(
        self,
        features: str | Sequence[str] | None = None,
        target: str | Sequence[str] | None = None,
    ) -> TensorDataset:
        """A `TensorDataset` of one tensor for the features and one for the target.

        features: column names; None takes all but the target. They become one tensor of
            the default dtype, shape (rows, len(features)); bools become 0 and 1.
        target: a column: integers, bools and categories become int64 labels, shape
            (rows,); floats the default dtype. Several columns become one tensor like
            the features. None leaves it out.

        Raises DataError for a column that is not there, or whose type is no number: a
        category is no measure, so it is a target but no feature.
        """
        targets = [target] if isinstance(target, str) else list(target or ())
        if features is None:
            features = [name for name in self if name not in targets]
        features = [features] if isinstance(features, str) else list(features)
        if not features:
            raise DataError(f"{self.name}: to_dataset needs a column of features")
        tensors = [self._matrix(features)]
        if isinstance(target, str):
            tensors.append(self._target(target))
        elif targets:
            tensors.append(self._matrix(targets))
        return TensorDataset(*tensors)

    def _matrix(self, names: Sequence[str]) -> np.ndarray:
        result = np.empty((self.shape[0], len(names)), get_default_dtype())
        for i, name in enumerate(names):
            array = self._checked(name)
            if name in self.categories:
                raise DataError(
                    f"{self.name}, column {quoted(name)}: it holds categories, which "
                    "are no numbers to compute with; mend: leave it out, or make a "
                    f"column of each, np.eye({len(self.categories[name])})"
                    f"[columns[{name!r}]]"
                )
            result[:, i] = array
        return result

    def _target(self, name: str) -> np.ndarray:
        array = self._checked(name)
        dtype = get_default_dtype() if array.dtype.kind == "f" else np.int64
        return array.astype(dtype)

    def _checked(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise DataError(self._unknown(name))
        if self._kind(name) == "str":
            raise DataError(
                f"{self.name}, column {quoted(name)}: it holds text; mend: leave it "
                f"out, or read it with dtype={{{name!r}: 'category'}}"
            )
        return self._arrays[name]

    def _kind(self, name: str) -> str:
        if name in self.categories:
            return "category"
        dtype = self._arrays[name].dtype
        return "str" if dtype.kind == "O" else dtype.name

    def _unknown(self, name: str) -> str:
        guess = nearest(str(name), list(self))
        return (
            f"{self.name} has no column {quoted(str(name))}"
            f"{f': {guess} Its' if guess else '; its'} columns: {listed(list(self))}"
        )


def read_csv(
    path: str | Path,
    *,
    dtype: Any = None,
    usecols: Sequence[str] | None = None,
    missing: str = "error",
    delimiter: str | None = None,
    encoding: str | None = None,
) -> Columns:
    """Read a CSV file with a header line, each column by its type.

    dtype: a type for all columns, or a dict from column names to types; what it does
        not name is found out. A type is int (int64), float (float64), bool, str,
        "category", or a NumPy dtype of integers or floats.
    usecols: the columns to read, by name; None reads all.
    missing: "error" refuses a missing value (an empty cell, NA, nan, null, ?, ...);
        "nan" puts nan in its place, which makes a column of whole numbers float64.
        Text keeps such a cell as it is.
    delimiter, encoding: as in `read_table`; None finds them out.

    The type of a column is found out from all its cells: bool if each is true or false
    (in any case), int64 if each is a whole number, float64 if each is a number. Other
    columns hold categories if their values occur twice or more on average, else text.
    Where most cells are numbers and one is not, that is an error, and not text.

    Names are pandas' where pandas has them; `missing` it has not: it never refuses.

    Returns a `Columns`. Categories are in numerical order if all of them are whole
    numbers, else in the order of their characters.

    Raises DataError that names line and column.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = path.write_text("id;size;ok\\n7;1.5;yes\\n8;NA;no\\n")
    >>> table = tg.data.read_csv(path, dtype={"ok": "category"}, missing="nan")
    >>> table["id"], table["size"], table["ok"], table.categories
    (array([7, 8]), array([1.5, nan]), array([1, 0]), {'ok': ('no', 'yes')})
    """
    if missing not in ("error", "nan"):
        raise ValueError(
            f"read_csv: missing was given as {missing!r}; expected 'error' or 'nan'"
        )
    table = read_table(path, delimiter=delimiter, encoding=encoding)
    names = list(table.columns) if usecols is None else list(usecols)
    wanted = _wanted_types(dtype, table, names)
    arrays: dict[str, np.ndarray] = {}
    categories: dict[str, tuple[str, ...]] = {}
    for name in names:
        column = _Column(table, name, missing == "nan")
        kind = wanted.get(name) or column.find_kind()
        if kind == "category":
            categories[name], arrays[name] = column.as_categories()
        else:
            arrays[name] = column.as_array(kind)
    return Columns(table.name, arrays, categories)


def _wanted_types(dtype: Any, table: Table, names: list[str]) -> dict[str, str]:
    """The types that were asked for, by column, as the name of a dtype or kind."""
    given = dtype if isinstance(dtype, Mapping) else dict.fromkeys(names, dtype)
    for name in [*names, *given]:
        if name not in table.columns:
            raise no_such_column(table, name)
    return {name: _kind_of(each) for name, each in given.items() if each is not None}


def _kind_of(dtype: Any) -> str:
    if isinstance(dtype, type) and dtype in KINDS:
        return KINDS[dtype]
    if dtype in ("category", "str"):
        return dtype
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in "biuf":
        raise TypeError(
            f"read_csv: the type {dtype!r} is not known; expected int, float, bool, "
            "str, 'category', or a NumPy dtype of integers or floats"
        )
    return found.name


class _Column:
    """The cells of one column, and what can be made of them."""

    def __init__(self, table: Table, name: str, nan: bool) -> None:
        at = table.columns.index(name)
        self.table, self.name, self.nan = table, name, nan
        self.cells = [row[at] for row in table.rows]
        self.floats = _floats(self.cells)

    def find_kind(self) -> str:
        """The type that fits the cells."""
        if self.floats is not None:
            return "int64" if all(map(_is_int64, self.cells)) else "float64"
        present = [cell for cell in self.cells if cell.casefold() not in MISSING]
        some_missing = len(present) < len(self.cells)
        if not present:
            return "float64"
        if all(cell.casefold() in WORDS for cell in present):
            return "bool"
        numbers = sum(not problem(cell) for cell in present)
        if 2 * numbers > len(present):
            whole = some_missing and not self.nan and all(map(_is_int64, present))
            return "int64" if whole else "float64"
        return "category" if 2 * len(set(self.cells)) <= len(self.cells) else "str"

    def as_array(self, kind: str) -> np.ndarray:
        if kind == "str":
            result = np.empty(len(self.cells), object)
            result[:] = self.cells
            return result
        if kind == "bool":
            return np.array([self._word(i) for i in range(len(self.cells))], bool)
        dtype = np.dtype(kind)
        if dtype == np.float64 and self.floats is not None:
            return self.floats
        read = self._float if dtype.kind == "f" else self._integer
        values = [read(i, dtype) for i in range(len(self.cells))]
        return np.array(values, dtype)

    def as_categories(self) -> tuple[tuple[str, ...], np.ndarray]:
        first: dict[str, int] = {}
        for row, cell in enumerate(self.cells):
            if cell.casefold() in MISSING_CLASS:
                raise self._missing(row, " (only a column of floats can hold nan)")
            first.setdefault(cell, row)
        try:
            names = sorted(first, key=lambda text: (int(text), text))
        except ValueError:
            names = sorted(first)
        codes = {name: code for code, name in enumerate(names)}
        return tuple(names), np.array([codes[c] for c in self.cells], np.int64)

    def _float(self, row: int, dtype: np.dtype) -> float:
        cell = self.cells[row]
        if cell.casefold() in MISSING:
            if self.nan:
                return float("nan")
            raise self._missing(row, "; or read nan in its place, missing='nan'")
        try:
            value = number(cell)
        except ValueError:
            raise self._not_a_number(row) from None
        if abs(value) > float(np.finfo(dtype).max):
            raise self._error(row, f"{cell} is too large for {dtype}")
        return value

    def _integer(self, row: int, dtype: np.dtype) -> int:
        cell = self.cells[row]
        if cell.casefold() in MISSING:
            raise self._missing(row, " (only a column of floats can hold nan)")
        if not re.fullmatch(WHOLE, cell, re.ASCII):
            if problem(cell):
                raise self._not_a_number(row)
            raise self._error(
                row, f"{quoted(cell)} is not a whole number; read the column as float"
            )
        limits = np.iinfo(dtype)
        value = int(cell) if len(cell) < 30 else limits.max + 1
        if not limits.min <= value <= limits.max:
            raise self._error(
                row,
                f"{quoted(cell)} does not fit {dtype}, {limits.min} to {limits.max}",
            )
        return value

    def _word(self, row: int) -> bool:
        cell = self.cells[row]
        word = cell.casefold()
        if word in WORDS or word in ("0", "1"):
            return WORDS.get(word, word == "1")
        if word in MISSING:
            raise self._missing(row, " (only a column of floats can hold nan)")
        raise self._error(
            row, f"{quoted(cell)} is neither true nor false (nor 1 or 0); correct it"
        )

    # -- the errors ------------------------------------------------------------------

    def _error(self, row: int, fault: str) -> DataError:
        return DataError(f"{place(self.table, self.name, row)}: {fault}")

    def _missing(self, row: int, mend: str) -> DataError:
        cell = self.cells[row]
        marks = f"{quoted(cell)} marks a missing value"
        what = marks if cell else "the value is missing"
        return self._error(row, f"{what}; fill it in or delete the line{mend}")

    def _not_a_number(self, row: int) -> DataError:
        cell = self.cells[row]
        if re.fullmatch(DECIMAL_COMMA, cell):
            return self._error(
                row,
                f"{quoted(cell)} has a decimal comma; write numbers with a point, as "
                f"{cell.replace(',', '.')}",
            )
        if problem(cell) == "infinite":
            return self._error(
                row, f"{quoted(cell)} is infinite or too large for a number; correct it"
            )
        return self._error(
            row,
            f"{quoted(cell)} is not a number; correct it, or read the column as text, "
            f"dtype={{{self.name!r}: str}}",
        )


def _floats(cells: list[str]) -> np.ndarray | None:
    """The cells as float64 if all are finite numbers: the quick way, for most columns.

    Python's 1_000 is no number in a CSV.
    """
    try:
        values = np.array(list(map(float, cells)), np.float64)
    except ValueError:
        return None
    fine = np.isfinite(values).all() and not any("_" in cell for cell in cells)
    return values if fine else None


def _is_int64(cell: str) -> bool:
    return (
        re.fullmatch(WHOLE, cell, re.ASCII) is not None
        and len(cell) < 30
        and -(2**63) <= int(cell) < 2**63
    )
