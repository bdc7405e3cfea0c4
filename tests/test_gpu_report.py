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
from benchmarks.gpu import outcomes, report, suite
from benchmarks.gpu.conductor import Conductor
from benchmarks.gpu.lab import Lab
from benchmarks.gpu.row import COMPILED, OURS, PYTORCH, Row, ratio, share
from benchmarks.gpu.rows import ROWS
from benchmarks.gpu.store import NotAReportError, Store, clean
from benchmarks.gpu.timing import CudaClock, Effort, Step, interleaved

ROOT = Path(__file__).resolve().parent.parent
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
            command, put or put_rows.append, deadline, log, ROOT, loading=20.0
        )
        conductor.run(rows)
    return put_rows


def test_what_fails_is_red_and_the_rest_goes_on(tmp_path):
    found = conducted(tmp_path, fakes.ROWS)
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
    tests = [sys.executable, "-S", "-c", HANGING.replace("600", "0")]
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


# -- what is kept ----------------------------------------------------------------------


def part(*rows, **changes):
    head = {"date": "2026-01-02", "seconds": 61.4}
    return {**head, **fakes.CONDITIONS, "rows": list(rows), **changes}


def timed(**by_library):
    names = {"ours": OURS, "pytorch": PYTORCH, "compiled": COMPILED, "cupy": "CuPy"}
    return {names[k]: {"device": v, "host": 2e-5} for k, v in by_library.items()}


def test_parts_are_merged(tmp_path):
    ok = fakes.ROWS[0].result("ok")
    for name in ("kernels", "steps", "kernels"):
        store = Store(tmp_path / "new" / "folder")
        store.begin(name, fakes.CONDITIONS)
        store.put(name, {**ok, "work": name})
        store.end(name, 1.0)
    # An interruption may put a row for a second time.
    store.put("kernels", {**ok, "work": "kernels", "state": "not run"})
    again = Store(tmp_path / "new" / "folder")
    assert {k: [r["work"] for r in v["rows"]] for k, v in again.parts.items()} == {
        "kernels": ["kernels"],
        "steps": ["steps"],
    }
    assert sorted(os.listdir(again.folder)) == ["gpu.json", "gpu.md"]
    assert (again.folder / "gpu.md").read_text("utf-8") == again.markdown()


@pytest.mark.parametrize("text", ["", "[1]", '{"parts": {"kernels": {}}}'])
def test_a_file_of_something_else_is_not_overwritten(tmp_path, text):
    (tmp_path / "gpu.json").write_text(text, "utf-8")
    with pytest.raises(NotAReportError, match=r"is no report .* name another"):
        Store(tmp_path)
    assert (tmp_path / "gpu.json").read_text("utf-8") == text


def test_no_path_and_no_host_name_is_kept(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "secret-host")
    text = f"{ROOT}/tests/test_x.py on secret-host: {Path.home()}/.cache"
    assert clean(text) == "tests/test_x.py on this machine: ~/.cache"


def test_the_tables_of_known_numbers():
    big = Row("cross-entropy", "big", fakes.fine, (share(0.85), ratio(1 / 3)))
    slow = Row("gelu", "slow", fakes.fine, (ratio(1.0), ratio(1.0, COMPILED)))
    failed = Row("softmax", "red", fakes.fine, (ratio(1.0),))
    copied = Row(report.COPY, "1 MB", fakes.fine)
    peaks = [
        Row(f"peak of {k}", "GPT", fakes.fine).result("ok", peak={k: v})
        for k, v in ((OURS, 3_000_000), (PYTORCH, 2_000_000))
    ]
    kernels = part(
        copied.result("ok", bytes=8_000_000, times=timed(cupy=4e-6, pytorch=2e-6)),
        big.result("ok", bytes=3_600_000, times=timed(ours=1e-6, pytorch=4e-6)),
        slow.result(
            "ok", times=timed(ours=3e-3, pytorch=2e-3), errors={COMPILED: "no cc"}
        ),
        failed.result("wrong", "nan | nan"),
        *peaks,
    )
    counts = {"passed": 7, "failed": 1, "not run": 2}
    tests = Row("tests", "the suite on cuda", fakes.fine)
    tests = part(tests.result("not run", "it was ended", counts=counts, seconds=220.0))
    page = report.markdown({"kernels": kernels, "tests": tests})
    for line in (
        "# GPU report: Pretended GPU",
        "7 rows, 2 of them red. 5 goals: 2 met, 1 missed, 2 not measured.",
        "| tests | the suite on cuda | **not run** | it was ended |",
        "| softmax | red | **wrong** | nan \\| nan |",
        "| gelu | slow | torch.compile | no cc |",
        "| the suite on cuda | 7 | 1 | 2 | 220 |",
        "| cross-entropy | big | at least 85% of the copy | 90.0% | met |",
        "| cross-entropy | big | at least 3 x as fast as PyTorch | 0.250 x | met |",
        "| gelu | slow | at most 1 x PyTorch | 1.500 x | **missed**, 1.50 x too slow |",
        "| gelu | slow | at most 1 x torch.compile |  | not measured |",
        "| softmax | red | at most 1 x PyTorch |  | not measured |",
        "| copy on the device | 1 MB | PyTorch | 4.00 TB/s |",
        "| cross-entropy | big | 1 us |  | 4 us (0.25) |  |  |  | 20 us | 90% |",
        "| GPT | 3 MB | 2 MB | 1.50 |",
    ):
        assert f"{line}\n" in page
    assert page.index("tests, 2026") < page.index("kernels, 2026-01-02, 61 s: Preten")


