"""A training step of a multilayer perceptron: two layers, ReLU, softmax cross-entropy.

Every version has the same weights, of shapes (features, hidden) and (hidden, classes),
and the same batch. They are written with functions of tensors, which is what all the
libraries have; the row `mlp_modules` has PyTorch's modules and optimizers in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import tinygrad_softmax as tg

from .goals import Ratio, Row
from .measuring import (
    AUTOGRAD,
    BY_HAND,
    FUSED,
    MYGRAD,
    OURS,
    PYTORCH,
    Effort,
    Entry,
    Measured,
    side_by_side,
)

LR = 1e-4  # so small that the last step computes with the same numbers as the first


@dataclass(frozen=True)
class Task:
    """Weights to begin with, and a batch.

    The numbers are multiples of a power of 2, so that the first layer's sums are exact
    in every library, and its bias keeps them off 0. Otherwise, of half a million that
    pass through ReLU, some would round to either side of 0, and the gradients differ.
    """

    features: int
    hidden: int
    classes: int
    rows: int

    @property
    def name(self) -> str:
        return f"{self.features}-{self.hidden}-{self.classes}, batch {self.rows}"

    def weights(self) -> list[np.ndarray]:
        random = np.random.default_rng(0)
        shapes = [(self.features, self.hidden), (self.hidden, self.classes)]
        first, second = (
            multiples(random.standard_normal(shape) / shape[0] ** 0.5, 2.0**-9)
            for shape in shapes
        )
        b1 = np.full(self.hidden, 2.0**-13, np.float32)
        return [first, b1, second, np.zeros(self.classes, np.float32)]

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(1)
        x = multiples(random.standard_normal((self.rows, self.features)), 2.0**-3)
        return x, random.integers(0, self.classes, self.rows)


def multiples(values: np.ndarray, step: float) -> np.ndarray:
    return (np.round(values / step) * step).astype(np.float32)


def entry(step: Callable[[], Any], parameters: list[Any]) -> Entry:
    """Of a step that leaves the gradients in `.grad` of the parameters."""

    def numbers() -> dict[str, list[Any]]:
        loss = step().item()
        return {
            "loss": [loss],
            "gradients": [np.asarray(_host(p.grad)) for p in parameters],
            "parameters": [np.asarray(_host(p.detach())) for p in parameters],
        }

    return Entry(step, numbers)


def _host(tensor: Any) -> Any:
    return np.array(tensor.numpy() if hasattr(tensor, "numpy") else tensor)


# -- SGD -----------------------------------------------------------------------------


def ours(task: Task) -> Entry:
    x, target = map(tg.tensor, task.batch())
    parameters = [tg.tensor(each, requires_grad=True) for each in task.weights()]
    w1, b1, w2, b2 = parameters

    def step() -> tg.Tensor:
        for p in parameters:
            p.grad = None
        hidden = tg.relu(x @ w1 + b1)
        loss = tg.softmax_cross_entropy(hidden @ w2 + b2, target)
        loss.backward()
        with tg.no_grad():
            for p in parameters:
                p -= LR * p.grad
        return loss

    return entry(step, parameters)


def pytorch(task: Task) -> Entry:
    import torch

    x, target = map(torch.tensor, task.batch())
    parameters = [torch.tensor(each, requires_grad=True) for each in task.weights()]
    w1, b1, w2, b2 = parameters

    def step() -> Any:
        for p in parameters:
            p.grad = None
        hidden = torch.relu(torch.addmm(b1, x, w1))
        loss = torch.nn.functional.cross_entropy(torch.addmm(b2, hidden, w2), target)
        loss.backward()
        with torch.no_grad():
            for p in parameters:
                p.sub_(p.grad, alpha=LR)
        return loss

    return entry(step, parameters)


def mygrad(task: Task) -> Entry:
    import mygrad as mg
    from mygrad.nnet.activations import relu
    from mygrad.nnet.losses import softmax_crossentropy

    mg.turn_memory_guarding_off()  # as its documentation advises for speed
    x, target = task.batch()
    parameters = [mg.tensor(each) for each in task.weights()]
    w1, b1, w2, b2 = parameters

    def step() -> Any:
        hidden = relu(x @ w1 + b1)
        loss = softmax_crossentropy(hidden @ w2 + b2, target)
        loss.backward()
        for p in parameters:
            p.data -= np.float32(LR) * p.grad
        return loss

    def numbers() -> dict[str, list[Any]]:
        return {
            "loss": [step().item()],
            "gradients": [p.grad.copy() for p in parameters],
            "parameters": [p.data.copy() for p in parameters],
        }

    return Entry(step, numbers)


def autograd(task: Task) -> Entry:
    import autograd.numpy as anp
    from autograd import value_and_grad

    x, target = task.batch()
    parameters = task.weights()
    rows = np.arange(task.rows)

    def loss_of(parameters: list[Any]) -> Any:
        w1, b1, w2, b2 = parameters
        hidden = anp.dot(x, w1) + b1
        hidden = hidden * (hidden > 0.0)  # its maximum would go on in float64
        logits = anp.dot(hidden, w2) + b2
        logits = logits - np.max(getattr(logits, "_value", logits), 1, keepdims=True)
        lse = anp.log(anp.sum(anp.exp(logits), axis=1))
        return anp.mean(lse - logits[rows, target])

    function = value_and_grad(loss_of)

    def step() -> Any:
        loss, gradients = function(parameters)
        for p, gradient in zip(parameters, gradients):
            p -= np.float32(LR) * gradient
        return loss, gradients

    def numbers() -> dict[str, list[Any]]:
        loss, gradients = step()
        after = [p.copy() for p in parameters]
        return {"loss": [loss], "gradients": gradients, "parameters": after}

    return Entry(step, numbers)


def gradients_by_hand(
    parameters: list[np.ndarray], x: np.ndarray, target: np.ndarray, rows: np.ndarray
) -> tuple[Any, list[np.ndarray]]:
    """The loss and its gradients, as one writes them down with NumPy alone."""
    w1, b1, w2, b2 = parameters
    hidden = x @ w1
    hidden += b1
    np.maximum(hidden, 0.0, out=hidden)
    logits = hidden @ w2
    logits += b2
    logits -= logits.max(axis=1, keepdims=True)
    chosen = logits[rows, target]
    probs = np.exp(logits, out=logits)
    sums = probs.sum(axis=1, keepdims=True)
    loss = (np.log(sums).sum() - chosen.sum()) / len(rows)
    probs /= sums
    probs[rows, target] -= 1.0
    probs *= 1.0 / len(rows)  # now the gradient of the logits
    g_hidden = probs @ w2.T
    g_hidden *= hidden > 0.0
    gradients = [x.T @ g_hidden, g_hidden.sum(0), hidden.T @ probs, probs.sum(0)]
    return loss, gradients


def by_hand(task: Task, adam: bool = False) -> Entry:
    x, target = task.batch()
    parameters = task.weights()
    rows = np.arange(task.rows)
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    count = 0

    def descend(gradients: list[np.ndarray]) -> None:
        for p, gradient in zip(parameters, gradients):
            p -= LR * gradient

    def descend_adam(gradients: list[np.ndarray]) -> None:
        nonlocal count
        count += 1
        rate, root = LR / (1 - 0.9**count), (1 - 0.999**count) ** -0.5
        for p, gradient, mean, square in zip(parameters, gradients, means, squares):
            mean *= 0.9
            mean += 0.1 * gradient
            square *= 0.999
            square += 0.001 * gradient * gradient
            p -= rate * mean / (np.sqrt(square) * root + 1e-8)

    update = descend_adam if adam else descend

    def step() -> Any:
        loss, gradients = gradients_by_hand(parameters, x, target, rows)
        update(gradients)
        return loss, gradients

    def numbers() -> dict[str, list[Any]]:
        loss, gradients = step()
        after = [p.copy() for p in parameters]
        return {"loss": [loss], "gradients": gradients, "parameters": after}

    return Entry(step, numbers)


# -- Adam ----------------------------------------------------------------------------


def ours_adam(task: Task) -> Entry:
    x, target = map(tg.tensor, task.batch())
    parameters = [tg.tensor(each, requires_grad=True) for each in task.weights()]
    w1, b1, w2, b2 = parameters
    optimizer = tg.optim.Adam(parameters, lr=LR)

    def step() -> tg.Tensor:
        optimizer.zero_grad()
        hidden = tg.relu(x @ w1 + b1)
        loss = tg.softmax_cross_entropy(hidden @ w2 + b2, target)
        loss.backward()
        optimizer.step()
        return loss

    return entry(step, parameters)


def pytorch_adam(task: Task, fused: bool | None = None) -> Entry:
    import torch

    x, target = map(torch.tensor, task.batch())
    parameters = [torch.tensor(each, requires_grad=True) for each in task.weights()]
    w1, b1, w2, b2 = parameters
    optimizer = torch.optim.Adam(parameters, lr=LR, fused=fused)

    def step() -> Any:
        optimizer.zero_grad()
        hidden = torch.relu(torch.addmm(b1, x, w1))
        loss = torch.nn.functional.cross_entropy(torch.addmm(b2, hidden, w2), target)
        loss.backward()
        optimizer.step()
        return loss

    return entry(step, parameters)


# -- modules -------------------------------------------------------------------------


def modules(task: Task, lib: Any) -> Entry:
    """As people write it; the names are the same in both libraries."""
    x, target = map(lib.tensor, task.batch())
    model = lib.nn.Sequential(
        lib.nn.Linear(task.features, task.hidden),
        lib.nn.ReLU(),
        lib.nn.Linear(task.hidden, task.classes),
    )
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    model.load_state_dict(
        {name: lib.tensor(w.T.copy()) for name, w in zip(names, task.weights())}
    )
    loss_of = lib.nn.CrossEntropyLoss()
    optimizer = lib.optim.SGD(model.parameters(), lr=LR)

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    return entry(step, list(model.parameters()))


def pytorch_modules(task: Task) -> Entry:
    import torch

    return modules(task, torch)


# -- rows ----------------------------------------------------------------------------

SMALL, MIDDLE, LARGE = (
    Task(64, 64, 10, 32),
    Task(784, 256, 10, 128),
    Task(784, 1024, 10, 512),
)
TINY = Task(5, 4, 3, 6)

SGD = {
    OURS: ours,
    BY_HAND: by_hand,
    PYTORCH: pytorch,
    AUTOGRAD: autograd,
    MYGRAD: mygrad,
}
ADAM = {
    OURS: ours_adam,
    BY_HAND: partial(by_hand, adam=True),
    PYTORCH: pytorch_adam,
    FUSED: partial(pytorch_adam, fused=True),
}
MODULES = {OURS: partial(modules, lib=tg), PYTORCH: pytorch_modules}


def measure(
    task: Task, versions: dict[str, Callable[[Task], Entry]], effort: Effort
) -> Iterator[Measured]:
    task = TINY if effort.toy else task
    builders = {name: partial(build, task) for name, build in versions.items()}
    yield side_by_side(task.name, builders, effort)


ROWS = (
    Row(
        "mlp_sgd",
        f"MLP {SMALL.name}: SGD step",
        partial(measure, SMALL, SGD),
        (Ratio(0.45), Ratio(1.4, BY_HAND)),
    ),
    Row(
        "mlp_adam",
        f"MLP {SMALL.name}: Adam step",
        partial(measure, SMALL, ADAM),
        (Ratio(0.4),),
    ),
    Row(
        "mlp_modules",
        f"MLP {SMALL.name}: SGD step with nn and optim",
        partial(measure, SMALL, MODULES),
    ),
    Row(
        "mlp_middle",
        f"MLP {MIDDLE.name}: SGD step",
        partial(measure, MIDDLE, SGD),
        (Ratio(0.95),),
    ),
    Row(
        "mlp_large",
        f"MLP {LARGE.name}: SGD step",
        partial(measure, LARGE, SGD),
        (Ratio(0.95),),
    ),
)
