"""Saving and loading: trees, files of all kinds, and writing whole or not at all."""

from __future__ import annotations

import copy
import errno
import fcntl
import json
import math
import os
import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strict_cupy import strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import extras, nn, optim
from tinygrad_softmax.saving import atomic, read_metadata, tensor_files, trees
from tinygrad_softmax.saving import write_atomically as write
from tinygrad_softmax.saving.checkpoints import TREE

ROOT = Path(__file__).resolve().parent.parent

DTYPES = [
    *(
        np.dtype(f"{kind}{bits}")
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    ),
    *map(np.dtype, ("bool", "float16", "float32", "float64", ml_dtypes.bfloat16)),
]


def same(a: Any, b: Any) -> bool:
    """Whether two trees are of the same types, order and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(
            type(x) is type(y) and same(a[x], b[y]) for x, y in zip(a, b)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, tg.Tensor):
        return a.device == b.device and same(a.detach().numpy(), b.detach().numpy())
    if isinstance(a, (np.ndarray, np.generic)):
        about = [(x.dtype, x.shape, x.tobytes()) for x in (a, b)]
        return about[0] == about[1]
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return a == b


def round_trip(tree: Any, folder: Path, device: str | None = None) -> Any:
    path = folder / "file.safetensors"
    tg.save(tree, path)
    return tg.load(path, device)


# -- trees -----------------------------------------------------------------------


def arrays(dtype: np.dtype) -> st.SearchStrategy[np.ndarray]:
    """Arrays of any bits, 0-d, empty, and laid out in any way."""
    bits = np.dtype("bool" if dtype == "bool" else f"uint{8 * dtype.itemsize}")
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)

    def laid_out(array: np.ndarray, how: int) -> np.ndarray:
        array = array.view(dtype)
        if how == 1:
            return array.T
        if how == 2 and array.ndim:
            return np.repeat(array, 2, axis=-1)[..., ::-2]
        return array

    drawn = hnp.arrays(bits, shapes, elements=hnp.from_dtype(bits))
    return st.builds(laid_out, drawn, st.integers(0, 2))


ANY_ARRAY = st.sampled_from(DTYPES).flatmap(arrays)
TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    TEXT,
    ANY_ARRAY,
    ANY_ARRAY.map(tg.tensor),
    ANY_ARRAY.map(lambda array: array.flat[0] if array.size else np.float16(1)),
)
KEYS = st.one_of(TEXT, st.integers(), st.sampled_from(["a", "b", "a.b", "0", 0, "#2"]))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trees")


@given(tree=TREES)
@example(tree=10**6000)
@example(tree=-(2**63) - 1)
@example(tree=[math.nan, -math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1])
@example(tree=struct.unpack("d", b"\1\2\3\4\5\6\xff\x7f")[0])  # nan with a payload
@example(tree=["", "\ud800", "\ud83d\ude00", "\U0001f600", "\0", '"\\'])
@example(tree={"\ud83d\ude00": 1, "\U0001f600": 2})
def test_a_tree_comes_back_bit_for_bit(tree, folder):
    assert same(round_trip(tree, folder), tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 4)])
def test_tensors_of_every_dtype_come_back(dtype, shape, device, tmp_path):
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    whole = tg.tensor(values, device=device)
    tree = {"whole": whole, "turned": tg.transpose(whole), "array": values}
    tree["every other"] = whole[..., ::2] if shape else whole
    found = round_trip(tree, tmp_path, device)
    assert same(found, {name: tg.asarray(x) if name != "array" else x
                        for name, x in tree.items()})  # fmt: skip


def test_a_checkpoint_of_a_run_comes_back(device, tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    (model(tg.ones((5, 3), device=device)) ** 2).sum().backward()
    optimizer.step()
    generator = np.random.default_rng(7)
    generator.random(3)
    tree = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": tg.Generator(3).state,
        "numpy's rng": generator.bit_generator.state,  # with integers of 128 bits
        "epoch": 3,
        "best": np.float32(0.1),
        "note": None,
    }
    found = round_trip(tree, tmp_path, device)
    assert same(found, tree)
    other = np.random.default_rng()
    other.bit_generator.state = found["numpy's rng"]
    assert other.random() == generator.random()
    again = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
    again.load_state_dict(found["model"])
    x = tg.ones((2, 3), device=device)
    assert same(again(x), model(x))


def test_what_is_loaded_can_be_written_to(device, tmp_path):
    found = round_trip({"t": tg.ones(2, device=device), "a": np.ones(2)}, tmp_path)
    with tg.no_grad():
        found["t"] += 1.0
    found["a"] += 1.0
    assert found["t"].tolist() == found["a"].tolist() == [2.0, 2.0]


def test_parameters_come_back_as_tensors_without_their_graph(device, tmp_path):
    weight = nn.Parameter(tg.ones(2, device=device))
    computed = weight * 2.0
    found = round_trip([weight, computed], tmp_path)
    assert [type(each) for each in found] == [tg.Tensor, tg.Tensor]
    assert not any(each.requires_grad for each in found)
    assert found[1].tolist() == [2.0, 2.0]


def test_tied_weights_are_written_under_each_name(device, tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)).to(device)
    model[1].weight = model[0].weight
    state = model.state_dict()
    path = tmp_path / "tied"
    tg.save(state, path)
    assert safetensors.numpy.load_file(path).keys() == state.keys()
    assert same(tg.load(path, device), state)
    shared = np.arange(6.0)
    views = [shared, shared, shared[::2], {"again": shared}]
    assert same(round_trip(views, tmp_path), views)


def names_in(path: Path) -> set[str]:
    return set(safetensors.numpy.load_file(path))


def test_names_are_the_dotted_paths(device, tmp_path):
    path = tmp_path / "names"
    one = tg.ones(1, device=device)
    tg.save(
        {"model": {"0.weight": one}, "steps": [one, (one,)], "state": {0: one}}, path
    )
    assert names_in(path) == {"model.0.weight", "steps.0", "steps.1.0", "state.0"}
    tg.save({"0.weight": one, "0.bias": one, "": one}, path)
    assert names_in(path) == {"0.weight", "0.bias", ""}
    tg.save(one, path)
    assert names_in(path) == {"tensor"}


@pytest.mark.parametrize(
    "tree",
    [
        {"a.b": 1, "a": {"b": 2}},
        {"a": {"b": 1}, "a.b": 2, "a.b#2": 3},
        {"a.b#2": 1, "a": {"b": 2}, "a.b": 3},
        {0: 1, "0": 2},
        {"__metadata__": 1},
        {"__metadata__": 1, "__metadata__#2": 2},
        {"\ud800": 1, "\\ud800": 2},
        {"": {"": 1}, ".": 2},
    ],
    ids=str,
)
def test_names_that_collide_come_back_apart(tree, tmp_path):
    def with_arrays(node):
        if isinstance(node, dict):
            return {key: with_arrays(each) for key, each in node.items()}
        return np.array(node)

    tree = with_arrays(tree)
    assert same(round_trip(tree, tmp_path), tree)


def test_an_ordered_dict_comes_back_as_a_dict(tmp_path):
    found = round_trip(OrderedDict(b=1, a=2), tmp_path)
    assert type(found) is dict
    assert list(found.items()) == [("b", 1), ("a", 2)]


def test_another_byte_order_comes_back_as_the_machines(tmp_path):
    found = round_trip(np.array([1.5, -2.0], ">f4"), tmp_path)
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.tolist() == [1.5, -2.0]


class Named(str):
    __slots__ = ()


REFUSED = {
    "set": ({"a": [{1, 2}]}, r'obj\["a"\]\[0\] is of type set.*mend: sorted'),
    "bytes": ((b"x",), r"obj\[0\] is of type bytes.*np\.frombuffer"),
    "complex": ({3: 1j}, r"obj\[3\] is of type complex.*mend: use dicts"),
    "module": ({"m": nn.Linear(1, 1)}, r"is of type Linear.*\.state_dict\(\)"),
    "generator": ({"g": tg.Generator(0)}, r"is of type Generator.*\.state$"),
    "rng": ([np.random.default_rng(0)], r"\.bit_generator\.state$"),
    "objects": (np.array([None]), r"obj is an array of dtype object"),
    "text": ([np.array(["a"])], r"is an array of dtype <U1"),
    "dates": (np.zeros(1, "M8[s]"), r"is an array of dtype datetime64"),
    "complex array": (np.zeros(1, complex), r"is an array of dtype complex128"),
    "masked": (np.ma.zeros(2), r"is of type MaskedArray.*np\.array"),
    "complex scalar": (np.complex64(1), r"obj is of type complex64"),
    "numpy text": (np.str_("a"), r"is of type str_.*str\(it\)"),
    "subclass": ({"a": Named("x")}, r"is of type Named.*str\(it\)"),
    "function": ([len], r"obj\[0\] is of type builtin"),
    "a key of truth": ({"a": {True: 1}}, r'obj\["a"\] has the key True, of type bool'),
    "a tuple as key": ({(1, 2): 1}, r"obj has the key \(1, 2\), of type tuple"),
    "a key of numpy": ({np.int64(1): 1}, r"of type int64; mend: keys"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_file_cannot_hold_is_named_with_its_place(name, tmp_path):
    tree, message = REFUSED[name]
    path = tmp_path / "not made" / "file"
    with pytest.raises(TypeError, match=message.replace('"', "['\"]")):
        tg.save({"before": np.ones(2), "tree": tree}["tree"], path)
    assert os.listdir(tmp_path) == []


def test_a_tree_that_is_too_deep_is_refused(tmp_path):
    circle: list = []
    circle.append(circle)
    with pytest.raises(ValueError, match="does something contain itself"):
        tg.save({"a": circle}, tmp_path / "file")
    deep: Any = 1
    for _ in range(trees.MAX_DEPTH):
        deep = [deep]
    assert same(round_trip(deep, tmp_path), deep)
    with pytest.raises(ValueError, match="more than 100 levels"):
        tg.save({0: deep}, tmp_path / "file")


def test_plain_values_that_are_too_many_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "file"
    tg.save({"old": 1}, path)
    monkeypatch.setattr(tensor_files, "MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="put long lists of numbers into an array"):
        tg.save(list(range(1000)), path)
    assert tg.load(path) == {"old": 1}


# -- beside the tree ---------------------------------------------------------------


def test_metadata_is_text_beside_the_tree(tmp_path):
    path = tmp_path / "file"
    texts = {"format": "pt", "naïve": "猫\n\0", "": ""}
    tg.save({"w": np.ones(2)}, path, metadata=texts)
    assert read_metadata(path) == texts
    with safetensors.safe_open(path, "numpy") as file:
        assert {**texts, TREE: file.metadata()[TREE]} == file.metadata()
    assert same(tg.load(path), {"w": np.ones(2)})
    tg.save([], path)
    assert read_metadata(path) == {}
    safetensors.numpy.save_file({"w": np.ones(2)}, path)
    assert read_metadata(path) == {}


@pytest.mark.parametrize(
    ("metadata", "kind", "message"),
    [
        ({"epoch": 3}, TypeError, "metadata has 'epoch': 3; expected text for both"),
        ({3: "epoch"}, TypeError, "metadata has 3: 'epoch'"),
        ({"a": "\ud800"}, ValueError, "metadata 'a' is no Unicode text"),
        ({TREE: "x"}, ValueError, "is what save itself writes"),
    ],
)
def test_metadata_that_cannot_be_kept_is_refused(metadata, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        tg.save({}, tmp_path / "file", metadata=metadata)
    assert os.listdir(tmp_path) == []


def test_the_same_tree_is_the_same_bytes(tmp_path):
    tree = {"b": tg.ones(3), "a": np.arange(4), "n": {3: "x", "y": (1.5, math.nan)}}
    for name in ("one", "two"):
        tg.save(tree, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_of_another_program_is_a_dict_of_tensors(device, tmp_path):
    path = tmp_path / "foreign"
    arrays = {"w": np.ones((2, 3), np.float16), "b": np.array(3)}
    arrays["h"] = np.array([1.5, 2.0], ml_dtypes.bfloat16)
    safetensors.numpy.save_file(arrays, path, {"format": "pt"})
    found = tg.load(path, device)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert same(found[name], tg.tensor(array, device=device))
    assert same(found["b"] + 1, tg.tensor(4, device=device))


def test_tensors_are_placed_on_the_device_asked_for(tmp_path):
    path = tmp_path / "file"
    with strict_cuda():
        tree = {"t": tg.tensor([1.0, 2.0], device="cuda"), "a": np.ones(2)}
        tree["turned"] = tg.transpose(tg.ones((2, 3), device="cuda"))
        tree["half"] = tg.tensor([1.5], "float16", device="cuda")
        tg.save(tree, path)
        there, here = tg.load(path, "cuda"), tg.load(path)
        with tg.use_device("cuda"):
            default = tg.load(path)
        for found in (there, default):
            assert same(found, tree)
        assert here["t"].device == "cpu"
        assert type(here["a"]) is type(there["a"]) is np.ndarray
    with pytest.raises(ValueError, match="device 'tpu' is not known") as caught:
        tg.load(path, "tpu")
    assert caught.type is ValueError  # the file is all right


# -- damaged and hostile files -------------------------------------------------------

TREE_OF_ALL = {
    "model": {"w": tg.tensor([[1.0, 2.0]]), "b": np.array([True, False])},
    "n": {0: 3, "x": (math.inf, np.float32(0.1), 2**70, "\ud800", None, [0.5])},
}


def test_a_file_cut_off_anywhere_gives_one_error(tmp_path):
    path = tmp_path / "file"
    tg.save(TREE_OF_ALL, path, metadata={"a": "b"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(tg.CheckpointError, match="file"):
            tg.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(tg.CheckpointError, match="followed by something else"):
        tg.load(path)


def test_a_bit_that_flips_anywhere_gives_one_error(tmp_path):
    """Also in the data: safetensors itself has no checksum."""
    path = tmp_path / "file"
    tg.save({"w": tg.ones((2, 0, 3)), "n": (0.5, np.ones(1))}, path, metadata={"a": ""})
    content = path.read_bytes()
    for position in range(8 * len(content)):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(tg.CheckpointError, match="file"):
            tg.load(path)


@given(
    start=st.integers(0, 8), garbage=st.binary(max_size=200), keep=st.integers(0, 300)
)
def test_garbage_gives_one_error(start, garbage, keep, folder):
    path = folder / "garbage"
    tg.save({"w": np.ones(2)}, path)
    content = path.read_bytes()
    path.write_bytes(content[:start] + garbage + content[keep:])
    if path.read_bytes() == content:
        return
    with pytest.raises(tg.CheckpointError, match="garbage"):
        tg.load(path)


def raw(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (1,), place: Any = (0, 4)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


F32 = json.dumps(entry())
FILES = {
    "empty": (b"", "is empty"),
    "three bytes": (b"abc", "has 3 bytes, fewer than any"),
    "text": (b"a text that is no model", "is not a safetensors file"),
    "an absurd length": (b"\0" * 7 + b"\x80{", "its header alone should have 9,223,3"),
    "the largest length": (b"\xff" * 8 + b"{}", "its header alone should have 18,446"),
    "a header too large": (raw(b"{" + b" " * 2**25), "has a header of 33,554,433 byte"),
    "a pickle": (pickle.dumps({"w": [1.0] * 99}), "looks like a pickle.*save_file"),
    "no JSON": (raw(b"{nothing"), "in its header, Expecting"),
    "no UTF-8": (raw(b'{"\xff": 1}'), "in its header, 'utf-8' codec"),
    "UTF-16": (raw("{}".encode("utf-16-le")), "is damaged: in its header"),
    "no dict": (raw(b"{}, []"), "in its header, Extra data"),
    "deep": (raw(b'{"a":' * 100_000), "its header is too deep"),
    "deep lists": (raw(b'{"a":' + b"[" * 100_000), "its header is too deep"),
    "a long number": (raw(b'{"a":' + b"1" * 9999 + b"}"), "Exceeds the limit"),
    "NaN": (raw(b'{"a": NaN}'), "NaN is no JSON"),
    "a name twice": (raw(f'{{"a":{F32},"a":{F32}}}'.encode(), b"1234"), "occurs twice"),
    "two of one place": (raw({"a": entry(), "b": entry()}, b"1234"), "is damaged"),
    "a gap": (raw({"a": entry(place=[4, 8])}, b"12345678"), "is damaged"),
    "a place that ends first": (raw({"a": entry(place=[4, 0])}), "is damaged"),
    "a place too far": (raw({"a": entry(place=[0, 2**62])}), "its header says 4,611"),
    "a negative place": (raw({"a": entry(place=[-4, 0])}), "a place that is none"),
    "a place of truth": (raw({"a": entry(place=[False, 4])}), "a place that is none"),
    "a place of one": (raw({"a": entry(place=[4])}, b"1234"), "has no place"),
    "a place too few": (raw({"a": {"dtype": "F32", "shape": []}}), "no description"),
    "an entry that is none": (raw({"a": 3}), "'a' is no description of a tensor"),
    "a shape of text": (raw({"a": entry(shape="1")}), "a shape or a place"),
    "an enormous shape": (raw({"a": entry(shape=[2**62, 4])}, b"1234"), "is damaged"),
    "an empty enormous shape": (
        raw({"a": entry(shape=[0, 2**62, 8], place=[0, 0])}),
        "is damaged: 'a'",
    ),
    "too many axes": (raw({"a": entry(shape=[1] * 99)}, b"1234"), "is damaged: 'a'"),
    "an unknown dtype": (raw({"a": entry("F8_E4M3")}, b"1234"), "'F8_E4M3', which ten"),
    "a dtype of none": (raw({"a": entry(None)}, b"1234"), "of dtype None"),  # type: ignore[arg-type]
    "a dtype of lists": (raw({"a": entry([])}, b"1234"), "is damaged"),  # type: ignore[arg-type]
    "bools of 2": (raw({"a": entry("BOOL", [1], [0, 1])}, b"\2"), "has bools that are"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), "holds what is no text"),
    "metadata of lists": (raw({"__metadata__": []}), "metadata is not an object"),
    "half a surrogate pair": (raw({"\ud800": entry()}, b"1234"), "is damaged"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_gives_one_error(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / "the file"
    path.write_bytes(content)
    with pytest.raises(tg.CheckpointError, match=f"the file .*{message}"):
        tg.load(path)


def test_an_absurd_length_takes_no_memory(tmp_path):
    """In a sparse file of 4 GB, with 2 GB of address space to load it in."""
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.write((2**31).to_bytes(8, "little") + b"{")
        file.truncate(2**32)
    code = (
        "import sys, resource, tinygrad_softmax as tg; tg.load\n"
        "import safetensors.numpy\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "try: tg.load(sys.argv[1])\n"
        "except tg.CheckpointError as error: print(error)"
    )
    assert "a header of 2,147,483,648 bytes" in run_python("-c", code, str(path))


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(tg.CheckpointError, match="is a folder: give the file in it"):
        tg.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(tg.CheckpointError, match="is not a regular file"):
            tg.load(special)
    for function in (tg.load, read_metadata):
        with pytest.raises(FileNotFoundError, match="there is no such file to load"):
            function(tmp_path / "nowhere")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("data.pkl", "")
    with pytest.raises(tg.CheckpointError, match=r"looks like a zip.*save_file\(torch"):
        tg.load(tmp_path / "zip")


def test_a_header_that_begins_like_a_pickle_is_none(tmp_path):
    """Of 640 bytes: its length begins with those of pickle's second protocol."""
    path = tmp_path / "file"
    content = raw(b"{}" + b" " * 638)
    assert content[:2] == b"\x80\x02"
    path.write_bytes(content)
    assert tg.load(path) == {}


