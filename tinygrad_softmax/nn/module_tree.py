"""Walking through a module and the modules inside it.

These are functions, and not methods of `Module`, so that a model may have attributes of
any name. `kind` is the class that is looked for; `Module` hands itself in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..tensor import Tensor
from .parameter import Parameter


def own(module: Any, kind: type) -> Iterator[tuple[str, Any]]:
    """The attributes of one kind, by name, in the order in which they were set."""
    for name, value in list(vars(module).items()):
        if isinstance(value, kind):
            yield name, value


def own_parameters(module: Any) -> Iterator[tuple[str, Parameter]]:
    """The parameters of this module alone."""
    return own(module, Parameter)


def own_buffers(module: Any) -> Iterator[tuple[str, Tensor]]:
    """The buffers of this module alone; those that are None are passed over."""
    for name in vars(module).get("_buffer_names", ()):
        if vars(module).get(name) is not None:
            yield name, vars(module)[name]


def all_modules(module: Any, prefix: str, kind: type) -> Iterator[tuple[str, Any]]:
    """Every path to a module, this one first: two for one that is shared."""
    yield prefix, module
    for name, child in own(module, kind):
        yield from all_modules(child, f"{prefix}.{name}" if prefix else name, kind)


def named(
    modules: Iterator[tuple[str, Any]], of: Callable, remove_duplicate: bool
) -> Iterator[tuple[str, Any]]:
    """What `of` finds in each module, by its path."""
    seen: set[int] = set()
    for path, module in modules:
        for name, value in of(module):
            if not (remove_duplicate and id(value) in seen):
                seen.add(id(value))
                yield f"{path}.{name}" if path else name, value


def state_of(modules: Iterator[tuple[str, Any]], prefix: str):
    """Every path to a parameter or a persistent buffer; `prefix` ends in a dot."""
    for path, module in modules:
        start = f"{prefix}{path}." if path else prefix
        for name, parameter in own_parameters(module):
            yield start + name, parameter
        for name, buffer in own_buffers(module):
            if vars(module)["_buffer_names"][name]:
                yield start + name, buffer