def test_many_red_rows_are_cut_short():
    rows = [Row("tests", str(i), fakes.fine).result("failed", "x") for i in range(99)]
    page = report.markdown({"tests": part(*rows, seconds=None)})
    assert page.count("**failed**") == report.SHOWN
    assert "| and 39 more, in gpu.json |" in page
    assert "not ended" in page


# -- the suite -------------------------------------------------------------------------


def run_suite(tmp_path, monkeypatch, source, seconds, *options):
    (tmp_path / "test_sample.py").write_text(source, "utf-8")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it starts sooner
    rows = []
    plain = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    pytest_run = [sys.executable, "-m", "pytest", "-p", "benchmarks.gpu.outcomes"]
    suite.run(
        [*pytest_run, *plain, *options, str(tmp_path / "test_sample.py")],
        lambda found: rows.__setitem__(slice(None), found),
        seconds,
        tmp_path / "log",
        ROOT,
    )
    return rows


SAMPLE = """
import pytest
def test_passes(): pass
def test_fails(): assert 1 + 1 == 3, "not so"
@pytest.fixture
def broken(): raise KeyError("setup")
def test_with_it(broken): pass
"""


def test_the_suite_that_ends(tmp_path, monkeypatch):
    whole, failed, broken = run_suite(tmp_path, monkeypatch, SAMPLE, 60.0)
    assert (whole["state"], whole["error"]) == ("failed", "2 tests failed")
    assert whole["counts"] == {"passed": 1, "failed": 2, "not run": 0}
    assert broken["error"] == "KeyError: 'setup'"
    assert failed["case"].endswith("test_sample.py::test_fails")
    assert (failed["state"], failed["error"]) == ("failed", "AssertionError: not so")
    assert "1 failed, 1 passed, 1 error" in (tmp_path / "log").read_text("utf-8")


HANGING = """
import json, os, time
with open(os.environ["GPU_REPORT_OUTCOMES"], "w") as file:
    file.write('{"tests": 3}\\n{"test": "a", "outcome": "passed", "error": ""}\\n')
    file.write('{"test": "b", "outcome": "failed", "error": "E"}\\n{"test": "c", "ou')
time.sleep(600)
"""


def test_the_suite_that_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "SUMMARY", 0.5)
    monkeypatch.setattr(suite, "INTERVAL", 0.2)
    kept, command = [], [sys.executable, "-S", "-c", HANGING]
    suite.run(command, kept.append, 2.0, tmp_path / "log", ROOT)
    assert kept[-2][0]["error"] == "it is under way"  # so a kill loses little
    assert kept[-2][0]["counts"] == kept[-1][0]["counts"]
    rows = kept[-1]
    assert [row["state"] for row in rows] == ["not run", "failed"]
    assert rows[0]["error"] == "it was ended after 2 s, its limit"
    assert rows[0]["counts"] == {"passed": 1, "failed": 1, "not run": 1}


SPOILT = """
import pytest
state = []
@pytest.mark.parametrize("i", range(6))
def test(i):
    assert not state, "the device does not work"
    if i == 1:
        state.append(1)
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access")
"""


def test_an_illegal_address_spoils_one_process_and_not_the_run(tmp_path, monkeypatch):
    rows = run_suite(tmp_path, monkeypatch, SPOILT, 60.0, "-p", "xdist", "-n", "1")
    assert rows[0]["counts"] == {"passed": 5, "failed": 1, "not run": 0}
    assert "cudaErrorIllegalAddress" in rows[1]["error"]


