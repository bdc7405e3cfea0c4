"""`Backend`: the contract of a backend, and every kernel in plain array code.

The kernels here are the reference: short, written on whole arrays with nothing but the
array namespace `xp`, and the oracle of every faster version. A backend needs `name`,
`xp` and the few placement methods; it inherits the rest.

Kernels take and return raw arrays.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import prod
from operator import mul
from typing import Any

import numpy as np

from . import special
from .attention import AttentionKernels
from .biased import BiasKernels, Product
from .convolutions import ConvolutionKernels
from .dropouts import DropoutKernels
from .dtypes import is_half, working_dtype
from .gelus import gelu
from .norms import ChannelKernels, NormKernels
from .optimizers import OptimizerKernels
from .targets import LabelError, Targets, label_error

Array = Any  # an array of some backend: numpy.ndarray, cupy.ndarray, ...


class Backend(
    ConvolutionKernels,
    NormKernels,
    ChannelKernels,
    AttentionKernels,
    BiasKernels,
    DropoutKernels,
    OptimizerKernels,
):
    """Where arrays live, and the loops worth doing by hand.

    Subclass it, set `name` (the device string) and `xp` (a namespace with NumPy's
    functions), override the placement methods, and call `register_backend`.

    >>> kernels = Backend()  # each of them, in plain array code
    >>> kernels.softmax(np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """

    name: str = "abstract"
    xp: Any = np
    block_bytes: int | None = None  # copy so much at a time; None: all at once

    # -- placement ---------------------------------------------------------------

    def device_count(self) -> int:
        """How many devices of this kind there are."""
        return 1

    def device_name(self, index: int | None = None) -> str:
        """The full device string of device number `index`: "cpu", "cuda:1"."""
        if index:
            raise ValueError(
                f"device '{self.name}:{index}' was asked for, but there is only one "
                f"{self.name!r}; mend: device={self.name!r}"
            )
        return self.name

    def device_of(self, array: Array) -> str:
        """The device string of the device that holds `array`."""
        return self.name

    def on(self, device: str) -> AbstractContextManager:
        """A context in which new arrays are made on `device`."""
        return nullcontext()

    def asarray(self, data: Any, dtype: Any = None, device: str | None = None) -> Array:
        """`data` (a host array, a nested list, an array of this backend) placed here.

        Shares memory where it can.
        """
        return self.xp.asarray(data, dtype=dtype)

    def unit(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """The gradient that a walk back from a scalar begins with: 1."""
        return self.xp.ones(shape, dtype)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A result that is about to be written, on the device at hand."""
        return self.xp.empty(shape, dtype)

    def pinned(self, array: np.ndarray) -> np.ndarray:
        """The host array, copied to where `upload` can read it while the host goes on.

        The array itself where there is no such memory.
        """
        return array

    def upload(self, array: np.ndarray, device: str) -> Array:
        """What `pinned` returned, on `device`. It must not be written to any more."""
        return self.asarray(array, device=device)

    def for_another_thread(self) -> AbstractContextManager:
        """A context that makes another thread work where this one does now."""
        return nullcontext()

    def to_host(self, array: Array) -> np.ndarray:
        """The array as a `numpy.ndarray`.

        Waits for the device, then raises what it found wrong meanwhile: `check_labels`.
        """
        return np.asarray(array)

    def workers(self, nbytes: int) -> int:
        """How many threads of the host should share work on so many bytes."""
        return 1

    def synchronize(self, device: str | None = None) -> None:
        """Wait until `device` (the current one) has done what was asked of it."""

    def memory_stats(self, device: str | None = None) -> dict[str, int]:
        """Bytes in use on a device by name; empty where nothing keeps count."""
        return {}

    def empty_cache(self) -> None:
        """Give memory back that is kept for later arrays, where some is."""

    def native_generator(self, seed: tuple[int, int]) -> Any:
        """A generator with NumPy's `Generator` methods, seeded with two integers."""
        return self.xp.random.default_rng(seed)

    # -- labels ------------------------------------------------------------------

    def check_labels(
        self,
        labels: Array,
        classes: int,
        ignore_index: int | None,
        error: LabelError = label_error,
    ) -> Array | None:
        """Check class labels against [0, classes) and `ignore_index`.

        Raises `error(position, label, classes, ignore_index)` for the first bad one, at
        once. A device that should not be waited for returns a mask of the bad labels
        instead; their rows become nan, and the error is raised by the next `to_host`.
        """
        bad = self.bad_labels(labels, classes, ignore_index)
        if bad is not None and bad.any():
            first = int(bad.reshape(-1).argmax())
            row = tuple(int(i) for i in np.unravel_index(first, labels.shape))
            raise error(row, int(labels[row]), classes, ignore_index)
        return None

    def examine_labels(
        self,
        labels: Array,
        classes: int,
        ignore_index: int | None,
        error: LabelError = label_error,
    ) -> tuple[Array | None, int | None]:
        """What `check_labels` returns, and `ignore_index` if a label may be that.

        None in its place saves all that is done for ignored rows. A device that should
        not be waited for can't know.
        """
        return self.check_labels(labels, classes, ignore_index, error), ignore_index

    def bad_labels(
        self, labels: Array, classes: int, ignore_index: int | None
    ) -> Array | None:
        """A mask of the labels outside [0, classes) that are not `ignore_index`; None
        where a backend knows that there are none."""
        bad = (labels < 0) | (labels >= classes)
        return bad if ignore_index is None else bad & (labels != ignore_index)

    # -- kernels: products, sums, special functions ------------------------------

    def assign(self, array: Array, mask: Array, value: float) -> None:
        """`array[mask] = value` in place; the mask covers the first axes."""
        array[mask] = value

    def matmul(self, a: Array, b: Array) -> Array:
        """Matrix product; 16-bit operands are accumulated in float32.

        Several matrices times one are one product of all their rows.
        """
        if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
            rows = a.reshape(prod(a.shape[:-1]), a.shape[-1])
            return self.matmul(rows, b).reshape(*a.shape[:-1], b.shape[1])
        if 2 in (a.itemsize, b.itemsize):  # perhaps float16
            out = self.xp.result_type(a.dtype, b.dtype)
            a = a.astype(working_dtype(a.dtype), copy=False)
            b = b.astype(working_dtype(b.dtype), copy=False)
            return self.xp.matmul(a, b).astype(out)
        return self.xp.matmul(a, b)

    def einsum(self, subscripts: str, *operands: Array) -> Array:
        """Sum of products by index letters; 16-bit operands accumulate in float32."""
        out = self.xp.result_type(*(each.dtype for each in operands))
        wide = [each.astype(working_dtype(out), copy=False) for each in operands]
        return self.xp.einsum(subscripts, *wide, optimize=True).astype(out, copy=False)

    def sum(self, x: Array, axis: tuple[int, ...], keepdims: bool = False) -> Array:
        """The sum over some axes; float32 for 16-bit floats, which it is made in."""
        wide = working_dtype(x.dtype) if is_half(x.dtype) else None
        return self.xp.sum(x, axis=axis, dtype=wide, keepdims=keepdims)

    def where(self, condition: Array, a: Any, b: Any) -> Array:
        """a where `condition` holds, else b; they broadcast."""
        return self.xp.where(condition, a, b)

    def scatter_add(self, out: Array, index: Any, values: Array) -> None:
        """`out[index] += values` in place; an element named twice gets both.

        16-bit floats add up in float32, and are rounded once.
        """
        if is_half(out.dtype):
            wide = out.astype(working_dtype(out.dtype))
            self.scatter_add(wide, index, self.xp.asarray(values, wide.dtype))
            out[...] = wide
        else:
            self.xp.add.at(out, index, values)

    def erf(self, x: Array) -> Array:
        """2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
        return self._floating(special.erf, x)

    def erfc(self, x: Array) -> Array:
        """1 - erf(x), without the cancellation for large x."""
        return self._floating(special.erfc, x)

    def _floating(self, function: Any, x: Array) -> Array:
        """A function of NumPy's floats, for integers (float64), bfloat16 (float32) and
        another library's arrays (on the host) too."""
        if hasattr(x, "__setitem__") and not isinstance(x, np.ndarray):
            host = self._floating(function, self.to_host(x))
            return self.asarray(host, device=self.device_of(x))
        if getattr(x, "dtype", None) is None or x.dtype.kind == "f":
            return function(x)
        if is_half(x.dtype):
            return function(x.astype("float32")).astype(x.dtype)
        return function(x.astype("float64"))

    def cast(self, x: Array, dtype: Any) -> Array:
        """x in another dtype; x itself if it has it."""
        return x.astype(dtype, copy=False)

    def elementwise(self, function: Any, *arrays: Array) -> Array:
        """function(xp, *arrays), which does to every element the same."""
        return function(self.xp, *arrays)

    def relu(self, x: Array) -> Array:
        """The larger of x and 0, element by element."""
        return self.xp.maximum(x, 0)

    def relu_grad(self, g: Array, out: Array) -> Array:
        """The gradient of relu's input, from its output's and its output."""
        return self.where(out > 0, g, 0.0)

    def tanh_grad(self, g: Array, out: Array) -> Array:
        """The gradient of tanh's input, from its output's and its output."""
        return g * (1.0 - out * out)

    def gelu(self, x: Array, approximate: str, with_grad: bool) -> tuple[Array, Any]:
        """x times the normal distribution function of x, and its slope.

        None for the slope without `with_grad`, and where `gelu_grad` makes it again:
        that moves less memory on a GPU.
        """
        return gelu(self, x, approximate, with_grad)

    def gelu_grad(
        self, g: Array, x: Array, slope: Any, approximate: str, product: Product = mul
    ) -> Array:
        """The gradient of gelu's input, from its output's, its input and what `gelu`
        gave for the slope. product: of slope and g."""
        if slope is None:
            slope = gelu(self, x, approximate, True)[1]
        return product(slope, g)

    # -- kernels: softmax --------------------------------------------------------
    #
    # With m the maximum of a row, a its index, d = x - m, and s the sum of exp(d)
    # WITHOUT entry a, the softmax denominator is 1 + s and logsumexp - m = log1p(s).
    # Leaving a out, rather than subtracting 1 afterwards, keeps s exact when it is
    # tiny: that is where -log(p) and 1 - p of a confident row live.

    @np.errstate(all="ignore")
    def softmax(self, x: Array) -> Array:
        """softmax over the last axis of x, shape (n, C)."""
        e, s, _, rows, a = self._shifted(x)
        e[rows, a] = self.xp.where(self.xp.isfinite(x[rows, a]), 1.0, np.nan)
        e /= (1.0 + s)[:, None]
        return e.astype(x.dtype, copy=False)

    @np.errstate(all="ignore")
    def log_softmax(self, x: Array) -> Array:
        """log(softmax) over the last axis of x, shape (n, C): d - log1p(s)."""
        _, s, d, _, _ = self._shifted(x)
        d -= self.xp.log1p(s)[:, None]
        return d.astype(x.dtype, copy=False)

    @np.errstate(all="ignore")
    def logsumexp(self, x: Array) -> Array:
        """log(sum(exp(x))) over the last axis of x, shape (n, C): m + log1p(s).

        A row of -inf gives -inf, a row with +inf gives +inf.
        """
        _, s, _, rows, a = self._shifted(x)
        m = x[rows, a]
        s = self.xp.where(self.xp.isinf(m), s.dtype.type(0), s)
        return (m + self.xp.log1p(s)).astype(x.dtype, copy=False)

    @np.errstate(all="ignore")
    def softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of softmax's input: out * (g - sum(g * out)), rows (n, C)."""
        work = working_dtype(out.dtype)
        g, p = g.astype(work, copy=False), out.astype(work, copy=False)
        dots = (g * p).sum(axis=1, keepdims=True)
        return (p * (g - dots)).astype(out.dtype, copy=False)

    @np.errstate(all="ignore")
    def log_softmax_vjp(self, g: Array, out: Array) -> Array:
        """The gradient of log_softmax's input: g - exp(out) * sum(g), rows (n, C)."""
        work = working_dtype(out.dtype)
        g, lp = g.astype(work, copy=False), out.astype(work, copy=False)
        sums = g.sum(axis=1, keepdims=True)
        return (g - self.xp.exp(lp) * sums).astype(out.dtype, copy=False)

    def _shifted(self, x: Array) -> tuple[Array, Array, Array, Array, Array]:
        """(exp(d) with 0 at the maximum, its row sums s, d, row numbers, a)."""
        xp = self.xp
        x = x.astype(working_dtype(x.dtype), copy=False)
        rows, a = xp.arange(len(x)), x.argmax(axis=1)
        d = x - x[rows, a][:, None]
        e = xp.exp(d)
        e[rows, a] = 0.0
        return e, e.sum(axis=1), d, rows, a

    def cross_entropy(
        self,
        logits: Array,
        target: Array,
        *,
        axis: int,
        reduction: str,
        weight: Array | None,
        ignore_index: int | None,
        label_smoothing: float,
        with_grad: bool,
    ) -> tuple[Any, Array | None, Any] | None:
        """All of the op at once: the loss, its gradient or None, and the factor that
        is left out of a gradient where `scales_late`. None where a backend has no such
        kernel for it: then the op is made of `softmax_cross_entropy`."""
        return None

    @np.errstate(all="ignore")
    def softmax_cross_entropy(
        self,
        logits: Array,
        targets: Targets,
        grad: Array | None = None,
        scale: Any = 1.0,
    ) -> Array:
        """Losses of the rows of `logits` (n, C), in the working dtype.

        With u = w * t and S = sum(u), a row's loss is -sum(u * d) + S * log1p(s):
        for a proper target a sum of non-negative terms. Entries with u = 0 are
        skipped, so that 0 * -inf is 0.

        Where `grad` (n, C) is given (it may be `logits` itself, which no user sees
        then), `scale` times the gradient is written to it:
        S * exp(d) / (1 + s) - u, and at a, the one entry where y-hat - y cancels,
        (sum of u without u[a], minus u[a] * s) / (1 + s).
        """
        xp = self.xp
        e, s, d, rows, a = self._shifted(logits)
        zero = d[rows, a]  # but nan where the largest logit is infinite
        u = targets.dense(logits.shape[1], d.dtype)
        total = u.sum(axis=1)
        d *= u
        self.assign(d, u == 0, 0.0)
        loss = total * xp.log1p(s) - d.sum(axis=1)
        masks = ((targets.ignored(), 0.0), (targets.bad, np.nan))
        for mask, value in masks:
            if mask is not None:
                loss = xp.where(mask, loss.dtype.type(value), loss)
        if grad is None:
            return loss
        top = u[rows, a]
        u[rows, a] = 0.0
        e *= (total / (1.0 + s))[:, None]
        e -= u
        e[rows, a] = (u.sum(axis=1) - top * s) / (1.0 + s) + zero
        for mask, value in masks:
            if mask is not None:
                self.assign(e, mask, value)
        xp.multiply(e, scale, out=grad, casting="same_kind")
        return loss
