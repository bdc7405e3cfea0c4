"""Graphs for the tests of pages, and what a page's file holds."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn

Y_HAT = np.array([[0.3], [0.2], [0.1], [0.4]])
Y = np.array([[0.0], [1.0], [0.0], [0.0]])
W = np.array([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.5], [0.5, 0.0]])
A = np.array([[1.0], [2.0]])


def lecture(device: str = "cpu") -> Any:
    """z = W a + b with softmax(z) = y-hat, and the loss of a cat."""
    w = tg.tensor(W, requires_grad=True, device=device)
    a, y = tg.tensor(A, device=device), tg.tensor(Y, device=device)
    b = tg.tensor(np.log(Y_HAT) - W @ A, requires_grad=True, device=device)
    with tg.record():
        z = w @ a + b
        loss = tg.softmax_cross_entropy(z, y, axis=0)
    return tg.explain(loss)


class MLP:
    """A multilayer perceptron, its data, and the same by NumPy."""

    def __init__(self, device: str = "cpu") -> None:
        rng = np.random.default_rng(7)
        tg.manual_seed(7)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3))
        self.model.to(device)
        self.x = rng.normal(size=(5, 3)).astype(np.float32)
        self.labels = np.array([0, 2, 1, 1, 0])
        with tg.record():
            logits = self.model(tg.tensor(self.x, device=device))
            target = tg.tensor(self.labels, device=device)
            loss = tg.softmax_cross_entropy(logits, target)
        self.explanation = tg.explain(loss)

    def by_numpy(self) -> dict[str, np.ndarray]:
        """The gradients, in float64."""
        state = {k: v.numpy().astype(float) for k, v in self.model.state_dict().items()}
        w1, b1, w2, b2 = (
            state[k] for k in ("0.weight", "0.bias", "2.weight", "2.bias")
        )
        before = self.x @ w1.T + b1
        hidden = np.maximum(before, 0)
        logits = hidden @ w2.T + b2
        t = np.exp(logits - logits.max(axis=1, keepdims=True))
        y = np.eye(3)[self.labels]
        d_logits = (t / t.sum(axis=1, keepdims=True) - y) / len(y)
        d_hidden = d_logits @ w2
        d_before = d_hidden * (before > 0)
        return {
            "0.weight": d_before.T @ self.x,
            "0.bias": d_before.sum(axis=0),
            "2.weight": d_logits.T @ hidden,
            "2.bias": d_logits.sum(axis=0),
        }


def loop(turns: int, device: str = "cpu") -> Any:
    """The same three ops again and again."""
    x = tg.tensor(np.linspace(-1, 1, 4), requires_grad=True, device=device)
    with tg.record():
        h = x
        for _ in range(turns):
            smaller = h * 0.9
            bent = tg.tanh(smaller)
            h = bent + x
        loss = (h * h).sum()
    return tg.explain(loss)


class Scripts(HTMLParser):
    """The script elements of a page, (attributes, text) of each, as a browser sees."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[dict, str]] = []
        self.tags: list[tuple[str, dict]] = []
        self._open = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag == "script"
        if self._open:
            self.found.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        if self._open:
            attributes, text = self.found[-1]
            self.found[-1] = attributes, text + data


def data_of(path: str | Path) -> dict[str, Any]:
    """The data in a page."""
    for attributes, text in Scripts(Path(path).read_text("utf-8")).found:
        if attributes.get("id") == "data":
            return json.loads(text)
    raise AssertionError("the page has no data")


def array_of(data: dict[str, Any], place: int | None) -> np.ndarray:
    """An array of a page that is given in full."""
    assert place is not None
    found = data["arrays"][place]
    return np.array(found["values"], dtype=found["dtype"]).reshape(found["shape"])


def host(value: Any) -> np.ndarray:
    return tg.asarray(value).to("cpu").numpy()


def node_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    """The node that has an id or, of those outside unfoldings, a label."""
    for node in data["nodes"]:
        if node["id"] == name or (node["label"] == name and "." not in node["id"]):
            return node
    raise AssertionError(f"no node {name}")


def leaf_of(data: dict[str, Any], place: int = 0) -> dict[str, Any]:
    return [node for node in data["nodes"] if node["kind"] == "leaf"][place]


def messages_to(data: dict[str, Any], node: str) -> list[dict[str, Any]]:
    return [each for each in data["messages"] if each["to"] == node]
