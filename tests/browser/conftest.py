"""The browser of these tests, and the pages that they open."""

from __future__ import annotations

import sys
from pathlib import Path

import chromium
import pytest
from explored import MLP, lecture, loop

import tinygrad_softmax as tg

MODELS = Path(__file__).resolve().parent.parent.parent / "examples" / "models"


@pytest.fixture(scope="session")
def browser():
    with chromium.running() as running:
        yield running


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Each explanation with its page, by name."""
    import numpy as np

    folder = tmp_path_factory.mktemp("pages")
    sys.path.insert(0, str(MODELS))
    try:
        import gpt
    finally:
        sys.path.remove(str(MODELS))
    rng = np.random.default_rng(0)
    tg.manual_seed(0)
    model = gpt.GPT(5, context=4, width=4, layers=1, heads=2)
    with tg.record():
        logits = model(tg.tensor(rng.integers(0, 5, (2, 4))))
        target = tg.tensor(rng.integers(0, 5, (2, 4)))
        loss = tg.softmax_cross_entropy(logits, target, axis=2)
    made = {
        "lecture": lecture(),
        "mlp": MLP().explanation,
        "gpt": tg.explain(loss),
        "loop": loop(100),
    }
    found = {}
    for name, explanation in made.items():
        path = tg.explore(explanation, folder / f"{name}.html")
        found[name] = explanation, path
    return found


@pytest.fixture
def show(browser, pages):
    """Open a page by its name; afterwards nothing must have gone wrong."""
    shown = []

    def open_page(name, **options):
        shown.append(chromium.Shown(browser, pages[name][1], **options))
        return shown[-1]

    yield open_page
    for each in shown:
        each.close()
