"""The results in a folder: written anew after every row, so that nothing is lost.

gpu.json has all that was measured, gpu.md is its tables. A run of some parts keeps what
the folder has of the others.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from . import report

ROOT = Path(__file__).resolve().parent.parent.parent
JSON, MARKDOWN = "gpu.json", "gpu.md"


class NotAReportError(Exception):
    """The folder has a gpu.json of something else, or one that is damaged."""


def clean(text: str) -> str:
    """Without the paths of this machine and its name."""
    for place, short in ((f"{ROOT}{os.sep}", ""), (str(ROOT), "."), (_home(), "~")):
        if len(place) > 1:
            text = text.replace(place, short)
    node = platform.node()
    return text.replace(node, "this machine") if len(node) > 3 else text


def _home() -> str:
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def _cleaned(result: dict[str, Any]) -> dict[str, Any]:
    peers = {k: clean(text) for k, text in result.get("errors", {}).items()}
    return {
        **result,
        "error": clean(result["error"]),
        **({"errors": peers} if peers else {}),
    }


class Store:
    """What a folder holds. `begin` a part, `put` its rows, `end` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, dict[str, Any]] = {}
        try:
            found = json.loads((folder / JSON).read_text("utf-8"))
            self.parts = {part: dict(found["parts"][part]) for part in found["parts"]}
            report.markdown(self.parts)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotAReportError(
                f"{folder / JSON} is there and is no report ({error}); mend: name "
                "another folder"
            ) from None

    def begin(self, part: str, conditions: dict[str, Any]) -> None:
        """Forget an earlier run of the part."""
        head = {"date": date.today().isoformat(), "seconds": None}
        self.parts.pop(part, None)
        self.parts[part] = {**head, **conditions, "rows": []}
        self.write()

    def put(self, part: str, result: dict[str, Any]) -> None:
        """Add a row. One that is there is not taken back by a `not run`."""
        rows, name = self.parts[part]["rows"], (result["work"], result["case"])
        known = any((row["work"], row["case"]) == name for row in rows)
        if not (known and result["state"] == "not run"):
            rows.append(_cleaned(result))
            self.write()

    def replace(self, part: str, results: list[dict[str, Any]]) -> None:
        """All rows of a part, instead of those that were there."""
        self.parts[part]["rows"] = [_cleaned(result) for result in results]
        self.write()

    def end(self, part: str, seconds: float) -> None:
        self.parts[part]["seconds"] = round(seconds, 1)
        self.write()

    def write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"parts": self.parts}, indent=1) + "\n"
        self._replace(JSON, text)
        self._replace(MARKDOWN, self.markdown())

    def markdown(self) -> str:
        return report.markdown(self.parts)

    def red(self, parts: list[str]) -> int:
        """How many rows of those parts did not end well."""
        return sum(
            row["state"] != "ok" for part in parts for row in self.parts[part]["rows"]
        )

    def _replace(self, name: str, text: str) -> None:
        """At no moment is there half a file."""
        new = self.folder / f"{name}.new"
        new.write_text(text, "utf-8")
        os.replace(new, self.folder / name)