def test_pickles_are_not_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "trap"
    for protocol in range(6):
        path.write_bytes(pickle.dumps(Trap(), protocol))
        with pytest.raises(tg.CheckpointError):
            tg.load(path)
    assert not (tmp_path / "sprung").exists()


def with_tree(path: Path, tree: Any, version: Any = 1, **arrays: np.ndarray) -> None:
    """A file with a tree of our making, whose checksum is right."""
    from tinygrad_softmax.saving import checkpoints

    text = tree if isinstance(tree, str) else json.dumps(tree)
    text = f'{{"version":{json.dumps(version)},"crc32":"","tree":{text}}}'
    checksum = checkpoints._checksum(text, arrays, {})
    text = text.replace('"crc32":""', f'"crc32":"{checksum}"', 1)
    path.write_bytes(safetensors.numpy.save(arrays, {TREE: text}))


W = np.ones(2)
DAMAGED_TREES = {
    "a missing tensor": ({"tensor": "v"}, {}, "'v', which is not there or used twice"),
    "a tensor twice": ([{"array": "w"}, {"tensor": "w"}], {"w": W}, "or used twice"),
    "a tensor left over": ([], {"w": W}, "the tensor 'w' has no place in its tree"),
    "a name of numbers": ({"tensor": 3}, {}, "has int for str"),
    "an unknown kind": ({"set": "x"}, {}, "the kind 'set', which is not known"),
    "no kind": ({}, {}, "an object without a kind"),
    "two kinds": ({"int": "1", "text": ""}, {}, "an object without a kind"),
    "a key twice": ('{"dict":{"a":1,"a":2}}', {}, "a key occurs twice"),
    "an item twice": ({"items": [[0, 1], [0, 2]]}, {}, "has the key 0 twice"),
    "an item of three": ({"items": [[0, 1, 2]]}, {}, "no key and value"),
    "an item of none": ({"items": [3]}, {}, "has int for list"),
    "items in a dict": ({"items": {}}, {}, "has dict for list"),
    "a key of truth": ({"items": [[True, 1]]}, {}, "has the key True"),
    "a key of lists": ({"items": [[[], 1]]}, {}, "has the key"),
    "a dict in a list": ({"dict": []}, {}, "has list for dict"),
    "a tuple of text": ({"tuple": "abc"}, {}, "has str for list"),
    "a float too short": ({"float": "00"}, {}, "has 1 bytes for 8"),
    "a float of words": ({"float": "zz"}, {}, "non-hexadecimal"),
    "an int of words": ({"int": "zz"}, {}, "invalid literal"),
    "an int in decimal": ("1" * 9999, {}, "Exceeds the limit"),
    "text of half a byte": ({"text": "f"}, {}, "fromhex"),
    "text of no UTF-8": ({"text": "ff"}, {}, "can't decode byte"),
    "a scalar too long": ({"scalar": ["int8", "0000"]}, {}, "has 2 bytes for 1"),
    "a scalar too much": ({"scalar": ["int8", "00", 1]}, {}, "of 3 parts"),
    "a scalar of objects": ({"scalar": ["O", "00" * 8]}, {}, "dtype object is not"),
    "a bool of 2": ({"scalar": ["bool", "02"]}, {}, "a bool that is none"),
    "deep": ("[" * 100_000 + "]" * 100_000, {}, "its tree is too deep"),
    "rather deep": ("[" * 102 + "]" * 102, {}, "more than 100 levels deep"),
    "NaN": ("NaN", {}, "NaN is no JSON"),
}


