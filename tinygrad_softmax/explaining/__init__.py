"""Floor 5: the user's own graph, forward and backward, step by step.

Users call `tg.explain`, `tg.record` and `tg.explore`. Whoever shows an explanation in
another way begins at explanation.py: `Explanation` is data alone, made of
`Entry` (a node), `Message` (a gradient on its way), `Group` and `Repeat` (what may be
folded), and `Explanation.to_json()` gives all of it as plain dicts and lists, with
large arrays as summaries (summaries.py).

recording.py    what the engine's observer attaches to each node
collecting.py   from a graph to its Explanation
tracing.py      the backward pass, watched
sources.py      the expression at a place in the program
grouping.py     module calls, loops, the names of parameters
formulas.py     the formula of each op and of its rules (tables in formulas_*.py)
jsonable.py     an Explanation as plain data; summaries.py: arrays in few words

ledger.py       an Explanation as text; notebook.py: as HTML
drawing.py      a graph as one static SVG; drawing_layout.py, drawing_cells.py: where
                boxes stand, and what is in them
tensor_view.py  what a notebook shows of a tensor

exploring.py    a graph as an HTML page that is stepped through in a browser
page_data.py    what the page draws; page_arrays.py, page_formulas.py, page_turns.py:
                parts of it; nudging.py: the root with single cells nudged
page_writing.py page/*.js, page.css and the words put together into one file
programs.py     the short programs whose graphs the command line explores
"""

from .entrance import explain
from .explanation import (
    Check,
    Entry,
    Explanation,
    Group,
    Input,
    Kept,
    Message,
    Repeat,
)
from .exploring import explore
from .formula_text import Formula
from .recording import record
from .sources import Source

__all__ = [
    "Check",
    "Entry",
    "Explanation",
    "Formula",
    "Group",
    "Input",
    "Kept",
    "Message",
    "Repeat",
    "Source",
    "explain",
    "explore",
    "record",
]
