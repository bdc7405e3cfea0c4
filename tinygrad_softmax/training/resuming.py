"""What a run goes on from: everything that a checkpoint holds of a `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..backends.random import default_generator
from .history import History
from .progress import ProgressBar

if TYPE_CHECKING:
    from .callbacks import Callback
    from .trainer import Trainer

FORMAT = "tinygrad_softmax.training.v1"
COUNTERS = ("epoch", "step", "batch", "should_stop")


def state_of(trainer: Trainer) -> dict[str, Any]:
    """A tree for `tg.save`."""

    def of(each: Any) -> Any:
        return each.state_dict() if hasattr(each, "state_dict") else None

    state = {name: getattr(trainer, name) for name in COUNTERS}
    return state | {
        "format": FORMAT,
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": of(trainer.scheduler),
        "scaler": of(trainer.scaler),
        "rng": list(default_generator.state),
        "loader": of(trainer._loader),
        "trained": trainer._trained,
        "means": trainer._means.state_dict(),
        "history": trainer.history.state_dict(),
        "callbacks": [each.state_dict() for each in saved_callbacks(trainer)],
    }


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Give a trainer the state that `state_of` took of one made alike."""
    _check(trainer, state)
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(state["scheduler"])
    if trainer.scaler is not None:
        trainer.scaler.load_state_dict(state["scaler"])
    for name in COUNTERS:
        setattr(trainer, name, state[name])
    trainer._trained = state["trained"]
    trainer._loader_state = state["loader"]
    trainer._means.load_state_dict(state["means"], trainer.device)
    trainer.history = History(state["history"])
    default_generator.state = tuple(state["rng"])
    trainer._resumed = True


def saved_callbacks(trainer: Trainer) -> list[Callback]:
    """Those whose state is kept; the bar that `progress` adds has none."""
    return [each for each in trainer.callbacks if not isinstance(each, ProgressBar)]


def _check(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Refuse the state of a trainer that was made otherwise; first, its callbacks."""
    callbacks = saved_callbacks(trainer)
    if len(callbacks) != len(state["callbacks"]):
        raise ValueError(
            f"Trainer: the checkpoint has {len(state['callbacks'])} callbacks, and "
            f"this run has {len(callbacks)}; mend: give it the same ones"
        )
    for callback, kept in zip(callbacks, state["callbacks"], strict=True):
        callback.load_state_dict(kept)
    for name in ("scheduler", "scaler"):
        mine, theirs = getattr(trainer, name), state[name]
        if (mine is None) != (theirs is None):
            here = "has none" if mine is None else "has one"
            raise ValueError(
                f"Trainer: the checkpoint has {'no' if theirs is None else 'a'} "
                f"{name}, and this run {here}; mend: make the Trainer as it was "
                "made before"
            )
