"""What the ops should compute, written without them: mpmath, SciPy, explicit loops.

Every function takes NumPy arrays and the statics of the op of the same meaning, and
returns float64 (or bools, or integers) however slowly: the inputs are small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import mpmath
import numpy as np

DIGITS = 40


def exact(f: Callable) -> Callable:
    """Elementwise, with broadcasting, from a function of mpmath's numbers."""

    def reference(*inputs: Any, **statics: Any) -> np.ndarray:
        inputs = np.broadcast_arrays(*inputs)
        out = np.empty(inputs[0].shape)
        with mpmath.workdps(DIGITS):
            for place in np.ndindex(out.shape):
                values = (mpmath.mpf(x[place].item()) for x in inputs)
                out[place] = float(f(*values, **statics))
        return out

    return reference


def each(f: Callable, dtype: Any = bool) -> Callable:
    """Elementwise, with broadcasting, from a function of Python's numbers."""

    def reference(*inputs: Any) -> np.ndarray:
        inputs = np.broadcast_arrays(*inputs)
        out = np.empty(inputs[0].shape, dtype)
        for place in np.ndindex(out.shape):
            out[place] = f(*(x[place].item() for x in inputs))
        return out

    return reference


# -- one element at a time -------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def gelu(x, approximate="none"):
    return x * mpmath.ncdf(x) if approximate == "none" else gelu_tanh(x)


def gelu_tanh(x):
    inner = mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)
    return x / 2 * (1 + mpmath.tanh(inner))


def elu(x, alpha=1.0):
    return x if x > 0 else alpha * mpmath.expm1(x)


def leaky_relu(x, negative_slope=0.01):
    return x if x > 0 else negative_slope * x


def clip(x, low=None, high=None):
    """An upper limit below the lower one wins."""
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return each(lambda x, low, high: min(max(x, low), high), float)(x, low, high)


# -- many elements to one --------------------------------------------------------------


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))


def over_axes(f: Callable, dtype: Any = float) -> Callable:
    """A reduction, from a function of the list of the elements that are reduced."""

    def reference(x, axis=None, keepdims=False, **statics):
        x, axes = np.asarray(x), axes_of(axis, np.ndim(x))
        out = np.empty([1 if i in axes else n for i, n in enumerate(x.shape)], dtype)
        for place in np.ndindex(out.shape):
            lines = [slice(None) if i in axes else p for i, p in enumerate(place)]
            out[place] = f(x[tuple(lines)].flatten().tolist(), **statics)
        kept = [n for i, n in enumerate(x.shape) if i not in axes]
        return out if keepdims else out.reshape(kept)

    return reference


def along_axis(f: Callable, dtype: Any = float) -> Callable:
    """From a function that makes a list of as many elements of a list."""

    def reference(x, axis=-1, **statics):
        x = np.asarray(x)
        if axis is None:
            x, axis = x.flatten(), 0
        out = np.empty(x.shape, dtype)
        for place in np.ndindex(*(x.shape[:axis] + x.shape[axis % x.ndim + 1 :])):
            lines = list(place)
            lines.insert(axis % x.ndim, slice(None))
            out[tuple(lines)] = f(x[tuple(lines)].tolist(), **statics)
        return out

    return reference


def mean(row):
    return math.fsum(row) / len(row)


def var(row, correction=0):
    middle = mean(row)
    return math.fsum((x - middle) ** 2 for x in row) / (len(row) - correction)


def std(row, correction=0):
    return math.sqrt(var(row, correction))


def logsumexp(row):
    with mpmath.workdps(DIGITS):
        return float(mpmath.log(mpmath.fsum(map(mpmath.exp, row))))


def log_softmax(row):
    with mpmath.workdps(DIGITS):
        total = mpmath.log(mpmath.fsum(map(mpmath.exp, row)))
        return [float(x - total) for x in row]


def softmax(row):
    with mpmath.workdps(DIGITS):
        total = mpmath.fsum(map(mpmath.exp, row))
        return [float(mpmath.exp(x) / total) for x in row]


def norm(row, ord=2):
    if ord == 0:
        return float(sum(x != 0 for x in row))
    if math.isinf(ord):
        return (max if ord > 0 else min)(map(abs, row))
    return math.fsum(abs(x) ** ord for x in row) ** (1 / ord)


