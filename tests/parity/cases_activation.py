"""The activations: inside, at every kink, and far out."""

from __future__ import annotations

import numpy as np
from parity.harness import Case, values

X = values("x", (3, 4), -8.0, 8.0)
KINKS = np.array([-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0])
FAR = np.array([-1000.0, -100.0, -40.0, -21.0, 21.0, 40.0, 100.0, 1000.0])
PAIRS = values("pairs", (2, 4, 6))

MODULES = {
    "ReLU": [()],
    "ReLU6": [()],
    "LeakyReLU": [(), (0.2,)],
    "PReLU": [()],
    "ELU": [(), (0.5,)],
    "SELU": [()],
    "CELU": [(), (0.5,), (2.0,)],
    "GELU": [(), ("tanh",)],
    "SiLU": [()],
    "Mish": [()],
    "Sigmoid": [()],
    "LogSigmoid": [()],
    "Tanh": [()],
    "Softplus": [(), (2.0,), (0.5, 5.0)],
    "Softsign": [()],
    "Hardtanh": [(), (-0.5, 2.0)],
    "Hardsigmoid": [()],
    "Hardswish": [()],
    "Threshold": [(0.5, -3.0), (-1.0, 20.0)],
}
ALONG = ("Softmax", "LogSoftmax", "Softmin")
FUNCTIONS = {
    "relu": {"inplace": False},
    "relu6": {},
    "leaky_relu": {"negative_slope": 0.3},
    "elu": {"alpha": 2.0},
    "selu": {},
    "celu": {"alpha": 3.0},
    "gelu": {"approximate": "tanh"},
    "silu": {},
    "mish": {},
    "sigmoid": {},
    "logsigmoid": {},
    "tanh": {},
    "softplus": {"beta": 3.0, "threshold": 2.0},
    "softsign": {},
    "hardtanh": {"min_val": -2.0, "max_val": 1.0},
    "hardsigmoid": {},
    "hardswish": {},
    "threshold": {"threshold": 0.1, "value": 7.0},
    "softmax": {"dim": 0},
    "log_softmax": {"dim": -1},
    "softmin": {"dim": 1},
    "glu": {"dim": 1},
}
# At a kink the second derivative is a convention; PyTorch's is that of one side, its
# first that of the other. (Softplus has one where its threshold is met.)
ONE_SIDED = ("PReLU", "ELU", "SELU", "CELU", "Softplus")
# PyTorch's gradient of hardsigmoid has 1/6 as a float32, 3e-8 off: see
# test_nn_layers.py for ours.
VALUES_ONLY = ("Hardsigmoid", "hardsigmoid")
NAN = ("Mish far",)  # where PyTorch's second derivative is nan


def of_a_constant(f, x):
    return f(x.detach())


def cases():
    for name, every in MODULES.items():
        for args in every:

            def make(lib, name=name, args=args):
                return getattr(lib.nn, name)(*args)

            for what, x in {"": X, " at kinks": KINKS, " far": FAR}.items():
                text = f"{name}{args or ''}{what}"
                x = x.reshape(1, -1) if name == "PReLU" else x
                one_sided = what == " at kinks" and name in ONE_SIDED
                second = not one_sided and text not in NAN
                call = of_a_constant if name in VALUES_ONLY else None
                yield Case(text, make, (x,), second=second, call=call)
    many = lambda lib: lib.nn.PReLU(4)  # noqa: E731
    yield Case("PReLU of channels", many, (PAIRS,))
    yield Case("PReLU of rows", many, (PAIRS[0].T,))
    for name in ALONG:
        for dim in (0, 1, -1):

            def make(lib, name=name, dim=dim):
                return getattr(lib.nn, name)(dim=dim)

            yield Case(f"{name} {dim}", make, (PAIRS,))
    yield Case("GLU", lambda lib: lib.nn.GLU(), (PAIRS,))
    yield Case("GLU(1)", lambda lib: lib.nn.GLU(1), (PAIRS,))
    for name, options in FUNCTIONS.items():

        def make(lib, name=name):
            return getattr(lib.nn.functional, name)

        call = of_a_constant if name in VALUES_ONLY else None
        yield Case(f"functional {name}", make, (X,), options, call=call)
    weight = values("weight", (4,))
    prelu = lambda lib: lib.nn.functional.prelu  # noqa: E731
    yield Case("functional prelu", prelu, (PAIRS, weight))
    yield Case("functional prelu of one", prelu, (X[0], weight[:1]))


CASES = list(cases())
