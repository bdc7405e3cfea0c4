"""Floor 0: where arrays live and hot loops run.

`Backend` (base.py) is the contract and the reference kernels in plain array code;
`NumpyBackend` and `CupyBackend` override what is worth doing by hand. The backend of
an operation is the backend of its arrays, never a global: `backend_of(array)`.
"""

from .base import Backend
from .buffers import free_buffers, get_buffer_limit, set_buffer_limit
from .determinism import (
    are_deterministic_algorithms_enabled,
    use_deterministic_algorithms,
)
from .random import Generator, manual_seed
from .registry import (
    backend_of,
    check_devices,
    cuda_is_available,
    default_device,
    for_another_thread,
    is_number,
    namespace,
    numbers_there,
    register_backend,
    resolve_device,
    several_devices,
    there,
    use_device,
)
from .threads import get_num_threads, set_num_threads

__all__ = [
    "Backend",
    "Generator",
    "are_deterministic_algorithms_enabled",
    "backend_of",
    "check_devices",
    "cuda_is_available",
    "default_device",
    "for_another_thread",
    "free_buffers",
    "get_buffer_limit",
    "get_num_threads",
    "is_number",
    "manual_seed",
    "namespace",
    "numbers_there",
    "register_backend",
    "resolve_device",
    "set_buffer_limit",
    "set_num_threads",
    "several_devices",
    "there",
    "use_deterministic_algorithms",
    "use_device",
]
