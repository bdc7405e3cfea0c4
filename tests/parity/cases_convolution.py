"""Convolutions, their transposes, and pooling."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np
from parity.harness import Case, values

LINE, PLANE = values("line", (2, 4, 7)), values("plane", (2, 4, 5, 4))
FIELD = values("field", (2, 1, 7, 8))
TIES = np.round(2.0 * values("ties", (1, 2, 7, 8)))  # of -2 ... 2
SEEN = {"return_indices": True}
INFINITE = np.where(TIES < -1.0, -np.inf, np.where(TIES > 1.0, np.nan, TIES))


def function(name: str):
    return lambda lib: getattr(lib.nn.functional, name)


def module(name: str, *args: Any, **options: Any):
    return lambda lib: getattr(lib.nn, name)(*args, **options)


def squared(made, *inputs, **options):
    """So that a linear function has a second-order product."""
    out = made(*inputs, **options)
    if isinstance(out, tuple):
        return out[0] * out[0], out[1]
    return out * out


def quietly(made, *inputs, **options):
    """PyTorch warns that it copies the input for some paddings."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding='same'")
        return made(*inputs, **options)


def named(name: str, *args: Any, **options: Any) -> str:
    shown = [str(each) for each in args]
    shown += [f"{key}={value}" for key, value in options.items()]
    return f"{name}({', '.join(shown)})"


# -- convolution -----------------------------------------------------------------------


