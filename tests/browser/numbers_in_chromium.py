"""Every number on the pages that `tg.explore` writes, in a real browser: step by step,
against the library's, the lecture's and NumPy's.

`scripts/test --full` runs the files named *_in_chromium.py; so does `scripts/test
tests/browser/numbers_in_chromium.py` where Chromium and the extra `browser` are.
"""

from __future__ import annotations

import numpy as np
import pytest
from explored import MLP, Y_HAT, A, Y

import tinygrad_softmax as tg

D_Z = Y_HAT - Y


def host(value) -> np.ndarray:
    return tg.asarray(value).numpy()


def as_seen(value) -> np.ndarray:
    """Of an array what a heat map shows of it, in order: all, or the corners."""
    array = host(value)
    if array.size <= 64:
        return array.ravel()
    matrix = array.reshape(1, -1) if array.ndim < 2 else array[(0,) * (array.ndim - 2)]
    rows, columns = (
        [*range(n)] if n <= 6 else [0, 1, 2, n - 3, n - 2, n - 1] for n in matrix.shape
    )
    return matrix[np.ix_(rows, columns)].ravel()


def assert_same(shown: tuple, expected) -> None:
    """The numbers behind the cells are the array's to the last bit, and what is written
    in them is those numbers, rounded."""
    name, values, texts = shown
    wanted = as_seen(expected)
    assert values.shape == wanted.shape, name
    np.testing.assert_array_equal(values.astype(wanted.dtype), wanted, err_msg=name)
    columns = host(expected).shape[-1:] or (1,)
    digits = 5.1e-2 if 6 < columns[0] <= 8 else 5.1e-3
    for value, text in zip(values, texts, strict=True):
        if text:
            written = float(text.replace("\u2212", "-"))
            assert written == pytest.approx(value, rel=digits)


# -- every step ------------------------------------------------------------------------


def steps_of(explanation, unfolded=None):
    """What the page must show, step by step: the kind, the explanation that it is of
    (the unfolding's own, of a step inside one), and the entry or message."""
    inner = None if unfolded is None else explanation.unfold(unfolded)
    yield "start", explanation, None
    for entry in explanation.ops:
        if entry.number == unfolded:
            yield from (("forward", inner, each) for each in inner.ops)
        else:
            yield "forward", explanation, entry
    yield "seed", explanation, None
    done = False
    for message in explanation.messages:
        if message.source != unfolded:
            yield "backward", explanation, message
        elif not done:
            done = True
            yield from (("backward", inner, each) for each in inner.messages)
    yield "end", explanation, None


def expected_maps(kind, explanation, what):
    """The arrays that the story of a step shows, in order."""
    if kind == "forward":
        seen, found = set(), []
        for each in what.inputs:
            array = each.value
            if each.entry in explanation.outside:  # a copy, of the array outside
                array = explanation.parent[0][explanation.outside[each.entry]].value
            if not getattr(array, "shape", ()) and each.entry is None:
                continue
            key = each.entry if each.entry is not None else ("constant", id(array))
            if key not in seen:
                seen.add(key)
                found.append(array)
        return [*found, what.value]
    if kind != "backward":
        return None
    g = explanation[what.source].gradient
    found = [g]
    if not (host(g).size > 64 and same_array(g, what.raw)):
        found.append(what.raw)
    if what.summed_axes:
        found.append(what.arrived)
    if what.before is not None:
        found += [what.before, what.arrived, what.after]
    return found


def same_array(a, b) -> bool:
    a, b = host(a), host(b)
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b)


def walk(shown, explanation, unfolded=None, mid_way=lambda place: None) -> int:
    """Step through the whole page with the right arrow key."""
    shown.press("Home")
    steps = list(steps_of(explanation, unfolded))
    outside = {m.target for m in explanation.messages if m.source == unfolded}
    assert shown.count() == len(steps)
    for place, (kind, of, what) in enumerate(steps):
        assert shown.place() == place
        assert shown.do("document.body.dataset.phase") == kind
        expected = expected_maps(kind, of, what)
        if expected is not None:
            maps = shown.maps("#step")
            assert len(maps) == len(expected), (place, [name for name, _, _ in maps])
            for found, array in zip(maps, expected, strict=True):
                if kind == "backward" and what.source in outside and of is explanation:
                    # What the unfolded steps sent, in float64, is the fused op's sum
                    # to the rounding of the fused op's dtype.
                    digits = np.finfo(host(array).dtype).eps
                    np.testing.assert_allclose(
                        found[1], as_seen(array), rtol=8 * digits, atol=2 * digits
                    )
                else:
                    assert_same(found, array)
        if kind == "forward":
            assert_same(shown.maps("#node")[0], what.value)
        if kind == "backward" and what.target not in of.outside:
            node = shown.maps("#node")[1]  # the sum so far
            assert_same(node, what.after)
        mid_way(place)
        shown.press("ArrowRight")
    assert shown.place() == len(steps) - 1
    return len(steps)


@pytest.mark.parametrize("name", ["lecture", "mlp", "gpt"])
def test_every_number_of_every_step(show, pages, name):
    explanation, _ = pages[name]
    shown = show(name)
    shown.do("page.toggleAll(true)")
    steps = walk(shown, explanation)
    assert steps == 3 + len(explanation.ops) + len(explanation.messages)


