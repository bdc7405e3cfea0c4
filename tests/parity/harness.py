"""Modules and functions run in PyTorch and here alike, and what they then give.

A family of cases is a file cases_NAME.py beside this one, with a list CASES. A case is
built from a library that is handed to it, PyTorch or this one: both have the same names
(`lib.nn.Linear(2, 3)`), which is what is being tested. `run` calls it in float64 and
returns its outputs, the gradients of a fixed weighted sum of them with respect to every
input and parameter, a second-order product, and the buffers afterwards, as one dict of
arrays.

- `test_modules.py` compares with PyTorch's answers, kept in answers/NAME.npz.
- `modules_against_torch.py` compares with PyTorch itself, and the answers too.
- `python tests/parity/make_answers.py NAME` writes answers/NAME.npz, with a Python that
  has PyTorch.

Parameters and floating buffers get values that follow from their names alone, so that
nothing but answers is kept.
"""

from __future__ import annotations

import importlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
FAMILIES = sorted(path.stem.removeprefix("cases_") for path in HERE.glob("cases_*.py"))


@dataclass(frozen=True, eq=False)
class Case:
    """One module or function, and what it is called with.

    name: unique in its family.
    make: from a library to a module or a function, `lambda lib: lib.nn.ReLU()` or
        `lambda lib: lib.nn.functional.relu`.
    inputs: float64 arrays get gradients; other arrays (labels, masks) are constants.
    options: keyword arguments of the call; an array among them is a constant.
    train: whether a module is in training mode.
    repeats: how many times it is called; the last call counts (running averages).
    second: whether the second-order product is compared too.
    call: how to call it, `call(made, *inputs, **options)`; by default as it is.
    """

    name: str
    make: Callable[[Any], Any]
    inputs: tuple[np.ndarray, ...]
    options: dict[str, Any] | None = None
    train: bool = True
    repeats: int = 1
    second: bool = True
    call: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return self.name


def cases_of(family: str) -> list[Case]:
    cases = importlib.import_module(f"parity.cases_{family}").CASES
    names = [each.name for each in cases]
    assert len(set(names)) == len(names), "two cases have the same name"
    return cases


def values(name: str, shape: tuple[int, ...], low=-1.0, high=1.0) -> np.ndarray:
    """Numbers that follow from a name, the same everywhere."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.uniform(low, high, shape)


class Torch:
    """PyTorch, as `run` uses it."""

    def __init__(self) -> None:
        import torch

        self.lib = torch

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        return self.lib.tensor(array, requires_grad=requires_grad)

    def grad(self, outputs: Any, inputs: list[Any], create_graph: bool) -> list[Any]:
        return self.lib.autograd.grad(
            outputs, inputs, create_graph=create_graph, allow_unused=True
        )

    def fill(self, tensor: Any, array: np.ndarray) -> None:
        with self.lib.no_grad():
            tensor.copy_(self.lib.as_tensor(array))

    def is_floating(self, tensor: Any) -> bool:
        return tensor.dtype.is_floating_point

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, self.lib.Tensor)

    def array(self, tensor: Any) -> np.ndarray:
        return tensor.detach().numpy(force=True).copy()  # force: it knows some zeros


class Ours:
    """This library, as `run` uses it."""

    def __init__(self, device: str = "cpu") -> None:
        import tinygrad_softmax

        self.lib, self.device = tinygrad_softmax, device

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> Any:
        return self.lib.tensor(array, device=self.device, requires_grad=requires_grad)

    def grad(self, outputs: Any, inputs: list[Any], create_graph: bool) -> list[Any]:
        return self.lib.grad(
            outputs, inputs, create_graph=create_graph, allow_unused=True
        )

    def fill(self, tensor: Any, array: np.ndarray) -> None:
        tensor.array[...] = self.lib.tensor(array, device=self.device).array

    def is_floating(self, tensor: Any) -> bool:
        return tensor.dtype.kind == "f"

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, self.lib.Tensor)

    def array(self, tensor: Any) -> np.ndarray:
        assert tensor.device.partition(":")[0] == self.device
        return tensor.detach().numpy().copy()


def keep_answers(family: str, answers: dict[str, dict[str, np.ndarray]]) -> None:
    """Write the answers of a family: one array of all numbers, and where each is."""
    index, numbers = [], [np.zeros(0)]
    for case, found in answers.items():
        for name, value in found.items():
            if name == "keys":
                index.append([case, name, value.tolist(), "text"])
            else:
                index.append([case, name, value.shape, value.dtype.name])
                numbers.append(value.astype(np.float64).reshape(-1))
    flat = np.concatenate(numbers)
    path = HERE / "answers" / f"{family}.npz"
    np.savez_compressed(path, index=json.dumps(index), numbers=flat)


def kept_answers(family: str) -> dict[str, dict[str, np.ndarray]]:
    """What `keep_answers` wrote: by case, then by name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(HERE / "answers" / f"{family}.npz") as file:
        index, numbers = json.loads(str(file["index"])), file["numbers"]
    start = 0
    for case, name, shape, dtype in index:
        if dtype == "text":
            value = np.array(shape)
        else:
            end = start + int(np.prod(shape))
            value = numbers[start:end].reshape(shape).astype(dtype)
            start = end
        found.setdefault(case, {})[name] = value
    return found


