"""The loader's thread: it runs ahead, hands errors on, and never outlives its loop.

No test here waits for time to pass: threads are held and let go by events.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import traceback
import weakref

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import data
from tinygrad_softmax.data import prefetch

LONG = 60.0  # seconds after which a held thread is a failure and no slow machine


def workers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if "prefetch" in t.name]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    assert workers() == []
    yield
    gc.collect()
    assert workers() == []


class Numbers(data.Dataset):
    """0..n - 1; `at(index)` is called, in the loading thread, before each."""

    def __init__(self, n: int, at=lambda index: None) -> None:
        self.n, self.at = n, at

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        self.at(index)
        return index


def loader_of(n, at=lambda index: None, **options):
    options = {"num_workers": 1, **options}
    return data.DataLoader(Numbers(n, at), **options)


def test_batches_are_loaded_by_one_other_thread():
    seen = set()
    loader = loader_of(6, lambda i: seen.add(threading.current_thread()), num_workers=4)
    assert [b.item() for b in loader] == list(range(6))
    assert len(seen) == 1
    assert threading.main_thread() not in seen


def test_the_next_batch_is_loaded_while_this_one_is_used():
    loaded = [threading.Event() for _ in range(3)]
    loader = loader_of(3, lambda i: loaded[i].set(), prefetch_factor=1)
    batches = iter(loader)
    assert next(batches).item() == 0
    # The loop has asked for nothing more, and still:
    assert loaded[1].wait(LONG)
    assert next(batches).item() == 1
    assert loaded[2].wait(LONG)
    assert [b.item() for b in batches] == [2]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_than_prefetch_factor_batches_are_ahead(ahead):
    loaded, furthest = [], threading.Event()

    def at(index):
        loaded.append(index)
        if index == ahead:
            furthest.set()

    batches = iter(loader_of(20, at, prefetch_factor=ahead))
    next(batches)
    assert furthest.wait(LONG)
    (worker,) = workers()
    # All that was asked for is loaded, and the thread waits for a next task.
    batches.close()  # type: ignore[attr-defined]
    assert not worker.is_alive()
    assert loaded == list(range(ahead + 1))


def test_two_is_what_is_prefetched_by_default():
    assert loader_of(3).prefetch_factor == 2
    assert data.DataLoader(range(3)).prefetch_factor is None


def test_it_starts_with_the_first_batch_and_not_before():
    loader = loader_of(3)
    batches = iter(loader)
    assert workers() == []
    next(batches)
    assert len(workers()) == 1
    del batches
    gc.collect()


# -- ends --------------------------------------------------------------------------


def test_a_whole_epoch_leaves_no_thread():
    assert len(list(loader_of(5))) == 5
    assert workers() == []


def test_a_break_leaves_no_thread():
    for batch in loader_of(50):
        if batch.item() == 3:
            break
    assert workers() == []


def test_an_exception_in_the_loop_leaves_no_thread():
    def train():
        for _ in loader_of(50):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        train()
    assert workers() == []


def test_an_abandoned_iterator_is_collected_with_its_thread():
    batches = iter(loader_of(50))
    next(batches)
    (worker,) = workers()
    cycle = [batches]
    cycle.append(cycle)
    del batches, cycle
    gc.collect()
    assert not worker.is_alive()


def test_the_loader_can_be_collected_while_the_thread_is_held():
    entered, go = threading.Event(), threading.Event()

    def at(index):
        if index == 1:
            entered.set()
            go.wait(LONG)

    loader = loader_of(9, at, prefetch_factor=1)
    batches = iter(loader)
    next(batches)
    assert entered.wait(LONG)
    gone = weakref.ref(loader)
    (worker,) = workers()
    go.set()
    del loader, batches
    gc.collect()
    worker.join(LONG)
    assert gone() is None


def test_what_was_left_to_do_is_not_done():
    loaded, entered, go = [], threading.Event(), threading.Event()

    def at(index):
        loaded.append(index)
        if index == 1:
            entered.set()
            go.wait(LONG)

    batches = iter(loader_of(9, at, prefetch_factor=5))
    next(batches)
    assert entered.wait(LONG)
    (worker,) = workers()
    closing = threading.Thread(target=batches.close)  # type: ignore[attr-defined]
    closing.start()
    # `close` waits for the batch in hand; the four behind it are given up.
    stopped = prefetch_stopped(worker)
    assert stopped.wait(LONG)
    go.set()
    closing.join(LONG)
    assert not worker.is_alive()
    assert loaded == [0, 1]


def prefetch_stopped(worker: threading.Thread) -> threading.Event:
    """The event by which the thread is told to stop."""
    (event,) = [x for x in worker._args if isinstance(x, threading.Event)]  # type: ignore[attr-defined]
    return event


def test_a_thread_that_is_stuck_does_not_keep_the_loop(monkeypatch):
    monkeypatch.setattr(prefetch, "PATIENCE", 0.0)
    entered, go = threading.Event(), threading.Event()

    def at(index):
        if index == 1:
            entered.set()
            go.wait(LONG)

    for _ in loader_of(9, at):
        assert entered.wait(LONG)
        break
    (worker,) = workers()
    go.set()
    worker.join(LONG)
    assert not worker.is_alive()


def test_a_batch_that_does_not_come_in_time(monkeypatch):
    go, join = threading.Event(), threading.Thread.join
    batches = iter(loader_of(3, lambda index: go.wait(LONG), timeout=0.01))
    joined = []
    monkeypatch.setattr(threading.Thread, "join", lambda *args: joined.append(args))
    with pytest.raises(RuntimeError, match=r"no batch was ready within 0\.01 seconds"):
        next(batches)
    assert list(batches) == []
    assert joined == []  # the thread is stuck, and nobody waits for it
    (worker,) = workers()
    go.set()
    join(worker, LONG)


EXITS = {
    "suspended": "batches = iter(loader(9)); next(batches)",
    "stuck": "batches = iter(loader(9, 1)); next(batches)",
    "raising": "for b in loader(9): raise SystemExit(0)",
    "in a cycle": "a = [iter(loader(9))]; next(a[0]); a.append(a); del a",
}


@pytest.mark.parametrize("case", EXITS)
def test_the_interpreter_exits(case):
    code = f"""
