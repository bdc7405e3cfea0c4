"""`Tensor`: an array, its place in the graph, and the operators.

A Tensor is a `Variable` (array, node, grad) with the methods that users know from NumPy
and PyTorch. Every method is an op of floor 2, or a line over one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from . import ops
from .autograd import Variable, backward, make_leaf, retain_grad
from .autograd.graph import grad_enabled, next_order
from .backends import backend_of, check_devices, several_devices, there
from .backends.dtypes import bool_, float32, int64
from .ops.indexing import plain_index
from .ops.operators import NUMPY_NAMES, OPERATORS


class Tensor(Variable):
    """An array on some device that may require a gradient.

    Make one with `tg.tensor(data)` (copies) or `tg.asarray(array)` (shares).

    array: the raw array of the backend, for code that wants no graph.
    grad: after `backward`, the gradient (a Tensor), for leaves and where
        `retain_grad` was called; else None.

    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ()
    __array_priority__ = 1000  # ndarray * t asks the Tensor first

    # -- what it is ---------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths, a tuple."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return self.array.ndim

    @property
    def size(self) -> int:
        """How many elements it has."""
        return self.array.size

    @property
    def dtype(self) -> Any:
        """Its element type, a `numpy.dtype`."""
        return self.array.dtype

    @property
    def device(self) -> str:
        """Where it lives: "cpu", "cuda:0"."""
        return backend_of(self.array).device_of(self.array)

    @property
    def requires_grad(self) -> bool:
        """Whether it is in the graph: operations on it are recorded."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    @property
    def T(self) -> Tensor:  # noqa: N802  (NumPy's name)
        """Its axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:  # noqa: N802  (the array API's name)
        """Its last two axes exchanged."""
        return ops.swapaxes(self, -1, -2)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None or self.node.plan is None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Make this leaf require a gradient, or no longer; returns it."""
        if not self.is_leaf:
            raise RuntimeError(
                "requires_grad_: this tensor was computed, so its inputs decide; mend: "
                "x.detach() is a tensor without the graph"
            )
        if not requires_grad:
            self.node = None
        elif self.node is None:
            make_leaf(self)
        return self

    # -- the graph ----------------------------------------------------------------

    def backward(
        self,
        grad: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add d self / d leaf to `.grad` of every leaf that this depends on.

        grad: the gradient of this tensor's entries, of its shape; 1 for a scalar.
        retain_graph: keep what was saved, for another backward; None: as create_graph.
        create_graph: record the gradients, for derivatives of higher order.

        Raises RuntimeError if this is not a scalar and no `grad` is given, if nothing
        it depends on requires a gradient, or if its graph was freed.
        """
        backward(self, grad, retain_graph, create_graph)

    def detach(self) -> Tensor:
        """The same array, without the graph. Shares memory."""
        return Tensor(self.array)

    def retain_grad(self) -> None:
        """Ask backward to fill `.grad` of this tensor too, though it is no leaf."""
        retain_grad(self)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> HookHandle:
        """Call `hook(gradient)` when this tensor's gradient is complete.

        The hook may return another gradient, of this shape, to go on with. It must not
        change the one it is given. Returns a handle; `handle.remove()` takes it back.
        """
        if self.node is None:
            raise RuntimeError(
                "register_hook: this tensor does not require a gradient, so none will "
                "arrive; mend: requires_grad=True"
            )
        if self.node.hooks is None:
            self.node.hooks = {}
        return HookHandle(self.node.hooks, hook)

    # -- to and from elsewhere ------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: shared on the CPU, copied from a GPU.

        Raises RuntimeError if it requires a gradient: NumPy would lose the graph.
        """
        if self.node is not None:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, and NumPy would lose its "
                "graph; mend: x.detach().numpy()"
            )
        return backend_of(self.array).to_host(self.array)

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.size != 1:
            raise ValueError(
                f"item: this tensor has shape {self.shape}, not one element; mend: "
                "index it, reduce it, or use .tolist()"
            )
        return backend_of(self.array).to_host(self.array).item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return backend_of(self.array).to_host(self.array).tolist()

    def to(self, device: Any) -> Tensor:
        """This tensor on a device ("cpu", "cuda", "cuda:1"); itself if it is there.

        Differentiable: the gradient comes back to this tensor's device. A dtype in its
        place is `astype`, as in PyTorch.
        """
        if isinstance(device, np.dtype):
            return ops.astype(self, device)
        return ops.to_device(self, device)

    def astype(self, dtype: Any) -> Tensor:
        """This tensor with another dtype; itself if it has it.

        Differentiable between floating dtypes; an integer result has no graph.
        """
        return ops.astype(self, dtype)

    def clone(self) -> Tensor:
        """A copy with its own memory; the gradient goes through to this tensor."""
        return ops.copy(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise TypeError(
                f"np.asarray: this tensor is on {self.device!r}, and NumPy would copy "
                "it silently; mend: x.numpy()"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kw: Any) -> Any:
        name = NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
        function = getattr(ops, name, None) if name in ops.__all__ else None
        if method != "__call__" or function is None or kw:
            called = f"np.{ufunc.__name__}" + (
                "" if method == "__call__" else f".{method}"
            )
            extra = f" with {', '.join(kw)}=" if kw else ""
            raise TypeError(
                f"{called}{extra} has no counterpart for tensors; mend: use a function "
                "of tg, or x.detach().numpy()"
            )
        return function(*inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = NUMPY_NAMES.get(func.__name__, func.__name__)
        function = getattr(ops, name, None) if name in ops.__all__ else None
        if function is None:
            raise TypeError(
                f"np.{func.__name__} has no counterpart for tensors; mend: use a "
                "function of tg, or x.detach().numpy()"
            )
        return function(*args, **kwargs)

    def __dlpack__(self, **options: Any) -> Any:
        if self.node is not None:
            raise BufferError(
                "__dlpack__: this tensor requires a gradient, and its graph would be "
                "lost; mend: x.detach()"
            )
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    # -- Python's protocols -----------------------------------------------------------

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth of a tensor of shape {self.shape} is ambiguous; mend: use "
                ".any() or .all()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"a {self.dtype} tensor can't be used as an index")
        return int(self.item())

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a 0-dimensional tensor; mend: .size is 1")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.ndim:
            raise TypeError("iteration over a 0-dimensional tensor; mend: .item()")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    __hash__ = object.__hash__  # by identity, as in PyTorch: == compares elements

    def __getitem__(self, index: Any) -> Any:
        return ops.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.is_leaf or grad_enabled():
            raise TypeError(
                "a tensor can't be assigned to: backward may need what would be "
                "overwritten; mend: x = tg.index_update(x, index, values), or "
                "x = tg.index_add(x, index, values) in place of +=; a leaf may be "
                "written under tg.no_grad()"
            )
        with there(self.array):
            self.array[plain_index(index, self)] = _beside(self.array, value)

    if not TYPE_CHECKING:  # (type checkers would take any name for one)

        def __getattr__(self, name: str) -> Any:  # asked where there is no such name
            from .pytorch_names import missing

            raise AttributeError(missing("Tensor", name))

    def __repr__(self) -> str:
        return _text(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __deepcopy__(self, memo: dict) -> Tensor:
        with there(self.array):
            copy = self._fresh(self.array.copy())
            memo[id(self)] = copy
            if self.grad is not None:
                copy.grad = Tensor(self.grad.array.copy())
        return copy

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({})

    def __reduce__(self) -> tuple:
        host = self._fresh(self.array).detach().numpy()
        return _unpickle, (type(self), host, self.device, self.requires_grad)

    def _fresh(self, array: Any) -> Tensor:
        """A leaf of this class around `array`; only a leaf can be copied so."""
        if not self.is_leaf:
            raise RuntimeError(
                "a tensor that was computed can't be copied or pickled with its graph; "
                "mend: x.detach(), or x.clone() within the graph"
            )
        fresh = type(self).__new__(type(self))
        Variable.__init__(fresh, array)
        return fresh.requires_grad_() if self.requires_grad else fresh

    # -- methods: the functions of the same name ------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        """`tg.reshape`; lengths may be given one by one."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Axes `start_dim` to `end_dim` as one; by default all of them."""
        shape, n = self.shape, max(self.ndim, 1)
        start, end = start_dim % n, end_dim % n + 1
        middle = prod(shape[start:end])
        return ops.reshape(self, (*shape[:start], middle, *shape[end:]))

    def transpose(self, *axes: Any) -> Tensor:
        """`tg.transpose`: all axes in their new order, which may be given one by one.

        Two of them exchange these axes, as in PyTorch. (On two axes, where 0, 1 is
        NumPy's for leaving them and PyTorch's for exchanging them, it is an error.)
        """
        if axes == (0, 1) and self.ndim == 2:
            raise ValueError(
                "transpose(0, 1) of a matrix leaves it as it is in NumPy, and "
                "exchanges its axes in PyTorch; mend: x.T"
            )
        if len(axes) == 2 and self.ndim != 2:
            return ops.swapaxes(self, *axes)
        return (
            ops.transpose(self, *axes) if len(axes) < 2 else ops.transpose(self, axes)
        )

    if TYPE_CHECKING:  # set below, from OPERATORS and _METHODS

        def _one(self) -> Tensor: ...
        def _two(self, other: Any) -> Tensor: ...
        def _any(self, *args: Any, **keywords: Any) -> Tensor: ...

        __neg__ = __pos__ = __abs__ = __invert__ = _one
        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = _two
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = _two
        __iadd__ = __isub__ = __imul__ = __itruediv__ = _two
        __mod__ = __pow__ = __matmul__ = __and__ = __or__ = __xor__ = _two
        __rmod__ = __rpow__ = __rmatmul__ = __rand__ = __ror__ = __rxor__ = _two
        __lt__ = __le__ = __gt__ = __ge__ = _two
        __eq__ = __ne__ = _two  # type: ignore[assignment]
        sum = mean = max = min = prod = var = std = norm = logsumexp = cumsum = _any
        argmax = argmin = argsort = sort = any = all = take = clip = repeat = _any
        squeeze = swapaxes = diagonal = softmax = log_softmax = round = _any
        exp = log = sqrt = abs = square = tanh = sigmoid = relu = _one


