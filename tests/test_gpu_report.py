"""The GPU report's own logic, on the CPU: what fails is red, and nothing is lost.

Its rows run beside PyTorch in tests/parity/gpu_report_against_torch.py; here they run
alone, over the strict double of CuPy. No result of it is a result on a GPU.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import gpu_report_fakes as fakes
import pytest
from toy_lab import toy_lab

from benchmarks.gpu import __main__ as program
from benchmarks.gpu.conductor import Conductor
from benchmarks.gpu.lab import Lab
from benchmarks.gpu.row import PYTORCH, ratio
from benchmarks.gpu.rows import ROWS

ROOT = Path(__file__).resolve().parent.parent
LOADING = 20.0  # seconds that a worker is given to get ready
ALONE = [row for part in ROWS.values() for row in part if row.process != PYTORCH]


@pytest.fixture(autouse=True)
def example_models_are_forgotten():
    yield
    for path in (ROOT / "examples" / "models").glob("*.py"):
        sys.modules.pop(path.stem, None)


# -- the rows --------------------------------------------------------------------------


@pytest.mark.parametrize("row", ALONE, ids=lambda row: row.name)
def test_a_row_measures_ours_without_pytorch(row):
    with toy_lab(torch=None) as lab:
        result = row.run(lab, lambda so_far: None)
    json.dumps(result)
    assert result.get("times") or result["peak"]
    assert all(time["device"] > 0.0 for time in result.get("times", {}).values())


def test_rows_have_names_of_their_own():
    names = [row.name for part in ROWS.values() for row in part]
    assert len(set(names)) == len(names)


def test_rows_that_share_a_process_are_neighbours():
    """Or processes would be started again and again."""
    for part in ROWS.values():
        kinds = [row.process for row in part]
        changes = sum(a != b for a, b in zip(kinds, kinds[1:]))
        assert changes == len(set(kinds)) - 1


def test_the_limits_are_those_that_are_promised():
    assert sum(program.LIMITS.values()) <= program.TOTAL < 8 * 60
    assert program.LIMITS["tests"] < 4 * 60
    assert set(program.LIMITS) == {"tests", *ROWS}


def test_buffers_are_at_least_four_times_the_cache():
    lab = Lab(None, None, None, None, cache=50)
    for size in (1, 3, 4, 30, 100, 1000):
        count, cold = lab.sets(size)
        assert cold or count * size >= 4 * lab.cache
    assert lab.sets(1)[1]
    assert lab.sets(100) == (2, False)


# -- workers ---------------------------------------------------------------------------


def conducted(tmp_path, rows, seconds=60.0, command=None, put=None):
    put_rows = []
    command = command or (lambda process: fakes.WORKER)
    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        deadline = time.monotonic() + seconds
        conductor = Conductor(
            command, put or put_rows.append, deadline, log, ROOT, loading=LOADING
        )
        conductor.run(rows)
    return put_rows


def test_what_fails_is_red_and_the_rest_goes_on(tmp_path):
    begin = time.monotonic()
    found = conducted(tmp_path, fakes.ROWS)
    assert time.monotonic() - begin < LOADING  # the one that hung was not waited for
    assert [(row["case"], row["state"]) for row in found] == [
        ("fine", "ok"),
        ("prints", "ok"),
        ("raises", "failed"),
        ("wrong", "wrong"),
        ("too_large", "does not fit"),
        ("dies", "died"),
        ("spoils", "failed"),
        ("leaves_a_mine", "ok"),
        ("hangs", "time was up"),
        ("fine", "ok"),
    ]
    by_case = {row["case"]: row for row in found}
    assert by_case["fine"]["times"] == fakes.RESULT["times"]
    assert by_case["fine"]["goals"] == [ratio(1.0)]
    assert by_case["raises"]["error"].startswith("ValueError: two lines, and a path")
    died = by_case["dies"]["error"]
    assert died.startswith("its process ended: SIGSEGV; Fatal Python error")
    assert by_case["spoils"]["error"].endswith("(the device did not work any more)")
    assert by_case["hangs"]["bytes"] == 7  # what it had told
    assert "ended after 0 s, its own limit" in by_case["hangs"]["error"]
    assert "Traceback" in (tmp_path / "log").read_text("utf-8")


def test_when_time_is_up_the_rest_is_red(tmp_path):
    found = conducted(tmp_path, [fakes.ROWS[0], fakes.FOREVER, fakes.ROWS[0]], 1.5)
    assert [row["state"] for row in found] == ["ok", "time was up", "not run"]
    assert "the part's limit" in found[1]["error"]
    assert found[2]["error"] == "time was up"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise SystemExit('no libcublas')", "exit status 1; no libcublas"),
        ('print(\'{"broken": "no driver"}\')', "no driver"),
        ("import time; time.sleep(600)", "it did not get ready in time"),
    ],
)
def test_a_worker_that_does_not_start_is_not_tried_for_ever(tmp_path, code, why):
    starts = []

    def command(process):
        starts.append(process)
        return [sys.executable, "-S", "-c", code]

    with open(tmp_path / "log", "w", encoding="utf-8") as log:
        found = []
        deadline = time.monotonic() + 60.0
        Conductor(command, found.append, deadline, log, ROOT, loading=0.4).run(
            fakes.ROWS[:5]
        )
    assert [row["state"] for row in found] == ["not run"] * 5
    assert all(why in row["error"] for row in found)
    assert len(starts) == 2


def test_an_interruption_leaves_no_row_out(tmp_path):
    put = []

    def interrupted(result):
        put.append(result)
        if len(put) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conducted(tmp_path, [fakes.ROWS[0]] * 3, put=interrupted)
    # (The row that was put when it came is told twice rather than lost.)
    assert [row["state"] for row in put] == ["ok", "not run", "not run", "not run"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_signal_ends_it_with_all_that_was_measured(tmp_path, number, status):
    command = [sys.executable, str(ROOT / "tests" / "gpu_report_fakes.py"), "report"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first == "kernels, row 0, fine: ok\n"
    time.sleep(0.3)  # the row that hangs is under way
    process.send_signal(number)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == status
    saved = json.loads((tmp_path / "out" / "gpu.json").read_text("utf-8"))
    rows = saved["parts"]["kernels"]["rows"]
    assert [row["state"] for row in rows] == ["ok", "not run", "not run"]
    assert printed.endswith((tmp_path / "out" / "gpu.md").read_text("utf-8"))
    assert "| row for ever | hangs | **not run** | interrupted |" in printed


def test_all_parts_in_turn(tmp_path, monkeypatch, capsys):
    tests = [sys.executable, "-S", "-c", fakes.HANGING.replace("600", "0")]
    monkeypatch.setattr(
        program, "probe", lambda parts: {**fakes.CONDITIONS, "spread": 1}
    )
    monkeypatch.setattr(program, "worker_command", lambda part, process: fakes.WORKER)
    monkeypatch.setattr(program.suite, "command", lambda *rest: tests)
    chosen = {"kernels": fakes.ROWS[:3], "steps": fakes.ROWS[5:6]}
    monkeypatch.setattr(program.rows, "ROWS", chosen)
    assert program.main([str(tmp_path)]) == 1  # a row is red
    saved = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["parts"]
    states = {k: [row["state"] for row in part["rows"]] for k, part in saved.items()}
    assert states == {
        "kernels": ["ok", "ok", "failed"],
        "steps": ["died"],
        "tests": ["not run", "failed"],
    }
    assert saved["tests"]["rows"][0]["error"] == "1 tests did not run"
    assert saved["kernels"]["rows"][2]["error"].endswith("a path: benchmarks")
    assert all(part["seconds"] is not None for part in saved.values())
    log = (tmp_path / "kernels.log").read_text("utf-8")
    assert "ValueError: two lines" in log
    assert str(ROOT) not in log
    assert capsys.readouterr().out.endswith((tmp_path / "gpu.md").read_text("utf-8"))


def test_a_fault_of_the_report_is_red_too(tmp_path, monkeypatch, capsys):
    def broken(*rest):
        raise OSError("no more files")

    monkeypatch.setattr(program, "probe", lambda parts: fakes.CONDITIONS)
    monkeypatch.setattr(program, "Conductor", broken)
    assert program.main([str(tmp_path), "--part", "steps"]) == 1
    captured = capsys.readouterr()
    row = "| steps | the report itself | **failed** | OSError: no more files |"
    assert row in captured.out
    assert "Traceback" in captured.err


# -- where nothing can be measured -----------------------------------------------------


def run_script(*arguments, **variables):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "gpu"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **variables},
        cwd=os.sep,
    )


def fake_python(folder, text):
    """A python3 that cannot import cupy, or can."""
    folder.mkdir()
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_can_read_the_script():
    ast.parse((ROOT / "scripts" / "gpu").read_text("utf-8"), feature_version=(3, 6))


def test_a_python_without_cupy(tmp_path):
    why = "ModuleNotFoundError: No module named 'cupy'"
    python = fake_python(tmp_path / "bin", f'echo "{why}" >&2; exit 1')
    done = run_script(str(tmp_path / "out"), "--python", python)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"no Python that imports cupy was found; {python}: {why}" in done.stderr
    assert "Mend: --python PY" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_first_python_that_imports_cupy_is_taken(tmp_path):
    without = fake_python(tmp_path / "a", "exit 1")
    with_cupy = fake_python(tmp_path / "b", 'echo "$0 $@"')
    folders = [str(Path(each).parent) for each in (without, with_cupy)]
    done = run_script("out", "--part", "steps", PATH=os.pathsep.join(folders))
    assert done.returncode == 0
    said = done.stdout.split()
    assert said == [with_cupy, "-m", "benchmarks.gpu", "/out", "--part", "steps"]


def test_no_gpu_is_one_clear_error(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith('scripts/gpu: device "cuda"')
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_pytorch_or_pytest_missing(monkeypatch):
    from benchmarks.gpu import probe

    sees_none = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: False), __version__="2.11.0+cpu"
    )
    fake = SimpleNamespace(ones=lambda *a, **k: None)

    def importing(torch):
        def import_module(name):
            if name == "torch" and torch is None:
                raise ImportError("No module named 'torch'")
            return {"tinygrad_softmax": fake, "torch": torch}[name]

        monkeypatch.setattr(probe.importlib, "import_module", import_module)

    importing(None)
    assert probe.missing(["kernels", "steps"]) == [
        "part kernels and steps needs PyTorch, the yardstick (No module named 'torch')"
    ]
    importing(sees_none)
    assert probe.missing(["steps"]) == ["PyTorch 2.11.0+cpu sees no CUDA device"]
    assert probe.missing(["tests"]) == []
    monkeypatch.setattr(probe.importlib.util, "find_spec", lambda name: None)
    assert "needs pytest" in probe.missing(["tests"])[0]
