"""`tg.explain` and `tg.record`: what they give, leave alone, and refuse."""

from __future__ import annotations

import numpy as np
import pytest
from explain_tools import Net, host, leaf, moved, product_loss

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.backends.random import default_generator
from tinygrad_softmax.explaining import Explanation

# -- the data --------------------------------------------------------------------------


def test_entries_are_numbered_by_creation_and_know_their_inputs(device):
    x, w = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    explanation = tg.explain(product_loss, x, w)
    assert isinstance(explanation, Explanation)
    assert [e.number for e in explanation.entries] == [1, 2, 3, 4, 5]
    assert [e.op for e in explanation.entries] == [
        "leaf", "leaf", "multiply", "multiply", "sum"
    ]  # fmt: skip
    assert [e.label for e in explanation.entries] == ["x", "w", "h", "", ""]
    h = explanation.named("h")
    assert [(i.name, i.entry, i.label) for i in h.inputs] == [
        ("a", 1, "x"), ("b", 2, "w")
    ]  # fmt: skip
    assert h.users == [4]
    assert (h.shape, h.dtype, h.size) == ((2,), "float64", 2)
    assert host(h.value).tolist() == [3.0, 8.0]
    assert explanation.root == 5
    assert explanation.order == [5, 4, 3]
    assert [explanation[n].step for n in explanation.order] == [1, 2, 3]
    assert explanation.title == "product_loss"


def test_messages_add_up_where_a_node_is_used_twice(device):
    x, w = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    explanation = tg.explain(product_loss, x, w)
    h = explanation.named("h")
    first, second = (explanation.message(n) for n in h.messages)
    assert first.before is None
    assert host(first.after).tolist() == host(first.arrived).tolist() == [3.0, 8.0]
    assert host(second.before).tolist() == [3.0, 8.0]
    assert host(second.arrived).tolist() == [3.0, 8.0]
    assert host(second.after).tolist() == host(h.gradient).tolist() == [6.0, 16.0]
    assert (first.rule, second.rule) == ("multiply.vjp('a')", "multiply.vjp('b')")
    assert (first.formula, second.formula) == ("g * b", "g * a")


def test_three_messages_keep_what_each_sum_was(device):
    """The walk adds in place from the third message on; what is shown must not move."""
    x = leaf([1.0, 2.0], device)
    explanation = tg.explain(lambda x: (x * 1.0 + x * 2.0 + x * 3.0 + x * 4.0).sum(), x)
    messages = [explanation.message(n) for n in explanation[1].messages]
    sums = [host(m.after).tolist() for m in messages]
    assert sums == [[4.0, 4.0], [7.0, 7.0], [9.0, 9.0], [10.0, 10.0]]
    assert [host(m.before).tolist() for m in messages[1:]] == sums[:-1]


@pytest.mark.parametrize(
    ("small", "axes"), [((), (0, 1)), ((3,), (0,)), ((2, 1), (1,)), ((1, 3), (0,))]
)
def test_a_broadcast_input_gets_a_sum(small, axes, device):
    x, b = leaf(np.ones((2, 3)), device), leaf(np.full(small, 2.0), device)
    weights = tg.tensor(np.arange(6.0).reshape(2, 3), None, device)
    explanation = tg.explain(lambda x, b: ((x + b) * weights).sum(), x, b)
    (message,) = (explanation.message(n) for n in explanation.named("b").messages)
    assert message.raw.shape == (2, 3)
    assert message.summed_axes == axes
    wanted = np.arange(6.0).reshape(2, 3).sum(axes, keepdims=True).reshape(small)
    np.testing.assert_array_equal(host(message.arrived), wanted)
    kind = "a scalar," if small == () else str(tuple(small)).replace(",)", ")")
    assert f"b, {kind}" in explanation.text(100) or f"b {kind}" in explanation.text(100)


def test_a_cast_is_said(device):
    x = leaf([1.0, 2.0], device, tg.float32)
    explanation = tg.explain(lambda x: x.astype(tg.float64).sum(), x)
    (message,) = (explanation.message(n) for n in explanation[1].messages)
    assert (message.cast_from, message.arrived.dtype) == ("float64", tg.float32)
    assert "cast from float64 to float32" in explanation.text(80)


