"""What the losses share: their inputs made ready, and their reduction."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends.dtypes import is_floating
from ...ops.cross_entropy_checks import check_floating
from .precision import wide

REDUCTIONS = ("mean", "sum", "none")


def pair(name: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Input and target in the dtype that is computed in: float32 for 16-bit floats.

    A target that is no float takes the input's. Shapes must be the same: PyTorch's
    losses broadcast with a warning, which turns (N,) against (N, 1) into N x N losses.
    """
    check_floating(name, "the input is", input)
    if not hasattr(target, "ndim"):
        raise TypeError(
            f"{name}: the target is a {type(target).__name__}; expected a tensor or an "
            "array; mend: tg.tensor(target)"
        )
    if tuple(input.shape) != tuple(target.shape):
        raise ValueError(
            f"{name}: the target has shape {tuple(target.shape)}; expected the "
            f"input's, {tuple(input.shape)}; mend: reshape one of them, for "
            "broadcasting would compare each with all"
        )
    x = wide(input)
    return x, wide(target) if is_floating(target.dtype) else target.astype(x.dtype)


def same_shape(name: str, weight: Any, input: Any) -> Any:
    """A weight for each element, after the check that it has the input's shape."""
    if tuple(weight.shape) != tuple(input.shape):
        raise ValueError(
            f"{name}: weight has shape {tuple(weight.shape)}; expected the input's, "
            f"{tuple(input.shape)}"
        )
    return weight


def check_reduction(
    name: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS
) -> None:
    """Raise ValueError for a reduction that is none."""
    if reduction not in allowed:
        raise ValueError(
            f"{name}: reduction was given as {reduction!r}; expected one of {allowed}"
        )


def reduced(losses: Any, reduction: str) -> Any:
    """Their mean, their sum, or they themselves."""
    if reduction == "none":
        return losses
    return ops.mean(losses) if reduction == "mean" else ops.sum(losses)