def argmax(row):
    return max(range(len(row)), key=lambda i: (row[i], -i))


def argmin(row):
    return min(range(len(row)), key=lambda i: (row[i], i))


def argsort(row, descending=False):
    sign = -1 if descending else 1
    return sorted(range(len(row)), key=lambda i: (sign * row[i], i))


def cumsum(row):
    return list(accumulate(row))


# -- arrangement -----------------------------------------------------------------------


def reshape(x, shape):
    lengths = list(shape) if isinstance(shape, tuple) else [shape]
    if -1 in lengths:
        others = math.prod(n for n in lengths if n != -1)
        lengths[lengths.index(-1)] = x.size // others
    out = np.empty(lengths)
    for place, value in zip(np.ndindex(out.shape), x.flatten().tolist(), strict=True):
        out[place] = value
    return out


def permute_dims(x, axes=None):
    axes = tuple(range(x.ndim))[::-1] if axes is None else axes_of(tuple(axes), x.ndim)
    out = np.empty([x.shape[a] for a in axes])
    for place in np.ndindex(out.shape):
        source = [0] * x.ndim
        for a, p in zip(axes, place, strict=True):
            source[a] = p
        out[place] = x[tuple(source)]
    return out


def broadcast_to(x, shape):
    return x + np.zeros(shape)


def sum_to(x, shape):
    """Every element of x is added to the one that broadcasting would read it from."""
    out = np.zeros(shape)
    for place in np.ndindex(x.shape):
        tail = place[x.ndim - len(shape) :]
        target = [0 if n == 1 else p for p, n in zip(tail, shape, strict=True)]
        out[tuple(target)] += x[place]
    return out


def flip(x, axis=None):
    axes = axes_of(axis, x.ndim)
    return x[tuple(slice(None, None, -1 if i in axes else 1) for i in range(x.ndim))]


def roll(x, shift, axis=None):
    out = np.empty(x.shape)
    if axis is None:
        out.flat = [x.flat[(i - shift) % x.size] for i in range(x.size)]
        return out
    axes = axes_of(axis, x.ndim)
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
    for place in np.ndindex(x.shape):
        source = list(place)
        for a, s in zip(axes, shifts, strict=True):
            source[a] = (source[a] - s) % x.shape[a]
        out[place] = x[tuple(source)]
    return out


def triangle(keep: Callable[[int, int, int], bool]) -> Callable:
    def reference(x, k=0):
        out = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            if keep(place[-2], place[-1], k):
                out[place] = x[place]
        return out

    return reference


def linear(input, weight, bias=None):
    out = np.zeros((*input.shape[:-1], weight.shape[0]))
    for place in np.ndindex(out.shape):
        terms = input[place[:-1]] * weight[place[-1]]
        out[place] = math.fsum(terms) + (0.0 if bias is None else bias[place[-1]])
    return out


def linear_activation(input, weight, bias, *, activation, with_grad):
    functions = {"relu": lambda x: max(x, 0), "gelu": gelu, "gelu_tanh": gelu_tanh}
    return exact(functions[activation])(linear(input, weight, bias))


# Draws that keep the same of a few numbers on the CPU and on a GPU, with p = 0.25.
KEPT = {
    (0, 1): [True],
    (0, 9): [True, True, False, True, True, False],
    (0, 11): [False, True],
}


def dropout(input, *, p, draw, shape):
    kept = np.array(KEPT[draw[:2]][: math.prod(shape)]).reshape(shape)
    return input * kept / (1.0 - p)


def attention(query, key, value, *, is_causal=False, scale=None):
    out = np.zeros((*query.shape[:-1], value.shape[-1]))
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    for place in np.ndindex(query.shape[:-1]):
        lead, i = place[:-1], place[-1]
        keys = range(min(i + 1, key.shape[-2]) if is_causal else key.shape[-2])
        scores = [math.fsum(query[place] * key[lead][j]) * scale for j in keys]
        weights = [mpmath.exp(score) for score in scores]
        for k in range(value.shape[-1]):
            terms = [w * value[lead][j, k] for w, j in zip(weights, keys, strict=True)]
            out[place][k] = mpmath.fsum(terms) / mpmath.fsum(weights)
    return out


