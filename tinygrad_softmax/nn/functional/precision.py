"""16-bit floats are storage: what is computed from them is computed in float32."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends.dtypes import working_dtype


def wide(x: Any) -> Any:
    """x in the dtype that is computed in: float32 for 16-bit floats."""
    return ops.astype(x, working_dtype(x.dtype))
