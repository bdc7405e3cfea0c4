"""What a user gives beside an array: on its device, of its shape, of a fitting dtype.

Raw arrays only; whether one came in a tensor is said by its caller.
"""

from __future__ import annotations

from typing import Any

from .dtypes import is_floating
from .registry import backend_of, check_devices

Array = Any  # an array of some backend


def given_gradient(caller: str, array: Array, given: Any, is_tensor: bool) -> Array:
    """The gradient that was given for `array`, checked, of its dtype and device.

    What has no device (a list, a NumPy array) is placed there; a tensor must be there.

    Raises ValueError for another device or shape, or a gradient of integers.

    >>> import numpy as np
    >>> given_gradient("backward", np.zeros(2), [1.0, 2.0], False)
    array([1., 2.])
    """
    if is_tensor:
        check_devices(caller, array, given, ("the tensor", "the gradient given"))
    backend, dtype = backend_of(array), array.dtype
    given = backend.asarray(given, device=backend.device_of(array))
    if given.shape != array.shape or not is_floating(given.dtype):
        raise ValueError(
            f"{caller}: the gradient given has shape {given.shape} and dtype "
            f"{given.dtype}, but the tensor has shape {array.shape} and dtype "
            f"{dtype}; mend: give a floating gradient of the tensor's shape"
        )
    return given if given.dtype == dtype else backend.asarray(given, dtype)


def check_replacement(gradient: Array, returned: Any) -> None:
    """Raise ValueError unless what a hook returned can go on in place of a gradient.

    >>> import numpy as np
    >>> check_replacement(np.zeros(2), np.ones(2))
    """
    shape = getattr(returned, "shape", None)
    if shape != gradient.shape or not is_floating(returned.dtype):
        raise ValueError(
            f"a hook on a tensor of shape {gradient.shape} returned "
            f"{type(returned).__name__} of shape {shape}; it must return None or a "
            "floating gradient of the tensor's shape"
        )
    check_devices("a hook", gradient, returned, ("the gradient", "what it returned"))
