"""What a run goes on from: everything that a checkpoint holds of a `Trainer`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..backends import Generator
from ..backends.random import default_generator
from ..nn import Module
from .callbacks import Callback
from .history import History

if TYPE_CHECKING:
    from .trainer import Trainer

FORMAT = "tinygrad_softmax.training.v1"
COUNTERS = ("epoch", "step", "batch", "should_stop")
# The parts that have a state_dict of their own, and whether there may be none.
PARTS = {"model": False, "optimizer": False, "scheduler": True, "scaler": True}
PARTS["loss_fn"] = True
# What stands under each key of a checkpoint; None is allowed where it is listed.
KINDS: dict[str, Any] = {
    **dict.fromkeys(("epoch", "step", "batch"), int),
    **dict.fromkeys(("should_stop", "trained"), bool),
    **{name: (dict, type(None)) if no else dict for name, no in PARTS.items()},
    **dict.fromkeys(("loader", "validation"), (dict, type(None))),
    **dict.fromkeys(("classes", "means", "history", "generators"), dict),
    **dict.fromkeys(("rng", "callbacks"), list),
}


def state_of(trainer: Trainer) -> dict[str, Any]:
    """A tree for `tg.save`."""
    state = {name: getattr(trainer, name) for name in COUNTERS}
    parts = {name: _part(trainer, name) for name in PARTS}
    state |= {k: None if p is None else p.state_dict() for k, p in parts.items()}
    places = trainer._before_measuring or places_of(trainer)
    return state | {
        "format": FORMAT,
        "classes": {k: type(p).__name__ for k, p in parts.items()},
        "trained": trainer._trained,
        "means": trainer._means.state_dict(),
        "history": trainer.history.state_dict(),
        "callbacks": [
            {"class": type(each).__name__, "state": each.state_dict()}
            for each in saved_callbacks(trainer)
        ],
        **places,
    }


def places_of(trainer: Trainer) -> dict[str, Any]:
    """Where the random numbers and the batches are.

    While an epoch is measured a checkpoint has what this was before: measuring begins
    anew.
    """
    source, validation = trainer._source, trainer._validation
    return {
        "rng": list(default_generator.state),
        "generators": {k: list(g.state) for k, g in _generators(trainer).items()},
        "loader": source.state,
        "validation": None if validation is source else validation.state,
    }


def checked(state: Any, path: str) -> Mapping[str, Any]:
    """The contents of a file, after a check that it is the checkpoint of a Trainer."""
    from ..saving import CheckpointError

    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no checkpoint of a Trainer: give the file that its "
            "`checkpoint` named"
        )
    for key, kind in KINDS.items():
        if key not in state:
            raise CheckpointError(f"{path} is a damaged checkpoint: it lacks {key!r}")
        value = state[key]
        if not isinstance(value, kind) or (kind is int and not _is_count(value)):
            raise CheckpointError(
                f"{path} is a damaged checkpoint: its {key!r} is {value!r:.60}"
            )
    lists = [*state["history"].values()]
    sound = (
        len(state["rng"]) == 2
        and all(map(_is_count, state["rng"]))
        and all(isinstance(each, list) for each in lists)
        and all(isinstance(x, float) for each in lists for x in each)
        and all(isinstance(each, dict) for each in state["callbacks"])
    )
    if not sound:
        raise CheckpointError(
            f"{path} is a damaged checkpoint: its history, callbacks or random state "
            "is not of the kind that is written"
        )
    return state


def restore(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Give a trainer the state that `state_of` took of one made alike.

    Where something does not fit, everything is left as it was: for that the trainer's
    own state is copied first.
    """
    _check_classes(trainer, state)
    before = copy.deepcopy(state_of(trainer))
    try:
        _take(trainer, state)
    except BaseException:
        _take(trainer, before)
        trainer._resumed = None
        raise
    trainer._resumed = state


def _take(trainer: Trainer, state: Mapping[str, Any]) -> None:
    from ..saving import CheckpointError

    try:
        for callback, kept in zip(saved_callbacks(trainer), state["callbacks"]):
            callback.load_state_dict(kept["state"])
        for name in PARTS:
            part = _part(trainer, name)
            if part is not None:
                part.load_state_dict(state[name])
        for name, generator in _generators(trainer).items():
            generator.state = tuple(state["generators"][name])
        trainer._means.load_state_dict(state["means"], trainer.device)
        trainer.history = History(state["history"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit this run, or is damaged: {error}"
        ) from error
    for name in COUNTERS:
        setattr(trainer, name, state[name])
    trainer._trained = state["trained"]
    trainer._before_measuring = None
    trainer.optimizer.step_was_called = state["step"] > 0
    default_generator.state = tuple(state["rng"])


def saved_callbacks(trainer: Trainer) -> list[Callback]:
    """Those that have a state to be kept."""
    return [
        each
        for each in trainer.callbacks
        if type(each).state_dict is not Callback.state_dict
    ]


def _part(trainer: Trainer, name: str) -> Any:
    """A part that has a state_dict, or None."""
    part = getattr(trainer, name)
    return part if name != "loss_fn" or isinstance(part, Module) else None


def _generators(trainer: Trainer) -> dict[str, Generator]:
    """The generators that modules keep as attributes, by their paths."""
    return {
        f"{path}.{name}".lstrip("."): value
        for path, module in trainer.model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Generator)
    }


def _check_classes(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Refuse the state of a trainer that was made of other things."""
    mine = {name: type(_part(trainer, name)).__name__ for name in PARTS}
    mine.pop("model")  # its keys say more than its name
    pairs: list[tuple[Any, Any, str]]
    pairs = [(state["classes"].get(name), kind, name) for name, kind in mine.items()]
    theirs = [each.get("class") for each in state["callbacks"]]
    here = [type(each).__name__ for each in saved_callbacks(trainer)]
    pairs.append((theirs, here, "callbacks"))
    differing = [
        f"the {name} was {_named(there)} and is {_named(kind)}"
        for there, kind, name in pairs
        if there != kind
    ]
    if differing:
        raise ValueError(
            f"Trainer: the checkpoint is of another run: {'; '.join(differing)}; mend: "
            "make the Trainer as it was made before"
        )
    if state["generators"].keys() != _generators(trainer).keys():
        raise ValueError(
            "Trainer: the checkpoint has the states of other generators in modules"
        )


def _named(kind: Any) -> str:
    if isinstance(kind, list):
        return ", ".join(map(str, kind)) or "none"
    return "none" if kind == "NoneType" else str(kind)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
