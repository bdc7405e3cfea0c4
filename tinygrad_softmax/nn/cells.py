"""RNNCell, LSTMCell and GRUCell: single steps."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..creation import zeros
from ..ops.autocasting import lowered
from . import functional, init
from .functional.gates import gru_state, lstm_output, lstm_state
from .module import Module, Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell"]

NONLINEARITIES = {"tanh": ops.tanh, "relu": ops.relu}


class _Cell(Module):
    """What the cells share: the weights, and the checks of one step's input."""

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if min(input_size, hidden_size) < 1:
            raise ValueError(
                f"{type(self).__name__} was given input_size={input_size} and "
                f"hidden_size={hidden_size}; expected at least 1 of each"
            )
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        wide = self.gates * hidden_size
        self.weight_ih = Parameter(zeros((wide, input_size), dtype, device))
        self.weight_hh = Parameter(zeros((wide, hidden_size), dtype, device))
        self.bias_ih = Parameter(zeros(wide, dtype, device)) if bias else None
        self.bias_hh = Parameter(zeros(wide, dtype, device)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight and bias anew, uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _scores(self, input: Any, state: Any) -> tuple[Any, Any]:
        """The products with the input and with the state."""
        return (
            functional.linear(input, self.weight_ih, self.bias_ih),
            functional.linear(state, self.weight_hh, self.bias_hh),
        )

    def _start(self, input: Any, *given: Any) -> tuple[Any, ...]:
        """The states given, or zeros, after the checks."""
        name, shape = type(self).__name__, tuple(input.shape)
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ValueError(
                f"{name}: the input has shape {shape}; expected (N, {self.input_size}) "
                f"or ({self.input_size},)"
            )
        check_dtype(name, input, self.weight_ih)
        wanted = (*shape[:-1], self.hidden_size)
        for each in given:
            if each is not None and tuple(each.shape) != wanted:
                raise ValueError(
                    f"{name}: the state has shape {tuple(each.shape)}; expected "
                    f"{wanted} for an input of shape {shape}"
                )
        zero = None
        if any(each is None for each in given):
            zero = zeros(wanted, input.dtype, input.device)
        return tuple(zero if each is None else each for each in given)

    def extra_repr(self) -> str:
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


class RNNCell(_Cell):
    """One step of an `RNN`, `torch.nn.RNNCell`.

    >>> RNNCell(3, 4)(tg.zeros((2, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity("RNNCell", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The next state: input (N, input_size) or (input_size,), hx likewise."""
        (h,) = self._start(input, hx)
        from_input, from_state = self._scores(input, h)
        return NONLINEARITIES[self.nonlinearity](from_input + from_state)


class LSTMCell(_Cell):
    """One step of an `LSTM`, `torch.nn.LSTMCell`.

    >>> h, c = LSTMCell(3, 4)(tg.zeros((2, 3)))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The next states (h, c); hx is a pair of the ones before."""
        h, c = self._start(input, *((None, None) if hx is None else hx))
        from_input, from_state = self._scores(input, h)
        gates = from_input + from_state
        c = lstm_state(gates, c)
        return lstm_output(gates, c), c


class GRUCell(_Cell):
    """One step of a `GRU`, `torch.nn.GRUCell`.

    >>> GRUCell(3, 4)(tg.zeros(3)).shape
    (4,)
    """

    gates = 3

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The next state, as of `RNNCell`."""
        (h,) = self._start(input, hx)
        return gru_state(*self._scores(input, h), h)


def check_nonlinearity(name: str, nonlinearity: str) -> None:
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(
            f"{name}: nonlinearity was given as {nonlinearity!r}; expected 'tanh' or "
            "'relu'"
        )


def check_dtype(name: str, input: Any, weight: Any) -> None:
    if input.dtype == weight.dtype:
        return
    (used,) = lowered(weight)
    if used.dtype == weight.dtype:  # else `autocast` is on, and makes one of them
        raise TypeError(
            f"{name}: the input is {input.dtype} and the weights are {weight.dtype}; "
            f"expected one dtype; mend: input.astype({weight.dtype.name!r}), or "
            f"model.to(dtype={input.dtype.name!r})"
        )
