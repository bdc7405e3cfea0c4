"""What a row works with: both libraries over the same arrays, the clock, the memory."""

from __future__ import annotations

import contextlib
import gc
import importlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .row import BOTH, OURS, PYTORCH
from .timing import Clock, CudaClock, Effort, Step, interleaved

SETS = 64  # of buffers, at most; with small ones the cache is overwritten instead
DRAWN = 1 << 24  # so many random numbers at a time


class Lab:
    """A GPU, CuPy's arrays, and the libraries that share their memory.

    cupy, tg, torch: the modules, or None where a row does without.
    device: what both libraries call it.
    share: a PyTorch tensor over a CuPy array.
    cache: bytes of the L2.
    toy: sizes for a test that everything runs.
    """

    def __init__(
        self,
        cupy: Any,
        tg: Any,
        torch: Any,
        clock: Clock | None,
        cache: int,
        device: str = "cuda",
        share: Callable[[Any], Any] | None = None,
        toy: bool = False,
    ) -> None:
        self.cupy, self.tg, self.torch, self.toy = cupy, tg, torch, toy
        self.cache, self.device = cache, device
        self.torch_device = "cpu" if toy else device
        self._clock, self._share = clock, share or _shared
        self._seed = 0

    def timed(
        self, steps: Mapping[str, Step], **effort: Any
    ) -> dict[str, dict[str, float]]:
        """Medians by library, for the result of a row; `effort`: changes of Effort."""
        assert self._clock is not None, "this process has one library only"
        turns = {"turns": 1} if self.toy else {}
        return interleaved(self._clock, steps, Effort(**turns, **effort))

    def size(self, *lengths: int) -> tuple[int, ...]:
        """The lengths, or small ones for a test."""
        return (
            tuple(min(n, 4 + i) for i, n in enumerate(lengths)) if self.toy else lengths
        )

    def library(self, name: str) -> Any:
        return self.tg if name == OURS else self.torch

    def tensor(self, library: str, array: Any, requires_grad: bool = False) -> Any:
        """A tensor of the library over the array's own memory, with no gradient."""
        found = self.tg.asarray(array) if library == OURS else self.theirs(array)
        found.requires_grad = requires_grad
        return found

    def theirs(self, array: Any) -> Any:
        """A PyTorch tensor over an array of CuPy or a tensor of ours."""
        if isinstance(array, self.tg.Tensor):
            array = array.detach().array
        if array.dtype.name == "bfloat16":  # older DLPack has no name for it
            return self._share(array.view("int16")).view(self.torch.bfloat16)
        return self._share(array)

    def dtype(self, name: str) -> Any:
        """The dtype for CuPy, also of bfloat16, which is ml_dtypes' own."""
        return self.tg.zeros(0, dtype=name, device="cpu").dtype

    def normal(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """A CuPy array of standard normal numbers, other ones at each call."""
        out = self.cupy.empty(shape, self.dtype(dtype))
        flat = out.reshape(-1)
        for start in range(0, flat.size, DRAWN):
            part = flat[start : start + DRAWN]
            drawn = self.tg.randn(part.size, dtype="float32", device=self.device).array
            part[...] = drawn.astype(part.dtype)
        return out

    def below(self, high: int, shape: tuple[int, ...]) -> Any:
        """A CuPy array of random integers from 0 up to but not `high`, int64."""
        drawn = self.tg.rand(*shape, dtype="float64", device=self.device).array
        return (drawn * high).astype("int64")

    def sets(self, size: int) -> tuple[int, bool]:
        """How many sets of `size` bytes are rotated, and whether that is too little.

        Together they are at least four times the L2 cache.
        """
        wanted = math.ceil(4 * self.cache / max(1, size))
        return min(wanted, SETS), wanted > SETS

    def poison(self, *sizes: int) -> None:
        """Leave nan (all bits set) in memory that arrays of so many bytes get next."""
        for size in sizes:
            waste = [self.cupy.empty(size, "uint8") for _ in range(2)]
            for each in waste:
                each.fill(255)

    def tidy(self) -> None:
        """Give the memory of the last row back."""
        gc.collect()
        if self.toy:
            return
        if self.cupy is not None:
            self.cupy.get_default_memory_pool().free_all_blocks()
        if self.torch is not None:
            self.torch.cuda.empty_cache()

    def healthy(self) -> bool:
        """Whether the device still works; after an illegal address nothing does."""
        try:
            if self.cupy is not None:
                works = float(self.cupy.ones(2).sum()) == 2.0
                self.cupy.cuda.Device().synchronize()
            else:
                works = self.torch.ones(2, device=self.torch_device).sum().item() == 2.0
        except Exception:
            return False
        return works


def _shared(array: Any) -> Any:
    import torch

    return torch.from_dlpack(array)


def full_precision(torch: Any) -> None:
    """PyTorch may use TF32 for convolutions unless it is told not to."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def cuda_lab(process: str) -> Lab:
    """The lab of a worker process, with what it may import."""
    cupy = tg = torch = clock = None
    cache = 0
    if process in (BOTH, PYTORCH):
        torch = importlib.import_module("torch")
        full_precision(torch)
    if process in (BOTH, OURS):
        cupy = importlib.import_module("cupy")
        tg = importlib.import_module("tinygrad_softmax")
        number = cupy.cuda.Device().id
        cache = cupy.cuda.runtime.getDeviceProperties(number)["l2CacheSize"]
        tg.manual_seed(0)
        if process == BOTH:
            clock = CudaClock(cupy, torch, cache)
    return Lab(cupy, tg, torch, clock, cache)


# -- the peak of memory ----------------------------------------------------------------


@contextlib.contextmanager
def peak_of_ours(cupy: Any) -> Iterator[Callable[[], dict[str, int]]]:
    """Bytes in arrays at the highest, and what CuPy's pool held in the end."""
    pool = cupy.get_default_memory_pool()
    highest = [pool.used_bytes()]

    class Watch(cupy.cuda.MemoryHook):
        name = "the peak"

        def malloc_postprocess(self, **_: Any) -> None:
            highest[0] = max(highest[0], pool.used_bytes())

    with Watch():
        yield lambda: {"used": highest[0], "held": pool.total_bytes()}


@contextlib.contextmanager
def peak_of_theirs(torch: Any) -> Iterator[Callable[[], dict[str, int]]]:
    torch.cuda.reset_peak_memory_stats()
    yield lambda: {
        "used": torch.cuda.max_memory_allocated(),
        "held": torch.cuda.max_memory_reserved(),
    }
