"""What an explanation unfolds into, and what it looks like: JSON, text, HTML."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from explain_tools import Net, host, leaf, moved, product_loss

import tinygrad_softmax as tg
from tinygrad_softmax.explaining.summaries import summary

# -- unfoldings ------------------------------------------------------------------------


OPTIONS = [
    {},
    {"reduction": "sum"},
    {"label_smoothing": 0.3},
    {"weight": np.array([0.5, 2.0, 0.7])},
    {"weight": np.array([0.5, 2.0, 0.7]), "label_smoothing": 0.1},
    {"ignore_index": 2},
]


@pytest.mark.parametrize("kind", ["labels", "rows"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_cross_entropy_unfolds_to_its_own_numbers(kind, options, dtype, device):
    rng = np.random.default_rng(2)
    z = leaf(rng.uniform(-3.0, 3.0, (4, 3)), device, dtype)
    if kind == "rows" and "ignore_index" in options:
        return  # ignore_index is for labels
    target = np.array([0, 2, 1, 1]) if kind == "labels" else rng.random((4, 3))
    dt = None if kind == "labels" else dtype
    given = {
        k: tg.tensor(v, dtype, device) if isinstance(v, np.ndarray) else v
        for k, v in options.items()
    }
    with tg.record():
        loss = tg.softmax_cross_entropy(z, tg.tensor(target, dt, device), **given)
    explanation = tg.explain(loss)
    (number,) = explanation.unfoldable()
    unfolded = explanation.unfold(number)
    limit = 1e-13 if dtype == "float64" else 1e-6
    root = unfolded[unfolded.root]
    np.testing.assert_allclose(host(root.value), host(explanation[number].value), limit)
    (inner,) = unfolded.leaves
    np.testing.assert_allclose(
        host(inner.gradient), host(explanation[1].gradient), limit, limit
    )


def test_a_loss_for_each_row_and_another_axis_unfold_too(device):
    z = leaf(np.random.default_rng(0).normal(size=(2, 3, 2)), device)
    target = tg.tensor([[0, 2], [1, 1]], None, device)

    def loss(z):
        return tg.softmax_cross_entropy(z, target, axis=1, reduction="none")

    g = np.array([[1.0, 2.0], [3.0, 4.0]])
    explanation = tg.explain(loss, z, gradient=g)
    unfolded = explanation.unfold(2)
    np.testing.assert_allclose(host(unfolded[unfolded.root].value),
                               host(explanation[2].value), 1e-13)  # fmt: skip
    np.testing.assert_allclose(
        host(unfolded.leaves[0].gradient), host(explanation[1].gradient), 1e-12
    )


@pytest.mark.parametrize("op", [tg.softmax, tg.log_softmax])
def test_softmax_and_its_logarithm_unfold(op, device):
    x = leaf([[1.0, 3.0, -2.0], [1000.0, 999.0, 998.0]], device)
    weights = tg.tensor([[1.0, 0.5, 2.0], [0.3, 1.0, 1.0]], tg.float64, device)
    explanation = tg.explain(lambda x: (op(x) * weights).sum(), x)
    (number,) = explanation.unfoldable()
    unfolded = explanation.unfold(number)
    assert "subtract" in [e.op for e in unfolded.ops]  # e^1000 would overflow
    np.testing.assert_allclose(
        host(unfolded[unfolded.root].value), host(explanation[number].value), 1e-12
    )
    np.testing.assert_allclose(
        host(unfolded.leaves[0].gradient), host(explanation[1].gradient), 1e-11, 1e-12
    )


def test_a_probability_of_0_says_why_the_op_is_fused(device):
    z = leaf([0.0, 2000.0], device)
    explanation = tg.explain(tg.softmax_cross_entropy, z, tg.tensor(1, None, device))
    unfolded = explanation.unfold(2)
    assert "that is why the op is fused" in " ".join(unfolded.text(80).split())


# -- as plain data ---------------------------------------------------------------------


def test_json_holds_everything(device):
    z = leaf([[1.0, 2.0, 3.0]], device)

    def loss(z):
        p = tg.softmax(z)
        return -tg.log(p[0, 1])

    explanation = tg.explain(loss, z, check=True)
    found = json.loads(json.dumps(explanation.to_json()))
    assert found["title"] == "loss"
    assert len(found["entries"]) == len(explanation.entries)
    entry = found["entries"][1]
    assert entry["op"] == "softmax"
    assert entry["label"] == "p"
    np.testing.assert_allclose(entry["value"]["values"], host(explanation[2].value))
    assert entry["formula"]["rules"]["x"] == "out * (g - sum(g * out, axis))"
    assert entry["source"]["text"] == "tg.softmax(z)"
    assert entry["check"]["agrees"] is True
    assert entry["statics"] == {"axis": 1}
    assert found["unfoldable"] == [2]
    assert found["mathml"]["-x"].startswith("<math><mrow><mo>")
    assert set(found["terms"]) == {"added_at"}
    assert [m["target"] for m in found["messages"]][-1] == 1
    assert found["messages"][0]["before"] is None


def test_json_of_modules_and_indices(device):
    net = moved(Net(), device)
    x = tg.ones((2, 3), device=device)
    explanation = tg.explain(lambda x: net(x)[:, [0, 1]].sum(), x)
    found = json.loads(json.dumps(explanation.to_json()))
    assert found["groups"][1]["path"] == "layers"
    assert found["groups"][1]["source"]["text"] == "self.layers(x)"


def test_summaries_of_small_and_large_arrays(device):
    small = summary(tg.tensor([[1.0, np.nan], [np.inf, -2.0]], None, device).array)
    assert small["values"] == [[1.0, "nan"], ["inf", -2.0]]
    assert (small["finite"], small["nan"], small["inf"]) == (2, 1, 1)
    assert (small["min"], small["max"], small["mean"]) == (-2.0, 1.0, -0.5)
    values = np.arange(2000.0).reshape(2, 10, 100)
    large = summary(tg.tensor(values, None, device).array)
    assert "values" not in large
    assert large["shape"] == [2, 10, 100]
    assert large["rows"] == [0, 1, 2, 7, 8, 9]
    assert large["columns"] == [0, 1, 2, 97, 98, 99]
    assert large["corners"][3][4] == values[0, 7, 98]
    assert sum(large["histogram"]["counts"]) == 2000
    assert len(large["histogram"]["edges"]) == len(large["histogram"]["counts"]) + 1
    assert summary(None) is None
    assert summary(2)["values"] == 2
    assert summary(np.empty((0, 3)))["min"] is None
    json.dumps([small, large])


@pytest.mark.parametrize(
    "ends",
    [
        (1.0, np.nextafter(1.0, 2.0)),  # what sums of softmax are like
        (-5e-324, 5e-324),
        (-1.7e308, 1.7e308),
        (0.0, np.inf),
        (3.0, 3.0),
        (-1e300, -1e300),  # what masks are filled with
    ],
)
def test_histograms_of_the_narrowest_and_the_widest_range(ends):
    values = np.array([*ends] * 50)
    found = summary(values)["histogram"]
    assert sum(found["counts"]) == np.isfinite(values).sum()
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert found["edges"] == sorted(found["edges"])
    assert np.all(np.isfinite(found["edges"]))
    if np.isfinite(ends).all() and ends[0] < ends[1]:
        assert (found["counts"][0], found["counts"][-1]) == (50, 50)
    if ends[1] == 1.7e308:
        assert abs(found["edges"][12] - 0.85e308) < 1e294
    low = np.min(ends)
    assert found["edges"][0] <= low <= found["edges"][-1]


# -- rendering -------------------------------------------------------------------------


def test_str_fits_the_terminal(device, monkeypatch):
    explanation = tg.explain(
        product_loss, leaf([1.0] * 9, device), leaf([2.0] * 9, device)
    )
    for columns in (70, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = str(explanation).splitlines()
        assert max(map(len, lines)) <= columns
    assert str(explanation) == explanation.text(100)
    assert max(map(len, explanation.text(10).splitlines())) <= 60
    assert str(explanation).isascii()


def test_rich_shows_the_same(device):
    from rich.console import Console

    explanation = tg.explain(product_loss, leaf([1.0], device), leaf([2.0], device))
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(explanation)
    shown = [line.rstrip() for line in console.export_text().rstrip().splitlines()]
    assert shown == explanation.text(90).splitlines()


def test_repr_is_one_line(device):
    explanation = tg.explain(product_loss, leaf([1.0], device), leaf([2.0], device))
    assert repr(explanation) == "<Explanation of product_loss: 3 ops, 2 leaves>"


def test_html_is_well_formed_and_escaped(device):
    from xml.dom.minidom import parseString

    x = leaf([1.0, 2.0], device)
    explanation = tg.explain(lambda x: tg.where(x < 1.5, x, x * x).sum(), x, check=True)
    html = explanation._repr_html_()
    root = parseString(html).documentElement
    assert root.getAttribute("class") == "tg-explain"
    assert "x &lt; 1.5" in html
    assert "<script" not in html
    assert "http" not in html
    assert len(root.getElementsByTagName("math")) >= 3
    assert re.search(r"not computed: .* is a constant", html)
