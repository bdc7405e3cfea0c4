"""`Module`, the base of every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..autograd.graph import current_observer
from ..backends import resolve_device, there
from ..backends.dtypes import as_dtype, is_floating
from ..creation import asarray
from ..tensor import Tensor
from .module_tree import (
    all_modules,
    named,
    own,
    own_buffers,
    own_parameters,
    state_of,
)
from .parameter import Parameter
from .state import KeysReport, copy_state, move, names_dtype

__all__ = ["Module", "Parameter"]

Self = TypeVar("Self", bound="Module")


class Module:
    """The base of every model: parameters and further modules as attributes.

    A subclass sets attributes in `__init__` and defines `forward`. Whatever attribute
    is a `Parameter` or a `Module` belongs to it, under the attribute's name; nothing
    has to be registered but buffers, the tensors that it keeps and training does not
    change (`register_buffer`). `super().__init__()` may be called, and need not be.

    training: True until `eval()`: dropout and batch norm behave by it.

    >>> class Twice(Module):
    ...     def __init__(self):
    ...         self.inner = Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.inner(self.inner(x))
    >>> from tinygrad_softmax.nn import Linear
    >>> list(Twice().state_dict())
    ['inner.weight', 'inner.bias']
    """

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        observer = current_observer()
        if observer is None or not hasattr(observer, "call"):
            return self.forward(*args, **kwargs)
        return observer.call(self, args, kwargs)  # a recording notes it

    def __setattr__(self, name: str, value: Any) -> None:
        before, buffers = vars(self).get(name), vars(self).get("_buffer_names", {})
        mine = f"{type(self).__name__}.{name}"
        if isinstance(value, (Parameter, Module)):
            buffers.pop(name, None)
        elif value is not None:
            given = f"was given a {type(value).__name__}"
            if isinstance(before, Parameter):
                raise TypeError(
                    f"{mine} is a parameter, and {given}, which no optimizer would "
                    "train; mend: nn.Parameter(tensor), or under tg.no_grad(): "
                    f"module.{name} -= ..."
                )
            if isinstance(before, Module):
                raise TypeError(f"{mine} is a module, and {given}")
            if name in buffers and not isinstance(value, Tensor):
                raise TypeError(
                    f"{mine} is a buffer, and {given}; mend: tg.tensor(...)"
                )
            if isinstance(value, (list, tuple, dict)):
                _warn_of_hidden(mine, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        vars(self).get("_buffer_names", {}).pop(name, None)

    # -- what it holds --------------------------------------------------------------

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Keep a tensor (or None) as attribute `name`: it moves with the module.

        persistent: whether it is part of `state_dict`.

        Raises KeyError for a name that is taken, empty or has a dot, as
        `register_parameter` and `add_module` do.
        """
        self._check_name("register_buffer", name, name in self._buffers())
        if tensor is not None and not isinstance(tensor, Tensor):
            tensor = asarray(tensor)
        self._buffers()[name] = persistent
        object.__setattr__(self, name, tensor)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Set attribute `name`, as `self.name = param` does."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: {name} is a {type(param).__name__}; expected a "
                "Parameter or None; mend: nn.Parameter(tensor)"
            )
        known = isinstance(vars(self).get(name), Parameter)
        self._check_name("register_parameter", name, known)
        setattr(self, name, param)

    def add_module(self, name: str, module: Module | None) -> None:
        """Set attribute `name`, as `self.name = module` does."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"add_module: {name} is a {type(module).__name__}; expected a Module"
            )
        known = isinstance(vars(self).get(name), Module)
        self._check_name("add_module", name, known)
        setattr(self, name, module)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, in the order in which they were set.

        One that is there twice comes once, under its first name.
        """
        seen: set[int] = set()
        for name, module in own(self, Module):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly inside; one that is there twice comes once."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module (under `prefix`) and every one inside it, with its path."""
        seen: set[int] = set()
        for name, module in all_modules(self, prefix, Module):
            if not (remove_duplicate and id(module) in seen):
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and every one inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its path, such as "0.weight"; a shared one once."""
        return named(_modules(self, prefix, recurse), own_parameters, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter, for an optimizer."""
        return (each for _, each in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every buffer with its path, such as "1.running_mean"."""
        return named(_modules(self, prefix, recurse), own_buffers, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer."""
        return (each for _, each in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module at a path such as "encoder.0"; "" is this one."""
        found: Any = self
        for name in filter(None, target.split(".")):
            found = dict(own(found, Module)).get(name)
            if found is None:
                paths = (path for path, _ in all_modules(self, "", Module) if path)
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}; its modules are "
                    f"{', '.join(paths)}"
                )
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a path such as "encoder.0.weight"."""
        return _lookup(
            self, target, dict(self.named_parameters(remove_duplicate=False))
        )

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path such as "1.running_mean"."""
        found = self.named_buffers(remove_duplicate=False)
        return _lookup(self, target, dict(found))

    # -- changing all of it -----------------------------------------------------------

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module inside, then on this one; returns the module.

        >>> from tinygrad_softmax import nn
        >>> def zero(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.weight)
        >>> nn.Sequential(nn.Linear(2, 2)).apply(zero).get_parameter("0.weight")
        tensor([[0., 0.],
                [0., 0.]], requires_grad=True)
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Behave as in training, or (`mode=False`) as in use; returns the module."""
        if not isinstance(mode, bool):
            raise ValueError(f"train: mode was given as {mode!r}; expected True, False")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Behave as in use: no dropout, batch norm by its running averages."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freeze (False) or unfreeze every parameter; returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient of every parameter, or (False) fill it with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                with there(parameter.array):
                    zeros = parameter.grad.array * 0
                parameter.grad = Tensor(zeros)

    def to(self: Self, device: Any = None, dtype: Any = None) -> Self:
        """Move parameters, gradients and buffers; returns the module.

        The parameters stay the same objects, so an optimizer goes on with them.

        device: such as "cpu", "cuda:1"; None leaves them where they are. A dtype may
            be given in its place, as in PyTorch: `model.to(tg.float64)`.
        dtype: a floating dtype for what is floating; None leaves it.

        >>> from tinygrad_softmax import nn
        >>> nn.Linear(2, 1).to(dtype="float64").weight.dtype
        dtype('float64')
        """
        if device is not None and (not isinstance(device, str) or names_dtype(device)):
            device, dtype = None, device
        name = None if device is None else resolve_device(device)[1]
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and not is_floating(wanted):
            raise TypeError(
                f"to: a module can't become {wanted}: only floating dtypes can carry "
                "gradients; mend: float16, bfloat16, float32 or float64"
            )
        for tensor in (*self.parameters(), *self.buffers()):
            move(tensor, name, wanted)
        return self

    def cpu(self: Self) -> Self:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self: Self, device: int | None = None) -> Self:
        """`to("cuda")`, or to the GPU of that number."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def half(self: Self) -> Self:
        """`to(dtype=tg.float16)`."""
        return self.to(dtype="float16")

    def float(self: Self) -> Self:
        """`to(dtype=tg.float32)`."""
        return self.to(dtype="float32")

    def double(self: Self) -> Self:
        """`to(dtype=tg.float64)`."""
        return self.to(dtype="float64")

    # -- its state --------------------------------------------------------------------

    def state_dict(
        self, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Tensor]:
        """Every parameter and persistent buffer by its path, in PyTorch's order.

        They come without their graph and share memory with the module.

        keep_vars: give the parameters themselves.
        """
        return {
            name: tensor if keep_vars else tensor.detach()
            for name, tensor in state_of(all_modules(self, "", Module), prefix)
        }

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> KeysReport:
        """Copy values (Tensors or arrays) into what has the same names.

        Each keeps its own dtype and device. Nothing is copied unless all of it fits.

        strict: False passes over keys that only one side has, and returns them.

        Raises:
            RuntimeError: keys are missing or unexpected, or shapes differ; the message
                lists every one of them.
            TypeError: it is no mapping, or holds what is no tensor.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"load_state_dict: a {type(state_dict).__name__} was given; expected a "
                "mapping from names to tensors"
            )
        own = dict(state_of(all_modules(self, "", Module), ""))
        return copy_state(own, state_dict, strict, type(self).__name__)

    # -- showing it -------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the module's line in `repr` says of it."""
        return ""

    def __repr__(self) -> str:
        """The modules inside, each with the number of its parameters."""
        lines = [f"({name}): {child!r}" for name, child in own(self, Module)]
        extra, name = self.extra_repr(), type(self).__name__
        count = _count(self)
        if not lines:
            return f"{name}({extra}){count}"
        inside = "".join(f"\n  {line}" for each in lines for line in each.splitlines())
        return f"{name}({extra}{count}{inside}\n)"

    # -- how it is found --------------------------------------------------------------

    def _buffers(self) -> dict[str, bool]:
        """The names of its own buffers, and whether each is persistent."""
        return vars(self).setdefault("_buffer_names", {})

    def _check_name(self, method: str, name: str, known: bool) -> None:
        """Raise unless a name is free, or `known` to be of the same kind."""
        if not isinstance(name, str):
            raise TypeError(f"{method}: the name is {name!r}; expected a string")
        if not name or "." in name:
            raise KeyError(
                f"{method}: the name is {name!r}; expected one that is not empty and "
                "has no dot, which separates the names in a path"
            )
        if hasattr(self, name) and not known and vars(self).get(name, self) is not None:
            raise KeyError(f"{method}: attribute {name!r} already exists")


