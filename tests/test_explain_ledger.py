"""The ledger as it is printed: whole texts, to be read as a learner would.

Programs are compiled under the name lecture.py, so that their places do not move.
"""

from __future__ import annotations

import linecache
import math
import re

import numpy as np
import pytest
from explain_tools import host

import tinygrad_softmax as tg
from tinygrad_softmax import nn
from tinygrad_softmax.explaining import words


def run(program, **names):
    """Run a program under `tg.record()`; the variables it leaves."""
    lines = [line + "\n" for line in program.strip().splitlines()]
    linecache.cache["lecture.py"] = (len(program), None, lines, "lecture.py")
    scope = {"tg": tg, "nn": nn, **names}
    with tg.record():
        exec(compile("".join(lines), "lecture.py", "exec"), scope)
    return scope


def ledger(program, root, width=80, options=None, **names):
    """What is printed, with the error of finite differences, which depends on the
    processor, as X."""
    explanation = tg.explain(run(program, **names)[root], **(options or {}))
    text = explanation.text(width)
    assert all(len(line) <= width for line in text.splitlines())
    return re.sub(r"off by at most \S+", "off by at most X", text)


def leaf(values, device):
    return tg.tensor(values, tg.float64, device, requires_grad=True)


LECTURE = """
t = tg.exp(z)
y_hat = t / t.sum()
loss = -tg.log(y_hat[1])
"""
LECTURE_80 = """
loss: 6 ops, 1 leaf

LEAVES: what gradients are wanted of
#1 z  float64 (4)
   value     [-1.204, -1.609, -2.303, -0.9163]

FORWARD: the ops, in the order in which they ran
#2 exp -> t: float64 (4)
   code      tg.exp(z)  (lecture.py:1)
   formula   out = exp(x)   with x = #1 z
   value     [0.3, 0.2, 0.1, 0.4]
   keeps     out, 32 bytes, until step 6 of backward
#3 sum: float64 scalar
   code      t.sum()  (lecture.py:2)
   formula   out = sum(x, axis)   with x = #2 t, axis = (0,)
   value     1
#4 divide -> y_hat: float64 (4)
   code      t / t.sum()  (lecture.py:2)
   formula   out = a / b   with a = #2 t, b = #3 t.sum()
   value     [0.3, 0.2, 0.1, 0.4]
   keeps     b (#3 t.sum()), 8 bytes, until step 4 of backward
             out, 32 bytes, until step 4 of backward
#5 getitem: float64 scalar
   code      y_hat[1]  (lecture.py:3)
   formula   out = x[index]   with x = #4 y_hat, index = 1
   value     0.2
#6 log: float64 scalar
   code      tg.log(y_hat[1])  (lecture.py:3)
   formula   out = log(x)   with x = #5 y_hat[1]
   value     -1.609
   keeps     x (#5 y_hat[1]), 8 bytes, until step 2 of backward
#7 negative -> loss: float64 scalar
   code      -tg.log(y_hat[1])  (lecture.py:3)
   formula   out = -x   with x = #6 tg.log(y_hat[1])
   value     1.609

BACKWARD: the gradient of #7 loss, beginning with 1
step 1: #7 loss (negative)
   g         1
   to x      #6 tg.log(y_hat[1]):  -g
               = -1
step 2: #6 tg.log(y_hat[1]) (log)
   g         -1
   to x      #5 y_hat[1]:  g / x
               = -5
step 3: #5 y_hat[1] (getitem)
   g         -5
   to x      #4 y_hat:  added_at(g, index)
               = [0, -5, 0, 0]
   note      an element that was taken twice gets both gradients
step 4: #4 y_hat (divide)
   g         [0, -5, 0, 0]
   to a      #2 t:  g / b
               = [0, -5, 0, 0]
   to b      #3 t.sum():  -g * out / b
               = [0, 1, 0, 0]
               b, a scalar, was broadcast to (4): sum over axis 0
               = 1
step 5: #3 t.sum() (sum)
   g         1
   to x      #2 t:  spread(g)
               = [1, 1, 1, 1]
               adds up: [0, -5, 0, 0] + [1, 1, 1, 1] = [1, -4, 1, 1]
   note      each element counts once
step 6: #2 t (exp)
   g         [1, -4, 1, 1]  (the sum of 2 messages)
   to x      #1 z:  g * out
               = [0.3, -0.8, 0.1, 0.4]

GRADIENTS: what loss.backward() would add to .grad
#1 z
   grad      [0.3, -0.8, 0.1, 0.4]

added_at: zeros with g added at the places that the index names
spread: repeated along the axes that were reduced
"""