@pytest.mark.parametrize("name", DAMAGED_TREES)
def test_a_damaged_tree_gives_one_error(name, tmp_path):
    tree, arrays, message = DAMAGED_TREES[name]
    path = tmp_path / "the file"
    with_tree(path, tree, **arrays)
    with pytest.raises(tg.CheckpointError, match=f"the file is damaged: .*{message}"):
        tg.load(path)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "newer version of tinygrad_softmax .its format is 2.*upgrade to load it"),
        (0, "its format is 0, which never was"),
        ("1", "its tree has no version"),
        (True, "its tree has no version"),
    ],
)
def test_another_version_of_the_format_is_named(version, message, tmp_path):
    path = tmp_path / "file"
    with_tree(path, [1, {"tensor": "w"}], w=W)
    assert same(tg.load(path), [1, tg.tensor(W)])  # the maker of these files is right
    with_tree(path, [1], version)
    with pytest.raises(tg.CheckpointError, match=message):
        tg.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"version":1}', '{"version":1,'
                                  '"crc32":[]}', "{" * 99_999])  # fmt: skip
def test_a_tree_without_its_frame_gives_one_error(text, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(safetensors.numpy.save({}, {TREE: text}))
    with pytest.raises(tg.CheckpointError, match="is damaged"):
        tg.load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"w": np.zeros(2)},
        {"w": np.ones((2, 1))},
        {"w": np.ones(2).view(np.int64)},
        {"w": np.ones(2), "v": np.ones(2)},
        {"v": np.ones(2)},
    ],
    ids=["values", "shape", "dtype", "one more", "name"],
)
def test_another_programs_changes_are_noticed(changed, tmp_path):
    path = tmp_path / "file"
    tg.save({"w": np.ones(2)}, path)
    with safetensors.safe_open(path, "numpy") as file:
        kept = file.metadata()
    safetensors.numpy.save_file({"w": np.ones(2)}, path, kept)
    assert same(tg.load(path), {"w": np.ones(2)})
    safetensors.numpy.save_file(changed, path, kept)
    with pytest.raises(tg.CheckpointError, match="another program kept the metadata"):
        tg.load(path)


