"""Batch, group and instance norm on a CUDA device, by cuda/channel_*.cu.

`ChannelKernels` in norms.py is the definition, and what these are tested against. It
still does what has no kernel: arrays without elements, and mixed dtypes, but for the
numbers of the channels: they may be of the array's dtype, or of that it is computed in.
What the definition gives in float32 for an array of 16 bits, and the engine rounds to
it, `channel_blend` rounds here.

How many bytes move: sums and moments read their inputs once; `channel_affine` reads and
writes once, `channel_blend` reads two arrays and writes one. Batch norm in training so
reads its input twice forward, and its two inputs twice backward.
"""

from __future__ import annotations

from math import prod
from typing import Any

from .base import Array
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .dtypes import working_dtype

PACKS = 4  # that a thread of channel_affine.cu reads together


class CudaChannels(CudaKernels):
    """The kernels of `ChannelKernels`: two launches for sums, one for the others."""

    def channel_moments(self, x: Array) -> tuple[Array, Array]:
        """The mean and the biased variance of each channel."""
        if self.kernels is None or not takes(x):
            return super().channel_moments(x)
        x = self.xp.ascontiguousarray(x)
        mean, var = (self._channel_empty(x) for _ in range(2))
        self._channel_totals("moments", 4, (x,), None, (mean, var))
        return mean, var

    def channel_sums(
        self, g: Array, x: Array, mean: Array | None, needs: tuple[bool, bool]
    ) -> tuple[Array | None, Array | None]:
        """The sums of g and of g * (x - mean); None for what is not in `needs`."""
        if self.kernels is None or not _takes(g, x, values=(mean,)):
            return super().channel_sums(g, x, mean, needs)
        g, x = map(self.xp.ascontiguousarray, (g, x))
        plain, product = (self._channel_empty(x) if need else None for need in needs)
        if needs[0] or needs[1]:
            (mean,) = self._channel_values(x, mean)
            self._channel_totals("sums", 2, (x, g), mean, (plain, product))
        return plain, product

    def channel_affine(
        self, x: Array, mean: Array | None, scale: Array | None, shift: Array | None
    ) -> Array:
        """(x - mean) * scale + shift, in the dtype of x."""
        values = mean, scale, shift
        if self.kernels is None or not _takes(x, values=values):
            return super().channel_affine(x, mean, scale, shift)
        return self._channel_map("channel_affine", (x,), values)

    def channel_blend(
        self, g: Array, x: Array, mean: Array, offset: Array, slope: Array, scale: Array
    ) -> Array:
        """g * scale - (x - mean) * slope - offset, in the dtype of x."""
        values = mean, offset, slope, scale
        if self.kernels is None or not _takes(g, x, values=values):
            return super().channel_blend(g, x, mean, offset, slope, scale)
        return self._channel_map("channel_blend", (g, x), values)

    # -- launching ---------------------------------------------------------------

    def _channel_totals(
        self,
        name: str,
        fields: int,
        inputs: tuple[Array, ...],
        mean: Array | None,
        results: tuple[Array | None, Array | None],
    ) -> None:
        """Both stages of sums, whose partial sums have so many fields."""
        x = inputs[0]
        n, channels, places = _shape(x)
        if len(inputs) > 1:  # (the kernel of moments takes no mean)
            inputs = *inputs, mean
        columns = n > 1 and places < geometry.SHORT
        wide, vector = _wide(channels * places if columns else places, *inputs[:2])
        if columns:
            launch = geometry.channels_by_columns(n, channels * places, vector)
            width, parts = places, launch.grid[1] * launch.block[1]
            numbers: tuple[int, ...] = (launch.rows,)
        else:
            launch = geometry.channels_by_places(n, channels, places, vector)
            width, parts = 1, launch.grid[1]
            numbers = launch[2:]
        shape = fields, parts, channels, width
        partials = self.xp.empty(shape, working_dtype(x.dtype))
        stage = f"{name}_by_{'columns' if columns else 'places'}"
        arguments = (*inputs, partials, n, channels, places, *numbers)
        self._channel_kernel("channel_sums.cu", stage, x, wide)(
            launch.grid, launch.block, arguments
        )
        lanes = 32 if parts * width <= 1024 else geometry.SUMMING
        together = geometry.SUMMING // lanes
        grid = (min(-(-channels // together), geometry.MOST_BLOCKS),)
        self._channel_kernel("channel_sums.cu", f"{name}_totals", x, wide)(
            grid, (lanes, together), (partials, *results, parts, channels, width)
        )

    def _channel_map(
        self, name: str, inputs: tuple[Array, ...], values: tuple[Array | None, ...]
    ) -> Array:
        """A kernel's result for arrays and the numbers of their channels."""
        inputs = tuple(map(self.xp.ascontiguousarray, inputs))
        x = inputs[-1]
        out = self.xp.empty(x.shape, x.dtype)
        _, channels, places = _shape(x)
        # (The last elements that don't fill 16 bytes are done singly.)
        wide, vector = _wide(geometry.ACCESS, *inputs, out)
        launch = geometry.flat(x.size, PACKS * vector)
        arguments = (
            *inputs,
            *self._channel_values(x, *values),
            out,
            x.size,
            channels,
            places,
        )
        self._channel_kernel("channel_affine.cu", name, x, wide)(
            launch.grid, launch.block, arguments
        )
        return out

    def _channel_kernel(self, file: str, name: str, x: Array, wide: bool) -> Any:
        assert self.kernels is not None
        return self.kernels.get(file, name, x.dtype, WIDE=int(wide))

    def _channel_empty(self, x: Array) -> Array:
        return self.xp.empty(x.shape[1], working_dtype(x.dtype))

    def _channel_values(
        self, x: Array, *values: Array | None
    ) -> tuple[Array | None, ...]:
        """Numbers of channels as the kernels take them."""
        dtype = working_dtype(x.dtype)
        return tuple(
            v
            if v is None
            else self.xp.ascontiguousarray(v.astype(dtype, copy=False).reshape(-1))
            for v in values
        )


def _shape(x: Array) -> tuple[int, int, int]:
    """(N, C, places of a channel)."""
    return x.shape[0], x.shape[1], prod(x.shape[2:])


def _wide(columns: int, *arrays: Array | None) -> tuple[bool, int]:
    """Whether rows of so many elements are accessed 16 bytes at a time; and how many
    elements that are."""
    given = [each for each in arrays if each is not None]
    itemsize = given[0].dtype.itemsize
    wide = geometry.is_wide(columns, itemsize, *(each.data.ptr for each in given))
    return wide, geometry.ACCESS // itemsize if wide else 1


def _takes(*arrays: Array, values: tuple[Array | None, ...]) -> bool:
    """Whether there is a kernel for arrays with these numbers of their channels."""
    dtypes = arrays[0].dtype, working_dtype(arrays[0].dtype)
    return takes(*arrays) and all(v is None or v.dtype in dtypes for v in values)
