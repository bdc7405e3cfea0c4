"""A module's values: copied in from a `state_dict`, and moved elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..backends import there
from ..backends.dtypes import as_dtype, is_floating
from ..creation import asarray
from ..tensor import Tensor


class KeysReport(NamedTuple):
    """What `load_state_dict` returns."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def copy_state(
    own: Mapping[str, Tensor], state_dict: Mapping[str, Any], strict: bool, name: str
) -> KeysReport:
    """Copy what has the names of `own` into it; nothing unless all of it fits."""
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    given = {key: _tensor(key, state_dict[key]) for key in own if key in state_dict}
    wrong = [
        f"{key} has shape {value.shape}, expected {own[key].shape}"
        for key, value in given.items()
        if value.shape != own[key].shape
    ]
    faults = [
        f"{what}: {', '.join(keys)}"
        for what, keys in (
            ("missing keys", missing if strict else []),
            ("unexpected keys", unexpected if strict else []),
            ("wrong shapes", wrong),
        )
        if keys
    ]
    if faults:
        raise RuntimeError(f"load_state_dict of {name}: {'; '.join(faults)}")
    placed = {key: value.detach().to(own[key].device) for key, value in given.items()}
    for key, value in placed.items():
        with there(value.array):
            own[key].array[...] = value.array
    return KeysReport(missing, unexpected)


def _tensor(key: str, value: Any) -> Tensor:
    """A value of a state_dict, PyTorch's tensors included."""
    if not isinstance(value, Tensor) and hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        return asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"load_state_dict: {key} is a {type(value).__name__}; expected a tensor or "
            f"an array ({error})"
        ) from None


def names_dtype(text: str) -> bool:
    """Whether a string is the name of a dtype, and so not of a device."""
    try:
        as_dtype(text)
    except (TypeError, ImportError):
        return text == "bfloat16"
    return True


def move(tensor: Tensor, device: str | None, dtype: Any) -> None:
    """Put a parameter or a buffer elsewhere, under the same object."""
    before = tensor.array
    for each in (tensor, tensor.grad):
        if each is None:
            continue
        moved = each.detach()
        if device is not None:
            moved = moved.to(device)
        if dtype is not None and is_floating(moved.dtype):
            moved = moved.astype(dtype)
        each.array = moved.array
    if tensor.node is not None and tensor.array is not before:
        tensor.node.dtype = tensor.array.dtype
