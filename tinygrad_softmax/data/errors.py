"""The one error of bad data, and the words its messages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DataError", "listed", "nearest", "no_such_file", "quoted", "shortened"]


class DataError(ValueError):
    """The data is at fault, and the message says where and how to mend it."""


def quoted(text: str, limit: int = 40) -> str:
    """`text` in quotes on one line, cut to `limit` characters.

    >>> quoted("two\\nlines")
    "'two lines'"
    """
    return f"'{shortened(' '.join(text.split()), limit)}'"


def shortened(text: str, limit: int) -> str:
    """`text`, its end replaced by an ellipsis if it is longer than `limit`."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(wrong: str, known: Sequence[str]) -> str:
    """A question that suggests the nearest of the known names, or "".

    >>> nearest("speces", ["width", "species"])
    "did you mean 'species'?"
    """
    from difflib import get_close_matches

    folded: dict[str, str] = {}
    for name in known:
        folded.setdefault(name.casefold(), name)
    near = get_close_matches(wrong.casefold(), folded, n=1, cutoff=0.6)
    return f"did you mean {quoted(folded[near[0]])}?" if near else ""


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in quotes, the first `most` of them.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def no_such_file(path: Path) -> DataError:
    """The error for a file that is not there; it suggests one of a similar name."""
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            f"there is no file {path}, nor a folder {folder}: check the path"
        )
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    guess = nearest(path.name, files) or "check the path"
    return DataError(f"there is no file {path}: {guess}")
