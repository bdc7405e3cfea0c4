"""Finds the kernels' sources, has CuPy compile them, and launches them.

`SOURCES` lists every source with its dtypes and macros: the tests compile all of them.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np

from ..updates import Rule
from .geometry import STATIC

FOLDER = os.path.dirname(os.path.abspath(__file__))
STANDARD = "-std=c++17"
PLAIN_SHARED = 48 * 1024  # bytes of shared memory that a kernel need not ask for:
# those that it declares itself, and those of the launch

# What a dtype is called in the sources: STORAGE and WORKING of common.cuh.
TYPES = {
    "float16": ("f16", "float"),
    "bfloat16": ("bf16", "float"),
    "float32": ("float", "float"),
    "float64": ("double", "double"),
}
FLOATS = tuple(TYPES)

_KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+'
    r"(?:__launch_bounds__\((\w+)[^)]*\)\s*)?(\w+)\("
)
_INCLUDE = re.compile(r'#include "(\w+\.cuh)"')


@dataclass(frozen=True)
class Source:
    """One file of kernels, and what it is compiled with.

    macros: the sets of macros that its launcher uses.
    wide_loads, wide_stores: the kernels that read and write 16 bytes at a time where
        the macro WIDE is 1; the tests look for it in the machine code.
    """

    file: str
    dtypes: tuple[str, ...] = FLOATS
    macros: tuple[Mapping[str, Any], ...] = ({},)
    wide_loads: frozenset[str] = frozenset()
    wide_stores: frozenset[str] = frozenset()

    def variants(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every (dtype, macros) that the file is compiled with."""
        for dtype in self.dtypes:
            for macros in self.macros:
                yield dtype, macros


