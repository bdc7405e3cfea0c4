"""IDX files: the arrays that MNIST and its kin are kept in.

The format (Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten
digits"): two zero bytes, one byte for the element type, one for the number of axes, the
length of each axis as a big-endian 32-bit number, then the elements, big-endian, the
last axis fastest.

A file is not trusted: what its header claims is held against its size before anything
of that size is allocated.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from .errors import DataError, no_such_file

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_idx", "write_idx"]

DTYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
CODES = {dtype.newbyteorder("="): code for code, dtype in DTYPES.items()}
GZIP = b"\x1f\x8b"
GZIP_MOST = 1032  # deflate makes at most so many bytes of one
MOST_AXES = 64  # of a NumPy array
CHUNK = 1 << 20


def read_idx(path: str | Path) -> np.ndarray:
    """The array in an IDX file, plain or compressed by gzip.

    Returns an array of the file's shape, of dtype uint8, int8, int16, int32, float32 or
    float64, in the machine's byte order.

    Raises DataError, with the file and the byte, where it is missing, damaged, cut off
    or too long. Bytes of a compressed file are counted after decompression.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "small-idx2-ubyte.gz")
    >>> tg.data.write_idx(path, np.array([[1, 2], [3, 4]], np.uint8))
    >>> tg.data.read_idx(path)
    array([[1, 2],
           [3, 4]], dtype=uint8)
    """
    from pathlib import Path

    path = Path(path)
    with _Reader(path) as reader:
        dtype, shape = _header(reader)
        size = prod(shape) * dtype.itemsize
        data = reader.rest(size, f"{_times(shape)} elements of {dtype.itemsize} bytes")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(reader: _Reader) -> tuple[np.dtype, tuple[int, ...]]:
    magic = reader.take(4, "the four bytes that an IDX file begins with")
    if magic[:2] != b"\0\0":
        raise reader.error(
            0, f"an IDX file begins with two zero bytes, found {magic[:2].hex(' ')}"
        )
    if magic[2] not in DTYPES:
        known = ", ".join(f"{code:#04x} ({CODES_BACK[code]})" for code in DTYPES)
        raise reader.error(
            2, f"expected the code of an element type, {known}; found {magic[2]:#04x}"
        )
    axes = magic[3]
    if axes > MOST_AXES:
        raise reader.error(
            3, f"the header claims {axes} axes; an array has at most {MOST_AXES}"
        )
    lengths = reader.take(4 * axes, f"the lengths of {axes} axes")
    shape = tuple(np.frombuffer(lengths, ">u4").tolist())
    dtype = DTYPES[magic[2]]
    # A length of 0 hides what the others claim from every check of the size.
    if prod(n or 1 for n in shape) * dtype.itemsize >= 1 << 62:
        raise reader.error(
            4, f"the header claims {_times(shape)} elements; no array is so large"
        )
    return dtype, shape


CODES_BACK = {code: dtype.name for dtype, code in CODES.items()}


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "1"


class _Reader:
    """The bytes of a file in order, decompressed if need be; a context manager."""

    def __init__(self, path: Path) -> None:
        self.path, self.position = path, 0

    def __enter__(self) -> _Reader:
        try:
            self.file: BinaryIO = open(self.path, "rb")
        except FileNotFoundError:
            raise no_such_file(self.path) from None
        except OSError as error:
            if self.path.is_dir():
                raise DataError(
                    f"{self.path} is a folder: name the file that is in it"
                ) from None
            raise DataError(f"{self.path} cannot be read ({error.strerror})") from None
        self.compressed = self.file.read(2) == GZIP
        self.size = self.file.seek(0, 2)
        self.file.seek(0)
        self.stream: Any = self.file
        if self.compressed:
            import gzip

            self.stream = gzip.GzipFile(fileobj=self.file)
        return self

    def __exit__(self, *exc: object) -> None:
        self.file.close()

    def error(self, byte: int, fault: str) -> DataError:
        """The error for a fault at a byte."""
        return DataError(f"{self.path.name}, byte {byte}: {fault}")

    def take(self, n: int, what: str) -> bytes:
        """The next n bytes, which are `what`."""
        data = self._read(n)
        if len(data) < n:
            raise self.error(
                self.position + len(data),
                f"the file ends in the middle of {what}: it is cut off",
            )
        self.position += n
        return data

    def rest(self, size: int, what: str) -> bytearray:
        """All that follows, which must be `size` bytes: `what`."""
        start = self.position
        limit = self.size * GZIP_MOST if self.compressed else self.size
        if size > limit - start:
            least = "at most " if self.compressed else ""
            raise self.error(
                start,
                f"the header claims {what}, {size} bytes, but the file holds "
                f"{least}{max(0, limit - start)} after it: it is cut off or damaged",
            )
        data = bytearray()
        while len(data) < size:
            chunk = self._read(min(CHUNK, size - len(data)))
            if not chunk:
                raise self.error(
                    start + len(data),
                    f"the file ends, but the header claims {what}, {size} bytes from "
                    f"byte {start} on: it is cut off or damaged",
                )
            data += chunk
        if self._read(1):  # (this makes gzip check its sum, too)
            raise self.error(
                start + size,
                f"the file goes on after the {what} that the header claims: it is "
                "damaged",
            )
        return data

    def _read(self, n: int) -> bytes:
        if not self.compressed:
            return self.file.read(n)
        import gzip
        import zlib

        try:
            return self.stream.read(n)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.error(
                self.position, f"from here on the gzip data is damaged ({error})"
            ) from None


def write_idx(path: str | Path, array: Any) -> None:
    """Write an array as an IDX file, compressed by gzip if the name ends in ".gz".

    array: a NumPy array or a tensor, dtype uint8, int8, int16, int32, float32 or
        float64, of any shape.

    Raises TypeError for another dtype.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "labels-idx1-ubyte")
    >>> tg.data.write_idx(path, np.array([7, 2], np.uint8))
    >>> path.read_bytes()
    b'\\x00\\x00\\x08\\x01\\x00\\x00\\x00\\x02\\x07\\x02'
    """
    from pathlib import Path

    path = Path(path)
    data = array.numpy() if hasattr(array, "numpy") else np.asarray(array)
    code = CODES.get(data.dtype.newbyteorder("="))
    if code is None:
        raise TypeError(
            f"write_idx: the dtype is {data.dtype}; an IDX file holds "
            f"{', '.join(CODES_BACK.values())}; mend: array.astype(np.int32), or "
            "another of these"
        )
    if any(n >= 1 << 32 for n in data.shape):
        raise ValueError(
            f"write_idx: the shape is {data.shape}; an IDX file holds lengths below "
            "2**32"
        )
    lengths = np.array(data.shape, ">u4").tobytes()
    content = bytes([0, 0, code, data.ndim]) + lengths
    content += data.astype(DTYPES[code]).tobytes()
    if path.suffix == ".gz":
        import gzip

        content = gzip.compress(content, mtime=0)
    path.write_bytes(content)
