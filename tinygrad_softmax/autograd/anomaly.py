"""`detect_anomaly`: where the first nan was made, and who changed a saved array."""

from __future__ import annotations

import linecache
from typing import Any

from ..backends import backend_of, there
from ..backends.dtypes import is_floating
from .callers import users_frame
from .graph import Node, Variable, observing


def detect_anomaly():
    """A context in which the first nan, forward or backward, raises where it is made.

    - Forward: an op that makes a nan of inputs without one raises RuntimeError, naming
      the op and the line of your program that called it.
    - Backward: a gradient rule that makes a nan raises, naming the forward line.
    - An array that was saved for backward and changed since then raises, naming both.

    Forward and backward must both run inside it. It copies every saved array and waits
    for the device at every op: for finding errors, not for training.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor(-1.0, requires_grad=True)
    >>> import numpy as np
    >>> with tg.detect_anomaly(), np.errstate(invalid="ignore"):
    ...     tg.log(x)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    RuntimeError: log made a nan of inputs without one, at ...
    """
    return observing(_Detector())


class _Detector:
    """Told of every op and rule by the engine: see `observing`."""

    def forward(self, op: Any, inputs: Any, result: Variable, statics: Any) -> None:
        place = _caller()
        if _has_nan(result.array) and not any(map(_has_nan, inputs)):
            raise RuntimeError(
                f"{op.__name__} made a nan of inputs without one, at {place}"
            )
        node = result.node
        if node is not None:
            with there(result.array):
                copies = [
                    [arg.copy() if _is_array(arg) else arg for arg in args]
                    for args in node.saved or ()
                ]
            node.note = (place, copies, node.order)

    def before(self, node: Node) -> None:
        place, copies, order = node.note or (None, (), None)
        # A checkpoint's node has the note of the last op inside it.
        if order != node.order or node.plan is None:
            return
        saved = zip(node.plan.rules, node.saved or (), copies, strict=True)
        for rule, args, then in saved:
            for position, (arg, copy) in enumerate(zip(args, then, strict=True)):
                if _is_array(arg) and not _equal(arg, copy):
                    name = (rule.names + ("residual",) * len(args))[position]
                    raise RuntimeError(
                        f"the array {name!r} that {node.name} saved for backward, at "
                        f"{place}, was changed in place since; mend: compute a new "
                        "array instead, or change it after backward"
                    )

    def backward(self, node: Node, rule: Any, g: Any, results: tuple) -> None:
        arrays = [r.array if isinstance(r, Variable) else r for r in results]
        if any(map(_has_nan, arrays)):
            g = g.array if isinstance(g, Variable) else g
            source = "" if not _has_nan(g) else " (of a gradient that had one)"
            place = "an unrecorded place" if node.note is None else node.note[0]
            raise RuntimeError(
                f"the gradient rule {rule} made a nan{source}; its forward is at "
                f"{place}"
            )


def _is_array(value: Any) -> bool:
    return hasattr(value, "__setitem__") and hasattr(value, "dtype")


def _has_nan(value: Any) -> bool:
    if not hasattr(value, "dtype") or not is_floating(value.dtype):
        return False
    with there(value):
        return bool(backend_of(value).xp.isnan(value).any())


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    if is_floating(a.dtype):
        same = same | ((a != a) & (b != b))
    return bool(same.all())


def _caller() -> str:
    """File, line and source of the innermost frame outside this package."""
    frame, _ = users_frame()
    name, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(name, line).strip()
    return f"{name}:{line}" + (f": {source}" if source else "")
