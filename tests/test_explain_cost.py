"""What recording costs, in things that can be counted.

`benchmarks/recording.py` has the times: at most 1 us an op.
"""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest

import tinygrad_softmax as tg
from benchmarks import recording
from tinygrad_softmax import explaining, nn, optim
from tinygrad_softmax.autograd.graph import current_observer

ROOM = explaining.__file__.rpartition("__init__")[0]


def training_step():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, y = tg.ones((5, 4)), tg.tensor(np.zeros(5, int))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def calls_in_the_room(function):
    """How often a Python function of the room is called, by its name."""
    counts = {}

    def count(frame, event, argument):
        if event == "call" and frame.f_code.co_filename.startswith(ROOM):
            name = frame.f_code.co_name
            counts[name] = counts.get(name, 0) + 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counts


def test_nothing_of_the_room_runs_when_nobody_records():
    step = training_step()
    assert current_observer() is None
    assert calls_in_the_room(step) == {}


def test_a_recorded_step_makes_one_call_an_op_and_one_a_module():
    step = training_step()
    with tg.record():
        step()  # each file is asked once whether it is the package's
        counts = calls_in_the_room(step)
    assert counts.pop("forward") >= 4  # (constants are seen too, and not kept)
    assert counts.pop("call") == 4
    # Backward tells of each of the 4 nodes and of each of its rules: of the losses one,
    # of relu one, of the layers two (the first one's input is data) and three.
    assert counts == {"before": 4, "backward": 7}


def test_a_note_is_a_tuple_of_references():
    """Nothing is copied, so a recording of large arrays takes no more than one of
    small ones."""

    def held(n):
        x = tg.ones(n, requires_grad=True)
        with tg.record():
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            y = tg.reshape(x, (n,))  # shares its memory
            after = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
        assert y.node.note is not None
        return after - before

    held(10)
    assert held(1_000_000) < held(10) + 1000


def test_recording_does_not_copy_the_values():
    x = tg.ones(3, requires_grad=True)
    with tg.record():
        y = tg.exp(x)
    assert tg.explain(y.sum())[2].value is y.array


@pytest.mark.parametrize("graph", recording.GRAPHS)
def test_the_benchmark_builds_the_same_graph_with_and_without(graph):
    build = recording.GRAPHS[graph](10)
    plain = build()
    with tg.record():
        recorded = build()
    ops = [[e.op for e in tg.explain(y.sum()).ops] for y in (plain, recorded)]
    assert ops[0] == ops[1]
    assert len(ops[0]) == 11
    assert tg.explain(recorded.sum()).recorded == 10


def test_the_benchmark_has_a_page():
    found = recording.costs(length=5, blocks=2)
    assert set(found) == set(recording.GRAPHS)
    assert all(cost.plain > 0.0 and cost.recorded > 0.0 for cost in found.values())
    assert recording.page(found).count("\n") == 1 + len(found)
