"""What may be done beside training: `Callback` and the usual ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..nn import Module

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "ModelCheckpoint"]


class Callback:
    """Something that a `Trainer` calls as it goes; override what is of interest.

    `trainer.epoch` counts the epochs that have ended, `trainer.step` the optimizer's
    steps, `trainer.history` has what was measured; `trainer.should_stop = True` ends
    training after this epoch.

    >>> class Shout(Callback):
    ...     def on_epoch_end(self, trainer):
    ...         print("epoch", trainer.epoch)
    """

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first epoch, after a checkpoint was read."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """Before the first batch of an epoch."""

    def on_step_end(self, trainer: Trainer, loss: Any) -> None:
        """After each optimizer step. `loss`, that of its last batch, is a tensor on the
        device: reading it waits for the device."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After an epoch was measured and is in the history."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end, also where an exception or Ctrl-C was the end."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, for `tg.save`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""


class _Monitor(Callback):
    """Watches one measured quantity, and knows when it is the best so far.

    Args:
        monitor: a name in the history, such as "val_loss".
        mode: "min" or "max": what is better. None is "max" for names that end in
            "accuracy", else "min".
        min_delta: what must be exceeded to count as better.
    """

    def __init__(self, monitor: str, mode: str | None, min_delta: float = 0.0) -> None:
        if mode is None:
            mode = "max" if monitor.endswith("accuracy") else "min"
        if mode not in ("min", "max"):
            raise ValueError(
                f"{type(self).__name__}: mode was given as {mode!r}; expected 'min' or "
                "'max'"
            )
        if not min_delta >= 0:
            raise ValueError(
                f"{type(self).__name__}: min_delta was given as {min_delta}; expected "
                "a number >= 0"
            )
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best = math.inf if mode == "min" else -math.inf

    def is_better(self, trainer: Trainer) -> bool:
        """Whether this epoch is the best so far; remembers it if so."""
        if self.monitor not in trainer.history:
            raise ValueError(
                f"{type(self).__name__} watches {self.monitor!r}, which is not "
                f"measured; there are {', '.join(trainer.history)}; mend: give fit the "
                "validation data, or watch one of these"
            )
        value = trainer.history[self.monitor][-1]
        gain = self.best - value if self.mode == "min" else value - self.best
        if not gain > self.min_delta:
            return False
        self.best = value
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class EarlyStopping(_Monitor):
    """Stop when the monitored quantity has not become better for `patience` epochs.

    (L. Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade,
    1998. The names are those of Keras.)

    Args:
        monitor, mode, min_delta: what is watched, see above.
        patience: how many epochs without improvement are allowed.
        restore_best_weights: at the end, give the model the weights of its best epoch.

    Raises:
        ValueError: a negative patience or min_delta, or an unknown mode.

    >>> EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str | None = None,
        restore_best_weights: bool = False,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        if patience < 0:
            raise ValueError(
                f"EarlyStopping: patience was given as {patience}; expected >= 0"
            )
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.waited = 0
        self.best_epoch = 0
        self._weights: dict[str, Any] | None = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.is_better(trainer):
            self.waited, self.best_epoch = 0, trainer.epoch
            if self.restore_best_weights:
                self._weights = _copied(trainer.model)
        else:
            self.waited += 1
            if self.waited > self.patience:
                trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.finished and self._weights is not None:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        kept = {"waited": self.waited, "best_epoch": self.best_epoch}
        return super().state_dict() | kept | {"weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited, self.best_epoch = state["waited"], state["best_epoch"]
        self._weights = state["weights"]


class ModelCheckpoint(_Monitor):
    """Save the model's `state_dict` whenever the monitored quantity is the best so far.

    The file is the weights alone, for use; what a run goes on from is the trainer's own
    `checkpoint`.

    Args:
        path: a safetensors file, replaced whole each time.
        monitor, mode, min_delta: what is watched, as `EarlyStopping`.

    >>> ModelCheckpoint("best.safetensors", "val_accuracy").mode
    'max'
    """

    def __init__(
        self,
        path: str | Path,
        monitor: str = "val_loss",
        mode: str | None = None,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.path = Path(path)

    def on_epoch_end(self, trainer: Trainer) -> None:
        from ..saving import save

        if self.is_better(trainer):
            save(trainer.model.state_dict(), self.path)


def _copied(model: Module) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}
