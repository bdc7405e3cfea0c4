"""Linear, Identity, Flatten and Unflatten."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..creation import zeros
from ..ops.axes import check_axis
from . import functional, init
from .module import Module, Parameter

__all__ = ["Flatten", "Identity", "Linear", "Unflatten"]


class Linear(Module):
    """`x @ weight.T + bias`, for x of shape (..., in_features).

    Weight (out_features, in_features) and bias (out_features,) start uniform in
    +-1 / sqrt(in_features), PyTorch's choice, drawn from the library's generator
    (`tg.manual_seed`) on the host: one seed gives the same weights on every device.

    >>> Linear(64, 10)
    Linear(in_features=64, out_features=10, bias=True)  # 650 parameters
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"Linear was given {in_features} inputs and {out_features} outputs; "
                f"expected at least 1 of each"
            )
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.weight = Parameter(zeros(shape, dtype, device))
        self.bias = Parameter(zeros(out_features, dtype, device)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1.0 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Any:
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """Its input, unchanged; takes and ignores any arguments.

    >>> Identity(54, unused=True)(tg.tensor([1.0]))
    tensor([1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, input: Any) -> Any:
        return input


class Flatten(Module):
    """Axes `start_dim` to `end_dim` as one; by default all but the first.

    >>> Flatten()(tg.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Any) -> Any:
        shape, n = input.shape, input.ndim
        for axis in (self.start_dim, self.end_dim):
            if not -max(n, 1) <= axis < max(n, 1):
                raise IndexError(
                    f"Flatten: axis {axis} is out of range for shape {shape}"
                )
        start, end = self.start_dim % max(n, 1), self.end_dim % max(n, 1)
        if start > end:
            raise ValueError(
                f"Flatten: start_dim {self.start_dim} comes after end_dim "
                f"{self.end_dim} in shape {shape}"
            )
        middle = math.prod(shape[start : end + 1])
        return ops.reshape(input, (*shape[:start], middle, *shape[end + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Axis `dim` as several, of lengths `unflattened_size`.

    >>> Unflatten(1, (3, 4))(tg.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Any:
        shape, dim = input.shape, check_axis("Unflatten", self.dim, input)
        return ops.reshape(
            input, (*shape[:dim], *self.unflattened_size, *shape[dim + 1 :])
        )

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
