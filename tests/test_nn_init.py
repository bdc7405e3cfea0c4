"""Initial values: bounds, distributions, seeds, and every error's text.

tests/parity/init_against_torch.py compares gains and fans with PyTorch's.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import scipy.stats
from strict_cupy import strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends import Generator
from tinygrad_softmax.nn import init

SHAPE = (120, 40, 3)  # fan_in 120, fan_out 360
DRAWN = {
    "uniform_": lambda t, **kw: init.uniform_(t, -2.0, 3.0, **kw),
    "normal_": lambda t, **kw: init.normal_(t, 1.0, 2.0, **kw),
    "trunc_normal_": lambda t, **kw: init.trunc_normal_(t, 0.5, 2.0, -1.0, 3.0, **kw),
    "xavier_uniform_": lambda t, **kw: init.xavier_uniform_(t, 2.0, **kw),
    "xavier_normal_": lambda t, **kw: init.xavier_normal_(t, 2.0, **kw),
    "kaiming_uniform_": lambda t, **kw: init.kaiming_uniform_(t, 0.5, **kw),
    "kaiming_normal_": lambda t, **kw: init.kaiming_normal_(
        t, 0.0, "fan_out", "relu", **kw
    ),
}
XAVIER, KAIMING = 2.0 * math.sqrt(2 / 480), math.sqrt(2 / 1.25) / math.sqrt(120)
EXPECTED = {
    "uniform_": scipy.stats.uniform(-2.0, 5.0),
    "normal_": scipy.stats.norm(1.0, 2.0),
    "trunc_normal_": scipy.stats.truncnorm(-0.75, 1.25, 0.5, 2.0),
    "xavier_uniform_": scipy.stats.uniform(
        -math.sqrt(3) * XAVIER, 2 * math.sqrt(3) * XAVIER
    ),
    "xavier_normal_": scipy.stats.norm(0.0, XAVIER),
    "kaiming_uniform_": scipy.stats.uniform(
        -math.sqrt(3) * KAIMING, 2 * math.sqrt(3) * KAIMING
    ),
    "kaiming_normal_": scipy.stats.norm(0.0, math.sqrt(2 / 360)),
}
OTHERS = {
    "orthogonal_": init.orthogonal_,
    "sparse_": lambda t, **kw: init.sparse_(t, 0.3, **kw),
}


def raises(text: str, kind: type[Exception] = ValueError):
    return pytest.raises(kind, match=re.escape(text))


@pytest.mark.parametrize("name", DRAWN)
def test_its_distribution(name, device):
    """A Kolmogorov-Smirnov test against the distribution that is meant."""
    tg.manual_seed(0)
    tensor = tg.zeros(SHAPE, "float64", device)
    assert DRAWN[name](tensor) is tensor
    found = tensor.numpy().ravel()
    assert scipy.stats.kstest(found, EXPECTED[name].cdf).pvalue > 1e-3
    low, high = EXPECTED[name].support()
    assert low <= found.min()
    assert found.max() <= high
    # (The test has the power to see a scale that is 10 % off.)
    assert scipy.stats.kstest(1.1 * found, EXPECTED[name].cdf).pvalue < 1e-3


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"),
    [
        (0.0, 1.0, -2.0, 2.0),
        (0.0, 1.0, 3.0, 4.0),
        (0.0, 1.0, 6.0, 50.0),
        (0.0, 1.0, -9.0, -5.0),
        (1.0, 0.5, 0.9, 1.05),
        (0.0, 1.0, -0.3, 0.2),
        (0.0, 0.02, -2.0, 2.0),
        (5.0, 1.0, -1.0, 2.5),
    ],
)
def test_a_truncated_normal_in_its_tails(mean, std, a, b):
    """Where next to nothing of a normal falls inside too, and in little time."""
    tg.manual_seed(1)
    found = init.trunc_normal_(tg.zeros(5000, "float64"), mean, std, a, b).numpy()
    expected = scipy.stats.truncnorm((a - mean) / std, (b - mean) / std, mean, std)
    assert a <= found.min()
    assert found.max() <= b
    assert scipy.stats.kstest(found, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", [*DRAWN, *OTHERS])
def test_seeds_and_generators(name, device):
    draw = {**DRAWN, **OTHERS}[name]
    shape = (6, 5)

    def drawn(seed, where=device, dtype="float32", **options):
        tg.manual_seed(seed)
        return draw(tg.zeros(shape, dtype, where), **options).numpy()

    first = drawn(3)
    np.testing.assert_array_equal(first, drawn(3))
    assert not np.array_equal(first, drawn(4))
    np.testing.assert_array_equal(first, drawn(3, "cpu"))  # drawn on the host
    np.testing.assert_allclose(first, drawn(3, dtype="float64"), rtol=1e-6)
    mine = Generator(3)
    np.testing.assert_array_equal(first, drawn(0, generator=mine))
    assert mine.state == (3, 1)
    default = tg.manual_seed(9)
    draw(tg.zeros(shape, device=device), generator=mine)
    assert default.state == (9, 0)


def test_exact_numbers_of_a_seed():
    """A model of today starts as one of yesterday: these must never change."""
    tg.manual_seed(0)
    found = init.uniform_(tg.zeros(3, "float64")).numpy()
    native = np.random.default_rng((0, 1))
    np.testing.assert_array_equal(found, native.uniform(0.0, 1.0, 3))
    found = init.normal_(tg.zeros(2, "float64")).numpy()
    np.testing.assert_array_equal(found, np.random.default_rng((0, 2)).normal(size=2))


def test_a_parameter_is_filled_in_place_without_a_graph(device):
    layer = nn.Linear(4, 3, device=device)
    array = layer.weight.array
    for fill in (init.ones_, init.zeros_, init.eye_, *DRAWN.values(), init.orthogonal_):
        assert fill(layer.weight) is layer.weight
        assert layer.weight.array is array
        assert layer.weight.is_leaf
        assert layer.weight.requires_grad
    assert init.constant_(layer.bias, 3.0).tolist() == [3.0] * 3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 4), (7, 2, 2)])
def test_orthogonal(shape, device):
    tensor = init.orthogonal_(tg.zeros(shape, "float64", device), gain=2.0)
    w = tensor.numpy().reshape(shape[0], -1)
    rows, columns = w.shape
    product = w @ w.T if rows <= columns else w.T @ w
    np.testing.assert_allclose(product, 4.0 * np.eye(min(w.shape)), atol=1e-12)


def test_every_orthogonal_matrix_is_as_likely():
    """Without the sign's correction the first entry would always be negative."""
    tg.manual_seed(0)
    draws = [init.orthogonal_(tg.zeros((3, 3))).numpy()[0, 0] for _ in range(400)]
    assert scipy.stats.kstest(draws, scipy.stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_sparse(device):
    tg.manual_seed(0)
    w = init.sparse_(tg.ones((50, 40), "float64", device), 0.33, std=2.0).numpy()
    assert ((w == 0).sum(axis=0) == 17).all()  # ceil(0.33 * 50)
    assert len(set(map(tuple, (w == 0).T))) > 1
    assert scipy.stats.kstest(w[w != 0], "norm", (0, 2.0)).pvalue > 1e-3


def test_dirac_hands_channels_on():
    for shape, groups in [((4, 4, 3), 1), ((6, 2, 3, 3), 3), ((2, 3, 1, 3, 5), 1)]:
        w = init.dirac_(tg.ones(shape), groups).numpy()
        middle = tuple(n // 2 for n in shape[2:])
        each = shape[0] // groups
        for out in range(shape[0]):
            expected = np.zeros(shape[1:])
            if out % each < shape[1]:
                expected[(out % each, *middle)] = 1.0
            np.testing.assert_array_equal(w[out], expected)


def test_16_bits_and_eye(device):
    tensor = init.normal_(tg.zeros((3, 2), "float16", device))
    assert tensor.dtype == tg.float16
    assert tensor.numpy().any()
    assert init.eye_(tg.ones((2, 3), device=device)).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_on_another_device_than_the_current_one():
    with strict_cuda() as cuda:
        weight = tg.zeros((4, 3), device="cuda:1")
        with cuda.counting() as seen:
            for fill in (*DRAWN.values(), *OTHERS.values(), init.ones_, init.eye_):
                fill(weight)
        assert not seen.waits
        assert weight.device == "cuda:1"


def test_what_init_refuses():
    matrix, vector = tg.zeros((3, 2)), tg.zeros(3)
    with raises("uniform_: [2.0, 1.0) is empty; expected a <= b"):
        init.uniform_(matrix, 2.0, 1.0)
    with raises("normal_: std was given as -1.0; expected >= 0"):
        init.normal_(matrix, 0.0, -1.0)
    for options in ({"a": 2.0, "b": 1.0}, {"std": 0.0}, {"a": 1.0, "b": 1.0}):
        with raises("expected a < b and std > 0"):
            init.trunc_normal_(matrix, **options)
    for fill in (init.eye_, lambda t: init.sparse_(t, 0.5)):
        with raises("expected a matrix, got shape (3,)"):
            fill(vector)
    with raises("dirac_: got shape (3, 2) with 1 groups; expected the weight of a co"):
        init.dirac_(matrix)
    with raises("dirac_: got shape (3, 2, 1) with 2 groups"):
        init.dirac_(tg.zeros((3, 2, 1)), 2)
    for name in ("xavier_uniform_", "xavier_normal_", "kaiming_uniform_"):
        with raises(
            f"{name}: got shape (3,); expected two axes or more, for the number"
        ):
            getattr(init, name)(vector)
        with raises(f"{name}: shape (0, 3) has no entries to draw"):
            getattr(init, name)(tg.zeros((0, 3)))
    with raises("orthogonal_: got shape (3,); expected two axes or more"):
        init.orthogonal_(vector)
    for name in ("kaiming_uniform_", "kaiming_normal_"):
        with raises(f"{name}: mode was given as 'in'; expected 'fan_in' or 'fan_out'"):
            getattr(init, name)(matrix, mode="in")
    with raises("calculate_gain: nonlinearity was given as 'gelu'; expected one of"):
        init.calculate_gain("gelu")
