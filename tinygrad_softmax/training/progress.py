"""A progress bar on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from ..extras import MissingExtraError, require
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["ProgressBar"]

SECONDS_BETWEEN = 0.1  # readings of the loss, each of which waits for the device


class ProgressBar(Callback):
    """A bar for the epoch and a line for what the last one measured, drawn by rich.

    Without rich a note says how to install it, and training goes on.

    Args:
        transient: whether the bar disappears at the end.

    >>> bar = ProgressBar()
    """

    def __init__(self, transient: bool = True) -> None:
        self.transient = transient
        self._bar: Any = None
        self._task: Any = None
        self._read_at = 0.0

    def on_fit_start(self, trainer: Trainer) -> None:
        try:
            require("rich", "rich", "the progress bar")
        except MissingExtraError as error:
            print(f"note: {error}", file=sys.stderr)  # noqa: T201
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[measured]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=self.transient,
        )
        self._bar.start()
        total = None
        if trainer.batches is not None:
            total = trainer.batches * trainer.epochs
        self._task = self._bar.add_task(
            "", total=total, epoch=f"1/{trainer.epochs}", measured=""
        )

    def on_step_end(self, trainer: Trainer, loss: Any) -> None:
        if self._bar is None:
            return
        done = (trainer.batches or 0) * trainer.epoch + trainer.batch
        self._bar.update(
            self._task, completed=done, epoch=f"{trainer.epoch + 1}/{trainer.epochs}"
        )
        if not trainer.history and time.monotonic() > self._read_at + SECONDS_BETWEEN:
            self._bar.update(self._task, measured=f"loss {float(loss):.4f}")
            self._read_at = time.monotonic()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.update(self._task, measured=_summary(trainer))

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _summary(trainer: Trainer) -> str:
    """What was measured last, on the validation data if there is any."""
    last = {name: values[-1] for name, values in trainer.history.items()}
    last.pop("lr", None)
    validation = {k[4:]: v for k, v in last.items() if k.startswith("val_")}
    shown = ", ".join(f"{k} {v:.4f}" for k, v in (validation or last).items())
    return f"held-out {shown}" if validation else shown
