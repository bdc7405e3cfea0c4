"""A tree of values as JSON and named arrays, and back, bit for bit.

JSON has no tuples, no keys but text, no integers or floats of every kind, and no
arrays. What JSON says exactly stays as it is: null, true, false, text, floats, integers
of 64 bits, and lists. Everything else is an object with one key, which says its kind:

    {"dict": {"key": node, ...}}          a dict of text keys, in order
    {"items": [[key, node], ...]}         a dict with integer keys too
    {"tuple": [node, ...]}
    {"tensor": "name"}, {"array": "name"} a Tensor, a NumPy array: the file's tensor
    {"scalar": ["float32", "0000803f"]}   a NumPy scalar: its dtype and its bytes
    {"int": "-0x1fffffffffffffffff"}      an integer of more than 64 bits
    {"float": "7ff8000000000000"}         inf and nan, as the bits of a float64
    {"text": "eda080"}                    text with half a surrogate pair, in UTF-8
"""

from __future__ import annotations

import math
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backends import Generator, backend_of
from ..backends.dtypes import as_dtype
from ..tensor import Tensor

__all__ = ["MAX_DEPTH", "flatten", "restore"]

# Far above any state, and far below the depth at which Python's recursion ends.
MAX_DEPTH = 100


def flatten(tree: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """What JSON is to say of a tree, and its arrays by name, on the host, in C order.

    Raises TypeError for a value that can't be saved, and ValueError for a tree that is
    too deep; each names the place.
    """
    writer = _Writer()
    return writer.node(tree, ()), writer.arrays


def restore(
    node: Any, arrays: dict[str, np.ndarray], as_tensor: Callable[[np.ndarray], Tensor]
) -> Any:
    """The tree of what `flatten` gave.

    Raises ValueError, TypeError or KeyError for what it never gives: also if an array
    has no place in the tree, or two.
    """
    reader = _Reader(arrays, as_tensor)
    tree = reader.value(node, 0)
    if reader.arrays:
        raise ValueError(f"the tensor {min(reader.arrays)!r} has no place in its tree")
    return tree


class _Writer:
    """Turns values into nodes, and keeps the arrays that it meets."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def node(self, value: Any, path: tuple) -> Any:
        if len(path) > MAX_DEPTH:
            raise ValueError(
                f"save: the tree is more than {MAX_DEPTH} levels deep, at "
                f"{_place(path[:4])}...; mend: does something contain itself?"
            )
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind in (int, float, str):
            return _plain(value)
        if kind in (dict, OrderedDict, Counter):
            return self._dict(value, path)
        if kind in (list, tuple):
            nodes = [self.node(each, (*path, i)) for i, each in enumerate(value)]
            return nodes if kind is list else {"tuple": nodes}
        if isinstance(value, Tensor):
            return {"tensor": self._keep(value.array, path)}
        if (kind is np.ndarray or isinstance(value, np.generic)) and _known(value):
            if kind is np.ndarray:
                return {"array": self._keep(value, path)}
            return {"scalar": [value.dtype.name, value.tobytes().hex()]}
        raise TypeError(
            f"save: {_place(path)} is {_described(value)}, which a file can't hold; "
            f"mend: {_mend(value)}"
        )

    def _dict(self, value: dict, path: tuple) -> dict:
        items = []
        for key, each in value.items():
            if type(key) not in (int, str):
                raise TypeError(
                    f"save: {_place(path)} has the key {key!r}, of type "
                    f"{type(key).__name__}; mend: keys that are str or int"
                )
            items.append([_plain(key), self.node(each, (*path, key))])
        if all(type(key) is str for key, _ in items):
            return {"dict": dict(items)}
        return {"items": items}

    def _keep(self, array: Any, path: tuple) -> str:
        """Keep an array under its dotted path; where that is taken, with a number."""
        host = np.asarray(backend_of(array).to_host(array), order="C")
        if not host.dtype.isnative:
            host = host.astype(host.dtype.newbyteorder("="))
        text = ".".join(map(str, path)) if path else "tensor"
        text = text.encode("utf-8", "backslashreplace").decode()
        name, count = text, 1
        # safetensors keeps text under a tensor's name: a tensor of it would be lost.
        while name in self.arrays or name == "__metadata__":
            count += 1
            name = f"{text}#{count}"
        self.arrays[name] = host
        return name


def _plain(value: float | str) -> Any:
    """The node of an int, a float or a str."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            # JSON would join two halves that stand side by side.
            return {"text": value.encode("utf-8", "surrogatepass").hex()}
        return value
    if isinstance(value, int):
        # Python refuses to read or write long numbers in decimal.
        return value if -(2**63) <= value < 2**63 else {"int": hex(value)}
    return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}


