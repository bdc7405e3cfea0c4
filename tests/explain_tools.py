"""What the tests of `tg.explain` share."""

from __future__ import annotations

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn


def leaf(values, device, dtype=tg.float64):
    return tg.tensor(values, dtype, device, requires_grad=True)


def host(value):
    return value if isinstance(value, np.ndarray) else tg.asarray(value).numpy()


def product_loss(x, w):
    h = x * w
    return (h * h).sum()


class Net(nn.Module):
    def __init__(self):
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.layers(x)) * 2.0


def moved(module, device):
    return module.to(device)
