"""Softmax cross-entropy over the grid of sizes, beside all who offer it.

The floor is one read and one write of the logits, forward and backward together, and
one read for the loss alone. float16 takes the sum of the losses: 1/N of a gradient
would be less than float16's smallest number.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from .checks import EXACT, PEER, Distance, WrongNumbersError, check_same, row_blocks
from .lab import Lab
from .row import COMPILED, LIGER, OURS, PYTORCH, Result, Row, one_line, ratio, share
from .timing import Step

WORK = "cross-entropy, forward and backward"
AGAINST_COMPILED = "cross-entropy, forward and backward, compiled peers"
LOSS_ONLY = "cross-entropy, the loss only"
Size = tuple[int, int]

SIZES: tuple[Size, ...] = (
    (128, 10),
    (8192, 1000),
    (16384, 1000),
    (65536, 1000),
    (4096, 32000),
    (512, 131072),
    (8, 4194304),
    (16384, 131072),
)
SIXTEEN_BIT: tuple[Size, ...] = ((8192, 1000), (4096, 32000), (16384, 131072))


def sums(dtype: str) -> str:
    return "sum" if dtype == "float16" else "mean"


class Work:
    """Logits and labels on the device, several sets of them; what is done with them."""

    def __init__(self, lab: Lab, size: Size, dtype: str, with_grad: bool) -> None:
        rows, classes = lab.size(*size)
        self.lab, self.dtype, self.with_grad = lab, dtype, with_grad
        itemsize = 4 if dtype == "float32" else 2
        self.bytes = (2 if with_grad else 1) * rows * classes * itemsize
        self.count, self.cold = lab.sets(self.bytes)
        shapes = [(rows, classes)] * self.count
        self.logits = [lab.normal(shape, dtype) for shape in shapes]
        self.labels = [lab.below(classes, (rows,)) for _ in shapes]

    def step(self, library: str, function: Callable[..., Any] | None = None) -> Step:
        """Gradients stay until their set's turn comes again, so they rotate too."""
        name = OURS if library == OURS else PYTORCH
        xs = [self.lab.tensor(name, x, self.with_grad) for x in self.logits]
        ts = [self.lab.tensor(name, t) for t in self.labels]
        if library == LIGER:  # it writes the gradient over the logits
            xs = [x.detach().clone().requires_grad_(self.with_grad) for x in xs]
        usual = self.lab.library(name).nn.functional.cross_entropy
        chosen = usual if function is None else function
        reduction = sums(self.dtype)

        def call(i: int) -> Any:
            x, target = xs[i % self.count], ts[i % self.count]
            x.grad = None
            loss = chosen(x, target, reduction=reduction)
            if self.with_grad:
                loss.backward()
            return loss, x.grad

        return Step(PYTORCH if name == PYTORCH else OURS, call, self.cold)

    def check_ours(self, step: Step) -> None:
        lab = self.lab
        lab.poison(self.logits[0].nbytes)
        loss, gradient = step.call(0)
        if lab.torch is None:
            return
        if self.with_grad:
            gradient = lab.theirs(gradient)
        expected = self._check_gradient(gradient)
        apart = abs(loss.item() - expected)
        if not apart <= 1e-5 * abs(expected):
            raise WrongNumbersError(
                f"the loss is {loss.item()!r}, and float64's {expected!r}"
            )

    def _check_gradient(self, gradient: Any) -> float:
        """Compare it with float64, block by block; return the loss in float64."""
        lab, torch = self.lab, self.lab.torch
        x, target = lab.theirs(self.logits[0]), lab.theirs(self.labels[0])
        scale = 1.0 if sums(self.dtype) == "sum" else 1.0 / len(x)
        total, distance = 0.0, Distance()
        for part in row_blocks(x):
            logp = torch.log_softmax(x[part].double(), 1)
            chosen = target[part][:, None]
            total -= float(logp.gather(1, chosen).sum()) * scale
            if gradient is not None:
                expected = logp.exp_()
                one = torch.ones_like(chosen, dtype=torch.float64)
                expected.scatter_add_(1, chosen, -one).mul_(scale)
                distance.add(gradient[part], expected)
        if gradient is not None:
            distance.check("the gradient", "float64", EXACT[self.dtype])
        return total

    def check_peer(self, peer: str, step: Step, ours: Step) -> None:
        """The same work, to what the peer's own roundings allow."""
        loss, gradient = step.call(0)
        if not self.with_grad:
            mine = ours.call(0)[0].item()
            if not math.isclose(loss.item(), mine, rel_tol=PEER[self.dtype]):
                raise WrongNumbersError(
                    f"the loss is {mine}, and that of {peer} {loss.item()}"
                )
            return
        mine = self.lab.theirs(ours.call(0)[1])
        check_same("the gradient", mine, gradient, PEER[self.dtype], f"that of {peer}")