def layer_norm(input, weight, bias, *, axes, eps):
    shape = input.shape[input.ndim - axes :]
    out = np.zeros(input.shape)
    for place in np.ndindex(input.shape[: input.ndim - axes]):
        row = input[place]
        mean = math.fsum(row.flat) / row.size
        var = math.fsum(((row - mean) ** 2).flat) / row.size
        out[place] = (row - mean) / math.sqrt(var + eps)
    out = out if weight is None else out * weight
    assert bias is None or bias.shape == shape
    return out if bias is None else out + bias


def rms_norm(input, weight, *, axes, eps):
    out = np.zeros(input.shape)
    for place in np.ndindex(input.shape[: input.ndim - axes]):
        row = input[place]
        out[place] = row / math.sqrt(math.fsum((row**2).flat) / row.size + eps)
    return out if weight is None else out * weight


def batch_norm(input, weight, bias, *, eps):
    out = np.zeros(input.shape)
    for c in range(input.shape[1] if input.size else 0):
        x = input[:, c]
        mean = math.fsum(x.flat) / x.size
        var = math.fsum(((x - mean) ** 2).flat) / x.size
        out[:, c] = (x - mean) / math.sqrt(var + eps)
        out[:, c] *= 1.0 if weight is None else weight[c]
        out[:, c] += 0.0 if bias is None else bias[c]
    return out


def group_norm(input, weight, bias, *, groups, eps):
    rows = input.reshape(len(input) * groups, -1)
    out = layer_norm(rows, None, None, axes=1, eps=eps).reshape(input.shape)
    return channel_affine(out, None, weight, bias)


def channel_affine(input, mean, scale, shift):
    out = np.array(input)
    for c in range(input.shape[1]):
        out[:, c] -= 0.0 if mean is None else mean[c]
        out[:, c] *= 1.0 if scale is None else scale[c]
        out[:, c] += 0.0 if shift is None else shift[c]
    return out


def _cut(gates, parts):
    return np.split(np.asarray(gates), parts, axis=-1)


def lstm_state(gates, state):
    i, f, z, _ = _cut(gates, 4)

    def one(i, f, z, c):
        return sigmoid(f) * c + sigmoid(i) * mpmath.tanh(z)

    return exact(one)(i, f, z, state)


def lstm_output(gates, state):
    o = _cut(gates, 4)[3]
    return exact(lambda o, c: sigmoid(o) * mpmath.tanh(c))(o, state)


def gru_state(from_input, from_state, state):
    def one(r, z, n, r_h, z_h, n_h, h):
        new = mpmath.tanh(n + sigmoid(r + r_h) * n_h)
        return (1 - sigmoid(z + z_h)) * new + sigmoid(z + z_h) * h

    return exact(one)(*_cut(from_input, 3), *_cut(from_state, 3), state)


def concatenate(*arrays, axis=0):
    if axis is None:
        return np.array([value for x in arrays for value in x.flatten().tolist()])
    shape = list(arrays[0].shape)
    shape[axis] = sum(x.shape[axis] for x in arrays)
    out, start = np.empty(shape), 0
    before = (slice(None),) * (axis % len(shape))
    for x in arrays:
        out[(*before, slice(start, start + x.shape[axis]))] = x
        start += x.shape[axis]
    return out


def pad(x, pad_width, mode="constant", constant_values=0):
    if mode != "constant":
        return np.pad(x, pad_width, mode=mode)
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    shape = [n + sum(width) for n, width in zip(x.shape, widths, strict=True)]
    out = np.full(shape, float(constant_values))
    for place in np.ndindex(x.shape):
        out[tuple(p + w[0] for p, w in zip(place, widths, strict=True))] = x[place]
    return out


# -- picking ---------------------------------------------------------------------------


def _places(x, index):
    """Which element of the flattened x each element of x[index] is."""
    return np.arange(x.size).reshape(x.shape)[index]


def getitem(x, index):
    places = _places(x, index)
    out = np.empty(places.shape)
    for place in np.ndindex(places.shape):
        out[place] = x.flat[places[place]]
    return out