def _modules(
    module: Module, prefix: str, recurse: bool
) -> Iterator[tuple[str, Module]]:
    """This module and, with `recurse`, those inside it, by their paths."""
    return all_modules(module, prefix, Module) if recurse else iter([(prefix, module)])


def _warn_of_hidden(name: str, value: Any) -> None:
    """Say that what is in a list is not found: the commonest mistake with modules."""
    held = value.values() if isinstance(value, dict) else value
    kinds = {Module if isinstance(x, Module) else type(x) for x in held}
    if Module in kinds or Parameter in kinds:
        import warnings

        kind = type(value).__name__
        better = "nn.ModuleDict" if kind == "dict" else "nn.ModuleList"
        warnings.warn(
            f"{name} is a {kind} that holds modules or parameters; they are not found "
            f"there, so they will be neither trained nor saved; mend: {better}(...), "
            "or an attribute for each parameter",
            UserWarning,
            stacklevel=3,
        )


def _lookup(module: Module, target: str, found: dict[str, Any]) -> Any:
    if target not in found:
        raise AttributeError(
            f"{type(module).__name__} has nothing at {target!r}; it has "
            f"{', '.join(found) or 'none'}"
        )
    return found[target]


def _count(module: Module) -> str:
    """How many parameters a module has, as the comment in its `repr`."""
    sizes = [(each.size, each.requires_grad) for each in module.parameters()]
    if not sizes:
        return ""
    total, frozen = sum(n for n, _ in sizes), sum(n for n, grad in sizes if not grad)
    note = f", {frozen:,} frozen" if frozen else ""
    return f"  # {total:,} parameter{'s' * (total != 1)}{note}"
