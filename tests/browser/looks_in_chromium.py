"""How pages look, in a real browser: nothing overlaps and nothing is cut off, on wide
and narrow screens, light and dark; accessibility, size and time."""

from __future__ import annotations

from itertools import pairwise

import chromium
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import tinygrad_softmax as tg

# -- how it looks ----------------------------------------------------------------------


def boxes_of(shown, selector):
    return shown.page.evaluate("selector => probes.boxes(selector)", selector)


def overlapping(boxes, slack=0.5):
    found = []
    for i, (name, left, top, right, bottom) in enumerate(boxes):
        for other, l2, t2, r2, b2 in boxes[:i]:
            across = min(right, r2) - max(left, l2)
            down = min(bottom, b2) - max(top, t2)
            if across > slack and down > slack:
                found.append((name, other))
    return found


@pytest.mark.parametrize("name", ["lecture", "mlp", "gpt", "loop"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nodes_do_not_overlap(show, name, locale):
    shown = show(name, locale=locale)
    for unfolded in (False, True):
        if unfolded:
            shown.do("page.toggleAll(true)")
            shown.do("probes.unfoldFused()")
        nodes = boxes_of(shown, "#graph .node .shape")
        assert len(nodes) > 3
        assert overlapping(nodes) == []
        assert shown.do("probes.outOfNodes()") == []


def test_a_frame_has_its_nodes_in_it_and_no_others(show):
    shown = show("gpt")
    shown.do("page.toggleAll(true)")
    assert shown.do("probes.misplaced()") == []


def test_edges_lead_from_left_to_right(show):
    for name in ("lecture", "mlp", "gpt", "loop"):
        shown = show(name)
        shown.do("page.toggleAll(true)")
        points = shown.do("probes.lines()")
        assert points
        for line in points:
            assert all(a[0] <= b[0] + 1e-6 for a, b in pairwise(line))


def test_edges_cross_no_node(show):
    for name in ("lecture", "mlp", "gpt"):
        shown = show(name)
        shown.do("page.toggleAll(true)")
        assert shown.do("probes.crossings()") == []


def test_the_message_covers_no_node_and_no_title(show):
    for name in ("lecture", "mlp", "gpt"):
        shown = show(name)
        shown.do("page.toggleAll(true)")
        shown.do("probes.unfoldFused()")
        seen = 0
        for place in range(shown.count()):
            shown.do(f"page.go({place})")
            # (In one go: the graph may be scrolling.)
            selector = "#graph .node .shape, #graph .message-mark .card, .fold > text"
            boxes = boxes_of(shown, selector)
            seen += shown.page.locator("#graph .message-mark .card").count()
            assert overlapping(boxes, 1) == [], (name, place)
        assert seen > 3


@pytest.mark.parametrize("name", ["lecture", "mlp", "gpt"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_screen(show, name, locale, width):
    """Nothing is wider than the screen but what scrolls by itself; nothing in a card
    overlaps or is cut off."""
    shown = show(name, locale=locale, width=width, height=740)
    for place in range(0, shown.count(), 1 if name == "lecture" else 4):
        shown.do(f"page.go({place})")
        assert shown.do("document.documentElement.scrollWidth") <= width
        assert shown.do("probes.cutOff()") == [], place
        assert overlapping(boxes_of(shown, "#step > *, #node > *")) == []
        assert overlapping(boxes_of(shown, ".card-part, .graph-part, header")) == []
        assert (
            overlapping(boxes_of(shown, ".controls *:not(svg):not(path):not(.buttons)"))
            == []
        )


def test_every_button_is_large_enough(show):
    shown = show("mlp", width=360)
    shown.press("ArrowRight", 5)
    for name, left, top, right, bottom in boxes_of(shown, "button"):
        if right > left:
            assert right - left >= 24, name
            assert bottom - top >= 24, name


def color_of(shown, selector, which="backgroundColor"):
    text = shown.do(f"getComputedStyle(document.querySelector('{selector}')).{which}")
    return [int(float(each)) for each in text[text.index("(") + 1 : -1].split(",")[:3]]


def test_dark_mode(show):
    light, dark = (show("lecture", color_scheme=each) for each in ("light", "dark"))
    assert min(color_of(light, "body")) > 200
    assert max(color_of(dark, "body")) < 60
    assert max(color_of(dark, "body", "color")[0:1]) > 180


def test_reduced_motion(show):
    for motion, expected in (("reduce", "none"), ("no-preference", "flow")):
        shown = show("lecture", reduced_motion=motion)
        shown.do("page.go(5)")
        style = (
            "getComputedStyle(document.querySelector('.edge.backward')).animationName"
        )
        assert shown.do(style) == expected


def test_print_and_zoom_do_not_break(show):
    shown = show("gpt")
    for button in ("smaller", "larger", "larger", "fit"):
        shown.click(f"#{button}")
        assert 0.19 < shown.do("page.graph.zoom") <= 2
    width = shown.do(
        "document.querySelector('#graph svg').getBoundingClientRect().width"
    )
    assert width <= shown.do("document.getElementById('graph').clientWidth") or (
        shown.do("page.graph.zoom") == 0.2
    )


# -- accessibility, size and time ------------------------------------------------------


@pytest.mark.parametrize("name", ["lecture", "mlp", "gpt", "loop"])
@pytest.mark.parametrize(
    "options", [{}, {"color_scheme": "dark"}, {"width": 360}, {"locale": "zh-CN"}]
)
def test_axe_finds_nothing(show, name, options):
    shown = show(name, **options)
    last = shown.count() - 1
    places = {0, 2, last // 2, last // 2 + 1, last}
    for place in sorted(places):
        shown.do(f"page.go({place})")
        if place == last // 2:
            shown.do("probes.unfoldFused()")
        found = Axe().run(shown.page)
        assert found.violations_count == 0, found.generate_report()


def test_every_colour_of_a_cell_can_be_read(browser, tmp_path):
    """All nine, in both schemes: axe measures the contrast."""
    values = np.array([[-4.0, -3.0, -2.0, -1.0, 0.0], [4.0, 3.0, 2.0, 1.0, np.nan]])
    x = tg.tensor(values, requires_grad=True)
    path = tg.explore(
        tg.explain(lambda x: (x * 1.0).sum(), x), tmp_path / "colors.html"
    )
    for scheme in ("light", "dark"):
        shown = chromium.Shown(browser, path, color_scheme=scheme)
        classes = shown.do(
            "[...document.querySelectorAll('#step td')].map((e) => e.classList[1])"
        )
        assert len(set(classes)) == 10
        found = Axe().run(shown.page)
        assert found.violations_count == 0, found.generate_report()
        shown.close()


def test_a_part_of_a_large_array_says_which(browser, tmp_path):
    """Of more than two axes one matrix is shown, of the others the whole."""
    explanation = tg.explain(
        lambda x, y: (x[0, 0] + y).sum(),
        tg.tensor(np.ones((2, 3, 9, 8)), requires_grad=True),
        tg.tensor(np.ones((9, 8)), requires_grad=True),
    )
    path = tg.explore(explanation, tmp_path / "page.html")
    for locale, said in (("en-US", "Only the part at"), ("zh-CN", "上面只显示")):
        shown = chromium.Shown(browser, path, locale=locale)
        (text,) = shown.page.locator("#step .part").all_inner_texts()
        assert text.startswith(f"{said} [0, 0, :, :]")
        assert "432" in text
        shown.close()


def test_the_lectures_page_is_small(pages):
    assert pages["lecture"][1].stat().st_size <= 150_000


def test_300_nodes_are_drawn_within_a_second(show, pages):
    """As it opens, and with all of it unfolded. (The best of three: the machine may be
    busy.)"""
    explanation, _ = pages["loop"]
    assert len(explanation.entries) >= 300
    opened, unfolded = [], []
    for _ in range(3):
        shown = show("loop")
        opened.append(int(shown.do("document.body.dataset.drawn")))
        unfolded.append(shown.do("probes.timeToUnfold()"))
        assert shown.page.locator("#graph .node").count() >= 300
    assert min(opened) < 1000
    assert min(unfolded) < 1000


def test_pages_are_the_same_twice(pages, tmp_path):
    explanation, path = pages["lecture"]
    again = tg.explore(explanation, tmp_path / "again.html")
    assert again.read_bytes() == path.read_bytes()