def test_the_lectures_graph(device):
    z = leaf([math.log(each) for each in (0.3, 0.2, 0.1, 0.4)], device)
    assert ledger(LECTURE, "loss", z=z) == LECTURE_80.strip("\n")


CHECKED = """
h = x * w + b
loss = (h * h).sum()
"""
CHECKED_88 = """
loss: 4 ops, 2 leaves

LEAVES: what gradients are wanted of
#1 w  float64 (2)
   value     [2, -1]
#2 b  float64 scalar
   value     0.5

FORWARD: the ops, in the order in which they ran
#3 multiply: float64 (2, 2)
   code      x * w  (lecture.py:1)
   formula   out = a * b   with a = x, a constant float64 (2, 2), b = #1 w
   value     [[2, -2], [6, -4]]
   keeps     a, 32 bytes, until step 4 of backward
#4 add -> h: float64 (2, 2)
   code      x * w + b  (lecture.py:1)
   formula   out = a + b   with a = #3 x * w, b = #2 b
   value     [[2.5, -1.5], [6.5, -3.5]]
#5 multiply: float64 (2, 2)
   code      h * h  (lecture.py:2)
   formula   out = a * b   with a = #4 h, b = #4 h
   value     [[6.25, 2.25], [42.25, 12.25]]
   keeps     a (#4 h), 32 bytes, until step 2 of backward
             b (#4 h), 32 bytes, until step 2 of backward
#6 sum -> loss: float64 scalar
   code      (h * h).sum()  (lecture.py:2)
   formula   out = sum(x, axis)   with x = #5 h * h, axis = (0, 1)
   value     63

BACKWARD: the gradient of #6 loss, beginning with 1
step 1: #6 loss (sum)
   g         1
   check     1  agrees
   to x      #5 h * h:  spread(g)
               = [[1, 1], [1, 1]]
   note      each element counts once
step 2: #5 h * h (multiply)
   g         [[1, 1], [1, 1]]
   check     [[1, 1], [1, 1]]  agrees
   to a      #4 h:  g * b
               = [[2.5, -1.5], [6.5, -3.5]]
   to b      #4 h:  g * a
               = [[2.5, -1.5], [6.5, -3.5]]
               before  [[2.5, -1.5], [6.5, -3.5]]
               this    [[2.5, -1.5], [6.5, -3.5]]
               after   [[5, -3], [13, -7]]
step 3: #4 h (add)
   g         [[5, -3], [13, -7]]  (the sum of 2 messages)
   check     [[5, -3], [13, -7]]  agrees
   to a      #3 x * w:  g
               = [[5, -3], [13, -7]]
   to b      #2 b:  g
               = [[5, -3], [13, -7]]
               b, a scalar, was broadcast to (2, 2): sum over axes 0, 1
               = 8
step 4: #3 x * w (multiply)
   g         [[5, -3], [13, -7]]
   check     [[5, -3], [13, -7]]  agrees
   to a      not computed: x is a constant
   to b      #1 w:  g * a
               = [[5, -6], [39, -28]]
               b (2) was broadcast to (2, 2): sum over axis 0
               = [44, -34]

GRADIENTS: what loss.backward() would add to .grad
#1 w
   grad      [44, -34]
   check     [44, -34]  agrees
#2 b
   grad      8
   check     8  agrees
check: central differences of the recorded ops, run again in float64; the step begins at
2^-10 (near the fifth root of float64's spacing, where the error of the extrapolation
and that of rounding meet) and shrinks where two steps disagree; arrays of more than 64
elements, and all where that would take too long, are checked along one direction of
random signs

spread: repeated along the axes that were reduced
"""


