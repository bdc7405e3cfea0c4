"""What the tests of CUDA kernels share: arrays, bounds, schedules, own sources.

A kernel is tested through the backend, which runs on the strict double of CuPy; the
reference is `Backend`'s kernel of the same name, in float64, on the very numbers that
were given (rounded to the dtype before).

    with kernels_on_the_cpu() as backend:
        x = draw_array(rng, (3, 100), "bfloat16")
        got = backend.softmax(on_device(backend, x))
        assert_close(got, REFERENCE.softmax(wide(x)), "bfloat16", ulps=8)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import cuda_shim
import ml_dtypes
import numpy as np
import strict_cupy
from hypothesis import strategies as st

from tinygrad_softmax.backends import resolve_device
from tinygrad_softmax.backends.base import Backend
from tinygrad_softmax.backends.cuda import kernels

Case = Callable[[Any], None]  # takes the backend; raises if a result is wrong
DTYPES = kernels.FLOATS
REFERENCE = Backend()

# Columns about the limits of geometry.rows for each dtype, odd and divisible by 8.
COLUMNS = (1, 2, 3, 7, 8, 9, 31, 33, 64, 65, 127, 128, 130, 256, 257, 511, 512, 513)
COLUMNS += (1000, 1024, 1025, 2056, 4100, 8200, 16392, 16391)


def kernels_on(device: str) -> AbstractContextManager:
    """The CUDA backend: with `--device cuda` the GPU's own, else over the double."""
    if device == "cuda":
        return nullcontext(resolve_device("cuda")[0])
    return kernels_on_the_cpu()


@contextmanager
def kernels_on_the_cpu() -> Iterator[Any]:
    """The CUDA backend over the strict double, as `device="cuda"` too."""
    with strict_cupy.strict_cuda() as cuda:
        assert cuda.backend.kernels is not None, "there is no g++"
        yield cuda.backend


def dtype_of(name: str) -> np.dtype:
    """The dtype, bfloat16 among them."""
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def working(name: str) -> np.dtype:
    """The dtype of a kernel's arithmetic."""
    return np.dtype("float64" if name == "float64" else "float32")


def draw_array(rng: np.random.Generator, shape: Any, dtype: str, scale: float = 3.0):
    """Normal numbers of a dtype."""
    return (rng.normal(size=shape) * scale).astype(dtype_of(dtype))


def wide(x: np.ndarray) -> np.ndarray:
    """The same numbers in float64."""
    return x.astype(np.float64)


def on_device(backend: Any, x: np.ndarray, shift: int = 0) -> Any:
    """The array on the device, `shift` elements past a multiple of 16 bytes."""
    if not shift:
        return backend.xp.asarray(x)
    flat = np.concatenate([np.zeros(shift, x.dtype), x.reshape(-1)])
    return backend.xp.asarray(flat)[shift:].reshape(x.shape)


def assert_close(
    got: Any, expected: np.ndarray, dtype: str, ulps: Any, scale: Any = 0.0
) -> None:
    """Hold a kernel's result against float64: at most `ulps` units in the last place of
    the working dtype (of the number or of `scale`, whichever is larger), and half a
    unit of the storage dtype. nan and inf must be where they should.
    """
    got = got if isinstance(got, np.ndarray) else got.get()
    assert got.dtype == dtype_of(dtype)
    assert got.shape == expected.shape
    narrow, info = ml_dtypes.finfo(dtype_of(dtype)), np.finfo(working(dtype))
    got = wide(got)
    with np.errstate(all="ignore"):
        # Flushed to 0, as CuPy compiles; and rounded to storage.
        bound = ulps * float(info.eps) * np.maximum(abs(expected), scale)
        bound = bound + 2 * float(info.tiny)
        if dtype_of(dtype) != info.dtype:
            bound = bound + float(narrow.eps) / 2 * (abs(expected) + bound)
            bound = bound + float(narrow.smallest_subnormal)
        too_large = abs(expected) > float(narrow.max)
        wrong = ~(abs(got - expected) <= bound) & ~too_large
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    wrong &= ~same
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{int(wrong.sum())} of {wrong.size} entries of {dtype} are wrong; at "
            f"{at}: got {got[at]!r}, expected {expected[at]!r}"
        )


def source(text: str) -> str:
    """A test's own kernels behind common.cuh."""
    return f'{kernels.code("")}\n#line 1 "test.cu"\n{text}'


def run_source(
    text: str, name: str, dtype: str, grid: Any, block: Any, *args: Any, **kw
):
    """Launch a test's own kernel, over arrays of the double and Python numbers."""
    module = strict_cupy.make_modules()[0].RawModule(
        code=source(text), options=kernels.options(dtype, kw.pop("macros", {}))
    )
    module.get_function(name)(grid, block, args, **kw)


schedules = st.sampled_from(cuda_shim.SCHEDULES)
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)
columns = st.one_of(st.sampled_from(COLUMNS), st.integers(1, 300))
