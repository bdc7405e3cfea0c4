"""How pages are used, in a real browser: languages, folding, the keyboard."""

from __future__ import annotations

import chromium
import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn

ENGLISH_WOULD_BE_IN = [
    "#step h3",
    "#step p.quiet",
    "#step > p:not(.source):not(.formula)",
    "#node h3",
    "#node p.quiet",
    ".where li",
    ".legend",
]


# -- languages -------------------------------------------------------------------------


def test_the_language_is_the_browsers(show):
    assert show("lecture", locale="zh-CN").text("#graph-heading") == "计算图"
    assert show("lecture", locale="de-DE").text("#graph-heading") == "The graph"


def test_the_toggle_keeps_the_step(show):
    """There and back at every step, and the numbers stay."""
    shown = show("lecture")
    shown.do("page.toggle('u5')")
    for place in range(shown.count()):
        shown.do(f"page.go({place})")
        heading, selected = shown.text("#step-heading"), shown.do("page.state.selected")
        before = shown.maps("#step")
        shown.click("#language")
        assert shown.do("document.documentElement.lang") == "zh-Hans"
        assert shown.place() == place
        assert shown.text("#step-heading") != heading
        after = shown.maps("#step")
        assert len(after) == len(before)
        for one, two in zip(before, after, strict=True):
            np.testing.assert_array_equal(one[1], two[1])
            assert one[2] == two[2]
        assert shown.do("page.state.selected") == selected
        assert shown.do("document.activeElement.id") == "language"
        shown.click("#language")
        assert shown.text("#step-heading") == heading


def test_chinese_has_no_english_left(show):
    """But for names, code and references."""
    shown = show("gpt", locale="zh-CN")
    for _ in range(shown.count()):
        for part in ENGLISH_WOULD_BE_IN:
            for text in shown.page.locator(part).all_inner_texts():
                chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
                assert chinese or "=" in text or not text.strip(), text
        shown.press("ArrowRight")


def test_what_is_kept_is_one_sentence_in_each_language(show):
    for locale, said in (
        ("en-US", "out 32 B, until backward has passed t"),
        ("zh-CN", "out 32 B\uff0c保存到反向传播经过 t 为止"),
    ):
        shown = show("lecture", locale=locale)
        shown.do("page.toggle('u5')")
        shown.press("End")
        shown.do("page.select('5.2')")
        assert shown.page.locator("#node .kept li").all_inner_texts() == [said]


def test_a_module_that_is_gone_has_a_chinese_name(browser, tmp_path):
    """The graph outlives a model that was made in the function."""
    explanation = tg.explain(lambda: nn.Linear(2, 2)(tg.ones((1, 2))).sum())
    path = tg.explore(explanation, tmp_path / "page.html")
    for locale, name in (("en-US", "a module"), ("zh-CN", "一个模块")):
        shown = chromium.Shown(browser, path, locale=locale)
        title = shown.page.text_content("#graph .frame text")
        assert title == name, title
        shown.close()


# -- folding ---------------------------------------------------------------------------


def test_the_fused_loss_unfolds_and_folds_with_the_same_numbers(show):
    shown = show("lecture")
    shown.press("End")
    shown.do("page.select('4')")  # z
    before = shown.maps("#node")
    shown.click(".node[data-id='5'] .icon")
    assert shown.page.locator("#graph .frame.fused").count() == 1
    assert shown.page.locator(".node[data-id='5']").count() == 0
    shown.do("page.select('4')")
    unfolded = shown.maps("#node")
    for one, two in zip(before, unfolded, strict=True):
        np.testing.assert_allclose(one[1], two[1], atol=1e-15)
    shown.click("#graph .frame.fused .fold")
    shown.do("page.select('4')")
    for one, two in zip(before, shown.maps("#node"), strict=True):
        np.testing.assert_array_equal(one[1], two[1])


def test_folding_stays_at_the_same_moment(show):
    """Nothing that was known is forgotten, and nothing becomes known by it, but for
    what is inside the box."""
    shown = show("lecture")
    count = shown.count()
    for place in range(count):
        shown.do(f"page.go({place})")
        known = shown.do("probes.labels()")
        shown.do("page.toggle('u5')")
        shown.do("page.toggle('u5')")
        assert shown.place() == place
        again = shown.do("probes.labels()")
        assert known == again


