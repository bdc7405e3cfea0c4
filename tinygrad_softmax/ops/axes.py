"""Axes as users give them, checked and made plain."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def check_array(name: str, *values: Any) -> None:
    """Raise TypeError for a list, a number or anything else without a shape."""
    for value in values:
        if not hasattr(value, "ndim"):
            raise TypeError(
                f"{name}: a {type(value).__name__} was given; expected a tensor or an "
                "array; mend: tg.tensor(...)"
            )


def check_axis(name: str, axis: Any, x: Any) -> int:
    """`axis` as a number from 0, or an error that names the op and the legal range."""
    try:
        number = operator.index(axis)
    except TypeError:
        raise TypeError(
            f"{name}: axis was given as {axis!r}; expected an integer"
        ) from None
    check_array(name, x)
    ndim = x.ndim
    if not -ndim <= number < ndim:
        legal = f"{-ndim}..{ndim - 1}" if ndim else "none: it is 0-dimensional"
        raise np.exceptions.AxisError(
            f"{name}: axis {number} is out of range for shape {x.shape}; its axes are "
            f"{legal}"
        )
    return number % ndim


def check_axes(name: str, axis: Any, x: Any) -> tuple[int, ...]:
    """`axis` (None for all, an integer, or several) as distinct numbers from 0."""
    check_array(name, x)
    if axis is None:
        return tuple(range(x.ndim))
    if not isinstance(axis, (tuple, list, range)):
        return (check_axis(name, axis, x),)
    axes = tuple(check_axis(name, each, x) for each in axis)
    if len(set(axes)) < len(axes):
        raise ValueError(f"{name}: axis {axis} names an axis twice")
    return axes


def check_lengths(name: str, what: str, given: Any) -> tuple[int, ...]:
    """A shape, or another number for each axis, as integers; one stands for itself."""
    try:
        return tuple(operator.index(n) for n in given)
    except TypeError:
        pass
    try:
        return (operator.index(given),)
    except TypeError:
        raise TypeError(
            f"{name}: {what} was given as {given!r}; expected an integer, or several"
        ) from None


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` after a reduction over `axes` that keeps them with length 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def length(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """How many elements a reduction over `axes` puts together."""
    n = 1
    for axis in axes:
        n *= shape[axis]
    return n
