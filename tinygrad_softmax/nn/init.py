"""Initial values, with PyTorch's names, formulas and defaults (`torch.nn.init`).

Each function fills a tensor in place, outside any graph, and returns it. Numbers are
drawn on the host, so that one seed gives the same weights on every device. Glorot's
schemes (here `xavier_`) are from X. Glorot and Y. Bengio, "Understanding the difficulty
of training deep feedforward neural networks", AISTATS 2010; `kaiming_` from K. He et
al., "Delving deep into rectifiers", ICCV 2015.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Generator, backend_of, there
from ..backends.random import default_generator
from ..tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in [a, b).

    >>> tg.manual_seed(0) and bool((uniform_(tg.zeros(9), 2.0, 3.0) >= 2.0).all())
    True
    """
    if a > b:
        raise ValueError(f"uniform_: [{a}, {b}) is empty; expected a <= b")
    shape = _array(tensor).shape
    return _fill(tensor, _rng(generator).uniform(a, b, shape))


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, of this mean and standard deviation.

    >>> normal_(tg.zeros((2, 3))).shape
    (2, 3)
    """
    if std < 0:
        raise ValueError(f"normal_: std was given as {std}; expected >= 0")
    return _fill(tensor, _rng(generator).normal(mean, std, tensor.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, but within [a, b]: numbers outside are drawn again.

    >>> float(trunc_normal_(tg.zeros(100)).abs().max()) <= 2.0
    True
    """
    if not a < b or not std > 0:
        raise ValueError(
            f"trunc_normal_: a={a}, b={b} and std={std} were given; expected a < b and "
            "std > 0"
        )
    rng, n = _rng(generator), math.prod(tensor.shape)
    values, missing = np.empty(n), np.arange(n)
    while missing.size:
        drawn, kept = _within(rng, (a - mean) / std, (b - mean) / std, missing.size)
        values[missing[kept]] = mean + std * drawn[kept]
        missing = missing[~kept]
    return _fill(tensor, np.clip(values, a, b).reshape(tensor.shape))


