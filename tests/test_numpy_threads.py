"""The threads of the CPU's kernels: who does what, in which context, and who waits."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.backends import numpy_softmax, softmax_blocks, threads
from tinygrad_softmax.backends.numpy import NumpyBackend

FAST = NumpyBackend()


@pytest.fixture(autouse=True)
def number_of_threads_put_back():
    before = threads._chosen
    yield
    threads.stop()
    threads._chosen = before


def test_each_block_is_done_once_and_helpers_help():
    tg.set_num_threads(3)
    seen, who, together = [], set(), threading.Barrier(3, timeout=60)

    def work(i):
        if i < 3:
            together.wait()  # three threads are at work at the same time
        seen.append(i)
        who.add(threading.get_ident())

    threads.for_each(work, 50, 3)
    assert sorted(seen) == list(range(50))
    assert len(who) == 3


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_in_a_block_is_raised(number):
    def work(i):
        raise KeyError(f"block {i}")

    tg.set_num_threads(number)
    with pytest.raises(KeyError, match="block"):
        threads.for_each(work, 4, number)
    threads.for_each(lambda i: None, 4, number)  # and the helpers live on


def test_floating_point_errors_are_the_callers_everywhere():
    together = threading.Barrier(2, timeout=60)
    seen = []

    def work(i):
        together.wait()
        seen.append(np.geterr()["over"])

    with np.errstate(over="ignore"):
        threads.for_each(work, 2, 2)
    assert seen == ["ignore", "ignore"]


def test_context_variables_are_the_callers_everywhere():
    """NumPy's buffer size is one of them; what a helper sets is gone afterwards."""
    variable, together = ContextVar("variable", default=0), threading.Barrier(2)
    seen = []

    def work(i):
        together.wait(60)
        seen.append((variable.get(), np.getbufsize()))
        if threading.current_thread() is not threading.main_thread():
            variable.set(9)

    for number in (1, 2):
        variable.set(number)
        before = np.setbufsize(4096 * number)
        try:
            threads.for_each(work, 2, 2)
        finally:
            np.setbufsize(before)
    assert seen == [(1, 4096)] * 2 + [(2, 8192)] * 2
    assert variable.get() == 2