def test_what_is_kept_and_until_when(device):
    x, w = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    explanation = tg.explain(lambda x, w: tg.exp(x * w).sum(), x, w)
    product, exp, total = explanation.ops
    assert {(k.name, k.kind, k.nbytes, k.entry) for k in product.keeps} == {
        ("a", "input", 16, 1),
        ("b", "input", 16, 2),
    }
    assert [(k.name, k.kind, k.entry) for k in exp.keeps] == [("out", "output", 4)]
    assert [k.freed_at for k in exp.keeps] == [exp.step] == [2]
    assert [k.freed_at for k in product.keeps] == [3, 3]
    # sum keeps a shape and its static parameter, and no array.
    assert {(k.name, k.kind, k.nbytes) for k in total.keeps} == {
        ("x_shape", "shape", 0),
        ("axis", "static", 0),
    }


def test_an_array_that_two_nodes_keep_is_free_after_the_later_step(device):
    x = leaf([1.0, 2.0], device)
    explanation = tg.explain(lambda x: (tg.exp(x) * tg.sin(x)).sum(), x)
    exp, sin, product, _ = explanation.ops
    kept = {k.name: k for k in product.keeps}
    assert kept["a"].freed_at == exp.step == 4
    assert kept["b"].freed_at == product.step == 2
    assert [k.freed_at for k in sin.keeps] == [3]


def test_residuals_are_kept_too(device):
    z = leaf([[1.0, 2.0]], device)
    explanation = tg.explain(tg.softmax_cross_entropy, z, tg.tensor([1], None, device))
    kinds = {k.name: k.kind for k in explanation[2].keeps}
    assert kinds["grad_logits"] == "residual"
    assert kinds["reduction"] == "static"


def test_a_root_that_is_a_leaf(device):
    x = leaf(2.0, device)
    explanation = tg.explain(x)
    assert [e.op for e in explanation.entries] == ["leaf"]
    assert float(host(explanation[1].gradient)) == 1.0
    assert "1 leaf" in explanation.text(80)


def test_entries_that_do_not_exist(device):
    explanation = tg.explain(product_loss, leaf([1.0], device), leaf([2.0], device))
    with pytest.raises(IndexError, match="entry 6 was asked for; the entries are numb"):
        explanation[6]
    with pytest.raises(KeyError, match="no entry is called 'z'; there are h, w, x"):
        explanation.named("z")


# -- what stays as it is ---------------------------------------------------------------


def test_nothing_that_is_computed_changes(device):
    x, w = leaf([1.0, 2.0], device), leaf([3.0, 4.0], device)
    (x * 5.0).sum().backward()
    before = x.grad
    seen = []
    with tg.record():
        h = tg.exp(x * w)
        h.retain_grad()
        h.register_hook(lambda g: seen.append(g))
        loss = (h * tg.tensor([1.0, 0.5], tg.float64, device)).sum()
    tg.manual_seed(3)
    state = default_generator.state
    explanation = tg.explain(loss, check=True)
    assert x.grad is before
    assert w.grad is None
    assert h.grad is None
    assert seen == []
    assert default_generator.state == state
    assert x.grad.tolist() == [5.0, 5.0]
    # The leaf shows what is there, and what would be added to it.
    entry = explanation.named("x")
    assert host(entry.grad_before).tolist() == [5.0, 5.0]
    assert "to what is there: [5, 5]" in explanation.text(80)
    assert "1 hook would see it; explain runs none" in explanation.text(80)
    loss.backward()  # the graph is still there
    np.testing.assert_array_equal(x.grad.numpy(), 5.0 + host(entry.gradient))
    np.testing.assert_array_equal(h.grad.numpy(), host(explanation[4].gradient))
    assert len(seen) == 1


def test_explaining_again_gives_the_same(device):
    net = moved(Net(), device)
    x = tg.ones((2, 3), device=device)
    with tg.record():
        loss = nn.functional.cross_entropy(net(x), tg.tensor([0, 1], None, device))
    first = tg.explain(loss)
    assert tg.explain(loss).text(80) == first.text(80)


