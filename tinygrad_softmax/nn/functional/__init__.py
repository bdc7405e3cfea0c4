"""The functions beneath the modules, with PyTorch's names and signatures."""

from ...ops import relu
from .linears import linear
from .losses import cross_entropy, nll_loss

__all__ = ["cross_entropy", "linear", "nll_loss", "relu"]