_METHODS = (
    "sum mean max min prod var std norm logsumexp cumsum argmax argmin argsort "
    "sort any all take clip repeat squeeze swapaxes diagonal softmax log_softmax "
    "round exp log sqrt abs square tanh sigmoid relu"
)

for _name, _op in OPERATORS.items():
    setattr(Tensor, _name, _op)
for _name in _METHODS.split():
    setattr(Tensor, _name, getattr(ops, _name))
Tensor.result_class = Tensor


def _in_place(name: str, ufunc: str) -> Callable[[Tensor, Any], Tensor]:
    """`p -= lr * g` and its like: a leaf is written in place under no_grad, where
    nothing can be waiting for the old values. What was computed, and what wants no
    gradient, is replaced by a new tensor, as numbers are: `total += loss`. A leaf that
    wants a gradient is an error elsewhere, for rebinding would train nothing."""
    plain = OPERATORS[name.replace("__i", "__")]

    def operator(self: Tensor, other: Any) -> Tensor:
        leaf = self.is_leaf
        if not leaf or grad_enabled():
            if leaf and self.node is not None:
                raise RuntimeError(
                    f"in-place {ufunc} on a leaf that requires a gradient is allowed "
                    "under tg.no_grad(), where no graph can be waiting for its old "
                    "values; mend: with tg.no_grad(): ..., or x = x + y in place of "
                    "x += y"
                )
            return plain(self, other)
        array = self.array
        value = _beside(array, other)
        write = getattr(backend_of(array).xp, ufunc)
        with there(array):
            write(array, value, out=array, casting="same_kind")
        return self

    return operator


