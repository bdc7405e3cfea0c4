"""DataLoader: batches, their order, going on in the middle of an epoch, devices."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strict_cupy import PinnedMemory, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import data
from tinygrad_softmax.backends.random import default_generator

THREADS = [0, 1, 3]


@pytest.fixture(autouse=True)
def the_default_generator_is_put_back():
    before = default_generator.state
    yield
    default_generator.state = before


def dataset_of(n: int, device: str = "cpu") -> data.TensorDataset:
    x = tg.tensor(np.arange(2.0 * n).reshape(n, 2), device=device)
    return data.TensorDataset(x, tg.tensor(np.arange(n), device=device))


def labels(loader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


class Stream(data.IterableDataset):
    """0..n - 1, counting what was read of it."""

    def __init__(self, n: int) -> None:
        self.n, self.read = n, 0

    def __len__(self) -> int:
        return self.n

    def __iter__(self):
        for i in range(self.n):
            self.read += 1
            yield i


class Counted(data.Dataset):
    """The numbers themselves, noting which were loaded."""

    def __init__(self, n: int) -> None:
        self.n, self.loaded = n, []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index):
        self.loaded.append(index)
        return index


# -- batches -----------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", THREADS)
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_in_order(device, num_workers, drop_last):
    loader = data.DataLoader(
        dataset_of(7, device), 3, num_workers=num_workers, drop_last=drop_last
    )
    batches = list(loader)
    expected = [[0, 1, 2], [3, 4, 5], [6]][: 2 if drop_last else 3]
    assert [y.tolist() for _, y in batches] == expected
    assert len(loader) == len(expected)
    x, y = batches[0]
    assert x.tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert x.device == y.device == tg.zeros(1, device=device).device


@pytest.mark.parametrize("num_workers", THREADS)
def test_any_sequence_is_a_dataset(num_workers):
    loader = data.DataLoader([0.5, 1.5, 2.5], 2, num_workers=num_workers)
    assert [batch.tolist() for batch in loader] == [[0.5, 1.5], [2.5]]
    words = data.DataLoader(["a", "b"], num_workers=num_workers)
    assert list(words) == [["a"], ["b"]]


@pytest.mark.parametrize("num_workers", THREADS)
def test_no_batching(num_workers):
    loader = data.DataLoader(
        [(np.ones(2), "a"), (np.zeros(2), "b")], None, num_workers=num_workers
    )
    (first, a), (second, b) = loader
    assert (first.tolist(), a, second.tolist(), b) == ([1.0, 1.0], "a", [0.0, 0.0], "b")
    assert len(loader) == 2
    shuffled = data.DataLoader(range(50), None, True, generator=tg.Generator(0))
    numbers = list(shuffled)
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(50))


@pytest.mark.parametrize("num_workers", THREADS)
def test_samplers_decide_the_order(num_workers):
    dataset = dataset_of(4)
    loader = data.DataLoader(dataset, 2, sampler=[3, 0, 1], num_workers=num_workers)
    assert labels(loader) == [[3, 0], [1]]
    loader = data.DataLoader(
        dataset, batch_sampler=[[2], (0, 3, 3)], num_workers=num_workers
    )
    assert labels(loader) == [[2], [0, 3, 3]]
    assert len(loader) == 2
    assert loader.batch_size is None


@pytest.mark.parametrize("num_workers", THREADS)
def test_a_stream(num_workers):
    def batches(**options):
        loader = data.DataLoader(Stream(5), num_workers=num_workers, **options)
        return [np.asarray(b).tolist() for b in loader], len(loader)

    assert batches(batch_size=2) == ([[0, 1], [2, 3], [4]], 3)
    assert batches(batch_size=2, drop_last=True) == ([[0, 1], [2, 3]], 2)
    assert batches(batch_size=5) == ([[0, 1, 2, 3, 4]], 1)
    assert batches(batch_size=None) == ([0, 1, 2, 3, 4], 5)


@pytest.mark.parametrize("num_workers", THREADS)
def test_a_collate_function_gets_a_list_of_samples(num_workers):
    seen = []

    def collate(samples):
        seen.append(type(samples))
        return [int(y.item()) for _, y in samples]

    loader = data.DataLoader(
        dataset_of(3), 2, collate_fn=collate, num_workers=num_workers
    )
    assert list(loader) == [[0, 1], [2]]
    assert set(seen) == {list}


def test_a_loader_without_a_length():
    class Endless(data.IterableDataset):
        def __iter__(self):
            return iter(int, 1)

    with pytest.raises(TypeError, match="has no len"):
        len(data.DataLoader(Endless()))
    assert next(iter(data.DataLoader(Endless(), 2))).tolist() == [0, 0]


# -- shuffling ---------------------------------------------------------------------


@given(
    n=st.integers(1, 40),
    size=st.integers(1, 9),
    drop=st.booleans(),
    ahead=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_a_thread_changes_neither_batches_nor_draws(n, size, drop, ahead, seed):
    def epochs(num_workers, prefetch_factor):
        generator = tg.Generator(seed)
        loader = data.DataLoader(
            dataset_of(n),
            size,
            shuffle=True,
            drop_last=drop,
            num_workers=num_workers,
            prefetch_factor=prefetch_factor,
            generator=generator,
        )
        return [[labels(loader), generator.state] for _ in range(2)]

    plain = epochs(0, None)
    assert epochs(1, ahead) == plain
    if not drop:
        flat = [i for batch in plain[0][0] for i in batch]
        assert sorted(flat) == list(range(n))


@pytest.mark.parametrize("num_workers", THREADS)
def test_the_order_does_not_depend_on_what_the_loop_draws(num_workers, device):
    def epoch(draws):
        tg.manual_seed(4)
        loader = data.DataLoader(dataset_of(20), 3, True, num_workers=num_workers)
        found = []
        for _, y in loader:
            found.append(y.tolist())
            for _ in range(draws):  # as dropout does
                tg.rand(2, device=device)
        return found

    assert epoch(0) == epoch(2)
    assert default_generator.state == (4, 1 + 2 * 7)


def test_an_epoch_is_drawn_when_it_begins():
    generator = tg.Generator(0)
    loader = data.DataLoader(range(9), 2, True, generator=generator)
    first, second = iter(loader), iter(loader)
    assert generator.state == (0, 2)
    assert [b.tolist() for b in second] != [b.tolist() for b in first]
    assert generator.state == (0, 2)


# -- going on in the middle of an epoch ----------------------------------------------


@pytest.mark.parametrize("num_workers", THREADS)
@pytest.mark.parametrize("own", [True, False], ids=["own generator", "default"])
@pytest.mark.parametrize("stop", range(6))
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(num_workers, own, stop):
    def new_loader():
        generator = tg.Generator(7) if own else None
        return data.DataLoader(
            Counted(9), 2, True, num_workers=num_workers, generator=generator
        )

    def train(batches) -> list:
        """Each batch, and what the loop draws for it, as dropout does."""
        return [
            (batch.tolist(), default_generator.next(tg.Backend()).random())
            for batch in batches
        ]

    tg.manual_seed(7)
    loader = new_loader()
    uninterrupted = [train(loader) for _ in range(3)]
    assert uninterrupted[0] != uninterrupted[1]

    tg.manual_seed(7)
    loader = new_loader()
    first = train(loader)
    batches = iter(loader)
    before = train(islice(batches, stop))
    saved = json.loads(json.dumps([loader.state_dict(), default_generator.state]))
    del batches

    tg.manual_seed(99)
    loader = new_loader()
    loader.load_state_dict(saved[0])
    default_generator.state = tuple(saved[1])
    after = train(loader)
    # None of the batches before was loaded again.
    assert loader.dataset.loaded == [n for batch, _ in after for n in batch]
    assert [first, before + after, train(loader)] == uninterrupted


def test_resuming_leaves_the_default_generator_alone():
    tg.manual_seed(7)
    loader = data.DataLoader(range(10), 2, True)
    batches = iter(loader)
    next(batches)
    default_generator.count = 30  # the program went on
    state = loader.state_dict()
    assert state == {"epoch_start": [7, 0], "batches": 1, "generator": None}
    rest = [b.tolist() for b in batches]
    default_generator.state = (7, 30)
    loader.load_state_dict(state)
    assert loader.state_dict() == state  # before it goes on
    assert [b.tolist() for b in loader] == rest
    assert default_generator.state == (7, 30)
    assert loader.state_dict()["epoch_start"] is None


def test_the_state_between_epochs_and_after_a_break():
    loader = data.DataLoader(range(6), 2, True, generator=tg.Generator(1))
    between = {"epoch_start": None, "batches": 0, "generator": [1, 0]}
    assert loader.state_dict() == between
    for _ in loader:
        break
    assert loader.state_dict() == {
        "epoch_start": [1, 0],
        "batches": 1,
        "generator": [1, 1],
    }
    list(loader)
    assert loader.state_dict() == {**between, "generator": [1, 2]}
    expected = [b.tolist() for b in loader]
    loader.load_state_dict({**between, "generator": [1, 2]})
    assert [b.tolist() for b in loader] == expected


def test_a_state_after_the_last_batch_gives_an_empty_epoch():
    loader = data.DataLoader(range(4), 2)
    batches = iter(loader)
    next(batches), next(batches)
    state = loader.state_dict()
    assert state["batches"] == 2
    loader.load_state_dict(state)
    assert list(loader) == []
    assert len(list(loader)) == 2


@pytest.mark.parametrize("num_workers", THREADS)
def test_a_stream_goes_on_too(num_workers):
    loader = data.DataLoader(Stream(7), 2, num_workers=num_workers)
    batches = iter(loader)
    next(batches), next(batches)
    state = loader.state_dict()
    del batches
    loader = data.DataLoader(Stream(7), 2, num_workers=num_workers)
    loader.load_state_dict(state)
    assert [b.tolist() for b in loader] == [[4, 5], [6]]


def test_the_generator_of_a_sampler_counts():
    generator = tg.Generator(2)
    sampler = data.RandomSampler(range(8), generator=generator)

    def loader():
        return data.DataLoader(
            range(8), batch_sampler=data.BatchSampler(sampler, 3, False)
        )

    first = loader()
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    rest = [b.tolist() for b in batches]
    again = loader()
    again.load_state_dict(state)
    assert [b.tolist() for b in again] == rest
    assert generator.state == (2, 1)


BAD_STATES = [
    None,
    {},
    {"epoch_start": None, "batches": -1, "generator": None},
    {"epoch_start": None, "batches": True, "generator": None},
    {"epoch_start": [1], "batches": 0, "generator": None},
    {"epoch_start": [1, "a"], "batches": 0, "generator": None},
    {"epoch_start": None, "batches": 0, "generator": 5},
    {"epoch_start": None, "batches": 0, "generator": None, "more": 1},
]


@pytest.mark.parametrize("state", BAD_STATES)
def test_a_state_that_is_none_is_refused(state):
    loader = data.DataLoader(range(4))
    with pytest.raises(ValueError, match=r"load_state_dict was given .* expected what"):
        loader.load_state_dict(state)


def test_a_state_of_another_dataset_is_refused():
    loader = data.DataLoader(range(4), 2)
    loader.load_state_dict({"epoch_start": None, "batches": 9, "generator": None})
    with pytest.raises(ValueError, match="at batch 9, but an epoch has 2"):
        iter(loader)


# -- options -----------------------------------------------------------------------

REFUSED = {
    "workers": (dict(num_workers=-1), "num_workers is -1; expected 0"),
    "timeout": (dict(timeout=-1, num_workers=1), "timeout is -1; expected a number"),
    "timeout alone": (dict(timeout=1), "timeout was given, but nothing is prepared"),
    "prefetch": (dict(prefetch_factor=2), "prefetch_factor was given, but nothing"),
    "prefetch 0": (dict(prefetch_factor=0, num_workers=1), "prefetch_factor is 0"),
    "persistent": (dict(persistent_workers=True), "persistent_workers was given"),
    "processes": (
        dict(multiprocessing_context="fork"),
        "prepared by a thread and not by processes",
    ),
    "two orders": (dict(sampler=[0], shuffle=True), "sampler and shuffle exclude"),
    "batch_sampler": (
        dict(batch_sampler=[[0]], batch_size=2),
        "batch_sampler excludes",
    ),
    "drop_last": (dict(batch_size=None, drop_last=True), "makes no batches"),
    "batch_size": (dict(batch_size=0), "batch_size was given as 0"),
    "device": (dict(device="gpu"), "device 'gpu' is not known"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_make_no_sense_are_refused(case):
    options, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        data.DataLoader(range(4), **options)


def test_a_stream_has_its_own_order():
    for options in ({"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="decides its own order"):
            data.DataLoader(Stream(3), **options)
    data.DataLoader(Stream(3), shuffle=False)


def test_a_generator_is_no_seed():
    with pytest.raises(TypeError, match="DataLoader: generator was given as a int"):
        data.DataLoader(range(4), generator=3)  # pyright: ignore


# -- devices (on the double of CuPy: no result of it is one of a GPU) ---------------


@pytest.fixture
def cuda():
    with strict_cuda() as cuda:
        yield cuda


@pytest.mark.parametrize("num_workers", THREADS)
@pytest.mark.parametrize("pin_memory", [False, True])
@pytest.mark.parametrize("name", ["cuda:0", "cuda:1"])
def test_batches_are_moved(cuda, num_workers, pin_memory, name):
    loader = data.DataLoader(
        dataset_of(5),
        2,
        num_workers=num_workers,
        pin_memory=pin_memory,
        device=name,
        collate_fn=lambda samples: {"batch": data.default_collate(samples), "n": 2},
    )
    batches = list(loader)
    assert [b["batch"][1].tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    assert {part.device for b in batches for part in b["batch"]} == {name}
    assert batches[0]["n"] == 2


def test_pinned_batches_are_copied_without_waiting(cuda):
    def seen(pin_memory):
        loader = data.DataLoader(dataset_of(4), 2, pin_memory=pin_memory, device="cuda")
        with cuda.counting() as counted:
            for _ in loader:
                pass
        return counted

    pinned = seen(True)
    assert pinned.waits == []
    assert len(pinned.uploads) == 4
    assert all(each.startswith("set at") for each in pinned.uploads)
    assert all(each.startswith("asarray at") for each in seen(False).uploads)


def test_pinned_memory_is_kept_until_it_was_copied(cuda):
    backend, stream = cuda.backend, cuda.xp.cuda.Stream()
    with stream:
        for value in (1.0, 2.0, 3.0):
            host = backend.pinned(np.array([value]))
            assert isinstance(host.base, PinnedMemory)
            assert backend.upload(host, "cuda:0").get().tolist() == [value]
            stream.events[0].done = value >= 2.0
    kept = [array.tolist() for _, array in backend._uploading]
    assert kept == [[2.0], [3.0]]
    assert backend.upload(backend.pinned(np.zeros((0, 2))), "cuda:1").shape == (0, 2)


def test_the_thread_works_on_the_device_and_stream_of_the_loop(cuda):
    seen = []

    class Watching(data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            seen.append((cuda.xp.cuda.Device().id, cuda.xp.cuda.get_current_stream()))
            return tg.zeros(2).device

    with tg.use_device("cuda:1"), cuda.xp.cuda.Stream() as stream:
        batches = list(data.DataLoader(Watching(), num_workers=1))
    assert seen == [(1, stream)] * 2
    assert batches == [["cuda:1"], ["cuda:1"]]


def test_a_dataset_on_the_device_stays_there(cuda):
    loader = data.DataLoader(dataset_of(4, "cuda:1"), 2, num_workers=1)
    with cuda.counting() as seen:
        (x, y), _ = loader
    assert x.device == y.device == "cuda:1"
    assert seen.waits == []
    assert seen.downloads == []
    assert len(seen.uploads) == 2  # the row numbers of each batch, once
    with pytest.raises(IndexError, match="sample 4 was asked for"):
        list(data.DataLoader(dataset_of(4, "cuda"), sampler=[4]))


def test_without_a_gpu_pinning_changes_nothing(device):
    loader = data.DataLoader(dataset_of(3, device), 2, pin_memory=True, device="cpu")
    assert labels(loader) == [[0, 1], [2]]
    assert next(iter(loader))[0].device == "cpu"
