"""Pages: the file that `tg.explore` writes, and its numbers. (What a browser makes of
it is tested in tests/browser.)"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import strict_cupy
from explored import (
    MLP,
    Y_HAT,
    Scripts,
    Y,
    array_of,
    data_of,
    host,
    leaf_of,
    lecture,
    loop,
    node_of,
)

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining import page_data as page_data_module
from tinygrad_softmax.explaining.page_data import page_data
from tinygrad_softmax.explaining.page_writing import as_json, page_html
from tinygrad_softmax.explaining.programs import run_program

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def page(tmp_path) -> Path:
    return tmp_path / "graph.html"


# -- the file --------------------------------------------------------------------------


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


# -- what it may not do ----------------------------------------------------------------


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
    assert host(x.grad).tolist() == [5, 7]
    assert seen == []
    assert y.grad is None
    loss.backward()  # the graph is still there
    assert len(seen) == 1
    assert not np.array_equal(host(x.grad), [5, 7])


def test_it_is_loaded_when_it_is_first_named():
    code = "import sys, tinygrad_softmax as tg\n"
    code += "print(any('explaining' in name for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout == "False\n"


# -- errors ----------------------------------------------------------------------------


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


# -- its numbers -----------------------------------------------------------------------


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


@pytest.mark.double
def test_a_graph_on_a_gpu_has_the_same_page(page):
    """By the strict double of CuPy: nothing on the way takes its arrays for NumPy's."""
    with strict_cupy.strict_cuda():
        data = data_of(tg.explore(lecture("cuda"), page))
    np.testing.assert_allclose(
        array_of(data, node_of(data, "z")["gradient"]), Y_HAT - Y, atol=1e-15
    )
    assert data["boxes"][0]["differs"] < 1e-15
    assert node_of(data, "w")["id"] in data["nudges"]["cells"]


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


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (0, "0"),
        ([0, 2], "[0, 2]"),
        (([0, 2], slice(1, 2)), "([0, 2], 1:2)"),
    ],
)
def test_an_index_is_told(page, index, told):
    """Also 0, which equals False, and an array, which equals nothing."""
    x = tg.tensor(np.ones((3, 2)), requires_grad=True)
    data = data_of(tg.explore(tg.explain(lambda x: x[index].sum(), x), page))
    (taken,) = [node for node in data["nodes"] if node["op"] == "getitem"]
    assert taken["statics"] == [["index", told]]


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
