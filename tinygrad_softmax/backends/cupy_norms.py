"""Layer and RMS norm on a CUDA device, by cuda/norms.cu and the norms_*.cu beside it.

`NormKernels` in norms.py is the definition, and what these are tested against. It still
does what has no kernel: arrays without elements, and dtypes that the kernels don't mix.
16-bit rows may have weights of 16 bits or of 32. The gradients of rows and weight,
which the definition gives in float32, are rounded here, once, to the dtype that the
engine makes of them; the bias's is left to it, for the bias may be of another dtype.

How many bytes move, for n rows of C elements of s bytes: forward 2 n C s; backward
3 n C s up to 4096 columns (2048 of float64), beyond that 5 n C s, for the sums over
rows then read both inputs once more. A row beyond a block's registers and shared memory
is read twice, forward and backward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .base import Array
from .cuda import geometry
from .cuda.kernels import takes
from .cupy_kernels import CudaKernels
from .dtypes import working_dtype

HELD = (32, 64, 128)  # bytes of a row that a thread keeps in registers
HELD_SINGLY = (32, 64)  # where it reads single elements
HELD_OF_TWO = (32, 64)  # where it keeps two rows
HELD_OF_TWO_SINGLY = (32,)
HELD_SUMMED = (32,)  # where it keeps two rows and the sums of two, with what they lost


class _Rows(NamedTuple):
    """What all kernels of one call have in common."""

    n: int
    columns: int
    dtype: Any
    wide: bool  # 16 bytes at a time
    working: Any


class CudaNorms(CudaKernels):
    """The kernels of `NormKernels` over rows: one launch forward, two or three back."""

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array]:
        """(x - mean) / sqrt(var + eps) * weight + bias; each row's mean and scale."""
        if self.kernels is None or not _takes(x, weight, bias):
            return super().layer_norm(x, weight, bias, eps)
        mean = self.xp.empty((len(x), 1), working_dtype(x.dtype))
        out, scale = self._norm_forward("layer_norm", x, weight, bias, mean, eps)
        return out, mean, scale

    def rms_norm(
        self, x: Array, weight: Array | None, eps: float
    ) -> tuple[Array, Array]:
        """x / sqrt(mean(x^2) + eps) * weight, and each row's scale."""
        if self.kernels is None or not _takes(x, weight):
            return super().rms_norm(x, weight, eps)
        return self._norm_forward("rms_norm", x, weight, None, None, eps)

    def layer_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        mean: Array,
        scale: Array,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x, weight and bias; None for those not in `needs`."""
        if self.kernels is None or not _takes(x, weight) or g.dtype != x.dtype:
            return super().layer_norm_grad(g, x, weight, mean, scale, needs)
        return self._norm_gradients("layer_norm", g, x, weight, mean, scale, needs)

    def rms_norm_grad(
        self,
        g: Array,
        x: Array,
        weight: Array | None,
        scale: Array,
        needs: tuple[bool, bool],
    ) -> tuple[Array | None, Array | None]:
        """The gradients of x and weight; None for those not in `needs`."""
        if self.kernels is None or not _takes(x, weight) or g.dtype != x.dtype:
            return super().rms_norm_grad(g, x, weight, scale, needs)
        found = self._norm_gradients(
            "rms_norm", g, x, weight, None, scale, (*needs, False)
        )
        return found[:2]

    # -- launching ---------------------------------------------------------------

    def _norm_forward(
        self,
        name: str,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        mean: Array | None,
        eps: float,
    ) -> tuple[Array, Array]:
        x = self.xp.ascontiguousarray(x)
        weight, bias = self._norm_weights(weight, bias)
        of = _rows(x)
        out = self.xp.empty(x.shape, x.dtype)
        scale = self.xp.empty((of.n, 1), of.working)
        held = HELD if of.wide else HELD_SINGLY
        launch = geometry.rows(of.n, of.columns, of.working.itemsize, held)
        shared = self._norm_shared(of, 1) if not launch.held else 0
        self._norm_kernel("norms.cu", name, of, HELD=launch.held)(
            launch.grid,
            launch.block,
            (x, weight, bias, _is_wide(weight, bias, of=of), out, mean, scale, of.n)
            + (of.columns, float(eps), int(shared > 0)),
            shared,
        )
        return out, scale

    def _norm_gradients(
        self,
        name: str,
        g: Array,
        x: Array,
        weight: Array | None,
        mean: Array | None,
        scale: Array,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Array | None, Array | None, Array | None]:
        g, x = map(self.xp.ascontiguousarray, (g, x))
        weight, _ = self._norm_weights(weight, None)
        of = _rows(g, x)
        dx = self.xp.empty(x.shape, x.dtype) if needs[0] else None
        inputs = g, x, weight, _is_wide(weight, of=of), mean, scale
        summed = needs[1] or needs[2]
        itemsize, kinds = of.working.itemsize, 1 if mean is None else 2
        launch = geometry.summed_rows(of.n, of.columns, itemsize, HELD_SUMMED)
        partials = None
        if summed and launch.held:
            partials = self.xp.empty((launch.grid[0], kinds, of.columns), of.working)
            shared = launch.block[1] * of.columns * itemsize
            self._norm_kernel("norms_vjp.cu", f"{name}_vjp", of, HELD=launch.held)(
                launch.grid,
                launch.block,
                (*inputs, dx, partials, of.n, of.columns),
                shared if launch.block[1] > 1 else 0,
            )
        else:
            if needs[0]:
                self._norm_dx(f"{name}_dx", of, (*inputs, dx))
            if summed:
                partials = self._norm_columns(of, g, x, mean, scale, kinds)
        if partials is None:
            return dx, None, None
        dtypes = of.working if weight is None else weight.dtype, of.working
        dweight, dbias = (
            self.xp.empty(of.columns, dtype) if need else None
            for need, dtype in zip(needs[1:], dtypes, strict=True)
        )
        self._norm_totals(of, partials, dweight, dbias, dtypes[0])
        return dx, dweight, dbias

    def _norm_dx(self, name: str, of: _Rows, arrays: tuple) -> None:
        held = HELD_OF_TWO if of.wide else HELD_OF_TWO_SINGLY
        launch = geometry.rows(of.n, of.columns, of.working.itemsize, held)
        shared = self._norm_shared(of, 2) if not launch.held else 0
        self._norm_kernel("norms_dx.cu", name, of, HELD=launch.held)(
            launch.grid,
            launch.block,
            (*arrays, of.n, of.columns, int(shared > 0)),
            shared,
        )

    def _norm_columns(
        self,
        of: _Rows,
        g: Array,
        x: Array,
        mean: Array | None,
        scale: Array,
        kinds: int,
    ) -> Array:
        vector = geometry.ACCESS // of.dtype.itemsize if of.wide else 1
        launch = geometry.columns_summed(of.n, of.columns, vector)
        partials = self.xp.empty((launch.grid[1], kinds, of.columns), of.working)
        self._norm_kernel("norms_columns.cu", "column_partials", of)(
            launch.grid,
            launch.block,
            (g, x, mean, scale, partials, of.n, of.columns, launch.rows),
        )
        return partials

    def _norm_totals(
        self,
        of: _Rows,
        partials: Array,
        first: Array | None,
        second: Array | None,
        dtype: Any,
    ) -> None:
        """The sums of the partial sums, of each kind; the first in `dtype`."""
        count, kinds, columns = partials.shape
        self._norm_kernel("norms_columns.cu", "column_totals", of)(
            (-(-kinds * columns // 32),),
            (32, 16),
            (partials, first, second, int(dtype != of.working), count, columns, kinds),
        )

    def _norm_kernel(self, file: str, name: str, of: _Rows, **macros: int) -> Any:
        assert self.kernels is not None
        return self.kernels.get(file, name, of.dtype, WIDE=int(of.wide), **macros)

    def _norm_shared(self, of: _Rows, count: int) -> int:
        """Bytes of shared memory for `count` rows; 0 if a block can't have so many."""
        assert self.kernels is not None
        room = count * of.columns * of.dtype.itemsize
        return room if room <= self.kernels.limits().shared - geometry.STATIC else 0

    def _norm_weights(
        self, weight: Array | None, bias: Array | None
    ) -> tuple[Array | None, Array | None]:
        """Both contiguous, at addresses for 16 bytes; of the wider dtype of the two."""
        given = [v for v in (weight, bias) if v is not None]
        if not given:
            return None, None
        dtype = max((v.dtype for v in given), key=lambda each: each.itemsize)
        found = []
        for v in (weight, bias):
            if v is not None:
                v = self.xp.ascontiguousarray(v.astype(dtype, copy=False))
                v = v.copy() if v.data.ptr % geometry.ACCESS else v
            found.append(v)
        return found[0], found[1]


def _rows(*arrays: Array) -> _Rows:
    (n, columns), dtype = arrays[0].shape, arrays[0].dtype
    pointers = (each.data.ptr for each in arrays)
    wide = geometry.is_wide(columns, dtype.itemsize, *pointers)
    return _Rows(n, columns, dtype, wide, working_dtype(dtype))


def _takes(x: Array, *weights: Array | None) -> bool:
    """Whether there is a kernel for x with these weights, of its dtype or what it is
    computed in."""
    dtypes = x.dtype, working_dtype(x.dtype)
    return takes(x) and all(v is None or v.dtype in dtypes for v in weights)


def _is_wide(*weights: Array | None, of: _Rows) -> int:
    """Whether weights are of the working dtype, which is wider than that of x."""
    given = [v for v in weights if v is not None]
    return int(bool(given) and given[0].dtype != of.dtype)
