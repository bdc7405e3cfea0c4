"""`Module`: every method, and every error's text."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest
from strict_cupy import strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn


def raises(kind: type[Exception], text: str):
    return pytest.raises(kind, match=re.escape(text))


class Net(nn.Module):
    """A parameter, a buffer of each kind, modules inside modules, and a shared one."""

    def __init__(self):
        self.scale = nn.Parameter(np.ones(2, np.float32))
        self.register_buffer("seen", tg.zeros(2))
        self.register_buffer("scratch", tg.ones(1), persistent=False)
        self.register_buffer("nothing", None)
        self.first = nn.Linear(2, 2)
        self.body = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())
        self.again = self.first

    def forward(self, x):
        return self.again(self.body(self.first(x * self.scale)))


PARAMETERS = [
    "scale",
    "first.weight",
    "first.bias",
    "body.0.weight",
    "body.0.bias",
]
RUNNING = ["running_mean", "running_var", "num_batches_tracked"]
BUFFERS = ["seen", "scratch", *(f"body.0.{name}" for name in RUNNING)]
# As torch 2.13 orders them: a module's own before those inside it.
STATE = [
    "scale",
    "seen",
    "first.weight",
    "first.bias",
    *PARAMETERS[3:],
    *BUFFERS[2:],
    "again.weight",
    "again.bias",
]


# -- what it holds ---------------------------------------------------------------------


def test_what_is_named():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [id(p) for p in net.parameters()] == [
        id(p) for _, p in net.named_parameters()
    ]
    assert [name for name, _ in net.named_buffers()] == BUFFERS
    assert len(list(net.buffers())) == 5
    own = [name for name, _ in net.named_parameters("net", recurse=False)]
    assert own == ["net.scale"]
    assert [name for name, _ in net.named_buffers(recurse=False)] == BUFFERS[:2]
    every = [name for name, _ in net.named_parameters(remove_duplicate=False)]
    assert every == [*PARAMETERS, "again.weight", "again.bias"]
    assert [name for name, _ in net.named_children()] == ["first", "body"]
    assert list(net.children()) == [net.first, net.body]
    names = ["", "first", "body", "body.0", "body.1"]
    assert [name for name, _ in net.named_modules()] == names
    assert list(net.modules()) == [net.get_submodule(name) for name in names]
    prefixed = [name for name, _ in net.named_modules("x", remove_duplicate=False)]
    assert prefixed == ["x", "x.first", "x.body", "x.body.0", "x.body.1", "x.again"]
    assert list(net.state_dict()) == STATE
    assert list(net.state_dict(prefix="net."))[:2] == ["net.scale", "net.seen"]


def test_what_is_found_by_its_path():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_submodule("body.0") is net.body[0]
    assert net.get_submodule("again") is net.first
    assert net.get_parameter("again.weight") is net.first.weight
    assert net.get_buffer("body.0.running_var") is net.body[0].running_var
    with raises(AttributeError, "Net has no module 'body.9'; its modules are first, "):
        net.get_submodule("body.9")
    with raises(AttributeError, "Net has no module 'scale'"):
        net.get_submodule("scale")
    with raises(AttributeError, "Net has nothing at 'frist.weight'; it has scale, fir"):
        net.get_parameter("frist.weight")
    with raises(AttributeError, "Net has nothing at 'scale'; it has seen, scratch, "):
        net.get_buffer("scale")
    with raises(AttributeError, "ReLU has nothing at 'x'; it has none"):
        nn.ReLU().get_parameter("x")


def test_a_typo_raises():
    net = Net()
    for wrong in ("frist", "training_", "wieght"):
        with pytest.raises(AttributeError, match=wrong):
            getattr(net, wrong)
    with raises(NotImplementedError, "Module defines no forward"):
        nn.Module()(1)


def test_buffers_persist_or_not():
    net = Net()
    assert "scratch" not in net.state_dict()
    assert net.nothing is None
    net.seen = tg.full(2, 5.0)  # a tensor takes a buffer's place
    assert net.state_dict()["seen"].tolist() == [5.0, 5.0]
    net.register_buffer("nothing", np.ones(3))
    assert isinstance(net.nothing, tg.Tensor)
    assert "nothing" in net.state_dict()
    net.register_buffer("nothing", tg.ones(3), persistent=False)
    assert "nothing" not in net.state_dict()
    del net.seen
    assert "seen" not in net.state_dict()
    net.seen = tg.ones(1)  # no buffer any more
    assert "seen" not in dict(net.named_buffers())
    net.scratch = nn.Parameter(np.ones(1))  # nor this one
    assert "scratch" in dict(net.named_parameters())
    assert "scratch" not in dict(net.named_buffers())


def test_names_that_cannot_be():
    net = Net()
    for method, what in (
        (net.register_buffer, tg.ones(1)),
        (net.register_parameter, nn.Parameter(np.ones(1))),
        (net.add_module, nn.ReLU()),
    ):
        name = method.__name__
        for taken in ("forward", "training", *{"scale", "seen", "first"} - OWN[name]):
            with raises(KeyError, f"{name}: attribute '{taken}' already exists"):
                method(taken, what)
        for bad in ("", "a.b"):
            with raises(KeyError, f"{name}: the name is {bad!r}; expected one that is"):
                method(bad, what)
        with raises(TypeError, f"{name}: the name is 3; expected a string"):
            method(3, what)
        method(*[*OWN[name]][:1], what)  # again
        method("nothing", what)  # None until now
        del net.nothing
        net.nothing = None
    assert net.get_submodule("first").__class__ is nn.ReLU


OWN = {
    "register_buffer": {"seen"},
    "register_parameter": {"scale"},
    "add_module": {"first"},
}


def test_what_may_be_registered():
    net = Net()
    with raises(
        TypeError, "register_parameter: x is a Tensor; expected a Parameter or"
    ):
        net.register_parameter("x", tg.ones(1))
    with raises(TypeError, "add_module: x is a type; expected a Module"):
        net.add_module("x", nn.ReLU)
    net.register_parameter("x", None)
    net.add_module("y", None)
    assert net.x is net.y is None
    assert list(net.state_dict()) == STATE


def test_what_may_take_anothers_place():
    net = Net()
    for value in (tg.ones(2), np.ones(2), 3.0):
        given = type(value).__name__
        with raises(
            TypeError, f"Net.scale is a parameter, and was given a {given}, wh"
        ):
            net.scale = value
        with raises(TypeError, f"Net.body is a module, and was given a {given}"):
            net.body = value
    for value in (np.ones(2), 3.0):
        given = type(value).__name__
        with raises(TypeError, f"Net.seen is a buffer, and was given a {given}; mend"):
            net.seen = value
    assert list(net.state_dict()) == STATE
    new = nn.Parameter(np.zeros(2))
    net.scale = new
    assert net.get_parameter("scale") is new
    net.body = nn.Identity()
    net.scale = None
    assert "scale" not in net.state_dict()
    net.plain = 3
    net.plain = tg.ones(1)
    net.plain = "text"


# -- changing all of it ----------------------------------------------------------------


def test_train_and_eval():
    net = Net()
    assert net.training
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    net.body.train(False)
    assert net.training
    assert not net.body[1].training
    with raises(ValueError, "train: mode was given as 1; expected True, False"):
        net.train(1)  # type: ignore[arg-type]


def test_apply_goes_inside_out():
    net, seen = Net(), []
    assert net.apply(seen.append) is net
    assert seen == [net.first, net.body[0], net.body[1], net.body, net]


def test_freezing():
    net = Net()
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    net.first.requires_grad_()
    assert net.first.weight.requires_grad
    assert not net.scale.requires_grad
    assert "# 12 parameters, 6 frozen" in repr(net).splitlines()[0]


def test_zero_grad(device):
    net = Net().to(device)
    x = tg.ones((3, 2), device=device)
    net(x).sum().backward()
    arrays = [p.grad.array for p in net.parameters()]
    net.zero_grad(set_to_none=False)
    for p, before in zip(net.parameters(), arrays, strict=True):
        assert not p.grad.numpy().any()
        assert p.grad.shape == before.shape
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("dtype", [tg.float16, tg.float64, "float64", np.float16])
def test_to_another_dtype_keeps_identity_gradients_and_hooks(dtype, device):
    net, calls = Net().to(device), []
    before = [*net.parameters(), *net.buffers()]
    net(tg.ones((3, 2), device=device)).sum().backward()
    net.scale.register_hook(lambda grad: calls.append(grad.dtype))
    assert net.to(dtype) is net
    assert [*map(id, net.parameters()), *map(id, net.buffers())] == [*map(id, before)]
    for p in net.parameters():
        assert p.dtype == p.grad.dtype == np.dtype(dtype)
        assert p.is_leaf
        assert p.requires_grad
    assert net.seen.dtype == np.dtype(dtype)
    assert net.body[0].num_batches_tracked.dtype == tg.int64
    net.zero_grad()
    net(tg.ones((3, 2), dtype, device)).sum().backward()
    assert calls == [np.dtype(dtype)]
    assert net.scale.grad.dtype == np.dtype(dtype)


def test_the_names_of_to(device):
    net = Net()
    assert net.half().scale.dtype == tg.float16
    assert net.double().scale.dtype == tg.float64
    assert net.float().scale.dtype == tg.float32
    assert net.to("cpu", "float64").scale.dtype == tg.float64
    assert net.to(device=device).scale.device.startswith(device)
    assert net.to(None, None) is net
    assert net.cpu().seen.device == "cpu"
    for wrong in ("int64", np.int32, bool):
        with raises(TypeError, "a module can't become "):
            net.to(wrong)
    with pytest.raises(ValueError, match="tpu"):
        net.to("tpu")
    assert net.scale.dtype == tg.float64


def test_to_another_device_keeps_identity_gradients_and_hooks():
    with strict_cuda():
        net, calls = Net(), []
        net(tg.ones((3, 2))).sum().backward()
        before = [*net.parameters(), *net.buffers()]
        net.scale.register_hook(lambda grad: calls.append(grad.device))
        for device in ("cuda:1", "cuda:0"):
            net.to(device)
            assert [*net.parameters(), *net.buffers()][0] is before[0]
            for each in (*net.parameters(), *net.buffers()):
                assert each.device == device
            assert all(p.grad.device == device for p in net.parameters())
            net(tg.ones((3, 2), device=device)).sum().backward()
            assert calls.pop() == device
        assert net.cuda(1).scale.device == "cuda:1"
        assert net.cuda().scale.device == "cuda:0"
        state = {key: value.to("cpu") for key, value in net.state_dict().items()}
        net.to("cuda:1").load_state_dict(state)  # the current device is cuda:0
        assert net.first.weight.device == "cuda:1"
        net.zero_grad(set_to_none=False)


# -- its state -------------------------------------------------------------------------


def test_a_state_shares_memory_and_has_no_graph():
    net = Net()
    state = net.state_dict()
    assert not any(value.requires_grad for value in state.values())
    assert all(type(value) is tg.Tensor for value in state.values())
    assert state["scale"].array is net.scale.array
    assert state["seen"].array is net.seen.array
    assert net.state_dict(keep_vars=True)["scale"] is net.scale


def test_a_state_goes_over_dtypes_and_kinds():
    net, other = Net(), Net().double()
    state = {key: value.numpy() for key, value in other.state_dict().items()}
    report = net.load_state_dict(state)
    assert report == ([], [])
    assert (report.missing_keys, report.unexpected_keys) == ([], [])
    for key, value in net.state_dict().items():
        assert value.dtype in (tg.float32, tg.int64)
        np.testing.assert_array_equal(value.numpy(), state[key].astype(value.dtype))


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("first.bias"),
        lambda state: state.update(extra=np.ones(1)),
        lambda state: state.update({"again.bias": np.ones(3)}),
        lambda state: state.update({"again.bias": "text"}),
        lambda state: state.update({"again.bias": np.ones(2, complex)}),
        lambda state: state.update({"again.bias": object()}),
    ],
)
def test_a_state_that_does_not_fit_leaves_everything_untouched(change):
    net = Net()
    before = {key: value.numpy().copy() for key, value in net.state_dict().items()}
    state = {key: value.numpy() + 1 for key, value in net.state_dict().items()}
    change(state)
    with pytest.raises((RuntimeError, TypeError)):
        net.load_state_dict(state)
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_what_load_state_dict_says():
    net = Net()
    state = dict(net.state_dict())
    state["scale"] = tg.ones(3)
    del state["seen"]
    state["more"] = tg.ones(1)
    text = (
        "load_state_dict of Net: missing keys: seen; unexpected keys: more; wrong "
        "shapes: scale has shape (3,), expected (2,)"
    )
    with raises(RuntimeError, text):
        net.load_state_dict(state)
    text = "load_state_dict of Net: wrong shapes: scale has shape (3,), expected (2,)"
    with raises(RuntimeError, text):
        net.load_state_dict(state, strict=False)
    del state["scale"]
    report = net.load_state_dict(state, strict=False)
    assert report.missing_keys == ["scale", "seen"]
    assert report.unexpected_keys == ["more"]
    for wrong in ([1, 2], "model.safetensors", None):
        with raises(TypeError, "load_state_dict: a "):
            net.load_state_dict(wrong)  # type: ignore[arg-type]


def test_copies_share_nothing_but_what_was_shared():
    net = Net()
    net(tg.ones((3, 2))).sum().backward()
    net.eval()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert list(other.state_dict()) == STATE
        assert other.again is other.first
        assert not other.training
        assert "scratch" in dict(other.named_buffers())
        for (key, mine), theirs in zip(
            net.state_dict().items(), other.state_dict().values(), strict=True
        ):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=key)
            assert not np.shares_memory(mine.array, theirs.array)
        assert all(isinstance(p, nn.Parameter) for p in other.parameters())
        other.register_buffer("one more", tg.ones(1))
        assert "one more" not in dict(net.named_buffers())
    assert copy.deepcopy(net).scale.grad.tolist() == net.scale.grad.tolist()


def test_repr():
    net = Net()
    net.first.requires_grad_(False)
    linear = (
        "Linear(in_features=2, out_features=2, bias=True)  # 6 parameters, 6 frozen"
    )
    assert repr(net) == (
        "Net(  # 12 parameters, 6 frozen\n"
        f"  (first): {linear}\n"
        "  (body): Sequential(  # 4 parameters\n"
        "    (0): BatchNorm1d(2, eps=1e-05, momentum=0.1, affine=True, "
        "track_running_stats=True)  # 4 parameters\n"
        "    (1): ReLU()\n"
        "  )\n"
        f"  (again): {linear}\n"
        ")"
    )
    assert repr(nn.PReLU()) == "PReLU(num_parameters=1)  # 1 parameter"
    assert "# 1,001,000 parameters" in repr(nn.Linear(1000, 1000))


def test_a_parameter_of_what_cannot_be_one():
    with pytest.raises((TypeError, RuntimeError), match="int64"):
        nn.Parameter(np.arange(3))
    frozen = nn.Parameter(np.ones(2), requires_grad=False)
    assert not frozen.requires_grad
    data = np.ones(2)
    assert nn.Parameter(data).array is data


# -- Linear, Flatten and its kin -------------------------------------------------------


def test_flatten_and_unflatten(device):
    x = tg.ones((2, 3, 4), device=device)
    assert nn.Flatten(0)(x).shape == (24,)
    assert nn.Flatten(-2, -1)(x).shape == (2, 12)
    assert nn.Flatten(1, 1)(x).shape == (2, 3, 4)
    assert nn.Flatten(0, -1)(x.sum()).shape == (1,)
    assert nn.Unflatten(-1, (2, -1))(x).shape == (2, 3, 2, 2)
    assert repr(nn.Flatten()) == "Flatten(start_dim=1, end_dim=-1)"
    assert repr(nn.Unflatten(1, [2, 3])) == "Unflatten(dim=1, unflattened_size=(2, 3))"
    with raises(IndexError, "Flatten: axis 3 is out of range for shape (2, 3, 4)"):
        nn.Flatten(3)(x)
    with raises(IndexError, "Flatten: axis 1 is out of range for shape ()"):
        nn.Flatten()(x.sum())
    with raises(ValueError, "Flatten: start_dim 2 comes after end_dim 0 in shape (2"):
        nn.Flatten(2, 0)(x)
    with raises(IndexError, "Unflatten: axis 3 is out of range for shape (2, 3, 4)"):
        nn.Unflatten(3, (2, 2))(x)
    with pytest.raises(ValueError, match="reshape"):
        nn.Unflatten(2, (3, 2))(x)


def test_linear_on_any_shape(device):
    layer = nn.Linear(4, 2, device=device)
    assert layer(tg.ones(4, device=device)).shape == (2,)
    assert layer(tg.ones((0, 4), device=device)).shape == (0, 2)
    assert nn.Linear(4, 2, bias=False).bias is None
    assert repr(nn.Linear(4, 2, bias=False)) == (
        "Linear(in_features=4, out_features=2, bias=False)  # 8 parameters"
    )
    with pytest.raises(ValueError, match="linear"):
        layer(tg.ones(3, device=device))
    before = layer.weight.detach().numpy().copy()
    layer.reset_parameters()
    assert not np.array_equal(layer.weight.detach().numpy(), before)
    assert np.abs(layer.weight.detach().numpy()).max() <= 1 / math.sqrt(4)


# -- what a beginner does ------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "text"),
    [
        ([nn.ReLU()], "Lists.held is a list that holds modules or parameters; they"),
        ((1, nn.Parameter(np.ones(1))), "Lists.held is a tuple that holds modules"),
        ({"a": nn.ReLU()}, "neither trained nor saved; mend: nn.ModuleDict(...)"),
    ],
)
def test_modules_in_a_list_are_warned_of(held, text):
    class Lists(nn.Module):
        def __init__(self):
            self.held = held

    with pytest.warns(UserWarning, match=re.escape(text)) as warned:
        model = Lists()
    assert warned[0].filename == __file__
    assert list(model.parameters()) == []


def test_other_lists_are_nobodys_business():
    module = nn.Module()
    module.sizes, module.names, module.empty = [1, 2], {"a": 1}, ()
    assert module.sizes == [1, 2]


def test_attributes_may_have_any_name():
    """What a module uses itself is not in the way of what a model calls its parts."""

    class Free(nn.Module):
        def __init__(self):
            self._state, self._named, self._modules = 1, 2, 3
            self._lookup, self._parameters = nn.Linear(1, 1), nn.Parameter(np.ones(1))

    assert list(Free().state_dict()) == [
        "_parameters", "_lookup.weight", "_lookup.bias",
    ]  # fmt: skip


def test_gradients_are_clipped_by_pytorchs_name():
    model = nn.Linear(2, 2)
    (model(tg.ones((1, 2))) * 100.0).sum().backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert norm.item() > 100
    left = math.sqrt(sum(float((p.grad * p.grad).sum()) for p in model.parameters()))
    assert left == pytest.approx(1.0, rel=1e-5)
    nn.utils.clip_grad_value_(model.parameters(), 0.125)
    assert max(float(p.grad.abs().max()) for p in model.parameters()) == 0.125