def test_dropout_is_explained_as_it_was_drawn(device):
    x = leaf(np.ones(8), device)
    tg.manual_seed(1)
    with tg.record():
        y = nn.functional.dropout(x, 0.5).sum()
    state = default_generator.state
    explanation = tg.explain(y, check=True)
    assert default_generator.state == state
    y.backward()
    np.testing.assert_array_equal(host(explanation[1].gradient), x.grad.numpy())
    assert explanation[1].check.agrees


def test_the_running_averages_of_batch_norm_stay(device):
    norm = moved(nn.BatchNorm1d(3), device)
    x = leaf(np.arange(12.0).reshape(4, 3), device, tg.float32)
    with tg.record():
        y = (norm(x) ** 2).sum()
    mean = norm.running_mean.numpy().copy()
    explanation = tg.explain(y, check=True)
    np.testing.assert_array_equal(norm.running_mean.numpy(), mean)
    assert all(e.check.agrees for e in explanation.entries)


# -- other graphs ----------------------------------------------------------------------


def test_without_recording_there_are_ops_shapes_edges_and_what_is_kept(device):
    x = leaf([1.0, 2.0], device)
    loss = (tg.exp(x) * x + 1.0).sum()
    explanation = tg.explain(loss)
    assert explanation.recorded == 0
    assert [e.op for e in explanation.ops] == ["exp", "multiply", "add", "sum"]
    assert [i.entry for i in explanation.ops[1].inputs] == [2, 1]
    add = explanation.ops[2]
    assert add.source is None
    assert add.value is None
    assert add.value_note == "not recorded"
    # What a rule kept is known, and so is the loss itself.
    assert host(explanation.ops[0].value).tolist() == np.exp([1.0, 2.0]).tolist()
    assert float(host(explanation.ops[3].value)) == loss.item()
    text = explanation.text(80)
    assert "None of the ops was recorded" in text
    assert "with tg.record():" in text
    assert "value     not recorded" in text
    loss.backward()
    np.testing.assert_array_equal(host(explanation[1].gradient), x.grad.numpy())


def test_a_graph_that_is_recorded_in_part(device):
    x = leaf([1.0], device)
    h = tg.exp(x)
    with tg.record():
        y = (h * 2.0).sum()
    explanation = tg.explain(y, check=True)
    assert explanation.recorded == 2
    assert "Only 2 of the ops were recorded" in " ".join(explanation.text(80).split())
    assert explanation.ops[1].check.agrees
    assert explanation[1].check.agrees is None
    assert "the forward pass was not recorded" in explanation.text(80)


def test_higher_orders(device):
    x = leaf([1.0, 2.0], device)
    with tg.record():
        y = (x * x * x).sum()
        g = tg.grad(y, x, create_graph=True)
        loss = (g * g).sum()
    explanation = tg.explain(loss, check=True)
    # d/dx (3 x^2)^2 = 36 x^3
    np.testing.assert_allclose(host(explanation.named("x").gradient), [36.0, 288.0])
    assert all(e.check.agrees for e in explanation.entries)
    made = [e for e in explanation.ops if e.in_backward]
    assert made
    assert {e.source.text for e in made} == {"tg.grad(y, x, create_graph=True)"}
    assert "a backward with create_graph=True, at #2 x * x" in explanation.text(80)


def test_a_checkpoint_is_one_op_and_unfolds(device):
    x, w = leaf([1.0, 2.0], device), leaf([0.5, 0.25], device)

    def block(a):
        b = tg.tanh(a * w)
        return nn.functional.dropout(b, 0.5)

    tg.manual_seed(5)
    with tg.record():
        loss = tg.checkpoint(block, x * 2.0).sum()
    state = default_generator.state
    explanation = tg.explain(loss, check=True)
    assert [e.op for e in explanation.ops] == ["multiply", "checkpoint", "sum"]
    assert all(e.check.agrees for e in explanation.entries)
    number = explanation.ops[1].number
    assert explanation.unfoldable() == [number]
    inside = explanation.unfold(number)
    assert [e.op for e in inside.ops] == ["multiply", "tanh", "multiply"]
    assert set(inside.outside.values()) == {2, 3}
    assert default_generator.state == state
    np.testing.assert_allclose(
        host(inside[inside.root].value), host(explanation[number].value)
    )
    for leaf_number, outer in inside.outside.items():
        np.testing.assert_array_equal(
            host(inside[leaf_number].gradient), host(explanation[outer].gradient)
        )
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), host(explanation[1].gradient))


