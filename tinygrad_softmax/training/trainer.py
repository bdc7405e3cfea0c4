"""`Trainer`: epochs of batches, measured, saved, and gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends import resolve_device
from ..nn import Module
from ..nn.functional import cross_entropy
from ..ops import concatenate
from ..ops.autocasting import autocast
from ..optim import GradScaler, Optimizer, clip_grad_norm_, clip_grad_value_
from ..optim.lr_scheduler import ReduceLROnPlateau
from ..tensor import Tensor
from .batches import Evaluating, Source, moved, samples_in
from .callbacks import Callback
from .checks import check_batches, check_optimizer, check_options, check_parts
from .history import History
from .interruption import Interruption, deferred_interrupt
from .metrics import Means
from .progress import ProgressBar
from .resuming import checked, places_of, restore, state_of

__all__ = ["DivergedError", "Trainer"]


class DivergedError(ArithmeticError):
    """The loss is no longer a number: training went astray."""


class Trainer:
    """Trains a model batch by batch, measures it, and can be stopped and gone on with.

    One epoch goes through the training batches once: forward, loss, backward, and a
    step of the optimizer for each, or for every `accumulate_grad_batches` of them. Then
    the validation batches are measured, the scheduler steps, and a checkpoint is saved.

    Ctrl-C ends training between two steps: the checkpoint is saved, and
    KeyboardInterrupt is raised. `fit(..., resume=path)` goes on from there, and the
    result is bit-identical to that of a run that was not interrupted, on one machine
    with the same libraries: a checkpoint holds the model, the optimizer, the scheduler,
    the loss if it is a module, the states of the default generator and of those that
    modules have as attributes, the places of the DataLoaders, what was measured, and
    the callbacks.

    Args:
        model: called with the inputs of a batch.
        optimizer: over the parameters of `model`.
        loss_fn: from the model's output and the target to a scalar, the mean over the
            samples of the batch; the cross-entropy by default.
        metrics: further functions of output and target that return a mean over the
            batch, by name, or a sequence of functions with names of their own.
        scheduler: of the learning rate, stepped after each epoch, or each step with
            `scheduler_interval="step"`. A ReduceLROnPlateau is given `monitor`.
        monitor: what it watches; by default "val_loss", or "loss" without validation.
        device: where to move the model and each batch; None leaves the model where it
            is and moves the batches there.
        accumulate_grad_batches: batches whose gradients make one step: as one batch of
            all of them, where they are of one size. A shorter rest at the end of an
            epoch makes a step of its own.
        clip_grad_norm, clip_grad_value: limits of the gradients before each step.
        precision: None, "bfloat16", or "float16", which also scales the loss
            (`GradScaler`). Weights stay as they are.
        callbacks: called in this order; see `Callback`.
        checkpoint: file to save to after every `checkpoint_every` epochs, at the end,
            and at Ctrl-C.
        progress: show a progress bar; None shows it where stderr is a terminal.

    Override `compute_loss` for batches that are not (inputs ..., target).

    Raises:
        ValueError: an option that is out of range, a scheduler_interval or precision
            that is not known, or an optimizer of another model.

    >>> from tinygrad_softmax import nn, optim
    >>> tg.manual_seed(0).state
    (0, 0)
    >>> x = tg.randn(64, 3)
    >>> data = tg.data.TensorDataset(x, (x.sum(axis=1) > 0).astype("int64"))
    >>> model = nn.Linear(3, 2)
    >>> trainer = Trainer(model, optim.Adam(model.parameters(), 0.1), progress=False)
    >>> history = trainer.fit(tg.data.DataLoader(data, 16, shuffle=True), epochs=5)
    >>> history["loss"][0] > history["loss"][-1]
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss_fn: Callable[[Any, Any], Any] = cross_entropy,
        *,
        metrics: Mapping[str, Callable] | Sequence[Callable] = (),
        scheduler: Any = None,
        scheduler_interval: str = "epoch",
        monitor: str | None = None,
        device: str | None = None,
        accumulate_grad_batches: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        precision: str | None = None,
        callbacks: Iterable[Callback] = (),
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 1,
        progress: bool | None = None,
    ) -> None:
        check_options(
            scheduler_interval, accumulate_grad_batches, precision, checkpoint_every
        )
        if not isinstance(metrics, Mapping):
            metrics = list(metrics)
        callbacks = callbacks if isinstance(callbacks, Callback) else list(callbacks)
        check_parts(optimizer, loss_fn, metrics, callbacks)
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self._not_optimized = check_optimizer(model, optimizer)
        if not isinstance(metrics, Mapping):
            metrics = {each.__name__: each for each in metrics}
        self.metrics = dict(metrics)
        self.scheduler, self.scheduler_interval = scheduler, scheduler_interval
        self.monitor = monitor
        if device is not None:
            model.to(device)
            if isinstance(loss_fn, Module):  # its class weights
                loss_fn.to(device)
        first = next(model.parameters(), None)
        self._backend, self.device = resolve_device(
            device if first is None else first.device
        )
        self.accumulate_grad_batches = accumulate_grad_batches
        self.clip_grad_norm, self.clip_grad_value = clip_grad_norm, clip_grad_value
        self.precision = precision
        kind = self.device.partition(":")[0]
        self.scaler = GradScaler(kind) if precision == "float16" else None
        self.callbacks = list(callbacks)
        if progress or (progress is None and _is_terminal()):
            self.callbacks.insert(0, ProgressBar())
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.checkpoint_every = checkpoint_every
        self.history = History()
        self.epoch = 0  # epochs that have ended
        self.step = 0  # steps of the optimizer so far
        self.batch = 0  # batches of this epoch so far
        self.epochs = 0  # how many there are to be
        self.batches: int | None = None  # how many an epoch has, where that is known
        self.should_stop = False
        self.finished = False  # whether fit came to its end
        self._means = Means()
        self._trained = False  # whether only the measuring of this epoch is left
        self._source = self._validation = Source(())  # where batches come from
        self._before_measuring: dict[str, Any] | None = None  # places, see resuming
        self._resumed: Mapping[str, Any] | None = None  # what was read since last fit

    # -- training ---------------------------------------------------------------------

    def fit(
        self,
        train: Iterable[Any],
        validation: Iterable[Any] | None = None,
        *,
        epochs: int,
        resume: str | Path | None = None,
    ) -> History:
        """Train until `epochs` epochs have ended, in all; returns the history.

        Args:
            train: batches, such as a DataLoader; iterated once an epoch.
            validation: batches to be measured after each epoch.
            epochs: how many; those of an earlier `fit` or of the checkpoint count.
            resume: a checkpoint to go on from. The model, the optimizer, the data and
                the options must be those of the run that saved it.

        Raises:
            DivergedError: the training loss of an epoch is not finite.
            KeyboardInterrupt: Ctrl-C, after the checkpoint was saved.
            CheckpointError: `resume` is damaged, or of another kind.
        """
        if epochs < 1:
            raise ValueError(f"fit: epochs was given as {epochs}; expected >= 1")
        check_batches(train, validation)
        if resume is not None:
            self.load_checkpoint(resume)
        self._source = self._validation = Source(train)
        if validation is not train:
            self._validation = Source(validation)
        if self._resumed is None:  # an earlier fit may have ended in the middle
            self._begin_epoch()
            self.should_stop = False
        else:
            self._source.pending = self._resumed["loader"]
            self._validation.pending = self._resumed["validation"] or (
                self._source.pending if validation is train else None
            )
            self._resumed = None
        self.epochs, self.batches = epochs, self._source.length
        self.finished = False
        with deferred_interrupt() as interruption, self._backend.on(self.device):
            try:
                self._call("on_fit_start")
                while self.epoch < epochs and not self.should_stop:
                    self._run_epoch(interruption)
                self.finished = True
            finally:
                self._call("on_fit_end")
        return self.history

    def compute_loss(self, batch: Any) -> tuple[Any, Any, Any]:
        """(loss, output, target) of one batch, which is on the device already.

        By default the batch is (inputs ..., target).
        """
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise TypeError(
                f"Trainer: a batch is a {type(batch).__name__}; expected a tuple "
                "(inputs, target); mend: override compute_loss"
            )
        *inputs, target = batch
        output = self.model(*inputs)
        return self.loss_fn(output, target), output, target

    def _run_epoch(self, interruption: Interruption) -> None:
        self._call("on_epoch_start")
        self.model.train()
        if not self._trained:
            with np.errstate(over="ignore", invalid="ignore"):  # said better below
                self._train_batches(interruption)
            self._trained = True
        self._before_measuring = places_of(self)
        measured = self._measured(interruption)
        self._step_scheduler("epoch", measured)
        self.history.append(measured)
        self.epoch += 1
        self._begin_epoch()
        self._call("on_epoch_end")
        if interruption:
            self._interrupt()
        last = self.epoch == self.epochs or self.should_stop
        if self.checkpoint is not None and (
            last or self.epoch % self.checkpoint_every == 0
        ):
            self.save_checkpoint(self.checkpoint)
        if interruption:  # while it was being saved
            raise KeyboardInterrupt

    def _begin_epoch(self) -> None:
        self.batch, self._trained, self._means = 0, False, Means()
        self._before_measuring = None

    def _train_batches(self, interruption: Interruption) -> None:
        """The optimizer's steps of an epoch, or of what is left of it."""
        group: list[Any] = []
        for batch in self._source.epoch(self.batch):
            group.append(batch)
            self.batch += 1
            if len(group) == self.accumulate_grad_batches or self._is_last():
                self._train_step(group)
                group = []
                if interruption:
                    self._interrupt()
        if group:  # the end of an epoch whose length was not known
            self._train_step(group)

    def _is_last(self) -> bool:
        return self.batches is not None and self.batch == self.batches

    def _train_step(self, group: list[Any]) -> None:
        self.optimizer.zero_grad()
        for parameter in self._not_optimized:
            parameter.grad = None
        loss: Any = None
        for batch in group:
            batch = moved(batch, self.device)
            with self._casting():
                loss, output, target = self.compute_loss(batch)
            share = loss if len(group) == 1 else loss * (1.0 / len(group))
            (share if self.scaler is None else self.scaler.scale(share)).backward()
            self._means.add(self._measure(loss, output, target), samples_in(batch))
        was_made = self._update()
        self.step += 1
        if was_made:
            self._step_scheduler("step", {})
        self._call("on_step_end", loss.detach())

    def _update(self) -> bool:
        """Clip the gradients and let the optimizer make its step; whether it was made:
        the scaler leaves one out whose gradients are infinite."""
        if self.clip_grad_norm is not None or self.clip_grad_value is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            groups = self.optimizer.param_groups
            parameters = [each for group in groups for each in group["params"]]
            if self.clip_grad_value is not None:
                clip_grad_value_(parameters, self.clip_grad_value)
            if self.clip_grad_norm is not None:
                clip_grad_norm_(parameters, self.clip_grad_norm)
        if self.scaler is None:
            self.optimizer.step()
            return True
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= scale

    def _casting(self) -> AbstractContextManager:
        if self.precision is None:
            return nullcontext()
        return autocast(self.device, dtype=self.precision)

    def _step_scheduler(self, interval: str, measured: Mapping[str, float]) -> None:
        if self.scheduler is None or interval != self.scheduler_interval:
            return
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
            return
        name = self.monitor or ("val_loss" if "val_loss" in measured else "loss")
        if name not in measured:
            raise ValueError(
                f"Trainer: the scheduler is to watch {name!r}, which is not measured; "
                f"there are {', '.join(measured)}; mend: choose one as monitor, with "
                'scheduler_interval="epoch"'
            )
        self.scheduler.step(measured[name])

    # -- measuring --------------------------------------------------------------------

    def evaluate(self, batches: Iterable[Any]) -> dict[str, float]:
        """The loss and the metrics, means over all samples of `batches`, by name.

        The model is in eval mode meanwhile, and nothing is recorded.
        """
        return self._evaluate(batches, None, "")

    def predict(self, batches: Iterable[Any]) -> Tensor:
        """The model's outputs for all samples, one after the other.

        Args:
            batches: of (inputs ..., target), whose target is passed over, or of inputs
                alone. The model is in eval mode meanwhile.
        """
        outputs = []
        with no_grad(), Evaluating(self.model), self._backend.on(self.device):
            for batch in batches:
                batch = moved(batch, self.device)
                inputs = batch[:-1] if isinstance(batch, (tuple, list)) else [batch]
                with self._casting():
                    outputs.append(self.model(*inputs))
        if not outputs:
            raise ValueError("predict: there are no batches")
        return concatenate(outputs)

    def _evaluate(
        self, batches: Iterable[Any], interruption: Interruption | None, prefix: str
    ) -> dict[str, float]:
        means = Means()
        with no_grad(), Evaluating(self.model), self._backend.on(self.device):
            for batch in batches:
                if interruption:
                    self._interrupt()
                batch = moved(batch, self.device)
                with self._casting():
                    loss, output, target = self.compute_loss(batch)
                means.add(self._measure(loss, output, target), samples_in(batch))
        if not means.count:
            raise ValueError("Trainer: there is nothing to measure on: no batches came")
        return means.read(prefix)

    def _measure(self, loss: Any, output: Any, target: Any) -> dict[str, Any]:
        measured = {"loss": loss}
        if self.metrics:
            output = output.detach() if isinstance(output, Tensor) else output
            with no_grad():
                measured |= {k: f(output, target) for k, f in self.metrics.items()}
        return measured

    def _measured(self, interruption: Interruption) -> dict[str, float]:
        """What goes into the history for this epoch."""
        if not self._means.count:
            raise ValueError("Trainer: there is nothing to train on: no batches came")
        measured = self._means.read()
        if not math.isfinite(measured["loss"]):
            raise DivergedError(
                f"the loss became {measured['loss']} in epoch {self.epoch + 1}: lower "
                "the learning rate"
            )
        if self._validation.batches is not None:
            batches = self._validation.epoch()
            measured |= self._evaluate(batches, interruption, "val_")
        measured["lr"] = float(self.optimizer.param_groups[0]["lr"])
        return measured

    # -- checkpoints ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from, for `tg.save`."""
        return state_of(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` returned, into a trainer made alike.

        Raises ValueError or RuntimeError if it was made otherwise, saying how; then
        everything is as it was.
        """
        restore(self, state)

    def save_checkpoint(self, path: str | Path) -> None:
        """Save `state_dict` to a file, whole or not at all."""
        from ..saving import save

        save(self.state_dict(), path)

    def load_checkpoint(self, path: str | Path) -> None:
        """Take back what `save_checkpoint` wrote."""
        from ..saving import load

        self.load_state_dict(checked(load(path, device="cpu"), str(path)))

    def _interrupt(self) -> None:
        """Save what a run goes on from, and end this one."""
        if self.checkpoint is not None:
            self.save_checkpoint(self.checkpoint)
        raise KeyboardInterrupt

    def _call(self, event: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *arguments)


def _is_terminal() -> bool:
    import sys

    return sys.stderr is not None and sys.stderr.isatty()
