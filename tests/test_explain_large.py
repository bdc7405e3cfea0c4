"""Loops, many modules, and graphs of 10,000 nodes: what is folded, and how fast."""

from __future__ import annotations

import random
import time
from xml.dom.minidom import parseString

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining.drawing import drawing_svg
from tinygrad_softmax.explaining.grouping import find_repeats
from tinygrad_softmax.explaining.notebook import notebook_html
from tinygrad_softmax.explaining.outline import outline

SECONDS = 30.0  # on a busy machine; about 1 s on an idle one


def leaf(values, device):
    return tg.tensor(values, tg.float64, device, requires_grad=True)


def loop(x, turns):
    h = x
    for _ in range(turns):
        h = tg.tanh(h * 0.9)
    return h.sum()


class Letters:
    """Entries for find_repeats, one for each letter."""

    def __init__(self, op, number):
        self.op, self.number = op, number
        self.shape, self.dtype, self.source, self.via, self.node = (
            (),
            "",
            None,
            "",
            None,
        )


def repeats(word):
    found = find_repeats([Letters(op, i) for i, op in enumerate(word, 1)])
    return [(r.first, r.last, r.length, r.count) for r in found]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("", []),
        ("abc", []),
        ("abab", []),  # two turns are shown in full
        ("ababab", [(1, 6, 2, 3)]),
        ("xabcabcabcy", [(2, 10, 3, 3)]),
        ("aaaa", [(1, 4, 1, 4)]),
        ("abababa", [(1, 6, 2, 3)]),
        ("aaabbb", [(1, 3, 1, 3), (4, 6, 1, 3)]),
    ],
)
def test_repeats_are_found(word, found):
    assert repeats(word) == found


def test_a_short_loop_is_shown_in_full_and_known_as_one(device):
    explanation = tg.explain(loop, leaf([1.0], device), 4)
    (repeat,) = explanation.repeats
    assert (repeat.length, repeat.count, repeat.first) == (2, 4, 2)
    assert [item.kind for item in outline(explanation)] == ["entry"] * 9
    assert "more turns" not in explanation.text(80)


def test_a_long_loop_shows_its_first_and_last_turn(device):
    explanation = tg.explain(loop, leaf([1.0], device), 100)
    (repeat,) = explanation.repeats
    assert (repeat.first, repeat.last, repeat.count) == (2, 201, 100)
    text = explanation.text(80)
    assert text.count("... 98 more turns (#4 to #199, 196 ops)") == 2
    assert "#3 tanh -> h" in text
    assert "#201 tanh -> h" in text
    assert "#50 " not in text
    assert "steps 4 to 199" in text


def test_everything_is_shown_when_asked_for(device):
    explanation = tg.explain(loop, leaf([1.0], device), 100)
    text = explanation.text(80, limit=None)
    for entry in explanation.entries:
        assert f"#{entry.number} " in text
    assert "more turns" not in text


def test_the_gradient_of_a_loop_is_right(device):
    x = leaf([0.5, -1.0], device)
    explanation = tg.explain(loop, x, 30, check=True)
    h, slope = np.array([0.5, -1.0]), 1.0
    for _ in range(30):
        h = np.tanh(0.9 * h)
        slope = slope * 0.9 * (1.0 - h * h)
    np.testing.assert_allclose(tg.asarray(explanation[1].gradient).numpy(), slope)
    assert all(entry.check.agrees for entry in explanation.entries)


class Block(nn.Module):
    def __init__(self):
        self.norm, self.linear = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        return x + nn.functional.gelu(self.linear(self.norm(x)))


def test_many_modules_are_folded(device):
    model = nn.Sequential(*[Block() for _ in range(100)]).to(device)
    x = tg.ones((2, 4), device=device)
    explanation = tg.explain(lambda x: (model(x) ** 2).mean(), x)
    text = explanation.text(80)
    assert "[0 Block] 4 ops" in text
    assert "98 more turns" in text
    assert "[99 Block] 4 ops" in text
    assert "[50 Block]" not in text
    assert "and 380 more leaves" in text
    assert len(text) < 30_000
    assert len(explanation._repr_html_()) < 60_000


