"""The benchmarks run, compare what they time, and say what they found; no times."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cpu, curves, floors, machine, measuring, report, rows, worker
from benchmarks.goals import Amount, Ratio, Row
from benchmarks.measuring import (
    BY_HAND,
    OURS,
    PYTORCH,
    TOY,
    Effort,
    Entry,
    Measured,
    check_same,
    side_by_side,
    timed,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def example_models_are_forgotten():
    yield
    for path in (ROOT / "examples" / "models").glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("row", rows.ALL, ids=lambda row: row.name)
def test_a_row_measures_ours_and_the_peers_that_are_there(row):
    cases = list(row.measure(TOY))
    assert cases
    for case in cases:
        assert case.median[OURS] >= 0.0
        assert case.unit in ("s", "MB", "x")
        if case.unit == "s":
            assert all(0.0 < t < math.inf for t in case.median.values())
            assert all(case.least[k] <= t for k, t in case.median.items())
        if row.name not in ("import", "linear_cross_entropy"):  # PyTorch has none
            assert (PYTORCH in case.median) == measuring.installed(PYTORCH)
        assert set(case.median) == set(case.least) == set(case.calls)
    for goal in row.goals:
        if isinstance(goal, Ratio) and goal.peer in cases[0].median:
            assert goal.value(cases) > 0.0


def test_rows_have_names_of_their_own():
    assert len({row.name for row in rows.ALL}) == len(rows.ALL)


def entry(loss=1.0, gradients=((1.0, 1.0, 1.0),), step=lambda: None):
    arrays = [np.array(each) for each in gradients]
    return Entry(step, lambda: {"loss": [loss], "gradients": arrays})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (entry(loss=1.001), "loss differ by 0.001"),
        (entry(gradients=[np.array([1.0, 1.0, 1.001])]), "gradients differ by 0.001"),
        (entry(gradients=[np.array([1.0, 1.0, np.nan])]), "gradients differ by nan"),
        (entry(gradients=[np.ones(1)]), "gradients differ"),
        (entry(gradients=[]), "1 gradients here, 0 in NumPy by hand"),
    ],
)
def test_libraries_that_differ_are_not_timed(other, message):
    def never():
        pytest.fail("it was timed")

    builders = {OURS: lambda: entry(step=never), BY_HAND: lambda: other}
    with pytest.raises(ValueError, match=re.escape(message)):
        side_by_side("case", builders, TOY)


def test_rounding_does_not_make_a_difference():
    ours = {"gradients": [np.ones(3), np.array([1e-9])]}
    check_same("case", ours, "other", {"gradients": [np.ones(3) + 9e-5, np.zeros(1)]})


def test_a_library_that_is_missing_is_left_out(monkeypatch):
    monkeypatch.setitem(measuring.MODULES, PYTORCH, "no_such_module")
    builders = {OURS: entry, PYTORCH: lambda: pytest.fail("it was built")}
    assert list(side_by_side("case", builders, TOY).median) == [OURS]


def test_blocks_alternate():
    calls = []
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    result = timed(
        "case", steps, Effort("test", blocks=3, calls=20, seconds=0, pause=0)
    )
    runs = re.findall(r"(a+|b+)", "".join(calls))
    # One call more than is counted in a block; who ended a turn begins the next.
    assert [(run[0], len(run)) for run in runs] == [
        ("b", 21),
        ("a", 42),
        ("b", 42),
        ("a", 21),
    ]
    assert result.calls == {"a": 60, "b": 60}


def test_a_long_block_ends_early_where_it_may():
    effort = Effort("test", blocks=1, calls=20, seconds=0, longest=0, pause=0)
    assert timed("case", {"a": lambda: None}, effort).calls == {"a": 1}


def measured(*pairs):
    return [
        Measured(str(i), "s", {OURS: a, PYTORCH: b}) for i, (a, b) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("goal", "value"),
    [
        (Ratio(0.5, over="mean"), 1.0),
        (Ratio(0.5, over="each"), 2.0),
        (Ratio(0.5, BY_HAND), None),
        (Amount(2.0, "1"), 4.0),
        (Amount(2.0, "another"), None),
    ],
)
def test_goals(goal, value):
    assert goal.value(measured((1.0, 2.0), (4.0, 2.0))) == value


def test_json_and_markdown_say_what_was_met(tmp_path):
    def measure(_):
        yield from measured((1.0e-5, 2.0e-5), (4.0, 2.0))

    goals = (Ratio(1.0, over="mean"), Ratio(1.0, over="each"), Ratio(1.0, BY_HAND))
    told = []
    results = cpu.measure([Row("name", "title", measure, goals)], TOY, told.append)
    report.write(tmp_path, results)
    assert json.loads((tmp_path / "cpu.json").read_text("utf-8")) == results
    page = (tmp_path / "cpu.md").read_text("utf-8")
    assert "| title | geometric mean at most 1 x PyTorch | 1 | met |" in page
    assert "| title | no size above 1 x PyTorch | 2 | missed |" in page
    assert "| title | at most 1 x NumPy by hand |  | not measured |" in page
    assert "| title | 0 | 10 us | 20 us (0.50) |" in page
    assert "| title | 1 | 4 s | 2 s (2.00) |" in page
    assert told[0] == "name, 0: tinygrad_softmax 10 us, PyTorch 20 us"


def test_a_busy_machine_is_told():
    case = Measured("0", "s", {OURS: 1.0, PYTORCH: 4.1}, {OURS: 0.9, PYTORCH: 2.0})
    row = Row("name", "title", lambda _: iter([case]), (Ratio(1.0),))
    page = report.markdown(cpu.measure([row], TOY))
    assert "| title | at most 1 x PyTorch | 0.244 | met, unsteady |" in page


def test_what_time_did_not_allow_is_named_and_not_judged():
    def measure(_):
        yield from measured((1.0, 2.0), (3.0, 2.0))

    row = Row("name", "title", measure, (Ratio(1.0, over="each"),))
    effort = Effort("test", deadline=0.2)
    # The first case takes all the time there is.
    results = cpu.measure([row], effort, lambda _: time.sleep(0.3))
    assert len(results["rows"][0]["cases"]) == 1
    assert results["rows"][0]["goals"][0]["met"] is None
    assert "Time was up before the end of: title." in report.markdown(results)


def test_results_hold_no_host_name_and_no_path():
    text = json.dumps(machine.describe())
    assert machine.describe()["cores"] >= 1
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert not re.search(r'"/\w', text)


def test_the_peak_of_memory_is_seen():
    size = 64_000_000

    def run(_):
        np.ones(size, np.uint8)

    found = worker.measured(run, 0, 0, warm=False)
    assert found["MB"] == pytest.approx(64.0, abs=8.0)


def test_curves(tmp_path):
    found = curves.measure(1e6, [1024, 4096], TOY)
    curves.write(tmp_path, found)
    assert json.loads((tmp_path / "curves.json").read_text("utf-8"))["curves"] == found
    assert [len(points) for points in found.values()] == [2, 2]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_size_that_does_not_fit_is_left_out():
    found = curves.measure(1024 * curves.ARRAYS, [1024, 2048], TOY)
    assert [len(points) for points in found.values()] == [1, 1]
    assert curves.room(gigabytes=1e-3) == 1e6
    assert curves.room(gigabytes=1e9) < 1e18


def test_what_steps_are_made_of():
    text = floors.markdown(16, 1)
    assert (
        len(re.findall(r"\| (softmax|layer norm|gelu|cross-entropy)[^|]*\|", text)) == 8
    )
    assert "exp " in text


def test_the_command_writes_where_it_is_told(tmp_path):
    command = [
        sys.executable,
        "-m",
        "benchmarks.cpu",
        "--quick",
        "--row",
        "mlp_modules",
    ]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "new")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "new" / "cpu.md").read_text("utf-8")
    assert page.strip() in done.stdout
    assert "SGD step with nn and optim" in page


def test_the_command_lists_its_rows(capsys):
    cpu.main(["--list"])
    assert len(capsys.readouterr().out.splitlines()) == len(rows.ALL)
