"""The ten properties of the engine (docs/architecture.md), each with a test that fails
without it."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.autograd import Node, Variable
from tinygrad_softmax.autograd.graph import observing


def leaf(data, dtype="float64"):
    return tg.tensor(np.asarray(data, dtype), requires_grad=True)


@contextmanager
def without_gc():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def nodes_of(root):
    """Every node that is reached from a tensor."""
    seen, stack = [], [root.node]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.append(node)
            stack.extend(node.parents or ())
    return seen


def arrays_kept(root, inputs):
    """The distinct arrays that the graph of `root` keeps, but for `inputs`."""
    kept = {}
    for node in nodes_of(root):
        for args in node.saved or ():
            for value in args:
                if isinstance(value, np.ndarray):
                    kept[id(value)] = value
    return len(set(kept) - {id(x.array) for x in inputs})


# -- 1. a rule's parameter names say what is saved -----------------------------------


def test_only_what_a_running_rule_names_is_kept():
    x = leaf(np.ones(10))
    y = x
    for _ in range(6):  # six multiply + tanh, by a constant
        y = tg.tanh(y * 2.0)
    assert arrays_kept(y, [x]) == 6  # the outputs of tanh, and nothing of multiply


def test_a_rule_that_will_not_run_keeps_nothing():
    data, weight = tg.tensor(np.ones((4, 3))), leaf(np.ones((3, 2)))
    hidden = data * 1.0
    (product,) = [n for n in nodes_of(hidden @ weight) if n.plan is not None]
    assert [rule.positions for rule in product.plan.rules] == [(1,)]
    assert product.saved[0][0] is hidden.array  # the left side: what d/dweight names
    assert all(weight.array is not each for each in product.saved[0])


def test_a_shape_is_saved_without_its_array():
    x = leaf(np.ones((50, 50)))
    hidden = tg.exp(x)
    array = weakref.ref(hidden.array)
    hidden_doubled = hidden + 1.0
    total = (hidden_doubled * 1.0).sum()
    watched = weakref.ref(hidden_doubled.array)
    del hidden_doubled
    assert watched() is None  # sum's rule needs x_shape, and does not keep x
    assert array() is not None  # exp's rule needs its output
    total.backward()


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (lambda g, y: g, "y"),
        (lambda g, x_shapes: g, "x_shapes"),
        (lambda g, residual: g, "residual"),
        (lambda g, needs: g, "needs"),
        (lambda x: x, "'x'"),
    ],
)
def test_a_wrong_name_in_a_rule_is_an_error_that_lists_the_legal_ones(rule, names):
    @tg.primitive(residuals=("residual",))
    def op(x, *, axis):
        return x, x

    with pytest.raises(TypeError, match=r"may be x, x_shape, out, axis") as error:
        op.vjp("x")(rule)
    assert names in str(error.value)


def test_reserved_and_unnamed_parameters_are_refused():
    with pytest.raises(TypeError, match="reserved"):
        tg.primitive(lambda g: g)
    with pytest.raises(TypeError, match="reserved"):
        tg.primitive(lambda x, *, out: x)
    with pytest.raises(TypeError, match=r"\*\*keywords"):
        tg.primitive(lambda x, **keywords: x)
    with pytest.raises(TypeError, match="needs one or more array inputs"):
        tg.primitive(lambda *, axis: axis)
    op = tg.primitive(lambda x: x)
    with pytest.raises(TypeError, match="the inputs of"):
        op.vjp("z")
    with pytest.raises(TypeError, match="define the formula first"):
        op.fused("x")


# -- 2. primitives are polymorphic: one rule for every order -------------------------


def test_on_plain_arrays_a_primitive_is_its_function():
    x = np.array([1.0, 2.0])
    out = tg.multiply(x, x)
    assert type(out) is np.ndarray
    assert out.tolist() == [1.0, 4.0]


def test_one_rule_gives_gradients_of_any_order():
    x = leaf(0.3)
    y, expected = (
        tg.sin(x),
        [np.cos, lambda v: -np.sin(v), lambda v: -np.cos(v), np.sin],
    )
    for derivative in expected:
        y = tg.grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(derivative(0.3), rel=1e-15)


def test_x_squared_at_zero_is_finite_at_every_order():
    for power in (lambda x: x**2, lambda x: x**2.0, lambda x: x ** tg.tensor(2.0)):
        x = leaf(0.0)
        y, orders = power(x), []
        for _ in range(4):
            y = tg.grad(y, x, create_graph=True, allow_unused=True)
            orders.append(0.0 if y is None else y.item())
            if y is None or not y.requires_grad:
                break
        assert orders[:3] == [0.0, 2.0, 0.0][: len(orders)]


# -- 3. a rule runs only if its input needs a gradient -------------------------------


class Counting:
    """An observer that counts what runs."""

    def __init__(self):
        self.rules = []

    def forward(self, op, inputs, result, statics):
        pass

    def before(self, node):
        pass

    def backward(self, node, rule, g, results):
        self.rules.append(str(rule))


def test_a_product_with_data_costs_one_product_in_backward():
    data, weight = tg.tensor(np.ones((4, 3))), leaf(np.ones((3, 2)))
    seen = Counting()
    with observing(seen):
        (data @ weight).sum().backward()
    assert seen.rules == ["sum.vjp('x')", "matmul.vjp('b')"]


def test_grad_runs_only_rules_that_lead_to_the_inputs():
    x, unused = leaf(1.0), leaf(2.0)
    side = tg.exp(tg.sin(unused))
    seen = Counting()
    with observing(seen):
        gradient = tg.grad(x * side, x)
    assert seen.rules == ["multiply.vjp('a')"]
    assert gradient.item() == side.item()
    assert unused.grad is None
    assert x.grad is None


@tg.primitive
def affine(x, weight, bias=None):
    return x * weight if bias is None else x * weight + bias


needs_seen = []


@affine.vjp("x", "weight", "bias")
def _(g, x, weight, needs):
    needs_seen.append(needs)
    return g * weight, g * x, g


def test_one_rule_may_serve_several_inputs_and_ask_which_are_needed():
    x, weight = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    needs_seen.clear()
    affine(x, weight, tg.tensor([1.0, 1.0])).sum().backward()
    affine(x, weight).sum().backward()  # None is an allowed input
    assert needs_seen == [(True, True, False)] * 2
    assert x.grad.tolist() == [6.0, 8.0]
    assert weight.grad.tolist() == [2.0, 4.0]


def test_a_variadic_rule_receives_the_position():
    a, b = leaf([1.0]), leaf([2.0, 3.0])
    out = tg.concatenate([a, tg.tensor([9.0]), b])
    tg.grad(out, [a, b], tg.tensor(np.arange(4.0)))
    da, db = tg.grad(tg.concatenate([a, b]), [a, b], tg.tensor(np.arange(3.0)))
    assert (da.tolist(), db.tolist()) == ([0.0], [1.0, 2.0])


def test_an_input_without_a_rule_raises_at_the_forward():
    op = tg.primitive(lambda x, y: x, name="lopsided")
    op.vjp("x")(lambda g: g)
    with pytest.raises(TypeError, match=r"lopsided: its input 'y' requires a gradient"):
        op(leaf(1.0), leaf(2.0))
    assert op(leaf(1.0), tg.tensor(2.0)).requires_grad


def test_what_is_declared_not_differentiable_never_requires_a_gradient():
    x = leaf([1.0, 2.0])
    assert not (x > 1).requires_grad
    assert not tg.argmax(x).requires_grad
    with pytest.raises(TypeError, match="differentiable=False"):
        tg.greater.vjp("a")


# -- 4. the engine un-broadcasts and keeps dtypes ------------------------------------


def test_a_broadcast_becomes_a_sum_and_the_dtype_is_kept():
    a, b = leaf(np.ones((2, 1)), "float32"), leaf(np.ones(3))
    (a * b).sum().backward()
    assert a.grad.tolist() == [[3.0], [3.0]]
    assert b.grad.tolist() == [2.0, 2.0, 2.0]
    assert a.grad.dtype == np.float32
    assert b.grad.dtype == np.float64


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: g[0], r"returned shape \(3,\) for an input of shape \(2, 3\)"),
        (lambda g: g[:, :1], r"returned shape \(2, 1\)"),
        (lambda g: g > 0, "returned a bool"),
        (lambda g: g.astype("int64"), "returned a int64"),
        (lambda g: g + 0j, "returned a complex128"),
        (lambda g: 1.0, "returned a float"),
    ],
)
def test_a_wrong_result_raises_and_names_the_rule(wrong, message):
    op = tg.primitive(lambda x: x * 1.0, name="wrong_op")
    op.vjp("x")(wrong)
    with pytest.raises((ValueError, TypeError), match=message) as error:
        op(leaf(np.ones((2, 3)))).sum().backward()
    assert "wrong_op.vjp('x')" in str(error.value)


def test_a_gradient_that_a_hook_keeps_is_not_the_leafs(device):
    x, kept = tg.tensor([1.0, 2.0], requires_grad=True, device=device), []
    x.register_hook(lambda g: kept.append(g))
    tg.exp(x).sum().backward()
    before = kept[0].numpy().copy()
    with tg.no_grad():
        x.grad += 1.0
    np.testing.assert_array_equal(kept[0].numpy(), before)
    np.testing.assert_array_equal(x.grad.numpy(), before + 1.0)


def test_recorded_outputs_hooks_and_gradients_are_arrays_never_scalars():
    x, seen = leaf(2.0), []
    y = tg.exp(x) * 3.0
    y.register_hook(lambda g: seen.append(g))
    z = y + 1.0
    z.backward()
    assert all(type(t.array) is np.ndarray for t in (y, z, x.grad, seen[0]))


# -- 5. edges point to nodes, never to tensors ---------------------------------------


def test_an_intermediate_tensor_is_gone_when_its_name_is():
    x = leaf([1.0, 2.0])
    y = x * 2.0
    watched = weakref.ref(y)
    z = (y + 1.0).sum()
    del y
    assert watched() is None
    z.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_a_leaf_that_is_gone_is_passed_over():
    x, other = leaf([1.0]), leaf([2.0])
    z = (x * other).sum()
    del x
    z.backward()
    assert other.grad.tolist() == [1.0]


# -- 6. backward is not recursive, and its state is its own --------------------------


def test_a_chain_of_a_million_operations_runs_and_is_freed():
    limit = sys.getrecursionlimit()
    x = leaf(1.0)
    for visited in (True, False):
        y = x
        for _ in range(1_000_000):
            y = y + x
        if visited:
            y.backward()
            assert x.grad.item() == 1_000_001.0
        del y  # freed without recursion, visited or not
    assert sys.getrecursionlimit() == limit


def test_a_node_used_twice_receives_both_messages_before_it_is_visited():
    x = leaf(3.0)
    y = x * x
    z = y * y + y  # y is used three times
    z.backward()
    assert x.grad.item() == 4 * 27.0 + 6.0


def test_an_interrupted_backward_leaves_the_next_one_right():
    op, calls = tg.primitive(lambda x: x * 1.0, name="fails_once"), []

    @op.vjp("x")
    def _(g):
        calls.append(g)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return g

    x = leaf([1.0, 2.0])
    y = x * 3.0
    loss = (op(y) + y * 1.0).sum()
    with pytest.raises(KeyboardInterrupt):
        loss.backward(retain_graph=True)
    assert x.grad is None  # all or nothing
    assert tg.is_grad_enabled()
    loss.backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_a_rule_may_start_a_walk_of_its_own():
    op = tg.primitive(lambda x: x * x, name="inner_walk")

    @op.vjp("x")
    def _(g, x):
        inner = leaf(getattr(x, "array", x))
        with tg.enable_grad():
            slope = tg.grad((inner * inner).sum(), inner)
        return g * slope.array

    x = leaf([1.0, 2.0])
    (op(x) + op(x * 2.0)).sum().backward()
    assert x.grad.tolist() == [2.0 + 8.0, 4.0 + 16.0]


def test_only_leaves_and_tensors_that_asked_keep_a_gradient():
    x = leaf(2.0)
    y = x * 3.0
    z = y * y
    y.retain_grad()
    z.backward()
    assert (x.grad.item(), y.grad.item(), z.grad) == (36.0, 12.0, None)


# -- 7. ownership --------------------------------------------------------------------


def test_gradients_never_share_memory():
    a, b, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones(2)
    (a + b).backward(tg.asarray(seed))
    assert not np.shares_memory(a.grad.array, b.grad.array)
    assert not np.shares_memory(a.grad.array, seed)
    with tg.no_grad():
        a.grad += 10.0
    assert b.grad.tolist() == [1.0, 1.0]


def test_with_create_graph_too_gradients_never_share_memory():
    a, b = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (a + b).sum().backward(create_graph=True)
    assert not np.shares_memory(a.grad.array, b.grad.array)


def test_repeated_backwards_add_up_and_change_nothing_saved():
    x = leaf(np.random.default_rng(0).normal(size=(4, 3)))
    y = tg.softmax_cross_entropy(tg.exp(x) * 0.5, tg.tensor([0, 1, 2, 0]))
    once = tg.grad(y, x, retain_graph=True).numpy()
    for _ in range(3):
        y.backward(retain_graph=True)
    np.testing.assert_array_equal(x.grad.numpy(), once + once + once)


def test_a_leaf_keeps_a_fresh_result_without_a_copy_and_copies_any_other():
    results = {}
    op = tg.primitive(lambda x: x * 1.0, name="tells")

    @op.vjp("x")
    def _(g, x):
        results["it"] = {
            "fresh": g * 2.0,
            "saved": x,
            "given": g,
            "view": (g * 2.0)[:],
        }[kind]
        return results["it"]

    for kind, kept in [
        ("fresh", True),
        ("saved", False),
        ("given", False),
        ("view", False),
    ]:
        x = leaf(np.ones(3))
        op(x).backward(tg.tensor(np.ones(3)))
        assert (x.grad.array is results["it"]) is kept, kind
        assert np.shares_memory(x.grad.array, results["it"]) is kept, kind


def test_a_result_returned_twice_is_copied():
    op = tg.primitive(lambda a, b: a + b, name="twice")

    @op.vjp("a", "b")
    def _(g):
        both = g * 1.0
        return both, both

    a, b = leaf([1.0]), leaf([2.0])
    op(a, b).backward()
    assert not np.shares_memory(a.grad.array, b.grad.array)


def test_in_place_addition_only_into_what_the_walk_allocated():
    """Rules are given read-only arrays: an in-place write into one would raise."""
    seed = np.ones(3)
    seed.flags.writeable = False
    x = leaf(np.ones(3))
    x.array.flags.writeable = False
    y = x + x + x + x  # four messages to x, each of them the seed itself
    y.backward(tg.asarray(seed))
    assert x.grad.tolist() == [4.0] * 3


# -- 8. no reference cycles ----------------------------------------------------------


def test_training_runs_flat_without_the_garbage_collector():
    rng = np.random.default_rng(0)
    x, target = tg.tensor(rng.normal(size=(4, 5))), tg.tensor(np.array([0, 1, 2, 0]))
    weight, bias = leaf(rng.normal(size=(5, 3))), leaf(np.zeros(3))

    def step():
        loss = tg.softmax_cross_entropy(tg.tanh(x @ weight + bias), target)
        weight.grad = bias.grad = None
        loss.backward()
        with tg.no_grad():
            weight.__isub__(0.01 * weight.grad)
        return loss

    step()
    with without_gc():
        before = len(gc.get_objects())
        for _ in range(10_000):
            step()
        assert len(gc.get_objects()) - before < 50
        assert gc.collect() == 0


def test_higher_orders_checkpoints_and_hooks_make_no_cycles():
    x = leaf([1.0, 2.0])

    def once():
        y = (tg.exp(x) * x).sum()
        y.register_hook(lambda g: g)
        y.backward(create_graph=True)
        x.grad.sum().backward()
        x.grad = None
        tg.checkpoint(lambda v: tg.sin(v) * v, x).sum().backward()
        tg.hvp(lambda v: (v * v * v).sum(), x, x.detach())
        x.grad = None

    once()
    with without_gc():
        for _ in range(20):
            once()
        assert gc.collect() == 0


def test_a_graph_is_freed_when_the_loss_goes():
    x = leaf(np.ones(1000))
    with without_gc():
        y = tg.exp(x)
        watched = weakref.ref(y.array)
        loss = (y * y).sum()
        del y
        assert watched() is not None
        del loss
        assert watched() is None


# -- 9. fused ops --------------------------------------------------------------------


def make_fused():
    log = []

    @tg.primitive(residuals=("doubled",))
    def op(x, *, with_grad=True):
        return x * x, (2.0 * x if with_grad else None)

    @op.vjp("x")
    def _(g, x):
        log.append("formula")
        return g * (2.0 * x)

    @op.fused("x")
    def _(g, doubled):
        log.append("fused")
        return tg.scaled(doubled, g)

    return op, log


def test_the_fused_body_runs_on_arrays_and_the_formula_for_higher_orders():
    op, log = make_fused()
    x = leaf([1.0, 2.0])
    op(x).sum().backward()
    assert log == ["fused"]
    assert x.grad.tolist() == [2.0, 4.0]
    (first,) = tg.grad(op(x).sum(), [x], create_graph=True)
    assert log == ["fused", "formula"]
    assert tg.grad(first.sum(), x).tolist() == [2.0, 2.0]


def test_only_a_fused_body_may_name_a_residual():
    op, _ = make_fused()
    with pytest.raises(TypeError, match="names doubled"):
        op.vjp("x")(lambda g, doubled: g * doubled)


def residual_of(tensor):
    return next(v for v in tensor.node.saved[0][::-1] if isinstance(v, np.ndarray))


def test_the_engines_own_seed_returns_a_dying_residual_as_it_is():
    op, _ = make_fused()
    x = leaf(np.array([3.0]))
    y = op(x)
    residual = residual_of(y)
    y.backward()
    assert x.grad.array is residual


def test_a_seed_of_one_that_is_not_the_engines_is_multiplied():
    op, _ = make_fused()
    x = leaf(np.array([3.0]))
    y = op(x)
    residual = residual_of(y)
    y.backward(tg.tensor([1.0], dtype="float64"), retain_graph=True)
    assert x.grad.array is not residual
    assert x.grad.item() == 6.0


def test_a_dying_residual_is_scaled_in_place_and_a_living_one_copied():
    op, _ = make_fused()
    x = leaf(np.array([1.0, 2.0]))
    y = op(x)
    residual = residual_of(y)
    y.backward(tg.tensor(np.array([10.0, 10.0])), retain_graph=True)
    assert residual.tolist() == [2.0, 4.0]
    assert not np.shares_memory(x.grad.array, residual)
    x.grad = None
    y.backward(tg.tensor(np.array([10.0, 10.0])))
    assert x.grad.array is residual
    assert x.grad.tolist() == [20.0, 40.0]


# -- 10. scalars ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "scalar", [2, 2.0, True, np.sqrt(64), np.float64(2), np.int64(3)]
)
def test_python_and_numpy_scalars_are_weak(dtype, scalar):
    t = tg.tensor(np.ones(2, dtype))
    results = (t + scalar, scalar + t, t * scalar, scalar * t, t / scalar, scalar - t)
    assert {str(r.dtype) for r in results} == {dtype}
    zero_d = tg.tensor(np.ones((), dtype))
    assert (zero_d * scalar).dtype == dtype


def test_a_float_beside_integers_gives_the_default_dtype():
    t = tg.tensor([1, 2])
    for result in (t * 0.5, t / 2, tg.exp(t), tg.mean(t), t + np.float64(0.5)):
        assert result.dtype == np.float32
    tg.set_default_dtype("float64")
    try:
        assert (t * 0.5).dtype == np.float64
    finally:
        tg.set_default_dtype("float32")
    small = tg.tensor(np.array([1, 2], np.int8))  # NumPy's exp of it is a float16
    np.testing.assert_allclose(tg.exp(small).numpy(), np.exp([1.0, 2.0]), rtol=2e-7)
    assert (t * 2).dtype == np.int64
    assert t.astype("float64").dtype == np.float64


def test_arrays_promote_as_in_numpy():
    f32, f64, i64 = (tg.tensor(np.ones(2, d)) for d in ("float32", "float64", "int64"))
    assert (f32 + f64).dtype == np.float64
    assert (f32 + i64).dtype == np.float64
    assert (f32 + np.ones(2)).dtype == np.float64


def test_a_list_beside_a_tensor_raises_and_suggests_tensor():
    with pytest.raises(TypeError, match=r"add: a list was given .*tg\.tensor"):
        leaf([1.0]) + [1.0]
    with pytest.raises(TypeError, match="add: a str was given"):
        leaf([1.0]) + "1"


def test_a_large_divisor_does_not_underflow_in_half_precision():
    x = tg.tensor(np.ones(100_000, np.float16), requires_grad=True)
    tg.mean(x * 1.0).backward(tg.tensor(np.float16(1024)))
    assert (x.grad.numpy() > 0).all()


def test_a_tensor_as_a_static_parameter_raises():
    with pytest.raises(TypeError, match=r"elu: a tensor was given as alpha=.*item"):
        tg.elu(leaf([1.0]), alpha=tg.tensor(1.0))


# -- modes, threads, errors ----------------------------------------------------------


def test_modes_are_restored_by_exceptions():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        1 / 0  # noqa: B018
    assert tg.is_grad_enabled()
    op = tg.primitive(lambda x: x * 1.0, name="raises_in_rule")

    @op.vjp("x")
    def _(g):
        raise ZeroDivisionError("inside")

    for create_graph in (False, True):
        with pytest.raises(ZeroDivisionError) as error:
            op(leaf(1.0)).backward(create_graph=create_graph)
        assert "raises_in_rule.vjp('x')" in error.value.__notes__[0]
        assert tg.is_grad_enabled()
        with tg.no_grad(), pytest.raises(RuntimeError, match="does not depend"):
            op(leaf(1.0)).backward()


def test_no_grad_is_a_decorator_too_and_nests():
    @tg.no_grad()
    def f(x):
        with tg.enable_grad():
            inside = (x * 2.0).requires_grad
        return inside, (x * 2.0).requires_grad

    assert f(leaf(1.0)) == (True, False)
    assert f(leaf(1.0)) == (True, False)
    assert tg.is_grad_enabled()


def test_a_mode_belongs_to_its_thread():
    seen = {}
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.update(on=tg.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not tg.is_grad_enabled()
    assert seen["on"]


def test_a_mode_does_not_leak_between_asyncio_tasks():
    async def off(started, finish):
        with tg.no_grad():
            started.set()
            await finish.wait()

    async def main():
        started, finish = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(off(started, finish))
        await started.wait()
        enabled = tg.is_grad_enabled()
        finish.set()
        await task
        return enabled

    assert asyncio.run(main())


def test_threads_that_share_leaves_lose_no_gradient():
    x = leaf(np.ones(10))

    def work():
        for _ in range(200):
            (x * 2.0).sum().backward()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert x.grad.tolist() == [1600.0] * 10


def test_a_second_backward_says_what_happened():
    x = leaf(2.0)
    loss = x * x
    loss.backward()
    with pytest.raises(RuntimeError, match=r"multiply was freed .*retain_graph=True"):
        loss.backward()
    with pytest.raises(RuntimeError, match=r"multiply was freed .*retain_graph=True"):
        tg.grad(loss, x)
    assert x.grad.item() == 4.0


def test_retain_graph_follows_create_graph():
    x = leaf(2.0)
    loss = x * x * x
    loss.backward(create_graph=True)
    loss.backward()
    assert x.grad.item() == 24.0


def test_backward_from_what_has_no_gradient_says_why():
    with pytest.raises(RuntimeError, match=r"shape \(2,\).*\.sum\(\) or \.mean\(\)"):
        (leaf([1.0, 2.0]) * 2.0).backward()
    with pytest.raises(RuntimeError, match="does not depend on any tensor"):
        tg.tensor(1.0).backward()
    with pytest.raises(TypeError, match=r"int64 tensor can't require .*astype"):
        tg.tensor([1, 2], requires_grad=True)
    with pytest.raises(ValueError, match=r"gradient given has shape \(3,\)"):
        leaf([1.0, 2.0]).backward(tg.ones(3))
    x = leaf([[3.0]])
    (x * 2.0).backward()  # one element is a scalar
    assert x.grad.tolist() == [[2.0]]


def test_a_leaf_may_be_the_root():
    x = leaf(1.0)
    x.backward()
    assert x.grad.item() == 1.0
    assert tg.grad(x, x).item() == 1.0


# -- hooks ---------------------------------------------------------------------------


def test_hooks_see_the_complete_gradient_and_may_replace_it():
    x, seen = leaf(2.0), []
    y = x * 3.0
    y.register_hook(lambda g: seen.append(g.item()))
    handle = y.register_hook(lambda g: g * 10.0)
    (y + y * y).backward(retain_graph=True)
    assert seen == [13.0]  # 1 + 2 y: both messages, once
    assert x.grad.item() == 390.0
    handle.remove()
    handle.remove()
    assert tg.grad(y, x).item() == 3.0


def test_hooks_on_leaves_and_under_create_graph():
    x = leaf(2.0)
    x.register_hook(lambda g: g * 2.0)
    (x * x).backward(create_graph=True)
    assert x.grad.item() == 8.0
    assert x.grad.requires_grad


def test_a_hook_that_returns_another_shape_is_an_error():
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ValueError, match=r"hook on a tensor of shape \(2,\)"):
        (x * 1.0).sum().backward()
    with pytest.raises(RuntimeError, match=r"register_hook: .*requires_grad=True"):
        tg.tensor(1.0).register_hook(print)
    with pytest.raises(RuntimeError, match=r"retain_grad: .*requires_grad=True"):
        tg.tensor(1.0).retain_grad()


# -- the engine without Tensor -------------------------------------------------------


def test_the_engine_works_with_bare_variables():
    """autograd/ knows nothing of Tensor."""
    from tinygrad_softmax.autograd import backward, make_leaf

    x = Variable(np.array([1.0, 2.0]))
    make_leaf(x)
    backward(tg.multiply(tg.exp(x), x), np.ones(2))
    np.testing.assert_allclose(x.grad.array, np.exp([1.0, 2.0]) * np.array([2.0, 3.0]))
    assert isinstance(x.node, Node)
    assert type(x.grad) is Variable


def test_observers_see_every_op_and_cost_nothing_when_absent():
    seen = []

    class Observer(Counting):
        def forward(self, op, inputs, result, statics):
            seen.append((op.__name__, len(inputs), type(result).__name__))

    with observing(Observer()):
        (leaf([1.0]) * 2.0).sum()
        tg.tensor([1.0]) + 1.0
    assert seen == [
        ("multiply", 2, "Tensor"),
        ("sum", 1, "Tensor"),
        ("add", 2, "Tensor"),
    ]
