"""Modules: what holds parameters, and the few that a classifier is built of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..backends import backend_of, resolve_device
from ..backends.dtypes import as_dtype, get_default_dtype
from ..backends.random import default_generator
from ..creation import asarray
from ..tensor import Tensor
from . import functional

__all__ = [
    "CrossEntropyLoss",
    "Linear",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
]


class Parameter(Tensor):
    """A Tensor that a module owns and training changes: a leaf that wants a gradient.

    What is computed from it is a Tensor. Shares memory with `data`, as PyTorch's does.

    >>> Parameter(np.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(asarray(data).array)
        self.requires_grad_(requires_grad)


class Module:
    """The base of every model: parameters and further modules as attributes.

    A subclass sets attributes in `__init__` and defines `forward`. Whatever attribute
    is a `Parameter` or a `Module` belongs to it, under the attribute's name; nothing
    has to be registered.

    >>> class Twice(Module):
    ...     def __init__(self):
    ...         self.inner = Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.inner(self.inner(x))
    >>> list(Twice().state_dict())
    ['inner.weight', 'inner.bias']
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, in the order in which they were set."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, such as "0.weight"; a shared one once."""
        seen: set[int] = set()
        for name, parameter in self._paths(prefix):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, for an optimizer."""
        for _, parameter in self.named_parameters():
            yield parameter

    def zero_grad(self) -> None:
        """Forget the gradient of every parameter."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self, device: str) -> Module:
        """Move every parameter (and its gradient) to `device`; returns the module.

        The parameters stay the same objects, so an optimizer goes on with them.
        """
        _, name = resolve_device(device)
        for parameter in self.parameters():
            parameter.array = parameter.detach().to(name).array
            if parameter.grad is not None:
                parameter.grad = parameter.grad.to(name)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Every parameter by its path, without its graph; shares its memory."""
        return {name: parameter.detach() for name, parameter in self._paths("")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy values (Tensors or arrays) into the parameters of the same names.

        Each keeps its parameter's dtype and device.

        Raises:
            KeyError: keys are missing or unexpected; the message lists them all.
            ValueError: shapes differ; the message lists them all.
        """
        own = dict(self._paths(""))
        missing = [key for key in own if key not in state_dict]
        unexpected = [key for key in state_dict if key not in own]
        if missing or unexpected:
            raise KeyError(
                f"load_state_dict of {type(self).__name__}: missing keys: "
                f"{', '.join(missing) or 'none'}; unexpected keys: "
                f"{', '.join(unexpected) or 'none'}"
            )
        wrong = [
            f"{key} is {tuple(state_dict[key].shape)}, expected {parameter.shape}"
            for key, parameter in own.items()
            if tuple(state_dict[key].shape) != parameter.shape
        ]
        if wrong:
            raise ValueError(
                f"load_state_dict of {type(self).__name__}: {'; '.join(wrong)}"
            )
        for key, parameter in own.items():
            value = asarray(state_dict[key]).detach().to(parameter.device)
            parameter.array[...] = value.array

    def extra_repr(self) -> str:
        """What the module's line in `repr` says of it."""
        return ""

    def __repr__(self) -> str:
        inside = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.named_children()
        ]
        body = "\n" + "\n".join(inside) + "\n" if inside else self.extra_repr()
        return f"{type(self).__name__}({body})"

    def _paths(self, prefix: str) -> Iterator[tuple[str, Parameter]]:
        """Every path to a parameter: two for one that is shared."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
        for name, child in self.named_children():
            yield from child._paths(f"{prefix}{name}.")


class Sequential(Module):
    """Modules one after the other, named "0", "1", ...

    >>> list(Sequential(Linear(4, 2), ReLU()).state_dict())
    ['0.weight', '0.bias']
    """

    def __init__(self, *modules: Module) -> None:
        for position, module in enumerate(modules):
            setattr(self, str(position), module)

    def forward(self, input: Any) -> Any:
        for _, module in self.named_children():
            input = module(input)
        return input


class Linear(Module):
    """`x @ weight.T + bias`, for x of shape (..., in_features).

    Weight (out_features, in_features) and bias (out_features,) start uniform in
    +-1 / sqrt(in_features), PyTorch's choice, drawn from the library's generator
    (`tg.manual_seed`) on the host: one seed gives the same weights on every device.

    >>> Linear(64, 10)
    Linear(in_features=64, out_features=10, bias=True)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"Linear was given {in_features} inputs and {out_features} outputs; "
                f"expected at least 1 of each"
            )
        self.in_features = in_features
        self.out_features = out_features
        bound = 1.0 / math.sqrt(in_features)
        shape = (out_features, in_features)
        self.weight = Parameter(_uniform(bound, shape, device, dtype))
        self.bias = (
            Parameter(_uniform(bound, (out_features,), device, dtype)) if bias else None
        )

    def forward(self, input: Any) -> Any:
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class ReLU(Module):
    """max(x, 0); its gradient at 0 is 0.

    >>> import tinygrad_softmax as tg
    >>> ReLU()(tg.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Any:
        return functional.relu(input)


class CrossEntropyLoss(Module):
    """`functional.cross_entropy` with its options kept.

    >>> import tinygrad_softmax as tg
    >>> loss = CrossEntropyLoss()(tg.tensor([[0.0, 0.0]]), tg.tensor([1]))
    >>> round(loss.item(), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.weight = weight
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Any, target: Any) -> Any:
        return functional.cross_entropy(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
        )


class NLLLoss(Module):
    """`functional.nll_loss` with its options kept.

    >>> import tinygrad_softmax as tg
    >>> log_probs = tg.log(tg.tensor([[0.3, 0.2, 0.1, 0.4]]))
    >>> round(NLLLoss()(log_probs, tg.tensor([1])).item(), 4)
    1.6094
    """

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        self.weight = weight
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Any:
        return functional.nll_loss(
            input, target, self.weight, self.ignore_index, self.reduction
        )


def _uniform(bound: float, shape: tuple[int, ...], device: Any, dtype: Any) -> Tensor:
    """Numbers in [-bound, bound), drawn on the host whatever the device."""
    wanted = get_default_dtype() if dtype is None else as_dtype(dtype)
    host = default_generator.next(backend_of(np.empty(0)))
    values = host.uniform(-bound, bound, shape).astype(wanted)
    return asarray(values).to(resolve_device(device)[1])