def test_a_kernel_leaves_numpys_buffers_as_they_were():
    before = np.getbufsize()
    for number in (1, 2):
        tg.set_num_threads(number)
        FAST.softmax(np.zeros((1000, 1000), np.float32))
        assert np.getbufsize() == before
    with pytest.raises(ZeroDivisionError):
        numpy_softmax._by_blocks(lambda rows: 1 // 0, np.zeros((9, 1000)), 2)
    assert np.getbufsize() == before


def test_calls_in_quick_succession():
    """Tasks that a helper wakes up too late for are withdrawn, and never run twice."""
    tg.set_num_threads(3)
    for i in range(3000):
        seen = []
        threads.for_each(seen.append, 1 + i % 4, 3)
        assert sorted(seen) == list(range(1 + i % 4))
    assert len(threads._idle) == len(threads._helpers) == 2


def test_helpers_forget_what_they_worked_on():
    array = np.zeros(3)
    gone = weakref.ref(array)
    together = threading.Barrier(2)

    def run(held):
        def work(i):
            together.wait(60)
            held[i] += 1.0

        threads.for_each(work, 2, 2)

    run(array)
    del array
    deadline = time.monotonic() + 60.0
    while gone() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert gone() is None


def test_a_caller_inside_a_block():
    """A block may itself be cut up; helpers that are busy are not waited for."""
    seen = []

    def inner(i):
        threads.for_each(lambda j: seen.append((i, j)), 3, 2)

    threads.for_each(inner, 4, 2)
    assert sorted(seen) == [(i, j) for i in range(4) for j in range(3)]


def test_where_no_thread_can_be_started_the_caller_does_all(monkeypatch):
    """The system may have no more, and an ending interpreter starts none."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    threads.stop()
    monkeypatch.setattr(threading.Thread, "start", start)
    done = []
    threads.for_each(done.append, 5, 3)
    assert done == list(range(5))
    assert not threads._helpers


def test_several_threads_may_call_at_once():
    x = np.random.default_rng(0).normal(size=(3000, 7))
    tg.set_num_threads(3)
    with (
        patch.object(NumpyBackend, "block_bytes", 4096),
        patch.object(numpy_softmax, "THREADED_BYTES", 0),
        patch.object(softmax_blocks, "NARROW_SIZE", 0),
    ):
        wanted, found = FAST.softmax(x), []
        callers = [
            threading.Thread(target=lambda: found.append(FAST.softmax(x)))
            for _ in range(4)
        ]
        for each in callers:
            each.start()
        for each in callers:
            each.join()
    assert len(found) == 4
    for each in found:
        np.testing.assert_array_equal(each, wanted)


def test_the_setting(monkeypatch):
    threads._chosen = None
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    assert tg.get_num_threads() == cores
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert tg.get_num_threads() == 7
    monkeypatch.setenv(threads.VARIABLE, "5")
    assert tg.get_num_threads() == 5
    monkeypatch.setenv(threads.VARIABLE, "many")
    with pytest.raises(ValueError, match="'many'; expected a number of threads"):
        tg.get_num_threads()
    monkeypatch.delenv(threads.VARIABLE)
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(threads, "_quota", lambda: 1)
    assert tg.get_num_threads() == 1
    two: Any = np.int64(2)
    tg.set_num_threads(two)
    assert tg.get_num_threads() == 2
    with pytest.raises(TypeError, match=r"2\.5; expected an integer"):
        tg.set_num_threads(cast(Any, 2.5))
    with pytest.raises(ValueError, match="0; expected 1 or more"):
        tg.set_num_threads(0)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", sys.maxsize),
        ("50000 100000\n", 1),
        ("250000 100000\n", 3),
        ("", sys.maxsize),
    ],
)
def test_a_containers_quota(text, cores, tmp_path):
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert threads._quota.__wrapped__(str(path)) == cores
    assert threads._quota.__wrapped__(str(tmp_path / "none")) == sys.maxsize


def test_a_helper_keeps_away_from_its_callers_core():
    """Where there is another core, and the system can be told."""
    cpu = threads._current_cpu()
    together = threading.Barrier(2)
    threads.for_each(lambda i: together.wait(60), 2, 2)
    helper = threads._helpers[0]
    if cpu < 0:
        assert helper.kept_away_from == -1
        return
    cores, away = os.sched_getaffinity(0), helper.kept_away_from
    assert away in cores
    found = os.sched_getaffinity(helper.thread.native_id)
    assert found == (cores - {away} or cores)
    with patch.object(threads, "_current_cpu", lambda: -1):
        threads.for_each(lambda i: together.wait(60), 2, 2)
    assert helper.kept_away_from == away


def test_no_helper_is_started_before_it_is_needed():
    threads.stop()
    tg.set_num_threads(2)
    x = np.zeros((32, 10), np.float32)
    FAST.softmax(x)
    assert threads._helpers == []
    FAST.softmax(np.zeros((100_000, 10), np.float32))
    assert len(threads._helpers) == 1
    assert threads._helpers[0].thread.daemon


def test_a_backend_can_be_pickled():
    tg.set_num_threads(2)
    x = np.zeros((100_000, 10), np.float32)
    wanted = FAST.softmax(x)
    again = pickle.loads(pickle.dumps(FAST))
    np.testing.assert_array_equal(again.softmax(x), wanted)


FORK = """
import os, warnings
warnings.simplefilter("error")
import numpy as np, tinygrad_softmax as tg
from tinygrad_softmax.backends import threads
tg.set_num_threads(2)
x = np.random.default_rng(0).normal(size=(100_000, 10)).astype("float32")
wanted = tg.softmax(x)
assert len(threads._helpers) == 1
child = os.fork()
if not child:
    code = 1
    try:
        same = (tg.softmax(x) == wanted).all() and len(threads._helpers) == 1
        code = 0 if same else 2
    finally:
        os._exit(code)
assert threads._helpers == []  # ended before the fork
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (tg.softmax(x) == wanted).all()
print("done")
"""


def test_fork():
    """In the child, and afterwards in the parent, the helpers start again."""
    root = str(Path(tg.__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", FORK],
        env={**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.stdout, found.stderr) == ("done\n", "")


JOBLIB = """
import os
import joblib, numpy as np, tinygrad_softmax as tg

def work(seed):
    x = np.random.default_rng(seed).normal(size=(200_000, 10)).astype("float32")
    return tg.softmax(x), tg.get_num_threads(), os.environ["OMP_NUM_THREADS"]

tg.set_num_threads(2)
wanted = [tg.softmax(np.random.default_rng(seed).normal(size=(200_000, 10))
          .astype("float32")) for seed in (0, 1, 2)]
found = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(seed) for seed in (0, 1, 2))
for (out, number, variable), right in zip(found, wanted, strict=True):
    assert (out == right).all()
    assert number == int(variable)
print("done")
"""


def test_joblibs_workers():
    """Each has the threads that joblib leaves it, and computes the same digits."""
    root = str(Path(tg.__file__).parent.parent)
    taken = ("OMP_NUM_THREADS", threads.VARIABLE)
    found = subprocess.run(
        [sys.executable, "-c", JOBLIB],
        env={k: v for k, v in os.environ.items() if k not in taken}
        | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.stdout, found.returncode) == ("done\n", 0), found.stderr
