"""An engine with nothing to spare: what recording and walking cost at the least.

It adds, and only that. It has what the library's design asks of any engine, an array
beside a node, nodes that hold nodes, a walk in order of creation that frees them, and
none of what the library does besides: numbers beside tensors, dtypes, broadcasting,
modes, hooks, observers, other devices, errors that say where they came from.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import Any

import numpy as np

next_order = count().__next__


class Node:
    __slots__ = ("dtype", "order", "parents", "shape")

    def __init__(self, parents: tuple[Node, ...] | None, array: Any) -> None:
        self.order, self.parents = next_order(), parents
        self.shape, self.dtype = array.shape, array.dtype


class Variable:
    __slots__ = ("array", "grad", "node")

    def __init__(self, array: Any, parents: tuple[Node, ...] | None = None) -> None:
        self.array, self.node = array, Node(parents, array)
        self.grad: Any = None

    def __add__(self, other: Variable) -> Variable:
        out = np.asarray(self.array + other.array)
        return Variable(out, (self.node, other.node))

    def backward(self, leaf: Variable) -> None:
        """Fill the gradient of `leaf`, of no axes."""
        pending = {-self.node.order: [self.node, np.float32(1)]}
        heap = [-self.node.order]
        while heap:
            node, g = pending.pop(heappop(heap))
            if node is leaf.node:
                leaf.grad = np.asarray(g)
            if node.parents is None:
                continue
            for parent in node.parents:
                entry = pending.get(-parent.order)
                if entry is not None:
                    entry[1] = entry[1] + g
                else:
                    pending[-parent.order] = [parent, g]
                    heappush(heap, -parent.order)
            node.parents = None
