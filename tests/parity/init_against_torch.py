"""Gains, fans, bounds and deviations of nn.init against PyTorch's own.

python -m pytest tests/parity/init_against_torch.py
"""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

import tinygrad_softmax as tg
from tinygrad_softmax.nn import init

NAMES = [
    *("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"),
    *(f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)),
]
SHAPES = [(7, 5), (1, 9), (6, 4, 3), (8, 2, 3, 5), (4, 3, 2, 2, 2)]
DRAWN = ["uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_"]
DRAWN += ["kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_"]


@pytest.mark.parametrize("name", NAMES)
def test_gains(name):
    for param in (None, 0, 0.2, 1.5):
        expected = torch.nn.init.calculate_gain(name, param)
        assert init.calculate_gain(name, param) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("shape", SHAPES)
def test_fans(shape):
    fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.zeros(shape))
    assert init._fans(tg.zeros(shape), "fans") == fans


def limits(library, call):
    """The arguments with which a library's own draw is called: a bound or a std."""
    seen = []
    modules = {
        tg: (init, ("uniform_", "normal_")),
        torch: (torch.Tensor, ("uniform_", "normal_")),
    }
    home, names = modules[library]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(
                home, name, lambda tensor, a, b, **kw: seen.append((a, b)) or tensor
            )
        if library is tg:
            for name in names:
                patch.setattr(
                    home,
                    name,
                    lambda tensor, a, b, generator=None: seen.append((a, b)) or tensor,
                )
            call(init, tg.zeros)
        else:
            call(torch.nn.init, torch.zeros)
    return seen


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("nonlinearity", ["leaky_relu", "relu", "tanh", "linear"])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_bounds_and_deviations(shape, mode, nonlinearity, kind):
    def kaiming(home, zeros):
        fill = getattr(home, f"kaiming_{kind}_")
        fill(zeros(shape), 0.3, mode, nonlinearity)

    def xavier(home, zeros):
        getattr(home, f"xavier_{kind}_")(zeros(shape), 1.7)

    for call in (kaiming, xavier):
        ours, theirs = limits(tg, call), limits(torch, call)
        assert len(ours) == 1
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize("name", DRAWN)
def test_signatures(name):
    ours, theirs = (
        {
            key: each.default
            for key, each in inspect.signature(getattr(home, name)).parameters.items()
        }
        for home in (init, torch.nn.init)
    )
    assert ours == theirs
    assert list(ours) == list(theirs)


def test_dirac_and_eye():
    for shape, groups in [((4, 4, 3), 1), ((6, 2, 3, 3), 3), ((2, 3, 1, 3, 5), 1)]:
        ours = init.dirac_(tg.ones(shape), groups).numpy()
        theirs = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
        np.testing.assert_array_equal(ours, theirs)
    ours = init.eye_(tg.ones((2, 3))).numpy()
    np.testing.assert_array_equal(ours, torch.nn.init.eye_(torch.ones(2, 3)).numpy())


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_how_many_zeros(sparsity):
    ours = init.sparse_(tg.ones((10, 4)), sparsity).numpy()
    theirs = torch.nn.init.sparse_(torch.ones(10, 4), sparsity).numpy()
    np.testing.assert_array_equal((ours == 0).sum(axis=0), (theirs == 0).sum(axis=0))
