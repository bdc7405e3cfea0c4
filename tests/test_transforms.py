"""grad, value_and_grad, jacobian, hvp, checkpoint, detect_anomaly."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_softmax as tg


def leaf(data):
    return tg.tensor(np.asarray(data, "float64"), requires_grad=True)


def constant(data):
    return tg.tensor(np.asarray(data, "float64"))


# -- grad ----------------------------------------------------------------------------


def test_grad_of_several_outputs_adds_up():
    x, y = leaf(2.0), leaf(3.0)
    dx, dy = tg.grad([x * y, x * x], [x, y])
    assert (dx.item(), dy.item()) == (7.0, 2.0)
    dx = tg.grad([x * y, x * x], x, [None, constant(10.0)])
    assert dx.item() == 43.0
    assert x.grad is None


def test_grad_at_a_tensor_inside_the_graph():
    x = leaf(2.0)
    y = x * x
    z = y * x
    dy, dx = tg.grad(z, [y, x])
    assert (dy.item(), dx.item()) == (2.0, 12.0)  # dx is total, through y too


def test_grad_at_an_inner_tensor_frees_only_what_ran():
    x = leaf(2.0)
    y = x * x
    z = y * 3.0
    assert tg.grad(z, y).item() == 3.0
    y.backward()  # y's own node did not run, and is whole
    assert x.grad.item() == 4.0


def test_grad_says_what_is_wrong():
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match=r"do not depend on input 1 .*allow_unused"):
        tg.grad(x * x, [x, y])
    assert tg.grad(x * x, [x, y], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="input 0 does not require a gradient"):
        tg.grad(x * x, constant(1.0))
    assert tg.grad(x * x, constant(1.0), allow_unused=True) is None
    with pytest.raises(ValueError, match="1 outputs but 2 grad_outputs"):
        tg.grad([x * x], [x], [None, None])
    with pytest.raises(TypeError, match="inputs must be a tensor or a list"):
        tg.grad(x * x, 3.0)
    with pytest.raises(ValueError, match="inputs is empty"):
        tg.grad(x * x, [])


# -- value_and_grad, jacobian, hvp ---------------------------------------------------


def test_value_and_grad():
    def f(x, y):
        return (x * x * y).sum()

    x, y = constant([1.0, 2.0]), constant([3.0, 4.0])
    value, dx = tg.value_and_grad(f)(x, y)
    assert (value.item(), dx.tolist()) == (19.0, [6.0, 16.0])
    assert not value.requires_grad
    assert not dx.requires_grad
    _, (dy, dx) = tg.value_and_grad(f, argnums=(1, 0))(x, y)
    assert (dy.tolist(), dx.tolist()) == ([1.0, 4.0], [6.0, 16.0])
    (value, extra), dx = tg.value_and_grad(lambda x: (x.sum(), "more"), has_aux=True)(x)
    assert (value.item(), extra, dx.tolist()) == (3.0, "more", [1.0, 1.0])
    with tg.no_grad():  # what it computes does not depend on the mode around it
        assert tg.value_and_grad(f)(x, y)[1].tolist() == [6.0, 16.0]
    assert tg.value_and_grad(lambda x: constant(1.0))(x)[1].tolist() == [0.0, 0.0]


def test_value_and_grad_can_be_nested():
    def derivative(f):
        return lambda x: tg.value_and_grad(f)(x)[1]

    x = leaf(2.0)
    third = derivative(derivative(derivative(lambda x: x * x * x * x)))
    assert third(x).item() == 48.0
    assert tg.grad(third(x), x).item() == 24.0
    assert x.grad is None


def test_value_and_grad_counts_only_what_f_does_with_its_argument():
    x = leaf(3.0)
    outside = x * 2.0
    gradient = tg.value_and_grad(lambda v: v * outside)(x)[1]
    assert gradient.item() == 6.0  # not 12: `outside` is a constant to f


def test_jacobian():
    a = np.arange(6.0).reshape(2, 3)
    x = constant([1.0, 2.0, 3.0])
    assert tg.jacobian(lambda v: constant(a) @ v, x).tolist() == a.tolist()
    jx, jy = tg.jacobian(lambda x, y: x[:2] * y, (x, constant([5.0, 7.0])))
    assert jx.tolist() == [[5.0, 0.0, 0.0], [0.0, 7.0, 0.0]]
    assert jy.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    matrix = constant([[1.0, 2.0], [3.0, 4.0]])
    assert tg.jacobian(lambda m: m * m, matrix).shape == (2, 2, 2, 2)
    assert tg.jacobian(lambda v: v.sum(), x).tolist() == [1.0, 1.0, 1.0]
    assert tg.jacobian(lambda v: constant([1.0]), x).tolist() == [[0.0, 0.0, 0.0]]


def test_jacobian_of_a_jacobian():
    x = leaf([1.0, 2.0])
    hessian = tg.jacobian(lambda v: tg.jacobian(lambda u: (u**3).sum(), v), x)
    assert hessian.tolist() == [[6.0, 0.0], [0.0, 12.0]]
    recorded = tg.jacobian(lambda v: v * v, constant([3.0]), create_graph=True)
    assert recorded.requires_grad


def test_the_jacobian_of_softmax_is_diag_p_minus_p_pt():
    x = constant([0.5, -1.0, 2.0])
    p = np.exp(x.numpy()) / np.exp(x.numpy()).sum()
    np.testing.assert_allclose(
        tg.jacobian(tg.softmax, x).numpy(), np.diag(p) - np.outer(p, p), atol=1e-16
    )


def test_hvp():
    a = np.random.default_rng(0).normal(size=(3, 3))
    x, v = constant([1.0, 2.0, 3.0]), constant([1.0, -1.0, 0.5])
    quadratic = tg.hvp(lambda x: x @ constant(a) @ x, x, v)
    np.testing.assert_allclose(quadratic.numpy(), (a + a.T) @ v.numpy())
    assert tg.hvp(lambda x: x.sum(), x, v).tolist() == [0.0, 0.0, 0.0]
    hx, hy = tg.hvp(lambda x, y: (x * y).sum(), (x, x), (v, v))
    assert hx.tolist() == hy.tolist() == v.tolist()
    with pytest.raises(ValueError, match=r"v has \[\(2,\)\]"):
        tg.hvp(lambda x: x.sum(), x, constant([1.0, 2.0]))
    differentiable = tg.hvp(lambda x: (x**3).sum(), leaf([2.0]), constant([1.0]))
    assert differentiable.requires_grad


def test_transforms_name_a_wrong_argument():
    with pytest.raises(TypeError, match="value_and_grad: argument 0 is a float"):
        tg.value_and_grad(lambda x: x)(1.0)
    with pytest.raises(TypeError, match="must return a tensor"):
        tg.jacobian(lambda x: 1.0, constant(1.0))


# -- checkpoint ----------------------------------------------------------------------


def block(x, w):
    return tg.tanh(tg.exp(x * w) * w) * x


def test_checkpoint_gives_the_same_gradients_of_any_order():
    results = []
    for run in (block, lambda x, w: tg.checkpoint(block, x, w)):
        x, w = leaf([0.1, 0.2]), leaf(0.5)
        y = run(tg.sin(x), w).sum()
        dx, dw = tg.grad(y, [x, w], create_graph=True)
        second = tg.grad(dx.sum() + dw, [x, w])
        run(tg.sin(x), w).sum().backward()
        results.append([t.tolist() for t in (y, dx, dw, *second, x.grad, w.grad)])
    assert results[0] == results[1]


def test_checkpoint_keeps_nothing_of_what_happens_inside():
    made = []

    def f(x):
        for _ in range(5):
            x = tg.exp(x) * 0.1
            made.append(x.array)
        return x

    class Watched(np.ndarray):
        pass

    x = leaf(np.ones(100))
    y = tg.checkpoint(f, x)
    nodes = [y.node, *y.node.parents]
    kept = [v for n in nodes for args in n.saved or () for v in args]
    inner = {id(a) for a in made[:-1]}
    arrays = [a for v in kept for a in (v if isinstance(v, tuple) else (v,))]
    assert not any(id(a) in inner for a in arrays)
    assert y.node.parents == (x.node,)
    y.sum().backward()
    assert len(made) == 10  # once forward, once again in backward


def test_checkpoint_finds_what_the_function_uses_besides_its_arguments():
    w, x = leaf(3.0), leaf(2.0)
    hidden = w * w
    tg.checkpoint(lambda x: x * hidden * w, x).backward()
    assert (x.grad.item(), w.grad.item()) == (27.0, 2.0 * 27.0)


def test_checkpoint_counts_a_path_outside_once():
    """One of its inputs depends on another: the walk inside must end at both."""
    x = leaf(2.0)
    y = x * x
    tg.checkpoint(lambda a, b: a * b, x, y).backward()
    assert x.grad.item() == 12.0


def test_checkpoint_repeats_random_numbers():
    tg.manual_seed(3)
    x, draws = leaf(np.ones(4)), []

    def f(x):
        draws.append(tg.rand(4, dtype="float64"))
        return x * draws[-1]

    y = tg.checkpoint(f, x)
    after = tg.rand(2)
    y.sum().backward()
    assert draws[0].tolist() == draws[1].tolist() == x.grad.tolist()
    tg.manual_seed(3)
    tg.rand(4)
    assert tg.rand(2).tolist() == after.tolist()


def test_checkpoint_of_a_tuple_of_constants_and_of_something_else():
    x = leaf(2.0)
    a, b = tg.checkpoint(lambda x: (x * x, x * 3.0), x)
    (a * b).backward()
    assert x.grad.item() == 36.0
    assert tg.checkpoint(lambda x: x, x) is x
    assert not tg.checkpoint(lambda x: x * 1.0, constant(1.0)).requires_grad
    with tg.no_grad():
        assert not tg.checkpoint(lambda x: x * x, x).requires_grad
    with pytest.raises(TypeError, match="checkpoint: the function returned float"):
        tg.checkpoint(lambda x: 1.0, x)


# -- detect_anomaly ------------------------------------------------------------------


def test_the_forward_line_that_made_the_first_nan():
    x = leaf([-1.0])
    with np.errstate(invalid="ignore"), tg.detect_anomaly():
        with pytest.raises(
            RuntimeError, match=r"log made a nan .*test_transforms"
        ) as e:
            tg.log(x)  # this line
        assert "# this line" in str(e.value)
        with pytest.raises(RuntimeError, match="log made a nan"):
            tg.log(constant(-1.0))  # recorded or not
        tg.exp(constant(np.nan))  # did not make it


def test_the_forward_line_of_a_nan_made_in_backward():
    x = leaf([0.0])
    with np.errstate(all="ignore"), tg.detect_anomaly():
        loss = (tg.sqrt(x) * 0.0).sum()  # the culprit
        with pytest.raises(RuntimeError, match=r"sqrt\.vjp\('x'\) made a nan") as error:
            loss.backward()
    assert "# the culprit" in str(error.value)


def test_a_saved_array_that_was_changed():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    with tg.detect_anomaly():
        loss = (x * w).sum()  # saved here
        with tg.no_grad():
            w -= 1.0
        with pytest.raises(RuntimeError, match=r"'b' that multiply saved") as error:
            loss.backward()
    assert "# saved here" in str(error.value)


def test_anomaly_detection_changes_no_result_and_ends_with_its_block():
    x = leaf([1.0, 2.0])
    target = constant([0.5, 0.5])
    with tg.detect_anomaly():
        loss = tg.softmax_cross_entropy(x * x, target)
        loss.backward(create_graph=True)
        tg.checkpoint(lambda v: v * v, x).sum().backward()
    inside = x.grad.tolist()
    x.grad = None
    tg.softmax_cross_entropy(x * x, target).backward(create_graph=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == inside
    with np.errstate(invalid="ignore"):
        assert np.isnan(tg.log(constant(-1.0)).item())