def test_modules_fold_into_one_box(show, pages):
    explanation, _ = pages["gpt"]
    shown = show("gpt")
    shown.click("#close-all")
    nodes = shown.page.locator("#graph .node")
    few = nodes.count()
    assert few < 8
    steps = shown.count()
    shown.click("#open-all")
    ops_and_leaves = len(explanation.entries)
    assert nodes.count() >= ops_and_leaves
    assert shown.count() == 3 + len(explanation.ops) + len(explanation.messages)
    shown.click("#close-all")
    assert (nodes.count(), shown.count()) == (few, steps)


def test_every_box_folds_and_unfolds_by_itself(show):
    shown = show("gpt")
    shown.do("page.toggleAll(true)")
    boxes = shown.do("page.model.data.boxes.map((box) => box.id)")
    for box in boxes:
        shown.do(f"page.toggle('{box}', undefined)")
        assert shown.page.locator(f".frame [data-box='{box}']").count() == (
            1 if box.startswith("u") else 0
        )
        shown.press("End")
        shown.press("Home")
        shown.do(f"page.toggle('{box}')")


def test_a_long_loop_is_folded(show):
    shown = show("loop")
    assert shown.page.locator("#graph .node").count() < 20
    assert "98 more turns" in shown.text("#graph")
    assert shown.count() < 60


# -- the keyboard ----------------------------------------------------------------------


def focused(shown):
    return shown.do("probes.focused()")


def test_all_of_it_by_keyboard_alone(show):
    """From the top: the language, the steps, the graph, unfolding, a cell's nudge."""
    shown = show("lecture")
    seen = []
    for _ in range(60):
        shown.press("Tab")
        seen.append(focused(shown))
        if seen[-1] == "BODY":
            break
    expected = ["language", "first", "back", "next", "last", "slider"]
    places = [seen.index(each) for each in expected]
    assert places == sorted(places)
    assert "graph" in seen
    assert any(each == "5" for each in seen)  # the selected node
    shown.page.focus("#language")
    shown.press("Enter")
    assert shown.do("document.documentElement.lang") == "zh-Hans"
    shown.press("Enter")
    shown.page.focus("#next")
    shown.press("Enter", 3)
    assert (shown.place(), focused(shown)) == (3, "next")
    shown.press("ArrowLeft")
    shown.press("ArrowRight")
    assert shown.place() == 3
    shown.page.focus(".node[data-id='5']")
    shown.press("Enter")
    assert focused(shown) == "u5"
    assert shown.page.locator("#graph .frame.fused").count() == 1
    shown.press("Enter")
    assert shown.page.locator("#graph .frame.fused").count() == 0
    assert focused(shown) == "5"


def test_arrow_keys_go_through_the_graph(show):
    shown = show("lecture")
    shown.page.focus(".node[tabindex='0']")
    first = focused(shown)
    shown.press("ArrowUp")
    other = focused(shown)
    assert other != first
    assert shown.do("page.state.selected") == other
    shown.press("ArrowDown")
    assert focused(shown) == first


def test_arrow_keys_go_through_a_heat_map(show):
    shown = show("lecture")
    shown.do("page.select('1')")
    shown.page.focus("#node td[tabindex='0']")
    shown.press("ArrowDown")
    shown.press("ArrowRight")
    assert shown.do("document.activeElement.dataset.flat") == "3"
    assert shown.place() == 0  # no step
    assert "[1, 1] = 0.5" in shown.text("#node .readout")
    shown.press("Enter")
    assert "w[1, 1] + 0.01" in shown.text(".slopes")


def test_numbers_on_hover_and_on_focus(show):
    shown = show("lecture")
    shown.press("ArrowRight", 2)
    shown.page.hover("#step td[data-index='[1, 0]'] >> nth=0")
    assert "[1, 0] = 1" in shown.text("#step .readout >> nth=0")


def test_the_slider_goes_to_a_step(show):
    shown = show("lecture")
    shown.page.focus("#slider")
    shown.press("ArrowRight", 4)
    assert shown.place() == 4
    assert shown.do(
        "document.getElementById('slider').getAttribute('aria-valuetext')"
    ) == (shown.text("#step-heading"))


def test_the_ledger_goes_to_a_step(show):
    shown = show("lecture")
    shown.click("#ledger li:nth-child(6) button")
    assert shown.place() == 5
    assert (
        shown.do("document.querySelectorAll('#ledger [aria-current=step]').length") == 1
    )
    assert "[0.3, \u22120.8, 0.1, 0.4]" in shown.text("#ledger li:nth-child(6)")
