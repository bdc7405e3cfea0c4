"""Activations on a CUDA device, by kernels: cuda/activations.cu, bias_activations.cu.

One kernel forward and one backward, which reads the gradient and what the rule names
and keeps nothing else: gelu's slope is made again, of an input that is kept anyway.
16-bit floats are computed in float32 and rounded once.

The plain functions of activations.py and gelus.py are the definition, and what these are
tested against. They still do what has no kernel: integers, arrays without elements,
arrays of different shapes or dtypes, relu and tanh forward (CuPy has them as one kernel).
"""

from __future__ import annotations

from typing import Any

from . import activations
from .base import Array, Backend
from .cuda import geometry
from .cuda.kernels import Kernels, takes
from .dtypes import working_dtype

KERNELS = {
    activations.sigmoid: "sigmoid",
    activations.sigmoid_grad: "sigmoid_grad",
    activations.softplus: "softplus",
    activations.softplus_grad: "softplus_grad",
    activations.silu: "silu",
    activations.silu_grad: "silu_grad",
    activations.tanh_grad: "tanh_grad",
}
GELU = {"none": "gelu", "tanh": "gelu_tanh"}


class CupyActivations(Backend):
    """The kernels of base.py that treat every element by itself, one launch each."""

    kernels: Kernels | None = None

    def elementwise(self, function: Any, *arrays: Array) -> Array:
        """The function by its kernel, where it has one."""
        name = KERNELS.get(function)
        if name is None or not self._takes_flat(*arrays):
            return super().elementwise(function, *arrays)
        return self._activated(name, *arrays)

    def relu_grad(self, g: Array, out: Array) -> Array:
        """The gradient of relu's input, from its output's and its output."""
        if not self._takes_flat(g, out):
            return super().relu_grad(g, out)
        return self._activated("relu_grad", g, out)

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """x times the normal distribution function of x; `gelu_grad` makes the slope."""
        if not self._takes_flat(x):
            return super().gelu(x, approximate, with_grad)
        return self._activated(GELU[approximate], x), None

    def gelu_grad(self, g: Array, x: Array, approximate: str) -> Array:
        """The gradient of gelu's input, from its output's and its input."""
        if not self._takes_flat(g, x):
            return super().gelu_grad(g, x, approximate)
        return self._activated(f"{GELU[approximate]}_grad", g, x)

    def bias_activation(
        self, x: Array, bias: Array, activation: str, with_grad: bool
    ) -> tuple[Array, Any]:
        """activation(x + bias), and what `bias_activation_grad` wants: x, or of relu
        the result. Where x is not wanted it is written over."""
        if not self._takes_flat(x):
            return super().bias_activation(x, bias, activation, with_grad)
        if x.dtype != bias.dtype:
            dtype = self.xp.result_type(x.dtype, bias.dtype)
            x, bias = x.astype(dtype, copy=False), bias.astype(dtype, copy=False)
        x, bias = self.xp.ascontiguousarray(x), self.xp.ascontiguousarray(bias)
        keeps_x = with_grad and activation != "relu"
        out = self.xp.empty(x.shape, x.dtype) if keeps_x else x
        self._launch_tiles(activation, x, x, bias, out)
        return out, (x if keeps_x else out) if with_grad else None

    def bias_activation_grad(
        self, g: Array, kept: Array, bias: Array, activation: str, needs_bias: bool
    ) -> tuple[Array, Array | None]:
        """The gradients of x and bias (None if not needed): one pass, and the sums of
        columns of its tiles."""
        if not self._takes_flat(kept):
            return super().bias_activation_grad(g, kept, bias, activation, needs_bias)
        g, bias = (
            self.xp.ascontiguousarray(each.astype(kept.dtype, copy=False))
            for each in (g, bias)
        )
        columns, work = kept.shape[-1], working_dtype(kept.dtype)
        tiles = geometry.tiles(kept.size // columns, columns, 1).grid[0]
        dx = self.xp.empty(kept.shape, kept.dtype)
        sums = self.xp.empty((tiles, columns), work) if needs_bias else None
        added = None if activation == "relu" else bias
        self._launch_tiles(f"{activation}_grad", kept, g, kept, added, dx, sums)
        if sums is None:
            return dx, None
        d_bias = self.xp.empty(bias.shape, bias.dtype)
        kernel = self._kernel("bias_activations.cu", "sum_tiles", bias.dtype, False)
        grid = (-(-columns // geometry.WARP),)
        kernel(grid, (geometry.WARP, geometry.DEEP), (sums, d_bias, tiles, columns))
        return dx, d_bias

    # -- launching ---------------------------------------------------------------

    def _takes_flat(self, *arrays: Array) -> bool:
        """Whether there are kernels, and these are arrays of one shape and dtype."""
        if self.kernels is None or not all(hasattr(x, "__setitem__") for x in arrays):
            return False
        return takes(*arrays) and all(x.shape == arrays[0].shape for x in arrays)

    def _kernel(self, file: str, name: str, dtype: Any, wide: bool) -> Any:
        assert self.kernels is not None
        return self.kernels.get(file, name, dtype, WIDE=int(wide))

    def _activated(self, name: str, *inputs: Array) -> Array:
        """The result of a kernel of activations.cu."""
        inputs = tuple(map(self.xp.ascontiguousarray, inputs))
        x = inputs[0]
        out = self.xp.empty(x.shape, x.dtype)
        wide, launch = flat_launch(x, out, *inputs)
        kernel = self._kernel("activations.cu", name, x.dtype, wide)
        kernel(launch.grid, launch.block, (*inputs, out, x.size))
        return out

    def _launch_tiles(self, name: str, like: Array, *arrays: Array | None) -> None:
        """Run a kernel of bias_activations.cu over the rows of `like`."""
        columns, size = like.shape[-1], like.itemsize
        pointers = (each.data.ptr for each in arrays if each is not None)
        wide = geometry.is_wide(columns, size, *pointers)
        n = like.size // columns
        launch = geometry.tiles(n, columns, geometry.vector(size, wide))
        kernel = self._kernel("bias_activations.cu", name, like.dtype, wide)
        kernel(launch.grid, launch.block, (*arrays, n, columns))


def flat_launch(*arrays: Array) -> tuple[bool, geometry.Launch]:
    """Whether the arrays can be accessed 16 bytes at a time, and how a kernel of
    flat.cuh over them is launched."""
    x = arrays[0]
    pointers = (each.data.ptr for each in arrays)
    wide = geometry.is_wide(geometry.ACCESS, x.itemsize, *pointers)
    return wide, geometry.elements(x.size, geometry.vector(x.itemsize, wide))