class Deep(nn.Module):
    """Modules that differ, so that no loop is found: what does not fit is folded."""

    def __init__(self):
        sizes = range(3, 33)
        self.parts = nn.Sequential(
            *[nn.Sequential(nn.Linear(n, n + 1), nn.Tanh()) for n in sizes]
        )

    def forward(self, x):
        return self.parts(x)


def test_modules_that_do_not_fit_are_one_line_each(device):
    model = Deep().to(device)
    explanation = tg.explain(lambda x: model(x).sum(), tg.ones((2, 3), device=device))
    items = outline(explanation, 10)
    kinds = {kind: [i for i in items if i.kind == kind] for kind in ("entry", "folded")}
    assert len(kinds["entry"]) <= 10
    assert kinds["folded"]
    text = explanation.text(80, limit=10)
    assert "[parts.29 Sequential] 2 ops, #119 to #120: float32 (2, 33)\n" in text
    assert "[parts.28 Sequential] 2 ops, #117 to #118: float32 (2, 32); steps" in text
    parseString(explanation._repr_html_())


def test_html_of_what_is_left_out_is_well_formed(device):
    x = leaf([0.3, 0.4], device)
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).to(device)

    def f(x):
        h = net(irregular(x, 60) * tg.ones((1, 2), device=device))
        return irregular(net(h), 60)

    explanation = tg.explain(f, x.astype(tg.float32))
    assert "not shown" in explanation.text(80, limit=5)
    parseString(notebook_html(explanation, 5))


def irregular(x, count):
    """A graph without a pattern, by a generator of its own."""
    choose, made = random.Random(0), [x]
    for _ in range(count):
        a, b = choose.choice(made[-50:]), choose.choice(made[-50:])
        kind = choose.random()
        if kind < 0.4:
            made.append(tg.tanh(a + b))
        elif kind < 0.7:
            made.append(tg.sin(a * b))
        else:
            made.append(a - 0.5 * b)
    return sum(made[-50:], 0.0).sum()


@pytest.mark.parametrize("make", [loop, irregular])
def test_ten_thousand_ops(make, device):
    count = 5000
    x = leaf([0.3, 0.4], device)
    with tg.record():
        loss = make(x, count)
    start = time.perf_counter()
    explanation = tg.explain(loss)
    text = explanation.text(80)
    html = explanation._repr_html_()
    assert time.perf_counter() - start < SECONDS
    assert len(explanation.ops) > 8000
    assert len(text) < 60_000
    assert len(html) < 120_000
    assert max(map(len, text.splitlines())) <= 80
    loss.backward()
    np.testing.assert_array_equal(
        tg.asarray(explanation[1].gradient).numpy(), x.grad.numpy()
    )


def test_a_check_of_a_large_graph_stops_in_time(device):
    x = leaf([0.3, 0.4], device)
    start = time.perf_counter()
    explanation = tg.explain(loop, x, 3000, check=True)
    assert time.perf_counter() - start < 3 * SECONDS
    assert explanation[1].check.agrees
    notes = {entry.check.note for entry in explanation.entries if entry.check.note}
    assert any(note.startswith("it takes more than") for note in notes)


def test_many_elements_of_a_large_graph_are_checked_along_a_direction(device):
    """60 elements are few enough to move each of them, but not through 3,001 ops."""
    x = leaf(np.linspace(-0.5, 0.5, 60), device)
    explanation = tg.explain(loop, x, 1500, check=True)
    assert explanation[1].check.kind == "direction"
    assert explanation[1].check.agrees
    assert explanation[explanation.root - 1].check.kind == "elements"


def test_a_chain_far_longer_than_the_limit_of_recursion(device):
    """20,001 ops: nothing in it is recursive."""
    explanation = tg.explain(loop, leaf([1.0], device), 10_000)
    assert len(explanation.ops) == 20_001


def test_wide_arrays_are_summarised(device):
    x = leaf(np.linspace(0.0, 1.0, 100_000).reshape(100, 1000), device)
    explanation = tg.explain(lambda x: (x * x).sum(), x)
    assert "0 to 1, mean 0.5" in explanation.text(80)
    assert len(explanation.text(80)) < 2500
    drawing = drawing_svg(explanation)
    assert len(explanation._repr_html_()) < 6000 + len(drawing)
    assert len(drawing) < 5000
    assert len(str(explanation.to_json())) < 20_000