def _known(value: Any) -> bool:
    """Whether an array's dtype is one of the library's."""
    try:
        as_dtype(value.dtype)
    except TypeError:
        return False
    return True


def _place(path: tuple) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in path)


def _described(value: Any) -> str:
    if type(value) is np.ndarray:
        return f"an array of dtype {value.dtype}"
    return f"of type {type(value).__name__}"


def _mend(value: Any) -> str:
    if hasattr(value, "state_dict"):
        return "save its .state_dict()"
    if isinstance(value, Generator):
        return "save its .state"
    if isinstance(value, np.random.Generator):
        return "save its .bit_generator.state"
    if isinstance(value, (set, frozenset)):
        return "sorted(it), a list"
    if isinstance(value, (bytes, bytearray)):
        return "np.frombuffer(it, np.uint8), an array"
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray:
        return "np.array(it), a plain array"
    for kind in (str, dict, list, tuple, int, float):
        if isinstance(value, kind):
            return f"{kind.__name__}(it): of a subclass, a file would lose the rest"
    return "use dicts, lists, tuples, tensors, arrays, numbers, bools, text and None"


class _Reader:
    """Turns nodes into values, and takes each array once."""

    def __init__(
        self, arrays: dict[str, np.ndarray], as_tensor: Callable[[np.ndarray], Tensor]
    ) -> None:
        self.arrays = dict(arrays)
        self.as_tensor = as_tensor

    def value(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"its tree is more than {MAX_DEPTH} levels deep")
        if isinstance(node, list):
            return [self.value(each, depth + 1) for each in node]
        if not isinstance(node, dict):
            return node
        if len(node) != 1:
            raise ValueError("its tree has an object without a kind")
        ((kind, content),) = node.items()
        if kind in ("dict", "items", "tuple"):
            return self._container(kind, content, depth + 1)
        if kind in ("tensor", "array"):
            array = self._take(content)
            return array if kind == "array" else self.as_tensor(array)
        if kind == "scalar":
            return _scalar(_of(list, content))
        return _special(kind, _of(str, content))

    def _container(self, kind: str, content: Any, depth: int) -> Any:
        if kind == "dict":
            items = _of(dict, content).items()
            return {key: self.value(each, depth) for key, each in items}
        if kind == "tuple":
            return tuple(self.value(each, depth) for each in _of(list, content))
        found = {}
        for item in _of(list, content):
            if len(_of(list, item)) != 2:
                raise ValueError("its tree has an item that is no key and value")
            key, each = self.value(item[0], depth), item[1]
            if type(key) not in (int, str):
                raise ValueError(f"its tree has the key {key!r}")
            if key in found:
                raise ValueError(f"its tree has the key {key!r} twice")
            found[key] = self.value(each, depth)
        return found

    def _take(self, name: Any) -> np.ndarray:
        array = self.arrays.pop(_of(str, name), None)
        if array is None:
            raise ValueError(
                f"its tree has the tensor {name!r}, which is not there or used twice"
            )
        return array


def _of(kind: type, node: Any) -> Any:
    if type(node) is not kind:
        raise ValueError(f"its tree has {type(node).__name__} for {kind.__name__}")
    return node


def _bytes(digits: str, length: int) -> bytes:
    found = bytes.fromhex(digits)
    if len(found) != length:
        raise ValueError(f"its tree has {len(found)} bytes for {length}")
    return found


def _scalar(node: list) -> np.generic:
    if len(node) != 2:
        raise ValueError(f"its tree has a scalar of {len(node)} parts, not 2")
    dtype = as_dtype(_of(str, node[0]))
    content = _bytes(_of(str, node[1]), dtype.itemsize)
    if dtype.kind == "b" and content[0] > 1:
        raise ValueError("its tree has a bool that is none")
    return np.frombuffer(content, dtype)[0]


def _special(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text, 16)
    if kind == "text":
        return bytes.fromhex(text).decode("utf-8", "surrogatepass")
    if kind == "float":
        return struct.unpack(">d", _bytes(text, 8))[0]
    raise ValueError(f"its tree has the kind {kind!r}, which is not known")
