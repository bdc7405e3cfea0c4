"""`tg.record`: places in the program, names, and who else may listen."""

from __future__ import annotations

import gc
import json
import os
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from explain_tools import Net, host, leaf, moved
from strict_cupy import Seen, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining import Source
from tinygrad_softmax.explaining.sources import operands_of

# -- where it was made -----------------------------------------------------------------


def test_sources_are_the_exact_expressions(device):
    x = leaf([1.0, 2.0], device)
    with tg.record():
        h = tg.exp(x) * x + 1.0
        total = (
            h
            .sum()
        )  # fmt: skip
    explanation = tg.explain(total)
    sources = [e.source for e in explanation.ops]
    assert all(isinstance(each, Source) for each in sources)
    assert [each.text for each in sources[:3]] == [
        "tg.exp(x)", "tg.exp(x) * x", "tg.exp(x) * x + 1.0"
    ]  # fmt: skip
    # Of a method call over several lines CPython's positions begin at the name.
    assert sources[3].text.endswith("sum()")
    assert [each.assigned for each in sources] == ["", "", "h", "total"]
    assert sources[0].line == sources[2].line
    assert sources[0].place == f"test_explain_recording.py:{sources[0].line}"
    assert sources[0].function.endswith("test_sources_are_the_exact_expressions")
    line = Path(__file__).read_text("utf-8").splitlines()[sources[0].line - 1]
    assert line[sources[0].column : sources[0].end_column] == "tg.exp(x)"


def test_columns_count_characters_also_after_umlauts(device):
    größe = leaf([1.0], device)
    with tg.record():
        summe = (größe * 2.0 + tg.exp(größe)).sum()
    explanation = tg.explain(summe)
    product, source = (explanation.ops[i].source for i in (0, 1))
    assert (product.text, source.text) == ("größe * 2.0", "tg.exp(größe)")
    line = Path(__file__).read_text("utf-8").splitlines()[source.line - 1]
    assert line[source.column : source.end_column] == source.text
    assert explanation.leaves[0].label == "größe"


def test_a_function_in_the_users_program_is_where_it_says(device):
    def helper(v):
        return tg.tanh(v)

    x = leaf([1.0], device)
    with tg.record():
        total = (helper(x) + helper(x * 2.0)).sum()
    places = [e.source for e in tg.explain(total).ops if e.op == "tanh"]
    assert [each.text for each in places] == ["tg.tanh(v)"] * 2
    assert places[0].function.endswith("helper")


@pytest.mark.parametrize(
    ("text", "count", "names"),
    [
        ("a + b", 2, ("a", "b")),
        ("-a", 1, ("a",)),
        ("a < b", 2, ("a", "b")),
        ("a[0]", 1, ("a",)),
        ("tg.exp(z)", 1, ("z",)),
        ("nn.functional.linear(x, w, b)", 3, ("x", "w", "b")),
        ("z.sum(0)", 1, ("z",)),
        ("z.dot(self.w)", 2, ("z", "self.w")),
        ("f(x + 1, ys[0], ys[i], zs[1:])", 4, ("", "ys[0]", "ys[i]", "")),
        ("exp(x)", 2, ("x", "")),
        ("x", 1, ("",)),
        ("not python (", 2, ("", "")),
    ],
)
def test_what_an_expression_calls_the_inputs(text, count, names):
    assert operands_of(text, count) == names


def test_the_call_of_explain_itself_names_nothing(device):
    x = leaf([1.0], device)
    explanation = tg.explain(tg.exp, x)
    assert explanation[2].label == ""
    assert explanation.title == "exp"


def loaded(path, text):
    """A module's namespace, of a file that is written first."""
    path.write_text(text)
    os.utime(path, (1e9, 1e9 + len(text)))  # (two versions are told apart by this)
    scope = {}
    exec(compile(text, str(path), "exec"), scope)
    return scope


def test_equal_code_in_two_files_is_told_apart(device, tmp_path):
    text = "def f(x):\n    return (x * x).sum()\n"
    for name in ("one.py", "two.py"):
        f = loaded(tmp_path / name, text)["f"]
        explanation = tg.explain(f, leaf([1.0], device))
        assert {entry.source.place for entry in explanation.ops} == {f"{name}:2"}


