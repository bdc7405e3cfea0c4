"""Reading a CSV file whose encoding and delimiter nobody wrote down.

The cells stay text here; `labelled.py` turns them into numbers and classes. Line
numbers in messages are the file's own, as an editor shows them: the header is line 1,
blank lines count, and so does every line of a quoted value that spans several.
"""

from __future__ import annotations

import codecs
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from .errors import DataError, no_such_file, quoted

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Table", "delimiter_hint", "read_table"]

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
DELIMITER_WORDS = {word: mark for mark, word in DELIMITERS.items()} | {
    "space": " ",
    "\\t": "\t",
}

# Longest first: the mark of UTF-32-LE begins with the mark of UTF-16-LE.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# What people rename to .csv, told by the file's first bytes.
FOREIGN_FILES = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array file"),
)


class Table(NamedTuple):
    """The text of a CSV file: its column names and its rows.

    Attributes:
        name: the file's name, for messages.
        columns: the column names, stripped of surrounding blanks, all different.
        rows: for each row its cells as text, as many as there are columns.
        lines: for each row the number of the file's line on which it begins.
        encoding: the encoding it was read with.
        guessed: whether the encoding is a guess (neither given nor marked nor UTF-8).
        delimiter: what stands between two cells.

    >>> table = Table("x.csv", ("w", "kind"), [["1", "a"]], [2], "utf-8", False, ",")
    >>> table.columns, table.rows
    (('w', 'kind'), [['1', 'a']])
    """

    name: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    encoding: str
    guessed: bool
    delimiter: str


