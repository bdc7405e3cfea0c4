"""One flat array for many parameters, so that a step is a handful of array operations.

The parameters of a group that share a dtype and a device are laid one after the other
in one array, and `parameter.array` becomes a view of it. So are the arrays that an
optimizer remembers between steps: `optimizer.state[parameter]` shows views.

A step walks over *runs*: neighbouring parameters that have a gradient and have made
equally many steps. Where every parameter has a gradient, the run is the whole array.
Within a run the rule is called block by block, as large as stays in the cache (and as
an accelerator's kernels are worth): the gradients are gathered into a buffer of that
size, which the rule may write to; a single one that the rule only reads is not copied.
Nothing of the parameters' size is allocated. On the CPU the blocks of a large run are
shared out among threads, each with buffers of its own; no digit depends on that.

16-bit parameters and their state are stored in 16 bits and computed in float32: a block
is widened, updated and rounded once. (PyTorch rounds after each operation.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate, chain
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import backend_of, check_devices, several_devices
from ..backends.dtypes import float32, float64, get_default_dtype, is_half
from ..backends.threads import for_each
from ..ops import to_device
from ..tensor import Tensor

if TYPE_CHECKING:
    from .optimizer import Optimizer

__all__ = ["FlatGroup", "FlatParameters"]

Array = Any  # an array of some backend
PARAMETER = "a parameter", "its gradient"  # for errors
BLOCK_ARRAYS = 2  # so large a part of a cache is one array of a block: measured best
MOST_RUNS = 256  # kept for the next step
BLOCK_BYTES = 64 << 20  # of one array, where a backend names no size of its own


class FlatGroup:
    """The flat arrays of one parameter group: one for each dtype and device."""

    def __init__(self, optimizer: Optimizer, group: dict[str, Any]) -> None:
        self.parameters: list[Tensor] = list(group["params"])
        self.names = optimizer.arrays_of(group)
        alike: dict[Any, list[Tensor]] = {}
        for parameter in self.parameters:
            kind = parameter.array.dtype, parameter.device
            alike.setdefault(kind, []).append(parameter)
        self.flats = [
            FlatParameters(optimizer, each, self.names) for each in alike.values()
        ]

    def fits(self, optimizer: Optimizer, group: dict[str, Any]) -> bool:
        """Whether the group's parameters and state still are what was laid out."""
        params = group["params"]
        return (
            len(params) == len(self.parameters)
            and all(map(is_, params, self.parameters))
            and self.names == optimizer.arrays_of(group)
            and all(flat.is_current(optimizer.state) for flat in self.flats)
        )


