"""Activation functions as modules.

`inplace` is accepted for PyTorch's signature and ignored: a new tensor is made
regardless, for the graph may need the old values.
"""

from __future__ import annotations

from typing import Any

from ..creation import full
from . import functional, init
from .module import Module, Parameter

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softsign",
    "Tanh",
    "Threshold",
]


class _Activation(Module):
    """One that shows its options in `repr`; `inplace` if it was asked for."""

    shown: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        names = [*self.shown, *["inplace"] * bool(vars(self).get("inplace"))]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class ReLU(_Activation):
    """max(x, 0); its gradient at 0 is 0.

    inplace: accepted and ignored, here and in the other activations.

    >>> ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.relu(input)


class ReLU6(ReLU):
    """min(max(x, 0), 6): `functional.relu6`.

    >>> ReLU6()(tg.tensor([-1.0, 2.0, 8.0]))
    tensor([0., 2., 6.])
    """

    def forward(self, input: Any) -> Any:
        return functional.relu6(input)


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope x: `functional.leaky_relu`.

    >>> LeakyReLU(0.1)(tg.tensor([-2.0, 3.0]))
    tensor([-0.2,  3. ])
    """

    shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.leaky_relu(input, self.negative_slope)


class PReLU(_Activation):
    """x where x > 0, else weight x, with a weight that is learned: `functional.prelu`.

    num_parameters: 1, or one for each channel. init: what the weights start from.

    >>> PReLU()(tg.tensor([-2.0, 3.0]))
    tensor([-0.5,  3. ], requires_grad=True)
    """

    shown = ("num_parameters",)

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.num_parameters = num_parameters
        self.init = init
        weight = full(num_parameters, float(init), dtype, device)
        self.weight = Parameter(weight)

    def reset_parameters(self) -> None:
        """Every weight `init`."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Any) -> Any:
        return functional.prelu(input, self.weight)


class ELU(_Activation):
    """x where x > 0, else alpha (e^x - 1): `functional.elu`.

    >>> ELU()(tg.tensor([-1.0, 3.0]))
    tensor([-0.6321206,  3.       ])
    """

    shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.elu(input, self.alpha)


class SELU(ReLU):
    """The self-normalising elu: `functional.selu`.

    >>> SELU()(tg.tensor([-1.0, 3.0]))
    tensor([-1.1113307,  3.152103 ])
    """

    def forward(self, input: Any) -> Any:
        return functional.selu(input)


class CELU(ELU):
    """x where x > 0, else alpha (e^(x / alpha) - 1): `functional.celu`.

    >>> CELU(2.0)(tg.tensor([-1.0, 3.0]))
    tensor([-0.7869387,  3.       ])
    """

    def forward(self, input: Any) -> Any:
        return functional.celu(input, self.alpha)


class GELU(_Activation):
    """x Phi(x), exactly or by "tanh": `functional.gelu`.

    >>> GELU("tanh")
    GELU(approximate='tanh')
    """

    shown = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, input: Any) -> Any:
        return functional.gelu(input, self.approximate)


class SiLU(ReLU):
    """x sigmoid(x): `functional.silu`.

    >>> SiLU()(tg.tensor([-1.0, 3.0]))
    tensor([-0.26894143,  2.8577225 ])
    """

    def forward(self, input: Any) -> Any:
        return functional.silu(input)


class Mish(ReLU):
    """x tanh(softplus(x)): `functional.mish`.

    >>> Mish()(tg.tensor([-1.0, 3.0]))
    tensor([-0.30340144,  2.9865351 ])
    """

    def forward(self, input: Any) -> Any:
        return functional.mish(input)


class Sigmoid(_Activation):
    """1 / (1 + e^-x).

    >>> Sigmoid()(tg.tensor([0.0, 100.0]))
    tensor([0.5, 1. ])
    """

    def forward(self, input: Any) -> Any:
        return functional.sigmoid(input)


class LogSigmoid(_Activation):
    """log(sigmoid(x)): `functional.logsigmoid`.

    >>> LogSigmoid()(tg.tensor([-100.0]))
    tensor([-100.])
    """

    def forward(self, input: Any) -> Any:
        return functional.logsigmoid(input)


class Tanh(_Activation):
    """The hyperbolic tangent.

    >>> Tanh()(tg.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """

    def forward(self, input: Any) -> Any:
        return functional.tanh(input)


class Softplus(_Activation):
    """log(1 + e^(beta x)) / beta: `functional.softplus`.

    >>> Softplus()(tg.tensor([0.0]))
    tensor([0.6931472])
    """

    shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Any) -> Any:
        return functional.softplus(input, self.beta, self.threshold)


class Softsign(_Activation):
    """x / (1 + |x|).

    >>> Softsign()(tg.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """

    def forward(self, input: Any) -> Any:
        return functional.softsign(input)


class Hardtanh(_Activation):
    """x limited to [min_val, max_val]: `functional.hardtanh`.

    >>> Hardtanh()(tg.tensor([-2.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """

    shown = ("min_val", "max_val")

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
    ) -> None:
        if min_val > max_val:
            raise ValueError(
                f"Hardtanh: min_val={min_val} is greater than max_val={max_val}"
            )
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.hardtanh(input, self.min_val, self.max_val)


class Hardsigmoid(ReLU):
    """min(max(x + 3, 0), 6) / 6: `functional.hardsigmoid`.

    >>> Hardsigmoid()(tg.tensor([-4.0, 0.0, 4.0]))
    tensor([0. , 0.5, 1. ])
    """

    def forward(self, input: Any) -> Any:
        return functional.hardsigmoid(input)


class Hardswish(ReLU):
    """x hardsigmoid(x): `functional.hardswish`.

    >>> Hardswish()(tg.tensor([0.0, 4.0]))
    tensor([0., 4.])
    """

    def forward(self, input: Any) -> Any:
        return functional.hardswish(input)


class Softmax(_Activation):
    """softmax along axis `dim`: `functional.softmax`.

    >>> Softmax(dim=1)(tg.tensor([[0.0, 0.0]]))
    tensor([[0.5, 0.5]])
    """

    shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.softmax(input, self.dim)


class LogSoftmax(Softmax):
    """log_softmax along axis `dim`: `functional.log_softmax`.

    >>> LogSoftmax(dim=1)(tg.tensor([[1000.0, 0.0]]))
    tensor([[    0., -1000.]])
    """

    def forward(self, input: Any) -> Any:
        return functional.log_softmax(input, self.dim)


class Softmin(Softmax):
    """softmax of -x along axis `dim`: `functional.softmin`.

    >>> Softmin(dim=1)(tg.tensor([[0.0, 1000.0]]))
    tensor([[1., 0.]])
    """

    def forward(self, input: Any) -> Any:
        return functional.softmin(input, self.dim)


class GLU(_Activation):
    """a sigmoid(b) of the halves a and b along axis `dim`: `functional.glu`.

    >>> GLU()(tg.tensor([2.0, 0.0]))
    tensor([1.])
    """

    shown = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, input: Any) -> Any:
        return functional.glu(input, self.dim)


class Threshold(_Activation):
    """x where x > threshold, else `value`: `functional.threshold`.

    >>> Threshold(1.0, -5.0)(tg.tensor([0.0, 2.0]))
    tensor([-5.,  2.])
    """

    shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Any) -> Any:
        return functional.threshold(input, self.threshold, self.value)
