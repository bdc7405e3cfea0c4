"""Scalars for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extras import require
from .callbacks import Callback

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Write what is measured as events: `tensorboard --logdir LOG_DIR` shows them.

    Each epoch's measurements are written under their names in the history, at the
    number of the epoch. The event files are written by TensorBoard's own writer.

    Args:
        log_dir: a folder; each run adds a file to it.
        every: also write "step_loss" every so many steps, which waits for the device
            each time; None does not.

    Raises:
        MissingExtraError: TensorBoard is not installed.

    >>> callback = TensorBoard("runs/first")
    """

    def __init__(self, log_dir: str | Path, every: int | None = None) -> None:
        if every is not None and every < 1:
            raise ValueError(f"TensorBoard: every was given as {every}; expected >= 1")
        self.log_dir, self.every = Path(log_dir), every
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        writer = require(
            "tensorboard.summary.writer.event_file_writer",
            "tensorboard",
            "writing events",
            extra="tensorboard",
        )
        self._writer = writer.EventFileWriter(str(self.log_dir))

    def on_step_end(self, trainer: Trainer, loss: Any) -> None:
        if self.every and trainer.step % self.every == 0:
            self._write({"step_loss": float(loss)}, trainer.step)

    def on_epoch_end(self, trainer: Trainer) -> None:
        last = {name: values[-1] for name, values in trainer.history.items()}
        self._write(last, trainer.epoch)
        self._writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, scalars: dict[str, float], step: int) -> None:
        protocol: Any = require("tensorboard.compat.proto.event_pb2", "tensorboard", "")
        event = protocol.Event(wall_time=time.time(), step=step)
        for name, value in scalars.items():
            event.summary.value.add(tag=name, simple_value=value)
        self._writer.add_event(event)