def run(case: Case, library: Torch | Ours) -> dict[str, np.ndarray]:
    """Everything that is compared, by name."""
    made = case.make(library.lib)
    is_module = isinstance(made, library.lib.nn.Module)
    if is_module:
        made.double()
        if isinstance(library, Ours):
            made.to(library.device)
        made.train(case.train)
        _fill(made, library)
    inputs = [
        library.tensor(x, requires_grad=x.dtype == np.float64) for x in case.inputs
    ]
    options = {
        key: library.tensor(value) if isinstance(value, np.ndarray) else value
        for key, value in (case.options or {}).items()
    }
    for _ in range(case.repeats):
        if case.call is None:
            result = made(*inputs, **options)
        else:
            result = case.call(made, *inputs, **options)
    found: dict[str, np.ndarray] = {}
    outputs = list(_tensors(result, library))
    loss: Any = 0.0
    for i, out in enumerate(outputs):
        found[f"output {i}"] = library.array(out)
        if library.is_floating(out) and out.requires_grad:
            weights = values(f"weights {i}", tuple(out.shape), 0.5, 1.5)
            loss = loss + (out * library.tensor(weights)).sum()
    wanted = {f"input {i}": x for i, x in enumerate(inputs) if x.requires_grad}
    if is_module:
        wanted |= dict(made.named_parameters())
    if wanted and outputs and not isinstance(loss, float):
        found |= _gradients(case, library, loss, wanted)
    if is_module:
        for name, buffer in made.named_buffers():
            found[f"buffer {name}"] = library.array(buffer)
        found["keys"] = np.array([*made.state_dict()])
    return found


def _gradients(case: Case, library: Any, loss: Any, wanted: dict[str, Any]):
    found = {}
    names, tensors = list(wanted), list(wanted.values())
    grads = library.grad(loss, tensors, create_graph=case.second)
    product: Any = 0.0
    for name, grad in zip(names, grads, strict=True):
        if grad is not None:
            found[f"grad {name}"] = library.array(grad)
            if case.second and grad.requires_grad:
                direction = values(f"direction {name}", tuple(grad.shape))
                product = product + (grad * library.tensor(direction)).sum()
    if not isinstance(product, float):
        second = library.grad(product, tensors, create_graph=False)
        for name, grad in zip(names, second, strict=True):
            if grad is not None:
                found[f"second {name}"] = library.array(grad)
    return found


def _fill(module: Any, library: Any) -> None:
    """Values by name; those of buffers, which may be variances, are positive."""
    for name, parameter in module.named_parameters():
        library.fill(parameter, values(name, tuple(parameter.shape)))
    for name, buffer in module.named_buffers():
        if library.is_floating(buffer):
            library.fill(buffer, values(name, tuple(buffer.shape), 0.5, 1.5))


def _tensors(result: Any, library: Any):
    """The tensors of a result, through tuples and lists."""
    if library.is_tensor(result):
        yield result
    elif isinstance(result, (tuple, list)):
        for each in result:
            yield from _tensors(each, library)


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal to 1e-9 of the largest entry, as the issue asks, or of 1; keys exactly.

    A gradient that one side lacks must be 0 on the other.
    """
    for name in sorted({*got, *expected}):
        if name == "keys":
            assert got[name].tolist() == expected[name].tolist()
            continue
        if name not in got or name not in expected:
            assert name.startswith(("grad", "second")), f"only one side has {name}"
            there = got.get(name, expected.get(name))
            assert not there.any(), f"only one side has {name}, and it is not 0"
            continue
        a, b = got[name], expected[name]
        assert a.shape == b.shape, f"{name}: {a.shape} for {b.shape}"
        finite = np.abs(b[np.isfinite(b)]) if b.dtype.kind == "f" else np.zeros(0)
        scale = max(1.0, float(finite.max(initial=0.0)))
        np.testing.assert_allclose(
            a, b, rtol=0, atol=1e-9 * scale, equal_nan=True, err_msg=name
        )
