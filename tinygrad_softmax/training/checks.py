"""What a `Trainer` is given, checked."""

from __future__ import annotations

from typing import Any

from ..data import Dataset
from ..nn import Module, Parameter
from ..optim import Optimizer


def check_options(
    interval: str, accumulate: int, precision: str | None, every: int
) -> None:
    if interval not in ("epoch", "step"):
        raise ValueError(
            f"Trainer: scheduler_interval was given as {interval!r}; expected 'epoch' "
            "or 'step'"
        )
    if precision not in (None, "float16", "bfloat16"):
        raise ValueError(
            f"Trainer: precision was given as {precision!r}; expected None, 'float16' "
            "or 'bfloat16'"
        )
    for name, value in (
        ("accumulate_grad_batches", accumulate),
        ("checkpoint_every", every),
    ):
        if value < 1:
            raise ValueError(f"Trainer: {name} was given as {value}; expected >= 1")


def check_optimizer(model: Module, optimizer: Optimizer) -> list[Parameter]:
    """The parameters of the model that the optimizer has not; it must have some."""
    groups = optimizer.param_groups
    known = {id(each) for group in groups for each in group["params"]}
    others = [each for each in model.parameters() if id(each) not in known]
    if len(others) == sum(1 for _ in model.parameters()):
        raise ValueError(
            "Trainer: the optimizer has none of the model's parameters, so it would "
            f"train nothing; mend: {type(optimizer).__name__}(model.parameters(), ...)"
        )
    return others


def check_batches(*given: Any) -> None:
    """Refuse a dataset, whose items are samples."""
    for batches in given:
        if isinstance(batches, Dataset):
            kind = type(batches).__name__
            raise TypeError(
                f"fit: a {kind} was given, whose items are samples; expected batches; "
                "mend: DataLoader(dataset, batch_size=32, shuffle=True)"
            )
