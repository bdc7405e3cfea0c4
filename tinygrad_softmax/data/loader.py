"""`DataLoader`: batches of a dataset, epoch after epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from typing import Any

from ..backends import Generator, resolve_device
from ..backends.random import default_generator
from ..tensor import Tensor
from .collate import default_collate, default_convert, map_tensors
from .dataset import IterableDataset, samples_of
from .prefetch import STOP, Prefetched
from .randomness import checked_generator
from .samplers import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader"]


class DataLoader:
    """Batches of a dataset: `for x, y in DataLoader(dataset, batch_size=32): ...`.

    dataset: a `Dataset`, any sequence (a list), or an `IterableDataset`.
    batch_size: samples in a batch; None gives the samples one by one, unstacked.
    shuffle: visit the samples in a new random order in every epoch.
    sampler, batch_sampler: decide the order in place of `shuffle`, or the batches in
        place of `batch_size`, `shuffle`, `sampler` and `drop_last`.
    num_workers: 0 loads each batch when it is asked for. 1 or more prepares batches
        ahead in ONE background thread; see below.
    collate_fn: makes a batch of a list of samples, by default `default_collate`.
    pin_memory: copy a batch that goes to a CUDA `device` through page-locked memory, so
        that the copy runs while the host goes on. No effect on other devices. (It has
        been tried on a double of CuPy only, not on a GPU.)
    drop_last: leave out a last batch that is smaller.
    timeout: with a thread, the seconds to wait for a batch; 0 waits for ever.
    worker_init_fn: with a thread, `worker_init_fn(0)` is called in it when it starts.
    multiprocessing_context: must be None; it stands here for PyTorch's argument order.
    generator: a `tg.Generator` for the order; None is the default one, of
        `tg.manual_seed`. An epoch takes one draw of it, when `iter(loader)` is called.
    prefetch_factor: how many batches the thread keeps ready; 2 by default.
    persistent_workers, in_order: PyTorch's; a thread is quick to start and batches
        always come in order, so they change nothing.
    device: move the tensors of a batch there. None leaves tensors where they are; what
        `default_collate` makes of arrays and numbers is on the default device.

    **The thread.** PyTorch's workers are processes, this one is a thread of the same
    process: nothing is pickled and starting costs next to nothing, but Python code in
    the dataset shares the interpreter lock with the training loop. It overlaps with
    NumPy's and CuPy's work, with decompression and with reading files. Batches are
    bit-identical to those of `num_workers=0` and in the same order. A dataset that
    draws random numbers must have a generator of its own for that: it runs ahead of the
    training loop, whose dropout draws from the default one. An exception is raised
    where its batch would have come. The thread ends with the loop, however that ends.

    **Resuming.** `state_dict()` says where in an epoch the loader is;
    `load_state_dict(state)` makes the next `iter(loader)` go on there, in the same
    order, without loading the batches before.

    Raises ValueError for options that exclude each other.

    >>> dataset = tg.data.TensorDataset(tg.arange(5), tg.arange(5) ** 2)
    >>> for x, y in tg.data.DataLoader(dataset, batch_size=2):
    ...     print(x.tolist(), y.tolist())
    [0, 1] [0, 1]
    [2, 3] [4, 9]
    [4] [16]
    >>> loader = tg.data.DataLoader(
    ...     dataset, 2, shuffle=True, num_workers=1, generator=tg.Generator(0)
    ... )
    >>> sorted(i for x, y in loader for i in x.tolist())
    [0, 1, 2, 3, 4]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable | None = None,
        batch_sampler: Iterable | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: None = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        in_order: bool = True,
        device: str | None = None,
    ) -> None:
        checked_generator("DataLoader", generator)
        if multiprocessing_context is not None:
            raise ValueError(
                "DataLoader: multiprocessing_context was given, but batches are "
                "prepared by a thread and not by processes; mend: leave it out"
            )
        self._streams = isinstance(dataset, IterableDataset)
        _check_workers(num_workers, prefetch_factor, persistent_workers, timeout)
        _check_order(
            self._streams, batch_size, shuffle, sampler, batch_sampler, drop_last
        )
        if device is not None:
            resolve_device(device)  # an unknown one is an error here
        if sampler is None and not self._streams:
            if shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            numbers: Any = repeat(None) if sampler is None else sampler
            batch_sampler = BatchSampler(numbers, batch_size, drop_last)
        batched = batch_sampler is not None
        default = default_collate if batched else default_convert
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn: Callable[[Any], Any] = collate_fn or default
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = prefetch_factor or (2 if num_workers else None)
        self.device = device
        self._order = checked_generator("DataLoader", self._ordering_generator())
        self._epoch: _Epoch | None = None  # None: between two epochs
        self._resume: dict[str, Any] | None = None

    def _ordering_generator(self) -> Generator | None:
        """The generator that orders an epoch: the sampler's, where one was given."""
        inner = getattr(self.batch_sampler, "sampler", None)
        samplers: tuple[Any, ...] = (self.sampler, inner, self.batch_sampler)
        for each in samplers:
            if hasattr(each, "generator"):
                return each.generator
        return None

    def __len__(self) -> int:
        """The number of batches (of samples for `batch_size=None`) in an epoch.

        TypeError where the dataset or the sampler has no length.
        """
        if self._streams:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        counted: Any = self.batch_sampler
        return len(self.sampler if counted is None else counted)  # pyright: ignore[reportArgumentType]

    # -- an epoch ------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        now = self._order.state
        start = now if resume is None else resume["epoch_start"] or now
        done = 0 if resume is None else resume["batches"]
        self._order.state = start
        try:
            tasks = self._tasks()
            skipped = done if self._streams else sum(1 for _ in islice(tasks, done))
        finally:
            if resume is not None and resume["epoch_start"] is not None:
                self._order.state = now  # which is after this epoch's draw
        if skipped < done:
            raise ValueError(
                f"DataLoader: the state that was loaded is at batch {done}, but an "
                f"epoch has {skipped}; mend: load it with the dataset, batch size and "
                "sampler that it was taken with"
            )
        self._epoch = epoch = _Epoch(start, done)
        return self._run(epoch, tasks, self._load_function(done))

    def _tasks(self) -> Iterator[Any]:
        """What to load for each batch: sample numbers; of a stream, how many."""
        if self.batch_sampler is not None:
            return iter(self.batch_sampler)
        return repeat(None) if self.sampler is None else iter(self.sampler)

    def _run(
        self, epoch: _Epoch, tasks: Iterator[Any], load: Callable[[Any], Any]
    ) -> Iterator[Any]:
        if self.num_workers:
            init = self.worker_init_fn
            begin = None if init is None else lambda: init(0)
            ahead: Any = self.prefetch_factor
            source = Prefetched(tasks, load, ahead, self.timeout, begin)
        else:
            source = (load(task) for task in tasks)
        move = self._move_function()
        try:
            for batch in source:
                if batch is STOP:
                    break
                batch = move(batch)
                epoch.batches += 1
                yield batch
        finally:
            source.close()
        if self._epoch is epoch:
            self._epoch = None

    def _load_function(self, skip: int) -> Callable[[Any], Any]:
        """From a task to a batch: runs in the thread, if there is one."""
        load = self._stream_function(skip) if self._streams else self._map_function()
        if not self.pin_memory or self.device is None:
            return load
        backend, _ = resolve_device(self.device)

        def pin(tensor: Tensor) -> Tensor:
            return Tensor(backend.pinned(tensor.array)) if _on_host(tensor) else tensor

        return lambda task: map_tensors(pin, load(task))

    def _map_function(self) -> Callable[[Any], Any]:
        dataset, collate = self.dataset, self.collate_fn
        if self.batch_sampler is None:
            return lambda number: collate(dataset[number])
        if collate is default_collate:
            return lambda numbers: collate(samples_of(dataset, numbers))
        return lambda numbers: collate(list(samples_of(dataset, numbers)))

    def _stream_function(self, skip: int) -> Callable[[Any], Any]:
        """Batches of an IterableDataset; the first `skip` are read and thrown away."""
        size, collate = self.batch_size, self.collate_fn
        samples: list[Iterator] = []

        def load(task: Any) -> Any:
            if not samples:  # in the thread, if there is one
                samples.append(iter(self.dataset))
                for _ in islice(samples[0], skip * (size or 1)):
                    pass
            found = list(islice(samples[0], size or 1))
            if not found or (self.drop_last and len(found) < (size or 1)):
                return STOP
            return collate(found[0] if size is None else found)

        return load

    def _move_function(self) -> Callable[[Any], Any]:
        """To `device`: runs in the consumer's thread, on its CUDA stream."""
        if self.device is None:
            return lambda batch: batch
        backend, device = resolve_device(self.device)

        def move(tensor: Tensor) -> Tensor:
            if self.pin_memory and _on_host(tensor) and device != "cpu":
                return Tensor(backend.upload(tensor.array, device))
            return tensor.to(device)

        return lambda batch: map_tensors(move, batch)

    # -- saving and resuming ---------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, as numbers that JSON can hold.

        epoch_start: the state of the generator before this epoch's order was drawn;
            None between epochs.
        batches: how many batches of this epoch the loop has been given.
        generator: the state of the generator now; None if it is the default one, which
            belongs to the whole program and is saved with it.

        It is about the epoch that began last, and stays after the loop was left early.
        """
        own = self._order is not default_generator
        epoch = self._epoch
        if self._resume is not None:  # loaded, and not begun yet
            start, batches = self._resume["epoch_start"], self._resume["batches"]
        elif epoch is not None:
            start, batches = epoch.start, epoch.batches
        else:
            start, batches = None, 0
        return {
            "epoch_start": None if start is None else list(start),
            "batches": batches,
            "generator": list(self._order.state) if own else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next epoch go on where `state_dict` was taken.

        It gives the batches that were left, in the order of that epoch, and loads none
        of those before (an `IterableDataset` is read up to there). Where the generator
        is the default one, restore its state too: `tg.manual_seed(0).state = saved`.

        Raises ValueError for what `state_dict` did not return.

        >>> loader = tg.data.DataLoader(range(6), 2, True, generator=tg.Generator(3))
        >>> for first in loader:
        ...     break
        >>> again = tg.data.DataLoader(range(6), 2, True, generator=tg.Generator())
        >>> again.load_state_dict(loader.state_dict())
        >>> sorted(n for batch in [first, *again] for n in batch.tolist())
        [0, 1, 2, 3, 4, 5]
        """
        state = _checked_state(state_dict)
        if self._order is not default_generator and state["generator"] is not None:
            self._order.state = state["generator"]
        self._epoch, self._resume = None, state