def test_autocast_shows_its_casts(device):
    a, b = (
        leaf(np.ones((2, 2)), device, tg.float32),
        leaf(np.eye(2), device, tg.float32),
    )

    def product(a, b):
        with tg.autocast("cpu" if device == "cpu" else "cuda", dtype=tg.float16):
            return (a @ b).sum()

    explanation = tg.explain(product, a, b)
    assert [e.op for e in explanation.ops] == ["cast", "cast", "matmul", "sum"]
    assert [e.dtype for e in explanation.ops] == ["float16"] * 4
    assert explanation[1].gradient.dtype == tg.float32


def test_values_that_are_put_in_place_of_others(device):
    x = leaf([1.0, 2.0], device)
    explanation = tg.explain(lambda x: tg.index_update(x, 0, x[1] * 2.0).sum(), x)
    assert host(explanation.named("x").gradient).tolist() == [0.0, 3.0]
    assert "index = 0" in explanation.text(80)


def test_another_gradient_to_begin_with(device):
    x = leaf([1.0, 2.0], device)
    explanation = tg.explain(lambda x: x * x, x, gradient=np.array([1.0, 0.5]))
    assert host(explanation.seed).tolist() == [1.0, 0.5]
    assert host(explanation[1].gradient).tolist() == [2.0, 2.0]
    weights = tg.tensor([1.0, 0.5], tg.float64, device)
    checked = tg.explain(lambda x: x * x, x, gradient=weights, check=True)
    assert all(e.check.agrees for e in checked.entries)


# -- checks ----------------------------------------------------------------------------


def test_a_wrong_rule_is_shown_to_be_wrong(device):
    @tg.primitive
    def halved(x):
        return 0.5 * x

    halved.vjp("x")(lambda g: g * 2.0)
    try:
        x = leaf([1.0, 2.0], device)
        explanation = tg.explain(lambda x: halved(x).sum(), x, check=True)
        assert explanation[2].check.agrees
        assert explanation[1].check.agrees is False
        assert explanation[1].check.worst == pytest.approx(1.5)
        text = explanation.text(80)
        assert "DOES NOT AGREE, off by at most 2" in text or "at most 1" in text
        assert "tg-wrong" in explanation._repr_html_().split("</style>")[-1]
    finally:
        from tinygrad_softmax.autograd import PRIMITIVES

        PRIMITIVES.remove(halved)


def test_a_check_after_a_step_says_that_something_changed(device):
    """The gradients are right: it is the values to measure at that are others now."""
    w = leaf([1.0, 2.0], device)
    with tg.record():
        h = w * 3.0
        loss = (h * h).sum()
    assert "written in place" not in tg.explain(loss, check=True).text(80)
    loss.backward(retain_graph=True)
    with tg.no_grad():
        w -= 0.1 * w.grad
    explanation = tg.explain(loss, check=True)
    assert explanation[1].check.agrees is False
    assert "was an array written in place since?" in explanation[1].check.note
    words = " ".join(explanation.text(80).split())
    assert "the ops do not give what was recorded: was an array written in" in words


def test_large_arrays_are_checked_along_a_direction(device):
    x = leaf(np.linspace(0.1, 1.0, 100), device)
    explanation = tg.explain(lambda x: (x * x).sum(), x, check=True)
    check = explanation[1].check
    assert check.kind == "direction"
    assert check.agrees
    assert check.measured == pytest.approx(check.analytic, rel=1e-9)
    assert "along a random direction" in explanation.text(80)


def test_differences_are_measured_in_float64_also_behind_a_cast(device):
    x = leaf([1.0, 2.0], device, tg.float32)
    explanation = tg.explain(
        lambda x: (x.astype(tg.float16) * 3.0).sum(), x, check=True
    )
    check = explanation[1].check
    assert check.agrees
    np.testing.assert_allclose(check.measured, [3.0, 3.0], rtol=1e-10)


def test_a_loss_that_is_not_finite_is_not_checked(device):
    x = leaf([0.0, 1.0], device)
    with np.errstate(all="ignore"):
        explanation = tg.explain(lambda x: tg.log(x).sum(), x, check=True)
    assert explanation[1].check.agrees is None
    assert "not checked: the root is not finite near" in explanation.text(100)


