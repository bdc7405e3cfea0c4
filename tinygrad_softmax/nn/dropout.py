"""Dropout as modules."""

from __future__ import annotations

from typing import Any

from . import functional
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d"]


class Dropout(Module):
    """`functional.dropout` in training; after `eval()` the input as it is.

    inplace: accepted for PyTorch's signature; a new tensor is made regardless.

    >>> Dropout(0.5).eval()(tg.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(
                f"{type(self).__name__}: p was given as {p}; expected a probability, "
                "0..1"
            )
        self.p = p
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """`functional.dropout1d`: whole channels of (N, C, L) or (C, L).

    >>> Dropout1d(0.5).eval()(tg.tensor([[1.0, 2.0]]))
    tensor([[1., 2.]])
    """

    def forward(self, input: Any) -> Any:
        return functional.dropout1d(input, self.p, self.training)


class Dropout2d(Dropout):
    """`functional.dropout2d`: whole channels of (N, C, H, W).

    >>> Dropout2d(1.0)(tg.ones((1, 1, 1, 2)))
    tensor([[[[0., 0.]]]])
    """

    def forward(self, input: Any) -> Any:
        return functional.dropout2d(input, self.p, self.training)


class AlphaDropout(Dropout):
    """`functional.alpha_dropout`, for networks of `SELU`.

    >>> AlphaDropout(0.5).eval()(tg.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def forward(self, input: Any) -> Any:
        return functional.alpha_dropout(input, self.p, self.training)