def test_a_missing_library_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "file"
    tg.save({}, path)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: tg.save({}, path), lambda: tg.load(path)):
        with pytest.raises(extras.MissingExtraError, match="pip install"):
            call()


# -- whole or not at all --------------------------------------------------------------


def run_python(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill(folder: Path, *options: str) -> dict:
    script = str(ROOT / "tests" / "kill_while_saving.py")
    return json.loads(run_python(script, str(folder), *options))


def test_200_kills_while_saving_leave_a_whole_checkpoint_each(tmp_path):
    found = kill(tmp_path, "200", "0")
    assert found["damage"] == ""
    assert found["kills"] == 200
    # The kills hit: between the making and the renaming of a file, and after a save.
    assert found["while a temporary file existed"] >= 20, found
    assert found["steps"] >= 20, found
    assert found["files"] == ["checkpoint.safetensors"]  # the next save tidies up


def test_kills_show_that_writing_in_place_is_not_enough(tmp_path):
    found = kill(tmp_path, "200", "0", "--in-place")
    assert found["damage"], found


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, b"old")
    for function in ("fsync", "replace", "fstat"):
        with monkeypatch.context() as patch:

            def fail(*arguments):
                raise KeyboardInterrupt

            patch.setattr(atomic.os, function, fail)
            with pytest.raises(KeyboardInterrupt):
                write(path, b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor):
        calls.append(("fsync", os.fstat(descriptor).st_size))
        fsync(descriptor)

    def spy_replace(source, target):
        calls.append(("replace", os.path.getsize(source)))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "fsync", spy_fsync)
    monkeypatch.setattr(atomic.os, "replace", spy_replace)
    write(tmp_path / "file", b"12345")
    assert calls[:2] == [("fsync", 5), ("replace", 5)]
    assert [name for name, _ in calls] == ["fsync", "replace", "fsync"]  # the folder


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path):
    path = tmp_path / "file"
    tg.save({"old": 1}, path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            tg.save(np.zeros(100_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert tg.load(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_an_error_of_the_disk_names_the_file(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "file"  # as it was given
    tg.save({"old": 1}, path)

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", fail)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            tg.save({"new": 2}, path)
    assert caught.value.filename == path
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)
    assert tg.load(path) == {"old": 1}
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_is_missing_is_made_and_one_that_is_a_file_is_named(tmp_path):
    write(tmp_path / "a" / "b" / "file", b"1")
    with pytest.raises(NotADirectoryError, match="file"):
        write(tmp_path / "a" / "b" / "file" / "c" / "d", b"2")
    with pytest.raises(OSError, match="b/file"):
        write(tmp_path / "a" / "b" / "file" / "c", b"2")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"1"


def test_what_is_no_file_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match=r"is a folder: '.*folder'"):
        write(tmp_path / "folder", b"1")
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(OSError, match="not a regular file"):
            write(special, b"1")
        assert not special.is_file()
    os.symlink("circle", tmp_path / "circle")
    with pytest.raises(OSError, match="leads to itself"):
        write(tmp_path / "circle", b"1")
    assert sorted(os.listdir(tmp_path)) == ["circle", "folder", "pipe"]


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = tmp_path / "latest"
    os.symlink("elsewhere/file", link)
    for content in (b"new", b"replaced"):  # a link to nothing, and to a file
        write(link, content)
        assert link.is_symlink()
        assert (folder / "file").read_bytes() == content
    assert os.listdir(folder) == ["file"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_are_those_of_open(umask, tmp_path):
    before = os.umask(umask)
    try:
        write(tmp_path / "file", b"1")
        (tmp_path / "opened").write_bytes(b"1")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode for name in ("file", "opened")]
    assert modes[0] == modes[1]
    os.chmod(tmp_path / "file", 0o640)  # and a file that is there keeps its own
    write(tmp_path / "file", b"2")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    leftover = f".file.{'0' * 16}.tmp"
    kept = [f".file.x.{'0' * 16}.tmp", f".other.{'0' * 16}.tmp", ".file.1.tmp"]
    kept += [f".file.{'0' * 16}.tmp.bak", f"file.{'0' * 16}.tmp"]
    for name in (leftover, *kept):
        (tmp_path / name).touch()
    in_use = tmp_path / f".file.{'1' * 16}.tmp"
    with open(in_use, "wb") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)  # as a live process has it
        write(tmp_path / "file", b"1")
        assert sorted(os.listdir(tmp_path)) == sorted([in_use.name, "file", *kept])
    write(tmp_path / "file", b"2")
    assert sorted(os.listdir(tmp_path)) == sorted(["file", *kept])


def test_a_live_writer_keeps_its_file_and_both_finish(tmp_path, monkeypatch):
    """Another save of the same file, in the middle of this one."""
    path, fsync, inner = tmp_path / "file", os.fsync, []

    def fsync_meanwhile(descriptor):
        if not inner:
            inner.append(True)
            write(path, b"the second")
            assert path.read_bytes() == b"the second"
        fsync(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync_meanwhile)
    write(path, b"the first")
    assert path.read_bytes() == b"the first"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_vanishes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """The save of another process tidies up between the making and the locking."""
    path, lock, removed = tmp_path / "file", atomic._lock, []

    def lock_too_late(descriptor, wait):
        if wait and not removed:
            removed.extend(tmp_path.glob(".file.*"))
            removed[0].unlink()
        return lock(descriptor, wait)

    monkeypatch.setattr(atomic, "_lock", lock_too_late)
    write(path, b"1")
    assert len(removed) == 1
    assert path.read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_system_without_locks_loses_the_tidying_only(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    leftover = tmp_path / f".file.{'0' * 16}.tmp"
    leftover.touch()
    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path / "file", b"1")
    assert sorted(os.listdir(tmp_path)) == [leftover.name, "file"]


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    path = tmp_path / ("é" * 127)
    write(path, b"1")
    assert os.listdir(tmp_path) == [path.name]


# -- pickle and copy still work on the objects themselves ------------------------------


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_modules_and_tensors_still_pickle_and_copy(copied, device):
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).to(device)
    other = copied(model)
    assert same(other.state_dict(), model.state_dict())
    with tg.no_grad():
        other[0].weight += 1.0
    assert not same(other.state_dict(), model.state_dict())
    assert isinstance(other[0].weight, nn.Parameter)
    for tensor in (tg.ones(2, device=device), model[0].bias, tg.ones(0, device=device)):
        found = copied(tensor)
        assert same(found, tensor)
        assert found.requires_grad == tensor.requires_grad
    error = copied(tg.CheckpointError("file is damaged"))
    assert str(error) == "file is damaged"
