"""Sequential, ModuleList and ModuleDict: every method, and every error's text."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax import nn


def raises(kind: type[Exception], text: str):
    return pytest.raises(kind, match=re.escape(text))


def three() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_what_is_listed(kind):
    a, b, c, d = modules = [nn.Linear(n, n) for n in (1, 2, 3, 4)]
    listed = kind(*modules[:3]) if kind is nn.Sequential else kind(modules[:3])
    assert list(listed) == [a, b, c]
    assert len(listed) == 3
    assert (listed[0], listed[-1], listed[np.int64(1)]) == (a, c, b)
    listed[1] = d
    assert list(listed) == [a, d, c]
    assert names(listed) == ["0", "1", "2"]
    del listed[0]
    assert list(listed) == [d, c]
    assert names(listed) == ["0", "1"]
    assert listed.insert(1, a) is listed
    assert listed.insert(-1, b) is listed
    assert list(listed) == [d, a, b, c]
    assert names(listed) == ["0", "1", "2", "3"]
    assert listed.pop(-1) is c
    del listed[:2]
    assert list(listed) == [b]
    assert listed.append(c).extend([d, a]) is listed
    assert list(listed) == [b, c, d, a]
    assert names(listed) == ["0", "1", "2", "3"]
    more = listed + kind()
    assert type(more) is kind
    assert list(more) == [b, c, d, a]
    same = more
    more += [b]
    assert same is more
    assert list(more) == [b, c, d, a, b]
    assert len(listed) == 4
    for index in (4, -5):
        with raises(IndexError, f"{kind.__name__}: there is no module {index}; it hol"):
            listed[index]
        with raises(IndexError, "it holds 4"):
            listed[index] = a
        with raises(IndexError, "it holds 4"):
            del listed[index]
    with pytest.raises(TypeError, match="integer"):
        listed["0"]
    for add in (listed.append, lambda m: listed.insert(0, m)):
        with raises(TypeError, f"{kind.__name__} was given a int; expected a Module"):
            add(3)
    with raises(TypeError, "was given the class ReLU; expected a Module; mend: ReLU()"):
        listed[0] = nn.ReLU
    assert list(listed) == [b, c, d, a]


def test_slices():
    """A Sequential's keep their names, so that saved values fit, as PyTorch's do."""
    model = three()
    part = model[1:]
    assert type(part) is nn.Sequential
    assert list(part) == [model[1], model[2]]
    assert list(part.state_dict()) == ["2.weight", "2.bias"]
    part.append(nn.ReLU())
    assert len(part) == 3
    assert part[1] is model[2]
    assert list(model[::-1]) == [model[2], model[1], model[0]]
    assert list(model[3:]) == []
    listed = nn.ModuleList(model)
    assert names(listed[1:]) == ["0", "1"]
    assert len(model) == 3


def test_a_sequential_by_name():
    a, b = nn.Linear(1, 1), nn.ReLU()
    model = nn.Sequential({"in": a, "out": b})
    assert (model[0], model[1]) == (a, b)
    assert names(model[:1]) == ["in"]
    model.append(nn.Identity())
    assert names(model) == ["in", "out", "2"]
    del model[1]
    assert model[1].__class__ is nn.Identity
    x = tg.tensor([[1.0]])
    np.testing.assert_array_equal(model(x).detach().numpy(), a(x).detach().numpy())
    for name in ("forward", "training"):
        with raises(KeyError, f"attribute '{name}' already exists"):
            nn.Sequential({name: a})
    with raises(KeyError, "the name is 'a.b'"):
        nn.Sequential({"a.b": a})
    assert nn.Sequential()(3) == 3


def test_a_shared_module_in_a_sequential_comes_each_time():
    relu = nn.ReLU()
    model = nn.Sequential(relu, relu)
    assert len(model) == 2
    assert list(model) == [relu, relu]
    assert list(model.children()) == [relu]


def test_a_module_list_is_no_function():
    with raises(NotImplementedError, "a ModuleList can't be called"):
        nn.ModuleList()(1)


def test_a_module_dict():
    a, b, c = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
    held = nn.ModuleDict({"a": a, "b": b})
    assert (held["a"], len(held), list(held), "b" in held) == (a, 2, ["a", "b"], True)
    held["c"] = c
    held["a"] = b  # in the same place
    assert held.keys() == ["a", "b", "c"]
    assert held.values() == [b, b, c]
    assert held.items() == [("a", b), ("b", b), ("c", c)]
    del held["b"]
    assert held.pop("a") is b
    held.update([("x", a), ("y", b)])
    held.update(nn.ModuleDict({"z": c}))
    assert held.keys() == ["c", "x", "y", "z"]
    held.clear()
    assert len(held) == 0
    assert "a" not in held
    assert 3 not in held


def test_what_a_module_dict_refuses():
    held = nn.ModuleDict({"a": nn.ReLU()})
    for call in (
        lambda: held["b"],
        lambda: held.pop("b"),
        lambda: held.__delitem__("b"),
    ):
        with raises(KeyError, "ModuleDict: there is no module 'b'; it holds a"):
            call()
    with raises(KeyError, "ModuleDict: there is no module 'b'; it holds none"):
        nn.ModuleDict()["b"]
    for key in ("keys", "training", "forward"):
        with raises(
            KeyError, f"ModuleDict: {key!r} is the name of an attribute of mod"
        ):
            held[key] = nn.ReLU()
    with raises(KeyError, "the name is 'a.b'"):
        held["a.b"] = nn.ReLU()
    with raises(TypeError, "the name is 3; expected a string"):
        held[3] = nn.ReLU()  # type: ignore[index]
    with raises(TypeError, "ModuleDict was given a int; expected a Module"):
        held["b"] = 3  # type: ignore[assignment]
