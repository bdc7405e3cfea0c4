"""Products with a weight matrix."""

from __future__ import annotations

from math import prod
from typing import Any

from ...autograd import is_grad_enabled, primitive, scaled
from ...backends import backend_of
from ...ops.activations import _gelu, _gelu_tanh, relu
from ...ops.autocasting import lowered
from ...ops.axes import check_array
from ...ops.cross_entropy_checks import check_floating
from ...ops.linalg import _matmul
from ...ops.shaping import _reshape

__all__ = ["linear"]


@primitive(name="linear")
def _linear(input, weight, bias=None):
    out = backend_of(input).matmul(input, weight.T)
    if bias is None:
        return out
    if out.dtype != bias.dtype:
        return out + bias
    out += bias  # nobody else holds it
    return out


@_linear.vjp("input")
def _(g, weight):
    return _matmul(g, weight)


@_linear.vjp("weight")
def _weight_rule(g, input):
    # Y = X W^T gives dW = dY^T X, one product of all rows.
    if input.ndim == 2:
        return _matmul(g.T, input)
    n = prod(input.shape[:-1])
    rows = _reshape(g, shape=(n, g.shape[-1]))
    return _matmul(rows.T, _reshape(input, shape=(n, input.shape[-1])))


@_linear.vjp("bias")
def _(g):
    return g


@primitive(name="linear_activation", residuals=("kept",))
def _linear_activation(input, weight, bias, *, activation, with_grad):
    backend = backend_of(input)
    out = backend.matmul(input, weight.T)
    return backend.bias_activation(out, bias, activation, with_grad)


@_linear_activation.vjp("input", "weight", "bias")
def _(g, input, weight, bias, activation, needs):
    x = _linear(input, weight, bias)  # which for relu is as good as its result
    d = _ACTIVATIONS[activation].formulas[("x",)](g, x)
    into_input = _matmul(d, weight) if needs[0] else None
    into_weight = _weight_rule(d, input) if needs[1] else None
    return into_input, into_weight, d


@_linear_activation.fused("input", "weight", "bias")
def _(g, input, weight, bias, activation, needs, kept):
    kernel = backend_of(g).bias_activation_grad
    d, d_bias = kernel(g, kept, bias, activation, needs[2], scaled)
    into_input = _matmul(d, weight) if needs[0] else None
    into_weight = _weight_rule(d, input) if needs[1] else None
    return into_input, into_weight, d_bias


_ACTIVATIONS = {"relu": relu, "gelu": _gelu, "gelu_tanh": _gelu_tanh}


def linear_activation(input: Any, weight: Any, bias: Any, activation: str) -> Any:
    """activation(linear(input, weight, bias)) as one op: the bias is added, and its
    gradient summed up, in the passes that the activation takes anyway.

    For our own modules. The arguments are those of `linear`, with a bias.

    activation: "relu", "gelu" or "gelu_tanh".
    """
    _check(input, weight, bias)
    given = lowered(input, weight, bias)
    with_grad = is_grad_enabled() and any(
        getattr(x, "node", None) is not None for x in given
    )
    return _linear_activation(*given, activation=activation, with_grad=with_grad)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """`input @ weight.T + bias`, `torch.nn.functional.linear`.

    Args:
        input: shape (..., in_features).
        weight: shape (out_features, in_features).
        bias: shape (out_features,), or None.

    Returns:
        Shape (..., out_features).

    Raises:
        ValueError: shapes that do not fit.
        TypeError: an input that is not floating.

    >>> import tinygrad_softmax as tg
    >>> linear(tg.tensor([1.0, 2.0]), tg.tensor([[3.0, 4.0]]), tg.tensor([5.0]))
    tensor([16.])
    """
    _check(input, weight, bias)
    return _linear(*lowered(input, weight, bias))


def _check(input: Any, weight: Any, bias: Any) -> None:
    rows, matrix = getattr(input, "array", input), getattr(weight, "array", weight)
    check_array("linear", rows, matrix)
    if rows.dtype.kind != "f":
        check_floating("linear", "the input is", rows)
    x, w = rows.shape, matrix.shape
    b = None if bias is None else bias.shape
    if not x or len(w) != 2 or x[-1] != w[1] or b not in (None, w[:1]):
        raise ValueError(
            f"linear: input, weight and bias have shapes {x}, {w} and {b}; expected "
            "(..., in_features), (out_features, in_features) and (out_features,)"
            + (
                f"; mend: the input's last axis, of length {x[-1]}, must have {w[1]}"
                if x and len(w) == 2 and x[-1] != w[1]
                else ""
            )
        )
