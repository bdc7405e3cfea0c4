"""`tg.explain` of random programs: against dual numbers, and against itself."""

from __future__ import annotations

import json

import numpy as np
from explain_tools import host
from hypothesis import given, note, settings
from random_programs import programs, tensors

import tinygrad_softmax as tg


@given(program=programs())
def test_gradients_are_those_of_dual_numbers_and_messages_add_up_to_them(
    program, device
):
    note(str(program))
    xs = tensors(program.inputs, device)
    with tg.record():
        out = program.run(xs)
    explanation = tg.explain(out)
    leaves = {id(leaf.node): leaf for leaf in explanation.leaves}
    wanted = program.gradient(program.inputs)
    size = max([1.0, *(np.abs(w).max(initial=0.0) for w in wanted)])
    for x, gradient in zip(xs, wanted, strict=True):
        if id(x.node) in leaves:
            got = host(leaves[id(x.node)].gradient)
            np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-11 * size)
        else:
            assert not np.any(gradient)
    for entry in explanation.entries:
        messages = [explanation.message(n) for n in entry.messages]
        if messages:
            total = sum(host(message.arrived) for message in messages)
            np.testing.assert_allclose(host(entry.gradient), total, 1e-12, 1e-300)
            np.testing.assert_array_equal(
                host(messages[-1].after), host(entry.gradient)
            )
            for before, after in zip(messages, messages[1:]):
                np.testing.assert_array_equal(host(after.before), host(before.after))
        elif entry.number != explanation.root:
            assert entry.gradient is None
            assert entry.gradient_note


@given(program=programs())
def test_every_output_holds_together(program, device):
    """What names another entry names one that is there; all renderings work."""
    note(str(program))
    with tg.record():
        out = program.run(tensors(program.inputs, device))
    explanation = tg.explain(out)
    count = len(explanation.entries)
    for entry in explanation.entries:
        for each in entry.inputs:
            assert each.entry is None or each.entry < entry.number
            if each.entry is not None:
                assert entry.number in explanation[each.entry].users
        for kept in entry.keeps:
            assert kept.entry is None or 1 <= kept.entry <= count
            assert not kept.nbytes or kept.freed_at >= entry.step
        assert entry.value is not None
    assert sorted(explanation.order) == [entry.number for entry in explanation.ops]
    assert all(len(line) <= 70 for line in explanation.text(70).splitlines())
    json.dumps(explanation.to_json())
    out.backward()  # the graph is whole


@settings(max_examples=25)
@given(program=programs(most_steps=5))
def test_finite_differences_agree_with_every_entry(program, device):
    note(str(program))
    with tg.record():
        out = program.run(tensors(program.inputs, device))
    for entry in tg.explain(out, check=True).entries:
        if entry.check.agrees is None:
            continue
        assert entry.check.agrees, (entry.number, entry.op, vars(entry.check))