def measure(
    lab: Lab,
    tell: Callable[[Result], None],
    size: Size,
    dtype: str,
    with_grad: bool = True,
    compiled: bool = False,
) -> Result:
    """Ours beside PyTorch eager, or beside what compiles: torch.compile and Liger.

    A peer that fails is left out and named; ours goes on, while the device works. Liger
    is left out where it is not installed.
    """
    work = Work(lab, size, dtype, with_grad)
    steps = {OURS: work.step(OURS)}
    work.check_ours(steps[OURS])
    result: Result = {"bytes": work.bytes, "errors": {}}
    peers: dict[str, Callable[[], Any]] = {}
    if lab.torch is not None:
        peers = {COMPILED: partial(_compiled, lab)}
        if importlib.util.find_spec("liger_kernel") is not None:
            peers[LIGER] = _liger
        peers = peers if compiled else {PYTORCH: lambda: None}
    times = None
    for peer, function in peers.items():
        try:
            step = work.step(peer, function())
            work.check_peer(peer, step, steps[OURS])
            steps[peer] = step
        except Exception as error:
            if not lab.healthy():
                raise
            result["errors"][peer] = one_line(error)
        # What is known is kept, should the next peer never come back.
        times = lab.timed(steps)
        tell({**result, "times": times})
    return {**result, "times": times or lab.timed(steps)}


def _compiled(lab: Lab) -> Callable[..., Any]:
    torch = lab.torch
    torch.compiler.reset()
    function = torch.nn.functional.cross_entropy

    def cross_entropy(x: Any, target: Any, reduction: str) -> Any:
        return function(x, target, reduction=reduction)

    return torch.compile(cross_entropy, dynamic=False)


def _liger() -> Callable[..., Any]:
    from liger_kernel.transformers import LigerCrossEntropyLoss

    return lambda x, target, reduction: LigerCrossEntropyLoss(reduction=reduction)(
        x, target
    )


def goals(size: Size, dtype: str, *peers: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """From 64 MB of logits on, and more from 256 MB on."""
    megabytes = size[0] * size[1] * (4 if dtype == "float32" else 2) / 1e6
    if megabytes < 64:
        return ()
    return share(0.85 if megabytes >= 256 else 0.75), *peers


def case(size: Size, dtype: str) -> str:
    return f"{size[0]}x{size[1]} {dtype}"


GRID = [(size, "float32") for size in SIZES] + [
    (size, dtype) for size in SIXTEEN_BIT for dtype in ("float16", "bfloat16")
]

ROWS = (
    *(
        Row(
            WORK,
            case(*each),
            partial(measure, size=each[0], dtype=each[1]),
            goals(*each, ratio(1 / 3)),
        )
        for each in GRID
    ),
    *(
        Row(
            LOSS_ONLY,
            case(size, dtype),
            partial(measure, size=size, dtype=dtype, with_grad=False),
        )
        for size, dtype in (
            ((8192, 1000), "float32"),
            ((4096, 32000), "float32"),
            ((4096, 32000), "bfloat16"),
        )
    ),
)

# They take a compiler's time, so they come last.
COMPILED_ROWS = tuple(
    Row(
        AGAINST_COMPILED,
        case(size, dtype),
        partial(measure, size=size, dtype=dtype, compiled=True),
        goals(size, dtype, ratio(1.0, COMPILED), ratio(1.0, LIGER))[1:],
        limit=45.0,
    )
    for size, dtype in (
        ((4096, 32000), "float32"),
        ((16384, 131072), "float32"),
        ((4096, 32000), "bfloat16"),
        ((65536, 1000), "float32"),
        ((512, 131072), "float32"),
        ((16384, 1000), "float32"),
        ((8192, 1000), "float32"),
        ((128, 10), "float32"),
    )
)
