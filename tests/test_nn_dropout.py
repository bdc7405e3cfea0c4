"""Dropout: what it draws, drops and scales, and how it is repeated."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import scipy.stats

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends import Generator
from tinygrad_softmax.nn import functional as F  # noqa: N812  (PyTorch's name)


def raises(text: str, kind: type[Exception] = ValueError):
    return pytest.raises(kind, match=re.escape(text))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


DROPOUTS = {
    F.dropout: (40, 50),
    F.dropout1d: (40, 50, 2),
    F.dropout2d: (40, 50, 1, 2),
    F.alpha_dropout: (40, 50),
}
every_dropout = pytest.mark.parametrize(
    ("function", "shape"), DROPOUTS.items(), ids=lambda x: getattr(x, "__name__", "")
)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_a_share_and_scales_the_rest(p, device):
    tg.manual_seed(0)
    n = 40_000
    out = F.dropout(tg.ones(n, device=device), p).numpy()
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1.0 / (1.0 - p), rtol=1e-6)
    assert scipy.stats.binomtest(int(kept.sum()), n, 1.0 - p).pvalue > 1e-3
    # Neighbours are independent.
    both = int((kept[1:] & kept[:-1])[::2].sum())
    assert scipy.stats.binomtest(both, n // 2, (1.0 - p) ** 2).pvalue > 1e-3


@pytest.mark.parametrize(
    ("function", "shape"), [(F.dropout1d, (90, 40, 3)), (F.dropout2d, (90, 40, 2, 3))]
)
def test_whole_channels_are_dropped(function, shape, device):
    tg.manual_seed(1)
    out = function(tg.ones(shape, device=device), 0.25).numpy().reshape(*shape[:2], -1)
    assert (out == out[..., :1]).all()
    kept = out[..., 0] != 0
    np.testing.assert_allclose(out[kept], 4 / 3, rtol=1e-6)
    assert scipy.stats.binomtest(int(kept.sum()), kept.size, 0.75).pvalue > 1e-3
    assert kept.any(axis=0).sum() > 0


def test_one_sample_has_channels_too(device):
    out = F.dropout1d(tg.ones((50, 3), device=device)).numpy()
    assert (out == out[:, :1]).all()
    assert 0 < (out[:, 0] == 0).sum() < 50


def test_alpha_dropout_keeps_mean_and_variance(device):
    tg.manual_seed(0)
    x = tg.randn(200_000, device=device)
    for p in (0.1, 0.5):
        out = F.alpha_dropout(x, p, training=True).numpy()
        assert abs(out.mean()) < 0.01
        assert abs(out.std() - 1.0) < 0.01
    floor = np.unique(F.alpha_dropout(x[:9] * 0 + 5, 0.5, True).numpy())
    a = 1 / math.sqrt(0.5 * (1 + 0.5 * 1.7580993408473766**2))
    expected = [a * -1.7580993408473766 * 0.5, 5 * a + a * 1.7580993408473766 * 0.5]
    np.testing.assert_allclose(floor, expected, rtol=1e-6)


@every_dropout
def test_its_gradient_is_its_mask(function, shape, device):
    x = tg.tensor(random(*shape), device=device, requires_grad=True)
    tg.manual_seed(3)
    function(x, 0.5, True).sum().backward()
    tg.manual_seed(3)
    slope = function(x.detach() + 1.0, 0.5, True) - function_again(function, x)
    np.testing.assert_allclose(x.grad.numpy(), slope.numpy(), atol=1e-12)


def function_again(function, x):
    tg.manual_seed(3)
    return function(x.detach(), 0.5, True)


@every_dropout
def test_a_seed_repeats_it_and_a_generator_is_its_own(function, shape, device):
    x = tg.tensor(random(*shape), device=device)

    def drawn(seed, generator=None):
        tg.manual_seed(seed)
        return function(x, 0.5, True, generator=generator).numpy()

    np.testing.assert_array_equal(drawn(7), drawn(7))
    assert not np.array_equal(drawn(7), drawn(8))
    mine = Generator(7)
    np.testing.assert_array_equal(drawn(0, mine), drawn(7))
    assert mine.state == (7, 1)
    assert not np.array_equal(drawn(0, mine), drawn(7))
    before = tg.manual_seed(4).state
    function(x, 0.5, True, generator=mine)
    assert tg.manual_seed(4).state == before


@every_dropout
def test_one_draw_a_call_and_none_where_nothing_is_drawn(function, shape, device):
    x = tg.tensor(random(*shape), device=device)
    default = tg.manual_seed(0)
    function(x, 0.5, True)
    assert default.state == (0, 1)
    for options in ({"p": 0.0}, {"p": 1.0}, {"training": False}):
        function(x, **{"p": 0.5, "training": True, **options})
    function(x[:0], 0.5, True)
    assert default.state == (0, 1)


@every_dropout
def test_probabilities_0_and_1_are_exact(function, shape, device):
    x = tg.tensor(np.full(shape, np.inf), device=device, requires_grad=True)
    assert function(x, 0.0, True) is x
    assert function(x, 0.5, False) is x
    out = function(x, 1.0, True)
    out.sum().backward()
    for zeros in (out.detach().numpy(), x.grad.numpy()):
        assert not zeros.any()
        assert not np.signbit(zeros).any()


@pytest.mark.parametrize("dtype", [tg.float16, tg.float32, tg.float64])
@every_dropout
def test_the_dtype_stays(function, shape, dtype, device):
    x = tg.ones(shape, dtype, device)
    assert function(x, 0.5, True).dtype == dtype
    assert function(x, 1.0, True).dtype == dtype


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout1d, nn.Dropout2d])
def test_the_modules_follow_their_mode(kind, device):
    x = tg.ones((3, 40, 2, 2)[: 3 + (kind is nn.Dropout2d)], device=device)
    module = kind(0.5, inplace=True)
    assert (module(x) == 0).any()
    assert module.eval()(x) is x
    assert (module.train()(x) == 0).any()
    assert repr(kind(0.2)) == f"{kind.__name__}(p=0.2, inplace=False)"
    assert (nn.AlphaDropout(0.5)(x) < 0).any()


def test_checkpoint_repeats_every_draw(device):
    """Also of a generator of one's own, which a second draw would move on."""
    for generator in (None, Generator(5)):

        def f(x, generator=generator):
            for _ in range(2):
                x = F.dropout(x * 2.0, 0.5, generator=generator)
            return x * x

        grads, states = [], []
        for call in (f, lambda x, f=f: tg.checkpoint(f, x)):
            source = generator or tg.manual_seed(5)
            source.manual_seed(5)
            x = tg.tensor(random(500), device=device, requires_grad=True)
            out = call(x)
            after = source.state
            out.sum().backward()
            grads.append(x.grad.numpy())
            states.append((after, source.state))
        np.testing.assert_array_equal(*grads)
        assert (grads[0] == 0).any()
        assert states == [((5, 2), (5, 2))] * 2