def _written(x, index, values, write):
    out, places = x.astype(float), _places(x, index)
    values = np.broadcast_to(values, places.shape)
    for place in np.ndindex(places.shape):
        write(out.reshape(-1), places[place], values[place])
    return out


def index_add(x, values, index):
    def write(flat, place, value):
        flat[place] += value

    return _written(x, index, values, write)


def index_update(x, values, index):
    def write(flat, place, value):
        flat[place] = value

    return _written(x, index, values, write)


# -- products --------------------------------------------------------------------------


def matmul(a, b):
    rows, columns = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
    out = (rows[..., :, :, None] * columns[..., None, :, :]).sum(axis=-2)
    out = out[..., 0] if b.ndim == 1 else out
    return (out[..., 0] if b.ndim == 1 else out[..., 0, :]) if a.ndim == 1 else out


def einsum(*operands, subscripts):
    """The definition: a sum over every value of every letter. `...` is written out."""
    text = subscripts.replace(" ", "")
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if not arrow:
        every = left.replace(",", "").replace("...", "")
        out = ("..." if "..." in left else "") + "".join(
            sorted(c for c in set(every) if every.count(c) == 1)
        )
    dots = "XYZW"
    hidden = max(x.ndim - len(t.replace("...", "")) for t, x in zip(terms, operands))
    filled = []
    for term, x in zip(terms, operands, strict=True):
        own = x.ndim - len(term.replace("...", ""))
        filled.append(term.replace("...", dots[hidden - own : hidden]))
    out = out.replace("...", dots[:hidden])
    size: dict[str, int] = {}
    for term, x in zip(filled, operands, strict=True):
        for letter, n in zip(term, x.shape, strict=True):
            size[letter] = (
                max(n, size.get(letter, n)) if n != 1 else size.get(letter, 1)
            )
    result = np.zeros([size[c] for c in out])
    for values in np.ndindex(*size.values()):
        at = dict(zip(size, values, strict=True))
        product = 1.0
        for term, x in zip(filled, operands, strict=True):
            place = (0 if n == 1 else at[c] for c, n in zip(term, x.shape, strict=True))
            product *= x[tuple(place)]
        result[tuple(at[c] for c in out)] += product
    return result


def vecdot(a, b, axis=-1):
    return (np.moveaxis(a, axis, -1) * np.moveaxis(b, axis, -1)).sum(axis=-1)


# -- the softmax cross-entropy ---------------------------------------------------------


def softmax_cross_entropy(
    logits,
    target,
    axis=-1,
    reduction="mean",
    weight=None,
    ignore_index=None,
    label_smoothing=0.0,
):
    """Row by row from the table of the definition, with 40 digits."""
    classes = logits.shape[axis]
    rows = np.moveaxis(logits, axis, -1)
    labels = target.dtype.kind in "iu"
    targets = target if labels else np.moveaxis(target, axis, -1)
    w = [1.0] * classes if weight is None else np.asarray(weight, float).tolist()
    losses, divisor = np.zeros(rows.shape[:-1]), 0.0
    for place in np.ndindex(losses.shape):
        if labels and targets[place] == ignore_index:
            continue
        lp = log_softmax(rows[place].tolist())
        if labels:
            t = [float(c == targets[place]) for c in range(classes)]
            divisor += w[targets[place]]
        else:
            t, divisor = targets[place].tolist(), divisor + 1
        t = [(1 - label_smoothing) * x + label_smoothing / classes for x in t]
        losses[place] = -math.fsum(w[c] * t[c] * lp[c] for c in range(classes))
    if reduction == "none":
        return losses
    total = np.asarray(math.fsum(losses.flatten().tolist()))
    if reduction == "sum":
        return total
    return total / divisor if divisor else np.asarray(np.nan)


def linear_cross_entropy(
    x, weight, target, bias=None, *, chunk=None, class_weight=None, **options
):
    logits = np.einsum("...d,cd->...c", x, weight)
    logits = logits if bias is None else logits + bias
    return softmax_cross_entropy(logits, target, weight=class_weight, **options)


def listed(result: Any) -> Sequence[Any]:
    """An op's results: most have one, `split` has several."""
    return list(result) if isinstance(result, (list, tuple)) else [result]