def product(**values: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """All combinations of macros' values.

    >>> product(WIDE=(0, 1), HELD=(32,))
    ({'WIDE': 0, 'HELD': 32}, {'WIDE': 1, 'HELD': 32})
    """
    sets: list[dict[str, Any]] = [{}]
    for name, choices in values.items():
        sets = [{**each, name: choice} for each in sets for choice in choices]
    return tuple(sets)


CROSS_ENTROPY = (
    *product(KIND=(0, 1), TARGET=("int", "i64"), WIDE=(0,), HELD=(0, 32)),
    *product(KIND=(0, 1), TARGET=("int", "i64"), WIDE=(1,), HELD=(0, 32, 128)),
    *product(KIND=(2,), TARGET=("T", "W"), WIDE=(0,), HELD=(0, 32)),
    *product(KIND=(2,), TARGET=("T", "W"), WIDE=(1,), HELD=(0, 32, 64)),
)
RULES = tuple(rule.__name__ for rule in get_args(Rule))
BIASED = frozenset(
    {"relu", "gelu", "gelu_tanh", "relu_grad", "gelu_grad", "gelu_tanh_grad"}
)
ACTIVATIONS = BIASED | {"sigmoid", "softplus", "silu", "tanh_grad"}
ACTIVATIONS |= {"sigmoid_grad", "softplus_grad", "silu_grad"}
SOURCES = {
    source.file: source
    for source in (
        Source(
            "scatter.cu",
            macros=product(WIDE=(0, 1)),
            wide_loads=frozenset(
                {"scatter_atomic", "scatter_chunks", "scatter_borders"}
            ),
            wide_stores=frozenset({"scatter_chunks", "scatter_borders"}),
        ),
        Source("windows.cu"),
        Source(
            "attention.cu",
            dtypes=("float32", "float64"),
            macros=product(WIDE=(0,), HELD=(32,)) + product(WIDE=(1,), HELD=(32, 64)),
            wide_loads=frozenset({"attention_weights", "attention_weights_vjp"}),
            wide_stores=frozenset({"attention_weights", "attention_weights_vjp"}),
        ),
        Source(
            "softmax.cu",
            macros=product(WIDE=(0, 1), HELD=(0, 32, 64, 128)),
            wide_loads=frozenset({"softmax", "log_softmax", "logsumexp"}),
            wide_stores=frozenset({"softmax", "log_softmax"}),
        ),
        Source(
            "softmax_vjp.cu",
            macros=product(WIDE=(0,), HELD=(0, 32))
            + product(WIDE=(1,), HELD=(0, 32, 64)),
            wide_loads=frozenset({"softmax_vjp", "log_softmax_vjp"}),
            wide_stores=frozenset({"softmax_vjp", "log_softmax_vjp"}),
        ),
        Source(
            "cross_entropy.cu",
            macros=CROSS_ENTROPY,
            wide_loads=frozenset(
                {"cross_entropy", "cross_entropy_parts", "cross_entropy_from_parts"}
            ),
            wide_stores=frozenset({"cross_entropy", "cross_entropy_from_parts"}),
        ),
        Source(
            "loss_sums.cu",
            dtypes=("float32", "float64"),
            macros=product(TARGET=("int", "i64")),
        ),
        Source(
            "norms.cu",
            macros=product(WIDE=(0,), HELD=(0, 32, 64))
            + product(WIDE=(1,), HELD=(0, 32, 64, 128)),
            wide_loads=frozenset({"layer_norm", "rms_norm"}),
            wide_stores=frozenset({"layer_norm", "rms_norm"}),
        ),
        Source(
            "norms_vjp.cu",
            macros=product(WIDE=(0, 1), HELD=(32,)),
            wide_loads=frozenset({"layer_norm_vjp", "rms_norm_vjp"}),
            wide_stores=frozenset({"layer_norm_vjp", "rms_norm_vjp"}),
        ),
        Source(
            "norms_dx.cu",
            macros=product(WIDE=(0,), HELD=(0, 32))
            + product(WIDE=(1,), HELD=(0, 32, 64)),
            wide_loads=frozenset({"layer_norm_dx", "rms_norm_dx"}),
            wide_stores=frozenset({"layer_norm_dx", "rms_norm_dx"}),
        ),
        Source(
            "norms_columns.cu",
            macros=product(WIDE=(0, 1)),
            wide_loads=frozenset({"column_partials"}),
        ),
        Source(
            "channel_sums.cu",
            macros=product(WIDE=(0, 1)),
            wide_loads=frozenset(
                {"moments_by_places", "sums_by_places"}
                | {"moments_by_columns", "sums_by_columns"}
            ),
        ),
        Source(
            "channel_affine.cu",
            macros=product(WIDE=(0, 1)),
            wide_loads=frozenset({"channel_affine", "channel_blend"}),
            wide_stores=frozenset({"channel_affine", "channel_blend"}),
        ),
        Source(
            "optimizers.cu",
            macros=product(WIDE=(1,), RULE=RULES),
            wide_loads=frozenset({"update"}),
            wide_stores=frozenset({"update"}),
        ),
        Source(
            "gradients.cu",
            macros=product(WIDE=(1,)),
            wide_loads=frozenset({"norm_parts", "clip_to_norm", "unscale"}),
            wide_stores=frozenset({"clip_to_norm", "unscale"}),
        ),
        Source(
            "activations.cu",
            macros=product(WIDE=(1,)),
            wide_loads=ACTIVATIONS,
            wide_stores=ACTIVATIONS,
        ),
        Source(
            "bias_activations.cu",
            macros=product(WIDE=(0, 1)),
            wide_loads=BIASED,
            wide_stores=BIASED,
        ),
        Source(
            "cast.cu",
            dtypes=("float16", "bfloat16"),
            macros=product(WIDE=(1,)),
            wide_loads=frozenset({"narrowed"}),
            wide_stores=frozenset({"widened"}),
        ),
        Source(
            "dropout.cu",
            macros=product(WIDE=(1,)),
            wide_loads=frozenset({"dropout", "dropout_channels"}),
            wide_stores=frozenset({"dropout", "dropout_channels"}),
        ),
    )
}


# -- sources ---------------------------------------------------------------------------


@functools.cache
def read(file: str) -> str:
    """The text of one source file."""
    with open(os.path.join(FOLDER, file), encoding="utf-8") as opened:
        return opened.read()


def code(file: str) -> str:
    """common.cuh, a source and what it includes in one text; errors name the file and
    its line.

    Without a source, only the first: what a test puts its own kernels behind.
    """
    names, seen = ("common.cuh", file) if file else ("common.cuh",), set[str]()
    return "".join(_expanded(name, seen) for name in names)


def _expanded(file: str, seen: set[str]) -> str:
    """A file with the files that it includes, each of them once."""
    seen.add(file)
    lines = [f'#line 1 "{file}"']
    for number, line in enumerate(read(file).splitlines(), 1):
        included = _INCLUDE.fullmatch(line)
        if included:
            inner = "" if included[1] in seen else _expanded(included[1], seen)
            line = f'{inner}#line {number + 1} "{file}"'
        lines.append(line)
    return "\n".join(lines) + "\n"


def functions(source: str) -> dict[str, str]:
    """The kernels of a source text, with what __launch_bounds__ says ("" for none).

    >>> functions('extern "C" __global__ void __launch_bounds__(64) f(int* x) {}')
    {'f': '64'}
    """
    return {name: bounds for bounds, name in _KERNEL.findall(source)}


def options(dtype: str, macros: Mapping[str, Any]) -> tuple[str, ...]:
    """The compiler's options for a dtype and macros.

    >>> options("float16", {"WIDE": 1})
    ('-std=c++17', '-DSTORAGE=f16', '-DWORKING=float', '-DWIDE=1')
    """
    storage, working = TYPES[dtype]
    defined = {"STORAGE": storage, "WORKING": working, **macros}
    return (STANDARD, *(f"-D{name}={value}" for name, value in defined.items()))


# -- launching -------------------------------------------------------------------------


class Limits(NamedTuple):
    """What a device has: multiprocessors, and bytes of shared memory for a block that
    asks for more than 48 KB."""

    multiprocessors: int
    shared: int


class Kernel:
    """A compiled kernel; called, it is launched on the current device and stream.

    Every integer parameter of a kernel is a `long long` and every number a `double`,
    which is what CuPy makes of a Python int and float. None is a null pointer.
    """

    __slots__ = ("_asked", "_current_device", "_raw")

    def __init__(self, raw: Any, current_device: Callable[[], int]) -> None:
        self._raw, self._current_device = raw, current_device
        self._asked: dict[int, int] = {}  # bytes of shared memory by device

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        shared: int = 0,
    ) -> None:
        """Launch it, with so many bytes for DYNAMIC_SHARED: at most Limits.shared, less
        geometry.STATIC for what the kernel declares itself."""
        if shared > PLAIN_SHARED - STATIC:
            device = self._current_device()
            if shared > self._asked.get(device, 0):
                self._raw.max_dynamic_shared_size_bytes = shared
                self._asked[device] = shared
        self._raw(grid, block, args, shared_mem=shared)