def test_checkpoints_inside_checkpoints_repeat_their_draws(device):
    generator = Generator(1)

    def inner(x):
        return F.dropout(x * 3.0, 0.5, generator=generator)

    def outer(x, wrap):
        return F.dropout(wrap(inner, inner(x)), 0.5, generator=generator)

    grads = []
    for wrap in (lambda f, x: f(x), tg.checkpoint):
        generator.manual_seed(1)
        x = tg.tensor(random(500), device=device, requires_grad=True)
        f = (lambda x, wrap=wrap: outer(x, wrap)) if wrap is tg.checkpoint else None
        out = tg.checkpoint(f, x) if f else outer(x, wrap)
        F.dropout(x, 0.5, generator=generator)  # moves on before backward
        out.sum().backward()
        assert generator.state == (1, 4)
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(*grads)


def test_a_generator_that_only_an_inner_checkpoint_draws_from(device):
    generator = Generator(1)

    def f(x):
        return F.dropout(x * x, 0.5, generator=generator)

    x = tg.tensor(random(500), device=device, requires_grad=True)
    tg.checkpoint(lambda x: tg.checkpoint(f, x), x).sum().backward()
    generator.manual_seed(1)
    expected = F.dropout(2.0 * x.detach(), 0.5, generator=generator)
    np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-15)


def test_a_checkpoint_in_which_another_is_walked_back_through(device):
    """What is drawn again then is not the first draw of the outer one."""
    generator = Generator(1)
    z = tg.tensor(random(500), device=device, requires_grad=True)
    y = tg.checkpoint(lambda z: F.dropout(z, 0.5, generator=generator), z)

    def f(x):
        (slope,) = tg.grad(y.sum(), [z], retain_graph=True)
        return F.dropout(x, 0.5, generator=generator) * (1.0 + slope)

    x = tg.tensor(random(500), device=device, requires_grad=True)
    out = tg.checkpoint(f, x)
    out.sum().backward()
    product = (x.grad * x.detach()).numpy()
    np.testing.assert_allclose(product, out.detach().numpy(), rtol=1e-12)


def test_what_dropout_refuses(device):
    x = tg.ones((2, 3), device=device)
    for p in (-0.1, 1.5, math.nan):
        for call in (lambda p=p: F.dropout(x, p), lambda p=p: nn.Dropout(p)):
            with raises(f"p was given as {p}; expected a probability, 0..1"):
                call()
    with raises("dropout: the input is int64; expected a floating", TypeError):
        F.dropout(tg.tensor([1], device=device))
    with raises("dropout2d: the input has shape (2, 3); expected 4 axes"):
        F.dropout2d(x)
    with raises("dropout1d: the input has shape (6,); expected 2 or 3 axes"):
        F.dropout1d(x.flatten())
