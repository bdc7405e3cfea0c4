"""Pages that show a graph step by step: the lecture's example, an MLP, a small GPT.

Each is one HTML file that a browser opens without a network. The arrow keys step
through forward and backward; modules and the fused loss fold and unfold.

    python examples/explore_graphs.py            # writes three pages beside you
    python examples/explore_graphs.py --to DIR
"""
# ruff: noqa: N806  (the lecture's own W)

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn

sys.path.insert(0, str(Path(__file__).resolve().parent / "models"))
from gpt import GPT

CAT = 1


def lecture(path: Path) -> Path:
    """z = W a + b with softmax(z) = [.3, .2, .1, .4], where the truth is a cat.

    On the page, unfold the loss and step back to t = e^z: it hears [0, -5, 0, 0] and
    [1, 1, 1, 1], and passes on y_hat - y.
    """
    a = tg.tensor(np.array([[1.0], [2.0]]))
    y_hat = np.array([[0.3], [0.2], [0.1], [0.4]])
    start = np.array([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.5], [0.5, 0.0]])
    W = tg.tensor(start, requires_grad=True)
    b = tg.tensor(np.log(y_hat) - start @ a.numpy(), requires_grad=True)
    with tg.record():
        z = W @ a + b
        loss = tg.softmax_cross_entropy(z, tg.tensor([CAT]), axis=0)
    return tg.explore(loss, path)


def mlp(path: Path) -> Path:
    """Two linear layers with ReLU between them, on a batch of five."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
    x, labels = tg.randn(5, 3), tg.tensor([0, 2, 1, 1, 0])
    with tg.record():
        loss = tg.softmax_cross_entropy(model(x), labels)
    return tg.explore(loss, path)


def gpt(path: Path) -> Path:
    """One block of a GPT, which guesses the next character of "hello"."""
    text = "hello"
    letters = sorted(set(text))
    tokens = tg.tensor([letters.index(letter) for letter in text])
    model = GPT(len(letters), context=4, width=8, layers=1, heads=2)
    with tg.record():
        scores = model(tokens[None, :-1])
        loss = tg.softmax_cross_entropy(scores, tokens[None, 1:], axis=2)
    return tg.explore(loss, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=Path(), help="folder for the pages")
    folder = parser.parse_args().to
    tg.manual_seed(0)
    for make in (lecture, mlp, gpt):
        page = make(folder / f"{make.__name__}.html")
        print(f"{page}: {page.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
