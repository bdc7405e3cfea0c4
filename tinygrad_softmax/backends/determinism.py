"""Whether results must have the same bits on every run: one setting for the process."""

from __future__ import annotations

import os

_setting = {"on": os.environ.get("TINYGRAD_SOFTMAX_DETERMINISTIC", "0") == "1"}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Whether every result must have the same bits on every run, on the same device.

    `torch.use_deterministic_algorithms`. Off by default, or as the environment variable
    TINYGRAD_SOFTMAX_DETERMINISTIC=1 says. On a CPU all is deterministic anyway. On a
    GPU it concerns what adds up elements by index: the gradients of indexing, `take`,
    `take_along_axis` and `embedding`, and `index_add`. Off, 32- and 64-bit floats are
    added by atomic operations, in any order; on, their indices are sorted first, which
    takes more time.

    Args:
        mode: on or off, for all threads.
        warn_only: has no effect. In PyTorch operations without a deterministic way then
            warn, instead of raising; here all have one.

    >>> use_deterministic_algorithms(True)
    >>> are_deterministic_algorithms_enabled()
    True
    >>> use_deterministic_algorithms(False)
    """
    _setting["on"] = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was last told.

    >>> are_deterministic_algorithms_enabled()
    False
    """
    return _setting["on"]
