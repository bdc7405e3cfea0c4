"""What every group of CUDA kernels is made of."""

from __future__ import annotations

from .base import Backend
from .cuda.kernels import Kernels


class CudaKernels(Backend):
    """A backend whose kernels are compiled for the device.

    kernels: those; None where nothing can compile them, and base.py's are used.
    """

    kernels: Kernels | None = None
