"""RNN, LSTM and GRU.

The gates' scores are a product with the input and one with the hidden state. The first
does not wait for anything, so a layer takes the product of all steps at once; then it
goes step by step, with a product and one or two ops each.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import ops
from ..creation import zeros
from . import functional, init
from .cells import NONLINEARITIES, check_dtype, check_nonlinearity
from .functional.gates import gru_state, lstm_output, lstm_state
from .module import Module, Parameter

__all__ = ["GRU", "LSTM", "RNN"]


class _Layers(Module):
    """What RNN, LSTM and GRU share: layers and directions, and what goes in and out.

    A subclass has `gates`, how many times hidden_size scores a step needs, and `step`.
    """

    gates = 1
    states = 1  # how many arrays go from step to step: h, or h and c
    proj_size = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: str | None,
        dtype: Any,
    ) -> None:
        self._check_sizes(input_size, hidden_size, num_layers, dropout)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        wide, out = self.gates * hidden_size, self.proj_size or hidden_size
        for layer, suffix in self._places():
            features = out * (1 + bidirectional) if layer else input_size
            shapes = {"weight_ih": (wide, features), "weight_hh": (wide, out)}
            if bias:
                shapes |= {"bias_ih": (wide,), "bias_hh": (wide,)}
            if self.proj_size:
                shapes["weight_hr"] = (out, hidden_size)
            for name, shape in shapes.items():
                parameter = Parameter(zeros(shape, dtype, device))
                setattr(self, f"{name}_l{layer}{suffix}", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight and bias anew, uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def step(
        self, from_input: Any, from_state: Any, states: tuple, project: Any
    ) -> tuple:
        """The states after one step; the first of them is what the step gives out."""
        raise NotImplementedError

    def run(self, input: Any, hx: tuple | None) -> tuple[Any, tuple]:
        """The outputs of the last layer and the final states of all, batched or not."""
        self._check_input(input)
        batched = input.ndim == 3
        if not batched:
            input = ops.expand_dims(input, 1)
            hx = None if hx is None else self._with_batch(hx)
        elif self.batch_first:
            input = ops.swapaxes(input, 0, 1)
        starts = self._starts(input, hx, batched)
        finals: list[tuple] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                input = functional.dropout(input, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes():
                output, states = self._direction(
                    input, f"l{layer}{suffix}", starts[len(finals)]
                )
                outputs.append(output)
                finals.append(states)
            input = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, -1)
        last = tuple(map(ops.stack, zip(*finals, strict=True)))
        if not batched:
            return ops.squeeze(input, 1), tuple(ops.squeeze(x, 1) for x in last)
        return ops.swapaxes(input, 0, 1) if self.batch_first else input, last

    def _direction(self, input: Any, place: str, states: tuple) -> tuple[Any, tuple]:
        """One layer in one direction: its outputs (T, N, H), and its final states."""
        weight, bias, hidden_bias = self._input_weights(place)
        recurrent = self._at("weight_hh", place)
        project = self._at("weight_hr", place)
        scores = _unstacked(functional.linear(input, weight, bias))
        backwards = place.endswith("_reverse")
        outputs = []
        for from_input in reversed(scores) if backwards else scores:
            from_state = functional.linear(states[0], recurrent, hidden_bias)
            states = self.step(from_input, from_state, states, project)
            outputs.append(states[0])
        return ops.stack(outputs[::-1] if backwards else outputs), states

    def _input_weights(self, place: str) -> tuple[Any, Any, Any]:
        """The weight and bias of the product with the input, and what of bias_hh must
        be added in each step. The sum of both biases can be added at once."""
        bias = self._at("bias_ih", place)
        if bias is not None:
            bias = bias + self._at("bias_hh", place)
        return self._at("weight_ih", place), bias, None

    def _at(self, name: str, place: str) -> Any:
        return vars(self).get(f"{name}_{place}")

    def _suffixes(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _places(self) -> list[tuple[int, str]]:
        return [
            (n, suffix) for n in range(self.num_layers) for suffix in self._suffixes()
        ]

    def _starts(self, input: Any, hx: tuple | None, batched: bool) -> list[tuple]:
        """The first states of each layer and direction, each of shape (N, H)."""
        n, count = input.shape[1], len(self._places())
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: self.states]
        if hx is None:
            zero = [zeros((n, width), input.dtype, input.device) for width in widths]
            return [tuple(zero)] * count
        name = type(self).__name__
        if len(hx) != self.states:
            raise ValueError(
                f"{name}: {len(hx)} initial states were given; expected {self.states}"
            )
        for given, width in zip(hx, widths, strict=True):
            if tuple(given.shape) != (count, n, width):
                shape, wanted = tuple(given.shape), (count, n, width)
                if not batched:
                    shape, wanted = shape[::2], wanted[::2]
                raise ValueError(
                    f"{name}: an initial state has shape {shape}; expected {wanted}, "
                    f"(num_layers * directions{', N' * batched}, features)"
                )
        return list(zip(*map(_unstacked, hx), strict=True))

    def _with_batch(self, hx: tuple) -> tuple:
        for given in hx:
            if given.ndim != 2:
                raise ValueError(
                    f"{type(self).__name__}: an initial state has shape "
                    f"{tuple(given.shape)} beside an unbatched input; expected "
                    "(num_layers * directions, features)"
                )
        return tuple(ops.expand_dims(each, 1) for each in hx)

    def _check_input(self, input: Any) -> None:
        name = type(self).__name__
        if not hasattr(input, "ndim"):
            raise TypeError(
                f"{name}: the input is a {type(input).__name__}; expected a tensor "
                "(PackedSequence is not supported: pad, and mask the loss)"
            )
        form = "(N, T, features)" if self.batch_first else "(T, N, features)"
        shape = tuple(input.shape)
        length = shape[1] if len(shape) == 3 and self.batch_first else shape[:1]
        if (
            len(shape) not in (2, 3)
            or shape[-1] != self.input_size
            or length in (0, (0,))
        ):
            raise ValueError(
                f"{name}: the input has shape {shape}; expected {form}, or "
                f"(T, features), with {self.input_size} features and a step or more"
            )
        check_dtype(name, input, self._at("weight_ih", "l0"))

    def _check_sizes(
        self, input_size: int, hidden_size: int, num_layers: int, dropout: float
    ) -> None:
        name = type(self).__name__
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(
                f"{name} was given input_size={input_size}, hidden_size={hidden_size} "
                f"and num_layers={num_layers}; expected at least 1 of each"
            )
        if isinstance(dropout, bool) or not 0.0 <= dropout <= 1.0:
            raise ValueError(
                f"{name}: dropout was given as {dropout}; expected a probability in "
                "[0, 1]"
            )
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout={dropout} does nothing with num_layers=1: it is "
                "between layers; mend: more layers, or nn.Dropout on the output",
                stacklevel=4,
            )

    def extra_repr(self) -> str:
        options = {"proj_size": 0, "num_layers": 1, "bias": True}
        options |= {"batch_first": False, "dropout": 0.0, "bidirectional": False}
        said = [
            f"{name}={getattr(self, name)}"
            for name, default in options.items()
            if getattr(self, name) != default
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *said])


class RNN(_Layers):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), step by step; `torch.nn.RNN`.

    Source: J. Elman, "Finding structure in time", Cognitive Science 14, 1990.
    Weights start uniform in +-1 / sqrt(hidden_size). `PackedSequence` is not supported.

    Args:
        input_size: features of each step's input.
        hidden_size: features of the state.
        num_layers: how many layers, each on the outputs of the one before.
        nonlinearity: "tanh" or "relu".
        bias: whether b_ih and b_hh are there.
        batch_first: whether input and output are (N, T, features).
        dropout: dropout on the outputs of each layer but the last, in training.
        bidirectional: also from the last step to the first, with weights of its own.

    >>> rnn = RNN(3, 4, num_layers=2)
    >>> output, h = rnn(tg.zeros((5, 2, 3)))
    >>> output.shape, h.shape
    ((5, 2, 4), (2, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        check_nonlinearity("RNN", nonlinearity)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """The outputs of the last layer, and the last state of every layer.

        Args:
            input: shape (T, N, input_size), (N, T, input_size) with `batch_first`, or
                (T, input_size).
            hx: the first state of every layer and direction, shape (num_layers *
                directions, N, hidden_size), without N for an unbatched input; zeros if
                None.

        Returns:
            (output, h): shapes (T, N, directions * hidden_size) and that of `hx`.
        """
        output, (h,) = self.run(input, None if hx is None else (hx,))
        return output, h

    def step(
        self, from_input: Any, from_state: Any, states: tuple, project: Any
    ) -> tuple:
        return (NONLINEARITIES[self.nonlinearity](from_input + from_state),)


class LSTM(_Layers):
    """Long short-term memory, `torch.nn.LSTM`.

    With the scores i, f, z, o = W_ih x + b_ih + W_hh h + b_hh of a step, the cell state
    is c' = sigmoid(f) c + sigmoid(i) tanh(z) and the hidden state
    h' = sigmoid(o) tanh(c'). Source: S. Hochreiter and J. Schmidhuber, Neural
    Computation 9, 1997; F. Gers et al., Neural Computation 12, 2000.

    proj_size: if not 0, h' is W_hr sigmoid(o) tanh(c'), with so many features (H. Sak
        et al., 2014). The other arguments are those of `RNN`.

    >>> lstm = LSTM(3, 4, bidirectional=True, batch_first=True)
    >>> output, (h, c) = lstm(tg.zeros((2, 5, 3)))
    >>> output.shape, h.shape, c.shape
    ((2, 5, 8), (2, 2, 4), (2, 2, 4))
    """

    gates = 4
    states = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 <= proj_size < max(1, hidden_size):
            raise ValueError(
                f"LSTM was given proj_size={proj_size} and hidden_size={hidden_size}; "
                "expected 0, for none, or less than hidden_size"
            )
        self.proj_size = proj_size
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Any, Any]]:
        """(output, (h, c)): as `RNN`; hx is a pair of first states (h, c)."""
        output, (h, c) = self.run(input, None if hx is None else tuple(hx))
        return output, (h, c)

    def step(
        self, from_input: Any, from_state: Any, states: tuple, project: Any
    ) -> tuple:
        gates = from_input + from_state
        c = lstm_state(gates, states[1])
        h = lstm_output(gates, c)
        return h if project is None else functional.linear(h, project), c


class GRU(_Layers):
    """Gated recurrent unit, `torch.nn.GRU`.

    With r, z, n_x = W_ih x + b_ih and the like of W_hh h + b_hh, the state is
    h' = (1 - sigmoid(z)) n + sigmoid(z) h, where n = tanh(n_x + sigmoid(r) n_h).
    Source: K. Cho et al., EMNLP 2014; the reset gate after the product, as in PyTorch.

    The arguments are those of `RNN`, without `nonlinearity`.

    >>> gru = GRU(3, 4)
    >>> output, h = gru(tg.zeros((5, 3)))
    >>> output.shape, h.shape
    ((5, 4), (1, 4))
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
        )

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(output, h), as `RNN`."""
        output, (h,) = self.run(input, None if hx is None else (hx,))
        return output, h

    def _input_weights(self, place: str) -> tuple[Any, Any, Any]:
        # The reset gate multiplies n_h with its bias, so bias_hh stays in the step.
        bias, hidden = self._at("bias_ih", place), self._at("bias_hh", place)
        return self._at("weight_ih", place), bias, hidden

    def step(
        self, from_input: Any, from_state: Any, states: tuple, project: Any
    ) -> tuple:
        return (gru_state(from_input, from_state, states[0]),)


def _unstacked(x: Any) -> list[Any]:
    """x[0], x[1], ..., cut in halves.

    Backward fills an array of the size of what was cut, with zeros beside the part: in
    halves that is log2(T) times the size of x, one by one it would be T times.
    """
    n = x.shape[0]
    if n < 2:
        return [ops.reshape(x, x.shape[1:])] * n
    return [*_unstacked(x[: n // 2]), *_unstacked(x[n // 2 :])]
