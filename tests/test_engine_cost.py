"""What a training step of a small network costs, in things that can be counted.

Times are in benchmarks/; here is what must not grow: nodes, NumPy calls, memory.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc

import numpy as np

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.autograd.graph import next_order

FORWARD_CALLS, BACKWARD_CALLS, STEP_CALLS = 49, 77, 27
BATCH, WIDTH, HIDDEN, CLASSES = 32, 64, 64, 10


def network():
    tg.manual_seed(0)
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((BATCH, WIDTH)).astype("float32"))
    y = tg.tensor(rng.integers(0, CLASSES, BATCH))
    layers = nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
    return nn.Sequential(*layers), x, y


def calls_of(function):
    """How many Python functions of the package, and C functions, a call makes."""
    counts = {"python": 0, "c": 0}

    def count(frame, event, argument):
        if event == "call" and "tinygrad_softmax" in frame.f_code.co_filename:
            counts["python"] += 1
        counts["c"] += event == "c_call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return counts


def test_a_forward_pass_makes_one_node_for_each_layer_and_one_for_the_loss():
    model, x, y = network()
    before = next_order()
    nn.functional.cross_entropy(model(x), y)
    assert next_order() - before - 1 == 4


def test_backward_and_the_step_of_sgd_make_no_more_calls_than_they_did():
    model, x, _ = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    seed = np.ones((BATCH, CLASSES), "float32")
    out = model(x)
    assert calls_of(lambda: model(x))["python"] <= FORWARD_CALLS
    out.backward(seed, retain_graph=True)
    optimizer.zero_grad()
    assert calls_of(lambda: out.backward(seed))["python"] <= BACKWARD_CALLS
    optimizer.step()
    optimizer.zero_grad()
    model(x).backward(seed)
    assert calls_of(optimizer.step)["python"] <= STEP_CALLS


def test_a_step_holds_no_more_than_activations_and_gradients():
    """The peak over a step: what the rules saved, each gradient once, and a little."""
    batch = 2048
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = tg.ones((batch, 64))
    seed = np.ones((batch, 10), "float32")

    def step():
        optimizer.zero_grad()
        model(x).backward(seed)
        optimizer.step()

    step()
    gc.collect()
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    hidden = batch * 256 * 4
    # Backward holds relu's output, its gradient, and the mask it is made with.
    assert peak < 3.6 * hidden


def test_a_leaf_keeps_the_gradient_that_a_rule_made():
    """No copy: of a bias it is the sum over the batch, of a weight the product."""
    weight = tg.ones((512, 512), requires_grad=True)
    bias = tg.zeros(512, requires_grad=True)
    x, seed = tg.ones((8, 512)), np.ones((8, 512), "float32")
    out = nn.functional.linear(x, weight, bias)
    tracemalloc.start()
    out.backward(seed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * weight.array.nbytes
