"""The tables of a report: what failed first, then the goals, then every figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .row import COMPILED, CUPY, LIGER, OURS, PYTORCH

Parts = dict[str, dict[str, Any]]
Line = Sequence[str]

COPY = "copy on the device"
LIBRARIES = (CUPY, PYTORCH, COMPILED, LIGER, "PyTorch, TF32")
SHOWN = 60  # red rows at most; gpu.json has all
ORDER = ("tests", "kernels", "steps")


def markdown(parts: Parts) -> str:
    """The page. Tables that nothing was measured for are left out."""
    rows = [row for name in _ordered(parts) for row in parts[name]["rows"]]
    copied = copy_rate(rows)
    red = [row for row in rows if row["state"] != "ok"]
    goals = list(judged(rows, copied))
    page = [_title(parts), _conditions(parts), _summary(rows, red, goals)]
    blocks = (
        ("Red rows", ("work", "case", "state", "why"), _red(red)),
        ("Peers that failed", ("work", "case", "peer", "why"), _peers(rows)),
        ("Tests", ("what ran", "passed", "failed", "not run", "seconds"), _tests(rows)),
        ("Goals", ("work", "case", "goal", "measured", ""), [g[:5] for g in goals]),
        ("Ceilings", ("work", "case", "by", "reached"), list(_ceilings(rows))),
        (
            "Times of the device",
            ("work", "case", OURS, *LIBRARIES, "host", "share of the copy"),
            list(_times(rows, copied)),
        ),
        ("Peak memory", ("model", OURS, PYTORCH, "ratio"), list(_memory(rows))),
    )
    for title, head, lines in blocks:
        if lines:
            page += [f"## {title}", *_notes(title), table(head, lines)]
    return "\n\n".join(each for each in page if each) + "\n"


def _notes(title: str) -> list[str]:
    if title == "Times of the device":
        return [
            "Medians; in brackets ours divided by it, so less is better. `host` is how "
            "long our call keeps the host."
        ]
    return []


def _ordered(parts: Parts) -> list[str]:
    return sorted(parts, key=lambda p: ORDER.index(p) if p in ORDER else len(ORDER))


def _title(parts: Parts) -> str:
    devices = {part["device"]["name"]: None for part in parts.values()}
    return "# GPU report: " + (", ".join(devices) or "nothing measured")


def _conditions(parts: Parts) -> str:
    lines = []
    for name in _ordered(parts):
        part, device = parts[name], parts[name]["device"]
        versions = ", ".join(f"{k} {v}" for k, v in part["versions"].items())
        seconds = part["seconds"]
        took = "not ended" if seconds is None else f"{seconds:.0f} s"
        memory = device["memory"] / 1e9
        lines.append(
            f"- {name}, {part['date']}, {took}: {device['name']}, compute capability "
            f"{device['capability']}, {device['multiprocessors']} multiprocessors, "
            f"{memory:.0f} GB, {device['l2'] / 1e6:.0f} MB of L2; {versions}; commit "
            f"{part['commit'] or 'unknown'}"
        )
    return "\n".join(lines)


def _summary(rows: list[Any], red: list[Any], goals: list[Line]) -> str:
    met = sum(goal[4] == "met" for goal in goals)
    unknown = sum(goal[4] == "not measured" for goal in goals)
    return (
        f"{len(rows)} rows, {len(red)} of them red. {len(goals)} goals: {met} met, "
        f"{len(goals) - met - unknown} missed, {unknown} not measured."
    )


def _red(rows: list[Any]) -> list[Line]:
    lines: list[Line] = [
        (row["work"], row["case"], f"**{row['state']}**", row["error"])
        for row in rows[:SHOWN]
    ]
    if len(rows) > SHOWN:
        lines.append((f"and {len(rows) - SHOWN} more, in gpu.json", "", "", ""))
    return lines


def _peers(rows: list[Any]) -> list[Line]:
    """A peer that could not be measured is no fault of the row's."""
    return [
        (row["work"], row["case"], peer, why)
        for row in rows
        for peer, why in row.get("errors", {}).items()
    ]


def _tests(rows: list[Any]) -> list[Line]:
    return [
        (
            row["case"],
            str(row["counts"]["passed"]),
            str(row["counts"]["failed"]),
            str(row["counts"]["not run"]),
            f"{row['seconds']:.0f}",
        )
        for row in rows
        if "counts" in row
    ]


