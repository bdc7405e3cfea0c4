"""Compiles CUDA sources for any architecture and reads the machine code, without GPU.

NVRTC comes from the package nvidia-cuda-nvrtc, and is called through ctypes; cuobjdump
and nvdisasm come from the packages of their names.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# CuPy adds these to the options of a RawModule.
CUPYS_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")


class CompileError(Exception):
    """What NVRTC said of a source."""


def file_of(package: str, name: str) -> Path:
    """A file of an installed package."""
    files = importlib.metadata.files(package) or []
    found = [each for each in files if each.name.startswith(name)]
    if not found:
        raise FileNotFoundError(f"the package {package} has no file {name}")
    return Path(str(found[0].locate())).resolve()


@functools.cache
def library() -> ctypes.CDLL:
    """NVRTC itself."""
    package = "nvidia-cuda-nvrtc"
    ctypes.CDLL(str(file_of(package, "libnvrtc-builtins.so")), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(file_of(package, "libnvrtc.so")))


def _check(status: int) -> None:
    if status:
        text = library().nvrtcGetErrorString
        text.restype = ctypes.c_char_p
        raise RuntimeError(f"NVRTC: {text(status).decode()}")


def architectures() -> list[int]:
    """The compute capabilities that this NVRTC compiles for, as 90 for 9.0."""
    count = ctypes.c_int()
    _check(library().nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    found = (ctypes.c_int * count.value)()
    _check(library().nvrtcGetSupportedArchs(found))
    return list(found)


def compiled(code: str, options: tuple[str, ...], architecture: int) -> bytes:
    """The cubin of a source, with CuPy's options."""
    nvrtc, program = library(), ctypes.c_void_p()
    _check(
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program), code.encode(), b"kern.cu", 0, None, None
        )
    )
    try:
        texts = [*options, *CUPYS_OPTIONS, f"-arch=sm_{architecture}"]
        pointers = (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))
        if nvrtc.nvrtcCompileProgram(program, len(texts), pointers):
            raise CompileError(_read(program, "ProgramLog").rstrip(b"\0").decode())
        return _read(program, "CUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library()[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
    text = ctypes.create_string_buffer(size.value)
    _check(library()[f"nvrtcGet{what}"](program, text))
    return text.raw


@dataclass
class Machine:
    """What the machine code of one kernel says."""

    registers: int
    stack: int  # bytes of a thread's stack frame
    local: int  # bytes of local memory of a thread
    shared: int  # bytes of static shared memory
    code: str  # the instructions

    def count(self, pattern: str) -> int:
        """How many instructions match."""
        return len(re.findall(pattern, self.code))


def machine_code(cubin: bytes) -> dict[str, Machine]:
    """Every kernel of a cubin, disassembled."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kern.cubin")
        Path(path).write_bytes(cubin)
        usage = _tool("cuobjdump", "--dump-resource-usage", path)
        text = _tool("nvdisasm", "--print-code", path)
    codes: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        section = re.match(r"\s*\.section\s+\.text\.(\w+)", line)
        if section:
            current = codes.setdefault(section[1], [])
        current.append(line)
    found = {}
    pattern = r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)"
    for name, *numbers in re.findall(pattern, usage):
        registers, stack, shared, local = map(int, numbers)
        found[name] = Machine(registers, stack, local, shared, "\n".join(codes[name]))
    return found


def _tool(name: str, *arguments: str) -> str:
    tool = file_of(f"nvidia-cuda-{name}", name)
    nvdisasm = file_of("nvidia-cuda-nvdisasm", "nvdisasm").parent
    environment = {"PATH": f"{nvdisasm}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [tool, *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