def test_the_step_is_told(device):
    explanation = tg.explain(product_loss, leaf([1.0], device), leaf([2.0], device),
                             check=True)  # fmt: skip
    assert "the step begins at 2^-10" in explanation.checked
    assert "the step begins at 2^-10" in " ".join(explanation.text(80).split())


# -- errors ----------------------------------------------------------------------------


def freed(device):
    with tg.record():
        loss = (leaf([1.0], device) * 2.0).sum()
    loss.backward()
    return tg.explain(loss)


def freed_in_part(device):
    h = leaf([1.0], device) * 2.0
    h.sum().backward()
    return tg.explain((h + 1.0).sum())


ERRORS = {
    "no tensor": (
        lambda device: tg.explain(3.0),
        TypeError,
        "explain: a float was given; expected a tensor, or a function that returns one",
    ),
    "an array": (
        lambda device: tg.explain(np.ones(3)),
        TypeError,
        "explain: a ndarray was given; expected a tensor",
    ),
    "no graph": (
        lambda device: tg.explain(tg.ones(3, device=device)),
        RuntimeError,
        r"this float32 tensor of shape \(3,\) has no graph: it does not depend on any",
    ),
    "a function without a graph": (
        lambda device: tg.explain(lambda x: x * 2, tg.ones((), device=device)),
        RuntimeError,
        r"of shape \(\) has no graph",
    ),
    "a function that returns a number": (
        lambda device: tg.explain(lambda x: x.sum().item(), leaf([1.0], device)),
        TypeError,
        "explain: a function returned a float; it must return a tensor; mend: return",
    ),
    "no scalar": (
        lambda device: tg.explain(lambda x: x * 2, leaf([1.0, 2.0], device)),
        RuntimeError,
        r"explain: only a scalar has a gradient .* shape \(2,\); mend: reduce it with",
    ),
    "a gradient of another shape": (
        lambda device: tg.explain(
            lambda x: x * 2, leaf([1.0, 2.0], device), gradient=np.ones(3)
        ),
        ValueError,
        r"shape \(3,\)",
    ),
    "a tensor and arguments": (
        lambda device: tg.explain(leaf([1.0], device).sum(), 1.0, 2.0),
        TypeError,
        "a tensor was given with 2 further arguments; mend: tg.explain",
    ),
    "freed": (
        freed,
        RuntimeError,
        "the graph of this sum was freed by an earlier backward, and there is nothing",
    ),
    "freed in part": (
        freed_in_part,
        RuntimeError,
        "the graph of this multiply was freed by an earlier backward",
    ),
    "a check of what was not recorded": (
        lambda device: tg.explain((leaf([1.0], device) * 2.0).sum(), check=True),
        RuntimeError,
        "check=True runs the ops again, and none of them was recorded; mend: run the",
    ),
    "unfolding what is not fused": (
        lambda device: tg.explain(lambda x: x.sum(), leaf([1.0], device)).unfold(2),
        ValueError,
        "unfold: entry 2 is sum, which is not made of smaller steps here; what can be",
    ),
    "unfolding what was not recorded": (
        lambda device: tg.explain(tg.softmax(leaf([1.0], device)).sum()).unfold(2),
        ValueError,
        "unfold: entry 2 is softmax, whose inputs were not recorded",
    ),
}


def test_a_name_where_nothing_has_one(device):
    x = leaf([1.0], device)
    with pytest.raises(KeyError, match="no entry is called 'h'; none has a name"):
        tg.explain((x * 2.0).sum()).named("h")


@pytest.mark.parametrize("limit", [0, -1, 1.5])
def test_a_limit_of_no_ops(device, limit):
    x, y = leaf([1.0], device), leaf([2.0], device)
    explanation = tg.explain(lambda x, y: (x * y).sum(), x, y)
    text = rf"text: the limit is {limit}; expected a whole number from 1 on, or None"
    with pytest.raises(ValueError, match=text):
        explanation.text(80, limit)
    assert "... and 1 more leaf\n" in explanation.text(80, 1)


@pytest.mark.parametrize("name", ERRORS)
def test_error(name, device):
    call, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text):
        call(device)
