"""Memory that is used again: never while anyone can see it, and freed when asked."""

from __future__ import annotations

import os
import pickle
import platform
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hst
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import tinygrad_softmax as tg
from tinygrad_softmax.backends import buffers

F32, F64 = np.dtype("float32"), np.dtype("float64")
SHAPE = (buffers.LEAST // 4 // 64, 64)  # just large enough


@pytest.fixture(autouse=True)
def nothing_kept():
    before = buffers._limit
    buffers.set_buffer_limit(buffers.LIMIT)
    buffers.free_buffers()
    yield
    buffers.free_buffers()
    buffers._limit = before


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def is_handed_out_again(at: int) -> bool:
    """Whether one of the next arrays is where another one was."""
    number = len(buffers._kept)
    return at in map(address, [buffers.empty(SHAPE, F32) for _ in range(number)])


def test_what_nobody_holds_is_used_again():
    first = buffers.empty(SHAPE, F32)
    at, identity = address(first), id(first)
    first[:] = 1.0
    del first
    again = buffers.empty(SHAPE, F32)
    assert (address(again), id(again)) == (at, identity)
    assert again.base is None
    assert again.flags.owndata
    assert again.flags.writeable
    assert address(buffers.empty_like(again)) != at


@pytest.mark.parametrize(
    ("shape", "dtype"), [((SHAPE[1], SHAPE[0]), F32), (SHAPE, np.dtype("int32"))]
)
def test_only_for_its_shape_and_dtype(shape, dtype):
    at = address(buffers.empty(SHAPE, F32))
    held = buffers.empty(shape, dtype)
    assert (held.shape, held.dtype) == (shape, dtype)
    assert address(held) != at


HOLDERS = {
    "the array": lambda a: a,
    "a view": lambda a: a[3:4],
    "a view of a view": lambda a: a[1:][:, 2],
    "its flat iterator": lambda a: a.flat,
    "a memoryview": memoryview,
    "a DLPack capsule": lambda a: a.__dlpack__(),
    "an array by DLPack": np.from_dlpack,
    "an array of its interface": lambda a: np.asarray(_Interface(a)),
    "its ctypes": lambda a: a.ctypes,
    "another class": lambda a: a.view(_Sub),
    "a tuple": lambda a: ((a,),),
    "a closure": lambda a: lambda: a,
    "a tensor": lambda a: tg.asarray(a),
    "a transposed tensor": lambda a: tg.asarray(a).T,
    "a weak reference": weakref.ref,
}


class _Sub(np.ndarray):
    pass


class _Interface:
    def __init__(self, array):
        self.array, self.__array_interface__ = array, array.__array_interface__


@pytest.mark.parametrize("name", HOLDERS)
def test_not_while_anyone_can_see_it(name):
    array = buffers.empty(SHAPE, F32)
    at = address(array)
    holder: Any = HOLDERS[name](array)
    del array
    assert not is_handed_out_again(at)
    del holder
    assert is_handed_out_again(at)


def test_not_while_another_thread_works_on_it():
    array = buffers.empty(SHAPE, F32)
    at, go, begun = address(array), threading.Event(), threading.Event()

    def work(held):
        begun.set()
        go.wait(60)
        held[:] = 3.0

    thread = threading.Thread(target=work, args=(array,))
    thread.start()
    begun.wait(60)
    del array
    assert not is_handed_out_again(at)
    go.set()
    thread.join()
    del thread
    assert is_handed_out_again(at)


def test_a_copy_by_pickle_is_another_array():
    array = buffers.empty(SHAPE, F32)
    array[:] = 2.0
    again = pickle.loads(pickle.dumps(array))
    del array
    buffers.empty(SHAPE, F32)[:] = 5.0
    assert (again == 2.0).all()


def test_not_if_it_was_changed():
    for change in (
        lambda a: a.setflags(write=False),
        lambda a: setattr(a, "strides", (4, 4 * SHAPE[0])),
        lambda a: a.resize((1, 2), refcheck=False),
    ):
        array = buffers.empty(SHAPE, F32)
        identity = id(array)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of setting strides
            change(array)
        del array
        other = buffers.empty(SHAPE, F32)
        assert id(other) != identity
        assert other.flags.writeable
        assert other.flags.c_contiguous
        del other
        buffers.free_buffers()


class Holders(RuleBasedStateMachine):
    """Whatever is held keeps its numbers, whatever is asked for meanwhile."""

    def __init__(self):
        super().__init__()
        self.held: list[tuple[Any, float]] = []
        self.next = 0.0

    @rule(number=hst.integers(0, 2), how=hst.sampled_from(["whole", "view", "dlpack"]))
    def ask(self, number, how):
        array = buffers.empty((SHAPE[0] + number, SHAPE[1]), F32)
        assert all(not np.shares_memory(array, each) for each, _ in self.held)
        self.next += 1.0
        array[...] = self.next
        how_to = {"whole": lambda a: a, "view": lambda a: a[::2, 1:]}
        held = how_to.get(how, np.from_dlpack)(array)
        self.held.append((held, self.next))

    @rule(data=hst.data())
    def let_go(self, data):
        if self.held:
            self.held.pop(data.draw(hst.integers(0, len(self.held) - 1)))

    @rule(limit=hst.sampled_from([0, buffers.LEAST * 3, buffers.LIMIT]))
    def limit(self, limit):
        buffers.set_buffer_limit(limit)

    @rule()
    def free(self):
        buffers.free_buffers()

    @invariant()
    def nothing_changed(self):
        for array, number in self.held:
            assert (array == number).all()

    @invariant()
    def within_bounds(self):
        total = sum(array.nbytes for array in buffers._kept)
        assert total <= buffers.get_buffer_limit()
        assert len(buffers._kept) <= buffers.NUMBER


TestHolders = Holders.TestCase


def test_bounds():
    held = [buffers.empty(SHAPE, F32) for _ in range(buffers.NUMBER + 3)]
    assert len(buffers._kept) == buffers.NUMBER
    assert buffers._kept[-1] is held[-1]
    buffers.set_buffer_limit(3 * buffers.LEAST + 1)
    assert len(buffers._kept) == 3
    size = buffers.LEAST // 4
    buffers.empty((4 * size,), F32)  # too large to be remembered
    assert len(buffers._kept) == 3
    buffers.empty((2 * size,), F32)
    assert [array.size for array in buffers._kept] == [size, 2 * size]
    buffers.empty((size - 1,), F32)  # too small
    assert len(buffers._kept) == 2


def test_emptied_and_switched_off():
    array = buffers.empty(SHAPE, F32)
    gone = weakref.ref(array)
    del array
    assert gone() is not None
    buffers.free_buffers()
    assert gone() is None
    buffers.empty(SHAPE, F32)
    buffers.set_buffer_limit(0)
    assert buffers._kept == []
    buffers.empty(SHAPE, F32)
    assert buffers._kept == []


def test_the_setting(monkeypatch):
    monkeypatch.setattr(buffers, "_limit", None)
    monkeypatch.delenv(buffers.VARIABLE, raising=False)
    assert buffers.get_buffer_limit() == buffers.LIMIT
    monkeypatch.setattr(buffers, "_limit", None)
    monkeypatch.setenv(buffers.VARIABLE, "12345")
    assert buffers.get_buffer_limit() == 12345
    monkeypatch.setattr(buffers, "_limit", None)
    monkeypatch.setenv(buffers.VARIABLE, "-1")
    with pytest.raises(ValueError, match="'-1'; expected a number of bytes, 0 or more"):
        buffers.get_buffer_limit()
    with pytest.raises(TypeError, match=r"2\.5; expected an integer"):
        buffers.set_buffer_limit(cast(Any, 2.5))
    with pytest.raises(ValueError, match="-1; expected 0 or more"):
        buffers.set_buffer_limit(-1)


def test_off_where_references_can_not_be_counted(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert not buffers._can_count()
    buffers.set_buffer_limit(buffers.LIMIT)
    assert buffers.get_buffer_limit() == 0


def test_whoever_is_interrupted_or_second_gets_fresh_memory():
    at = address(buffers.empty(SHAPE, F32))
    with buffers._lock:
        assert not is_handed_out_again(at)
    assert is_handed_out_again(at)


def test_several_threads_never_get_the_same():
    wrong = []

    def work(number):
        for i in range(200):
            mine = buffers.empty(SHAPE, F32)
            mine[::97] = number * 1000 + i
            if not (mine[::97] == number * 1000 + i).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


# -- in the engine ---------------------------------------------------------------------


def steps(number: int):
    """Some steps of a training loop whose results are large."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((2100, 257)).astype(np.float32)
    x = tg.tensor(values, requires_grad=True)
    target = generator.integers(0, 257, 2100)
    seen = []
    for _ in range(number):
        x.grad = None
        y = tg.log_softmax(x) * tg.softmax(x)
        loss = tg.softmax_cross_entropy(y + x, target)
        loss.backward()
        seen.append((loss.item(), x.grad.numpy().copy()))
    return seen


def test_the_same_digits_with_and_without():
    found = steps(4)
    buffers.set_buffer_limit(0)
    wanted = steps(1)[0]
    for loss, gradient in found:
        assert loss == wanted[0]
        np.testing.assert_array_equal(gradient, wanted[1])


def test_a_gradient_is_the_leafs_own_and_used_again():
    """The leaf keeps the kernel's result, uncopied, and gives its memory to the next
    step once it has let go."""
    x = tg.tensor(np.zeros((2100, 257), np.float32), requires_grad=True)
    places = set()
    for _ in range(5):
        tg.softmax_cross_entropy(x, np.zeros(2100, int)).backward()
        assert x.grad.array.base is None
        places.add(address(x.grad.array))
        x.grad = None
    assert len(places) == 1


def test_a_gradient_that_is_kept_stays():
    x = tg.tensor(np.zeros((2100, 257), np.float32), requires_grad=True)
    kept = []
    for label in range(3):
        tg.softmax_cross_entropy(x, np.full(2100, label)).backward()
        kept.append(x.grad.numpy())
        x.grad = None
    for label, gradient in enumerate(kept):
        assert (gradient.argmin(axis=1) == label).all()


@given(order=hst.permutations(range(4)))
def test_results_in_any_order_of_release(order):
    """Four results of one shape, released in any order while others are made."""
    x = np.arange(SHAPE[0] * SHAPE[1] * 4, dtype=np.float32).reshape(-1, 64) % 7.0
    wanted = tg.softmax(x).copy()
    held: dict[int, Any] = {i: tg.softmax(x) for i in range(4)}
    for i in order:
        del held[i]
        new = tg.log_softmax(x)
        for each in held.values():
            np.testing.assert_array_equal(each, wanted)
        del new


FORK = """
import os, warnings
warnings.simplefilter("error")
import numpy as np
from tinygrad_softmax.backends import buffers
shape, dtype = (1 << 20,), np.dtype("float32")
array = buffers.empty(shape, dtype)
array[:] = 1.0
del array
buffers._lock.acquire()  # as if another thread had it
child = os.fork()
if not child:
    code = 1
    try:
        emptied = buffers._kept == []
        for _ in range(2):
            fresh = buffers.empty(shape, dtype)
            fresh[:] = 2.0
        code = 0 if emptied and len(buffers._kept) == 2 else 2
    finally:
        os._exit(code)
buffers._lock.release()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert (buffers.empty(shape, dtype) == 1.0).all()
print("done")
"""


def test_fork():
    root = str(Path(tg.__file__).parent.parent)
    found = subprocess.run(
        [sys.executable, "-c", FORK],
        env={**os.environ, "PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (found.stdout, found.stderr) == ("done\n", "")


FAULTS = """
import resource
import numpy as np
from tinygrad_softmax.backends import buffers

def step():
    arrays = [np.ones(1 << 18, "float32") for _ in range(40)]  # 40 MB in all
    del arrays

def faults():
    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10

print(faults(), end=" ")
buffers.set_buffer_limit(0)
print(faults(), end=" ")
buffers.set_buffer_limit(buffers.LIMIT)
print(faults())
"""


def test_a_step_of_small_arrays_does_not_fault_its_memory_in_anew():
    """Where the C library is glibc. What others do is their own."""
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    untaught, off, taught = map(float, run.stdout.split())
    if platform.libc_ver()[0] == "glibc" and not os.environ.get("GLIBC_TUNABLES"):
        assert min(untaught, off) > 1000
        assert taught < 10
