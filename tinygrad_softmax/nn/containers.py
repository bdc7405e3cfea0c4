"""Modules that hold modules: in sequence, in a list, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import index as as_integer
from typing import Any

from .module import Module
from .module_tree import own

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Listed(Module):
    """What `Sequential` and `ModuleList` share: modules in order, found by position."""

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._held().values())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            part = type(self).__new__(type(self))
            for name, module in self._part(list(self._held().items())[index]):
                setattr(part, name, module)
            return part
        return self._held()[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._name(index), _module(self, module))

    def __delitem__(self, index: int | slice) -> None:
        held = self._held()
        names = list(held)
        chosen = names[index] if isinstance(index, slice) else [self._name(index)]
        kept = {name: module for name, module in held.items() if name not in chosen}
        self._replace(kept)

    def append(self, module: Module) -> Any:
        """Add one at the end; returns this module."""
        held, number = self._held(), len(self)
        while str(number) in held:  # a slice's names need not begin at 0
            number += 1
        setattr(self, str(number), _module(self, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add several at the end; returns this module."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """Put one before position `index`; returns this module."""
        modules = list(self)
        modules.insert(index, _module(self, module))
        self._replace(dict(enumerate(modules)))
        return self

    def pop(self, index: int) -> Module:
        """Take one out and return it."""
        module = self[index]
        del self[index]
        return module

    def __add__(self, other: Iterable[Module]) -> Any:
        """A new one that holds the modules of both."""
        return type(self).__new__(type(self)).extend([*self, *other])

    def __iadd__(self, other: Iterable[Module]) -> Any:
        return self.extend(other)

    def _held(self) -> dict[str, Module]:
        return dict(own(self, Module))

    def _part(self, chosen: list[tuple[str, Module]]) -> list[tuple[str, Module]]:
        """The names in a slice: numbered anew."""
        return [(str(i), module) for i, (_, module) in enumerate(chosen)]

    def _name(self, index: int) -> str:
        names = list(self._held())
        try:
            return names[as_integer(index)]
        except IndexError:
            raise IndexError(
                f"{type(self).__name__}: there is no module {index}; it holds "
                f"{len(names)}"
            ) from None

    def _replace(self, modules: Mapping[Any, Module]) -> None:
        """Hold these and no others; numbered anew unless they have names."""
        for name in self._held():
            delattr(self, name)
        numbered = all(str(name).isdecimal() for name in modules)
        for position, (name, module) in enumerate(modules.items()):
            setattr(self, str(position) if numbered else name, module)


class Sequential(_Listed):
    """Modules one after the other, named "0", "1", ... or by the keys of a dict.

    Each is called with what the one before returned, the first with the input.

    >>> from tinygrad_softmax.nn import Linear, ReLU
    >>> model = Sequential(Linear(4, 2), ReLU())
    >>> list(model.state_dict()), len(model), model[-1]
    (['0.weight', '0.bias'], 2, ReLU())
    >>> Sequential({"hidden": Linear(4, 2), "relu": ReLU()})
    Sequential(  # 10 parameters
      (hidden): Linear(in_features=4, out_features=2, bias=True)  # 10 parameters
      (relu): ReLU()
    )
    """

    def __init__(self, *modules: Any) -> None:
        named: Mapping[Any, Any] = dict(enumerate(modules))
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named = modules[0]
        for name, module in named.items():
            self.add_module(str(name), _module(self, module))

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def _part(self, chosen: list[tuple[str, Module]]) -> list[tuple[str, Module]]:
        """The names in a slice: as they were, so that saved values fit."""
        return chosen


class ModuleList(_Listed):
    """A list of modules, named "0", "1", ...; a plain list would not be looked into.

    >>> from tinygrad_softmax.nn import Linear
    >>> layers = ModuleList(Linear(n, n) for n in (2, 3))
    >>> [name for name, _ in layers.named_parameters()]
    ['0.weight', '0.bias', '1.weight', '1.bias']
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(modules or ())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            "a ModuleList can't be called: it has no order of its own; mend: loop over "
            "it in your forward, or use nn.Sequential"
        )


class ModuleDict(Module):
    """Modules by name; a plain dict would not be looked into.

    >>> from tinygrad_softmax.nn import Linear
    >>> heads = ModuleDict({"cat": Linear(2, 1)})
    >>> heads["dog"] = Linear(2, 1)
    >>> list(heads.keys()), "cat" in heads
    (['cat', 'dog'], True)
    """

    def __init__(self, modules: Any = None) -> None:
        self.update(modules or {})

    def __getitem__(self, key: str) -> Module:
        try:
            return dict(own(self, Module))[key]
        except KeyError:
            raise KeyError(
                f"ModuleDict: there is no module {key!r}; it holds "
                f"{', '.join(self.keys()) or 'none'}"
            ) from None

    def __setitem__(self, key: str, module: Module) -> None:
        if isinstance(key, str) and key not in self and hasattr(self, key):
            raise KeyError(
                f"ModuleDict: {key!r} is the name of an attribute of modules; mend: "
                "choose another key"
            )
        self.add_module(key, _module(self, module))

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def __len__(self) -> int:
        return len(self.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """The names, in order."""
        return [name for name, _ in own(self, Module)]

    def values(self) -> list[Module]:
        """The modules, in order."""
        return [module for _, module in own(self, Module)]

    def items(self) -> list[tuple[str, Module]]:
        """(name, module), in order."""
        return list(own(self, Module))

    def update(self, modules: Any) -> None:
        """Add the modules of a mapping, or of pairs (name, module)."""
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key: str) -> Module:
        """Take a module out and return it."""
        module = self[key]
        delattr(self, key)
        return module

    def clear(self) -> None:
        """Take all of them out."""
        for key in self.keys():
            delattr(self, key)


def _module(holder: Module, module: Any) -> Module:
    if isinstance(module, Module):
        return module
    holds = type(holder).__name__
    if isinstance(module, type):
        name = module.__name__
        raise TypeError(
            f"{holds} was given the class {name}; expected a Module; mend: {name}()"
        )
    listed = isinstance(module, (list, tuple))
    raise TypeError(
        f"{holds} was given a {type(module).__name__}; expected a Module"
        + (f"; mend: {holds}(*modules)" if listed else "")
    )
