"""How a function becomes an op.

    @primitive
    def tanh(x):
        return namespace(x).tanh(x)

    @tanh.vjp("x")
    def _(g, out):
        return g * (1.0 - out * out)

A primitive is a function over arrays. Its positional parameters are the inputs, its
keyword-only parameters are static. Called on plain arrays it is that function; called
with a Variable it also wraps the result and, where a gradient is wanted, records a
Node.

A rule's parameter names say what is saved for it: `g` is the incoming gradient, and
every other name is an input, `<input>_shape`, the output `out`, or a static parameter.
The same rule is handed arrays for a first derivative and Variables with
`create_graph=True`, and so records itself: gradients of any order from one formula.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, Protocol, overload

from ..backends import backend_of, several_devices, there
from ..backends.dtypes import get_default_dtype, is_floating
from ..signatures import KEYWORD_ONLY, MISSING, parameters_of
from .graph import Node, Variable, current_observer, grad_enabled
from .inputs import PLAIN, WEAK, aligned, explained, on_device, static
from .rules import RESERVED, Plan, add_rule, make_plan

PRIMITIVES: list[Primitive] = []  # every primitive, in order of definition
_ONE, _NEITHER = (True,), (False, False)  # which inputs need a gradient


class Primitive(Protocol):
    """What `@primitive` returns: a function, with these attributes.

    >>> tg.multiply.inputs, tg.multiply.differentiable, sorted(tg.multiply.rules)
    (('a', 'b'), True, ['a', 'b'])
    """

    __name__: str
    __module__: str
    forward: Callable
    inputs: tuple[str, ...]
    variadic: bool
    statics: dict[str, Any]
    residuals: tuple[str, ...]
    differentiable: bool
    rules: dict[str, tuple[str, ...]]
    formulas: dict[tuple[str, ...], Callable]
    fused_bodies: dict[tuple[str, ...], Callable]

    def __call__(self, *inputs: Any, **statics: Any) -> Any: ...
    def vjp(self, *inputs: str) -> Callable[[Callable], Callable]: ...
    def fused(self, *inputs: str) -> Callable[[Callable], Callable]: ...


@overload
def primitive(forward: Callable, /) -> Primitive: ...
@overload
def primitive(
    *, name: str = "", residuals: tuple[str, ...] = (), differentiable: bool = True
) -> Callable[[Callable], Primitive]: ...
def primitive(
    forward: Callable | None = None,
    /,
    *,
    name: str = "",
    residuals: tuple[str, ...] = (),
    differentiable: bool = True,
) -> Any:
    """Make an op of a function over arrays.

    forward: positional parameters are array inputs (or one `*arrays`), keyword-only
        parameters are static. It returns an array; with `residuals`, a tuple of the
        output and one array (or None) for each residual's name.
    name: the name in messages; the function's own by default.
    differentiable: False declares that no input ever gets a gradient (comparisons).

    Gradient rules are added with `@op.vjp("input", ...)`. A rule for several inputs
    returns a tuple, and may ask for `needs`, a tuple of bools. A rule of a `*arrays` op
    may ask for `position`. `@op.fused("input", ...)` adds a body that may name
    residuals and is used on plain arrays in place of the rule, which stays the
    definition.

    Raises TypeError for a signature or a rule that names something it can't have.

    >>> import tinygrad_softmax as tg
    >>> @tg.primitive
    ... def cube(x):
    ...     return x * x * x
    >>> @cube.vjp("x")
    ... def _(g, x):
    ...     return g * (3.0 * x * x)
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> cube(x).backward()
    >>> x.grad
    tensor(12.)
    """
    if forward is None:
        return partial(
            primitive, name=name, residuals=residuals, differentiable=differentiable
        )
    name = name or forward.__name__
    inputs, statics, defaults, variadic = [], {}, [], False
    for key, kind, default in parameters_of(forward):
        if key in RESERVED or kind == "**":
            raise TypeError(
                f"primitive {name}: parameter {'**' * (kind == '**')}{key} can't be "
                f"used; {', '.join(RESERVED)} are reserved, and ** has no names"
            )
        if kind == KEYWORD_ONLY:
            statics[key] = default
            continue
        variadic = variadic or kind == "*"
        inputs.append(key)
        if default is not MISSING:
            defaults.append(default)
    if not inputs or (variadic and len(inputs) > 1):
        raise TypeError(
            f"primitive {name}: its positional parameters are {inputs}; it needs one "
            "or more array inputs, or a single *arrays"
        )
    plans: dict[tuple[bool, ...], Plan] = {}
    common = name, forward, plans, differentiable
    op: Any
    if variadic or statics or residuals or defaults or len(inputs) > 2:
        arity = 0 if variadic else len(inputs)
        op = _general_call(*common, residuals, arity, tuple(defaults))
    else:
        op = (_unary_call if len(inputs) == 1 else _binary_call)(*common)
    update_wrapper(op, forward)
    op.__name__, op.forward = name, forward
    op.inputs, op.variadic = tuple(inputs), variadic
    op.statics = {k: v for k, v in statics.items() if v is not MISSING}
    op.static_names, op.residuals = tuple(statics), residuals
    op.differentiable, op.plans = differentiable, plans
    op.rules, op.formulas, op.fused_bodies = {}, {}, {}
    op.vjp, op.fused = partial(add_rule, op, False), partial(add_rule, op, True)
    PRIMITIVES.append(op)
    return op


# -- calling an op: one wrapper for one input, one for two, one for the rest -----------


def _unary_call(
    name: str, forward: Callable, plans: dict, differentiable: bool
) -> Callable:
    def op(x):
        if not isinstance(x, Variable):
            return forward(x)
        array = x.array
        try:
            if several_devices:
                out = on_device(name, forward, array)
            else:
                out = forward(array)
        except (ValueError, TypeError, IndexError) as error:
            raise explained(error, name, (array,)) from error
        if x.node is None or not grad_enabled() or not differentiable:
            return _constant(this, x, out, (array,), {})
        if type(out) is not type(array):
            out = backend_of(array).xp.asarray(out)  # NumPy's scalars of 0-d results
        plan = plans.get(_ONE) or make_plan(this, _ONE)
        return _record(x, plan, (x.node,), plan.save(out, array), out, (array,))

    this: Any = op
    return op


def _binary_call(
    name: str, forward: Callable, plans: dict, differentiable: bool
) -> Callable:
    def op(a, b):
        if isinstance(a, Variable):
            like, array, node = a, a.array, a.node
            if isinstance(b, Variable):
                other, second = b.array, b.node
            else:
                other, second = b, None
        elif isinstance(b, Variable):
            like, array, node, other, second = b, a, None, b.array, b.node
        else:
            if type(a) is list or type(b) is list:
                aligned(name, (a, b))  # raises: + would join them
            return forward(a, b)
        if not (type(array) is type(other) or type(b) in WEAK or type(a) in WEAK):
            array, other = aligned(name, (array, other))
        try:
            if several_devices:
                out = on_device(name, forward, array, other)
            else:
                out = forward(array, other)
        except (ValueError, TypeError, IndexError) as error:
            raise explained(error, name, (array, other)) from error
        needs = (node is not None, second is not None)
        if needs == _NEITHER or not grad_enabled() or not differentiable:
            return _constant(this, like, out, (array, other), {})
        if type(out) is not type(like.array):
            out = backend_of(like.array).xp.asarray(out)
        plan = plans.get(needs) or make_plan(this, needs)
        saved = plan.save(out, array, other)
        return _record(like, plan, (node, second), saved, out, (array, other))

    this: Any = op
    return op


def _general_call(
    name: str,
    forward: Callable,
    plans: dict,
    differentiable: bool,
    residual_names: tuple[str, ...],
    arity: int,
    defaults: tuple,
) -> Callable:
    def op(*inputs, **statics):
        if len(inputs) < arity:
            inputs += defaults[len(defaults) - arity + len(inputs) :]
        for key, value in statics.items():
            if type(value) not in PLAIN:
                statics[key] = static(name, key, value)
        like, arrays, nodes, marks = None, [], [], []
        for x in inputs:
            node, array = None, x
            if isinstance(x, Variable):
                node, array, like = x.node, x.array, x if like is None else like
            arrays.append(array)
            nodes.append(node)
            marks.append(node is not None)
        if like is None:
            out = forward(*inputs, **statics)
            return out[0] if residual_names else out
        kind = type(like.array)
        for array in arrays:
            if type(array) is not kind:
                arrays = aligned(name, arrays)
                break
        try:
            if several_devices:
                out = on_device(name, forward, *arrays, **statics)
            else:
                out = forward(*arrays, **statics)
        except (ValueError, TypeError, IndexError) as error:
            raise explained(error, name, arrays) from error
        residuals, needs = (), tuple(marks)
        if residual_names:
            out, *residuals = out
        if True not in needs or not grad_enabled() or not differentiable:
            return _constant(this, like, out, arrays, statics)
        if type(out) is not kind:
            out = backend_of(out).asarray(out)  # (to_device: not like.array's)
        plan = plans.get(needs) or make_plan(this, needs)
        statics.update(zip(residual_names, residuals, strict=True))
        saved = plan.save(out, *((arrays,) if this.variadic else arrays), **statics)
        return _record(like, plan, tuple(nodes), saved, out, arrays)

    this: Any = op
    return op


def _record(like: Variable, plan: Plan, parents, saved, out, inputs) -> Variable:
    """The result of an op, with its node in the graph."""
    result = like.result_class(out, Node(plan, parents, saved, out))
    if current_observer() is not None:
        current_observer().forward(plan.op, inputs, result)
    return result


def _constant(op, like: Variable, out, inputs, statics: dict) -> Variable:
    """The result of an op that needs no gradient.

    Where integers became floats without a dtype being named, they get the default
    dtype: 1 / tg.tensor([2]) is float32, as tg.tensor([0.5]) is.
    """
    if type(out) is not type(like.array):
        out = backend_of(out).asarray(out)
    if (
        out.dtype is not like.array.dtype
        and is_floating(out.dtype)
        and statics.get("dtype") is None
        and not any(map(_is_floating_array, inputs))
    ):
        default = get_default_dtype()
        if out.dtype.itemsize < default.itemsize:
            # NumPy computes exp of an int8 in float16: too coarse to be cast up.
            with there(out):
                wide = [x.astype(default) if hasattr(x, "ndim") else x for x in inputs]
                out = op.forward(*wide, **statics)
        out = backend_of(out).asarray(out, default)
    result = like.result_class(out)
    if current_observer() is not None:
        current_observer().forward(op, inputs, result)
    return result


def _is_floating_array(value: Any) -> bool:
    return hasattr(value, "dtype") and is_floating(value.dtype)
