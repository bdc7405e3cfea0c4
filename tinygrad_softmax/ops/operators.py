"""Which op each operator of a Tensor is, and which op each NumPy function is.

`a * b` with a Tensor is `Tensor.__mul__`, which is `OPERATORS["__mul__"]`, which is the
primitive `multiply`: its rules stand beside it in arithmetic.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import arithmetic, comparisons, elementwise, linalg, powers


def _swapped(op: Callable) -> Callable:
    """The reflected operator: `2 - t` calls t.__rsub__(2)."""

    def reflected(b: Any, a: Any) -> Any:
        return op(a, b)

    reflected.__name__ = f"reflected_{op.__name__}"
    return reflected


_ARITHMETIC: dict[str, Callable] = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "floordiv": arithmetic.floor_divide,
    "mod": arithmetic.remainder,
    "pow": powers.pow,
    "matmul": linalg.matmul,
    "and": comparisons.logical_and,
    "or": comparisons.logical_or,
    "xor": comparisons.logical_xor,
}

OPERATORS: dict[str, Callable] = {
    **{f"__{name}__": op for name, op in _ARITHMETIC.items()},
    **{f"__r{name}__": _swapped(op) for name, op in _ARITHMETIC.items()},
    "__neg__": arithmetic.negative,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.abs,
    "__invert__": comparisons.logical_not,
    "__eq__": comparisons.equal,
    "__ne__": comparisons.not_equal,
    "__lt__": comparisons.less,
    "__le__": comparisons.less_equal,
    "__gt__": comparisons.greater,
    "__ge__": comparisons.greater_equal,
}

# NumPy's names where they are not this library's (the array API's).
NUMPY_NAMES = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "absolute": "abs",
    "power": "pow",
    "float_power": "pow",
    "true_divide": "divide",
    "mod": "remainder",
    "amax": "max",
    "amin": "min",
    "linalg.norm": "norm",
    "around": "round",
    "rint": "round",
}
