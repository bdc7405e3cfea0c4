"""`Parameter`: a tensor that training changes."""

from __future__ import annotations

from typing import Any

from ..creation import asarray
from ..tensor import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A Tensor that a module owns and training changes: a leaf that wants a gradient.

    What is computed from it is a Tensor. Shares memory with `data`, as PyTorch's does,
    until an optimizer is made for it: the optimizer keeps its parameters in one buffer.

    >>> Parameter(np.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(asarray(data).array)
        self.requires_grad_(requires_grad)
