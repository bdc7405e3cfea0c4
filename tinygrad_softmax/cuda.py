"""The GPUs that this process sees, and their memory: `torch.cuda`'s names.

`device` is a number, "cuda", "cuda:1", or None for the current GPU: that of the
innermost `tg.use_device("cuda:1")` or `with cupy.cuda.Device(1)`, else number 0.

Not here is what CuPy cannot say truly. `max_memory_allocated`: its pool keeps no peak,
and its memory hooks see one thread only. `Stream` and `Event` are CuPy's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .backends import cuda_is_available, resolve_device

__all__ = [
    "DeviceProperties",
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "is_available",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "synchronize",
]


class DeviceProperties(NamedTuple):
    """What a GPU is. Sizes are in bytes.

    >>> card = DeviceProperties("NVIDIA H200", 9, 0, 150_119_186_432, 132, 62_914_560)
    >>> card.multi_processor_count
    132
    """

    name: str
    major: int  # of the compute capability, 9.0
    minor: int
    total_memory: int
    multi_processor_count: int
    L2_cache_size: int


def is_available() -> bool:
    """Whether `device="cuda"` works here: CuPy, a driver, a device, its libraries.

    It never raises. `tg.zeros(1, device="cuda")` says what is missing.

    >>> tg.cuda.is_available() in (True, False)
    True
    """
    return cuda_is_available()


def device_count() -> int:
    """How many GPUs this process sees; 0 where `is_available()` is False.

    >>> tg.cuda.device_count() > 0 or not tg.cuda.is_available()
    True
    """
    return resolve_device("cuda")[0].device_count() if cuda_is_available() else 0


def current_device() -> int:
    """The number of the current GPU, which "cuda" stands for.

    Raises RuntimeError, as all that follows but `empty_cache`, where there is no GPU;
    it says what was found and what to install.

    >>> tg.cuda.is_available() and tg.cuda.current_device()
    False
    """
    return _chosen(None)[2]


def synchronize(device: int | str | None = None) -> None:
    """Wait until a GPU has done all that was asked of it, on whichever stream.

    A wrong label that it met (`tg.softmax_cross_entropy`) is reported when a value is
    next read, not here.

    >>> if tg.cuda.is_available():
    ...     tg.cuda.synchronize()
    """
    backend, name, _ = _chosen(device)
    backend.synchronize(name)


def get_device_properties(device: int | str | None = None) -> DeviceProperties:
    """The name, compute capability, memory and size of a GPU.

    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_properties().total_memory > 0
    """
    backend, _, index = _chosen(device)
    found = backend.xp.cuda.runtime.getDeviceProperties(index)
    name = found["name"]
    return DeviceProperties(
        name.decode() if isinstance(name, bytes) else name,
        found["major"],
        found["minor"],
        found["totalGlobalMem"],
        found["multiProcessorCount"],
        found["l2CacheSize"],
    )


def get_device_name(device: int | str | None = None) -> str:
    """The name of a GPU, such as "NVIDIA H200".

    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_name()
    """
    return get_device_properties(device).name


def get_device_capability(device: int | str | None = None) -> tuple[int, int]:
    """The compute capability of a GPU: (9, 0) is sm_90.

    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.get_device_capability() >= (7, 0)
    """
    found = get_device_properties(device)
    return found.major, found.minor


def mem_get_info(device: int | str | None = None) -> tuple[int, int]:
    """(free, total) bytes of a GPU, as the driver counts them: for all its programs.

    What CuPy keeps for later arrays is not free: `empty_cache`.

    >>> if tg.cuda.is_available():
    ...     free, total = tg.cuda.mem_get_info()
    ...     assert free <= total
    """
    backend, name, _ = _chosen(device)
    found = backend.memory_stats(name)
    return found["device_total"] - found["device_used"], found["device_total"]


def memory_stats(device: int | str | None = None) -> dict[str, int]:
    """The bytes of a GPU that are in arrays, and that CuPy's memory pool holds.

    "allocated_bytes.all.current" and "reserved_bytes.all.current": of PyTorch's dict
    the entries that CuPy can give. Both are of CuPy's default pool; a program that gave
    `cupy.cuda.set_allocator` another asks that one.

    >>> if tg.cuda.is_available():
    ...     assert len(tg.cuda.memory_stats()) == 2
    """
    backend, name, _ = _chosen(device)
    found = backend.memory_stats(name)
    return {
        "allocated_bytes.all.current": found["pool_used"],
        "reserved_bytes.all.current": found["pool_total"],
    }


def memory_allocated(device: int | str | None = None) -> int:
    """The bytes of a GPU that are in arrays now.

    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.memory_allocated() <= tg.cuda.memory_reserved()
    """
    return memory_stats(device)["allocated_bytes.all.current"]


def memory_reserved(device: int | str | None = None) -> int:
    """The bytes of a GPU that CuPy's pool holds: in arrays, and kept for later ones.

    >>> if tg.cuda.is_available():
    ...     assert tg.cuda.memory_reserved() >= 0
    """
    return memory_stats(device)["reserved_bytes.all.current"]


def empty_cache() -> None:
    """Give back what CuPy's pools keep for later arrays, on every GPU.

    Other programs, and other libraries of this one, can then use it. What is in arrays
    stays. Page-locked host memory that no upload needs any more is given back too
    (PyTorch keeps it). It does nothing where CUDA was not used yet.

    >>> tg.cuda.empty_cache()
    """
    from .backends import registry

    backend: Any = registry._by_name.get("cuda")
    if backend is not None:
        backend.empty_cache()


def _chosen(device: int | str | None) -> tuple[Any, str, int]:
    """The backend, full name and number of a GPU."""
    if type(device) is int:
        if device < 0:
            raise ValueError(
                f"the GPU was given as {device}; expected a number >= 0 or a name, "
                "'cuda:1'"
            )
        device = f"cuda:{device}"
    name: Any = "cuda" if device is None else device
    if isinstance(name, str) and name.partition(":")[0] != "cuda":
        raise ValueError(
            f"device {name!r} is no GPU; expected a number, 'cuda' or 'cuda:1'"
        )
    backend, full = resolve_device(name)
    return backend, full, int(full.partition(":")[2])
