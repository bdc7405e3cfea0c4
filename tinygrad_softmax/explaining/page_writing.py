"""From a page's data and the files of page/ to one HTML file that needs nothing else.

page/ holds HTML, CSS, words and JavaScript modules, which can be read as they are. Here
the modules are put one below the other in the order of their imports, and everything
goes into page.html. The file makes no request, and its content security policy forbids
any, and any script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent / "page"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(
    r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE
)


def page_html(data: dict[str, Any], title: str) -> str:
    """The whole page."""
    style, script = _text("page.css"), script_of("main.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    pieces = {
        "policy": policy,
        "title": escape(title),
        "style": style,
        "data": as_json(data),
        "words": as_json(json.loads(_text("words.json"))),
        "remarks": as_json(remarks_of(data)),
        "script": script,
    }
    template = _text("page.html")
    return re.sub(r"\{(\w+)\}", lambda found: pieces[found[1]], template)


def as_json(value: Any) -> str:
    """JSON that may stand in a script element: no `<` ends it or begins a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def remarks_of(data: dict[str, Any]) -> dict[str, str]:
    """The Chinese for those remarks of the library that occur in a page's data."""
    known = json.loads(_text("remarks.json"))
    texts = {node.get("note") for node in data["nodes"]} | {*data["terms"].values()}
    texts |= {*data["notes"], *(box["title"] for box in data["boxes"])}
    found = {text: known[text] for text in sorted(filter(None, texts)) if text in known}
    title = _title_of(data["title"], known)
    return found if title is None else {**found, data["title"]: title}


def _title_of(title: str, known: dict[str, str]) -> str | None:
    """The Chinese for a title, of which some parts are names, as in "line {line}"."""
    for english, chinese in known.items():
        parts = re.split(r"\{(\w+)\}", english)
        form = "".join(
            f"(?P<{part}>.+)" if i % 2 else re.escape(part)
            for i, part in enumerate(parts)
        )
        found = re.fullmatch(form, title)
        if found:
            return chinese.format(**found.groupdict())
    return None


@cache
def script_of(first: str) -> str:
    """A module and all that it imports, as one script. (No two of them have a name in
    common, which a test holds.)"""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        text = _text(name)
        done[name] = ""  # (its place is taken by those that it imports)
        for other in _IMPORT.findall(text):
            if other not in done:
                add(other)
        del done[name]
        done[name] = _EXPORT.sub("", _IMPORT.sub("", text))

    add(first)
    parts = [f"// ---- {name}\n{text}" for name, text in done.items()]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


@cache
def _text(name: str) -> str:
    return (PAGE / name).read_text("utf-8")


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"
