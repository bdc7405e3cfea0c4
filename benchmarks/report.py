"""Results as JSON and as Markdown: targets first, beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .goals import Row
from .measuring import OURS, Measured

MARKS = {True: "met", False: "missed", None: "not measured"}


def row_result(row: Row, cases: list[Measured], whole: bool) -> dict[str, Any]:
    """A row for the JSON. Goals of a row that was cut short (not `whole`) are open."""
    goals = []
    for goal in row.goals:
        value = goal.value(cases) if whole else None
        met = None if value is None else value <= goal.limit
        goals.append(
            {
                "target": goal.describe(),
                "limit": goal.limit,
                "measured": value,
                "met": met,
                "unsteady": met is not None and any(case.unsteady for case in cases),
            }
        )
    return {
        "name": row.name,
        "title": row.title,
        "whole": whole,
        "cases": [case.as_dict() for case in cases],
        "goals": goals,
    }


def write(folder: Path, results: dict[str, Any]) -> None:
    """`cpu.json` and `cpu.md` in the folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (folder / "cpu.json").write_text(text, "utf-8")
    (folder / "cpu.md").write_text(markdown(results), "utf-8")


def markdown(results: dict[str, Any]) -> str:
    rows = results["rows"]
    parts = [f"# CPU, {results['date']}, {results['effort']}", *conditions(results)]
    parts += ["## Targets", table(("work", "target", "measured", ""), targets(rows))]
    missing = [row["title"] for row in rows if not row["whole"]]
    if missing:
        parts.append("Time was up before the end of: " + "; ".join(missing) + ".")
    parts += ["## All cases", "Medians; in brackets the ratio of ours to it."]
    names = libraries(rows)
    parts.append(table(("work", "case", *names), cases(rows, names)))
    return "\n\n".join(parts) + "\n"


def conditions(results: dict[str, Any]) -> list[str]:
    """The machine and its load, in a few lines."""
    machine = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items())
    pools = [
        " ".join(str(v) for k, v in pool.items() if k != "num_threads")
        + f" ({pool.get('num_threads', '?')} threads)"
        for pool in machine["threads"] or []
    ]
    lines = [
        f"- {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}",
        f"- {versions}; commit {machine['commit'] or 'unknown'}",
        "- " + ("; ".join(pools) or "thread pools unknown: threadpoolctl is missing"),
        f"- load average {results['load_before']} before, "
        f"{results['load_highest']} at the highest (its own threads included)",
    ]
    if machine["environment"]:
        set_to = (f"`{k}={v}`" for k, v in machine["environment"].items())
        lines.append("- set in the environment: " + ", ".join(set_to))
    return ["\n".join(lines)]


def targets(rows: list[dict[str, Any]]) -> list[Sequence[str]]:
    lines = []
    for row in rows:
        for goal in row["goals"]:
            value = goal["measured"]
            shown = "" if value is None else significant(value)
            mark = MARKS[goal["met"]] + (", unsteady" if goal["unsteady"] else "")
            lines.append((row["title"], goal["target"], shown, mark))
    return lines


def libraries(rows: list[dict[str, Any]]) -> list[str]:
    """Those that were measured, in the order in which they come."""
    return list(
        dict.fromkeys(n for row in rows for c in row["cases"] for n in c["median"])
    )


def cases(rows: list[dict[str, Any]], names: list[str]) -> list[Sequence[str]]:
    lines = []
    for row in rows:
        for case in row["cases"]:
            median = case["median"]
            cells = []
            for name in names:
                cell = amount(median[name], case["unit"]) if name in median else ""
                if cell and name != OURS and median[name] > 0:
                    cell += f" ({median[OURS] / median[name]:.2f})"
                cells.append(cell)
            lines.append((row["title"], case["case"], *cells))
    return lines


def significant(value: float) -> str:
    """Three digits, none of them cut off before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def amount(value: float, unit: str) -> str:
    """A measured value with its unit; seconds as us, ms or s."""
    if unit == "s":
        for limit, factor, name in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
            if value < limit:
                return f"{significant(value * factor)} {name}"
    return f"{significant(value)} {unit}"


def table(head: Sequence[str], lines: list[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))
