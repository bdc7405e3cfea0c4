"""Pages: formulas, what unfolds, what folds, and nudges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from explored import (
    MLP,
    Y_HAT,
    A,
    Y,
    array_of,
    data_of,
    leaf_of,
    lecture,
    loop,
    messages_to,
    node_of,
)

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining.formulas import TERMS


@pytest.fixture
def page(tmp_path) -> Path:
    return tmp_path / "graph.html"


# -- formulas --------------------------------------------------------------------------


def test_formulas_are_in_the_programs_names(page):
    data = data_of(tg.explore(lecture(), page))
    z = node_of(data, "z")
    assert "<mi>z</mi><mo>=</mo>" in z["forward"]
    assert "where" not in z
    for name in ("w", "a", "b"):
        assert f"<mi>{name}</mi>" in z["forward"]


def test_names_that_are_none_stand_below(page):
    data = data_of(tg.explore(MLP().explanation, page))
    linear = next(node for node in data["nodes"] if node["op"] == "linear")
    assert linear["where"] is True
    assert "<mi>weight</mi>" in linear["forward"]


def test_a_number_stands_in_the_formula(page):
    x = tg.tensor([1.0], requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: (x * -2.5).sum(), x), page))
    product = next(node for node in data["nodes"] if node["op"] == "multiply")
    assert "<mn>2.5</mn>" in product["forward"]
    assert "\u2212" in product["forward"]


def test_terms_are_explained(page):
    data = data_of(
        tg.explore(tg.explain(lambda x: x.sum(), tg.ones(2, requires_grad=True)), page)
    )
    assert data["terms"] == {"spread": TERMS["spread"]}


# -- unfolding -------------------------------------------------------------------------


def test_the_fused_loss_unfolds(page):
    """The lecture's figure: two messages come to t, and times t they are y-hat - y."""
    data = data_of(tg.explore(lecture(), page))
    (box,) = data["boxes"]
    fused = node_of(data, "loss")
    assert (box["kind"], box["node"], box["parent"]) == ("fused", fused["id"], None)
    inner = [node for node in data["nodes"] if node["box"] == box["id"]]
    ops = [node["op"] for node in inner if node["kind"] == "op"]
    assert ops[:4] == ["exp", "sum", "divide", "log"]
    t = next(node for node in inner if node["op"] == "exp")
    first, second = messages_to(data, t["id"])
    parts = [array_of(data, each["arrived"]).ravel() for each in (first, second)]
    np.testing.assert_allclose(parts[0], [0, -5, 0, 0], atol=1e-14)
    np.testing.assert_allclose(parts[1], [1, 1, 1, 1], atol=1e-14)
    np.testing.assert_allclose(
        array_of(data, second["after"]).ravel(), [1, -4, 1, 1], atol=1e-14
    )
    whole, by_steps = messages_to(data, node_of(data, "z")["id"])
    assert whole["from"] == fused["id"]
    for message in (whole, by_steps):
        found = array_of(data, message["after"])
        np.testing.assert_allclose(found, Y_HAT - Y, atol=1e-15)
    assert box["differs"] <= 1e-15


def test_an_unfolding_stands_on_the_same_nodes(page):
    data = data_of(tg.explore(lecture(), page))
    z, y = node_of(data, "z")["id"], node_of(data, "y")["id"]
    inner = [node for node in data["nodes"] if node["box"] == data["boxes"][0]["id"]]
    used = {each["node"] for node in inner for each in node.get("inputs", ())}
    assert {z, y} <= used
    known = {node["id"] for node in data["nodes"]} | {None}
    assert used <= known


def test_labels_become_rows_when_it_unfolds(page):
    """The target outside is labels; inside it is a constant of its own."""
    data = data_of(tg.explore(MLP().explanation, page))
    inside = [n for n in data["nodes"] if n["kind"] == "constant" and "." in n["id"]]
    rows = array_of(data, inside[0]["value"])
    np.testing.assert_array_equal(rows, np.eye(3)[[0, 2, 1, 1, 0]])
    assert inside[0]["box"] == data["boxes"][-1]["id"]


