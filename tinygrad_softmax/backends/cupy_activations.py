"""Activations on a CUDA device, by kernels: cuda/activations.cu, bias_activations.cu.

One kernel forward and one backward, which reads the gradient and what the rule names
and keeps nothing else: gelu's slope is made again, of an input that is kept anyway.
16-bit floats are computed in float32 and rounded once.

The plain functions of activations.py and gelus.py are the definition, and what these
are tested against. They still do what has no kernel: integers, arrays without elements,
arrays of different shapes or dtypes, tanh forward (CuPy has it as one kernel).
"""

from __future__ import annotations

from operator import mul
from typing import Any

from . import activations
from .base import Array
from .biased import Product
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .dtypes import working_dtype

KERNELS = {
    activations.sigmoid: "sigmoid",
    activations.sigmoid_grad: "sigmoid_grad",
    activations.softplus: "softplus",
    activations.softplus_grad: "softplus_grad",
    activations.silu: "silu",
    activations.silu_grad: "silu_grad",
}
GELU = {"none": "gelu", "tanh": "gelu_tanh"}


class CudaActivations(CudaKernels):
    """The kernels of base.py that treat every element by itself, one launch each."""

    def elementwise(self, function: Any, *arrays: Array) -> Array:
        """The function by its kernel, where it has one."""
        name = KERNELS.get(function)
        if name is None or not self._activation_fits(*arrays):
            return super().elementwise(function, *arrays)
        return self._activated(name, *arrays)

    def relu(self, x: Array) -> Array:
        """The larger of x and 0, element by element."""
        if not self._activation_fits(x):
            return super().relu(x)
        return self._activated("relu", x)

    def relu_grad(self, g: Array, out: Array) -> Array:
        """The gradient of relu's input, from its output's and its output."""
        if not self._activation_fits(g, out):
            return super().relu_grad(g, out)
        return self._activated("relu_grad", g, out)

    def tanh_grad(self, g: Array, out: Array) -> Array:
        """The gradient of tanh's input, from its output's and its output."""
        if not self._activation_fits(g, out):
            return super().tanh_grad(g, out)
        return self._activated("tanh_grad", g, out)

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """x times the normal distribution function of x; no slope: `gelu_grad`."""
        if not self._activation_fits(x):
            return super().gelu(x, approximate, with_grad)
        return self._activated(GELU[approximate], x), None

    def gelu_grad(
        self, g: Array, x: Array, slope: Any, approximate: str, product: Product = mul
    ) -> Array:
        """The gradient of gelu's input, from its output's and its input."""
        if slope is not None or not self._activation_fits(g, x):
            return super().gelu_grad(g, x, slope, approximate, product)
        return self._activated(f"{GELU[approximate]}_grad", g, x)

    def bias_activation(
        self, x: Array, bias: Array, activation: str, with_grad: bool
    ) -> tuple[Array, Any]:
        """activation(x + bias), and what `bias_activation_grad` wants: x, or of relu
        the result. Where x is not wanted it is written over."""
        if not self._activation_fits(x):
            return super().bias_activation(x, bias, activation, with_grad)
        if x.dtype != bias.dtype:
            dtype = self.xp.result_type(x.dtype, bias.dtype)
            x, bias = x.astype(dtype, copy=False), bias.astype(dtype, copy=False)
        x, bias = self.xp.ascontiguousarray(x), self.xp.ascontiguousarray(bias)
        keeps_x = with_grad and activation != "relu"
        out = self.xp.empty(x.shape, x.dtype) if keeps_x else x
        wide, tiles = self._bias_tiles(x, out)
        self._launch_bias_tiles(activation, wide, tiles, x, (x, bias, out))
        return out, (x if keeps_x else out) if with_grad else None

    def bias_activation_grad(
        self,
        g: Array,
        kept: Array,
        bias: Array,
        activation: str,
        needs_bias: bool,
        product: Product = mul,
    ) -> tuple[Array, Array | None]:
        """The gradients of x and bias (None if not needed): one pass, and the sums of
        columns of its tiles."""
        if not self._activation_fits(kept):
            return super().bias_activation_grad(
                g, kept, bias, activation, needs_bias, product
            )
        g, bias = (
            self.xp.ascontiguousarray(each.astype(kept.dtype, copy=False))
            for each in (g, bias)
        )
        columns, work = kept.shape[-1], working_dtype(kept.dtype)
        dx = self.xp.empty(kept.shape, kept.dtype)
        wide, tiles = self._bias_tiles(kept, g, dx)
        down = tiles.grid[0]
        sums = self.xp.empty((down, columns), work) if needs_bias else None
        added = None if activation == "relu" else bias
        name, given = f"{activation}_grad", (g, kept, added, dx, sums)
        vector = geometry.vector(kept.itemsize, wide)
        shared = vector * geometry.WARP * geometry.DEEP * work.itemsize
        self._launch_bias_tiles(name, wide, tiles, kept, given, shared)
        if sums is None:
            return dx, None
        d_bias = self.xp.empty(bias.shape, bias.dtype)
        kernel = self._activation_kernel(
            "bias_activations.cu", "sum_tiles", bias.dtype, wide
        )
        grid, block = (-(-columns // geometry.WARP),), (geometry.WARP, geometry.OF_SUM)
        shared = geometry.WARP * geometry.OF_SUM * work.itemsize
        kernel(grid, block, (sums, d_bias, down, columns), shared)
        return dx, d_bias

    # -- launching ---------------------------------------------------------------

    def _activation_fits(self, *arrays: Array) -> bool:
        """Whether there are kernels, and these are arrays of one shape and dtype."""
        if self.kernels is None or not all(hasattr(x, "__setitem__") for x in arrays):
            return False
        return takes(*arrays) and all(x.shape == arrays[0].shape for x in arrays)

    def _activation_kernel(self, file: str, name: str, dtype: Any, wide: bool) -> Any:
        assert self.kernels is not None
        return self.kernels.get(file, name, dtype, WIDE=int(wide))

    def _activated(self, name: str, *inputs: Array) -> Array:
        """The result of a kernel of activations.cu."""
        x = inputs[0]
        out = self.xp.empty(x.shape, x.dtype)
        inputs = tuple(map(self.xp.ascontiguousarray, inputs))  # () becomes (1,)
        launch = geometry.elements(x.size, x.itemsize, len(inputs))
        kernel = self._activation_kernel("activations.cu", name, x.dtype, True)
        kernel(launch.grid, launch.block, (*inputs, out, x.size))
        return out

    def _bias_tiles(self, *arrays: Array) -> tuple[bool, geometry.Tiles]:
        """Whether these rows can be accessed 16 bytes at a time, and in which tiles."""
        x = arrays[0]
        columns, pointers = x.shape[-1], (each.data.ptr for each in arrays)
        wide = geometry.is_wide(columns, x.itemsize, *pointers)
        vector = geometry.vector(x.itemsize, wide)
        return wide, geometry.tiles(x.size // columns, columns, vector)

    def _launch_bias_tiles(
        self,
        name: str,
        wide: bool,
        tiles: geometry.Tiles,
        rows: Array,
        given: tuple,
        shared: int = 0,
    ) -> None:
        """Run a kernel of bias_activations.cu over `rows`."""
        kernel = self._activation_kernel("bias_activations.cu", name, rows.dtype, wide)
        columns = rows.shape[-1]
        sizes = (rows.size // columns, columns, tiles.rows)
        kernel(tiles.grid, tiles.block, (*given, *sizes), shared)
