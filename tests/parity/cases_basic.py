"""Linear, containers, Flatten."""

from __future__ import annotations

from parity.harness import Case, values

X, IMAGES = values("x", (5, 4)), values("images", (2, 3, 4, 5))


def mlp(lib):
    nn = lib.nn
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def shared(lib):
    nn = lib.nn
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def nested(lib):
    nn = lib.nn
    return nn.ModuleDict(
        {"a": nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)]), "b": nn.Linear(4, 2)}
    )


def call_nested(module, x):
    return [layer(x) for layer in module["a"]] + [module["b"](x)]


CASES = [
    Case("an MLP", mlp, (X,)),
    Case("Linear", lambda lib: lib.nn.Linear(4, 2), (X,)),
    Case("Linear without bias", lambda lib: lib.nn.Linear(4, 2, bias=False), (X,)),
    Case("Linear of one row", lambda lib: lib.nn.Linear(4, 2), (X[0],)),
    Case("Linear of many axes", lambda lib: lib.nn.Linear(5, 2), (IMAGES,)),
    Case("a shared layer", shared, (X,)),
    Case("ModuleDict and ModuleList", nested, (X,), call=call_nested),
    Case("Flatten", lambda lib: lib.nn.Flatten(), (IMAGES,)),
    Case("Flatten(1, 2)", lambda lib: lib.nn.Flatten(1, 2), (IMAGES,)),
    Case("Unflatten", lambda lib: lib.nn.Unflatten(1, (2, 2)), (X,)),
    Case("Identity", lambda lib: lib.nn.Identity(), (X,)),
    Case("linear", lambda lib: lib.nn.functional.linear, (X, X[:2], X[0, :2])),
]
