"""The optional libraries: asked for by name, at the moment they are needed.

`import tinygrad_softmax` needs NumPy and nothing else. What the command line adds
(digits, safetensors, pictures, progress bars) comes with the extra `demo`, and a
missing one is a sentence with the command that installs it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["MissingExtraError", "require"]


class MissingExtraError(ImportError):
    """An optional library is not installed; the message says how to get it."""


def require(module: str, package: str, purpose: str, extra: str = "demo") -> ModuleType:
    """Import `module` of `package`, or say what it is for and how to install it.

    Args:
        module: the dotted name to import, such as `"safetensors.numpy"`.
        package: the name it is installed under, such as `"safetensors"`.
        purpose: what needs it, as a clause: `"saving a model"`.
        extra: the extra of this package that brings it.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the library is not installed.

    >>> require("json", "json", "this example").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise  # the library is here and something inside it is broken: say that
        raise MissingExtraError(
            f"{purpose} needs the library {package}, which is not installed: "
            f'pip install "tinygrad-softmax[{extra}]"',
            name=module,
        ) from None
