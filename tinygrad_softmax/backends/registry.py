"""Which backend an array or a device string belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
)
from contextvars import ContextVar
from typing import Any

import numpy as np

from .base import Backend
from .numpy import NumpyBackend

_cpu = NumpyBackend()
_by_name: dict[str, Backend] = {"cpu": _cpu}
_by_type: dict[type, Backend] = {np.ndarray: _cpu}
several_devices: set[type] = set()  # array types of backends with more than one
_HERE = nullcontext()
_SCALARS = (np.generic, bool, int, float)
_default: ContextVar[str | None] = ContextVar("default_device", default=None)


def register_backend(backend: Backend, *array_types: type) -> None:
    """Make a backend known by its name (a device string) and its array types.

    `backend` is an instance of a subclass of `Backend`; it inherits every kernel as
    plain array code. Registering a name again replaces the earlier backend.

    >>> register_backend("cuda")
    Traceback (most recent call last):
    ...
    TypeError: register_backend got a str; it needs an instance of a subclass of Backend
    """
    if not isinstance(backend, Backend):
        raise TypeError(
            f"register_backend got a {type(backend).__name__}; it needs an instance "
            "of a subclass of Backend"
        )
    _by_name[backend.name] = backend
    _by_type.update(dict.fromkeys(array_types, backend))
    if backend.device_count() > 1:
        several_devices.update(array_types)


def backend_of(array: Any) -> Backend:
    """The backend that an array lives on. Python and NumPy scalars live on the CPU."""
    found = _by_type.get(type(array))
    return _search(array) if found is None else found


def _search(array: Any) -> Backend:
    if isinstance(array, _SCALARS):
        return _cpu
    if type(array).__module__.split(".")[0] == "cupy":  # someone else's CuPy array
        return _cuda()
    for array_type, backend in _by_type.items():
        if isinstance(array, array_type):
            return backend
    raise TypeError(
        f"no backend holds a {type(array).__name__}; expected a tensor, a NumPy or "
        "CuPy array, or one of a type given to register_backend; mend: tg.tensor(...)"
    )


def there(array: Any) -> AbstractContextManager:
    """A context in which new arrays are made on the device of `array`."""
    if not several_devices:
        return _HERE
    backend = backend_of(array)
    return backend.on(backend.device_of(array))


def numbers_there(array: Any, count: int, start: int = 0) -> Any:
    """`count` whole numbers from `start` on, on the device of `array`.

    >>> import numpy as np
    >>> numbers_there(np.zeros(1), 3, start=2)
    array([2, 3, 4])
    """
    with there(array):
        return backend_of(array).xp.arange(start, start + count)


def check_devices(
    name: str, a: Any, b: Any, what: tuple[str, str] = ("one input", "another")
) -> None:
    """Raise ValueError, naming both, if the arrays a and b are on two devices."""
    if type(a) is type(b) and not several_devices:
        return
    first, second = (backend_of(each).device_of(each) for each in (a, b))
    if first != second:
        raise ValueError(
            f"{name}: {what[0]} is on {first!r}, but {what[1]} is on {second!r}; mend: "
            f"move one of them, x.to({first!r})"
        )


def is_number(value: Any) -> bool:
    """Whether a value is a Python or NumPy scalar, which is weak beside a tensor."""
    return isinstance(value, _SCALARS)


def namespace(*arrays: Any) -> Any:
    """The array namespace (`numpy`, `cupy`, ...) of the first array among `arrays`.

    >>> import numpy as np
    >>> namespace(np.ones(2)).__name__
    'numpy'
    """
    for array in arrays:
        backend = _by_type.get(type(array))
        if backend is not None:
            return backend.xp
    return backend_of(arrays[0]).xp


def _cuda() -> Backend:
    if "cuda" not in _by_name:
        from .cupy import make_backend  # CuPy is imported when it is asked for

        backend = make_backend()
        register_backend(backend, backend.array_type)
    return _by_name["cuda"]


def resolve_device(device: str | None = None) -> tuple[Backend, str]:
    """The backend and the full name of a device: "cpu", "cuda" or "cuda:1".

    `None` means the default device. Raises ValueError for an unknown name and
    RuntimeError, saying what was found and what to install, where there is no GPU.
    """
    if device is None:
        device = default_device()
    if not isinstance(device, str):
        raise TypeError(
            f"device was given as {device!r}; expected a string: "
            '"cpu", "cuda", "cuda:1"'
        )
    name, _, index = device.partition(":")
    if (name not in _by_name and name != "cuda") or (index and not index.isdecimal()):
        known = ", ".join(repr(each) for each in sorted({*_by_name, "cuda", "cuda:1"}))
        raise ValueError(f"device {device!r} is not known; expected one of {known}")
    backend = _cuda() if name == "cuda" else _by_name[name]
    return backend, backend.device_name(int(index) if index else None)


def for_another_thread() -> AbstractContextManager:
    """A context that makes another thread work where this one does now.

    A CUDA device and stream are current in one thread only. Nothing of CUDA is touched
    unless it has been used before.
    """
    return _entered([backend.for_another_thread() for backend in _by_name.values()])


@contextmanager
def _entered(contexts: list[AbstractContextManager]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in contexts:
            stack.enter_context(each)
        yield


def cuda_is_available() -> bool:
    """Whether `device="cuda"` works here: CuPy, a driver, a device, its libraries.

    It never raises. `tg.zeros(1, device="cuda")` says what is missing.

    >>> cuda_is_available() in (True, False)
    True
    """
    try:
        resolve_device("cuda")
    except RuntimeError:
        return False
    return True


def default_device() -> str:
    """The device that new tensors get: see `use_device`.

    >>> default_device()
    'cpu'
    """
    return _default.get() or os.environ.get("TINYGRAD_SOFTMAX_DEVICE") or "cpu"


class use_device:  # noqa: N801  (reads as a function: with use_device("cuda"): ...)
    """Set the device that new tensors get, as a switch or for a `with` block.

    Without it the environment variable TINYGRAD_SOFTMAX_DEVICE decides, else "cpu".
    The setting belongs to the current thread (or asyncio task). A CUDA device becomes
    CuPy's current one too.

    >>> with use_device("cpu"):
    ...     default_device()
    'cpu'
    """

    def __init__(self, device: str) -> None:
        backend, name = resolve_device(device)
        self._on = backend.on(name)
        self._on.__enter__()
        self._token = _default.set(name)

    def __enter__(self) -> use_device:
        return self

    def __exit__(self, *exc: object) -> None:
        _default.reset(self._token)
        self._on.__exit__(None, None, None)
