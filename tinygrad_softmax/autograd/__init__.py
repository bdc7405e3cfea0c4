"""Floor 1: the graph, what records it and what walks back through it.

Read graph.py, primitive.py and walk.py, in this order.
"""

from .anomaly import detect_anomaly
from .graph import (
    Node,
    Variable,
    enable_grad,
    is_grad_enabled,
    make_leaf,
    no_grad,
    retain_grad,
)
from .primitive import PRIMITIVES, Primitive, primitive
from .recompute import checkpoint
from .transforms import grad, hvp, jacobian, value_and_grad
from .walk import backward, scaled

__all__ = [
    "PRIMITIVES",
    "Node",
    "Primitive",
    "Variable",
    "backward",
    "checkpoint",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "hvp",
    "is_grad_enabled",
    "jacobian",
    "make_leaf",
    "no_grad",
    "primitive",
    "retain_grad",
    "scaled",
    "value_and_grad",
]