def test_a_file_that_was_edited_and_loaded_again(device, tmp_path):
    x = leaf([1.0], device)
    for product in ("x * x", "(2.0 * x) * x"):
        text = f"def f(x):\n    return ({product}).sum()\n"
        explanation = tg.explain(loaded(tmp_path / "edited.py", text)["f"], x)
        assert explanation.ops[-1].source.text == f"({product}).sum()"


def test_code_without_source_still_has_a_line(device):
    scope = {"tg": tg, "x": leaf([1.0], device)}
    program = "\nwith tg.record():\n    y = tg.exp(x).sum()\n"
    exec(compile(program, "<nowhere>", "exec"), scope)
    explanation = tg.explain(scope["y"])
    source = explanation.ops[0].source
    assert (source.file, source.line, source.text) == ("<nowhere>", 3, "")
    assert explanation.named("y").op == "sum"
    assert "\n   code      (<nowhere>:3)\n" in explanation.text(80)


def test_numpys_functions_are_traced_to_the_users_line(device):
    if device != "cpu":
        return
    x = leaf([1.0], device)
    with tg.record():
        y = np.exp(x).sum()
    assert tg.explain(y).ops[0].source.text == "np.exp(x)"


def test_a_library_function_of_several_ops_is_one_group(device):
    x = leaf([[1.0, 2.0]], device)
    target = tg.tensor([[0.0, 1.0]], tg.float64, device)

    def loss(x):
        return nn.functional.smooth_l1_loss(x, target)

    explanation = tg.explain(loss, x)
    (group,) = explanation.groups
    assert (group.kind, group.title) == ("call", "smooth_l1_loss")
    assert group.members == [e.number for e in explanation.ops]
    assert len(group.members) > 1


# -- modules ---------------------------------------------------------------------------


def test_parameters_have_the_names_of_state_dict(device):
    net = moved(Net(), device)
    x = tg.ones((5, 3), device=device)
    explanation = tg.explain(lambda x: net(x).sum(), x)
    assert {leaf.label for leaf in explanation.leaves} == set(net.state_dict())
    paths = [(g.kind, g.title, g.path, g.parent) for g in explanation.groups]
    assert paths == [
        ("module", "Net", "", None),
        ("module", "Sequential", "layers", 0),
        ("module", "Linear", "layers.0", 1),
        ("module", "ReLU", "layers.1", 1),
        ("module", "Linear", "head", 0),
    ]
    groups = {e.op: e.group for e in explanation.ops}
    assert groups == {"linear": 4, "relu": 3, "multiply": 0, "sum": None}
    members = explanation.groups[0].members
    assert members == [e.number for e in explanation.ops if e.op != "sum"]
    assert "[layers.0 Linear]" in explanation.text(80)


def test_two_models_are_told_apart(device):
    encoder, decoder = moved(nn.Linear(3, 4), device), moved(nn.Linear(4, 3), device)
    x = tg.ones((5, 3), device=device)
    with tg.record():
        total = decoder(encoder(x)).sum()
    labels = {leaf.label for leaf in tg.explain(total).leaves}
    assert labels == {
        "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"
    }  # fmt: skip