def _within(rng: np.random.Generator, low: float, high: float, n: int):
    """Draws in [low, high], and which to keep, so that those are normal.

    They are drawn from a normal where a quarter of them fall inside; else uniformly,
    and kept in proportion to the density, as far as that is not 0 beside the largest.
    """
    share = 0.5 * (math.erf(high / math.sqrt(2.0)) - math.erf(low / math.sqrt(2.0)))
    if share > 0.25:
        drawn = rng.normal(size=n)
        return drawn, (drawn >= low) & (drawn <= high)
    nearest = min(max(low, 0.0), high)
    if nearest:
        reach = 40.0 / abs(nearest)  # the density falls faster than e^-40 beyond
        low, high = max(low, nearest - reach), min(high, nearest + reach)
    drawn = rng.uniform(low, high, n)
    return drawn, rng.exponential(size=n) >= 0.5 * (drawn**2 - nearest**2)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every entry `val`.

    >>> constant_(tg.zeros(2), 3.0)
    tensor([3., 3.])
    """
    array = _array(tensor)
    with there(array):
        array[...] = val
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Every entry 1.

    >>> ones_(tg.zeros(2))
    tensor([1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Every entry 0.

    >>> zeros_(tg.ones(2))
    tensor([0., 0.])
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """1 on the diagonal of a matrix, 0 elsewhere.

    >>> eye_(tg.ones((2, 2)))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_: expected a matrix, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that hands its input channels on, as many as there are.

    >>> dirac_(tg.ones((1, 1, 3)))
    tensor([[[0., 1., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(
            f"dirac_: got shape {tensor.shape} with {groups} groups; expected the "
            "weight of a convolution, 3 to 5 axes, whose first length groups divides"
        )
    values = np.zeros(tensor.shape)
    middle = tuple(n // 2 for n in tensor.shape[2:])
    each = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(each, tensor.shape[1])):
            values[(group * each + channel, channel, *middle)] = 1.0
    return _fill(tensor, values)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in +-gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, eq. 16).

    >>> float(xavier_uniform_(tg.zeros((3, 3))).abs().max()) <= 1.0
    True
    """
    fan_in, fan_out = _fans(tensor, "xavier_uniform_")
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal with std gain sqrt(2 / (fan_in + fan_out)).

    >>> xavier_normal_(tg.zeros((3, 3))).shape
    (3, 3)
    """
    fan_in, fan_out = _fans(tensor, "xavier_normal_")
    std = gain * math.sqrt(2.0 / (fan_in + fan_out))
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in +-gain sqrt(3 / fan) (He et al., section 2.2).

    a: the negative slope, for "leaky_relu".
    mode: "fan_in" keeps the variance of the forward pass, "fan_out" of backward.

    >>> float(kaiming_uniform_(tg.zeros((2, 6))).abs().max()) <= 1.0
    True
    """
    std = _kaiming(tensor, a, mode, nonlinearity, "kaiming_uniform_")
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with std gain / sqrt(fan); the options as `kaiming_uniform_`.

    >>> kaiming_normal_(tg.zeros((2, 6)), nonlinearity="relu").shape
    (2, 6)
    """
    std = _kaiming(tensor, a, mode, nonlinearity, "kaiming_normal_")
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """gain times a matrix with orthonormal rows or columns, whichever are fewer.

    Axes after the first are taken as one. (A. Saxe et al., "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks", ICLR 2014.)

    >>> w = orthogonal_(tg.zeros((3, 2), dtype="float64"))
    >>> bool((abs(w.T @ w - tg.eye(2)) < 1e-12).all())
    True
    """
    if tensor.ndim < 2:
        raise ValueError(
            f"orthogonal_: got shape {tensor.shape}; expected two axes or more"
        )
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draw = _rng(generator).normal(size=(rows, columns))
    q, r = np.linalg.qr(draw if rows >= columns else draw.T)
    q *= np.sign(np.diagonal(r))  # so that every such matrix is as likely
    return _fill(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, with the share `sparsity` of each column of a matrix set to 0.

    (J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.)

    >>> int((sparse_(tg.ones((4, 3)), 0.5) == 0.0).sum())
    6
    """
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: expected a matrix, got shape {tensor.shape}")
    rng = _rng(generator)
    values = rng.normal(0.0, std, tensor.shape)
    zeros = math.ceil(sparsity * tensor.shape[0])
    for column in range(tensor.shape[1]):
        values[rng.permutation(tensor.shape[0])[:zeros], column] = 0.0
    return _fill(tensor, values)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """PyTorch's recommended gain before a nonlinearity.

    param: the negative slope of "leaky_relu", 0.01 by default.

    >>> calculate_gain("relu")
    1.4142135623730951
    """
    slope = 0.01 if param is None else param
    gains = dict.fromkeys(("linear", "sigmoid", "conv1d", "conv2d", "conv3d"), 1.0)
    gains |= dict.fromkeys((f"conv_transpose{n}d" for n in (1, 2, 3)), 1.0)
    gains |= {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    gains["leaky_relu"] = math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: nonlinearity was given as {nonlinearity!r}; expected one "
            f"of {', '.join(gains)}"
        )
    return gains[nonlinearity]


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str, name: str):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(
            f"{name}: mode was given as {mode!r}; expected 'fan_in' or 'fan_out'"
        )
    fan = _fans(tensor, name)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _fans(tensor: Tensor, name: str) -> tuple[int, int]:
    """How many inputs each output has, and how many outputs each input."""
    if tensor.ndim < 2:
        raise ValueError(
            f"{name}: got shape {tensor.shape}; expected two axes or more, for the "
            "numbers of inputs and outputs"
        )
    field = math.prod(tensor.shape[2:])
    fans = tensor.shape[1] * field, tensor.shape[0] * field
    if not all(fans):
        raise ValueError(f"{name}: shape {tensor.shape} has no entries to draw")
    return fans


def _rng(generator: Generator | None) -> np.random.Generator:
    """The host's native generator for the next draw."""
    return (generator or default_generator).next(backend_of(np.empty(0)))


def _array(tensor: Tensor) -> Any:
    if isinstance(tensor, Tensor):
        return tensor.array
    raise TypeError(
        f"nn.init got a {type(tensor).__name__}; expected a tensor, such as "
        "module.weight"
    )


def _fill(tensor: Tensor, values: np.ndarray) -> Tensor:
    backend = backend_of(_array(tensor))
    with backend.on(tensor.device):
        tensor.array[...] = backend.asarray(values.astype(tensor.dtype))
    return tensor
