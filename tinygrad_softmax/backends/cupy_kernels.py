"""What every group of CUDA kernels is made of."""

from __future__ import annotations

from .base import Array, Backend
from .cuda import geometry
from .cuda.kernels import Kernels


class CudaKernels(Backend):
    """A backend whose kernels are compiled for the device.

    kernels: those; None where nothing can compile them, and base.py's are used.
    """

    kernels: Kernels | None = None


def flat_launch(out: Array, *inputs: Array) -> tuple[bool, geometry.Launch]:
    """Whether the arrays can be accessed 16 bytes at a time, and how a kernel of
    flat.cuh over them is launched."""
    pointers = (each.data.ptr for each in (out, *inputs))
    wide = geometry.is_wide(geometry.ACCESS, out.itemsize, *pointers)
    vector = geometry.vector(out.itemsize, wide)
    return wide, geometry.elements(out.size, vector, len(inputs))
