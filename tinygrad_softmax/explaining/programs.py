"""Short programs that the library itself explains: their lines are what is shown.

An explanation says where in the user's program each op stands. Where the command line
makes a graph there is no such program, so it runs one of these, which is then found by
its name as if it were a file.
"""

from __future__ import annotations

import linecache
from importlib import import_module
from typing import Any

import numpy as np

from .entrance import explain
from .explanation import Explanation
from .recording import record

# z = W a + b, chosen so that softmax(z) is the lecture's poor prediction of a cat.
LECTURE = """\
a = tg.tensor(np.array([[1.0], [2.0]]))
y = tg.tensor(np.array([[0.0], [1.0], [0.0], [0.0]]))
W = np.array([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.5], [0.5, 0.0]])
b = np.log([[0.3], [0.2], [0.1], [0.4]]) - W @ a.numpy()
W = tg.tensor(W, requires_grad=True)
b = tg.tensor(b, requires_grad=True)

z = W @ a + b
loss = tg.softmax_cross_entropy(z, y, axis=0)
"""

CLASSIFIER = """\
logits = model(x)
loss = tg.softmax_cross_entropy(logits, label)
"""


def explain_lecture() -> Explanation:
    """The lecture's example: four classes, the truth is a cat, y_hat gives it 20 %.

    >>> from tinygrad_softmax.explaining.programs import explain_lecture
    >>> explanation = explain_lecture()
    >>> np.round(explanation.named("z").gradient.ravel(), 6)
    array([ 0.3, -0.8,  0.1,  0.4])
    """
    return run_program(LECTURE, "lecture.py", "The lecture's example")


def explain_classifier(model: Any, x: Any, label: Any, title: str) -> Explanation:
    """The loss of a classifier's model on rows x, shape (rows, columns), with labels of
    shape (rows,), both tensors."""
    given = {"model": model, "x": x, "label": label}
    return run_program(CLASSIFIER, "classifier.py", title, **given)


def run_program(text: str, name: str, title: str, **variables: Any) -> Explanation:
    """Run a program under `record`, and explain its variable `loss`."""
    # The program has what a user's has, the whole package.
    tg = import_module(__name__.partition(".")[0])
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    variables |= {"tg": tg, "np": np}
    with record():
        exec(compile(text, name, "exec"), variables)
    explanation = explain(variables["loss"])
    explanation.title = title
    return explanation