def read_table(
    path: str | Path, *, delimiter: str | None = None, encoding: str | None = None
) -> Table:
    """Read a CSV file with a header line into a `Table` of text.

    Args:
        path: the file. Blank lines in it are skipped.
        delimiter: one character or one of the words comma, semicolon, tab, bar and
            space (a run of blanks counts as one); None finds out which of the first
            four splits the first lines evenly.
        encoding: a name that Python knows; None takes the byte-order mark's, else
            UTF-8, else GB18030 where the bytes are plausible Chinese, else Windows'
            Western encoding cp1252.

    Raises:
        DataError: the file is missing, unreadable, empty, no text or no table; the
            message names the line and column and says how to mend it.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pets.csv")
    >>> _ = path.write_text("weight;kind\\n4.1;cat\\n\\n9.5;dog\\n")
    >>> table = read_table(path)
    >>> table.columns, table.rows, table.lines
    (('weight', 'kind'), [['4.1', 'cat'], ['9.5', 'dog']], [2, 4])
    """
    from pathlib import Path

    path = Path(path)
    delimiter = DELIMITER_WORDS.get(delimiter or "", delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise DataError(
            f"the delimiter {delimiter!r} is not one character: give the character "
            f"between two values, such as ';', or one of the words "
            f"{', '.join(DELIMITER_WORDS)}"
        )
    text, used_encoding, guessed = _decode(_read_bytes(path), path.name, encoding)
    delimiter = delimiter or _detect_delimiter(text)
    records = _records(text, delimiter, path.name)
    header_line, header = next(records, (0, []))
    if not header:
        raise DataError(
            f"{path.name} is empty: its first line must name the columns, and each "
            f"line after it holds one example"
        )
    columns = _column_names(header, path.name, header_line)
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, cells in records:
        if len(cells) != len(columns):
            raise _ragged(path.name, line, cells, columns, delimiter)
        if not any(cells):
            raise DataError(
                f"{path.name}, line {line}: the line holds no values; delete it or "
                f"fill it in"
            )
        rows.append(cells)
        lines.append(line)
    if not rows:
        raise DataError(
            f"{path.name} holds a header and no rows: each line after line "
            f"{header_line} must hold one example"
        )
    return Table(path.name, columns, rows, lines, used_encoding, guessed, delimiter)


def delimiter_hint(table: Table) -> str:
    """A clause for messages about a table whose one column is several, else ""."""
    if len(table.columns) != 1:
        return ""
    for candidate, word in DELIMITERS.items():
        if candidate in table.columns[0]:
            return (
                f"; its header was read as a single column, and a {word} occurs in "
                f"it: give the right --delimiter, or none to have it found"
            )
    if " " in table.columns[0]:
        return (
            "; its header was read as a single column: if blanks separate the "
            "values, give --delimiter space"
        )
    return ""


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise no_such_file(path) from None
    except IsADirectoryError:
        raise DataError(
            f"{path} is a folder: name the CSV file that is in it"
        ) from None
    except OSError as error:
        if path.is_dir():  # Windows says PermissionError
            raise DataError(
                f"{path} is a folder: name the CSV file that is in it"
            ) from None
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def _decode(data: bytes, name: str, encoding: str | None) -> tuple[str, str, bool]:
    """The text, the encoding, and whether the encoding is only a guess."""
    for mark, what in FOREIGN_FILES:
        if data.startswith(mark):
            raise DataError(f"{name} is {what}, not text: save it as CSV (UTF-8)")
    if encoding is not None:
        return _decode_as(data, name, encoding), encoding, False
    for mark, marked in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_as(data, name, marked), marked, False
    if b"\0" in data:
        raise DataError(
            f"{name} is not a text file (it holds zero bytes): save it as CSV (UTF-8), "
            f"or give --encoding utf-16 if it is UTF-16 without a byte-order mark"
        )
    try:
        return data.decode("utf-8"), "utf-8", False
    except UnicodeDecodeError:
        pass
    # Two-byte Chinese needs both bytes above 0xA0, pair after pair; the accented
    # letters of Western text stand between plain ones and break that at once.
    for strict, used in (("gb2312", "gb18030"), ("cp1252", "cp1252")):
        try:
            data.decode(strict)
            return data.decode(used), used, True
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1", True


def _decode_as(data: bytes, name: str, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise DataError(
            f"there is no encoding {encoding!r}: common ones are utf-8, utf-16, "
            f"cp1252 (Western Windows) and gb18030 (Chinese)"
        ) from None
    except UnicodeError as error:
        line = data[: getattr(error, "start", 0)].count(b"\n") + 1
        raise DataError(
            f"{name}, line {line}: the bytes are not {encoding}; save the file as "
            f"UTF-8, or give its --encoding"
        ) from None


def _records(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each record begins, and its cells; blank lines left out."""
    import csv

    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=not delimiter.isspace(),
        strict=True,
    )
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{name}, line {line}: a quotation mark is opened and not closed as it "
                f"should be ({error}); close it, and double those inside a value"
            ) from None
        cells = [cell.strip() for cell in cells]
        if delimiter == " ":
            cells = [cell for cell in cells if cell]
        if cells and cells != [""]:
            yield line, cells


def _detect_delimiter(text: str) -> str:
    """The candidate that splits most of the first lines as it splits the header."""
    best, best_score = ",", (0.0, 1)
    for candidate in DELIMITERS:
        widths: list[int] = []
        try:
            for _, cells in islice(_records(text, candidate, ""), 20):
                widths.append(len(cells))
        except DataError:
            pass  # a quotation mark gone wrong: judge by what came before it
        if widths and widths[0] > 1:
            agreement = widths.count(widths[0]) / len(widths)
            best_score, best = max(
                (best_score, best), ((agreement, widths[0]), candidate)
            )
    return best


def _column_names(header: list[str], name: str, line: int) -> tuple[str, ...]:
    for position, column in enumerate(header, start=1):
        if not column:
            raise DataError(
                f"{name}, line {line}: column {position} has no name; name it, or "
                f"take it out (pandas writes such a column unless told index=False)"
            )
    column, count = Counter(header).most_common(1)[0]
    if count > 1:
        places = [str(i) for i, other in enumerate(header, start=1) if other == column]
        raise DataError(
            f"{name}, line {line}: the name {quoted(column)} is given to columns "
            f"{', '.join(places[:-1])} and {places[-1]}; give each its own"
        )
    return tuple(header)


def _ragged(
    name: str, line: int, cells: list[str], columns: tuple[str, ...], delimiter: str
) -> DataError:
    found = f"{len(cells)} value{'s' if len(cells) != 1 else ''}"
    names = f"{len(columns)} column{'s' if len(columns) != 1 else ''}"
    if len(cells) < len(columns):
        missing = (
            f"the value of {quoted(columns[len(cells)])} and what follows is missing"
        )
    else:
        word = DELIMITERS.get(delimiter, repr(delimiter))
        missing = f"if a value holds a {word}, put that value in quotation marks"
    return DataError(
        f"{name}, line {line}: there are {found} where the header names {names}; "
        f"{missing}"
    )
