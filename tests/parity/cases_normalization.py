"""Batch, layer, RMS, group and instance norm, and normalize."""

from __future__ import annotations

from itertools import product

import numpy as np
from parity.harness import Case, values

ROWS, LONG = values("rows", (5, 3)), values("long", (4, 3, 2))
IMAGES = values("images", (3, 4, 2, 3))
FAR = 1e4 + ROWS  # a mean that is large beside the deviation
W, B = values("w", (3,)), values("b", (3,))
MEAN, VAR = values("mean", (3,)), values("var", (3,), 0.5, 1.5)


def make(name, *args, **options):
    return lambda lib: getattr(lib.nn, name)(*args, **options)


def function(name):
    return lambda lib: getattr(lib.nn.functional, name)


def with_running(f, x, *rest, running_mean, running_var, **options):
    """The result and what became of the running values."""
    weights = dict(zip(("weight", "bias"), rest, strict=False))
    out = f(x, running_mean, running_var, **weights, **options)
    return out, running_mean, running_var


def modules():
    inputs = {"BatchNorm1d": (3, ROWS), "BatchNorm2d": (4, IMAGES)}
    options = {
        "plain": {},
        "momentum 0.3": {"momentum": 0.3},
        "averaged": {"momentum": None},
        "untracked": {"track_running_stats": False},
        "not affine": {"affine": False, "eps": 1e-3},
        "no bias": {"bias": False},
    }
    for (name, (n, x)), (what, kw) in product(inputs.items(), options.items()):
        for train in (True, False):
            text = f"{name} {what}{'' if train else ', eval'}"
            made, repeats = make(name, n, **kw), 3 if train else 1
            yield Case(text, made, (x,), train=train, repeats=repeats)
    yield Case("BatchNorm1d of long", make("BatchNorm1d", 3), (LONG,), repeats=3)
    yield Case("BatchNorm3d", make("BatchNorm3d", 3), (LONG[..., None, None],))
    for train in (True, False):
        for what, kw in {
            "plain": {},
            "affine": {"affine": True},
            "affine, no bias": {"affine": True, "bias": False},
            "tracked": {"affine": True, "track_running_stats": True},
        }.items():
            text = f"{what}{'' if train else ', eval'}"
            made = make("InstanceNorm1d", 3, **kw)
            yield Case(f"InstanceNorm1d {text}", made, (LONG,), None, train, 3)
            made = make("InstanceNorm2d", 4, **kw)
            yield Case(f"InstanceNorm2d {text}", made, (IMAGES,), None, train, 3)
    made = make("InstanceNorm1d", 3, affine=True)
    yield Case("InstanceNorm1d of one sample", made, (LONG[0],))
    yield Case("LayerNorm(3)", make("LayerNorm", 3), (ROWS,))
    yield Case("LayerNorm((2, 3))", make("LayerNorm", (2, 3)), (IMAGES,))
    yield Case("LayerNorm plain", make("LayerNorm", [3], 1e-3, False), (LONG.mT,))
    yield Case("LayerNorm no bias", make("LayerNorm", 3, bias=False), (ROWS,))
    yield Case("LayerNorm of one row", make("LayerNorm", 3), (ROWS[0],))
    yield Case("LayerNorm far away", make("LayerNorm", 3), (FAR,), second=False)
    yield Case("RMSNorm(3)", make("RMSNorm", 3), (ROWS,))
    yield Case("RMSNorm((2, 3))", make("RMSNorm", (2, 3), 1e-3), (IMAGES,))
    plain = make("RMSNorm", 3, elementwise_affine=False)
    yield Case("RMSNorm plain", plain, (ROWS * 1e-7,), second=False)
    yield Case("GroupNorm", make("GroupNorm", 2, 4), (IMAGES,))
    yield Case("GroupNorm of rows", make("GroupNorm", 1, 3), (ROWS,))
    yield Case("GroupNorm one each", make("GroupNorm", 3, 3), (LONG,))
    yield Case("GroupNorm plain", make("GroupNorm", 3, 3, 1e-3, False), (LONG,))
    yield Case("GroupNorm no bias", make("GroupNorm", 1, 3, bias=False), (LONG,))


def functions():
    running = {"running_mean": MEAN, "running_var": VAR}
    none = {"running_mean": None, "running_var": None}
    for name, flag, x in (
        ("batch_norm", "training", ROWS),
        ("instance_norm", "use_input_stats", LONG),
    ):
        for what, kw in {
            "running": {**running, flag: True, "momentum": 0.3},
            "used": {**running, flag: False, "eps": 1e-2},
            "none": {**none, flag: True},
        }.items():
            for inputs in ((x,), (x, W), (x, W, B)):
                text = f"{name} {what}, {len(inputs)}"
                yield Case(text, function(name), inputs, kw, call=with_running)
    yield Case("layer_norm", function("layer_norm"), (ROWS, W, B), call=layer)
    yield Case("rms_norm", function("rms_norm"), (ROWS, W), call=layer)
    yield Case("group_norm", function("group_norm"), (IMAGES,), {"num_groups": 4})
    zero = np.array([[3.0, 4.0], [0.0, 0.0]])
    yield Case("normalize", function("normalize"), (ROWS,))
    yield Case("normalize 0", function("normalize"), (zero,), second=False)
    for p, dim in ((1.0, 0), (3.0, -1), (2.0, (0, 2)), (float("inf"), 1)):
        kw = {"p": p, "dim": dim}
        x = LONG if dim == (0, 2) else ROWS
        yield Case(f"normalize p={p} dim={dim}", function("normalize"), (x,), kw)


def layer(f, x, *weights):
    return f(x, (3,), *weights)


CASES = [*modules(), *functions()]