def test_a_module_that_keeps_a_tensor_makes_no_cycle(device):
    class Keeps(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            self.last = self.inner(x)
            return self.last.sum()

    gc.collect()
    gc.disable()
    try:
        module = moved(Keeps(), device)
        with tg.record():
            out = module(tg.ones((1, 2), device=device))
        assert tg.explain(out).groups
        gone = weakref.ref(module)
        del module, out
        assert gone() is None
    finally:
        gc.enable()


# -- recording -------------------------------------------------------------------------


def test_nothing_is_kept_when_nobody_records(device):
    x = leaf([1.0], device)
    y = tg.exp(x)
    assert y.node.note is None
    with tg.record():
        z = tg.exp(y)
    assert z.node.note is not None
    assert tg.exp(z).node.note is None


def test_a_recording_dies_with_its_graph(device):
    x = leaf(np.ones(4), device)
    gc.collect()
    gc.disable()
    try:
        with tg.record():
            h = tg.exp(x)
            gone = weakref.ref(h.node.plan and h)
            y = h.sum()
        array = weakref.ref(h.array) if device == "cpu" else None
        del h, y
        assert gone() is None
        assert array is None or array() is None
    finally:
        gc.enable()


def test_an_explanation_dies_when_it_is_dropped(device):
    """With all of its values and gradients, at once and not when cycles are looked
    for."""
    if device != "cpu":
        return
    x = leaf(np.ones(4), device)
    with tg.record():
        y = tg.exp(x).sum()
    gc.collect()
    gc.disable()
    try:
        explanation = tg.explain(y)
        assert explanation.to_json()
        gone = weakref.ref(explanation.messages[-1].raw)
        del explanation
        assert gone() is None
    finally:
        gc.enable()


def test_a_recording_is_the_threads_own(device):
    x = leaf([1.0], device)
    made = []
    with tg.record():
        thread = threading.Thread(target=lambda: made.append(tg.exp(x)))
        thread.start()
        thread.join()
        inside = tg.exp(x)
    assert made[0].node.note is None
    assert inside.node.note is not None


def test_recordings_may_be_nested(device):
    net = moved(Net(), device)
    x = leaf(np.ones((1, 3)), device, tg.float32)
    with tg.record():
        h = x * 2.0
        with tg.record():
            loss = net(h).sum()
        loss = loss * 1.0
    assert tg.explain(loss).recorded == len(tg.explain(loss).ops)


def nan_in_forward(x):
    return tg.log(x)


@pytest.mark.parametrize("first", ["record", "detect_anomaly"])
def test_recording_and_anomaly_detection_work_together(first, device):
    contexts = [tg.record, tg.detect_anomaly]
    outer, inner = contexts if first == "record" else contexts[::-1]
    x = leaf([4.0], device)
    with outer(), inner():
        y = tg.sqrt(x).sum()
        explanation = tg.explain(y)
        assert explanation.recorded == 2
        assert float(host(explanation[1].gradient)[0]) == 0.25
        y.backward(retain_graph=True)
        with (
            np.errstate(invalid="ignore"),
            pytest.raises(
                RuntimeError,
                match=r"log made a nan of inputs without one, at .*test_expl",
            ),
        ):
            nan_in_forward(x - 5.0)
        h = tg.exp(x)
        with tg.no_grad():
            h.array[...] = 7.0
        with pytest.raises(RuntimeError, match="changed in place since"):
            h.sum().backward()


def test_anomaly_detection_alone_still_sees_modules(device):
    net = moved(Net(), device)
    with tg.detect_anomaly():
        net(tg.ones((1, 3), device=device)).sum().backward()


# -- on a device ---------------------------------------------------------------------


def test_recording_never_waits_for_a_device_and_explaining_reads_from_it():
    """On the strict double of CuPy, which counts waits and copies."""
    net = Net()
    labels = np.array([0, 1, 1])
    with strict_cuda() as cuda:
        x = tg.ones((3, 3), device="cuda")
        y = tg.tensor(labels, device="cuda")
        net.to("cuda")
        with cuda.counting() as seen, tg.record():
            loss = nn.functional.cross_entropy(net(x), y)
        assert seen == Seen()
        explanation = tg.explain(loss, check=True)
        assert {entry.device for entry in explanation.entries} == {"cuda:0"}
        assert all(entry.check.agrees for entry in explanation.entries)
        for shown in (explanation.text(80), explanation._repr_html_()):
            assert "layers.0" in shown
        json.dumps(explanation.to_json())
        inside = explanation.unfold(explanation.root)
        assert inside[inside.root].device == "cuda:0"
        loss.backward()
        for leaf_entry in explanation.leaves:
            grad = net.get_parameter(leaf_entry.label).grad
            wanted = tg.asarray(leaf_entry.gradient).numpy()
            np.testing.assert_array_equal(grad.numpy(), wanted)
        net.to("cpu")
