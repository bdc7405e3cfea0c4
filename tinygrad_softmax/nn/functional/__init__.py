"""The functions beneath the modules, with PyTorch's names and signatures."""

from ...ops import relu
from .convolutions import (
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
)
from .linears import linear
from .losses import cross_entropy, nll_loss
from .poolings import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "linear",
    "max_pool1d",
    "max_pool2d",
    "nll_loss",
    "relu",
]
