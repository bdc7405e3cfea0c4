"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """A list for each thing that was measured, with a number for each epoch.

    Names are "loss" and those of the metrics, with "val_" in front for what was
    measured on the validation data, and "lr", the learning rate that the first group of
    parameters had at the epoch's end. The training numbers are means over the epoch,
    while the model was changing; the validation numbers are of its end.

    >>> history = History()
    >>> history.append({"loss": 1.5, "val_loss": 1.25})
    >>> history.append({"loss": 1.0, "val_loss": 1.125})
    >>> history["loss"], len(history)
    ([1.5, 1.0], 2)
    >>> history.best("val_loss")
    (2, 1.125)
    """

    def __init__(self, values: Mapping[str, Sequence[float]] | None = None) -> None:
        self._values = {name: list(each) for name, each in (values or {}).items()}
        lengths = {len(each) for each in self._values.values()}
        if len(lengths) > 1:
            raise ValueError(f"History: its lists have different lengths {lengths}")

    @property
    def epochs(self) -> int:
        """How many epochs are in it."""
        return max((len(each) for each in self._values.values()), default=0)

    def append(self, measured: Mapping[str, float]) -> None:
        """Add an epoch; what was not measured before or now is nan there."""
        epochs = self.epochs
        for name in (*self._values, *measured):
            values = self._values.setdefault(name, [math.nan] * epochs)
            if len(values) == epochs:
                values.append(float(measured.get(name, math.nan)))

    def best(self, name: str, mode: str = "min") -> tuple[int, float]:
        """The epoch, from 1, in which `name` was best, and its value there."""
        values = [v for v in self[name] if not math.isnan(v)]
        if not values:
            raise ValueError(f"History: {name!r} was never measured")
        value = min(values) if mode == "min" else max(values)
        return self[name].index(value) + 1, value

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw a panel for each thing measured, training and validation together.

        Args:
            path: where to write it, as PNG; None writes nothing.

        Returns:
            A `matplotlib.figure.Figure`, which a notebook shows.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ValueError: nothing was measured yet.
        """
        from ..figures import history_figure, png
        from ..saving import write_atomically

        figure = history_figure(self)
        if path is not None:
            write_atomically(path, png(figure))
        return figure

    def state_dict(self) -> dict[str, list[float]]:
        """The lists by name, to be saved."""
        return {name: list(values) for name, values in self._values.items()}

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(
                f"{name!r} was not measured; there are {', '.join(self._values)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the plot, or text where there is none to draw."""
        from ..extras import MissingExtraError
        from ..figures import png

        try:
            return png(self.plot()) if self.epochs else None
        except MissingExtraError:
            return None

    def __repr__(self) -> str:
        last = ", ".join(f"{k} {v[-1]:.4g}" for k, v in self._values.items() if v)
        return f"History({self.epochs} epochs{': ' * bool(last)}{last})"
