"""Losses made larger, so that the small gradients of 16-bit training survive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..backends import backend_of, cuda_is_available, there
from ..backends.dtypes import is_half
from ..tensor import Tensor
from .optimizer import Optimizer

__all__ = ["GradScaler"]

READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Scales the loss up and the gradients down again, `torch.amp.GradScaler`.

    float16 gradients below 6e-8 are 0. So the loss is multiplied by a large scale
    before `backward`, and the gradients are divided by it before the step. Where one of
    them became inf or nan, the step is left out and the scale shrinks; after
    `growth_interval` steps without that it grows. (P. Micikevicius et al., "Mixed
    Precision Training", ICLR 2018.)

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)      # only to clip or look at gradients
        scaler.step(optimizer)
        scaler.update()

    `step` reads from the device once whether a gradient was inf or nan; nothing else
    here waits. The scale itself lives on the host, as a float32 number.

    Args:
        device: of the tensors. For "cuda" where there is none, the scaler warns and
            does nothing.
        init_scale: the first scale.
        growth_factor: what the scale is multiplied by when it grows, above 1.
        backoff_factor: what it is multiplied by when a step was left out, below 1.
        growth_interval: steps in a row without inf or nan after which it grows.
        enabled: whether it does anything.

    Raises:
        ValueError: a growth_factor of at most 1 or a backoff_factor of at least 1.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer, scaler = tg.optim.SGD([x], lr=0.5), GradScaler("cpu")
    >>> scaler.scale((x * x).sum()).backward()
    >>> x.grad
    tensor([ 131072., -262144.])
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> x.tolist(), scaler.get_scale()
    ([0.0, 0.0], 65536.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device.partition(":")[0] == "cuda" and not cuda_is_available():
            import warnings

            warnings.warn(
                'GradScaler(device="cuda") does nothing: there is no CUDA device; '
                'mend: GradScaler("cpu")',
                UserWarning,
                stacklevel=2,
            )
            enabled = False
        if growth_factor <= 1.0:
            raise ValueError(
                f"GradScaler: growth_factor was given as {growth_factor}; expected > 1"
            )
        if backoff_factor >= 1.0:
            raise ValueError(
                f"GradScaler: backoff_factor was given as {backoff_factor}; expected "
                f"< 1"
            )
        self._enabled = enabled
        self._scale = _float32(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        self._was_used = False  # whether `scale` was called
        self._optimizers: dict[int, _Progress] = {}

    def scale(self, outputs: Any) -> Any:
        """A Tensor, or each Tensor of nested iterables, times the scale.

        A 16-bit scalar becomes float32, in which the product has room.
        """
        if not self._enabled:
            return outputs
        self._was_used = True
        if isinstance(outputs, Tensor):
            if outputs.ndim == 0 and is_half(outputs.dtype):
                outputs = outputs.astype(np.float32)
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)(self.scale(each) for each in outputs)
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise TypeError(
            f"GradScaler.scale got a {type(outputs).__name__}; expected a Tensor or an "
            "iterable of Tensors"
        )

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, in place.

        `step` does so itself; this is for what comes in between, such as
        `clip_grad_norm_`. Gradients that are inf or nan are noted.

        Raises:
            RuntimeError: it was called before since the last `update`, or after `step`,
                or no loss was scaled.
            ValueError: a gradient is float16: then it has lost already what the scale
                was to save. Keep the parameters in float32.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        progress = self._progress(optimizer)
        if progress.stage == UNSCALED:
            raise RuntimeError(
                "GradScaler.unscale_ was called twice for one optimizer since the last "
                "update(); mend: once a step"
            )
        if progress.stage == STEPPED:
            raise RuntimeError(
                "GradScaler.unscale_ was called after step(); mend: before it"
            )
        inverse = _float32(1.0 / self._scale)
        grads = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if any(grad.dtype == np.float16 for grad in grads):
            raise ValueError(
                "GradScaler: a gradient is float16, so what is small in it is lost "
                "already; mend: keep parameters in float32, and compute in float16 "
                "under autocast"
            )
        alike: dict[str, list[Any]] = {}
        for grad in grads:
            alike.setdefault(grad.device, []).append(grad.array)
        progress.finite = [_unscale(arrays, inverse) for arrays in alike.values()]
        progress.stage = UNSCALED

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)`, unless a gradient is inf or nan; what it returns.

        Raises:
            RuntimeError: it was called before since the last `update`, no loss was
                scaled, no parameter has a gradient, or a closure was given.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise RuntimeError(
                "GradScaler.step can't be given a closure: the gradients must be "
                "unscaled between it and the step"
            )
        self._check_used("step")
        progress = self._progress(optimizer)
        if progress.stage == STEPPED:
            raise RuntimeError(
                "GradScaler.step was called twice for one optimizer since the last "
                "update(); mend: call update() after each step"
            )
        if progress.stage == READY:
            self.unscale_(optimizer)
        if not progress.finite:
            raise RuntimeError(
                "GradScaler.step: no parameter of the optimizer has a gradient; mend: "
                "scaler.scale(loss).backward() first"
            )
        result = None
        if progress.all_finite():
            result = optimizer.step(**kwargs)
        progress.stage = STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Let the scale grow or shrink, by what the steps since the last call found.

        new_scale: set it to this instead.

        Raises RuntimeError if there was no step.
        """
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            self._scale = _float32(float(new_scale))
        else:
            checked = [each for each in self._optimizers.values() if each.finite]
            if not checked:
                raise RuntimeError(
                    "GradScaler.update was called before any step; mend: "
                    "scaler.step(optimizer) first"
                )
            if all(each.all_finite() for each in checked):
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    grown = self._scale * self._growth_factor
                    if grown <= float(np.finfo(np.float32).max):
                        self._scale = _float32(grown)
                    self._growth_tracker = 0
            else:
                self._scale = _float32(self._scale * self._backoff_factor)
                self._growth_tracker = 0
        self._optimizers.clear()

    def get_scale(self) -> float:
        """The scale now; 1 if the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by when it grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Change what the scale is multiplied by when it grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by when a step was left out."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Change what the scale is multiplied by when a step was left out."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps in a row the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Change after how many steps in a row the scale grows."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """What is to be saved, numbers only; empty if the scaler is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take on what `state_dict` returned, here or in PyTorch.

        Raises KeyError for a missing key, and RuntimeError for the empty state of a
        scaler that was not enabled.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "GradScaler.load_state_dict: the state is empty; it was saved by a "
                "scaler that was not enabled"
            )
        missing = [key for key in self.state_dict() if key not in state_dict]
        if missing:
            raise KeyError(
                f"GradScaler.load_state_dict: missing keys: {', '.join(missing)}"
            )
        self._scale = _float32(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]

    def _check_used(self, caller: str) -> None:
        if not self._was_used:
            raise RuntimeError(
                f"GradScaler.{caller} was called before scale(); mend: "
                "scaler.scale(loss).backward()"
            )

    def _progress(self, optimizer: Optimizer) -> _Progress:
        return self._optimizers.setdefault(id(optimizer), _Progress())

    def __getstate__(self) -> dict[str, Any]:
        if self._optimizers:
            raise RuntimeError(
                "a GradScaler can't be pickled or copied between a step and update(); "
                "mend: after update()"
            )
        return dict(vars(self))


class _Progress:
    """How far one optimizer has come since the last `update`."""

    def __init__(self) -> None:
        self.stage = READY
        self.finite: list[Any] = []  # for each device, whether all gradients are

    def all_finite(self) -> bool:
        """Read the answer from the devices, once."""
        self.finite = [bool(each) for each in self.finite]
        return all(self.finite)


def _unscale(arrays: list[Any], inverse: float) -> Any:
    """Scale the gradients of one device; whether all of them were finite."""
    with there(arrays[0]):
        return backend_of(arrays[0]).unscale(arrays, inverse)


def _float32(value: float) -> float:
    """A number as float32 holds it."""
    return float(np.float32(value))