# -- rates and goals -------------------------------------------------------------------


def copy_rate(rows: list[Any]) -> float | None:
    """Bytes/s of the fastest copy, read and written; None if none was measured."""
    rates = [
        row["bytes"] / time["device"]
        for row in rows
        if row["work"] == COPY
        for time in row.get("times", {}).values()
    ]
    return max(rates, default=None)


def share_of_copy(row: dict[str, Any], copied: float | None) -> float | None:
    """Of the bytes that must be moved; what is moved beside them counts as lost."""
    time = row.get("times", {}).get(OURS)
    if not copied or not time or not row.get("bytes"):
        return None
    return row["bytes"] / time["device"] / copied


def against(row: dict[str, Any], peer: str) -> float | None:
    """Ours divided by the peer's."""
    times = row.get("times", {})
    if OURS not in times or peer not in times:
        return None
    return times[OURS]["device"] / times[peer]["device"]


def judged(rows: list[Any], copied: float | None) -> Iterator[Line]:
    """(work, case, goal, measured, mark); a goal of a red row is not measured."""
    for row in rows:
        for goal in row.get("goals", ()):
            well, limit = row["state"] == "ok", goal["limit"]
            if goal["kind"] == "share":
                value = share_of_copy(row, copied) if well else None
                told = f"at least {limit:.0%} of the copy"
                measured = "" if value is None else f"{value:.1%}"
                missed = None if value is None else limit / value
            else:
                value = against(row, goal["peer"]) if well else None
                told = _ratio_goal(limit, goal["peer"])
                measured = "" if value is None else f"{value:.3f} x"
                missed = None if value is None else value / limit
            yield row["work"], row["case"], told, measured, _mark(missed)


def _ratio_goal(limit: float, peer: str) -> str:
    if limit < 1.0:
        return f"at least {1.0 / limit:.3g} x as fast as {peer}"
    return f"at most {limit:g} x {peer}"


def _mark(missed: float | None) -> str:
    """`missed`: what was measured over what was allowed, as times."""
    if missed is None:
        return "not measured"
    return "met" if missed <= 1.0 else f"**missed**, {missed:.2f} x too slow"


# -- the lines -------------------------------------------------------------------------


def _ceilings(rows: list[Any]) -> Iterator[Line]:
    for row in rows:
        for library, time in row.get("times", {}).items():
            if row["work"] == COPY:
                reached = f"{row['bytes'] / time['device'] / 1e12:.2f} TB/s"
            elif "flops" in row:
                reached = f"{row['flops'] / time['device'] / 1e12:.1f} TFLOP/s"
            else:
                continue
            yield row["work"], row["case"], library, reached


def _times(rows: list[Any], copied: float | None) -> Iterator[Line]:
    for row in rows:
        times = row.get("times", {})
        if not times or row["work"] == COPY:
            continue
        cells = [seconds(times[OURS]["device"]) if OURS in times else ""]
        for library in LIBRARIES:
            value = against(row, library)
            shown = seconds(times[library]["device"]) if library in times else ""
            cells.append(shown if value is None else f"{shown} ({value:.2f})")
        cells.append(seconds(times[OURS]["host"]) if OURS in times else "")
        part = share_of_copy(row, copied)
        cells.append("" if part is None else f"{part:.0%}")
        yield row["work"], row["case"], *cells


def _memory(rows: list[Any]) -> Iterator[Line]:
    peaks: dict[str, dict[str, int]] = {}
    for row in rows:
        peaks.setdefault(row["case"], {}).update(row.get("peak", {}))
    for case, peak in peaks.items():
        if peak:
            mine, other = peak.get(OURS), peak.get(PYTORCH)
            both = f"{mine / other:.2f}" if mine and other else ""
            yield case, megabytes(mine), megabytes(other), both


def megabytes(size: int | None) -> str:
    return "" if size is None else f"{significant(size / 1e6)} MB"


def significant(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    for limit, factor, name in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{significant(value * factor)} {name}"
    return f"{significant(value)} s"


def table(head: Line, lines: Sequence[Line]) -> str:
    rule = ["---"] * len(head)
    cells = ([str(cell).replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *cells))