def _beside(array: Any, value: Any) -> Any:
    """What is written into an array, raw; if it has a device, that of the array."""
    value = value.array if isinstance(value, Variable) else value
    if type(value) is type(array) and not several_devices:
        return value
    if hasattr(value, "dtype") and hasattr(value, "__setitem__"):
        check_devices("in-place write", array, value, ("the tensor", "the value"))
    return value


for _name, _ufunc in (
    ("__iadd__", "add"),
    ("__isub__", "subtract"),
    ("__imul__", "multiply"),
    ("__itruediv__", "divide"),
    ("__ifloordiv__", "floor_divide"),
    ("__imod__", "remainder"),
    ("__ipow__", "power"),
):
    setattr(Tensor, _name, _in_place(_name, _ufunc))


class HookHandle:
    """What `register_hook` returns."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Callable], hook: Callable) -> None:
        self._hooks, self._key = hooks, next_order()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook back; a second time does nothing."""
        self._hooks.pop(self._key, None)


def _text(x: Tensor) -> str:
    host = backend_of(x.array).to_host(x.array)
    text = np.array2string(host, separator=", ", prefix="tensor(")
    if x.dtype not in (float32, int64, bool_):
        text += f", dtype={x.dtype.name}"
    if x.device != "cpu":
        text += f", device={x.device!r}"
    return f"tensor({text}{', requires_grad=True' if x.requires_grad else ''})"


def _unpickle(kind: type[Tensor], host: np.ndarray, device: str, grad: bool) -> Tensor:
    array = ops.to_device(host, device)
    tensor = kind.__new__(kind)
    Variable.__init__(tensor, array)
    return tensor.requires_grad_() if grad else tensor
