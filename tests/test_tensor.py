"""What a Tensor is and does: each sentence of docs/decisions/tensor-semantics.md."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn


def leaf(data, dtype="float64"):
    return tg.tensor(np.asarray(data, dtype), requires_grad=True)


# -- making one -----------------------------------------------------------------------


def test_tensor_copies_and_asarray_shares():
    a = np.zeros(2)
    copied, shared = tg.tensor(a), tg.asarray(a)
    a[0] = 5.0
    assert copied.tolist() == [0.0, 0.0]
    assert shared.tolist() == [5.0, 0.0]
    t = tg.tensor([1.0])
    assert tg.asarray(t) is t
    assert tg.tensor(t) is not t
    assert not np.shares_memory(tg.tensor(t).array, t.array)


def test_python_numbers_get_the_default_dtypes_and_arrays_keep_theirs():
    assert tg.tensor([1.0, 2.0]).dtype == tg.float32
    assert tg.tensor(1).dtype == tg.int64
    assert tg.tensor([True]).dtype == tg.bool
    assert tg.tensor(np.ones(2)).dtype == tg.float64
    assert tg.tensor(np.float64(1.0)).dtype == tg.float64
    assert tg.tensor([np.float16(1.0)]).dtype == tg.float16
    assert tg.tensor([1.0], dtype="float16").dtype == tg.float16
    assert tg.tensor([]).dtype == tg.float32
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1.0, 2.0]
    tg.set_default_dtype(tg.float64)
    try:
        assert tg.tensor([1.0]).dtype == tg.zeros(1).dtype == tg.float64
    finally:
        tg.set_default_dtype(tg.float32)


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (1j, TypeError, "complex128 is not supported"),
        (np.zeros(2, complex), TypeError, "complex128 is not supported"),
        (["a"], TypeError, "list data became <U1; expected numbers"),
        (object(), TypeError, "object data became object"),
        ([[1.0], [2.0, 3.0]], ValueError, "nested lists are ragged"),
        (np.array(["2020"], "datetime64[Y]"), TypeError, "is not supported"),
    ],
)
def test_what_is_not_numbers_raises(data, kind, text):
    with pytest.raises(kind, match=text):
        tg.tensor(data)


def test_dtypes_have_names_and_wrong_ones_raise():
    assert tg.float32 == np.float32
    assert tg.tensor([1.5], dtype=tg.int32).tolist() == [1]
    for wrong in ("complex64", "S4", "nonsense", object):
        with pytest.raises(TypeError, match="use one of float16"):
            tg.zeros(1, dtype=wrong)
    with pytest.raises(TypeError, match="default dtype was given as int64"):
        tg.set_default_dtype("int64")


def test_bfloat16_through_ml_dtypes():
    t = tg.tensor([1.0, 2.0], dtype=tg.bfloat16, requires_grad=True)
    assert t.dtype == tg.bfloat16
    y = (t * t).sum()
    assert y.dtype == tg.bfloat16
    y.backward()
    assert t.grad.dtype == tg.bfloat16
    assert t.grad.astype("float32").tolist() == [2.0, 4.0]


def test_bfloat16_without_ml_dtypes_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"tinygrad-softmax\[bfloat16\]"):
        tg.zeros(1, dtype="bfloat16")


def test_creation_functions():
    assert tg.zeros((2, 1)).tolist() == [[0.0], [0.0]]
    assert tg.ones(2, dtype="int64").tolist() == [1, 1]
    assert tg.full((2,), 3).dtype == tg.int64
    assert tg.full((2,), 3.5).dtype == tg.float32
    assert tg.eye(2, 3, 1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert tg.arange(2, 8, 3).tolist() == [2, 5]
    assert tg.arange(3.0).dtype == tg.float32
    assert tg.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    like = tg.ones_like(tg.zeros((2,), dtype="float16"), requires_grad=True)
    assert (like.dtype, like.requires_grad) == (tg.float16, True)
    assert tg.zeros_like(like).tolist() == [0, 0]
    with pytest.raises(ValueError, match="negative length"):
        tg.zeros((2, -1))


def test_random_numbers_repeat_with_their_seed():
    tg.manual_seed(5)
    first = [tg.rand(3).tolist(), tg.randn(2, 2).tolist(), tg.rand(3).tolist()]
    tg.manual_seed(5)
    assert first == [tg.rand(3).tolist(), tg.randn(2, 2).tolist(), tg.rand(3).tolist()]
    assert first[0] != first[2]
    many = tg.randn(100_000, dtype="float64").numpy()
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.02
    with pytest.raises(ValueError, match="seed was given as -1"):
        tg.manual_seed(-1)


# -- NumPy ----------------------------------------------------------------------------


def test_numpy_shares_and_refuses_to_lose_the_graph():
    t = tg.tensor([1.0, 2.0])
    assert np.shares_memory(t.numpy(), t.array)
    assert np.shares_memory(np.asarray(t), t.array)
    assert np.array(t, dtype="float64").dtype == np.float64
    x = leaf([1.0])
    for call in (x.numpy, lambda: np.asarray(x), lambda: np.array([x, x])):
        with pytest.raises(RuntimeError, match=r"x\.detach\(\)\.numpy\(\)"):
            call()


def test_numpys_functions_reach_the_primitives():
    x = leaf([1.0, 2.0])
    for y, name in [
        (np.exp(x), "exp"),
        (np.sum(x), "sum"),
        (np.ones(2) * x, "multiply"),
        (np.float64(2) * x, "multiply"),
        (np.arctan2(x, 1.0), "atan2"),
        (np.concatenate([x, x]), "concatenate"),
        (np.mean(x, axis=0), "mean"),
        (np.linalg.norm(x), "norm"),
        (np.amax(x), "max"),
        (np.where(np.array([True, False]), x, 0.0), "where"),
    ]:
        assert isinstance(y, tg.Tensor)
        assert y.requires_grad
        assert y.node.name == name


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: np.cbrt(x), "np.cbrt"),
        (lambda x: np.add.reduce(x), r"np\.add\.reduce"),
        (lambda x: np.exp(x, out=np.zeros(2)), "np.exp with out="),
        (lambda x: np.fft.fft(x), "np.fft"),
        (lambda x: np.histogram(x), "np.histogram"),
    ],
)
def test_numpys_other_functions_raise_and_name_themselves(call, name):
    with pytest.raises(TypeError, match=name):
        call(leaf([1.0, 2.0]))


def test_a_numpy_array_on_the_left_never_makes_an_object_array():
    x = leaf([1.0, 2.0])
    a = np.ones(2)
    for y in (a + x, a - x, a * x, a / x, a**x, a @ x, a > x):
        assert isinstance(y, tg.Tensor)
    a = np.ones(2)
    with pytest.raises(TypeError, match="add"):
        a += x


def test_dlpack_both_ways_without_a_copy():
    t = tg.tensor([1.0, 2.0])
    assert np.shares_memory(np.from_dlpack(t), t.array)
    a = np.arange(3.0)
    back = tg.from_dlpack(a)
    a[0] = 9.0
    assert back.tolist() == [9.0, 1.0, 2.0]
    with pytest.raises(BufferError, match=r"x\.detach\(\)"):
        np.from_dlpack(leaf([1.0]))
    with pytest.raises(TypeError, match="has no __dlpack__"):
        tg.from_dlpack([1.0])
    for name in ("__cuda_array_interface__", "__cupy_get_ndarray__"):
        assert not hasattr(tg.Tensor, name)  # CuPy would unwrap it and lose the graph


# -- Python ---------------------------------------------------------------------------


def test_comparison_is_by_element_and_hash_by_identity():
    a, b = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 3.0])
    assert (a == b).tolist() == [True, False]
    assert (a != b).tolist() == [False, True]
    assert len({a, b, a}) == 2
    assert (a > 1.0).tolist() == [False, True]


def test_truth_len_iteration_and_numbers():
    assert bool(tg.tensor([[1.0]]))
    assert not tg.tensor(0)
    with pytest.raises(ValueError, match=r"ambiguous.*\.any\(\) or \.all\(\)"):
        bool(tg.tensor([1.0, 2.0]))
    t = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert len(t) == 2
    rows = list(t)
    assert [r.tolist() for r in rows] == [[1.0, 2.0], [3.0, 4.0]]
    assert rows[0].requires_grad
    assert 3.0 in t
    assert 5.0 not in t
    assert float(tg.tensor(1.5)) == 1.5
    assert int(tg.tensor(3)) == 3
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert f"{tg.tensor(1.23456):.2f}" == "1.23"
    for call in (len, iter):
        with pytest.raises(TypeError, match="0-dimensional"):
            call(tg.tensor(1.0))
    with pytest.raises(TypeError, match="float32 tensor can't be used as an index"):
        [1][tg.tensor(0.0)]
    with pytest.raises(ValueError, match=r"item: this tensor has shape \(2,\)"):
        tg.tensor([1.0, 2.0]).item()


def test_a_name_that_is_missing_raises():
    with pytest.raises(AttributeError):
        tg.tensor(1.0).nonsense  # noqa: B018
    with pytest.raises(AttributeError):
        tg.tensor(1.0).nonsense = 1
    with pytest.raises(AttributeError):
        tg.nonsense  # noqa: B018


def test_the_text_of_a_tensor():
    assert repr(tg.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(leaf(1.0)) == "tensor(1., dtype=float64, requires_grad=True)"
    assert repr(tg.tensor([1], dtype="int8")) == "tensor([1], dtype=int8)"
    assert len(repr(tg.zeros((1000, 1000)))) < 2000


# -- memory ---------------------------------------------------------------------------


def test_slices_and_reshapes_share_memory_as_in_numpy():
    t = tg.arange(6.0)
    for view in (t[1:3], t[::2], t.reshape(2, 3), t.reshape(2, 3).T, t.detach()):
        assert np.shares_memory(view.array, t.array)
    for copied in (t[[0, 1]], t[t > 2], t.clone(), t + 0.0):
        assert not np.shares_memory(copied.array, t.array)


def test_clone_copies_and_lets_the_gradient_through():
    x = leaf([1.0, 2.0])
    y = x.clone()
    (y * y).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert not y.is_leaf


def test_detach_and_requires_grad():
    x = leaf([1.0])
    assert not x.detach().requires_grad
    y = x * 2.0
    with pytest.raises(RuntimeError, match=r"requires_grad_: .*x\.detach\(\)"):
        y.requires_grad_(False)
    x.requires_grad = False
    assert not (x * 2.0).requires_grad
    x.requires_grad = True
    assert (x * 2.0).requires_grad
    node = x.node
    assert x.requires_grad_().node is node


# -- writing --------------------------------------------------------------------------


def test_in_place_operators_write_under_no_grad_on_a_leaf():
    x = leaf([4.0, 8.0], "float32")
    array = x.array
    with tg.no_grad():
        same = x
        x -= 0.5 * tg.ones(2)
        x += np.float64(1.5)
        x *= 2.0
        x /= 4.0
        x **= 2
        x //= 1
        x %= 16
    assert x is same
    assert x.array is array
    assert x.dtype == np.float32
    assert x.tolist() == [6.0, 4.0]


def test_in_place_operators_raise_on_what_is_trained():
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match=r"in-place add .*tg\.no_grad\(\)"):
        x += 1.0


def test_in_place_operators_rebind_what_was_computed():
    """As with numbers: `total += loss` is `total = total + loss`."""
    x = leaf([1.0, 2.0])
    total = before = 0.0 + (x * x).sum()
    for _ in range(2):
        total += (x * 3.0).sum()
    assert before.item() == 5.0
    total.backward()
    assert x.grad.tolist() == [8.0, 10.0]
    count = tg.tensor(0)
    other = count
    count += tg.tensor([True, True]).sum()
    assert (count.item(), other.item()) == (2, 0)
    with tg.no_grad():
        y = x * 2.0
        y -= 1.0
    assert (y.tolist(), x.tolist()) == ([1.0, 3.0], [1.0, 2.0])


def test_item_assignment_raises_and_names_the_functions():
    for tensor in (leaf([1.0, 2.0]), tg.zeros(2)):
        with pytest.raises(
            TypeError, match=r"tg\.index_update.*tg\.index_add.*no_grad"
        ):
            tensor[0] = 1.0
    computed = leaf([1.0, 2.0]) * 2.0
    with tg.no_grad(), pytest.raises(TypeError, match=r"tg\.index_update"):
        computed[0] = 1.0


def test_items_of_a_leaf_are_assigned_under_no_grad(device):
    x = tg.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
    array = x.array
    with tg.no_grad():
        x[0] = 5.0
        x[tg.tensor([1, 2], device=device)] = tg.tensor([7.0, 8.0], device=device)
        x[1:] += 1.0
    assert x.array is array
    assert x.tolist() == [5.0, 8.0, 9.0]
    (x * x).sum().backward()
    assert x.grad.tolist() == [10.0, 16.0, 18.0]


# -- what people know from PyTorch ----------------------------------------------------


def test_two_axes_are_exchanged():
    x = tg.tensor(np.arange(24.0).reshape(2, 3, 4))
    assert x.transpose(1, 2).shape == x.transpose(-1, -2).shape == (2, 4, 3)
    assert x.transpose(2, 0, 1).shape == x.transpose((2, 0, 1)).shape == (4, 2, 3)
    matrix = x[0]
    assert matrix.transpose().shape == matrix.transpose(1, 0).shape == (4, 3)
    with pytest.raises(ValueError, match=r"in NumPy, and .* in PyTorch; mend: x\.T"):
        matrix.transpose(0, 1)


def test_to_takes_a_dtype():
    assert tg.tensor([1.5]).to(tg.float16).dtype == tg.float16
    assert tg.tensor([1.5]).to(tg.int64).tolist() == [1]


def test_flatten_takes_axes():
    x = tg.zeros((2, 3, 4, 5))
    assert x.flatten().shape == (120,)
    assert x.flatten(1).shape == (2, 60)
    assert x.flatten(1, 2).shape == (2, 12, 5)
    assert x.flatten(-2).shape == (2, 3, 20)
    assert tg.tensor(1.0).flatten().shape == (1,)


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (
            lambda x: x.view(2),
            r"Tensor has no attribute 'view'; mend: PyTorch's view is x",
        ),
        (lambda x: x.unsqueeze(0), "PyTorch's unsqueeze is tg.expand_dims here"),
        (
            lambda x: tg.cat([x]),
            "'tinygrad_softmax' has no attribute 'cat'; mend: PyTor",
        ),
        (lambda x: tg.bmm(x, x), "PyTorch's bmm is tg.matmul, or @ here"),
        (lambda x: x.nonsense, "^Tensor has no attribute 'nonsense'$"),
        (lambda x: tg.nonsense, "has no attribute 'nonsense'$"),
    ],
)
def test_pytorchs_names_are_translated(ask, text):
    with pytest.raises(AttributeError, match=text):
        ask(tg.tensor([1.0]))


def test_no_name_is_translated_that_is_there():
    from tinygrad_softmax.pytorch_names import _HERE

    assert [name for name in _HERE if hasattr(tg.Tensor, name)] == []
    rooms = ["cuda", "data"]  # (of a tensor they are x.to("cuda"), x.detach())
    assert [name for name in _HERE if name in tg.__all__] == rooms
    with pytest.raises(TypeError, match=r"mend: a shape is a tuple, tg\.zeros\(\(2, 3"):
        tg.zeros(2, 3)


# -- copying --------------------------------------------------------------------------


def test_a_deep_copy_of_a_leaf_is_a_fresh_leaf():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    other = copy.deepcopy(x)
    assert (other.tolist(), other.grad.tolist()) == ([1.0, 2.0], [2.0, 4.0])
    (other * 10.0).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]  # the copy's gradients are its own
    assert other.grad.tolist() == [12.0, 14.0]
    shared = copy.deepcopy([x, x])
    assert shared[0] is shared[1]
    assert copy.copy(x).node is not x.node
    assert not copy.deepcopy(x.detach()).requires_grad


def test_a_leaf_pickles_and_what_was_computed_does_not():
    for original in (leaf([1.0, 2.0]), tg.tensor([1, 2]), tg.tensor(2.5)):
        back = pickle.loads(pickle.dumps(original))
        assert back.tolist() == original.tolist()
        assert (back.dtype, back.requires_grad) == (
            original.dtype,
            original.requires_grad,
        )
    y = leaf([1.0]) * 2.0
    for call in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match=r"x\.detach\(\), or x\.clone\(\)"):
            call(y)


def test_a_parameter_stays_one_and_its_results_are_tensors():
    p = nn.Parameter(np.ones(2, np.float32))
    for other in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert type(other) is nn.Parameter
        assert other.requires_grad
    assert type(p * 2.0) is tg.Tensor
    assert type(2.0 * p) is tg.Tensor
    (p * 2.0).sum().backward()
    assert type(p.grad) is tg.Tensor


# -- the rest -------------------------------------------------------------------------


def test_astype_is_differentiable_between_floating_dtypes():
    x = leaf([1.25, 2.5])
    x.astype("float16").sum().backward()
    assert x.grad.dtype == np.float64
    assert x.astype("float64") is x
    whole = x.astype(tg.int64)
    assert not whole.requires_grad
    assert whole.tolist() == [1, 2]


def test_methods_are_the_functions():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    assert x.sum(axis=0).tolist() == [4.0, 6.0]
    assert x.mean(1, keepdims=True).shape == (2, 1)
    assert x.reshape(4).shape == x.reshape((4,)).shape == x.flatten().shape == (4,)
    assert x.transpose(1, 0).tolist() == x.T.tolist() == x.mT.tolist()
    assert x.argmax(axis=1).tolist() == [1, 1]
    assert x.to("cpu") is x
    assert x.device == "cpu"
    assert (x.ndim, x.size) == (2, 4)
    assert (~tg.tensor([True])).tolist() == [False]
    assert (tg.tensor([True, False]) & tg.tensor([True, True])).tolist() == [
        True,
        False,
    ]
    assert abs(-x).tolist() == x.tolist()
    assert (2.0**x).tolist() == [[2.0, 4.0], [8.0, 16.0]]


def test_no_warning_escapes_a_tensor_made_and_shown():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repr(tg.tensor([np.inf, np.nan]))
        tg.tensor(np.float64(1e300), dtype="float64").item()
