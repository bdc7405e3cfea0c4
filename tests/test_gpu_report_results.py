"""What the GPU report keeps and shows: files, tables, the suite's outcomes, times."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import gpu_report_fakes as fakes
import pytest

from benchmarks.gpu import outcomes, report, suite
from benchmarks.gpu.row import COMPILED, OURS, PYTORCH, Row, ratio, share
from benchmarks.gpu.store import NotAReportError, Store, clean
from benchmarks.gpu.timing import CudaClock, Effort, Step, interleaved

ROOT = Path(__file__).resolve().parent.parent


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


def test_the_suite_that_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "SUMMARY", 0.5)
    monkeypatch.setattr(suite, "INTERVAL", 0.2)
    kept, command = [], [sys.executable, "-S", "-c", fakes.HANGING]
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
