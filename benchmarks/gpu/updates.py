"""Optimizer steps over a hundred tensors, beside PyTorch's fused ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .checks import check_same
from .lab import Lab
from .row import OURS, PYTORCH, Result, Row, ratio
from .timing import Step

TENSORS = 100
STEPS = 3  # before the parameters are compared
# The name, the options, and how many moves of the parameters a step cannot do without:
# gradients are read, parameters and state read and written.
OPTIMIZERS = (
    ("SGD", {"lr": 1e-3, "momentum": 0.9}, 5),
    ("Adam", {"lr": 1e-3}, 7),
    ("AdamW", {"lr": 1e-3, "weight_decay": 0.01}, 7),
)


def shapes(total: int) -> list[tuple[int, ...]]:
    """Half of the tensors are matrices, which have about all; half are biases."""
    side = round((total / (TENSORS // 2)) ** 0.5)
    return [(side, side), (side,)] * (TENSORS // 2)


def measure(
    lab: Lab,
    tell: Callable[[Result], None],
    name: str,
    options: dict[str, Any],
    moves: int,
    total: int,
) -> Result:
    each = shapes(200 if lab.toy else total)
    arrays = [lab.normal(shape) for shape in each]
    gradients = [lab.normal(shape) for shape in each]
    size = sum(a.size for a in arrays)
    steps = {OURS: _step(lab, OURS, name, arrays, gradients, options)}
    if lab.torch is not None:
        fused = {} if lab.toy else {"fused": True}
        steps[PYTORCH] = _step(
            lab, PYTORCH, name, arrays, gradients, {**options, **fused}
        )
        exact = _step(lab, PYTORCH, name, arrays, gradients, options, wide=True)
        _check(lab, arrays, steps[OURS], steps[PYTORCH], exact)
        del exact
        lab.tidy()
    _, cold = lab.sets(16 * size)
    cold = cold or 16 * size < 4 * lab.cache
    steps = {k: Step(k, step.call, cold) for k, step in steps.items()}
    return {"times": lab.timed(steps), "bytes": 4 * moves * size}


def _step(
    lab: Lab,
    library: str,
    name: str,
    arrays: list[Any],
    gradients: list[Any],
    options: dict[str, Any],
    wide: bool = False,
) -> Step:
    """One `optimizer.step()`, which returns the parameters; `wide`: in float64."""
    parameters = []
    for array, gradient in zip(arrays, gradients):
        parameter = lab.tensor(library, array.copy())
        grad = lab.tensor(library, gradient)
        if wide:
            parameter, grad = parameter.double(), grad.double()
        parameter.requires_grad = True
        parameter.grad = grad
        parameters.append(parameter)
    optimizer = getattr(lab.library(library).optim, name)(parameters, **options)

    def call(i: int) -> Any:
        optimizer.step()
        return parameters

    return Step(library, call)


def _check(lab: Lab, arrays: list[Any], ours: Step, theirs: Step, exact: Step) -> None:
    """The change of the parameters after some steps, all of them as one array."""
    before = lab.torch.cat([lab.theirs(each).reshape(-1) for each in arrays])
    found: list[Any] = [
        list(step.call(i)) for i in range(STEPS) for step in (ours, theirs, exact)
    ]
    mine, other, wide = found[-3:]
    flat = [lab.theirs(each).reshape(-1) for each in mine]
    change = lab.torch.cat(flat) - before
    for peer, of, tolerance in ((wide, "float64", 1e-4), (other, "PyTorch's", 1e-4)):
        expected = lab.torch.cat([each.detach().reshape(-1) for each in peer]) - before
        check_same(f"the change of {STEPS} steps", change, expected, tolerance, of)


ROWS = tuple(
    Row(
        f"optimizer step, {name}",
        f"{TENSORS} tensors, {total // 1_000_000} million parameters",
        partial(measure, name=name, options=options, moves=moves, total=total),
        (ratio(1.0),),
    )
    for name, options, moves in OPTIMIZERS
    for total in (1_000_000, 100_000_000)
)
