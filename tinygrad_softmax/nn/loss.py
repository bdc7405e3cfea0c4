"""Losses as modules."""

from __future__ import annotations

from typing import Any

from . import functional
from .module import Module

__all__ = ["CrossEntropyLoss", "NLLLoss"]


class CrossEntropyLoss(Module):
    """`functional.cross_entropy` with its options kept.

    >>> import tinygrad_softmax as tg
    >>> loss = CrossEntropyLoss()(tg.tensor([[0.0, 0.0]]), tg.tensor([1]))
    >>> round(loss.item(), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.weight = weight
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
        )


class NLLLoss(Module):
    """`functional.nll_loss` with its options kept.

    >>> import tinygrad_softmax as tg
    >>> log_probs = tg.log(tg.tensor([[0.3, 0.2, 0.1, 0.4]]))
    >>> round(NLLLoss()(log_probs, tg.tensor([1])).item(), 4)
    1.6094
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        self.weight = weight
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return functional.nll_loss(
            input, target, self.weight, self.ignore_index, self.reduction
        )