def test_a_message_from_an_unfolding_is_added_to_earlier_ones(page):
    x = tg.tensor([[1.0, 2.0]], dtype="float64", requires_grad=True)
    with tg.record():
        loss = tg.softmax_cross_entropy(x, tg.tensor([0])) + (x * x).sum()
    data = data_of(tg.explore(loss, page))
    messages = messages_to(data, node_of(data, "x")["id"])
    outer = [m for m in messages if "." not in m["from"]]
    (inner,) = (m for m in messages if "." in m["from"])
    (fused,) = (
        m for m in outer if node_of(data, m["from"])["op"].startswith("softmax")
    )
    assert fused["before"] is not None
    for name in ("before", "arrived", "after"):
        np.testing.assert_allclose(
            array_of(data, inner[name]), array_of(data, fused[name]), atol=1e-15
        )


def test_a_checkpoint_unfolds(page):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    x = tg.tensor([0.5, -1.0], requires_grad=True)
    with tg.record():
        loss = tg.checkpoint(lambda x: tg.tanh(x * w), x).sum()
    data = data_of(tg.explore(loss, page))
    (box,) = data["boxes"]
    inner = [node["op"] for node in data["nodes"] if node["box"] == box["id"]]
    assert "tanh" in inner
    gradient = array_of(data, leaf_of(data, 1)["gradient"])
    expected = (1 - np.tanh([0.5, -2.0]) ** 2) * [1, 2]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


# -- boxes -----------------------------------------------------------------------------


def test_parameters_are_in_their_modules_box(page):
    data = data_of(tg.explore(MLP().explanation, page))
    by_path = {box["path"]: box for box in data["boxes"] if box["kind"] == "module"}
    assert node_of(data, "0.weight")["box"] == by_path["0"]["id"]
    assert node_of(data, "2.bias")["box"] == by_path["2"]["id"]
    assert by_path["2"]["parent"] == by_path[""]["id"]


def test_a_shared_parameter_is_outside_of_both_boxes(page):
    one, two = nn.Linear(2, 2), nn.Linear(2, 2)
    two.weight = one.weight
    model = nn.Sequential(one, two)
    with tg.record():
        loss = model(tg.ones((1, 2))).sum()
    data = data_of(tg.explore(loss, page))
    whole = next(box for box in data["boxes"] if box["path"] == "")
    assert node_of(data, "0.weight")["box"] == whole["id"]
    assert node_of(data, "0.bias")["box"] != whole["id"]


def test_the_turns_of_a_loop_are_boxes(page):
    data = data_of(tg.explore(loop(10), page))
    boxes = {box["id"]: box for box in data["boxes"]}
    (middle,) = (box for box in data["boxes"] if box["kind"] == "turns")
    turns = [box for box in data["boxes"] if box["kind"] == "turn"]
    assert middle["title"] == "8"
    assert [turn["title"] for turn in turns] == [f"{i}/10" for i in range(1, 11)]
    assert [turn["parent"] == middle["id"] for turn in turns] == [
        False,
        *[True] * 8,
        False,
    ]
    for turn in turns:
        ops = [node["op"] for node in data["nodes"] if node["box"] == turn["id"]]
        assert ops == ["multiply", "tanh", "add"]
    assert node_of(data, "x")["box"] is None
    assert all(box["parent"] in (None, *boxes) for box in data["boxes"])


def test_the_turns_of_a_loop_over_modules_are_boxes(page):
    layer = nn.Linear(2, 2)
    with tg.record():
        h = tg.ones((1, 2))
        for _ in range(5):
            h = tg.tanh(layer(h))
        loss = h.sum()
    data = data_of(tg.explore(loss, page))
    turns = [box["id"] for box in data["boxes"] if box["kind"] == "turn"]
    assert len(turns) == 5
    modules = [box["parent"] for box in data["boxes"] if box["kind"] == "module"]
    assert modules == turns
    assert node_of(data, "weight")["box"] is None