def convolved(name, x, outputs, kernel, **options):
    """With a bias, and some from (C, ...) without."""
    groups = options.get("groups", 1)
    weight = values("weight", (outputs, x.shape[1] // groups, *kernel))
    bias = values("bias", (outputs,))
    text = named(name, kernel, **options)
    yield Case(text, function(name), (x, weight, bias), options, call=quietly)
    if "padding" not in options:
        yield Case(f"{text} of one sample", function(name), (x[0], weight), options)


def transposed(name, x, outputs, kernel, **options):
    groups = options.get("groups", 1)
    weight = values("weight", (x.shape[1], outputs // groups, *kernel))
    bias = values("bias", (outputs,))
    text = named(name, kernel, **options)
    yield Case(text, function(name), (x, weight, bias), options)
    if "padding" not in options:
        yield Case(f"{text} of one sample", function(name), (x[0], weight), options)


LINES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((3,), {}),
    ((7,), {}),
    ((2,), {"stride": 3}),
    ((3,), {"padding": 2, "dilation": 2}),
    ((3,), {"stride": (2,), "padding": 4, "dilation": (3,)}),
    ((2,), {"groups": 2}),
    ((3,), {"groups": 4, "padding": 1, "stride": 2}),
]
PLANES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1), {}),
    ((3, 3), {}),
    ((5, 4), {}),
    ((2, 3), {"stride": 2}),
    ((2, 2), {"stride": (1, 3), "padding": (2, 0)}),
    ((3, 2), {"stride": 2, "padding": (1, 3), "dilation": (2, 3)}),
    ((3, 3), {"groups": 2, "padding": 1}),
    ((2, 1), {"groups": 4, "stride": (2, 1), "dilation": 2}),
]
NAMED: list[tuple[str, int, dict[str, Any]]] = [
    ("same", 3, {}),
    ("same", 4, {}),
    ("same", 2, {"dilation": 3}),
    ("same", 4, {"groups": 2, "dilation": 3}),
    ("valid", 3, {"stride": 2}),
]
UP_LINES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((3,), {}),
    ((3,), {"stride": 2}),
    ((3,), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2,), {"stride": 4, "padding": 3, "output_padding": 3}),
    ((3,), {"dilation": 3, "padding": 2, "output_padding": 2}),
    ((4,), {"groups": 2, "stride": 3, "padding": 5}),
]
UP_PLANES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 1), {}),
    ((2, 3), {}),
    ((2, 2), {"stride": 2}),
    ((3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((3, 2), {"stride": (1, 3), "padding": (2, 0), "output_padding": (0, 2)}),
    ((2, 3), {"dilation": (3, 1), "output_padding": (2, 0)}),
    ((3, 3), {"groups": 4, "stride": 2, "padding": 2}),
    ((2, 2), {"groups": 2, "dilation": 2, "stride": (2, 1)}),
]
EMPTY = np.zeros((0, 4, 7))


def up(name: str, *sizes: Any, output_size: Any = None, **options: Any) -> Case:
    x = LINE if "1d" in name else PLANE
    text = named(name, *sizes, output_size=output_size, **options)
    given = {"output_size": output_size}
    return Case(text, module(name, *sizes, **options), (x,), given)


CASES = [
    *(c for k, o in LINES for c in convolved("conv1d", LINE, 4, k, **o)),
    *(c for k, o in PLANES for c in convolved("conv2d", PLANE, 4, k, **o)),
    *(
        c
        for padding, k, o in NAMED
        for c in convolved("conv1d", LINE, 2, (k,), padding=padding, **o)
    ),
    *(
        c
        for padding, k, o in NAMED
        for c in convolved("conv2d", PLANE, 2, (k, 2), padding=padding, **o)
    ),
    *(c for k, o in UP_LINES for c in transposed("conv_transpose1d", LINE, 2, k, **o)),
    *(
        c
        for k, o in UP_PLANES
        for c in transposed("conv_transpose2d", PLANE, 4, k, **o)
    ),
    Case("conv1d of nothing", function("conv1d"), (EMPTY, values("w", (2, 4, 3)))),
]
CASES += [
    Case(text, module(*made), (x,))
    for text, x, made in [
        ("Conv1d", LINE, ("Conv1d", 4, 3, 2)),
        ("Conv1d of one sample", LINE[0], ("Conv1d", 4, 3, 2)),
        ("Conv1d, all options", LINE, ("Conv1d", 4, 6, 3, 2, 1, 2, 2, False)),
        ("Conv2d", PLANE, ("Conv2d", 4, 3, (2, 3))),
        ("Conv2d of one sample", PLANE[0], ("Conv2d", 4, 3, 3, 2, 1)),
        (
            "Conv2d, all options",
            PLANE,
            ("Conv2d", 4, 6, 3, (2, 1), 1, (1, 2), 2, False),
        ),
        ("ConvTranspose1d", LINE, ("ConvTranspose1d", 4, 3, 2)),
        (
            "ConvTranspose1d, all options",
            LINE,
            ("ConvTranspose1d", 4, 6, 3, 2, 1, 1, 2, False, 2),
        ),
        ("ConvTranspose2d", PLANE, ("ConvTranspose2d", 4, 3, (2, 3), 2)),
        (
            "ConvTranspose2d, all options",
            PLANE,
            ("ConvTranspose2d", 4, 6, 3, (2, 3), 1, (1, 2), 2, False, 2),
        ),
    ]
]
for mode, padding, dilation in product(
    ("reflect", "replicate", "circular"), (2, "same", "valid"), (1, 2)
):
    options = dict(padding=padding, dilation=dilation, padding_mode=mode)
    CASES += [
        Case(named("Conv1d", **options), module("Conv1d", 4, 2, 3, **options), (LINE,)),
        Case(
            named("Conv2d", **options),
            module("Conv2d", 4, 2, (3, 2), **options),
            (PLANE,),
        ),
    ]
CASES += [
    Case(
        "Conv2d, strided, circular",
        module("Conv2d", 4, 2, 3, 2, (1, 3), padding_mode="circular"),
        (PLANE[0],),
    ),
    up("ConvTranspose1d", 4, 2, 3, 2, output_size=[16]),
    up("ConvTranspose1d", 4, 2, 3, 4, 1, output_size=(2, 2, 28)),
    up("ConvTranspose2d", 4, 2, 3, 2, 1, output_size=[9, 8]),
    up("ConvTranspose2d", 4, 2, 2, (3, 1), output_size=[16, 6], dilation=2),
]

# -- pooling ---------------------------------------------------------------------------


def pooled(name: str, x: np.ndarray, *args: Any, **options: Any):
    """Of a batch and, some, of a single sample, with a second order."""
    text = named(name, *args, **options)

    def make(lib):
        pool = getattr(lib.nn.functional, name)
        return lambda x, **options: pool(x, *args, **options)

    yield Case(text, make, (x,), options, call=squared)
    if not options or options == SEEN:
        yield Case(f"{text} of one sample", make, (x[0],), options, call=squared)


POOLS: list[tuple[Any, dict[str, Any]]] = [
    (2, {}),
    (3, {"stride": 2}),
    (3, {"stride": 1, "padding": 1}),
    (2, {"stride": 3, "ceil_mode": True}),
    (3, {"stride": 2, "ceil_mode": True, "padding": 1}),
    (5, {"stride": 4, "ceil_mode": True, "padding": 2}),
]
PAIRS: list[tuple[Any, dict[str, Any]]] = [
    ((2, 3), {}),
    ((3, 2), {"stride": (1, 3), "padding": (1, 0)}),
    ((2, 5), {"stride": (3, 2), "padding": (1, 2), "ceil_mode": True}),
]
DILATED: list[tuple[Any, dict[str, Any]]] = [
    (2, {"dilation": 3}),
    (3, {"stride": 1, "dilation": 2, "padding": 1, "ceil_mode": True}),
]
for k, o in [*POOLS, *DILATED]:
    CASES += pooled("max_pool1d", LINE, k, **o)
    CASES += pooled("max_pool1d", LINE, k, **o, **SEEN)
    CASES += pooled("max_pool2d", FIELD, k, **o)
    CASES += pooled("max_pool2d", TIES, k, **o, **SEEN)
for k, o in PAIRS:
    CASES += pooled("max_pool2d", FIELD, k, **o, **SEEN)
for k, o in POOLS:
    for more in ({}, {"count_include_pad": False}):
        CASES += pooled("avg_pool1d", LINE, k, **o, **more)
for k, o in [*POOLS, *PAIRS]:
    for more in ({}, {"count_include_pad": False}, {"divisor_override": 3}):
        CASES += pooled("avg_pool2d", FIELD, k, **o, **more)
for size in (1, 2, 3, 4, 7, 9, [5]):
    CASES += pooled("adaptive_avg_pool1d", LINE, size)
    CASES += pooled("adaptive_max_pool1d", LINE, size, **SEEN)
for size in (1, 2, 3, (7, 4), (None, 2), (3, None), (7, 8), (10, 5)):
    CASES += pooled("adaptive_avg_pool2d", FIELD, size)
    CASES += pooled("adaptive_max_pool2d", FIELD, size)
    CASES += pooled("adaptive_max_pool2d", np.round(FIELD), size, **SEEN)
CASES += [
    Case(
        "max_pool2d of nan and -inf",
        function("max_pool2d"),
        (INFINITE,),
        {"kernel_size": 3, "stride": 2, "padding": 1, "return_indices": True},
    ),
]
CASES += [
    Case(text, module(*made), (x,), call=squared)
    for text, x, made in [
        ("MaxPool1d", LINE, ("MaxPool1d", 2)),
        ("MaxPool1d, all options", LINE, ("MaxPool1d", 3, 2, 1, 2, True, True)),
        ("MaxPool2d", FIELD, ("MaxPool2d", (2, 3))),
        ("MaxPool2d, all options", FIELD, ("MaxPool2d", 3, (2, 1), 1, 2, True, True)),
        ("AvgPool1d", LINE, ("AvgPool1d", 2)),
        ("AvgPool1d, all options", LINE, ("AvgPool1d", 3, 2, 1, True, False)),
        ("AvgPool2d", FIELD, ("AvgPool2d", 2)),
        ("AvgPool2d, all options", FIELD, ("AvgPool2d", 3, 2, 1, True, False)),
        ("AvgPool2d with a divisor", FIELD, ("AvgPool2d", 3, 2, 1, True, False, 5)),
        ("AdaptiveAvgPool1d", LINE, ("AdaptiveAvgPool1d", 2)),
        ("AdaptiveAvgPool2d", FIELD, ("AdaptiveAvgPool2d", (None, 3))),
        ("AdaptiveMaxPool1d", LINE, ("AdaptiveMaxPool1d", 2, True)),
        ("AdaptiveMaxPool2d", FIELD, ("AdaptiveMaxPool2d", (3, 2))),
    ]
]
