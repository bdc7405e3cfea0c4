"""Runs the cases of optimizer_cases.py in PyTorch or here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from parity.optimizer_cases import (
    EPOCHS,
    FUNCTIONS,
    METRICS,
    SCHEDULES,
    START,
    STEPS,
    Case,
    Scenario,
)

ANSWERS = Path(__file__).with_name("answers") / "optimizers.npz"
KEPT_STEPS = (1, 2, 3, 5, 7, 10)  # in the fixture; against PyTorch itself all of them
NO_ARRAYS = ("step", "mu_product")


class Torch:
    """PyTorch, with what `run` needs of it."""

    def __init__(self, device: str = "cpu") -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, self.optim, self.sin = torch, torch.optim, torch.sin

    def parameter(self, values: np.ndarray, dtype: str) -> Any:
        kind = getattr(self.torch, dtype)
        return self.torch.nn.Parameter(self.torch.tensor(values).to(kind))

    def set(self, p: Any, values: np.ndarray) -> None:
        with self.torch.no_grad():
            p.copy_(self.torch.tensor(values))

    def reassign(self, p: Any, values: np.ndarray) -> None:
        p.data = self.torch.tensor(values, dtype=p.dtype)

    def scale(self, p: Any, factor: float) -> None:
        with self.torch.no_grad():
            p *= factor

    def cast(self, p: Any, dtype: str, optimizer: Any) -> None:
        p.data = p.data.to(getattr(self.torch, dtype))
        for key, value in optimizer.state.get(p, {}).items():
            if key not in NO_ARRAYS:  # PyTorch leaves the state as it was, and fails
                optimizer.state[p][key] = value.to(p.dtype)

    def numpy(self, p: Any) -> np.ndarray:
        return p.detach().double().numpy().copy()


class Ours:
    """This library, with what `run` needs of it."""

    def __init__(self, device: str = "cpu") -> None:
        import tinygrad_softmax as tg

        self.tg, self.optim, self.sin, self.device = tg, tg.optim, tg.sin, device

    def parameter(self, values: np.ndarray, dtype: str) -> Any:
        return self.tg.nn.Parameter(self.tg.tensor(values, dtype, self.device))

    def set(self, p: Any, values: np.ndarray) -> None:
        with self.tg.no_grad():
            p *= 0
            p += self.tg.tensor(values, p.dtype, self.device)

    def reassign(self, p: Any, values: np.ndarray) -> None:
        p.array = self.tg.tensor(values, p.dtype, self.device).array

    def scale(self, p: Any, factor: float) -> None:
        with self.tg.no_grad():
            p *= factor

    def cast(self, p: Any, dtype: str, optimizer: Any) -> None:
        module = self.tg.nn.Module()
        module.p = p
        module.to(dtype=dtype)

    def numpy(self, p: Any) -> np.ndarray:
        return p.detach().numpy().astype(np.float64)


def make_optimizer(lib: Any, case: Case, parameters: list[Any]) -> Any:
    given: list[Any] = parameters
    if case.scenario.groups is not None:
        given = [
            {"params": [parameters[i] for i in positions], **options}
            for positions, options in case.scenario.groups
        ]
    return getattr(lib.optim, case.optimizer)(given, **case.options)


def make_scheduler(lib: Any, optimizer: Any, schedule: tuple[str, dict]) -> Any:
    kind, options = schedule[0], dict(schedule[1])
    if "schedulers" in options:
        inner = [make_scheduler(lib, optimizer, each) for each in options["schedulers"]]
        options |= {"schedulers": inner, "optimizer": optimizer}
    if "lr_lambda" in options:
        named = options["lr_lambda"]
        several = isinstance(named, list)
        options["lr_lambda"] = (
            [FUNCTIONS[name] for name in named] if several else FUNCTIONS[named]
        )
    options["optimizer"] = optimizer
    return getattr(lib.optim.lr_scheduler, kind)(**options)


def advance(scheduler: Any, epoch: int) -> None:
    if type(scheduler).__name__ == "ReduceLROnPlateau":
        scheduler.step(METRICS[epoch])
    else:
        scheduler.step()


def run(case: Case, lib: Any) -> list[list[np.ndarray]]:
    """The parameters after each step."""
    scenario = case.scenario
    parameters = [
        lib.parameter(start, dtype) for start, dtype in zip(START, scenario.dtypes)
    ]
    for i in scenario.frozen:
        parameters[i].requires_grad_(False)
    optimizer = make_optimizer(lib, case, parameters)
    scheduler = None
    if case.scheduler is not None:
        scheduler = make_scheduler(lib, optimizer, case.scheduler)
    trajectory = []
    for step in range(STEPS):
        hidden = set()
        for event in scenario.events.get(step, ()):
            happen(lib, event, parameters, optimizer, hidden)
        optimizer.zero_grad()
        backward(lib, scenario, parameters, hidden)
        optimizer.step()
        if scheduler is not None:
            advance(scheduler, step)
        trajectory.append([lib.numpy(p) for p in parameters])
    return trajectory


def backward(lib: Any, scenario: Scenario, parameters: list, hidden: set[int]) -> None:
    """Gradients of sum((p - 1)^4 / 4 + sin(3 p)), as often as a parameter is used."""
    for i, p in enumerate(parameters):
        if i not in hidden and p.requires_grad:
            for _ in range(scenario.uses[i]):
                ((p - 1) ** 4 / 4 + lib.sin(3 * p)).sum().backward()


def happen(
    lib: Any, event: tuple, parameters: list, optimizer: Any, hidden: set
) -> None:
    what, i, *more = event
    if what == "no gradient":
        hidden.add(i)
    elif what in ("freeze", "unfreeze"):
        parameters[i].requires_grad_(what == "unfreeze")
    elif what == "reassign":
        lib.reassign(parameters[i], START[i] * 0.5)
    elif what == "set":
        lib.set(parameters[i], START[i] * 0.25)
    elif what == "scale":
        lib.scale(parameters[i], 0.5)
    elif what == "cast":
        lib.cast(parameters[i], *more, optimizer)
    elif what == "option":
        name, value = more
        optimizer.param_groups[i][name] = value
    else:
        raise AssertionError(f"no such event: {what}")


def rates(lib: Any, schedule: tuple[str, dict], adam: bool = False) -> np.ndarray:
    """Rate and momentum of two groups in 30 epochs, shape (30, 2, 2)."""
    parameters = [lib.parameter(START[i], "float64") for i in (0, 2)]
    groups = [
        {"params": [parameters[0]], "lr": 0.05},
        {"params": [parameters[1]], "lr": 0.2},
    ]
    kind, options = ("Adam", {}) if adam else ("SGD", {"momentum": 0.9})
    optimizer = getattr(lib.optim, kind)(groups, **options)
    scheduler = make_scheduler(lib, optimizer, schedule)
    found = []
    for epoch in range(EPOCHS):
        groups = optimizer.param_groups
        assert scheduler.get_last_lr() == [group["lr"] for group in groups]
        momenta = [g["betas"][0] if adam else g["momentum"] for g in groups]
        found.append([[group["lr"] for group in groups], momenta])
        optimizer.step()
        advance(scheduler, epoch)
    return np.array(found)


def all_rates(lib: Any) -> dict[str, np.ndarray]:
    found = {name: rates(lib, schedule) for name, schedule in SCHEDULES.items()}
    for name in ("OneCycleLR", "OneCycleLR linear"):
        found[f"{name}, Adam"] = rates(lib, SCHEDULES[name], adam=True)
    return found


TOLERANCES = {"float64": 1e-12, "float32": 2e-6, "float16": 4e-3}


def assert_same(
    case: Case, ours: list[list[np.ndarray]], theirs: list[list[np.ndarray]]
) -> None:
    """Equal up to rounding in the coarsest dtype that a parameter has had."""
    for step, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        for i, dtype in enumerate(case.scenario.dtypes):
            tolerance = TOLERANCES[dtype]
            if case.name.endswith("doubled before"):
                tolerance = TOLERANCES["float64"]
            np.testing.assert_allclose(
                mine[i],
                other[i],
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{case}: parameter {i} after step {step + 1}",
            )


def kept(trajectory: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    return [trajectory[step - 1] for step in KEPT_STEPS]


def packed(trajectory: list[list[np.ndarray]]) -> np.ndarray:
    return np.array([np.concatenate([p.ravel() for p in row]) for row in trajectory])


def read_answers() -> dict[str, np.ndarray]:
    """PyTorch's answers by name: trajectories as `packed` makes them, and rates."""
    with np.load(ANSWERS) as file:
        parts = np.split(file["values"], file["cuts"][:-1])
        answers = dict(zip(file["names"].tolist(), parts, strict=True))
    size = sum(start.size for start in START)
    return {
        name: part.reshape((-1, size) if name.startswith("run") else (EPOCHS, 2, 2))
        for name, part in answers.items()
    }


def unpacked(array: np.ndarray) -> list[list[np.ndarray]]:
    cuts = np.cumsum([start.size for start in START])[:-1]
    return [
        [part.reshape(s.shape) for part, s in zip(np.split(row, cuts), START)]
        for row in array
    ]