def test_a_loop_of_one_op_needs_no_box_for_each(page):
    x = tg.ones(2, requires_grad=True)
    with tg.record():
        h = x
        for _ in range(8):
            h = tg.tanh(h)
        loss = h.sum()
    data = data_of(tg.explore(loss, page))
    (middle,) = data["boxes"]
    inside = [node["box"] for node in data["nodes"] if node["op"] == "tanh"]
    assert inside == [None, *[middle["id"]] * 6, None]


def test_a_loop_over_a_module_of_one_op(page):
    layer = nn.Tanh()
    x = tg.ones(2, requires_grad=True)
    with tg.record():
        h = x
        for _ in range(6):
            h = layer(h)
        loss = h.sum()
    data = data_of(tg.explore(loss, page))
    (middle,) = (box["id"] for box in data["boxes"] if box["kind"] == "turns")
    modules = [box["parent"] for box in data["boxes"] if box["kind"] == "module"]
    assert modules == [None, *[middle] * 4, None]


def test_turns_that_cut_a_modules_call_are_no_boxes(page):
    """Its loop goes on where the last call's left off, and is found as one."""

    class Twice(nn.Module):
        def forward(self, x):
            for _ in range(2):
                x = tg.tanh(x)
            return x

    twice = Twice()
    x = tg.ones(2, requires_grad=True)
    with tg.record():
        for _ in range(3):
            x = twice(x)
        loss = x.sum()
    explanation = tg.explain(loss)
    assert [each.count for each in explanation.repeats] == [6]
    data = data_of(tg.explore(explanation, page))
    assert [box["kind"] for box in data["boxes"]] == ["module"] * 3


def test_a_short_loop_has_no_boxes(page):
    assert data_of(tg.explore(loop(3), page))["boxes"] == []


# -- nudges ----------------------------------------------------------------------------


def slopes(data, node, step):
    cells = data["nudges"]["cells"][node][step]
    return [(up - down) / (2 * data["nudges"]["steps"][step]) for up, down in cells]


def test_nudges_measure_the_gradient(page):
    """Each smaller step comes a hundred times nearer, down to the digits that are
    kept."""
    data = data_of(tg.explore(lecture(), page))
    assert data["nudges"]["base"] == pytest.approx(-np.log(0.2), rel=1e-12)
    exact = {
        "z": Y_HAT - Y,
        "b": Y_HAT - Y,
        "w": (Y_HAT - Y) @ A.T,
    }
    for name, gradient in exact.items():
        node = node_of(data, name)["id"]
        away = [
            np.abs(np.array(slopes(data, node, step)) - gradient.ravel()).max()
            for step in range(3)
        ]
        assert away[0] < 0.05
        assert away[1] < 0.02 * away[0]
        assert away[2] < 1e-6


def test_nudges_inside_an_unfolding(page):
    data = data_of(tg.explore(lecture(), page))
    box = data["boxes"][0]["id"]
    t = next(n for n in data["nodes"] if n["box"] == box and n["op"] == "exp")
    np.testing.assert_allclose(slopes(data, t["id"], 2), [1, -4, 1, 1], atol=1e-4)


def test_nudges_where_nothing_is_finite(page):
    x = tg.tensor([0.05], dtype="float64", requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: tg.log(x).sum(), x), page))
    up, down = data["nudges"]["cells"][node_of(data, "x")["id"]][0][0]
    assert up == pytest.approx(np.log(0.15))
    assert down == "nan"


def test_nudges_are_few_enough(page):
    data = data_of(tg.explore(loop(200), page))
    cells = data["nudges"]["cells"]
    assert 0 < sum(len(each[0]) for each in cells.values()) <= 400
    assert node_of(data, "x")["id"] not in cells


def test_what_check_found_is_told(page):
    x = tg.tensor([1.0, 2.0], dtype="float64", requires_grad=True)
    explanation = tg.explain(lambda x: tg.exp(x).sum(), x, check=True)
    agrees, worst = node_of(data_of(tg.explore(explanation, page)), "x")["check"]
    assert agrees is True
    assert 0 <= worst < 1e-8
