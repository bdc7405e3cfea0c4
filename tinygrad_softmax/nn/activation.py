"""Activation functions as modules."""

from __future__ import annotations

from typing import Any

from . import functional
from .module import Module

__all__ = ["ReLU"]


class ReLU(Module):
    """max(x, 0); its gradient at 0 is 0.

    >>> import tinygrad_softmax as tg
    >>> ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Any:
        return functional.relu(input)
