"""`write_atomically`: a name holds the old content or all of the new, never a part.

A killed process can't tidy up, so the next save does. It must not take the temporary
file of a process that is still writing, and a process number can't tell the two apart:
it may belong to another machine or container, or to somebody new. A lock can. The
writer holds one on its temporary file, and the system releases it with the process,
however that ends.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that its name holds the old content or all of the new.

    The content goes to a temporary file beside it, is forced to the disk, and takes
    the name in one step; an interruption at any moment leaves no half-written file
    under that name. What killed writers of the same file left is removed.

    A missing folder is made. A file that is there keeps its permissions, a new one gets
    those of `open`. Where `path` is a symbolic link, the file that it leads to is
    replaced, and the link stays.

    Raises OSError, which names the file, if it can't be written or if the name belongs
    to a folder, a device or a pipe; the old file is then as it was.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/new/file", b"content")
    ...     os.listdir(f"{folder}/new")
    ['file']
    """
    given, path = os.fspath(path), Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = _mode_of(path)
        _remove_leftovers(path)
        _replace(path, content, mode)
    except OSError as error:
        # By default it names the temporary file, or nothing (a full disk).
        raise OSError(error.errno, error.strerror, given) from error
    # The rename itself is on the disk once the folder is; Windows opens no folders.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _mode_of(path: Path) -> int | None:
    """The permissions of the file that is there, or None if there is none."""
    try:
        mode = os.lstat(path).st_mode  # links are followed: what is one is a circle
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return stat.S_IMODE(mode)
    number, kind = errno.EINVAL, "not a regular file, so it can't be replaced"
    if stat.S_ISDIR(mode):
        number, kind = errno.EISDIR, "is a folder"
    elif stat.S_ISLNK(mode):
        number, kind = errno.ELOOP, "is a symbolic link that leads to itself"
    raise OSError(number, kind)


def _replace(path: Path, content: bytes, mode: int | None) -> None:
    file = _new_file(path)
    try:
        with file:
            if mode is not None:
                os.chmod(file.name, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if os.name == "nt":
                file.close()  # Windows renames no open file
            os.replace(file.name, path)  # still locked
    except BaseException:
        with suppress(OSError):
            os.unlink(file.name)
        raise


def _new_file(path: Path) -> BinaryIO:
    """A new temporary file for the content of `path`, locked for as long as it is open.

    The file of another process that tidies up at this moment can vanish between its
    making and its locking: then another is made.
    """
    while True:
        # So long a name as a file may have leaves no room for what is added here.
        name = f".{path.name[:50]}.{os.urandom(8).hex()}.tmp"
        file = open(path.with_name(name), "xb")  # noqa: SIM115  (the caller closes it)
        try:
            _lock(file.fileno(), wait=True)
            if os.fstat(file.fileno()).st_nlink:
                return file
        except BaseException:
            file.close()
            with suppress(OSError):
                os.unlink(file.name)
            raise
        file.close()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files for `path` that no process is writing any more."""
    start = re.escape(f".{path.name[:50]}.")
    pattern = re.compile(start + r"[0-9a-f]{16}\.tmp")
    for name in os.listdir(path.parent):
        if not pattern.fullmatch(name):
            continue
        leftover = path.with_name(name)
        with suppress(OSError):  # in use, gone, or somebody else's
            with open(leftover, "r+b") as file:
                if _lock(file.fileno(), wait=False):
                    os.unlink(leftover)
            if os.name == "nt":
                os.unlink(leftover)  # Windows refuses if it is open


def _lock(descriptor: int, wait: bool) -> bool:
    """Lock an open file; False, and no lock, where the file system has none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
