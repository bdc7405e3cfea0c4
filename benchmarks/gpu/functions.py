"""Functions forward and backward, beside PyTorch eager.

Both libraries have them under the same names, so what is timed is written once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .checks import EXACT, PEER, WrongNumbersError, check_rows, check_same
from .lab import Lab
from .row import OURS, PYTORCH, Result, Row, ratio
from .timing import Step

DROPPED = 0.2


def kept_input(x: int, y: int, weights: int) -> int:
    """Forward: x read, y written. Backward: g and x (or y) read, a gradient written."""
    return 3 * x + 2 * y


def kept_nothing(x: int, y: int, weights: int) -> int:
    """As above, where backward needs g alone, or little beside it."""
    return 2 * x + 2 * y


def rows_of_a_table(x: int, y: int, weights: int) -> int:
    """Rows are read and written, g is read, a gradient of the table's size written."""
    return 3 * y + weights


@dataclass(frozen=True)
class Function:
    """y = call(lib, x, *weights), which treats each row of x by itself.

    shape: of x; labels: whether x is integers, below the length of the weight.
    weights: from the shape of x to theirs.
    moved: from the bytes of x, y and the weights to those that must be moved; None
        where that is not what takes the time.
    tolerance: multiplies the usual one.
    random: whether elements are dropped.
    """

    call: Callable[..., Any]
    shape: tuple[int, ...]
    weights: Callable[[tuple[int, ...]], list[tuple[int, ...]]] = lambda shape: []
    labels: bool = False
    moved: Callable[[int, int, int], int] | None = kept_input
    tolerance: float = 1.0
    random: bool = False


class Work:
    """x, g and weights on the device; x, g and the gradient of x rotate."""

    def __init__(self, lab: Lab, function: Function, dtype: str) -> None:
        self.lab, self.function, self.dtype = lab, function, dtype
        shape = lab.size(*function.shape)
        self.weights = [lab.normal(each, dtype) for each in function.weights(shape)]
        first = self._input(shape)
        with lab.tg.no_grad():
            y = self._call(OURS)(lab.tensor(OURS, first), *self._tensors(OURS, False))
        size = first.nbytes * 2 + y.array.nbytes
        self.count, self.cold = lab.sets(size)
        self.xs = [first, *(self._input(shape) for _ in range(self.count - 1))]
        self.gs = [lab.normal(y.shape, dtype) for _ in self.xs]
        self.bytes = 0
        if function.moved is not None:
            table = sum(each.nbytes for each in self.weights)
            self.bytes = function.moved(first.nbytes, y.array.nbytes, table)

    def _input(self, shape: tuple[int, ...]) -> Any:
        if self.function.labels:
            return self.lab.below(len(self.weights[0]), shape)
        return self.lab.normal(shape, self.dtype)

    def _call(self, library: str) -> Callable[..., Any]:
        return partial(self.function.call, self.lab.library(library))

    def _tensors(self, library: str, requires_grad: bool = True) -> list[Any]:
        return [self.lab.tensor(library, w, requires_grad) for w in self.weights]

    def step(self, library: str) -> Step:
        lab, call, weights = self.lab, self._call(library), self._tensors(library)
        floating = not self.function.labels
        xs = [lab.tensor(library, x, requires_grad=floating) for x in self.xs]
        gs = [lab.tensor(library, g) for g in self.gs]

        def step(i: int) -> Any:
            x = xs[i % self.count]
            inputs = [x, *weights] if floating else weights
            for each in inputs:
                each.grad = None
            y = call(x, *weights)
            y.backward(gs[i % self.count])
            return y.detach(), [each.grad for each in inputs]

        return Step(library, step, self.cold)

    def check(self, ours: Step, theirs: Step | None) -> None:
        lab = self.lab
        lab.poison(self.xs[0].nbytes, self.gs[0].nbytes)
        y, gradients = ours.call(0)
        if self.function.random:
            return check_dropout(lab, self.xs[0], self.gs[0], y, gradients[0])
        if theirs is None:
            return None
        tolerance = EXACT[self.dtype] * self.function.tolerance
        inputs, call = [self.xs[0], *self.weights], self._call(PYTORCH)
        check_rows(lab, call, inputs, self.gs[0], (y, gradients), tolerance)
        other, others = theirs.call(0)
        check_same("the output", lab.theirs(y), other, PEER[self.dtype])
        for mine, each in zip(gradients, others):
            check_same("a gradient", lab.theirs(mine), each, PEER[self.dtype])
        return None


def check_dropout(lab: Lab, x: Any, g: Any, y: Any, gradient: Any) -> None:
    """What must hold whichever elements were dropped, of tensors of ours.

    Those that are kept are scaled by 1 / (1 - p), the gradient goes where they are, and
    their share is 1 - p within five standard deviations.
    """
    if lab.torch is None:
        return
    x, g, y, gradient = map(lab.theirs, (x, g, y, gradient))
    kept = y != 0
    scale = 1.0 / (1.0 - DROPPED)
    exact = {"torch.float32": 1e-6, "torch.float16": 1e-3}.get(str(x.dtype), 8e-3)
    check_same("what is kept", y, kept * x * scale, exact, "x / (1 - p)")
    check_same("the gradient", gradient, kept * g * scale, exact, "g where it is kept")
    apart = abs(kept.double().mean().item() - (1.0 - DROPPED))
    if apart > 5.0 * (DROPPED * (1.0 - DROPPED) / x.numel()) ** 0.5:
        raise WrongNumbersError(
            f"the share that is kept is {apart:.3g} from {1 - DROPPED}"
        )


