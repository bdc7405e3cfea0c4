"""What may stand beside a Variable as an input, and what is said if it may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends import check_devices, is_number, several_devices, there
from .graph import Variable

WEAK = frozenset((float, int, bool, type(None)))  # what adapts to the array beside it
PLAIN = WEAK | {tuple, str}  # static parameters that need no look


def on_device(name: str, forward: Callable, *arrays: Any, **statics: Any) -> Any:
    """Where there are several GPUs: a forward run on the one that holds its arrays."""
    held = [array for array in arrays if type(array) in several_devices]
    if not held:
        return forward(*arrays, **statics)
    for other in held[1:]:
        check_devices(name, held[0], other)
    with there(held[0]):
        return forward(*arrays, **statics)


def aligned(name: str, arrays: Any) -> tuple:
    """Check what stands beside a Variable: arrays of one backend, None, or scalars.

    Scalars are weak: NumPy's become Python's, so that float32 stays float32.
    """
    checked, first = [], None
    for value in arrays:
        if type(value) in WEAK:
            checked.append(value)
            continue
        if isinstance(value, (list, tuple)):
            raise TypeError(
                f"{name}: a {type(value).__name__} was given beside a tensor; mend: "
                "make a tensor of it, tg.tensor([...])"
            )
        if not hasattr(value, "ndim"):
            raise TypeError(
                f"{name}: a {type(value).__name__} was given beside a tensor; expected "
                "a tensor, an array or a number"
            )
        if value.ndim == 0 and not hasattr(value, "__setitem__"):
            checked.append(value.item())  # a NumPy scalar
            continue
        if first is None:
            first = value
        elif type(value) is not type(first):
            check_devices(name, first, value)
        checked.append(value)
    return tuple(checked)


def static(name: str, key: str, value: Any) -> Any:
    """A static parameter's value, which must be no tensor; NumPy's scalars are weak."""
    if isinstance(value, Variable):
        raise TypeError(
            f"{name}: a tensor was given as {key}=, which is static and carries no "
            f"gradient; mend: give a plain value, {key}=tensor.item() or "
            f"{key}=tensor.numpy()"
        )
    return value.item() if is_number(value) and hasattr(value, "item") else value


def explained(error: Exception, name: str, arrays: Any) -> Exception:
    """The same kind of error, naming the op and what it was given."""
    text = str(error)
    if text.startswith(name):
        return error
    given = ", ".join(
        f"{x.dtype}{list(x.shape)}" if hasattr(x, "shape") else repr(x) for x in arrays
    )
    for kind in (IndexError, TypeError, ValueError):
        if isinstance(error, kind):
            return kind(f"{name}: {text} (the inputs were {given})")
    return error
