"""The models of examples/models: what a run of their files does not show."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_softmax as tg

MODELS = Path(__file__).resolve().parent.parent / "examples" / "models"


def load(name: str):
    spec = importlib.util.spec_from_file_location(
        f"models.{name}", MODELS / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # (dataclasses look there)
    spec.loader.exec_module(module)
    return module


gpt, mlp, cnn, softmax_regression = map(
    load, ("gpt", "mlp", "cnn", "softmax_regression")
)


@pytest.fixture
def model(device):
    tg.manual_seed(0)
    return gpt.GPT(11, context=6, width=8, layers=2, heads=2).to(device)


def test_images_and_flat_features_give_scores_of_the_classes():
    tg.manual_seed(0)
    for size in (8, 28):
        x = tg.rand(3, 1, size, size)
        for model in (
            cnn.CNN(size),
            mlp.MLP(size * size, hidden=(5, 4)),
            softmax_regression.SoftmaxRegression(size * size),
        ):
            assert model(x).shape == (3, 10)
    assert cnn.CNN(28).get_parameter("features.3.weight").shape == (32, 16, 3, 3)
    with pytest.raises(ValueError, match="size was given as 10; expected a multiple"):
        cnn.CNN(10)


def test_the_gpt_does_not_see_what_comes(model, device):
    idx = np.random.default_rng(0).integers(0, 11, (2, 6))
    whole, loss = model(tg.tensor(idx, device=device))
    assert loss is None
    for n in range(1, 6):
        part, _ = model(tg.tensor(idx[:, :n], device=device))
        np.testing.assert_allclose(
            part.detach().numpy(), whole.detach().numpy()[:, :n], atol=1e-5
        )


def test_the_gpt_starts_knowing_nothing(model, device):
    """Each of 11 tokens is about as likely: the loss is log 11."""
    rng = np.random.default_rng(0)
    idx, targets = (rng.integers(0, 11, (20, 6)) for _ in range(2))
    loss = model(tg.tensor(idx, device=device), tg.tensor(targets, device=device))[1]
    np.testing.assert_allclose(loss.item(), np.log(11), rtol=0.02)


def test_tied_weights_are_one_parameter():
    model = gpt.GPT(11, context=6, width=8, layers=1, heads=2, tie_weights=True)
    free = gpt.GPT(11, context=6, width=8, layers=1, heads=2)
    assert model.head.weight is model.tokens.weight
    difference = sum(p.size for p in free.parameters())
    assert difference - sum(p.size for p in model.parameters()) == 11 * 8
    _, loss = model(tg.tensor([[1, 2]]), tg.tensor([[2, 3]]))
    loss.backward()
    assert model.tokens.weight.grad is not None


def test_what_is_generated_goes_on_and_repeats(model, device):
    start = tg.tensor([[1, 2, 3], [4, 5, 6]], device=device)

    def draw(seed, **options):
        rng = np.random.default_rng(seed)
        return model.generate(start, 9, generator=rng, **options).numpy()

    drawn = draw(0)
    assert drawn.shape == (2, 12)
    np.testing.assert_array_equal(drawn[:, :3], start.numpy())
    np.testing.assert_array_equal(drawn, draw(0))
    assert (drawn != draw(1)).any()
    likeliest = draw(0, temperature=0.0)
    np.testing.assert_array_equal(likeliest, draw(1, temperature=0.0))
    np.testing.assert_array_equal(likeliest, draw(2, top_k=1))
    for n in range(3, 12):  # the likeliest, one by one
        seen = tg.tensor(likeliest[:, max(0, n - 6) : n], device=device)
        scores = model(seen)[0].detach().numpy()[:, -1]
        np.testing.assert_array_equal(likeliest[:, n], scores.argmax(axis=1))
    tg.manual_seed(3)
    first = model.generate(start, 9).numpy()
    tg.manual_seed(3)
    np.testing.assert_array_equal(first, model.generate(start, 9).numpy())


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_softmax(temperature, model, device):
    with tg.no_grad():
        model.head.weight *= 30.0
    start = tg.tensor(np.ones((4000, 1), int), device=device)
    rng = np.random.default_rng(0)
    drawn = model.generate(start, 1, temperature, generator=rng).numpy()[:, 1]
    found = np.bincount(drawn, minlength=11) / len(drawn)
    scores = model(start[:1])[0][0, -1] / temperature
    probs = scores.softmax().detach().numpy()
    assert probs.max() > 0.3
    np.testing.assert_allclose(found, probs, atol=0.025)


def test_more_than_the_context_is_refused(model, device):
    with pytest.raises(ValueError, match=r"7 tokens .* context of 6; mend: .*-6:"):
        model(tg.zeros((1, 7), "int64", device))


def test_the_text_is_cut_and_coded():
    text = gpt.Text("abracadabra" * 10)
    assert len(text.validation) == 11
    assert text.decode(text.encode("cab")[0]) == "cab"
    x, y = gpt.batch_of(text.training, 5, 4, np.random.default_rng(0))
    assert x.shape == y.shape == (5, 4)
    np.testing.assert_array_equal(x[:, 1:], y[:, :-1])


def test_the_learning_rate_rises_and_falls():
    plan = gpt.Plan(steps=100, lr=1.0, warmup=10)
    rates = [plan.lr_at(step) for step in range(101)]
    assert rates[0] == 0.1
    assert max(rates) == rates[10] == 1.0
    np.testing.assert_allclose(rates[100], 0.1)
    assert (np.diff(rates[:11]) >= 0).all()
    assert (np.diff(rates[10:]) < 0).all()
