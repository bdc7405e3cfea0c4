"""Derivatives of functions: grad, value_and_grad, jacobian, hvp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backends import backend_of, there
from .core_ops import cast
from .graph import Node, Variable, enable_grad, make_leaf
from .walk import gradients


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Any:
    """The gradient of `outputs` with respect to `inputs`, without touching `.grad`.

    outputs: a tensor, or a sequence of them (their gradients add up). Each is a scalar
        unless `grad_outputs` gives the gradient of its entries, of its shape.
    inputs: a tensor, or a sequence of them, anywhere in the graph of `outputs`.
    retain_graph: keep the graph for another backward; None means as `create_graph`.
    create_graph: record the gradient itself, for derivatives of higher order.
    allow_unused: give None for an input that `outputs` does not depend on.

    Returns a tensor, or a tuple of them, of the inputs' shapes and dtypes. Raises
    RuntimeError for an output that is not a scalar, an input that is not reached, or a
    graph that was freed.

    >>> import tinygrad_softmax as tg
    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> dx = tg.grad(x * x * x, x, create_graph=True)
    >>> dx, tg.grad(dx, x)
    (tensor(27., requires_grad=True), tensor(18.))
    """
    roots, wanted = _listed(outputs, "outputs"), _listed(inputs, "inputs")
    seeds = [None] * len(roots)
    if grad_outputs is not None:
        single = isinstance(outputs, Variable)
        seeds = [grad_outputs] if single else list(grad_outputs)
        if len(seeds) != len(roots):
            raise ValueError(
                f"grad: {len(roots)} outputs but {len(seeds)} grad_outputs were given; "
                "mend: give one for each output (None for a scalar)"
            )
    nodes = []
    for position, variable in enumerate(wanted):
        if variable.node is None and not allow_unused:
            raise RuntimeError(
                f"grad: input {position} does not require a gradient; mend: create it "
                "with requires_grad=True before it is used"
            )
        nodes.append(variable.node)
    known = [node for node in nodes if node is not None]
    found = iter(gradients(roots, seeds, known, retain_graph, create_graph))
    results = [None if node is None else next(found) for node in nodes]
    if not allow_unused and any(result is None for result in results):
        position = next(i for i, result in enumerate(results) if result is None)
        raise RuntimeError(
            f"grad: the outputs do not depend on input {position} (shape "
            f"{wanted[position].shape}); mend: check that it was used, or pass "
            "allow_unused=True to get None for it"
        )
    return results[0] if isinstance(inputs, Variable) else tuple(results)


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns f's value and its gradient in one call.

    f: takes tensors and returns a scalar tensor, or with `has_aux` a pair of that and
        anything else.
    argnums: the position, or positions, of the arguments to differentiate by.

    The function returns `(value, gradient)`: a tensor, or for several positions a
    tuple. It never touches `.grad`. Where an argument requires a gradient itself, the
    result is recorded, so that calls can be nested for higher orders.

    >>> import tinygrad_softmax as tg
    >>> tg.value_and_grad(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def with_grad(*args: Any, **keywords: Any) -> tuple[Any, Any]:
        inputs, nested = _inputs([args[p] for p in positions], "value_and_grad")
        args_list = list(args)
        for position, x in zip(positions, inputs, strict=True):
            args_list[position] = x
        with enable_grad():
            result = f(*args_list, **keywords)
        value = result[0] if has_aux else result
        found = _gradients_or_zeros(value, inputs, None, nested)
        gradient = found[0] if isinstance(argnums, int) else tuple(found)
        if not nested:
            value = type(value).result_class(value.array)
        return ((value, result[1]) if has_aux else value), gradient

    return with_grad


def jacobian(f: Callable[..., Any], inputs: Any, create_graph: bool = False) -> Any:
    """The Jacobian of f, one backward pass for each entry of its output.

    f: takes as many tensors as `inputs` holds and returns one tensor.
    inputs: a tensor, or a sequence of them.

    Returns, for each input, J of shape f(x).shape + x.shape with
    J[i, j] = d f(x)[i] / d x[j], recorded where `create_graph` asks for it or an input
    requires a gradient.

    >>> import tinygrad_softmax as tg
    >>> tg.jacobian(lambda x: x * x, tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    xs, nested = _inputs(_listed(inputs, "inputs"), "jacobian")
    record = create_graph or nested
    with enable_grad():
        out = _tensor(f(*xs))
    xp = backend_of(out.array).xp
    with there(out.array):
        eye = xp.eye(out.array.size, dtype=out.dtype)
    rows = [
        _gradients_or_zeros(out, xs, row.reshape(out.shape), record, retain=True)
        for row in eye
    ]
    results = []
    for k, x in enumerate(xs):
        shape = out.shape + x.shape
        column = [row[k] for row in rows]
        total = _zeros(x, shape)
        if record:  # rows are put in place by operators only: there is no stack here
            ones = (1,) * len(x.shape)
            for place, gradient in zip(eye, column, strict=True):
                total = total + gradient * place.reshape(out.shape + ones)
        elif column:
            with there(x.array):
                stacked = xp.stack([g.array for g in column])
            total = type(x).result_class(stacked.reshape(shape))
        results.append(total)
    return results[0] if isinstance(inputs, Variable) else tuple(results)


def hvp(f: Callable[..., Any], inputs: Any, v: Any) -> Any:
    """The product of f's Hessian and v, without forming the Hessian.

    Differentiates the gradient of f along v: H v = d(grad f . v)/dx (Pearlmutter,
    "Fast exact multiplication by the Hessian", 1994).

    f: takes as many tensors as `inputs` holds and returns a scalar tensor.
    inputs, v: a tensor, or a sequence of them, of equal shapes.

    Returns a tensor, or a tuple of them, of the inputs' shapes.

    >>> import tinygrad_softmax as tg
    >>> x, v = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 0.0])
    >>> tg.hvp(lambda x: (x * x * x).sum(), x, v)
    tensor([6., 0.])
    """
    xs, nested = _inputs(_listed(inputs, "inputs"), "hvp")
    vectors = _listed(v, "v")
    if [x.shape for x in xs] != [each.shape for each in vectors]:
        raise ValueError(
            f"hvp: the inputs have shapes {[x.shape for x in xs]}, but v has "
            f"{[each.shape for each in vectors]}; mend: give v the inputs' shapes"
        )
    with enable_grad():
        first = _gradients_or_zeros(f(*xs), xs, None, True)
    pairs = [
        (g, each) for g, each in zip(first, vectors, strict=True) if g.node is not None
    ]
    results = [_zeros(x) for x in xs]
    if pairs:
        gs, seeds = zip(*pairs, strict=True)
        nodes = [_node(x) for x in xs]
        found = gradients(gs, seeds, nodes, False, nested)
        results = [b if a is None else a for a, b in zip(found, results, strict=True)]
    return results[0] if isinstance(inputs, Variable) else tuple(results)


def _listed(variables: Any, what: str) -> list[Variable]:
    listed = [variables] if isinstance(variables, Variable) else variables
    if not isinstance(listed, (list, tuple)) or not all(
        isinstance(each, Variable) for each in listed
    ):
        raise TypeError(
            f"{what} must be a tensor or a list or tuple of tensors, not "
            f"{type(variables).__name__}"
        )
    if not listed:
        raise ValueError(f"{what} is empty; give at least one tensor")
    return list(listed)


def _inputs(arguments: Sequence[Any], caller: str) -> tuple[list[Variable], bool]:
    """Fresh places in the graph for the arguments, so that only what f does with them
    counts; and whether one of them requires a gradient already."""
    fresh = []
    for position, x in enumerate(arguments):
        if not isinstance(x, Variable):
            raise TypeError(
                f"{caller}: argument {position} is a {type(x).__name__}; expected a "
                "tensor; mend: tg.tensor(...)"
            )
        if x.node is None:
            x = type(x).result_class(x.array)
            make_leaf(x)
        else:
            with enable_grad():
                x = cast(x, dtype=x.dtype)
        fresh.append(x)
    return fresh, any(x.node is not None for x in arguments)


def _gradients_or_zeros(
    out: Any, inputs: Sequence[Variable], seed: Any, record: bool, retain: bool = False
) -> list[Any]:
    """Gradients of `out`; zeros for an input that it does not depend on."""
    out = _tensor(out)
    if out.node is None:
        return [_zeros(x) for x in inputs]
    nodes = [_node(x) for x in inputs]
    found = gradients([out], [seed], nodes, retain or record, record)
    return [_zeros(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


def _tensor(out: Any) -> Variable:
    if not isinstance(out, Variable):
        raise TypeError(
            f"the function returned a {type(out).__name__}; it must return a tensor"
        )
    return out


def _zeros(x: Variable, shape: tuple[int, ...] | None = None) -> Variable:
    """Zeros like x, or of another shape."""
    xp, shape = backend_of(x.array).xp, x.shape if shape is None else shape
    with there(x.array):
        return type(x).result_class(xp.zeros(shape, x.dtype))


def _node(x: Variable) -> Node:
    assert x.node is not None  # _inputs made sure
    return x.node