def test_without_xdist_an_illegal_address_ends_the_run(tmp_path, monkeypatch):
    rows = run_suite(tmp_path, monkeypatch, SPOILT, 60.0)
    assert rows[0]["state"] == "not run"
    assert rows[0]["error"].startswith("the device does not work after ")
    assert rows[0]["counts"] == {"passed": 1, "failed": 1, "not run": 4}


def test_no_test_at_all_is_red(tmp_path):
    row = suite.results(tmp_path / "none", "", 1.0)[0]
    assert (row["state"], row["error"]) == ("not run", "no test ran")


def test_the_suite_is_called_as_a_person_would():
    command = suite.command("PY", ROOT / "scripts" / "test", spread=True)
    assert command[1].endswith(os.path.join("scripts", "test"))
    assert command[2:6] == ["--device", "cuda", "--python", "PY"]
    assert "-n" in command
    assert "-n" not in suite.command("PY", ROOT / "scripts" / "test", spread=False)


def test_what_a_report_of_pytest_says():
    assert (
        outcomes.what_was_raised("x\nE   ValueError: a\nE   b\nlast") == "ValueError: a"
    )
    assert outcomes.what_was_raised("worker 'gw0' crashed") == "worker 'gw0' crashed"
    assert outcomes.what_was_raised("") == ""


# -- time ------------------------------------------------------------------------------


class KnownClock:
    """Every step takes what it is said to."""

    def __init__(self, **seconds):
        self.seconds, self.seen = seconds, []

    def sample(self, step, first, calls, lead):
        self.seen.append((step.library, first, calls, lead))
        step.call(first)
        return self.seconds[step.library]


def test_libraries_take_turns_and_sets_follow_one_another():
    clock, sets = KnownClock(a=(1e-3, 1e-4), b=(2e-3, 1e-3)), []
    steps = {"a": Step("a", sets.append), "b": Step("b", lambda i: None)}
    found = interleaved(clock, steps, Effort(seconds=0.02, turns=4))
    timed = clock.seen[6:]  # after the warm-up of both
    order = "".join(name for name, *_ in timed)
    assert order == "bbaaaaaaaabb" * 2  # each begins half of the turns
    assert sets[3:] == list(range(found["a"]["calls"]))
    assert found["a"]["device"] == 1e-3
    assert found["b"]["host"] == 1e-3
    # The device is kept busy for longer than the host takes.
    assert {lead for name, *_, lead in timed if name == "a"} == {2.2e-4}
    assert all(lead > 1e-3 for name, *_, lead in timed if name == "b")


class FakeCuda:
    """CuPy and PyTorch's events, and a device whose time is a number."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def event(self, **options):
        event = SimpleNamespace(at=None, synchronize=lambda: None)
        event.record = lambda: setattr(event, "at", self.now)
        event.elapsed_time = lambda end: (end.at - event.at) * 1e3
        return event

    def kernel(self, source, name):
        def spin(grid, block, arguments):
            self.log.append("spin")
            self.now += arguments[0] * 0.5e-9  # two cycles a nanosecond

        return spin

    def array(self, size, dtype):
        return SimpleNamespace(fill=lambda value: self.log.append("overwritten"))

    def modules(self):
        elapsed = lambda begin, end: (end.at - begin.at) * 1e3  # noqa: E731
        cuda = SimpleNamespace(Event=self.event, get_elapsed_time=elapsed)
        cupy = SimpleNamespace(
            cuda=cuda, RawKernel=self.kernel, empty=self.array, int64=int
        )
        return cupy, SimpleNamespace(cuda=SimpleNamespace(Event=self.event))


@pytest.mark.parametrize("library", [OURS, PYTORCH])
def test_the_clock_times_the_device_and_not_what_keeps_it_busy(library):
    fake = FakeCuda()
    clock = CudaClock(*fake.modules(), cache=10)
    assert clock._cycles_a_second == pytest.approx(2e9)

    def call(i):
        fake.log.append(i)
        fake.now += 3e-6

    fake.log.clear()
    device, host = clock.sample(Step(library, call, cold=True), 5, 2, lead=1e-3)
    assert device == pytest.approx(3e-6)
    assert 0.0 < host < 0.1
    assert fake.log == ["overwritten", "spin", 5, 6]
    fake.log.clear()
    clock.sample(Step(library, call), 0, 1, lead=0.0)
    assert fake.log == [0]
