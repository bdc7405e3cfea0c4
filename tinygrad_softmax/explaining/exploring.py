"""`tg.explore`: a graph as a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..tensor import Tensor
from .entrance import explain
from .explanation import Explanation


def explore(loss: Tensor | Explanation, path: str | os.PathLike[str]) -> Path:
    """Write a page that shows a graph forward and backward, step by step, and return
    its path.

    The page is one HTML file that any browser opens, without a network: the graph, to
    be stepped through with buttons or arrow keys; every value and gradient as a heat
    map; each message with the formula it follows, what it is summed over and what it is
    added to; the fused cross-entropy unfolded into exp, sum, divide and log; and, for
    graphs small enough, what the loss becomes when any cell is nudged. It is in English
    and Chinese.

    loss: a tensor, best computed under `tg.record()`, or what `tg.explain` returned.
        A tensor that is no scalar needs a gradient: give
        `tg.explain(tensor, gradient=...)`.
    path: of the file, such as "graph.html". It is written whole or not at all, and
        replaces one that is there.

    As with `explain`, nothing that is computed changes.

    Raises:
        TypeError: what was given is neither a tensor nor an Explanation, or the path is
            no path.
        RuntimeError: the tensor has no graph, or an earlier backward freed it.
        ValueError: the graph has more than 5,000 nodes.
        OSError: the file can't be written.

    >>> import os, tempfile
    >>> w = tg.tensor([2.0, 3.0], requires_grad=True)
    >>> with tg.record():
    ...     loss = (w * w).sum()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = tg.explore(loss, os.path.join(folder, "graph.html"))
    ...     page.name, page.stat().st_size < 150_000
    ('graph.html', True)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"explore: the path is a {type(path).__name__}; expected where to write "
            'the page; mend: tg.explore(loss, "graph.html")'
        )
    from ..saving import write_atomically
    from .page_data import page_data
    from .page_writing import page_html

    explanation = loss if isinstance(loss, Explanation) else _explained(loss)
    html = page_html(page_data(explanation), explanation.title)
    write_atomically(path, html.encode())
    return Path(path)


def _explained(loss: Any) -> Explanation:
    if not isinstance(loss, Tensor):
        more = (
            "; mend: tg.explore(tg.explain(f, *args), path)" if callable(loss) else ""
        )
        raise TypeError(
            f"explore: a {type(loss).__name__} was given; expected a tensor or what "
            f"tg.explain returns{more}"
        )
    return explain(loss)