class FlatParameters:
    """Parameters of one dtype and device as views of one array, with their state.

    values: the flat array.
    arrays: the flat arrays of the state by name; none before the first gradient.
    counters: numbers of each parameter (its "step"), small arrays on the host.
    entries: for each parameter, the dict in `optimizer.state`; None before its first
        gradient.
    """

    def __init__(
        self, optimizer: Optimizer, parameters: list[Tensor], names: list[str]
    ) -> None:
        self.parameters = parameters
        self.names = names
        first = parameters[0].array
        self.backend = backend_of(first)
        self.device = self.backend.device_of(first)
        self.dtype = first.dtype
        self.shapes = [parameter.array.shape for parameter in parameters]
        sizes = (parameter.array.size for parameter in parameters)
        self.cuts = [0, *accumulate(sizes)]
        with self.backend.on(self.device):
            self.values = self.backend.xp.concatenate(
                [parameter.array.reshape(-1) for parameter in parameters]
            )
        self.views = self.split(self.values)
        for parameter, view in zip(parameters, self.views):
            parameter.array = view
        self.arrays: dict[str, Array] = {}
        self.scratch: dict[tuple[str, int], Array] = {}
        dtype = float64 if get_default_dtype() == float64 else float32
        self.counters = {
            name: np.full(len(parameters), optimizer.initial_value(name), dtype)
            for name in optimizer.state_counters
        }
        self.has_state = bool(names or self.counters)
        self.entries: list[dict[str, Any] | None] = [None] * len(parameters)
        self.tensors: list[Tensor] = []
        self.runs: dict[tuple[int, int, int], _Run] = {}
        if self.has_state:
            for i, parameter in enumerate(parameters):
                if optimizer.state.get(parameter):
                    self.start(optimizer, i, i + 1)

    def split(self, flat: Array) -> list[Array]:
        """The part of each parameter, in its shape."""
        cuts = self.cuts
        return [
            flat[cuts[i] : cuts[i + 1]].reshape(shape)
            for i, shape in enumerate(self.shapes)
        ]

    def is_current(self, state: dict[Tensor, dict[str, Any]]) -> bool:
        """Whether parameters and state still are the views that were handed out."""
        for parameter, view in zip(self.parameters, self.views):
            if parameter.array is not view:
                return False
        if not self.has_state:
            return True
        found = map(state.get, self.parameters)
        if not all(map(is_, found, self.entries)):
            for parameter, entry in zip(self.parameters, self.entries):
                if state.get(parameter) is not entry and (entry or state[parameter]):
                    return False
        values = chain.from_iterable(map(_values, filter(None, self.entries)))
        return all(map(is_, values, self.tensors))

    # -- state ------------------------------------------------------------------------

    def start(self, optimizer: Optimizer, start: int, stop: int) -> None:
        """Give some parameters their state: what is in `optimizer.state`, else anew."""
        if not self.arrays and self.names:
            with self.backend.on(self.device):
                for name in self.names:
                    self.arrays[name] = self.backend.xp.zeros_like(self.values)
        for i in range(start, stop):
            entry = optimizer.state.setdefault(self.parameters[i], {})
            cut, shape = slice(self.cuts[i], self.cuts[i + 1]), self.shapes[i]
            for name, counter in self.counters.items():
                if name in entry:
                    counter[i] = _number(entry[name])
                entry[name] = Tensor(counter[i, ...])
            for name, array in self.arrays.items():
                view = array[cut].reshape(shape)
                with self.backend.on(self.device):
                    if name in entry:
                        view[...] = self.placed(entry[name])
                    elif (initial := optimizer.initial_value(name)) != 0:
                        view[...] = initial
                entry[name] = Tensor(view)
            self.entries[i] = entry
        entries = map(_values, filter(None, self.entries))
        self.tensors = list(chain.from_iterable(entries))

    def placed(self, value: Any) -> Array:
        """An array of the state, on this device."""
        return to_device(getattr(value, "array", value), self.device)

    # -- a step -----------------------------------------------------------------------

    def step(
        self, optimizer: Optimizer, group: dict[str, Any], grads: list[Array | None]
    ) -> None:
        """Update every parameter that has a gradient: `flat_gradients()`."""
        with self.backend.on(self.device):
            for start, stop in self.find_runs(grads):
                is_first = self.entries[start] is None
                if is_first and self.has_state:
                    self.start(optimizer, start, stop)
                run = self.run_of(optimizer, start, stop)
                optimizer.advance(group, run.counters)
                numbers = {name: float(c[0]) for name, c in run.counters.items()}
                numbers["is_first"] = is_first
                work = partial(self.update, optimizer, group, grads, run, numbers)
                for_each(work, len(run.parts), len(run.parts))

    def update(
        self,
        optimizer: Optimizer,
        group: dict[str, Any],
        grads: list[Array | None],
        run: _Run,
        numbers: dict[str, Any],
        worker: int,
    ) -> None:
        """Update the blocks of one worker."""
        as_they_are = optimizer.leaves_gradient(group)
        for block in run.parts[worker]:
            grad = block.gather(self.backend.xp, grads, as_they_are)
            block.state.update(numbers)
            optimizer.update(group, block.array, grad, block.state, block.scratch)
            block.round()

    def run_of(self, optimizer: Optimizer, start: int, stop: int) -> _Run:
        """A run cut into blocks, which is kept for the next step."""
        size = (self.cuts[stop] - self.cuts[start]) * self.dtype.itemsize
        workers = self.backend.workers(size) if optimizer.shares_blocks else 1
        run = self.runs.get((start, stop, workers))
        if run is None:
            if len(self.runs) >= MOST_RUNS:
                self.runs.clear()
            run = self.runs[start, stop, workers] = _Run(self, start, stop, workers)
        return run

    def flat_gradients(self) -> list[Array | None]:
        """Each parameter's gradient along one axis; None where it has none."""
        found: list[Array | None] = []
        kind = type(self.values)
        for parameter, shape in zip(self.parameters, self.shapes):
            grad = parameter.grad
            if grad is None:
                found.append(None)
            else:
                array = grad.array
                if type(array) is not kind or several_devices:
                    check_devices("step", parameter.array, array, PARAMETER)
                if array.shape != shape:
                    raise ValueError(
                        f"step: a parameter of shape {shape} has a gradient of shape "
                        f"{array.shape}; mend: set .grad to a tensor of its shape"
                    )
                found.append(array.reshape(-1))
        return found

    def find_runs(self, grads: Sequence[Array | None]) -> list[tuple[int, int]]:
        """The longest runs of parameters that one call of the rule can serve.

        They have a gradient, have all been updated before or none of them has, and
        their counters agree.
        """
        counters = [counter.tolist() for counter in self.counters.values()]
        marks = list(zip(map(_is_none, self.entries), map(_is_none, grads), *counters))
        count = len(marks)
        if marks.count(marks[0]) == count:  # as it mostly is
            return [] if marks[0][1] else [(0, count)]
        runs, start = [], 0
        for stop in range(1, count + 1):
            if stop == count or marks[stop] != marks[start]:
                if not marks[start][1]:
                    runs.append((start, stop))
                start = stop
        return runs

    def buffer(self, name: str, worker: int, size: int, dtype: Any) -> Array:
        """The beginning of a buffer that all blocks of a worker share."""
        key = name, worker
        if key not in self.scratch:
            size_of_all = min(self.block_size, self.values.size)
            self.scratch[key] = self.backend.xp.empty(size_of_all, dtype)
        return self.scratch[key][:size]

    @property
    def block_size(self) -> int:
        """How many elements a block has at most."""
        cache = self.backend.block_bytes
        limit = BLOCK_BYTES if cache is None else cache // BLOCK_ARRAYS
        return max(1, limit // self.dtype.itemsize)


class _Run:
    """Neighbouring parameters that are updated together."""

    def __init__(
        self, flat: FlatParameters, start: int, stop: int, workers: int
    ) -> None:
        self.counters = {name: c[start:stop] for name, c in flat.counters.items()}
        first, last, size = flat.cuts[start], flat.cuts[stop], flat.block_size
        begins = range(first, last, size)
        share = max(1, -(-len(begins) // workers))
        self.parts = [
            [
                _Block(flat, a, min(a + size, last), range(start, stop), worker)
                for a in begins[worker * share : (worker + 1) * share]
            ]
            for worker in range(-(-len(begins) // share))
        ]


class _Block:
    """A stretch of a run that is updated at once."""

    __slots__ = ("array", "grad", "pieces", "scratch", "stages", "state")

    def __init__(
        self,
        flat: FlatParameters,
        start: int,
        stop: int,
        parameters: range,
        worker: int,
    ) -> None:
        stretch, size = slice(start, stop), stop - start
        stored = {"": flat.values[stretch]}
        stored |= {name: array[stretch] for name, array in flat.arrays.items()}
        used, dtype = stored, flat.dtype
        if is_half(dtype):
            dtype = float32
            used = {name: flat.buffer(name, worker, size, dtype) for name in stored}
        # What is computed elsewhere than where it is stored.
        self.stages = [(used[k], stored[k]) for k in stored if used is not stored]
        self.array = used[""]
        self.state: dict[str, Any] = {k: array for k, array in used.items() if k}
        self.grad = flat.buffer("gradient", worker, size, dtype)
        self.scratch = flat.buffer("scratch", worker, size, dtype)
        self.pieces: list[tuple[int, slice | None]] = []
        for i in parameters:
            begin, end = flat.cuts[i], flat.cuts[i + 1]
            a, b = max(begin, start), min(end, stop)
            if a < b:
                whole = (a, b) == (begin, end)
                cut = None if whole else slice(a - begin, b - begin)
                self.pieces.append((i, cut))

    def gather(self, xp: Any, grads: Sequence[Any], as_they_are: bool) -> Array:
        """The block's gradients together, after what is in 16 bits was widened.

        They are copied, but for a single one that the rule leaves as it is, and that
        isn't made of the parameters' own memory (p.grad = p.detach()).
        """
        for wide, stored in self.stages:
            wide[...] = stored
        pieces = [grads[i] if cut is None else grads[i][cut] for i, cut in self.pieces]
        if as_they_are and len(pieces) == 1 and pieces[0].dtype == self.grad.dtype:
            base = getattr(pieces[0], "base", None)
            if base is None or base is not getattr(self.array, "base", None):
                return pieces[0]
        xp.concatenate(pieces, out=self.grad, casting="unsafe")
        return self.grad

    def round(self) -> None:
        """Store the results."""
        for wide, stored in self.stages:
            stored[...] = wide


_values = dict.values
_is_none = partial(is_, None)


def _number(value: Any) -> float:
    """A counter of the state: a number, or a 0-d array or tensor of any kind."""
    return float(getattr(value, "array", value))
