"""Activation functions, with PyTorch's signatures.

What is an op of the library is that op; the rest are compositions, in which the branch
of a `where` that is not taken stays finite, so that no nan comes back from it. At kinks
the gradients are PyTorch's. `inplace` is accepted for PyTorch's signature and ignored:
a new tensor is made regardless, for the graph may need the old values.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...tensor import Tensor

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softsign",
    "tanh",
    "threshold",
]


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); the gradient at 0 is 0. The op `tg.relu`.

    >>> relu(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return ops.relu(input)


def hardtanh(
    input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    """x limited to [min_val, max_val]; the gradient at the limits is 0.

    (That of `tg.clip` is 1 there, as PyTorch's `clamp`.)

    >>> hardtanh(tg.tensor([-2.0, 0.5, 3.0]))
    tensor([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(
            f"hardtanh: min_val={min_val} is greater than max_val={max_val}"
        )
    inside = ops.logical_and(input > min_val, input < max_val)
    limited = ops.clip(without_graph(input), min_val, max_val)
    return ops.where(inside, input, limited)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); the gradient at 0 and at 6 is 0.

    >>> relu6(tg.tensor([-2.0, 0.5, 8.0]))
    tensor([0. , 0.5, 6. ])
    """
    return hardtanh(input, 0.0, 6.0)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else `value`.

    >>> threshold(tg.tensor([0.0, 2.0]), 1.0, -5.0)
    tensor([-5.,  2.])
    """
    return ops.where(input > threshold, input, value)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope x. The op `tg.leaky_relu`.

    >>> leaky_relu(tg.tensor([-2.0, 3.0]), 0.1)
    tensor([-0.2,  3. ])
    """
    return ops.leaky_relu(input, negative_slope)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight x; the weight is learned.

    Source: He et al., "Delving deep into rectifiers", 2015.

    Args:
        input: shape (N, C, ...), or any shape if there is one weight.
        weight: shape (C,) or (1,).

    Raises:
        ValueError: as many weights as neither 1 nor the channels.

    >>> prelu(tg.tensor([-2.0, 3.0]), tg.tensor([0.5]))
    tensor([-1.,  3.])
    """
    if weight.size != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.ndim != 1 or weight.size != channels:
            raise ValueError(
                f"prelu: weight has shape {tuple(weight.shape)}; expected (1,) or a "
                f"weight for each channel, {(channels,)}, for an input of shape "
                f"{tuple(input.shape)}"
            )
        weight = ops.reshape(weight, (channels, *(1,) * (input.ndim - 2)))
    else:
        weight = ops.reshape(weight, (1,) * input.ndim)
    positive = input > 0
    return ops.where(positive, input, weight * ops.where(positive, 0.0, input))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (e^x - 1). The op `tg.elu`.

    >>> elu(tg.tensor([-1.0, 3.0]))
    tensor([-0.6321206,  3.       ])
    """
    return ops.elu(input, alpha)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Any, inplace: bool = False) -> Any:
    """scale elu(x, alpha), scale = 1.0507..., alpha = 1.6732...

    Source: Klambauer et al., "Self-normalizing neural networks", 2017, equation 2.

    >>> selu(tg.tensor([-1.0, 3.0]))
    tensor([-1.1113307,  3.152103 ])
    """
    return _SELU_SCALE * ops.elu(input, _SELU_ALPHA)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (e^(x / alpha) - 1). alpha must not be 0.

    Source: Barron, "Continuously differentiable exponential linear units", 2017.

    >>> celu(tg.tensor([-1.0, 3.0]), 2.0)
    tensor([-0.7869387,  3.       ])
    """
    if alpha == 0:
        raise ValueError("celu: alpha was given as 0, which x is divided by")
    positive = input > 0
    below = ops.where(positive, 0.0, input) * (1.0 / alpha)
    return ops.where(positive, input, alpha * ops.expm1(below))


def gelu(input: Any, approximate: str = "none") -> Any:
    """x Phi(x), exactly or ("tanh") by an approximation. The op `tg.gelu`.

    >>> gelu(tg.tensor([-1.0, 3.0]))
    tensor([-0.15865526,  2.9959502 ])
    """
    return ops.gelu(input, approximate)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x). The op `tg.silu`.

    >>> silu(tg.tensor([-1.0, 3.0]))
    tensor([-0.26894143,  2.8577225 ])
    """
    return ops.silu(input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(softplus(x)).

    Source: Misra, "Mish: a self regularized non-monotonic activation function", 2020.

    >>> mish(tg.tensor([-1.0, 3.0]))
    tensor([-0.30340144,  2.9865351 ])
    """
    return input * ops.tanh(ops.softplus(input))


def sigmoid(input: Any) -> Any:
    """1 / (1 + e^-x). The op `tg.sigmoid`.

    >>> sigmoid(tg.tensor([0.0, 100.0]))
    tensor([0.5, 1. ])
    """
    return ops.sigmoid(input)


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)) = -softplus(-x), without overflow.

    >>> logsigmoid(tg.tensor([0.0, -1000.0]))
    tensor([-6.9314718e-01, -1.0000000e+03])
    """
    return -ops.softplus(-input)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent. The op `tg.tanh`.

    >>> tanh(tg.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    return ops.tanh(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold, as in PyTorch.

    `tg.softplus` has no threshold and needs none: it does not overflow.

    >>> softplus(tg.tensor([0.0, 1000.0]))
    tensor([6.9314718e-01, 1.0000000e+03])
    """
    if beta == 0:
        raise ValueError("softplus: beta was given as 0, which is divided by")
    if beta == 1:
        return ops.where(input > threshold, input, ops.softplus(input))
    scaled = input * beta
    curved = ops.softplus(scaled) * (1.0 / beta)
    return ops.where(scaled > threshold, input, curved)


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> softsign(tg.tensor([-1.0, 3.0]))
    tensor([-0.5 ,  0.75])
    """
    return input / (1.0 + ops.abs(input))


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6; the gradient at -3 and 3 is 0.

    (PyTorch's gradient has 1/6 as a float32, which is 3e-8 off.)

    >>> hardsigmoid(tg.tensor([-4.0, 0.0, 4.0]))
    tensor([0. , 0.5, 1. ])
    """
    return relu6(input + 3.0) * (1.0 / 6.0)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x hardsigmoid(x); the gradient at -3 is 0 and at 3 is 1.

    Source: Howard et al., "Searching for MobileNetV3", 2019.

    >>> hardswish(tg.tensor([-4.0, 0.0, 4.0]))
    tensor([-0.,  0.,  4.])
    """
    return input * hardsigmoid(input)


def glu(input: Any, dim: int = -1) -> Any:
    """a sigmoid(b), where a and b are the halves of the input along axis `dim`.

    Source: Dauphin et al., "Language modeling with gated convolutional networks", 2017.

    Raises:
        ValueError: that axis has an odd length.

    >>> glu(tg.tensor([2.0, 0.0]))
    tensor([1.])
    """
    if input.ndim and -input.ndim <= dim < input.ndim and input.shape[dim] % 2:
        raise ValueError(
            f"glu: axis {dim} of shape {tuple(input.shape)} has the odd length "
            f"{input.shape[dim]}; expected an even one, to be halved"
        )
    a, b = ops.split(input, 2, axis=dim)
    return a * ops.sigmoid(b)


def softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """exp(x) / sum(exp(x)) along axis `dim`. The op `tg.softmax`.

    dtype: what the input is made first. PyTorch guesses `dim` where it isn't given, and
    warns; here it is an error.

    >>> softmax(tg.tensor([[0.0, 0.0]]), dim=1)
    tensor([[0.5, 0.5]])
    """
    return ops.softmax(_of_dtype(input, dtype), _along("softmax", dim))


def log_softmax(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """log(softmax(x)) along axis `dim`; as `softmax`. The op `tg.log_softmax`.

    >>> log_softmax(tg.tensor([[1000.0, 0.0]]), dim=1)
    tensor([[    0., -1000.]])
    """
    return ops.log_softmax(_of_dtype(input, dtype), _along("log_softmax", dim))


def softmin(input: Any, dim: int | None = None, dtype: Any = None) -> Any:
    """softmax(-x) along axis `dim`; as `softmax`.

    >>> softmin(tg.tensor([[0.0, 1000.0]]), dim=1)
    tensor([[1., 0.]])
    """
    return ops.softmax(-_of_dtype(input, dtype), _along("softmin", dim))


def without_graph(x: Any) -> Any:
    """The same values as a constant."""
    return x.detach() if isinstance(x, Tensor) else x


def _of_dtype(x: Any, dtype: Any) -> Any:
    return x if dtype is None else ops.astype(x, dtype)


def _along(name: str, dim: int | None) -> int:
    if dim is None:
        raise ValueError(f"{name}: no axis was given; mend: dim=-1 for the last one")
    return dim
