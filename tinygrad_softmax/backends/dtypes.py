"""Element types: their names, which can carry a gradient, and the default one.

Every dtype here is a plain `numpy.dtype`, on the CPU and on the GPU alike.
`bfloat16` is a name until it is used: NumPy has no such type, `ml_dtypes` adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

float16 = np.dtype("float16")
float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
uint16 = np.dtype("uint16")
uint32 = np.dtype("uint32")
uint64 = np.dtype("uint64")
bool_ = np.dtype("bool")
bfloat16 = "bfloat16"  # a name: see as_dtype

_NAMES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32",
          "int64", "uint8", "uint16", "uint32", "uint64", "bool")  # fmt: skip
_default = float32
# The 16-bit dtype of products by kind of device, under `tg.autocast`.
autocast_dtypes: ContextVar[Mapping[str, Any] | None]
autocast_dtypes = ContextVar("autocast", default=None)


def as_dtype(dtype) -> np.dtype:
    """The `numpy.dtype` meant by a dtype, a NumPy scalar type, or a name.

    Raises TypeError for a complex or unknown type, and ImportError for
    "bfloat16" where `ml_dtypes` is not installed.

    >>> as_dtype("float32")
    dtype('float32')
    """
    if isinstance(dtype, str) and dtype == "bfloat16":
        return _bfloat16()
    try:
        found = np.dtype(dtype)
    except TypeError:
        mend = "; mend: a shape is a tuple, tg.zeros((2, 3))"
        raise TypeError(
            f"dtype {dtype!r} is not known; use one of {', '.join(_NAMES)}"
            f"{mend if isinstance(dtype, int) else ''}"
        ) from None
    if found.name not in _NAMES:
        raise TypeError(
            f"dtype {found.name} is not supported: tensors hold real numbers, "
            f"integers or bools; use one of {', '.join(_NAMES)}"
        )
    return found


def _bfloat16() -> np.dtype:
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            "bfloat16 needs the package ml_dtypes, which is not installed; "
            'mend: pip install "tinygrad-softmax[bfloat16]"'
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def is_floating(dtype: np.dtype) -> bool:
    """Whether a dtype can carry a gradient: float16, bfloat16, float32, float64.

    >>> is_floating(float16), is_floating(int64), is_floating(bool_)
    (True, False, False)
    """
    # ml_dtypes' types are of kind "V" to NumPy; asking for the name is slow.
    return dtype.kind == "f" or (dtype.kind == "V" and dtype.name == "bfloat16")


def is_half(dtype: np.dtype) -> bool:
    """Whether a dtype has 16 bits and so is summed in float32."""
    return dtype.itemsize == 2 and is_floating(dtype)


def scales_late(dtype: np.dtype) -> bool:
    """Whether a gradient over a mean's divisor would be flushed to 0: in float16, whose
    smallest number is 6e-8. (bfloat16's is that of float32.)"""
    return dtype == float16


def working_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype that arithmetic on `dtype` is done in: float32 for 16-bit floats."""
    return float32 if is_half(dtype) else dtype


def get_default_dtype() -> np.dtype:
    """The dtype that Python floats get when they become a tensor.

    >>> get_default_dtype()
    dtype('float32')
    """
    return _default


def set_default_dtype(dtype) -> None:
    """Set the dtype that Python floats get when they become a tensor.

    It is one setting for the whole process, as in PyTorch.

    >>> set_default_dtype("float64")
    >>> set_default_dtype("float32")
    """
    global _default
    found = as_dtype(dtype)
    if not is_floating(found):
        raise TypeError(
            f"the default dtype was given as {found}, but must be a floating one: "
            "float16, bfloat16, float32 or float64"
        )
    _default = found
