"""The static drawing of a graph, and what a notebook shows of a tensor."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from xml.dom.minidom import parseString

import numpy as np
import pytest
import strict_cupy
from explain_tools import Net, leaf, moved
from explored import MLP, lecture, loop

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining import drawing as drawing_module
from tinygrad_softmax.explaining.collecting import collect_forward
from tinygrad_softmax.explaining.drawing import MOST, as_file, as_svg, draw, drawing_svg
from tinygrad_softmax.explaining.drawing_cells import (
    color_of,
    picture,
    sampled,
    scalar_text,
)
from tinygrad_softmax.explaining.drawing_layout import Spot, lay_out

ROOT = Path(__file__).resolve().parent.parent


def by_hand(device="cpu"):
    z = leaf(np.log([0.3, 0.2, 0.1, 0.4]), device)
    with tg.record():
        t = tg.exp(z)
        y_hat = t / t.sum()
        loss = -tg.log(y_hat[1])
    return tg.explain(loss)


def used_by_all_later(turns=60):
    """Every op goes into all later ones: as many edges as there can be."""
    kept = [leaf([0.5 + i], "cpu") for i in range(3)]
    with tg.record():
        for _ in range(turns):
            kept.append(tg.sin(tg.concatenate(kept).sum(keepdims=True)))
        loss = kept[-1].sum()
    return tg.explain(loss)


def many_leaves(count=2000):
    with tg.record():
        loss = tg.concatenate([leaf([1.0], "cpu") for _ in range(count)]).sum()
    return tg.explain(loss)


class Deep(nn.Module):
    """Modules in modules, with a connection past each of them."""

    def __init__(self):
        blocks = [
            nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Dropout(0.5))
            for _ in range(30)
        ]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def deep():
    model = Deep()
    return tg.explain(lambda x: model(x).sum(), tg.ones((2, 3)))


GRAPHS = {
    "by hand": by_hand,
    "lecture": lecture,
    "mlp": lambda: MLP().explanation,
    "deep": deep,
    "loop": lambda: loop(1500),
    "dense": used_by_all_later,
    "leaves": many_leaves,
    "one leaf": lambda: tg.explain(leaf(2.0, "cpu")),
}


@pytest.fixture(scope="module", params=GRAPHS)
def explanation(request):
    return GRAPHS[request.param]()


# -- where things stand ----------------------------------------------------------------


def apart(a, b):
    return (
        a.x + a.width <= b.x
        or b.x + b.width <= a.x
        or a.y + a.height <= b.y
        or b.y + b.height <= a.y
    )


def test_no_box_lies_on_another_or_outside(explanation):
    drawing = draw(explanation)
    assert len(drawing.boxes) == len(drawing.spots) <= MOST
    for one, two in combinations(drawing.spots, 2):
        assert apart(one, two)
    for spot in drawing.spots:
        assert 0 <= spot.x <= spot.x + spot.width <= drawing.width
        assert 0 <= spot.y <= spot.y + spot.height <= drawing.height + 1e-6


def test_edges_go_from_left_to_right_and_past_boxes(explanation):
    drawing = draw(explanation)
    for links in drawing.links:
        start = drawing.spots[links.source]
        left, middle = start.x + start.width, start.y + start.height / 2
        ends = {(x, y) for _, (x, y) in links.pieces}
        starts = {piece[0] for piece in links.pieces}
        assert (left, middle) in starts
        assert starts - {(left, middle)} <= ends  # the pieces hang together
        for (x0, y0), (x1, y1) in links.pieces:
            assert x0 < x1
            for spot in drawing.spots:
                inside = spot.x < x1 and x0 < spot.x + spot.width
                low, high = sorted((y0, y1))
                assert not (inside and low < spot.y + spot.height and spot.y < high + 1)
        for tip in links.tips:
            assert tip in ends
            assert any(abs(s.x - tip[0]) < 1e-9 for s in drawing.spots)


def test_every_edge_of_a_small_graph_is_drawn():
    drawing = draw(by_hand())
    names = [box.name for box in drawing.boxes]
    assert names == ["z", "t", "sum", "y_hat", "getitem", "log", "loss"]
    middles = {(s.x, s.y + s.height / 2): names[i] for i, s in enumerate(drawing.spots)}
    found = {
        (names[each.source], middles[tip])
        for each in drawing.links
        for tip in each.tips
    }
    assert found == {
        ("z", "t"), ("t", "sum"), ("t", "y_hat"), ("sum", "y_hat"),
        ("y_hat", "getitem"), ("getitem", "log"), ("log", "loss"),
    }  # fmt: skip
    assert names[drawing.root] == "loss"


def test_leaves_stand_beside_what_uses_them_first():
    drawing = draw(MLP().explanation)
    layers = {
        b.name: s.layer for b, s in zip(drawing.boxes, drawing.spots, strict=True)
    }
    assert layers["0.weight"] == layers["linear"] - 1 == 0
    assert layers["2.weight"] == layers["logits"] - 1 == 2
    assert layers["target"] == layers["loss"] - 1 == 3


def test_edges_that_need_not_cross_do_not():
    spots = [Spot(100.0, 70.0) for _ in range(10)]
    *_, links = lay_out(spots, [(i, 9 - i) for i in range(5)])
    pieces = [piece for each in links for piece in each.pieces]
    assert len(pieces) == 5
    assert all(abs(start[1] - end[1]) < 1e-6 for start, end in pieces)


def test_leaves_give_way_so_that_a_chain_of_ops_is_level():
    drawing = draw(MLP().explanation)
    pairs = zip(drawing.boxes, drawing.spots, strict=True)
    middles = [spot.middle for box, spot in pairs if box.kind == "op"]
    assert len(middles) == 4
    assert max(middles) - min(middles) < 15


def test_overlaps_are_seen():
    drawing = draw(by_hand())
    one, two = drawing.spots[:2]
    two.x, two.y = one.x + 5, one.y + 5
    assert not apart(one, two)


# -- what is shown ---------------------------------------------------------------------


def test_a_small_graph_is_shown_whole(device):
    svg = drawing_svg(by_hand(device))
    tree = parseString(svg).documentElement
    assert tree.getAttribute("role") == "img"
    title = "The graph of loss, from left to right: 6 ops, 1 leaf"
    assert tree.getAttribute("aria-label") == title
    assert f"<title>{title}</title>" in svg
    for name in ("z", "t", "sum", "y_hat", "getitem", "log", "loss"):
        assert svg.count(f'y="20">{name}</text>') == 1
    assert ">exp \u00b7 (4)</text>" in svg
    assert ">1.609</text>" in svg
    assert ">-5</text>" in svg
    assert "gradient: [0.3, -0.8, 0.1, 0.4]" in svg
    assert 'class="hollow"' not in svg


def test_leaves_constants_and_folded_modules(device):
    net = moved(Net(), device)
    explanation = tg.explain(lambda x: net(x).sum(), tg.ones((2, 3), device=device))
    kinds = {box.name: box.kind for box in draw(explanation).boxes}
    assert kinds["head.weight"] == "leaf"
    assert kinds["x"] == "constant"
    large = deep()
    boxes = draw(large).boxes
    folded = [box for box in boxes if box.kind == "folded"]
    assert folded
    assert sum(len(b.numbers) for b in boxes if b.kind in ("op", "folded")) == len(
        large.ops
    )
    # What goes into folded ops alone is folded with them.
    ops = {n for box in boxes if box.kind == "op" for n in box.numbers}
    users = [box.users for box in boxes if box.kind in ("leaf", "constant")]
    assert users
    assert all(ops.intersection(each) for each in users)
    assert "folded" in drawing_svg(large).partition("</title>")[0]


def test_numbers_are_no_boxes(device):
    w = leaf([1.0, 2.0], device)
    three = tg.tensor(3.0, tg.float64, device)
    explanation = tg.explain(lambda w: (w * three * 2.0).sum(), w)
    assert [box.kind for box in draw(explanation).boxes] == ["leaf", "op", "op", "op"]


def test_equal_names_are_boxes_of_their_own():
    x = leaf([1.0, 2.0], "cpu")
    with tg.record():
        for _ in range(2):
            x = tg.tanh(x)
        loss = x.sum()
    drawing = draw(tg.explain(loss))
    assert [box.name for box in drawing.boxes[1:]] == ["x", "x", "loss"]
    assert [len(each.tips) for each in drawing.links] == [1, 1, 1]


def test_what_was_not_computed_is_dashed_and_never_0(device):
    w = leaf([2.0, 3.0], device)
    loss = (w.sum() * 3.0 - 1.0) * 2.0
    svg = drawing_svg(tg.explain(loss))
    # (No rule kept the results of sum, multiply and subtract.)
    assert svg.count('class="hollow"') == 3
    assert svg.count("value: not recorded") == 3
    assert not re.search(r">-?0(\.0)?</text>", svg)


def test_a_gradient_that_is_0_says_so(device):
    w = leaf(2.0, device)
    with tg.record():
        loss = w * 0.0
    svg = drawing_svg(tg.explain(loss))
    assert ">0</text>" in svg
    assert 'class="hollow"' not in svg


def test_the_size_is_bounded(explanation):
    svg = drawing_svg(explanation)
    parseString(svg)
    assert len(svg) < 150_000
    assert svg.count("<title>") - 1 == len(draw(explanation).boxes)


def test_many_leaves_become_one_box():
    boxes = draw(many_leaves()).boxes
    (more,) = [box for box in boxes if box.kind == "more"]
    shown = sum(box.kind == "leaf" for box in boxes)
    assert more.name == f"{2000 - shown:,} more"
    assert len(more.numbers) == 2000 - shown


EVIL = ["</svg><script>alert(1)</script>", '"&<>\x00\x08', "\ud800", "]]>"]


@pytest.mark.parametrize("text", [*EVIL, "z\u0308\ufffe"])
def test_names_are_escaped(text):
    explanation = by_hand()
    for entry in explanation.entries:
        entry.label = text
    explanation.title = text
    svg = drawing_svg(explanation)
    tree = parseString(svg.encode())
    assert not tree.getElementsByTagName("script")
    assert len(tree.getElementsByTagName("rect")) == 7


def test_long_and_chinese_names_stay_inside_their_boxes():
    explanation = by_hand()
    explanation[2].label = "layers.0." + "x" * 50 + ".weight"
    explanation[3].label = "概率" * 30
    drawing = draw(explanation)
    found = dict(re.findall(r'class="name" x="12" y="20">(([^<]*))<', as_svg(drawing)))
    (path,) = [name for name in found if name.endswith(".weight")]
    assert path.startswith("\u2026")
    (chinese,) = [name for name in found if "概" in name]
    assert len(chinese) == drawing_module.NAME
    for box, spot in zip(drawing.boxes, drawing.spots, strict=True):
        if "概" in box.name:
            assert spot.width >= 2 * 7.6 * (drawing_module.NAME - 1)


def test_it_has_a_dark_half_and_asks_for_nothing():
    svg = drawing_svg(lecture())
    assert "@media (prefers-color-scheme: dark)" in svg
    assert "url(" not in svg
    assert "http" not in svg
    assert as_file(svg).count("http") == 1
    for rule in re.findall(r"^[^{}@\n]+(?= \{)", drawing_module.STYLE, re.MULTILINE):
        assert rule.strip().startswith(".tg-drawing")  # nothing else of a page changes


def test_a_notebook_shows_the_drawing_above_the_ledger(device):
    html = by_hand(device)._repr_html_()
    assert 0 < html.index("<svg") < html.index("Leaves and their gradients")


# -- cells -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(3,), (5, 7), (4, 10), (2, 3, 4), (1000, 1000), (1,)]
)
def test_samples_are_elements_of_the_array(shape, device):
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    found = sampled(tg.tensor(values, tg.float64, device).array)
    assert found.shape[0] <= 4
    assert found.shape[1] <= 10
    assert found.ravel()[0] == 0
    assert np.isin(found, values).all()
    assert (np.diff(found.ravel()) > 0).all()
    if values.size <= 10:
        np.testing.assert_array_equal(found.ravel(), values.ravel()[: found.size])


def test_samples_of_nothing_and_of_one():
    assert sampled(np.zeros((0, 3))).shape == (0, 0)
    assert sampled(np.float32(2.0)).tolist() == [[2.0]]
    assert scalar_text(np.array(-0.25), 6) == "-0.25"
    assert scalar_text(np.array(-1.23456e-7), 6) == "-1e-07"
    assert scalar_text(np.array([1.0, 2.0]), 6) == ""


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 2, 10)])
def test_a_picture_has_each_element_once_in_its_color(shape):
    values = np.random.default_rng(3).integers(-2, 3, shape).astype(np.float64)
    found: dict[tuple[int, int], list[str]] = {}
    for color, path in re.findall(
        r'class="(\w+)" d="(M[^"]+)"', picture(values, 90, 36)
    ):
        for x, y, width in re.findall(r"M([\d.]+),([\d.]+)h([\d.]+)v9h", path):
            for i in range(int(float(width) / 9)):
                place = int(float(y) / 9), int(float(x) / 9) + i
                found.setdefault(place, []).append(color)
    rows = values.reshape(-1, shape[-1])
    top = np.abs(values).max()
    assert found == {(i, j): [color_of(x, top)] for (i, j), x in np.ndenumerate(rows)}


def test_colors():
    numbers = [4.0, 1.0, 0.1, 0.0, -4.0, -0.1, np.nan, np.inf]
    found = [color_of(x, 4.0) for x in numbers]
    assert found == ["p4", "p1", "p1", "zero", "n4", "n1", "odd", "odd"]


# -- tensors ---------------------------------------------------------------------------


def test_a_tensor_shows_its_values(device):
    x = tg.tensor([[1.5, -2.0], [0.0, 1e-7]], device=device)
    html = x._repr_html_()
    cells = re.findall("<td>(.*?)</td>", html)
    assert cells == ["1.5", "-2", "0", "1e-07"]
    assert f"float32 \u00b7 2\u00d72 \u00b7 {x.device}<" in html
    assert "<svg" not in html
    assert "requires_grad" in x.requires_grad_()._repr_html_()


def test_a_large_tensor_shows_its_corners(device):
    x = tg.arange(10_000, device=device).reshape(100, 100)
    html = x._repr_html_()
    rows = re.findall("<tr>(.*?)</tr>", html)
    cells = [re.findall("<td>(.*?)</td>", row) for row in rows]
    assert cells[0] == ["0", "1", "2", "\u22ef", "97", "98", "99"]
    assert cells[-1][-1] == "9999"
    assert len(cells) == 7
    assert set(cells[3]) == {"\u22ee"}
    assert "the first of 6" in tg.ones((2, 3, 2, 2), device=device)._repr_html_()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (3, 0), (2,), (12, 12), (2, 2, 2, 2)]
)
def test_any_tensor_is_shown(dtype, shape, device):
    x = tg.ones(shape, device=device).astype(getattr(tg, dtype))
    html = x._repr_html_()
    assert dtype in html
    assert ("no elements" in html) == (x.size == 0)
    with tg.no_grad():
        assert x._repr_html_() == html
    floats = tg.ones(shape, device=device).requires_grad_()
    assert "<svg" in (floats * 2.0)._repr_html_()


def test_a_computed_tensor_shows_its_graph_without_a_gradient(device):
    w = leaf([2.0, 3.0], device)
    calls = []
    w.register_hook(lambda g: calls.append(g))
    loss = (w * w).sum()
    html = loss._repr_html_()
    parseString(re.search("<svg.*</svg>", html, re.DOTALL).group())
    assert ">multiply</text>" in html
    assert "value: not recorded" in html
    assert "gradient: not computed" in html
    assert not calls
    assert w.grad is None
    notes = {entry.gradient_note for entry in collect_forward(loss).entries}
    assert notes == {"not computed"}
    loss.backward()  # the graph is still there
    np.testing.assert_array_equal(w.grad.numpy(), [4.0, 6.0])


def test_what_was_recorded_is_drawn():
    w = leaf([2.0, 3.0], "cpu")
    with tg.record():
        square = w * w
        loss = square.sum()
    html = loss._repr_html_()
    assert ">square</text>" in html
    assert "value: [4, 9]" in html
    assert "hollow" not in html.replace(".hollow", "")


def test_a_freed_graph_says_so(device):
    w = leaf([2.0, 3.0], device)
    shared = w * w
    loss, other = shared.sum(), shared.mean()
    loss.backward()
    assert "its graph was freed by backward" in loss._repr_html_()
    assert "<svg" not in loss._repr_html_()
    assert "<svg" in other._repr_html_()  # what is left of it
    assert "image/svg+xml" not in loss._repr_mimebundle_()


def test_a_long_graph_is_cut(device):
    h = x = leaf([1.0, 2.0], device)
    for _ in range(10_000):
        h = h * 0.9 + 0.1
    html = h._repr_html_()
    assert "earlier \u00b7 (2)" in html
    assert len(html) < 20_000
    assert x.grad is None


def test_a_mime_bundle_has_what_is_asked_for(device):
    loss = (leaf([2.0], device) * 2.0).sum()
    bundle = loss._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/svg+xml"}
    assert bundle["text/plain"] == repr(loss)
    svg = parseString(bundle["image/svg+xml"]).documentElement
    assert svg.namespaceURI == "http://www.w3.org/2000/svg"
    only = loss._repr_mimebundle_(include={"text/plain", "image/png"})
    assert set(only) == {"text/plain"}
    rest = loss._repr_mimebundle_(exclude={"image/svg+xml"})
    assert set(rest) == {"text/plain", "text/html"}
    assert "<table" in nn.Linear(2, 1).weight._repr_html_()


@pytest.mark.double
def test_a_tensor_on_a_gpu_is_fetched_once_and_its_graph_not_at_all():
    with strict_cupy.strict_cuda() as cuda:
        w = leaf([[2.0, 3.0], [4.0, 5.0]], "cuda")
        x = tg.tensor([[1.0, 0.5], [2.0, 0.0]], tg.float64, "cuda")
        with tg.record():
            loss = tg.exp(w * x).sum()
        with cuda.counting() as printing:
            repr(loss)
        with cuda.counting() as shown:
            html = loss._repr_html_()
        assert len(printing.downloads) == len(shown.downloads) == 1
        assert len(shown.waits) == len(printing.waits)
        assert not shown.uploads
        assert not shown.launches
    assert ">exp</text>" in html
    assert ">constant \u00b7 2\u00d72</text>" in html
    assert "no value was fetched from cuda:0" in html
    assert html.count('class="hollow"') == 5


@pytest.mark.double
def test_an_explanation_on_a_gpu_is_drawn_as_on_the_cpu():
    on_the_cpu = drawing_svg(MLP().explanation)
    with strict_cupy.strict_cuda():
        assert drawing_svg(MLP("cuda").explanation) == on_the_cpu


def test_nothing_is_imported_before_a_notebook_asks():
    code = """
import sys
import tinygrad_softmax as tg
x = tg.ones(2)
repr(x)
print("tinygrad_softmax.explaining" in sys.modules)
x._repr_html_()
print("tinygrad_softmax.explaining" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True,
                         text=True, check=True)  # fmt: skip
    assert run.stdout.split() == ["False", "True"]


def test_ops_stay_where_it_is_leaves_that_are_too_many():
    with tg.record():
        h = tg.concatenate([leaf([1.0], "cpu") for _ in range(60)])
        for op in (tg.sin, tg.exp, tg.tanh, tg.square, tg.sqrt):
            h = op(h)
        loss = h.sum()
    names = [box.name for box in draw(tg.explain(loss)).boxes if box.kind == "op"]
    assert len(names) == 7