def test_broadcasting_a_shared_node_and_the_finite_differences(device):
    x, w = (
        tg.tensor([[1.0, 2.0], [3.0, 4.0]], tg.float64, device),
        leaf([2.0, -1.0], device),
    )
    options = {"check": True}
    text = ledger(CHECKED, "loss", 88, options, x=x, w=w, b=leaf(0.5, device))
    assert text == CHECKED_88.strip("\n")


FUSED = """
logits = model(x)
loss = nn.functional.cross_entropy(logits, y)
"""
FUSED_80 = """
loss: 3 ops, 2 leaves

LEAVES: what gradients are wanted of
#1 0.weight  float64 (3, 2)
   value     [[1, 0], [0, 1], [1, -1]]
#2 0.bias    float64 (3)
   value     [0, 0, 0]

FORWARD: the ops, in the order in which they ran
[Sequential] 2 ops
  [0 Linear] 1 op
    #3 linear: float64 (1, 3)
       code      model(x)  (lecture.py:1)
       formula   out = input @ weight^T + bias
                 with input = a constant float64 (1, 2), weight = #1 0.weight,
                 bias = #2 0.bias
       value     [[0.5, -0.5, 1]]
       keeps     input, 16 bytes, until step 3 of backward
  [1 Tanh] 1 op
    #4 tanh -> logits: float64 (1, 3)
       code      model(x)  (lecture.py:1)
       formula   out = tanh(x)   with x = #3 linear
       value     [[0.4621, -0.4621, 0.7616]]
       keeps     out, 24 bytes, until step 2 of backward
#5 softmax_cross_entropy -> loss: float64 scalar
   code      nn.functional.cross_entropy(logits, y)  (lecture.py:2)
   formula   out = -sum(target * log(softmax(logits))) / m
             with logits = #4 logits, target = y, a constant int64 (1), axis =
             1, reduction = 'mean', ignore_index = -100, label_smoothing = 0.0
   value     1.934
   keeps     logits (#4 logits), 24 bytes, until step 2 of backward
             target, 8 bytes, until step 1 of backward
             grad_logits, 24 bytes, until step 1 of backward

BACKWARD: the gradient of #5 loss, beginning with 1
step 1: #5 loss (softmax_cross_entropy)
   g         1
   to logits #4 logits:  g * (softmax(logits) - target) / m
               = [[0.3642, -0.8555, 0.4913]]
   to target not computed: y is a constant
   note      y_hat - y over m, the number of rows (1 unless reduction is
             'mean'). Labels are rows hot(label). In general it is y_hat sum(y)
             - y, and class weights multiply y: that y sums to 1 is assumed in
             y_hat - y
[Sequential] 2 ops
  [1 Tanh] 1 op
    step 2: #4 logits (tanh)
       g         [[0.3642, -0.8555, 0.4913]]
       to x      #3 linear:  g * (1 - out^2)
                   = [[0.2864, -0.6728, 0.2063]]
  [0 Linear] 1 op
    step 3: #3 linear
       g         [[0.2864, -0.6728, 0.2063]]
       to input  not computed: input is a constant
       to weight #1 0.weight:  g^T @ input
                   = [[0.1432, -0.1432], [-0.3364, 0.3364], [0.1032, -0.1032]]
       to bias   #2 0.bias:  g
                   = [[0.2864, -0.6728, 0.2063]]
                   bias (3) was broadcast to (1, 3): sum over axis 0
                   = [0.2864, -0.6728, 0.2063]
       note      the bias was added to every row, so its gradient is summed over
                 the rows

GRADIENTS: what loss.backward() would add to .grad
#1 0.weight
   grad      [[0.1432, -0.1432], [-0.3364, 0.3364], [0.1032, -0.1032]]
#2 0.bias
   grad      [0.2864, -0.6728, 0.2063]
"""


def small_model(device):
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh()).to(device, "float64")
    with tg.no_grad():
        model[0].weight[...] = tg.tensor([[1.0, 0], [0, 1], [1, -1]], None, device)
        model[0].bias[...] = 0.0
    return model


def test_a_model_and_the_fused_loss(device):
    x = tg.tensor([[0.5, -0.5]], tg.float64, device)
    names = dict(model=small_model(device), x=x, y=tg.tensor([1], None, device))
    assert ledger(FUSED, "loss", **names) == FUSED_80.strip("\n")