class _Epoch:
    """An epoch that has begun: the generator's state before it, and how far it is."""

    __slots__ = ("batches", "start")

    def __init__(self, start: tuple[int, int], batches: int) -> None:
        self.start, self.batches = start, batches


def _on_host(tensor: Tensor) -> bool:
    return tensor.device == "cpu" and not tensor.requires_grad


def _checked_state(state: Any) -> dict[str, Any]:
    def is_count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def is_state(value: Any) -> bool:
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        return value is None or (pair and all(map(is_count, value)))

    keys = {"epoch_start", "batches", "generator"}
    if (
        not isinstance(state, dict)
        or state.keys() != keys
        or not is_count(state["batches"])
        or not is_state(state["epoch_start"])
        or not is_state(state["generator"])
    ):
        raise ValueError(
            f"DataLoader: load_state_dict was given {state!r}; expected what "
            "state_dict() returned: epoch_start, batches and generator"
        )
    checked = dict(state)
    for key in ("epoch_start", "generator"):
        if state[key] is not None:
            checked[key] = tuple(state[key])
    return checked


def _check_workers(
    num_workers: int, prefetch_factor: int | None, persistent: bool, timeout: float
) -> None:
    if num_workers < 0:
        raise ValueError(
            f"DataLoader: num_workers is {num_workers}; expected 0 (load in this "
            "thread) or more (in a background thread)"
        )
    if timeout < 0:
        raise ValueError(f"DataLoader: timeout is {timeout}; expected a number >= 0")
    if prefetch_factor is not None and prefetch_factor < 1:
        raise ValueError(
            f"DataLoader: prefetch_factor is {prefetch_factor}; expected an integer "
            ">= 1, or None"
        )
    given = {
        "prefetch_factor": prefetch_factor is not None,
        "persistent_workers": persistent,
        "timeout": timeout > 0,
    }
    for name, is_given in given.items():
        if is_given and num_workers == 0:
            raise ValueError(
                f"DataLoader: {name} was given, but nothing is prepared ahead with "
                "num_workers=0; mend: num_workers=1"
            )


def _check_order(
    streams: bool,
    batch_size: int | None,
    shuffle: bool | None,
    sampler: Any,
    batch_sampler: Any,
    drop_last: bool,
) -> None:
    """Raise for options that exclude each other, as PyTorch does."""
    if streams and (shuffle or sampler is not None or batch_sampler is not None):
        raise ValueError(
            "DataLoader: an IterableDataset decides its own order; mend: leave out "
            "shuffle, sampler and batch_sampler, or use a Dataset with __getitem__"
        )
    if sampler is not None and shuffle:
        raise ValueError("DataLoader: sampler and shuffle exclude each other")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and "
                "drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError(
            "DataLoader: batch_size=None makes no batches, so it excludes drop_last"
        )
