"""Every CUDA kernel through NVRTC, for every architecture: run by scripts/test --full.

python -m pytest tests/nvrtc/compiled_kernels.py

It needs no GPU, and says nothing of one: only that the machine code is there, that it
reads and writes 16 bytes at a time where it should, and keeps numbers in registers.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nvrtc import toolkit

from tinygrad_softmax.backends.cuda import geometry, kernels

ARCHITECTURES = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)
EXAMINED = (80, 90)
VARIANTS = [  # each for one of the two, in turn: compiling them all takes minutes
    pytest.param(
        source,
        dtype,
        macros,
        EXAMINED[(i + source.dtypes.index(dtype)) % len(EXAMINED)],
        id=f"{source.file}-{dtype}-{'-'.join(map(str, macros.values()))}",
    )
    for source in kernels.SOURCES.values()
    for i, (dtype, macros) in enumerate(source.variants())
]


def bound(code: str, given: str) -> int:
    """The threads of a block that __launch_bounds__ names: a number or a constant."""
    named = re.search(rf"constexpr int {given} = (\d+);", code) if given else None
    return int(named[1] if named else given or 1024)


def test_all_architectures_are_there():
    assert set(ARCHITECTURES) <= set(toolkit.architectures())


def test_all_sources_are_listed():
    there = {path.name for path in Path(kernels.FOLDER).glob("*.cu")}
    assert there == set(kernels.SOURCES)


@pytest.mark.parametrize(
    "architecture", [a for a in ARCHITECTURES if a not in EXAMINED]
)
@pytest.mark.parametrize("source", kernels.SOURCES.values(), ids=kernels.SOURCES)
def test_it_compiles(source, architecture):
    """One dtype, with one set of macros: others for each architecture. But each dtype
    before sm_80, which rounds to bfloat16 in other words."""
    first = ARCHITECTURES.index(architecture)
    dtypes = source.dtypes
    if architecture >= 80:
        dtypes = (dtypes[first % len(dtypes)],)
    for i, dtype in enumerate(dtypes):
        macros = source.macros[(first + i) % len(source.macros)]
        options = kernels.options(dtype, macros)
        assert toolkit.compiled(kernels.code(source.file), options, architecture)


@pytest.mark.parametrize(("source", "dtype", "macros", "architecture"), VARIANTS)
def test_machine_code(source, dtype, macros, architecture):
    code = kernels.code(source.file)
    cubin = toolkit.compiled(code, kernels.options(dtype, macros), architecture)
    found = toolkit.machine_code(cubin)
    bounds = kernels.functions(code)
    assert set(found) == set(bounds)
    for name, machine in found.items():
        spills = machine.count(r"\b(LDL|STL)\b")
        assert (spills, machine.stack, machine.local) == (0, 0, 0), f"{name} spills"
        most = min(255, 65536 // bound(code, bounds[name]))
        assert machine.registers <= most, name
        system = 1024 if architecture >= 90 else 0  # bytes that CUDA adds of its own
        if code.count("DYNAMIC_SHARED(") > 1:  # (it is defined once)
            assert machine.shared <= geometry.STATIC + system, name
        wide = bool(macros.get("WIDE"))
        for kernels_of, access in (
            (source.wide_loads, r"\bLDG\.E\.128"),
            (source.wide_stores, r"\bSTG\.E\.128"),
        ):
            assert (machine.count(access) > 0) == (wide and name in kernels_of), (
                f"{name}: {machine.count(access)} instructions {access}"
            )


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_four_floats_are_added_at_once(dtype):
    """Atomically, where the architecture can: else a warp's addresses are apart."""
    for architecture, expected in ((80, False), (90, True)):
        options = kernels.options(dtype, {"WIDE": 1})
        cubin = toolkit.compiled(kernels.code("scatter.cu"), options, architecture)
        machine = toolkit.machine_code(cubin)["scatter_atomic"]
        assert (machine.count(r"\bREDG?\.E\.ADD\.F32x4\b") > 0) == expected
        assert (machine.count(r"\bREDG?\.E\.ADD\.F32\.") == 0) == expected


SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) f(const float* x, float* out) {
    float held[100];
#pragma unroll
    for (int i = 0; i < 100; i++) held[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 100; i++) out[i * 1024 + threadIdx.x] = held[i] * held[99];
}
"""


def test_a_spill_is_seen():
    cubin = toolkit.compiled(SPILLING, (kernels.STANDARD,), 90)
    machine = toolkit.machine_code(cubin)["f"]
    assert machine.registers == 64
    assert machine.stack > 0
    assert machine.count(r"\b(LDL|STL)\b") > 0
    assert machine.count(r"\bLDG\.E\.128") == 0


def test_an_error_names_file_and_line():
    code = f'{kernels.code("")}\n#line 1 "wrong.cu"\n\nnonsense;'
    with pytest.raises(toolkit.CompileError, match=r"wrong\.cu\(2\): error"):
        toolkit.compiled(code, kernels.options("float32", {}), 90)