LOOP = """
h = x
for _ in range(50):
    h = tg.sin(h)
"""
LOOP_60 = """
h: 50 ops, 1 leaf

LEAVES: what gradients are wanted of
#1 h  float64 scalar
   value     1

FORWARD: the ops, in the order in which they ran
#2 sin -> h: float64 scalar
   code      tg.sin(h)  (lecture.py:3)
   formula   out = sin(x)   with x = #1 h
   value     0.8415
   keeps     x (#1 h), 8 bytes, until step 50 of backward
... 48 more turns (#3 to #50, 48 ops)
#51 sin -> h: float64 scalar
   code      tg.sin(h)  (lecture.py:3)
   formula   out = sin(x)   with x = #50 h
   value     0.2339
   keeps     x (#50 h), 8 bytes, until step 1 of backward

BACKWARD: the gradient of #51 h, beginning with 1
step 1: #51 h (sin)
   g         1
   to x      #50 h:  g * cos(x)
               = 0.9723
... 48 more turns (#3 to #50, 48 ops); steps 2 to 49
step 50: #2 h (sin)
   g         0.0183
   to x      #1 h:  g * cos(x)
               = 0.009886

GRADIENTS: what h.backward() would add to .grad
#1 h
   grad      0.009886
"""


def test_a_loop(device):
    assert ledger(LOOP, "h", 60, x=leaf(1.0, device)) == LOOP_60.strip("\n")


UNRECORDED_80 = """
a tensor: 4 ops, 1 leaf
None of the ops was recorded, so some values and all places in the program are
missing. To see them: run the forward pass inside `with tg.record():`, or call
tg.explain(f, *args).

LEAVES: what gradients are wanted of
#1 leaf  float64 (2)
   value     [1, 2]

FORWARD: the ops, in the order in which they ran
#2 exp: float64 (2)
   formula   out = exp(x)   with x = #1 leaf
   value     [2.718, 7.389]
   keeps     out, 16 bytes, until step 4 of backward
#3 multiply: float64 (2)
   formula   out = a * b   with a = #2 exp, b = #1 leaf
   value     not recorded
   keeps     a (#2 exp), 16 bytes, until step 4 of backward
             b (#1 leaf), 16 bytes, until step 3 of backward
#4 add: float64 (2)
   formula   out = a + b   with a = #3 multiply, b = a constant
   value     not recorded
#5 sum: float64 scalar
   formula   out = sum(x, axis)   with x = #4 add, axis = (0,)
   value     19.5

BACKWARD: the gradient of #5 sum, beginning with 1
step 1: #5 sum
   g         1
   to x      #4 add:  spread(g)
               = [1, 1]
   note      each element counts once
step 2: #4 add
   g         [1, 1]
   to a      #3 multiply:  g
               = [1, 1]
   to b      not computed: b is a constant
step 3: #3 multiply
   g         [1, 1]
   to a      #2 exp:  g * b
               = [1, 2]
   to b      #1 leaf:  g * a
               = [2.718, 7.389]
step 4: #2 exp
   g         [1, 2]
   to x      #1 leaf:  g * out
               = [2.718, 14.78]
               adds up: [2.718, 7.389] + [2.718, 14.78] = [5.437, 22.17]

GRADIENTS: what backward() would add to .grad
#1 leaf
   grad      [5.437, 22.17]

spread: repeated along the axes that were reduced
"""


def test_what_is_shown_without_recording(device):
    x = leaf([1.0, 2.0], device)
    loss = (tg.exp(x) * x + 1.0).sum()
    assert tg.explain(loss).text(80) == UNRECORDED_80.strip("\n")


def test_hooks_and_what_is_in_grad_already(device):
    x = leaf([1.0, 2.0], device)
    x.grad = tg.tensor([10.0, 20.0], tg.float64, device)
    x.register_hook(lambda g: None)
    text = ledger("loss = (x * 3.0).sum()", "loss", x=x)
    assert text.endswith(
        "GRADIENTS: what loss.backward() would add to .grad\n"
        "#1 x\n"
        "   grad      [3, 3]\n"
        "   hooks     1 hook would see it; explain runs none\n"
        "             to what is there: [10, 20]\n"
        "\n"
        "spread: repeated along the axes that were reduced"
    )


