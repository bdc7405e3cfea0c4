"""What a fused op is made of: the same numbers, in the steps of a textbook.

`softmax_cross_entropy` computes y_hat - y in one go. Unfolded, it is exp, sum, divide,
log and a product with the target, and one sees y_hat arrive at t = e^z by the
denominator and -y by the numerator: two messages, which add up to (y_hat - y) / t.

An unfolding is an `Explanation` of its own, computed in float64 from the values that
were recorded, so that it equals the fused op to the rounding of the fused op's dtype.
A checkpoint unfolds into what its function does when backward runs it again.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..autograd import checkpoint
from ..autograd.graph import _observer, enable_grad, setting
from ..backends import backend_of, there
from ..backends.dtypes import autocast_dtypes, float64, is_floating
from ..backends.random import repeating_draws
from ..ops.cross_entropy import _dense, _row_factor
from ..tensor import Tensor
from .collecting import collect
from .explanation import Entry, Explanation
from .formulas import key_of
from .recording import Recorder, note_of

SAFE = 300.0  # e^z neither overflows nor vanishes in float64 for |z| up to here


def _softmax_parts(x: Tensor, axis: int) -> Tensor:
    """e^x / sum(e^x). Where e^x would overflow, the largest x is subtracted first: it
    is a constant, and cancels."""
    z = x
    with there(x.array):
        top = abs(x.array).max() if x.size else 0.0
        if not float(top) < SAFE:
            shift = backend_of(x.array).xp.max(x.array, axis=axis, keepdims=True)
            z = x - shift
    t = ops.exp(z)
    total = ops.sum(t, axis=axis, keepdims=True)
    y_hat = t / total
    return y_hat  # noqa: RET504  (its name is what the explanation shows)


def _unfolded_softmax(x: Tensor, *, axis: int) -> Tensor:
    return _softmax_parts(x, axis)


def _unfolded_log_softmax(x: Tensor, *, axis: int) -> Tensor:
    y_hat = _softmax_parts(x, axis)
    return ops.log(y_hat)


def _unfolded_cross_entropy(
    logits: Tensor, target: Any, *, axis: int, reduction: str, **options: Any
) -> Tensor:
    """-sum(u log softmax(z)) / m, with u the target's rows (`_dense` makes those of
    labels), times class weights where there are some."""
    weight, label_smoothing = options["weight"], options["label_smoothing"]
    raw = getattr(target, "array", target)
    common = dict(axis=axis, weight=weight, ignore_index=options["ignore_index"])
    # Of the arrays, so that these are constants: primitives on arrays give arrays.
    factor = _row_factor(logits.array, raw, reduction=reduction, **common)
    y: Any = target
    if not is_floating(raw.dtype):
        smooth = dict(label_smoothing=label_smoothing)
        y = _dense(logits.array, raw, **common, **smooth)
    else:
        if label_smoothing:
            y = y * (1.0 - label_smoothing) + label_smoothing / logits.shape[axis]
        if weight is not None:
            shape = tuple(-1 if i == axis else 1 for i in range(logits.ndim))
            y = y * weight.reshape(shape)
    y_hat = _softmax_parts(logits, axis)
    log_y_hat = ops.log(y_hat)
    products = y * log_y_hat
    losses = -ops.sum(products, axis=axis)
    if reduction == "none":
        return losses
    factor = factor.reshape(tuple(losses.shape))
    if not bool((factor == 1).all()):
        losses = losses * factor
    return ops.sum(losses) if losses.ndim else losses


UNFOLDINGS: dict[str, Callable[..., Tensor]] = {
    "ops.softmaxes._softmax": _unfolded_softmax,
    "ops.softmaxes._log_softmax": _unfolded_log_softmax,
    "ops.cross_entropy._cross_entropy": _unfolded_cross_entropy,
}


def can_unfold(entry: Entry) -> bool:
    """Whether `unfold` knows what the op is made of, and what it was called with."""
    if _is_checkpoint(entry):
        return entry.node.saved is not None
    known = entry.primitive is not None and key_of(entry.primitive) in UNFOLDINGS
    return known and all(each.known for each in entry.inputs)


def unfold(explanation: Explanation, number: int) -> Explanation:
    """The steps of the fused op that made entry `number`, with its own gradient as the
    seed. The leaves of the unfolding are the op's inputs, `Explanation.outside` says
    which entries of this explanation they are."""
    entry = explanation[number]
    if can_unfold(entry) and _is_checkpoint(entry):
        return _unfold_checkpoint(explanation, entry)
    if not can_unfold(entry):
        names = ", ".join(key.rpartition("._")[2] for key in UNFOLDINGS)
        recorded = entry.primitive is None or all(e.known for e in entry.inputs)
        raise ValueError(
            f"unfold: entry {number} is {entry.op}"
            + (", which is not made of smaller steps here" if recorded else "")
            + ("" if recorded else ", whose inputs were not recorded")
            + f"; what can be unfolded is a recorded {names}"
        )
    function = UNFOLDINGS[key_of(entry.primitive)]
    leaves: list[Any] = []
    for each in entry.inputs:
        value: Any = each.value
        if hasattr(value, "dtype") and is_floating(value.dtype):
            value = Tensor(value.astype(float64))
            if each.entry is not None:
                value.requires_grad_()
        leaves.append(value)
    statics = {k: v for k, v in (entry.statics or {}).items() if k != "with_grad"}
    statics = {k: _wide(v) for k, v in statics.items()}
    with np.errstate(all="ignore"), enable_grad(), setting(_observer, _Recorder()):
        root = function(*leaves, **statics)
    names, outside = {}, {}
    for each, leaf in zip(entry.inputs, leaves, strict=True):
        if isinstance(leaf, Tensor) and leaf.node is not None and each.entry:
            label = explanation[each.entry].label
            names[leaf.node.order] = label or each.name
            outside[leaf.node.order] = each.entry
    seed = None
    if entry.gradient is not None:
        seed = _wide(entry.gradient)
        seed = backend_of(root.array).asarray(seed, float64).reshape(root.shape)
    with np.errstate(all="ignore"):
        found = collect(root, seed, f"#{number} {entry.op}, unfolded", names)
    found.parent = (explanation, number)
    found.outside = {
        e.number: outside[e.node.order] for e in found.leaves if e.node.order in outside
    }
    if any(each.value is not None and _has_zero(each) for each in found.ops):
        found.notes.append(
            "A probability is 0 to the last digit here, and log(0) is -inf: that is "
            "why the op is fused."
        )
    return found


def _is_checkpoint(entry: Entry) -> bool:
    plan = None if entry.node is None else entry.node.plan
    return plan is not None and plan.op is checkpoint


def _unfold_checkpoint(explanation: Explanation, entry: Entry) -> Explanation:
    """The function of a checkpoint, run once more as backward runs it."""
    (replay,), ((frontier, *kept),) = entry.node.plan.rules, entry.node.saved
    args = [x if wrap is None else wrap(x, node) for wrap, x, node in kept]
    casting = setting(autocast_dtypes, replay.autocast)
    recording = setting(_observer, Recorder())
    with repeating_draws(replay.states), enable_grad(), casting, recording:
        out = replay.f(*args)
    out = out if replay.output is None else out[replay.output]
    outside = {e.node.order: e for e in explanation.entries if e.node in set(frontier)}
    names = {order: e.label for order, e in outside.items()}
    title = f"#{entry.number} {replay}, run again"
    found = collect(out, entry.gradient, title, names, None, frozenset(frontier))
    found.parent = (explanation, entry.number)
    for leaf in found.leaves:
        if leaf.node.order in outside:
            found.outside[leaf.number] = outside[leaf.node.order].number
    return found


def _has_zero(entry: Entry) -> bool:
    return entry.label == "y_hat" and bool((entry.value == 0).any())


class _Recorder(Recorder):
    """A recorder for which this file is the user's program."""

    def forward(self, op: Any, inputs: Any, result: Any, statics: Any) -> None:
        super().forward(op, inputs, result, statics)
        frame, note = sys._getframe(1), note_of(result.node)
        while frame.f_back is not None and frame.f_code.co_filename != _HERE:
            frame = frame.f_back
        if note is not None:
            place = dict(code=frame.f_code, lasti=frame.f_lasti, via=None)
            result.node.note = tuple(note._replace(**place))


_HERE = _Recorder.forward.__code__.co_filename


def _wide(value: Any) -> Any:
    if hasattr(value, "dtype") and is_floating(value.dtype):
        return value.astype(float64)
    return copy.copy(value)
