"""Mixed precision: products in 16 bits, everything else as it comes.

Under `autocast`, the public functions whose cost is products (`matmul` and so `@`,
`einsum`, `nn.functional.linear`, convolutions) cast their float32 inputs to a 16-bit
dtype. The casts are ops: a float32 weight gets a float32 gradient. Losses need nothing
here: those of 16-bit inputs are computed in float32, and are float32, in any case.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from ..autograd.core_ops import cast
from ..backends import backend_of
from ..backends.dtypes import as_dtype, autocast_dtypes, float32, is_half

_dtype_by_device = autocast_dtypes.get


class autocast(ContextDecorator):  # noqa: N801  (PyTorch's name; also a decorator)
    """Compute products in 16 bits, for a block or a function: `torch.autocast`.

    Weights stay float32, and so do their gradients; gradients on the way may underflow
    in float16, for which `GradScaler` scales the loss. Arithmetic inside a product and
    every sum of 16-bit numbers is float32. float64 is left alone. (P. Micikevicius et
    al., "Mixed precision training", ICLR 2018.) Casts of weights are not cached.

    Args:
        device_type: "cpu", "cuda": tensors of other devices are left alone.
        dtype: float16 or bfloat16; by default float16 on CUDA, bfloat16 on the CPU.
        enabled: False ends an outer block's casting inside this one.

    Raises:
        TypeError: dtype has not 16 bits, or device_type is no string.
        ImportError: bfloat16 on the CPU without the package ml_dtypes.

    >>> x = tg.ones((2, 2))
    >>> with tg.autocast("cpu", dtype=tg.float16):
    ...     (x @ x).dtype
    dtype('float16')
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True
    ) -> None:
        if not isinstance(device_type, str):
            raise TypeError(
                f'autocast: device_type was given as {device_type!r}; expected "cpu" '
                'or "cuda"'
            )
        self._device = device_type.partition(":")[0]
        if dtype is None:
            dtype = "bfloat16" if self._device == "cpu" else "float16"
        self._dtype = None
        if enabled:
            self._dtype = as_dtype(dtype)
            if not is_half(self._dtype):
                raise TypeError(
                    f"autocast: dtype was given as {self._dtype}; expected float16 or "
                    "bfloat16"
                )
        self._tokens: list[Any] = []

    def __enter__(self) -> autocast:
        dtypes = {**(_dtype_by_device() or {})}
        dtypes.pop(self._device, None)
        if self._dtype is not None:
            dtypes[self._device] = self._dtype
        self._tokens.append(autocast_dtypes.set(dtypes))
        return self

    def __exit__(self, *exc: object) -> None:
        autocast_dtypes.reset(self._tokens.pop())


def lowered(*inputs: Any) -> tuple[Any, ...]:
    """The inputs of a product, float32 ones in 16 bits if `autocast` is on."""
    dtypes = _dtype_by_device()
    if not dtypes:
        return inputs
    result = []
    for x in inputs:
        array = getattr(x, "array", x)
        if getattr(array, "dtype", None) == float32:
            half = dtypes.get(backend_of(array).name)
            x = x if half is None else cast(x, dtype=half)
        result.append(x)
    return tuple(result)
