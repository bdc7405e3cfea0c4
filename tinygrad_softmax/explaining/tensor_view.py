"""What a notebook shows of a tensor: its values as a table, and its graph.

`tinygrad_softmax/__init__.py` makes these two functions the methods by which notebooks
ask (`_repr_html_`, `_repr_mimebundle_`), so this room is imported when one does.

No gradient rule runs, and of a tensor on a GPU nothing but its own array is fetched,
once, as for printing it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from html import escape
from typing import Any

from ..autograd.graph import Node
from ..backends import backend_of
from ..tensor import Tensor
from .collecting import collect_forward
from .drawing import as_file, drawing_svg, shape_of
from .explanation import Explanation
from .grouping import group
from .summaries import CORNER, host
from .words import number

NODES = 3000  # of a graph, which are looked at; the newest
ALL = 10  # rows or columns, up to which all are shown
COLUMNS = 8

STYLE = """
.tg-tensor { font: 13px/1.5 system-ui, sans-serif; }
.tg-tensor table { border-collapse: collapse; margin: 0.3em 0; }
.tg-tensor td { text-align: right; padding: 0.1em 0.6em; background: none; border: 0;
  font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tg-tensor .tg-quiet { opacity: 0.7; }
.tg-tensor .tg-wide { overflow-x: auto; max-width: 100%; margin: 0.4em 0; }
.tg-tensor svg { max-width: none; }
"""


def tensor_html(tensor: Tensor) -> str:
    """The values and, of a tensor that was computed with a graph, a drawing of it."""
    return _html(tensor, tensor_svg(tensor))


def tensor_mimebundle(
    tensor: Tensor, include: Any = None, exclude: Any = None
) -> dict[str, str]:
    """The same by MIME type: text, HTML, and the drawing alone as SVG.

    include, exclude: the types that are wanted, and those that are not; IPython's.
    """
    svg = tensor_svg(tensor)
    found = {"text/plain": repr(tensor), "text/html": _html(tensor, svg)}
    if svg:
        found["image/svg+xml"] = as_file(svg)
    wanted = set(found if include is None else include) - set(exclude or ())
    return {kind: text for kind, text in found.items() if kind in wanted}


def _html(tensor: Tensor, svg: str) -> str:
    facts = [tensor.dtype.name, shape_of(tensor.shape), tensor.device]
    facts += ["requires_grad"] * tensor.requires_grad
    head = "<div><b>tensor</b> " + escape(" \u00b7 ".join(facts)) + "</div>"
    parts = [f'<div class="tg-tensor"><style>{STYLE}</style>{head}', _table(tensor)]
    if svg:
        parts.append(f'<div class="tg-wide">{svg}</div>')
        parts.append(_quiet(_how_to_see_more(tensor, svg)))
    elif tensor.node is not None and not tensor.is_leaf:
        parts.append(_quiet("its graph was freed by backward"))
    return "".join([*parts, "</div>"])


def _quiet(text: str) -> str:
    return f'<div class="tg-quiet">{escape(text)}</div>'


def _how_to_see_more(tensor: Tensor, svg: str) -> str:
    text = "No gradient was computed for this picture"
    if tensor.device != "cpu":
        text += f", and no value was fetched from {tensor.device}"
    elif 'class="hollow"' in svg:
        text += "; dashed is a value that was not kept"
    return text + ". tg.explain shows the gradients, tg.record() keeps the values."


# -- the values ------------------------------------------------------------------------


def _table(tensor: Tensor) -> str:
    """All values of a small tensor, the corners of a large one; of more than two axes,
    the first matrix."""
    array = backend_of(tensor.array).to_host(tensor.array)
    if not array.size:
        return _quiet("no elements")
    matrix = array[(0,) * max(0, array.ndim - 2)]
    matrix = matrix.reshape(1, -1) if matrix.ndim < 2 else matrix
    rows, columns = _ends(matrix.shape[0], ALL), _ends(matrix.shape[1], COLUMNS)
    lines = []
    for row in rows:
        if row is None:
            cells = ["\u22ee"] * len(columns)
        else:
            places = [column for column in columns if column is not None]
            values = iter(host(matrix[row, places]))
            cells = ["\u22ef" if c is None else number(next(values)) for c in columns]
        lines.append("".join(f"<td>{cell}</td>" for cell in cells))
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    where = ""
    if array.ndim > 2:
        index = ", ".join(["0"] * (array.ndim - 2))
        where = _quiet(f"[{index}], the first of {array.size // matrix.size:,}")
    return f'{where}<div class="tg-wide"><table>{table}</table></div>'


def _ends(n: int, most: int) -> list[int | None]:
    """0 to n - 1, or the first and the last few, with None between."""
    if n <= most:
        return list(range(n))
    return [*range(CORNER), None, *range(n - CORNER, n)]


# -- the graph -------------------------------------------------------------------------


def tensor_svg(tensor: Tensor) -> str:
    """The drawing of a tensor's graph, "" of a tensor that has none (any more)."""
    node = tensor.node
    if node is None or node.plan is None or node.parents is None:
        return ""
    explanation = collect_forward(tensor, _older(node))
    group(explanation)
    label = explanation[explanation.root].label
    explanation.title = label or "a tensor"
    if tensor.device != "cpu":
        _forget_values(explanation)
    return drawing_svg(explanation, gradients=False)


def _older(root: Node) -> frozenset[Node]:
    """Where a graph is cut that has more than `NODES` nodes: what stands before its
    newest ones."""
    heap, seen, taken = [(-root.order, root)], {root}, 0
    while heap and taken < NODES:
        _, node = heappop(heap)
        taken += 1
        for parent in node.parents or ():
            if parent is not None and parent not in seen:
                seen.add(parent)
                heappush(heap, (-parent.order, parent))
    return frozenset(node for _, node in heap if node.plan is not None)


def _forget_values(explanation: Explanation) -> None:
    """Fetching them would make the device wait."""
    for entry in explanation.entries:
        entry.value, entry.value_note = None, "not fetched from the device"
        for each in entry.inputs:
            if each.entry is None:
                each.known = not hasattr(each.value, "dtype")
