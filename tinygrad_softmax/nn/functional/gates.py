"""What happens to the gates of an LSTM or a GRU in one step, each as one op.

Composed of sigmoids, products and slices, a step would be a dozen ops on small arrays,
and the graph would cost more than the numbers.
"""

from __future__ import annotations

from typing import Any

from ... import ops
from ...autograd import primitive
from ...backends.dtypes import working_dtype

__all__: list[str] = []


def _parts(gates: Any, n: int) -> list[Any]:
    """The gates' n equal parts along the last axis."""
    width = gates.shape[-1] // n
    return [gates[..., i * width : (i + 1) * width] for i in range(n)]


def _wide(array: Any) -> Any:
    """16-bit floats as float32."""
    return array.astype(working_dtype(array.dtype), copy=False)


@primitive
def lstm_state(gates, state):
    """The next cell state, sigmoid(f) c + sigmoid(i) tanh(z).

    gates: shape (N, 4 H), the scores of the input gate i, the forget gate f, the new
        values z and the output gate o, side by side.
    state: c, shape (N, H).

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural
    Computation 9, 1997; the forget gate from F. Gers et al., 2000.
    """
    i, f, z, _ = _parts(_wide(gates), 4)
    out = ops.sigmoid(f) * state + ops.sigmoid(i) * ops.tanh(z)
    return out.astype(gates.dtype, copy=False)


@lstm_state.vjp("gates")
def _(g, gates, state):
    i, f, z, o = _parts(gates, 4)
    into_i = g * ops.tanh(z) * _slope(i)
    into_f = g * state * _slope(f)
    into_z = g * ops.sigmoid(i) * _tanh_slope(z)
    return ops.concatenate([into_i, into_f, into_z, o * 0.0], axis=-1)


@lstm_state.vjp("state")
def _(g, gates):
    return g * ops.sigmoid(_parts(gates, 4)[1])


@primitive
def lstm_output(gates, state):
    """The hidden state, sigmoid(o) tanh(c), of the next cell state c.

    gates, state: as of `lstm_state`.
    """
    out = ops.sigmoid(_parts(_wide(gates), 4)[3]) * ops.tanh(_wide(state))
    return out.astype(gates.dtype, copy=False)


@lstm_output.vjp("gates")
def _(g, gates, state):
    others, o = gates[..., : -state.shape[-1]], gates[..., -state.shape[-1] :]
    return ops.concatenate([others * 0.0, g * ops.tanh(state) * _slope(o)], axis=-1)


@lstm_output.vjp("state")
def _(g, gates, state):
    return g * ops.sigmoid(_parts(gates, 4)[3]) * _tanh_slope(state)


@primitive
def gru_state(from_input, from_state, state):
    """The next hidden state, (1 - sigmoid(z)) n + sigmoid(z) h.

    With n = tanh(n_x + sigmoid(r) n_h), r = r_x + r_h and z = z_x + z_h.

    from_input: shape (N, 3 H), r_x, z_x and n_x side by side.
    from_state: shape (N, 3 H), r_h, z_h and n_h.
    state: h, shape (N, H).

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder",
    EMNLP 2014, with the reset gate after the product, as in cuDNN and PyTorch.
    """
    z, new, _ = _gru_parts(_wide(from_input), _wide(from_state))
    out = new + ops.sigmoid(z) * (state - new)
    return out.astype(state.dtype, copy=False)


def _gru_parts(from_input, from_state):
    """The scores of the update gate z, the new values n, and the scores of r."""
    r, z, n = _parts(from_input, 3)
    r_h, z_h, n_h = _parts(from_state, 3)
    r = r + r_h
    return z + z_h, ops.tanh(n + ops.sigmoid(r) * n_h), r


@gru_state.vjp("from_input", "from_state")
def _(g, from_input, from_state, state):
    z, new, r = _gru_parts(from_input, from_state)
    n_h = _parts(from_state, 3)[2]
    into_n = g * ops.sigmoid(-z) * (1.0 - new * new)
    into_z = g * (state - new) * _slope(z)
    into_r = into_n * n_h * _slope(r)
    after_reset = into_n * ops.sigmoid(r)
    return (
        ops.concatenate([into_r, into_z, into_n], axis=-1),
        ops.concatenate([into_r, into_z, after_reset], axis=-1),
    )


@gru_state.vjp("state")
def _(g, from_input, from_state):
    return g * ops.sigmoid(_gru_parts(from_input, from_state)[0])


def _slope(x):
    """The derivative of sigmoid at x."""
    return ops.sigmoid(x) * ops.sigmoid(-x)


def _tanh_slope(x):
    t = ops.tanh(x)
    return 1.0 - t * t
