"""Named arrays and text as one safetensors file, and every check of reading it.

A safetensors file is eight bytes with the length of the header, the header (JSON: for
each tensor its dtype, shape and place; text under `__metadata__`), and the bytes of the
tensors (https://huggingface.co/docs/safetensors). The `safetensors` library writes and
reads it. What it lets pass is checked here first: names that occur twice, a header that
is small on the disk and large in memory, what is no file at all.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..backends.dtypes import as_dtype
from ..extras import require
from .atomic import write_atomically

__all__ = [
    "CheckpointError",
    "parse_json",
    "read_tensors",
    "read_text",
    "write_tensors",
]

# JSON takes some thirty times its size when it is read: this bounds it by a gigabyte.
MAX_HEADER = 2**25

_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}


class CheckpointError(ValueError):
    """A file can't be loaded: it is damaged, hostile, or of another format.

    The message names the file and says what is wrong with it.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     try:
    ...         tg.load(file.name)
    ...     except CheckpointError as error:
    ...         str(error).replace(file.name, "empty")
    'empty is empty: no safetensors file is'
    """


def write_tensors(
    path: str | os.PathLike[str],
    tensors: dict[str, np.ndarray],
    metadata: dict[str, str],
) -> None:
    """Write arrays (of the library's dtypes, in C order) and text, whole or not at all.

    In memory the arrays are there a second time while they are written.
    """
    library = require("safetensors.numpy", "safetensors", "saving a model")
    content = library.save(tensors, metadata)
    header = int.from_bytes(content[:8], "little")
    if header > MAX_HEADER:
        raise ValueError(
            f"save: names and plain values take {header:,} bytes; a file can hold "
            f"{MAX_HEADER:,}; mend: put long lists of numbers into an array"
        )
    write_atomically(path, content)


def read_tensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, in the header's order, and the text of a safetensors file.

    In memory the file is there a second time while it is read.

    Raises:
        CheckpointError: it is not one, or damaged.
        FileNotFoundError: there is none; other OSErrors where it can't be read.
    """
    library = require("safetensors", "safetensors", "loading a model")
    path = Path(path)
    with _opened(path) as file:
        header, metadata = _header(file, path)
        file.seek(0)
        content = file.read()
    try:
        found = dict(library.deserialize(content))
        entries = {name: found[name] for name in header}
    except (library.SafetensorError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    del content
    return {name: _array(path, name, each) for name, each in entries.items()}, metadata


def read_text(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text of a safetensors file; the arrays are not read. Errors as above."""
    path = Path(path)
    with _opened(path) as file:
        return _header(file, path)[1]


def parse_json(text: str) -> Any:
    """What JSON says, where each key occurs once and each number is one.

    Raises ValueError or, where it is nested too deep, RecursionError.
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _opened(path: Path) -> BinaryIO:
    try:
        # Opening a pipe that nobody writes to would wait forever.
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, "there is no such file to load: check the path", str(path)
        ) from None
    if stat.S_ISDIR(mode):
        raise CheckpointError(f"{path} is a folder: give the file in it")
    if not stat.S_ISREG(mode):
        raise CheckpointError(f"{path} is not a regular file, but a device or a pipe")
    return open(path, "rb")


def _header(file: BinaryIO, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors' entries and the text in the header of a file, checked.

    Nothing is read, and no memory taken, on the word of a number in the file.
    """
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise CheckpointError(f"{path} is empty: no safetensors file is")
    start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if size < 9 or length > size - 8 or start[8:] != b"{":
        raise CheckpointError(f"{path} {_no_safetensors(start, size, length)}")
    if length > MAX_HEADER:
        raise CheckpointError(
            f"{path} has a header of {length:,} bytes; at most {MAX_HEADER:,} are read"
        )
    file.seek(8)
    try:
        header = parse_json(file.read(length).decode())
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise ValueError("its metadata is not an object")
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError("its metadata holds what is no text")
        ends = [_end(name, entry) for name, entry in header.items()]
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: its header is too deep") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are such
        raise CheckpointError(f"{path} is damaged: in its header, {error}") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        what = "cut off" if size < expected else "followed by something else"
        raise CheckpointError(
            f"{path} is damaged: it has {size:,} bytes where its header says "
            f"{expected:,}, so it was {what}"
        )
    return header, metadata


def _end(name: str, entry: Any) -> int:
    """Where a tensor's bytes end, of an entry with everything in its place."""
    if not isinstance(entry, dict) or entry.keys() != {
        "dtype",
        "shape",
        "data_offsets",
    }:
        raise ValueError(f"{name!r} is no description of a tensor")
    shape, place = entry["shape"], entry["data_offsets"]
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(
            type(n) is int and n >= 0 for n in numbers
        ):
            raise ValueError(f"{name!r} has a shape or a place that is none")
    if len(place) != 2:
        raise ValueError(f"{name!r} has no place")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        raise ValueError(
            f"{name!r} is of dtype {entry['dtype']!r}, which tensors here can't have; "
            f"known are {', '.join(_DTYPES)}"
        )
    return place[1]


def _no_safetensors(start: bytes, size: int, length: int) -> str:
    """Why a file is no safetensors file, by its first bytes."""
    mend = (
        "; mend, where it was made: safetensors.torch.save_file(torch.load(path, "
        "weights_only=True), new_path)"
    )
    if start[:4] == b"PK\x03\x04":
        return f"looks like a zip archive, as torch.save makes; it is not opened{mend}"
    if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return f"looks like a pickle, as old torch.save makes; it is not opened{mend}"
    if size < 9:
        return f"is damaged: it has {size} bytes, fewer than any safetensors file"
    if start[8:] != b"{":
        return "is not a safetensors file: it does not begin as one"
    return (
        f"is damaged or not a safetensors file: it has {size:,} bytes where its "
        f"header alone should have {length:,}"
    )


def _array(path: Path, name: str, entry: dict[str, Any]) -> np.ndarray:
    """A tensor's array, over the memory that the library read it into."""
    dtype = as_dtype(_DTYPES[entry["dtype"]])
    try:
        array = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    except (ValueError, OverflowError) as error:  # NumPy's bounds
        raise CheckpointError(f"{path} is damaged: {name!r}, {error}") from None
    if dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise CheckpointError(f"{path} is damaged: {name!r} has bools that are none")
    return array
