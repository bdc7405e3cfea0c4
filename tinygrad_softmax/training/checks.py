"""What a `Trainer` is given, checked."""

from __future__ import annotations

from typing import Any

from ..data import Dataset
from ..nn import Module, Parameter
from ..optim import Optimizer
from ..tensor import Tensor
from .callbacks import Callback


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


def check_parts(optimizer: Any, loss_fn: Any, metrics: Any, callbacks: Any) -> None:
    """Refuse classes where their instances are wanted, and what can't be called."""
    if isinstance(optimizer, type) or not hasattr(optimizer, "param_groups"):
        raise TypeError(
            f"Trainer: the optimizer is {_what(optimizer)}; expected an Optimizer; "
            "mend: optim.Adam(model.parameters())"
        )
    if isinstance(loss_fn, type) or not callable(loss_fn):
        raise TypeError(
            f"Trainer: loss_fn is {_what(loss_fn)}; expected a function or a module; "
            "mend: nn.CrossEntropyLoss()"
        )
    for metric in metrics.values() if isinstance(metrics, dict) else metrics:
        if not callable(metric):
            raise TypeError(
                f"Trainer: a metric is {metric!r}; expected functions; mend: "
                "metrics=[tg.training.accuracy]"
            )
    if isinstance(callbacks, Callback):
        raise TypeError("Trainer: callbacks is one Callback; expected a list of them")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"Trainer: a callback is {_what(callback)}; expected a Callback"
            )
        names = [name for name in dir(callback) if name.startswith("on_")]
        unknown = [name for name in names if not hasattr(Callback, name)]
        if unknown:
            known = [name for name in vars(Callback) if name.startswith("on_")]
            raise TypeError(
                f"Trainer: {type(callback).__name__} defines {unknown[0]}, which is "
                f"never called; expected one of {', '.join(known)}"
            )


def _what(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"


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
        if isinstance(batches, Tensor) or (
            isinstance(batches, tuple)
            and all(hasattr(each, "shape") for each in batches)
        ):
            raise TypeError(
                f"fit: {_what(batches)} was given; expected batches; mend: "
                "DataLoader(TensorDataset(inputs, targets), batch_size=32, "
                "shuffle=True)"
            )
        if isinstance(batches, Dataset):
            kind = type(batches).__name__
            raise TypeError(
                f"fit: a {kind} was given, whose items are samples; expected batches; "
                "mend: DataLoader(dataset, batch_size=32, shuffle=True)"
            )
