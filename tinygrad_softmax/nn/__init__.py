"""Models, with PyTorch's names, signatures, initial values and `state_dict` keys."""

from . import functional
from .modules import (
    CrossEntropyLoss,
    Linear,
    Module,
    NLLLoss,
    Parameter,
    ReLU,
    Sequential,
)

__all__ = [
    "CrossEntropyLoss",
    "Linear",
    "Module",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "functional",
]