import threading
import tinygrad_softmax as tg
from tinygrad_softmax import data
from tinygrad_softmax.data import prefetch
prefetch.PATIENCE = 0.05
class Numbers(data.Dataset):
    def __init__(self, n, stuck): self.n, self.stuck = n, stuck
    def __len__(self): return self.n
    def __getitem__(self, i):
        if i == self.stuck: threading.Event().wait()
        return i
def loader(n, stuck=None):
    return data.DataLoader(Numbers(n, stuck), num_workers=1)
{EXITS[case]}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert (done.returncode, done.stderr) == (0, "")


# -- errors ------------------------------------------------------------------------


class BrokenError(Exception):
    pass


def break_at(number):
    def at(index):
        if index == number:
            raise BrokenError(f"sample {index}")

    return at


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_where_its_batch_would_have_come_and_once(num_workers):
    batches = iter(loader_of(9, break_at(3), num_workers=num_workers))
    assert [next(batches).item() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(BrokenError, match="sample 3") as caught:
        next(batches)
    lines = "".join(traceback.format_tb(caught.value.__traceback__))
    assert "break_at" in lines or "in at" in lines
    assert "__getitem__" in lines
    assert list(batches) == []


def test_an_error_is_freed_with_its_traceback():
    gc.collect()
    gc.disable()
    try:
        loader = loader_of(9, break_at(1), prefetch_factor=1)
        try:
            list(loader)
        except BrokenError as error:
            gone = weakref.ref(error)
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_of_the_sampler_comes_in_its_place(num_workers):
    def numbers():
        yield from (5, 6)
        raise BrokenError("the sampler")

    class Failing(data.Sampler):
        def __iter__(self):
            return numbers()

    loader = loader_of(9, sampler=Failing(), num_workers=num_workers, batch_size=1)
    batches = iter(loader)
    assert [next(batches).item() for _ in range(2)] == [5, 6]
    with pytest.raises(BrokenError, match="the sampler"):
        next(batches)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_dataset_that_raises_stop_iteration_does_not_end_the_epoch(num_workers):
    def at(index):
        if index == 1:
            next(iter(()))

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(loader_of(3, at, num_workers=num_workers))


def test_an_error_while_collating_and_while_starting():
    with pytest.raises(ValueError, match=r"sample 1 has shape \(2,\)"):
        list(data.DataLoader([np.ones(1), np.ones(2)], 2, num_workers=1))

    def init(number):
        raise BrokenError(f"worker {number}")

    with pytest.raises(BrokenError, match="worker 0"):
        list(loader_of(3, worker_init_fn=init))


def test_a_stream_that_breaks():
    class Stream(data.IterableDataset):
        def __iter__(self):
            yield 0
            raise BrokenError("the stream")

    batches = iter(data.DataLoader(Stream(), num_workers=1))
    assert next(batches).item() == 0
    with pytest.raises(BrokenError, match="the stream"):
        next(batches)


# -- the context -------------------------------------------------------------------


def test_the_thread_has_the_modes_of_the_loop():
    seen = []

    def at(index):
        seen.append((tg.is_grad_enabled(), np.geterr()["divide"]))

    with tg.no_grad(), np.errstate(divide="print"):
        list(loader_of(1, at))
    list(loader_of(1, at))
    assert seen == [(False, "print"), (True, "raise")]


def test_worker_init_fn_runs_in_the_thread_first():
    seen = []

    def init(number):
        seen.append((number, threading.current_thread()))

    loader = loader_of(2, lambda i: seen.append(i), worker_init_fn=init)
    list(loader)
    assert seen[0][0] == 0
    assert seen[0][1] is not threading.main_thread()
    assert seen[1:] == [0, 1]
