"""Models, with PyTorch's names, signatures, initial values and `state_dict` keys."""

from . import functional, init
from .activation import ReLU
from .containers import ModuleDict, ModuleList, Sequential
from .linear import Flatten, Identity, Linear, Unflatten
from .loss import CrossEntropyLoss, NLLLoss
from .module import Module, Parameter

__all__ = [
    "CrossEntropyLoss",
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Unflatten",
    "functional",
    "init",
]