def test_a_hook_that_changes_a_gradient(device):
    """What backward() would add is then another gradient, and the head says so."""
    x = leaf([1.0, 2.0], device)
    with tg.record():
        h = x * x
        h.register_hook(lambda g: g * 100.0)
        loss = h.sum()
    explanation = tg.explain(loss)
    said = "Hooks are not run here: where one returns another gradient, backward()"
    assert said in explanation.text(80).split("LEAVES")[0]
    assert said in explanation._repr_html_()
    assert host(explanation.named("x").gradient).tolist() == [2, 4]
    loss.backward()
    assert host(x.grad).tolist() == [200, 400]
    assert "Hooks" not in tg.explain(lambda x: x.sum(), x).text(80)


# -- the words -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "width", "lines"),
    [
        (2.0, 60, ["2"]),
        (-0.0, 60, ["0"]),
        (True, 60, ["True"]),
        (np.array([1, 2]), 60, ["[1, 2]"]),
        (np.array([True, False]), 60, ["[True, False]"]),
        (np.array([0.30000000000000004, -1e-20]), 60, ["[0.3, -1e-20]"]),
        (np.array([np.nan, np.inf]), 60, ["[nan, inf]"]),
        (np.zeros((0, 3)), 60, ["[]"]),
        (np.eye(2), 60, ["[[1, 0], [0, 1]]"]),
        (np.eye(2) + 0.125, 22, ["[[1.125, 0.125],", " [0.125, 1.125]]"]),
        (np.arange(12.0), 22, ["[0, 1, 2, 3, 4, 5, 6,", " 7, 8, 9, 10, 11]"]),
        (np.arange(100.0), 60, ["[0, 1, 2, 3, ...]  0 to 99, mean 49.5"]),
        (np.full(100, np.nan), 60, ["[nan, nan, nan, nan, ...]  no finite number, 100 "
                                    "not finite"]),
        (None, 60, ["None"]),
    ],
)  # fmt: skip
def test_arrays_in_lines(value, width, lines):
    shown = words.array_lines(value, width if width != 60 else 70)
    assert shown == lines


def test_sizes_and_statics():
    sizes = [1, 32, 12_345, 3_200_000, 5 * 10**9]
    shown = [words.size_text(n) for n in sizes]
    assert shown == ["1 byte", "32 bytes", "12.3 kB", "3.2 MB", "5 GB"]
    assert words.static_text(np.dtype("float32")) == "float32"
    assert words.static_text((slice(None), 2)) == "(:, 2)"
    assert words.static_text(slice(1, None, 2)) == "1::2"
    assert words.static_text(np.array([2, 0])) == "[2, 0]"
    assert words.static_text((0, np.arange(9))) == "(0, int64 (9))"
    assert words.static_text("x" * 100).endswith("...")


def test_a_layer_with_its_activation_and_a_dropout_that_is_drawn_again(device):
    """Ops that modules call on a GPU, here on any device."""
    from tinygrad_softmax.backends.random import Draw
    from tinygrad_softmax.nn.functional.dropouts import _dropout
    from tinygrad_softmax.nn.functional.linears import linear_activation

    program = """
h = linear_activation(x, w, b, "relu")
y = dropout(h, p=0.5, draw=draw, shape=(2, 2))
loss = y.sum()
"""
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], tg.float64, device)
    w, b = leaf([[1.0, 0.5], [-1.0, 0.5]], device), leaf([0.5, 0.5], device)
    names = dict(linear_activation=linear_activation, dropout=_dropout, x=x, w=w, b=b)
    names["draw"] = Draw(3, 7)
    text = ledger(program, "loss", options={"check": True}, **names)
    text = " ".join(text.split())
    assert "out = activation(input @ weight^T + bias) with input = x," in text
    assert "activation = 'relu'" in text
    assert "draw = number 7 of seed 3, shape = (2, 2)" in text
    assert "to weight #1 w: d^T @ input" in text
    assert "to bias #2 b: sum_over(d, rows)" in text
    assert "note d = g activation'(input weight^T + bias)" in text
    assert "to input #3 h: g / (1 - p) if kept(draw) else 0" in text
    assert "DISAGREES" not in text.upper()
    assert text.count("agrees") == 5
