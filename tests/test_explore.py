"""Pages: what is in the file that `tg.explore` writes. (What a browser makes of it is
tested in tests/browser.)"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from explored import MLP, Y_HAT, A, Scripts, Y, array_of, data_of, lecture, loop

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining import page_data as page_data_module
from tinygrad_softmax.explaining.formulas import CHECKPOINT, FORMULAS, TERMS
from tinygrad_softmax.explaining.page_data import page_data
from tinygrad_softmax.explaining.page_writing import PAGE, as_json, page_html, script_of
from tinygrad_softmax.explaining.programs import explain_lecture, run_program

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(PAGE.glob("*.js"))
WORDS = json.loads((PAGE / "words.json").read_text("utf-8"))


def host(value) -> np.ndarray:
    return tg.asarray(value).to("cpu").numpy()


def node_of(data, name):
    """The node that has an id or, of those outside unfoldings, a label."""
    for node in data["nodes"]:
        if node["id"] == name or (node["label"] == name and "." not in node["id"]):
            return node
    raise AssertionError(f"no node {name}")


def leaf_of(data, place=0):
    return [node for node in data["nodes"] if node["kind"] == "leaf"][place]


def messages_to(data, node):
    return [each for each in data["messages"] if each["to"] == node]


@pytest.fixture
def page(tmp_path) -> Path:
    return tmp_path / "graph.html"


# -- the file ------------------------------------------------------------------------


def test_a_tensor_becomes_a_page(page, device):
    w = tg.tensor([2.0, 3.0], requires_grad=True, device=device)
    with tg.record():
        loss = (w * w).sum()
    assert tg.explore(loss, page) == page
    data = data_of(page)
    assert data["title"] == "loss"
    assert array_of(data, node_of(data, "w")["gradient"]).tolist() == [4, 6]
    assert os.listdir(page.parent) == [page.name]


def test_a_path_may_be_text_and_in_a_new_folder(tmp_path):
    path = os.path.join(tmp_path, "new", "graph.html")
    assert tg.explore(lecture(), path) == Path(path)
    assert Path(path).exists()


def test_a_page_replaces_an_older_one(page):
    page.write_text("old")
    tg.explore(lecture(), page)
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_the_page_of_the_lecture_is_small(page):
    tg.explore(lecture(), page)
    assert page.stat().st_size <= 150_000


def test_a_page_asks_for_nothing(page):
    """No element loads anything, and the policy forbids all but its own script."""
    html = tg.explore(lecture(), page).read_text("utf-8")
    scripts = Scripts(html)
    for tag, attributes in scripts.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for _, a in scripts.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "@import" not in html
    assert "url(" not in html.replace("url(#", "")
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>",
        "&lt;",
        "\u2028\u2029",
    ],
)
def test_source_text_cannot_leave_its_script(page, text):
    program = f"x = tg.ones(2, requires_grad=True)\nloss = (x * len({text!r})).sum()\n"
    title = f"{text} & <b>"
    explanation = run_program(program, "attack.py", title)
    html = tg.explore(explanation, page).read_text("utf-8")
    scripts = Scripts(html)
    assert len(scripts.found) == 4
    assert [a.get("id") for a, _ in scripts.found] == ["data", "words", "remarks", None]
    data = data_of(page)
    assert data["title"] == title
    sources = [node["source"][1] for node in data["nodes"] if node.get("source")]
    assert any(text in source for source in sources) or "\u2028" in text
    assert "<b>" not in html.replace("\\u003cb", "")


def test_names_cannot_leave_their_script(page):
    class Evil(nn.Module):
        def __init__(self):
            setattr(self, "</script><img src=x onerror=alert(1)>", nn.Linear(2, 2))

        def forward(self, x):
            (layer,) = self.children()
            return layer(x)

    model = Evil()
    with tg.record():
        loss = model(tg.ones((1, 2))).sum()
    html = tg.explore(loss, page).read_text("utf-8")
    assert "<img" not in html
    assert "onerror" in html  # as text
    assert len(Scripts(html).found) == 4


def test_json_has_no_bracket():
    text = as_json({"<a>": "&<!--</script>", "b": "\u4f60"})
    assert not set(text) & set("<>&")
    assert json.loads(text) == {"<a>": "&<!--</script>", "b": "\u4f60"}


def test_names_in_braces_stay_as_they_are():
    """The template is filled in once, not what fills it."""
    data = page_data(lecture()) | {"title": "{script}"}
    html = page_html(data, "{script}")
    assert html.count("{script}") == 3


# -- what it may not do --------------------------------------------------------------


def test_exploring_changes_nothing(page, device):
    x = tg.tensor([1.0, 2.0], requires_grad=True, device=device)
    x.grad = tg.tensor([5.0, 7.0], device=device)
    seen = []
    with tg.record():
        y = x * x
        y.register_hook(seen.append)
        loss = (nn.functional.dropout(y, 0.5) + y).sum()
    tg.manual_seed(3)
    expected = tg.rand(3).numpy()
    tg.manual_seed(3)
    tg.explore(loss, page)
    assert tg.rand(3).numpy().tolist() == expected.tolist()
    assert x.grad.numpy().tolist() == [5, 7] if device == "cpu" else True
    assert seen == []
    assert y.grad is None
    loss.backward()  # the graph is still there
    assert len(seen) == 1
    assert host(node_gradient(page, "x")).shape == (2,)


def node_gradient(page, name):
    data = data_of(page)
    return array_of(data, node_of(data, name)["gradient"])


def test_it_is_loaded_when_it_is_first_named():
    code = "import sys, tinygrad_softmax as tg\n"
    code += "print(any('explaining' in name for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == "False\n"


# -- errors --------------------------------------------------------------------------


def test_a_path_that_is_none():
    with pytest.raises(TypeError, match="the path is a int; expected where to write"):
        tg.explore(lecture(), 3)  # type: ignore[arg-type]


def test_something_that_is_no_tensor(page):
    with pytest.raises(
        TypeError, match=r"a float was given; expected a tensor or what"
    ):
        tg.explore(1.5, page)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"mend: tg.explore\(tg.explain\(f, \*args\)"):
        tg.explore(tg.exp, page)  # type: ignore[arg-type]


def test_a_tensor_without_a_graph(page):
    with pytest.raises(RuntimeError, match="has no graph"):
        tg.explore(tg.ones(2).sum(), page)


def test_a_graph_that_was_freed(page):
    loss = (tg.ones(2, requires_grad=True) * 2).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="was freed by an earlier backward"):
        tg.explore(loss, page)
    assert not page.exists()


def test_a_folder_is_no_path(tmp_path):
    with pytest.raises(OSError, match="is a folder") as caught:
        tg.explore(lecture(), tmp_path)
    assert caught.value.filename == str(tmp_path)


def test_too_large_a_graph(page, monkeypatch):
    monkeypatch.setattr(page_data_module, "MOST", 10)
    with pytest.raises(ValueError, match=r"the graph has 33 nodes, .* up to 10; mend"):
        tg.explore(loop(10), page)
    assert not page.exists()


# -- its numbers ---------------------------------------------------------------------


def test_every_number_is_the_librarys(page):
    """A large array has its corners; those of float32 have as many digits as it takes
    to be the same float32."""
    mlp = MLP()
    data = data_of(tg.explore(mlp.explanation, page))
    for entry in mlp.explanation.entries:
        node = node_of(data, str(entry.number))
        for name in ("value", "gradient"):
            array = array_of(data, node[name])
            np.testing.assert_array_equal(array, host(getattr(entry, name)))
    for message in mlp.explanation.messages:
        sent = [m for m in data["messages"] if "." not in m["from"]][message.number - 1]
        for name in ("raw", "arrived", "before", "after"):
            expected = getattr(message, name)
            if expected is None:
                assert sent[name] is None
            else:
                np.testing.assert_array_equal(
                    array_of(data, sent[name]), host(expected)
                )
    for name, expected in mlp.by_numpy().items():
        found = array_of(data, node_of(data, name)["gradient"])
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_numbers_have_no_more_digits_than_they_need(page):
    x = tg.tensor(np.array([0.3, 1e-8], np.float32), requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: x.sum(), x), page))
    assert data["arrays"][node_of(data, "x")["value"]]["values"] == [0.3, 1e-8]
    x = tg.tensor([0.3], dtype="float16", requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: x.sum(), x), page))
    (value,) = data["arrays"][node_of(data, "x")["value"]]["values"]
    assert np.float16(value) == np.float16(0.3)


def test_large_arrays_are_summarised(page):
    x = tg.tensor(np.arange(400.0).reshape(20, 20), requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: (x * x).sum(), x), page))
    found = data["arrays"][node_of(data, "x")["value"]]
    assert "values" not in found
    assert found["rows"] == found["columns"] == [0, 1, 2, 17, 18, 19]
    assert found["corners"][1] == [20, 21, 22, 37, 38, 39]
    assert (found["min"], found["mean"], found["max"]) == (0, 199.5, 399)
    assert sum(found["histogram"]["counts"]) == 400
    assert found["histogram"]["edges"] == [0, 399]


def test_what_is_not_finite_is_text(page):
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(all="ignore"):
        explanation = tg.explain(lambda x: tg.log(x).sum(), x)
        data = data_of(tg.explore(explanation, page))
    log = next(node for node in data["nodes"] if node["op"] == "log")
    assert data["arrays"][log["value"]]["values"] == ["-inf", 0]
    assert data["arrays"][node_of(data, "x")["gradient"]]["values"] == ["inf", 1]


def test_an_array_is_written_once(page):
    data = data_of(tg.explore(lecture(), page))
    texts = [json.dumps(each) for each in data["arrays"]]
    assert len(set(texts)) == len(texts)


def test_what_was_not_computed_is_null(page):
    """Of a constant there is no gradient, and of an unrecorded graph no value."""
    data = data_of(tg.explore(lecture(), page))
    assert node_of(data, "y")["gradient"] is None
    x = tg.ones(2, requires_grad=True)
    loss = (x + x).sum()
    data = data_of(tg.explore(loss, page))
    assert data["recorded"] == 0
    assert node_of(data, "2")["value"] is None
    assert data["nudges"] is None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(page, dtype, device):
    x = tg.tensor([[1.5, -2.0]], dtype=dtype, requires_grad=True, device=device)
    explanation = tg.explain(
        lambda x: tg.softmax_cross_entropy(x, tg.tensor([1], device=device)), x
    )
    data = data_of(tg.explore(explanation, page))
    assert node_of(data, "x")["dtype"] == dtype
    assert data["boxes"][-1]["kind"] == "fused"


def test_an_empty_array_and_a_scalar(page):
    x = tg.tensor(np.zeros((0, 3)), requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: x.sum() + 1.0, x), page))
    assert data["arrays"][node_of(data, "x")["value"]]["shape"] == [0, 3]


def test_a_gradient_that_was_given(page):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.record():
        y = x * x
    seed = tg.tensor([1.0, 10.0])
    data = data_of(tg.explore(tg.explain(y, gradient=seed), page))
    assert array_of(data, data["seed"]).tolist() == [1, 10]
    assert array_of(data, node_of(data, "x")["gradient"]).tolist() == [2, 40]
    base = data["nudges"]["base"]
    assert base == 1 * 1 + 4 * 10


def test_second_order(page):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with tg.record():
        cubes = x**3
        (g,) = tg.grad(cubes.sum(), [x], create_graph=True)
        loss = (g * g).sum()
    data = data_of(tg.explore(loss, page))
    gradient = array_of(data, leaf_of(data)["gradient"])
    np.testing.assert_allclose(gradient, 36 * np.array([1.0, 8.0]))  # d (3x^2)^2


# -- formulas ------------------------------------------------------------------------


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


# -- unfolding -----------------------------------------------------------------------


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


# -- boxes ---------------------------------------------------------------------------


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


# -- nudges --------------------------------------------------------------------------


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


# -- words ---------------------------------------------------------------------------


def test_both_languages_have_the_same_keys():
    assert list(WORDS["en"]) == list(WORDS["zh"])


@pytest.mark.parametrize("key", WORDS["en"])
def test_both_languages_fill_in_the_same(key):
    found = [set(re.findall(r"\{(\w+)\}", WORDS[each][key])) for each in ("en", "zh")]
    assert found[0] == found[1]
    if key not in ("otherLanguage", "phase"):
        assert re.search("[\u4e00-\u9fff]", WORDS["zh"][key])
    assert WORDS["en"][key].strip()


def test_every_key_is_used_and_known():
    text = "\n".join(path.read_text("utf-8") for path in SCRIPTS)
    text += (PAGE / "page.html").read_text("utf-8")
    used = set(re.findall(r"\bt[n]?\(\s*\"(\w+)\"", text))
    used |= set(re.findall(r"(?:data-words|data-label)=\"(\w+)\"", text))
    known = set(WORDS["en"])
    assert used <= known
    quoted = set(re.findall(r"\"(\w+)\"", text)) | {"startStep", "seedStep", "endStep"}
    assert known <= used | quoted


def test_every_remark_of_the_library_is_translated():
    remarks = json.loads((PAGE / "remarks.json").read_text("utf-8"))
    notes = {each.note for each in [*FORMULAS.values(), CHECKPOINT]} - {""}
    assert notes | {*TERMS.values()} <= set(remarks)
    source = (PAGE.parent / "formulas.py").read_text("utf-8")
    assert "as the op's own source says it" in source


def test_a_page_has_the_remarks_that_it_needs(page):
    html = tg.explore(explain_lecture(), page).read_text("utf-8")
    text = next(t for a, t in Scripts(html).found if a.get("id") == "remarks")
    remarks = json.loads(text)
    assert "The lecture's example" in remarks
    assert len(remarks) < 8


# -- the scripts ---------------------------------------------------------------------


def test_modules_have_no_name_in_common():
    """They become one script."""
    names = []
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        found = re.findall(
            r"^(?:export )?(?:function|class|const|let) (\w+)", text, re.MULTILINE
        )
        names += found
    assert sorted(names) == sorted(set(names))


def test_the_script_is_all_of_the_modules():
    script = script_of("main.js")
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    for path in SCRIPTS:
        assert script.count(f"// ---- {path.name}\n") == 1
    for path in SCRIPTS:
        here = script.index(f"// ---- {path.name}")
        for other in re.findall(r'from "\./(\w+\.js)"', path.read_text("utf-8")):
            between = script.index(f"// ---- {other}") < here
            assert between or path.name in script  # (cycles are of functions only)


def test_modules_import_what_they_use():
    """Each is a module that could be loaded by itself."""
    exported = {}
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        pattern = r"^export (?:function|class|const) (\w+)"
        exported |= dict.fromkeys(re.findall(pattern, text, re.MULTILINE), path.name)
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        imports = {
            name.strip(): origin
            for names, origin in re.findall(
                r'^import \{([^}]*)\} from "\./(\S+)";', text, re.M
            )
            for name in names.split(",")
            if name.strip()
        }
        body = re.sub(r"^import [^;]*;", "", text, flags=re.MULTILINE)
        body = re.sub(r"/\*.*?\*/", "", re.sub(r"//.*", "", body), flags=re.DOTALL)
        for name, origin in imports.items():
            assert exported[name] == origin, (path.name, name)
            assert re.search(rf"\b{name}\b", body), (
                f"{path.name} imports {name} in vain"
            )


def test_what_is_asked_of_the_browser_is_old_enough():
    """ES2020, and CSS that Firefox and Safari had by 2022."""
    script = script_of("main.js")
    later = r"\.at\( replaceAll structuredClone hasOwn\b findLast \?\?= \|\|= &&= "
    later += r"^\s*#\w toSorted groupBy"
    for new in later.split(" "):
        assert not re.search(new, script), new
    style = (PAGE / "page.css").read_text("utf-8")
    for new in (
        "@layer",
        "@container",
        ":has(",
        "color-mix",
        "oklch",
        "dvh",
        "light-dark",
    ):
        assert new not in style


def test_text_is_never_parsed_as_html():
    for path in SCRIPTS:
        text = path.read_text("utf-8")
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )
        assert found == (["innerHTML"] if path.name == "dom.js" else []), path.name
