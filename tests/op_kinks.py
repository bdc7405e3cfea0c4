"""Conventions: what the library takes where a function has no derivative.

At a kink (relu at 0, equals in a maximum), at the edge of a domain (0^0), or far out,
where a naive formula has 0 times infinity. The gradient of the outputs' sum (or
weighted sum) is written out by hand.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_softmax import ops
from tinygrad_softmax.backends.windows import Window
from tinygrad_softmax.nn.functional import binary_losses
from tinygrad_softmax.ops.pooling import max_pool


@dataclass(frozen=True, eq=False)
class Kink:
    """An op at a kink: its inputs, and the gradient of each that is not None."""

    says: str
    op: Callable
    inputs: tuple[Any, ...]
    gradients: tuple[Any, ...]
    second: float | None = 0.0  # every derivative of the gradients' sum, if one number
    weights: tuple[float, ...] | None = None

    def __str__(self) -> str:
        return self.says


def placed(x: Any, values: Any) -> Any:
    """A constant array on the device of x."""
    return ops.to_device(np.array(values), x.device)


def of_too_few(op: Callable) -> Callable:
    """Along an axis with too few elements, where NumPy warns."""

    def quiet(x):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return op(x, axis=1)

    return quiet


TWELVE = 1e-12 / float(np.float32(1e-12))  # PyTorch has it as a float32
STEPS = [-1.0, 0.0, 2.0]
KINKS = [
    Kink("relu at 0: 0", ops.relu, ([0.0, -0.0],), ([0.0, 0.0],)),
    Kink("leaky_relu at 0: the slope", ops.leaky_relu, ([0.0],), ([0.01],)),
    Kink(
        "binary_cross_entropy, sure and right: 0; the logarithms end at -100",
        binary_losses._binary_cross_entropy,
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.0, 0.0], [100.0, -100.0]),
        second=None,
    ),
    Kink(
        "binary_cross_entropy, sure and wrong: 1 / 1e-12",
        lambda x: binary_losses._binary_cross_entropy(x, placed(x, [1.0, 0.0])),
        ([0.0, 1.0],),
        ([-1e12 * TWELVE, 1e12 * TWELVE],),
        second=None,
    ),
    Kink("elu at 0: alpha", lambda x: ops.elu(x, 0.5), ([0.0],), ([0.5],), 0.5),
    *(
        Kink(f"{says} far out: 0 and 1", op, ([-1e200, 1e200],), ([0.0, 1.0],))
        for says, op in {
            "elu": ops.elu,
            "gelu": ops.gelu,
            "gelu, tanh,": lambda x: ops.gelu(x, "tanh"),
        }.items()
    ),
    Kink("abs at 0: 0", ops.abs, ([0.0, -0.0],), ([0.0, 0.0],)),
    *(
        Kink(f"{op.__name__} at a step: 0", op, (STEPS,), ([0.0] * 3,))
        for op in (ops.sign, ops.floor, ops.ceil, ops.trunc)
    ),
    Kink("round at a step: 0", ops.round, ([0.5, 1.5],), ([0.0, 0.0],)),
    Kink(
        "clip at its limits: to x",
        ops.clip,
        ([-1.0, 2.0, 3.0], [-1.0, 0.0, 0.0], [1.0, 2.0, 2.0]),
        ([1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
    ),
    Kink(
        "clip with limits that cross: to the upper",
        ops.clip,
        ([0.0, 2.0, -2.0], [1.0] * 3, [-1.0] * 3),
        ([0.0] * 3, [0.0] * 3, [1.0] * 3),
    ),
    Kink("clip, crossed at a limit", ops.clip, ([1.0], [1.0], [-1.0]), ([0], [0], [1])),
    Kink("clip, equal limits", ops.clip, ([0.0], [1.0], [1.0]), ([0], [1], [0])),
    Kink("maximum of equals: half each", ops.maximum, ([1.0], [1.0]), ([0.5], [0.5])),
    Kink("minimum of equals: half each", ops.minimum, ([1.0], [1.0]), ([0.5], [0.5])),
    Kink("max of equals: evenly", ops.max, ([3.0, 1.0, 3.0],), ([0.5, 0.0, 0.5],)),
    Kink(
        "min of equals: evenly",
        lambda x: ops.min(x, axis=1, keepdims=True),
        ([[3.0, 1.0, 1.0, 1.0], [2.0, 3.0, 2.0, 4.0]],),
        ([[0.0, 1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, 0.5, 0.0]],),
    ),
    Kink(
        "max over several axes: evenly",
        lambda x: ops.max(x, axis=(0, 2)),
        ([[[1.0, 2.0], [0.0, 4.0]], [[2.0, 0.0], [1.0, 3.0]]],),
        ([[[0.0, 0.5], [0.0, 1.0]], [[0.5, 0.0], [0.0, 0.0]]],),
    ),
    Kink("norm at 0: 0", ops.norm, ([0.0, 0.0],), ([0.0, 0.0],)),
    *(
        Kink(
            f"norm of order {p} at 0: 0",
            lambda x, p=p: ops.norm(x, p),
            ([0.0],),
            ([0],),
        )
        for p in (1, 3, np.inf)
    ),
    Kink("std of equals: 0", ops.std, ([1.0, 1.0],), ([0.0, 0.0],)),
    Kink("hypot at the origin: 0", ops.hypot, ([0.0], [0.0]), ([0.0], [0.0])),
    Kink(
        "copysign at 0: by the signs",
        ops.copysign,
        ([0.0, -0.0, -0.0], [1.0, 1.0, -1.0]),
        ([1.0, -1.0, 1.0], [0.0] * 3),
    ),
    Kink(
        "remainder at a step: from above",
        ops.remainder,
        ([6.0, -6.0], [3.0, 3.0]),
        ([1.0, 1.0], [-2.0, 2.0]),
    ),
    Kink("floor_divide: 0", ops.floor_divide, ([6.0], [3.0]), ([0.0], [0.0])),
    Kink(
        "pow: 0 at a base or an exponent of 0",
        ops.pow,
        ([0.0, 0.0, 0.0, 2.0], [2.0, 1.0, 0.0, 0.0]),
        ([0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, np.log(2.0)]),
        None,
    ),
    Kink("pow: 0 at 0^0, at second order too", ops.pow, ([0.0], [0.0]), ([0.0], [0.0])),
    Kink("pow: an exponent of 0", lambda x: ops.pow(x, 0), ([0.0],), ([0.0],)),
    Kink(
        "index_update: an element named twice keeps the last value",
        lambda x, values: ops.index_update(x, np.array([0, -3, 1]), values),
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]),
        ([0.0, 0.0, 1.0], [0.0, 1.0, 1.0]),
    ),
    Kink(
        "index_update: the same by two arrays",
        lambda x, values: ops.index_update(x, ([0, -2], np.array([1, 1])), values),
        ([[1.0, 2.0], [3.0, 4.0]], [10.0, 20.0]),
        ([[1.0, 0.0], [1.0, 1.0]], [0.0, 1.0]),
    ),
    Kink(
        "sort: equals keep their order",
        ops.sort,
        ([2.0, 1.0, 2.0],),
        ([10.0, 1.0, 100.0],),
        weights=(1.0, 10.0, 100.0),
    ),
    Kink(
        "sort, descending: equals keep their order",
        lambda x: ops.sort(x, descending=True),
        ([2.0, 3.0, 2.0],),
        ([10.0, 1.0, 100.0],),
        weights=(1.0, 10.0, 100.0),
    ),
    Kink(
        "where: nothing from the branch not taken",
        lambda x: ops.where(placed(x, [True, False]), x, ops.sqrt(x)),
        ([0.25, 0.25],),
        ([1.0, 1.0],),
        None,
    ),
    Kink("prod of one 0", ops.prod, ([0.0, 2.0, 3.0],), ([6.0, 0.0, 0.0],), None),
    Kink("prod of two 0s", ops.prod, ([0.0, 2.0, 0.0],), ([0.0, 0.0, 0.0],), None),
    Kink(
        "mean of nothing",
        of_too_few(ops.mean),
        (np.zeros((2, 0)),),
        (np.zeros((2, 0)),),
    ),
    Kink(
        "var of too few: nan",
        of_too_few(lambda x, axis: ops.var(x, axis, correction=1)),
        ([[2.0]],),
        ([[np.nan]],),
        None,
    ),
]

# -- of max pooling --------------------------------------------------------------------


def pooled(
    kernel: tuple, stride: int, padding: int, positions: tuple, dilation: int = 1
) -> Callable:
    axes = len(kernel)
    window = Window(kernel, (stride,) * axes, (padding,) * axes, (dilation,) * axes)
    return lambda x: max_pool(x, window=window, positions=positions)


KINKS += [
    Kink(
        "max pooling of a constant plane: to the first of each window",
        pooled((2, 2), 2, 0, (2, 2)),
        (np.ones((1, 1, 4, 4)),),
        ([[[[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]]],),
    ),
    Kink(
        "max pooling of equals, overlapping: to the first, also where it is shared",
        pooled((2, 2), 1, 0, (2, 2)),
        ([[[[1.0, 5.0, 2.0], [0.0, 3.0, 5.0], [3.0, 3.0, 1.0]]]],),
        ([[[[0, 2, 0], [0, 1, 1], [0, 0, 0]]]],),
    ),
    Kink(
        "max pooling of equals beside padding: to the first inside",
        pooled((3,), 2, 1, (2,)),
        ([[[-1.0, -1.0, -1.0]]],),
        ([[[1, 1, 0]]],),
    ),
    Kink(
        "max pooling of -inf: to the first inside, not to the padding",
        pooled((3,), 2, 1, (2,)),
        ([[[-np.inf, -np.inf, -np.inf]]],),
        ([[[1, 1, 0]]],),
    ),
    Kink(
        "max pooling of -inf, dilated: the same",
        pooled((3,), 1, 1, (2,), 2),
        ([[[-np.inf, -np.inf, -np.inf, -np.inf]]],),
        ([[[1, 1, 0, 0]]],),
    ),
]

# -- and of the softmax cross-entropy --------------------------------------------------


def cross_entropy(labels: Any, **options: Any) -> Callable:
    return lambda x: ops.softmax_cross_entropy(x, placed(x, labels), **options)


NAN_ROW, INF_ROW = [np.nan, np.inf], [-np.inf, 0.0, 1.0]
P = 1.0 / (1.0 + np.exp(-1.0))  # softmax([0, 1])[1]
KINKS += [
    Kink(
        "cross-entropy: nothing from an ignored row, whatever it holds",
        cross_entropy([0, -1], ignore_index=-1),
        ([[1.0, 2.0], NAN_ROW],),
        ([[-P, P], [0.0, 0.0]],),
        None,
    ),
    Kink(
        "cross-entropy: nothing from an ignored row, whatever its loss is worth",
        cross_entropy([0, -1], ignore_index=-1, reduction="none"),
        ([[1.0, 2.0], [3.0, 4.0]],),
        ([[-P, P], [0.0, 0.0]],),
        None,
        (1.0, np.inf),
    ),
    Kink(
        "linear cross-entropy: the same",
        lambda x, weight: ops.linear_cross_entropy(
            x,
            weight,
            placed(x, [0, -1]),
            ignore_index=-1,
            reduction="none",
        ),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]),
        ([[-P, P], [0.0, 0.0]], [[-P, -2.0 * P], [P, 2.0 * P]]),
        None,
        (1.0, np.inf),
    ),
    Kink(
        "cross-entropy, all rows ignored: 0",
        cross_entropy([-1, -1], ignore_index=-1),
        ([[1.0, 2.0], NAN_ROW],),
        ([[0.0, 0.0], [0.0, 0.0]],),
    ),
    Kink(
        "cross-entropy, kept rows of weight 0: 0",
        cross_entropy([0, 0], weight=[0.0, 1.0]),
        ([[1.0, 2.0], [0.0, 1.0]],),
        ([[0.0, 0.0], [0.0, 0.0]],),
    ),
    Kink(
        "cross-entropy, kept rows of weight 0, smoothed: 0",
        cross_entropy([0, 0], weight=[0.0, 1.0], label_smoothing=0.5),
        ([[1.0, 2.0], [0.0, 1.0]],),
        ([[0.0, 0.0], [0.0, 0.0]],),
    ),
    *(
        Kink(
            f"cross-entropy of no rows, {named}",
            cross_entropy(np.zeros(0, int), **options),
            (np.zeros((0, 2)),),
            (np.zeros((0, 2)),),
        )
        for named, options in {"mean": {}, "weighted": {"weight": [1.0, 2.0]}}.items()
    ),
    Kink(
        "cross-entropy: a class of weight 0 may be impossible",
        lambda x, target: ops.softmax_cross_entropy(
            x, target, weight=[0.0, 1.0, 1.0], reduction="sum"
        ),
        ([INF_ROW], [[0.0, 0.0, 1.0]]),
        ([[0.0, 1.0 - P, P - 1.0]], [[0.0, 1.0 - np.log(P), -np.log(P)]]),
        None,
    ),
    Kink(
        "cross-entropy of a row that is all but certain",
        cross_entropy([0]),
        ([[0.0, -40.0]],),
        ([[-4.248354255291589e-18, 4.248354255291589e-18]],),
        None,
    ),
]
