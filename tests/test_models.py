"""The models of examples/models: they learn what they are meant to learn."""

from __future__ import annotations

import importlib
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.data import CharDataset, CharVocabulary, DataLoader

MODELS = Path(__file__).resolve().parent.parent / "examples" / "models"


@pytest.fixture(autouse=True)
def models_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(MODELS)
    yield
    for path in MODELS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize(
    ("file", "name", "epochs", "lr", "goal"),
    [
        ("softmax_regression", "SoftmaxRegression", 20, 1e-2, 0.95),
        ("mlp", "MLP", 20, 3e-3, 0.97),
        ("cnn", "CNN", 12, 5e-3, 0.98),
    ],
)
def test_the_median_on_held_out_digits(file, name, epochs, lr, goal, device):
    build = getattr(importlib.import_module(file), name)
    train = importlib.import_module("on_digits").train
    shares = []
    with tg.use_device(device):
        for seed in range(5):
            tg.manual_seed(seed)
            model = build().to(device)
            shares.append(train(model, seed, epochs, lr)["val_accuracy"][-1])
    assert statistics.median(shares) >= goal, shares


def test_the_cnn_takes_images_of_28_by_28(device):
    model = importlib.import_module("cnn").CNN(size=28).to(device)
    assert model(tg.zeros((2, 1, 28, 28), device=device)).shape == (2, 10)
    with pytest.raises(ValueError, match="size was given as 30; expected a multiple"):
        importlib.import_module("cnn").CNN(size=30)


def small_gpt(vocabulary: int, device: str, **options):
    tg.manual_seed(0)
    gpt = importlib.import_module("gpt")
    shape = dict(context=16, width=32, layers=2, heads=4) | options
    return gpt, gpt.GPT(vocabulary, **shape).to(device)


@pytest.mark.parametrize("tied", [False, True])
def test_the_gpt_learns_a_rule_that_needs_its_context(device, tied):
    """Each character is the one three places before: chance is log(8) = 2.08 nats."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 8, (300, 3))
    text = "".join("".join("abcdefgh"[i] for i in row) * 8 for row in seeds)
    vocabulary = CharVocabulary(text)
    gpt, model = small_gpt(len(vocabulary), device, tie_weights=tied)
    trainer = gpt.trainer_for(model, gpt.Plan(steps=450, lr=5e-3, warmup=20))
    data = CharDataset(text, model.context, vocabulary)
    assert trainer.evaluate(DataLoader(data, 256))["loss"] > 2.0
    history = trainer.fit(DataLoader(data, 32, shuffle=True), epochs=2)
    assert history["loss"][-1] < 0.8
    start = tg.tensor(vocabulary.encode("abcabcabcabcabc")[None], device=device)
    drawn = model.eval().generate(start, 9, temperature=0.1)
    assert vocabulary.decode(drawn[0].to("cpu"))[15:] == "abcabcabc"


def test_the_gpt_sees_nothing_of_what_comes(device):
    _, model = small_gpt(8, device)
    rng = np.random.default_rng(0)
    one = rng.integers(0, 8, (2, 16))
    two = one.copy()
    two[:, 9:] = (two[:, 9:] + 1) % 8
    with tg.no_grad():
        a, b = (
            model(tg.tensor(x, device=device)).to("cpu").numpy() for x in (one, two)
        )
    np.testing.assert_allclose(a[:, :9], b[:, :9], atol=1e-6)
    assert np.abs(a[:, 9:] - b[:, 9:]).max() > 1e-4


def test_what_the_gpt_draws_follows_the_seed_and_the_options(device):
    _, model = small_gpt(8, device)
    start = tg.tensor([[1, 2, 3]], device=device)

    def drawn(seed, **options):
        tg.manual_seed(seed)
        return model.generate(start, 30, **options).tolist()[0]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(drawn(1)) == 33
    likeliest = drawn(1, top_k=1)
    assert likeliest == drawn(2, top_k=1)
    assert len({*drawn(1, temperature=50.0)}) > 4
    with pytest.raises(ValueError, match="17 tokens were given to a context of 16"):
        model(tg.zeros((1, 17), dtype="int64", device=device))


def test_the_gpt_starts_knowing_nothing(device):
    """Each of 8 tokens is about as likely: the loss is log 8."""
    _, model = small_gpt(8, device)
    rng = np.random.default_rng(0)
    x, y = (tg.tensor(rng.integers(0, 8, (40, 16)), device=device) for _ in range(2))
    loss = tg.softmax_cross_entropy(model(x), y)
    np.testing.assert_allclose(loss.item(), np.log(8), rtol=0.02)


def test_tied_weights_are_one_parameter():
    _, free = small_gpt(8, "cpu")
    _, tied = small_gpt(8, "cpu", tie_weights=True)
    assert tied.head.weight is tied.tokens.weight
    sizes = [sum(p.size for p in model.parameters()) for model in (free, tied)]
    assert sizes[0] - sizes[1] == 8 * 32


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_softmax(temperature, device):
    _, model = small_gpt(8, device)
    with tg.no_grad():
        model.head.weight *= 15.0
    start = tg.ones((4000, 1), dtype="int64", device=device)
    drawn = model.generate(start, 1, temperature).to("cpu").numpy()[:, 1]
    found = np.bincount(drawn, minlength=8) / len(drawn)
    scores = model(start[:1])[0, -1] * (1.0 / temperature)
    probs = tg.softmax(scores).detach().to("cpu").numpy()
    assert probs.max() > 0.3
    np.testing.assert_allclose(found, probs, atol=0.03)


def test_the_learning_rate_rises_and_falls():
    plan = importlib.import_module("gpt").Plan(steps=100, warmup=10)
    factors = [plan.factor(step) for step in range(101)]
    assert factors[0] == 0.1
    assert max(factors) == factors[10] == 1.0
    np.testing.assert_allclose(factors[100], 0.1)
    assert (np.diff(factors[:11]) >= 0).all()
    assert (np.diff(factors[10:]) < 0).all()
