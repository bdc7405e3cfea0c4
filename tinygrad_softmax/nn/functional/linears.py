"""Products with a weight matrix."""

from __future__ import annotations

from typing import Any

from ...ops.autocasting import lowered

__all__ = ["linear"]


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """`input @ weight.T + bias`, `torch.nn.functional.linear`.

    Args:
        input: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.

    Returns:
        Shape (..., out_features).

    >>> import tinygrad_softmax as tg
    >>> linear(tg.tensor([1.0, 2.0]), tg.tensor([[3.0, 4.0]]), tg.tensor([5.0]))
    tensor([16.])
    """
    input, weight, bias = lowered(input, weight, bias)
    output = input @ weight.T
    return output if bias is None else output + bias
