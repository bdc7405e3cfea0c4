"""Checks of a state that is to be loaded into an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import backend_of
from ..creation import tensor
from ..tensor import Tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

__all__ = ["check_state_dict", "loaded_groups"]

# PyTorch's switches that have no meaning here.
SWITCHES = ("foreach", "fused", "capturable", "differentiable")
# Options that PyTorch added in the course of time, with what was done before.
ADDED_LATER = {
    "maximize": False,
    "nesterov": False,
    "amsgrad": False,
    "centered": False,
    "momentum": 0,
    "decoupled_weight_decay": False,
}


def loaded_groups(
    optimizer: Optimizer, state_dict: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The groups as they will be: the loaded options, and the parameters of now."""
    caller = f"load_state_dict of {type(optimizer).__name__}"
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise KeyError(
                f"{caller}: expected a dict with 'state' and 'param_groups'; {key!r} "
                f"is missing"
            )
    saved, groups = state_dict["param_groups"], optimizer.param_groups
    if len(saved) != len(groups):
        raise ValueError(
            f"{caller}: the state has {len(saved)} parameter groups, the optimizer "
            f"has {len(groups)}"
        )
    loaded = []
    for number, (old, group) in enumerate(zip(saved, groups)):
        if len(old["params"]) != len(group["params"]):
            raise ValueError(
                f"{caller}: group {number} has {len(old['params'])} parameters in the "
                f"state and {len(group['params'])} in the optimizer"
            )
        options = {key: value for key, value in old.items() if key not in SWITCHES}
        for key in optimizer.defaults.keys() & ADDED_LATER.keys():
            options.setdefault(key, ADDED_LATER[key])
        missing = [key for key in optimizer.defaults if key not in options]
        if missing:
            raise KeyError(
                f"{caller}: group {number} of the state has no {', '.join(missing)}; "
                f"mend: load the state of a {type(optimizer).__name__}"
            )
        if isinstance(options.get("betas"), list):  # as JSON has it
            options["betas"] = tuple(options["betas"])
        optimizer.check_options(options)
        options["params"] = group["params"]
        if "param_names" in group:
            options.setdefault("param_names", group["param_names"])
        loaded.append(options)
    return loaded


def check_state_dict(
    optimizer: Optimizer,
    saved: Mapping[Any, Any],
    by_number: dict[Any, Tensor],
    groups: list[dict[str, Any]],
) -> dict[Tensor, dict[str, Any]]:
    """The state by parameter, in new tensors, after the checks."""
    name = type(optimizer).__name__
    unknown = [number for number in saved if number not in by_number]
    if unknown:
        raise KeyError(
            f"load_state_dict of {name}: there is a state for {unknown}, which is no "
            f"parameter of a group"
        )
    group_of = {id(each): group for group in groups for each in group["params"]}
    keys, shapes, state = [], [], {}
    for number, parameter in by_number.items():
        entry = {k: v for k, v in saved.get(number, {}).items() if v is not None}
        if not entry:
            continue
        state[parameter] = entry
        if optimizer.has_rule:
            arrays = optimizer.arrays_of(group_of[id(parameter)])
            keys += _wrong_keys(optimizer, number, entry, arrays)
            shapes += _wrong_shapes(optimizer, number, entry, parameter.shape)
    if keys:
        raise KeyError(f"load_state_dict of {name}: {'; '.join(keys)}")
    if shapes:
        raise ValueError(f"load_state_dict of {name}: {'; '.join(shapes)}")
    return {
        parameter: {key: _copied(value) for key, value in entry.items()}
        for parameter, entry in state.items()
    }


def _wrong_keys(
    optimizer: Optimizer, number: Any, entry: dict[str, Any], arrays: list[str]
) -> list[str]:
    """What is missing of one parameter's state, or unknown; an array whose option is
    off may be there all the same."""
    wanted = [*optimizer.state_counters, *arrays]
    missing = [key for key in wanted if key not in entry]
    known = {*wanted, *optimizer.state_arrays}
    unexpected = [key for key in entry if key not in known]
    return [
        f"{what} for parameter {number}: {', '.join(found)}"
        for what, found in (("missing", missing), ("unexpected", unexpected))
        if found
    ]


def _wrong_shapes(
    optimizer: Optimizer, number: Any, entry: dict[str, Any], shape: tuple[int, ...]
) -> list[str]:
    faults = []
    for key, value in entry.items():
        wanted = () if key in optimizer.state_counters else shape
        found = tuple(getattr(value, "shape", ()))
        if found != wanted:
            faults.append(
                f"{key} of parameter {number} has shape {found}, expected {wanted}"
            )
    return faults


def _copied(value: Any) -> Any:
    """A value of the state for this optimizer alone."""
    if isinstance(value, (str, bool, int, float)):
        return value
    if not isinstance(value, Tensor):
        try:
            backend_of(value)
        except TypeError:  # another library's tensor
            value = np.asarray(value)
    return tensor(value)