class Kernels:
    """The kernels, compiled by `cupy` when they are first asked for.

    CuPy keeps what it compiled on disk, in $CUPY_CACHE_DIR (~/.cupy/kernel_cache), and
    loads it once for each device.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._found: dict[tuple, Kernel] = {}
        self._modules: dict[tuple, Any] = {}
        self._limits: dict[int, Limits] = {}
        self._lock = threading.Lock()

    def get(self, file: str, function: str, dtype: np.dtype, **macros: Any) -> Kernel:
        """The kernel `function` of a source, for arrays of `dtype`.

        Raises RuntimeError with the compiler's words if it can't be compiled.
        """
        key = (file, function, dtype, *macros.values())
        found = self._found.get(key)
        return self._compiled(key, macros) if found is None else found

    def limits(self) -> Limits:
        """Those of the current device."""
        device = self._cupy.cuda.runtime.getDevice()
        if device not in self._limits:
            attributes = self._cupy.cuda.Device(device).attributes
            self._limits[device] = Limits(
                attributes["MultiProcessorCount"],
                attributes["MaxSharedMemoryPerBlockOptin"],
            )
        return self._limits[device]

    def _compiled(self, key: tuple, macros: Mapping[str, Any]) -> Kernel:
        file, function, dtype = key[0], key[1], key[2].name
        module_key = (file, dtype, *macros.items())
        with self._lock:
            if module_key not in self._modules:
                self._modules[module_key] = self._cupy.RawModule(
                    code=code(file), options=options(dtype, macros), backend="nvrtc"
                )
            try:
                raw = self._modules[module_key].get_function(function)
            except Exception as error:
                if type(error).__name__ != "CompileException":
                    raise
                raise RuntimeError(
                    f"the CUDA kernels of {file} could not be compiled for {dtype} "
                    f"with {dict(macros)}; the compiler says:\n{error}"
                ) from error
            return self._found.setdefault(
                key, Kernel(raw, self._cupy.cuda.runtime.getDevice)
            )


def takes(*arrays: Any) -> bool:
    """Whether there is a kernel for these arrays: of one floating dtype, not empty."""
    dtype = arrays[0].dtype
    return dtype.name in TYPES and all(x.size and x.dtype == dtype for x in arrays)
