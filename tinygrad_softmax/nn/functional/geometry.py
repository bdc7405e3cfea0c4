"""What convolution and pooling check of their arguments."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ... import ops
from ...ops.axes import check_array
from ...ops.cross_entropy_checks import check_floating


def lengths_of(
    name: str, what: str, given: Any, axes: int, least: int
) -> tuple[int, ...]:
    """A number for all axes, or one for each, as integers of at least `least`."""
    several = given if isinstance(given, (tuple, list)) else (given,)
    try:
        found = tuple(operator.index(n) for n in several)
    except TypeError:
        found = ()
    found = found * axes if len(found) == 1 else found
    if len(found) != axes or min(found) < least:
        wanted = "one integer" if axes == 1 else f"one integer or {axes}"
        raise ValueError(
            f"{name}: {what} was given as {given!r}; expected {wanted} "
            f"of at least {least}"
        )
    return found


def check_input(name: str, input: Any, axes: int) -> None:
    """Raise for what is not (N, C, *lengths) or (C, *lengths) of floats."""
    check_array(name, input)
    letters = "L" if axes == 1 else "H, W"
    if input.ndim not in (axes + 1, axes + 2):
        raise ValueError(
            f"{name}: the input has shape {tuple(input.shape)}; expected "
            f"(N, C, {letters}), or (C, {letters}) of a single sample"
        )
    check_floating(name, "the input is", input)


def on_a_batch(input: Any, axes: int, function: Callable[[Any], Any]) -> Any:
    """`function` of the input; of a single sample as of a batch of one.

    A tuple of results becomes a tuple of single ones.
    """
    if input.ndim == axes + 2:
        return function(input)
    out = function(ops.expand_dims(input, 0))
    if isinstance(out, tuple):
        return tuple(ops.squeeze(each, 0) for each in out)
    return ops.squeeze(out, 0)
