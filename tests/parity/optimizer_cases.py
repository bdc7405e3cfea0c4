"""What `optim` does as PyTorch does: cases, as plain data that needs neither library.

A case is an optimizer with options, and a scenario: what happens to five parameters in
ten steps. `optimizer_runs.py` runs it in either library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

STEPS = 10
SHAPES = ((2, 3), (), (3,), (0, 2), (4,))


def wave(*shape: int, phase: float = 0.0) -> np.ndarray:
    """Numbers in [-1.5, 1.5] without a pattern, the same everywhere."""
    return 1.5 * np.sin(1.7 * np.arange(np.prod(shape)) + phase).reshape(shape)


START = tuple(wave(*shape, phase=i) for i, shape in enumerate(SHAPES))

# optimizer: its options, each with a rate that moves the parameters well.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "SGD": {
        "plain": {"lr": 0.01},
        "weight decay": {"lr": 0.01, "weight_decay": 0.3},
        "momentum": {"lr": 0.01, "momentum": 0.9},
        "dampening": {"lr": 0.01, "momentum": 0.8, "dampening": 0.4},
        "nesterov": {"lr": 0.01, "momentum": 0.9, "nesterov": True},
        "all": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        "maximize": {
            "lr": 0.003,
            "momentum": 0.7,
            "weight_decay": 0.1,
            "maximize": True,
        },
    },
    "Adam": {
        "plain": {"lr": 0.1},
        "amsgrad": {"lr": 0.1, "amsgrad": True, "betas": (0.5, 0.6)},
        "all": {
            "lr": 0.1,
            "betas": (0.7, 0.9),
            "eps": 1e-3,
            "weight_decay": 0.2,
            "amsgrad": True,
        },
        "decoupled": {
            "lr": 0.1,
            "weight_decay": 0.2,
            "decoupled_weight_decay": True,
        },
        "no averages": {"lr": 0.1, "betas": (0.0, 0.0)},
        "maximize": {"lr": 0.03, "weight_decay": 0.2, "maximize": True},
    },
    "AdamW": {
        "plain": {"lr": 0.1},
        "all": {
            "lr": 0.1,
            "betas": (0.7, 0.9),
            "eps": 1e-3,
            "weight_decay": 0.2,
            "amsgrad": True,
        },
        "maximize": {"lr": 0.03, "maximize": True},
    },
    "RMSprop": {
        "plain": {"lr": 0.02},
        "momentum": {"lr": 0.01, "momentum": 0.8},
        "centered": {"lr": 0.02, "centered": True, "alpha": 0.9},
        "all": {
            "lr": 0.01,
            "alpha": 0.7,
            "eps": 1e-3,
            "weight_decay": 0.2,
            "momentum": 0.5,
            "centered": True,
        },
        "maximize": {"lr": 0.01, "maximize": True},
    },
    "Adagrad": {
        "plain": {"lr": 0.2},
        "lr decay": {"lr": 0.2, "lr_decay": 0.3},
        "all": {
            "lr": 0.2,
            "lr_decay": 0.1,
            "weight_decay": 0.2,
            "initial_accumulator_value": 0.5,
            "eps": 1e-3,
        },
        "maximize": {"lr": 0.1, "maximize": True},
    },
    "Adadelta": {
        "plain": {},
        "all": {"lr": 5.0, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.2},
        "maximize": {"lr": 5.0, "maximize": True},
    },
    "NAdam": {
        "plain": {"lr": 0.1},
        "all": {
            "lr": 0.1,
            "betas": (0.7, 0.9),
            "eps": 1e-3,
            "weight_decay": 0.2,
            "momentum_decay": 0.02,
        },
        "decoupled": {
            "lr": 0.1,
            "weight_decay": 0.2,
            "decoupled_weight_decay": True,
        },
        "maximize": {"lr": 0.03, "maximize": True},
    },
    "RAdam": {
        "plain": {"lr": 0.1},
        "all": {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.2},
        "decoupled": {
            "lr": 0.1,
            "betas": (0.9, 0.95),
            "weight_decay": 0.2,
            "decoupled_weight_decay": True,
        },
        "maximize": {"lr": 0.03, "betas": (0.9, 0.9), "maximize": True},
    },
}


@dataclass(frozen=True)
class Scenario:
    """What happens to the parameters.

    dtypes: of each parameter.
    groups: parameters by position and their own options; None is a single group.
    events: by step (before its gradients): ("no gradient", i), ("freeze", i),
        ("unfreeze", i), ("reassign", i), ("cast", i, dtype), ("set", i), ("scale", i),
        ("option", group, name, value).
    uses: how often the loss uses each parameter.
    frozen: parameters that require no gradient when the optimizer is made.
    """

    dtypes: tuple[str, ...] = ("float64",) * len(SHAPES)
    groups: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] | None = None
    events: dict[int, list[tuple]] = field(default_factory=dict)
    uses: tuple[int, ...] = (1,) * len(SHAPES)
    frozen: tuple[int, ...] = ()


MISSING = {
    0: [("no gradient", 4)],
    2: [("no gradient", 0), ("no gradient", 3)],
    3: [("no gradient", 2)],
    4: [("no gradient", 2)],
    6: [("no gradient", i) for i in range(5)],
}
SCENARIOS = {
    "no gradient in some steps": Scenario(events=MISSING),
    "frozen": Scenario(
        frozen=(2,),
        events={
            0: [("freeze", 0)],
            3: [("freeze", 4)],
            5: [("unfreeze", 4), ("unfreeze", 2)],
        },
    ),
    "shared": Scenario(uses=(1, 3, 1, 1, 2)),
    "reassigned": Scenario(
        events={0: [("reassign", 1)], 4: [("reassign", 0)], 7: [("reassign", 4)]}
    ),
    "changed in place": Scenario(events={2: [("set", 0)], 5: [("scale", 4)]}),
    "mixed dtypes": Scenario(
        dtypes=("float64", "float32", "float16", "float32", "float64")
    ),
    "doubled before": Scenario(
        dtypes=("float32",) * 5,
        events={0: [("cast", i, "float64") for i in range(5)]},
    ),
    "doubled in between": Scenario(
        dtypes=("float32",) * 5,
        events={4: [("cast", i, "float64") for i in range(5)]},
    ),
    "groups": Scenario(
        groups=(
            ((3, 0), {"lr": 0.005, "weight_decay": 0.0}),
            ((1,), {}),
            ((4, 2), {"weight_decay": 0.4}),
        ),
        events={
            2: [("no gradient", 4)],
            5: [("option", 1, "lr", 0.02), ("option", 0, "weight_decay", 0.1)],
        },
    ),
}


@dataclass(frozen=True)
class Case:
    name: str
    optimizer: str
    options: dict[str, Any]
    scenario: Scenario = Scenario()
    scheduler: Any = None

    def __str__(self) -> str:
        return self.name


# -- schedules -------------------------------------------------------------------------

# A schedule is (class, options); the options of SequentialLR hold further ones.
EPOCHS = 30
FUNCTIONS = {
    "inverse": lambda epoch: 1.0 / (1.0 + epoch),
    "power": lambda epoch: 0.9**epoch,
}
METRICS = [5, 4, 4, 4, 4.1, 3, 2.9999, 2.9999, 2.5, *(2.6,) * 6, 1, 2, 2, 2, 2, 0.5]
METRICS += [0.50001] * (EPOCHS - len(METRICS))

SCHEDULES: dict[str, tuple[str, dict[str, Any]]] = {
    "StepLR": ("StepLR", {"step_size": 4}),
    "StepLR slow": ("StepLR", {"step_size": 1, "gamma": 0.9}),
    "MultiStepLR": ("MultiStepLR", {"milestones": [3, 11, 7, 3], "gamma": 0.5}),
    "ExponentialLR": ("ExponentialLR", {"gamma": 0.8}),
    "CosineAnnealingLR": ("CosineAnnealingLR", {"T_max": 8}),
    "CosineAnnealingLR least": ("CosineAnnealingLR", {"T_max": 40, "eta_min": 0.01}),
    "CosineAnnealingLR odd": ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.002}),
    "warm restarts": ("CosineAnnealingWarmRestarts", {"T_0": 4}),
    "warm restarts longer": (
        "CosineAnnealingWarmRestarts",
        {"T_0": 3, "T_mult": 2, "eta_min": 0.001},
    ),
    "LinearLR": ("LinearLR", {}),
    "LinearLR down": (
        "LinearLR",
        {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 12},
    ),
    "ConstantLR": ("ConstantLR", {}),
    "ConstantLR long": ("ConstantLR", {"factor": 0.25, "total_iters": 11}),
    "LambdaLR": ("LambdaLR", {"lr_lambda": "inverse"}),
    "LambdaLR by group": ("LambdaLR", {"lr_lambda": ["inverse", "power"]}),
    "OneCycleLR": ("OneCycleLR", {"max_lr": 0.1, "total_steps": 40}),
    "OneCycleLR linear": (
        "OneCycleLR",
        {
            "max_lr": [0.1, 0.2],
            "epochs": 5,
            "steps_per_epoch": 6,
            "anneal_strategy": "linear",
            "pct_start": 0.4,
            "base_momentum": [0.7, 0.8],
        },
    ),
    "OneCycleLR in three phases": (
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 31, "three_phase": True, "div_factor": 10.0},
    ),
    "OneCycleLR without momentum": (
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 30, "cycle_momentum": False},
    ),
    "ReduceLROnPlateau": ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5}),
    "ReduceLROnPlateau max": (
        "ReduceLROnPlateau",
        {
            "mode": "max",
            "patience": 1,
            "cooldown": 2,
            "threshold_mode": "abs",
            "min_lr": [0.01, 0.001],
        },
    ),
    "ReduceLROnPlateau abs": (
        "ReduceLROnPlateau",
        {"patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": 1e-3},
    ),
    "ReduceLROnPlateau max rel": (
        "ReduceLROnPlateau",
        {"mode": "max", "patience": 4, "threshold": 0.3},
    ),
    "SequentialLR": (
        "SequentialLR",
        {
            "schedulers": [
                ("LinearLR", {"start_factor": 0.1, "total_iters": 5}),
                ("CosineAnnealingLR", {"T_max": 10}),
                ("ExponentialLR", {"gamma": 0.9}),
            ],
            "milestones": [5, 15],
        },
    ),
    "SequentialLR of steps": (
        "SequentialLR",
        {
            "schedulers": [
                ("ConstantLR", {"factor": 0.5, "total_iters": 3}),
                ("StepLR", {"step_size": 3, "gamma": 0.5}),
                ("MultiStepLR", {"milestones": [2, 4]}),
                ("LambdaLR", {"lr_lambda": "power"}),
                ("CosineAnnealingWarmRestarts", {"T_0": 3}),
            ],
            "milestones": [4, 10, 15, 20],
        },
    ),
}


def make_cases() -> list[Case]:
    cases = [
        Case(f"{kind} {name}", kind, options)
        for kind, table in OPTIONS.items()
        for name, options in table.items()
    ]
    for kind, table in OPTIONS.items():
        # Also SGD's plain form, which keeps no state.
        for name in ("plain", "all") if kind == "SGD" else ("all",):
            cases += [
                Case(f"{kind} {name}, {scenario}", kind, table[name], each)
                for scenario, each in SCENARIOS.items()
            ]
    scheduled = Scenario(groups=(((0, 1), {}), ((2, 3, 4), {"lr": 0.02})))
    for name, schedule in SCHEDULES.items():
        kind = ("SGD", "Adam", "RMSprop")[len(cases) % 3]
        options = OPTIONS[kind]["momentum" if kind != "Adam" else "plain"]
        cases.append(
            Case(f"{kind} with {name}", kind, options, scheduled, scheduler=schedule)
        )
    return cases


CASES = make_cases()