def measure(
    lab: Lab, tell: Callable[[Result], None], function: Function, dtype: str
) -> Result:
    work = Work(lab, function, dtype)
    steps = {OURS: work.step(OURS)}
    if lab.torch is not None:
        steps[PYTORCH] = work.step(PYTORCH)
    work.check(steps[OURS], steps.get(PYTORCH))
    return {"times": lab.timed(steps), "bytes": work.bytes}


# -- the functions ---------------------------------------------------------------------


def _last(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [shape[-1:]]


def _softmax(lib: Any, x: Any) -> Any:
    return lib.nn.functional.softmax(x, dim=-1)


def _log_softmax(lib: Any, x: Any) -> Any:
    return lib.nn.functional.log_softmax(x, dim=-1)


def _layer_norm(lib: Any, x: Any, weight: Any, bias: Any) -> Any:
    return lib.nn.functional.layer_norm(x, weight.shape, weight, bias)


def _rms_norm(lib: Any, x: Any, weight: Any) -> Any:
    return lib.nn.functional.rms_norm(x, weight.shape, weight, 1e-6)


def _gelu(lib: Any, x: Any) -> Any:
    return lib.nn.functional.gelu(x)


def _gelu_tanh(lib: Any, x: Any) -> Any:
    return lib.nn.functional.gelu(x, approximate="tanh")


def _silu(lib: Any, x: Any) -> Any:
    return lib.nn.functional.silu(x)


def _dropout(lib: Any, x: Any) -> Any:
    return lib.nn.functional.dropout(x, DROPPED)


OVER_ROWS: tuple[tuple[str, Callable[..., Any], int, bool], ...] = (
    ("softmax", _softmax, 0, True),
    ("log_softmax", _log_softmax, 0, True),
    ("layer norm", _layer_norm, 2, True),
    ("RMS norm", _rms_norm, 1, True),
    ("gelu", _gelu, 0, True),
    ("gelu by tanh", _gelu_tanh, 0, True),
    ("silu", _silu, 0, False),
    ("dropout", _dropout, 0, False),
)
SIZES = (
    ((8192, 1024), "float32"),
    ((16384, 4096), "float32"),
    ((16384, 4096), "bfloat16"),
)


def _over_rows(name: str, call: Any, weights: int, goal: bool) -> list[Row]:
    rows = []
    for shape, dtype in SIZES:
        function = Function(
            call,
            shape,
            lambda shape: weights * _last(shape),
            moved=kept_nothing if name == "dropout" else kept_input,
            random=name == "dropout",
        )
        case = f"{shape[0]}x{shape[1]} {dtype}"
        run = partial(measure, function=function, dtype=dtype)
        wanted = (ratio(1.0),) if goal else ()
        rows.append(Row(f"{name}, forward and backward", case, run, wanted))
    return rows


def _embedding(lib: Any, index: Any, weight: Any) -> Any:
    return lib.nn.functional.embedding(index, weight)


def _convolution(lib: Any, x: Any, weight: Any) -> Any:
    return lib.nn.functional.conv2d(x, weight, padding=1)


def _max_pool(lib: Any, x: Any) -> Any:
    return lib.nn.functional.max_pool2d(x, 2)


def _avg_pool(lib: Any, x: Any) -> Any:
    return lib.nn.functional.avg_pool2d(x, 2)


OTHERS = (
    (
        "embedding",
        "16x1024 of 32000x768",
        Function(
            _embedding,
            (16, 1024),
            lambda shape: [(32000, 768)] if shape[0] == 16 else [(7, 3)],
            labels=True,
            moved=rows_of_a_table,
        ),
    ),
    (
        "convolution 3x3",
        "32x64x56x56 to 64 channels",
        # Thousands of products make each sum.
        Function(
            _convolution,
            (32, 64, 56, 56),
            lambda shape: [(shape[1], shape[1], 3, 3)],
            moved=None,
            tolerance=10.0,
        ),
    ),
    (
        "max pooling 2x2",
        "32x64x112x112",
        Function(_max_pool, (32, 64, 112, 112), moved=kept_nothing),
    ),
    (
        "average pooling 2x2",
        "32x64x112x112",
        Function(_avg_pool, (32, 64, 112, 112), moved=kept_nothing),
    ),
)

ROWS = (
    *(row for each in OVER_ROWS for row in _over_rows(*each)),
    *(
        Row(
            f"{name}, forward and backward",
            f"{case} float32",
            partial(measure, function=function, dtype="float32"),
        )
        for name, case, function in OTHERS
    ),
)
