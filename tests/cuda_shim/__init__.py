"""Compiles CUDA kernels with g++ and runs them on the CPU: shim.h says how.

    library = cuda_shim.library(code, options)  # a kernel's source, STORAGE and WORKING
    library.launch("softmax", grid, block, pointers_and_numbers, shared=0)

    with cuda_shim.schedule("reversed"): ...    # who runs when, in all launches inside

Where there is no g++, `available()` is False: what needs it is "not run", and says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinygrad_softmax.backends.cuda import kernels

FOLDER = Path(__file__).resolve().parent
SCHEDULES = ("round-robin", "reversed", "hashed", "warps-up", "warps-down")
# (The rest of `undefined` doubles the time to compile, and has nothing to find here.)
FOUND = "address,alignment,bounds,shift,signed-integer-overflow,float-cast-overflow"
SANITIZE = (f"-fsanitize={FOUND}", "-fno-sanitize-recover=all")
FUSED = ("-ffp-contract=fast", "-mfma")
FLAGS = (
    *("-std=c++17", "-O1", "-g0", "-fPIC", "-shared", "-Wl,-Bsymbolic"),
    # Each library has its own statics, and the functions in it may call back.
    *("-fvisibility=hidden", "-fno-gnu-unique", "-fno-ipa-reference"),
    # CUDA's arithmetic but for fused multiply-add, which the sanitized build has;
    # 16-byte accesses to any type.
    *("-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno"),
    *("-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-unused-function"),
)


class ShimError(RuntimeError):
    """What a kernel did wrong when it was run."""


class CompileError(Exception):
    """What g++ said of a source."""


class Config(ctypes.Structure):
    """shim.h's."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("dynamic_bytes", ctypes.c_ulonglong),
        ("schedule", ctypes.c_int),
        ("seed", ctypes.c_uint),
    )


_schedule = {"name": SCHEDULES[0], "seed": 1}


@contextlib.contextmanager
def schedule(name: str, seed: int = 1) -> Iterator[None]:
    """Launches inside run their threads in this order."""
    before = dict(_schedule)
    SCHEDULES.index(name)
    _schedule.update(name=name, seed=seed)
    try:
        yield
    finally:
        _schedule.update(before)


@functools.cache
def compiler() -> str | None:
    """The path of g++; the shim is written for Linux."""
    return shutil.which("g++") if sys.platform == "linux" else None


def available() -> bool:
    """Whether there is a compiler."""
    return compiler() is not None


def runtime(name: str) -> str:
    """The path of one of the compiler's libraries."""
    command = [compiler() or "g++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def sanitized() -> bool:
    """Whether this process was started to run the sanitized build (sanitized.py)."""
    return os.environ.get("CUDA_SHIM_SANITIZE") == "1"


def has_fused() -> bool:
    """Whether the processor has the instruction that FUSED is about."""
    info = Path("/proc/cpuinfo")
    return info.exists() and " fma " in info.read_text()


def cache_folder() -> Path:
    """Where compiled kernels are kept from run to run."""
    base = os.environ.get("XDG_CACHE_HOME")
    name = "tinygrad-softmax-cuda-shim"
    if base:
        return Path(base) / name
    return Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"


@functools.cache
def _identity() -> bytes:
    """What every library depends on beside its source."""
    version = subprocess.run([compiler() or "g++", "--version"], capture_output=True)
    texts = [(FOLDER / name).read_bytes() for name in ("shim.h", "shim_end.h")]
    return b"\0".join([version.stdout, *texts])


class Library:
    """The kernels of one source, compiled with one set of options."""

    def __init__(self, path: Path, names: dict[str, str]) -> None:
        self.path, self.names = path, names
        self._handle = ctypes.PyDLL(str(path))  # holds the GIL: one launch at a time
        self.parameters = {name: self._describe(name) for name in names}
        # Bytes of shared memory that kernels declare: of all in the source together.
        self.static_shared = self._handle["shim_static_shared"]()
        self.bounds = {name: self._handle[f"shim_bounds_{name}"]() for name in names}

    def _describe(self, name: str) -> tuple[str, ...]:
        text = ctypes.create_string_buffer(4096)
        self._handle[f"shim_describe_{name}"](text)
        return tuple(text.value.decode().split())

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: list[ctypes._SimpleCData],
        shared: int = 0,
    ) -> None:
        """Run a kernel; raises ShimError for what it does wrong."""
        config = Config(
            (*grid, 1, 1)[:3],
            (*block, 1, 1)[:3],
            shared,
            SCHEDULES.index(str(_schedule["name"])),
            _schedule["seed"],
        )
        addresses = (ctypes.c_void_p * len(arguments))(
            *map(ctypes.addressof, arguments)
        )
        error = ctypes.create_string_buffer(1024)
        launch = self._handle[f"shim_launch_{name}"]
        if launch(addresses, ctypes.byref(config), error, len(error)):
            raise ShimError(error.value.decode("utf-8", "replace"))


@functools.cache
def library(code: str, options: tuple[str, ...]) -> Library:
    """The kernels of `code`, compiled or from the cache; CompileError if it can't."""
    import fcntl  # (Linux has it)

    names = kernels.functions(code)
    exports = "".join(f"EXPORT({n}, ({b or 1024}))\n" for n, b in names.items())
    text = f'#include "shim.h"\n{code}\n#include "shim_end.h"\n{exports}'
    flags = (*FLAGS, *options)
    if sanitized():
        flags += (*SANITIZE, *(FUSED if has_fused() else ()))
    digest = hashlib.sha256(_identity())
    for part in (text, *flags):
        digest.update(part.encode() + b"\0")
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # what is loaded from there is run
        raise ShimError(f"{folder} is another user's; mend: set XDG_CACHE_HOME")
    path = folder / f"{digest.hexdigest()[:32]}.so"
    if not path.exists():
        with open(path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be at it
            if not path.exists():
                _compile(text, flags, path)
    return Library(path, names)


def _compile(text: str, flags: tuple[str, ...], path: Path) -> None:
    new = path.with_suffix(f".{os.getpid()}")
    command = [compiler() or "g++", *flags, f"-I{FOLDER}", "-x", "c++", "-", "-o", new]
    done = subprocess.run(command, input=text.encode(), capture_output=True)
    if done.returncode:
        raise CompileError(done.stderr.decode("utf-8", "replace"))
    os.replace(new, path)
