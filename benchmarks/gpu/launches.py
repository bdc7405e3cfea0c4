"""What a call costs where there is next to nothing to compute.

The host's time is what counts here: it is how long a step with many small calls takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .checks import check_same
from .lab import Lab
from .row import CUPY, OURS, PYTORCH, Result, Row
from .timing import Step

LENGTH = 1024


def _measured(lab: Lab, calls: dict[str, Callable[[], Any]], expected: Any) -> Result:
    for name, call in calls.items():
        found = call()
        found = found if name == PYTORCH else _array(found)
        if lab.torch is not None:
            found = found if name == PYTORCH else lab.theirs(found)
            check_same(f"the result of {name}", found.detach(), expected(), 1e-6)
    steps = {name: Step(name, lambda i, c=call: c()) for name, call in calls.items()}
    return {"times": lab.timed(steps)}


def _array(found: Any) -> Any:
    return found.detach().array if hasattr(found, "detach") else found


def one_op(lab: Lab, tell: Any) -> Result:
    """x + 1, without a gradient."""
    array = lab.normal((LENGTH,))
    x = lab.tensor(OURS, array)
    calls: dict[str, Callable[[], Any]] = {
        CUPY: lambda: array + 1.0,
        OURS: lambda: x + 1.0,
    }
    if lab.torch is not None:
        y = lab.theirs(array)
        calls[PYTORCH] = lambda: y + 1.0
    return _measured(lab, calls, lambda: lab.theirs(array) + 1.0)


def forward_and_backward(lab: Lab, tell: Any) -> Result:
    """The gradient of the sum of x * x, five ops or so."""
    array = lab.normal((LENGTH,))

    def gradient(name: str) -> Callable[[], Any]:
        x = lab.tensor(name, array, requires_grad=True)

        def call() -> Any:
            x.grad = None
            (x * x).sum().backward()
            return x.grad

        return call

    names = [OURS] if lab.torch is None else [OURS, PYTORCH]
    calls = {name: gradient(name) for name in names}
    return _measured(lab, calls, lambda: 2.0 * lab.theirs(array))


ROWS = (
    Row("launch overhead", f"x + 1, {LENGTH} elements", one_op),
    Row(
        "launch overhead",
        f"(x * x).sum().backward(), {LENGTH} elements",
        forward_and_backward,
    ),
)