@pytest.mark.parametrize("name", ["lecture", "mlp", "gpt"])
def test_every_number_of_every_step_unfolded(show, pages, name):
    explanation, _ = pages[name]
    shown = show(name)
    shown.do("page.toggleAll(true)")
    fused = explanation.unfoldable()[-1]
    shown.do(f"page.toggle('u{fused}')")
    walk(shown, explanation, fused)


def test_the_numbers_of_the_lecture(show):
    """Against what stands in the lecture, and NumPy."""
    shown = show("lecture")
    shown.do("page.toggle('u5')")
    seen = {}
    for _ in range(shown.count()):
        heading = shown.text("#step-heading")
        for caption, values, _ in shown.maps("#step"):
            seen[heading.split(": ")[-1], caption.split(" \u00b7 ")[0]] = values
        shown.press("ArrowRight")

    def near(key, expected):
        np.testing.assert_allclose(seen[key], expected, atol=1e-14)

    near(("y_hat", "y_hat"), [0.3, 0.2, 0.1, 0.4])
    near(("y_hat to t", "message"), [0, -5, 0, 0])
    near(("total to t", "before"), [0, -5, 0, 0])
    near(("total to t", "message"), [1, 1, 1, 1])
    near(("total to t", "after"), [1, -4, 1, 1])
    near(("t to z", "message"), D_Z.ravel())
    near(("matmul to w", "message"), (D_Z @ A.T).ravel())
    near(("z to b", "message"), D_Z.ravel())
    assert shown.text("#step-heading") == "All gradients"
    near(("All gradients", "gradient of w"), (D_Z @ A.T).ravel())


def test_the_mlps_gradients_are_numpys(show):
    shown = show("mlp")
    shown.press("End")
    maps = {
        name.split(" \u00b7 ")[0]: values for name, values, _ in shown.maps("#step")
    }
    for name, expected in MLP().by_numpy().items():
        np.testing.assert_allclose(
            maps[f"gradient of {name}"], expected.ravel(), atol=1e-7
        )


def test_every_gradient_of_the_gpt_is_shown_at_its_node(show, pages):
    explanation, _ = pages["gpt"]
    shown = show("gpt")
    shown.do("page.toggleAll(true)")
    shown.press("End")
    for entry in explanation.entries:
        shown.do(f"page.select('{entry.number}')")
        value, gradient = shown.maps("#node")[:2]
        assert_same(value, entry.value)
        assert_same(gradient, entry.gradient)


# -- what is not computed --------------------------------------------------------------


def test_what_is_not_computed_says_so(show):
    shown = show("lecture")
    shown.do("page.select('1')")
    assert "not computed yet" in shown.text("#node")
    assert len(shown.maps("#node")) == 1  # the value alone
    hollow = ".node[data-id='5'] .thumb .hollow"
    assert shown.page.locator(hollow).count() == 2
    shown.press("End")
    assert shown.page.locator("#graph .hollow").count() == 0
    assert "not computed" not in shown.text("#node")
    shown.do("page.select('c1')")
    assert "nothing asks for its gradient" in shown.text("#node")


def test_a_partial_sum_says_so(show):
    shown = show("lecture")
    shown.do("page.toggle('u5')")
    for _ in range(shown.count()):
        shown.press("ArrowRight")
        if shown.text("#step-heading").endswith("y_hat to t"):
            break
    assert "1 of 2 messages" in shown.text("#node")
    assert "first of 2 messages" in shown.text("#step")
    shown.press("ArrowRight", 2)
    assert "All 2 messages have come" in shown.text("#step")


# -- nudging ---------------------------------------------------------------------------


def test_any_cell_can_be_nudged(show):
    shown = show("lecture")
    shown.press("End")
    shown.do("page.select('1')")  # w, 4 x 2
    exact = (D_Z @ A.T).ravel()
    for index in range(8):
        shown.click(f"#node [data-flat='{index}']")
        rows = shown.page.locator(".slopes dd").all()
        up, down, slope, gradient = (float(r.get_attribute("data-value")) for r in rows)
        assert slope == pytest.approx((up - down) / 0.02, rel=1e-9)
        assert gradient == pytest.approx(exact[index], abs=1e-14)
        assert slope == pytest.approx(exact[index], abs=1e-4)
        names = shown.text(".slopes")
        assert f"w[{index // 2}, {index % 2}] + 0.01" in names
        focus = shown.do("document.activeElement.dataset.flat")
        assert focus == str(index)
    shown.click(".choices button >> nth=2")
    slope = float(shown.page.locator(".slopes dd").nth(2).get_attribute("data-value"))
    assert slope == pytest.approx(exact[7], abs=1e-6)
    assert shown.do("document.activeElement.textContent") == "\u00b10.001"


def test_a_nudge_before_the_gradient_is_there(show):
    shown = show("lecture")
    shown.press("ArrowRight")
    assert shown.page.locator(".slopes dd").nth(3).inner_text() == "not computed yet"


def test_what_was_not_recorded_says_so(show):
    shown = show("loop")
    shown.do("page.select('1')")
    assert "Not recorded: the graph is too large" in shown.text(".nudge")
