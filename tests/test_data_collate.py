"""What becomes of a list of samples."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.data import StackedSamples, default_collate, default_convert
from tinygrad_softmax.data.collate import map_tensors


class Point(NamedTuple):
    x: object
    y: object


def same(tensor, values, dtype) -> None:
    assert isinstance(tensor, tg.Tensor)
    assert tensor.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(tensor.detach().numpy(), values)


def test_tensors_are_stacked_where_they_are(device):
    x = [tg.tensor([1.0, 2.0], device=device), tg.tensor([3.0, 4.0], device=device)]
    batch = default_collate(x)
    same(batch, [[1.0, 2.0], [3.0, 4.0]], "float32")
    assert batch.device == x[0].device


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "bool"])
def test_arrays_keep_their_dtype(dtype):
    arrays = [np.array([[1], [0]], dtype), np.array([[0], [1]], dtype)]
    same(default_collate(arrays), [[[1], [0]], [[0], [1]]], dtype)


@pytest.mark.parametrize(
    ("samples", "dtype"),
    [
        ([1.5, 2.5], "float64"),
        ([1, 2], "int64"),
        ([True, False], "bool"),
        ([np.float32(1.5), np.float32(2.0)], "float32"),
        ([np.float64(1.5), np.float64(2.0)], "float64"),
        ([np.uint8(3), np.uint8(4)], "uint8"),
        ([np.bool_(True), np.bool_(False)], "bool"),
        ([0.5, 1], "float64"),
        ([np.array(2.0), np.array(3.0)], "float64"),
    ],
)
def test_numbers_become_a_tensor(samples, dtype):
    same(default_collate(samples), np.array(samples), dtype)


def test_floats_are_float64_whatever_the_default_is():
    tg.set_default_dtype("float16")
    try:
        same(default_collate([0.1, 0.2]), [0.1, 0.2], "float64")
    finally:
        tg.set_default_dtype("float32")


def test_containers_keep_their_structure():
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([b"a", b"b"]) == [b"a", b"b"]
    pair = default_collate([(1, "a"), (2, "b")])
    assert isinstance(pair, list)
    same(pair[0], [1, 2], "int64")
    assert pair[1] == ("a", "b")
    point = default_collate([Point(1, [2.0]), Point(3, [4.0])])
    assert isinstance(point, Point)
    same(point.x, [1, 3], "int64")
    same(point.y[0], [2.0, 4.0], "float64")  # type: ignore[index]
    table = default_collate([{"x": np.zeros(2), "n": 1}, {"n": 2, "x": np.ones(2)}])
    assert list(table) == ["x", "n"]
    same(table["x"], [[0, 0], [1, 1]], "float64")
    same(table["n"], [1, 2], "int64")


def test_a_dict_of_another_kind_stays_one():
    sample = defaultdict(list, {"x": 1})
    batch = default_collate([sample, sample])
    assert isinstance(batch, defaultdict)
    assert batch.default_factory is list
    same(batch["x"], [1, 1], "int64")
    assert sample["x"] == 1


def test_stacked_samples_are_their_columns(device):
    x, y = tg.zeros((2, 3), device=device), np.array([1, 2])
    batch = default_collate(StackedSamples(x, y))
    assert batch[0] is x
    same(batch[1], [1, 2], "int64")


def array(*shape):
    return np.zeros(shape)


REFUSED = {
    "shapes": (
        [array(2), array(2), array(3)],
        ValueError,
        r"sample 2 has shape \(3,\), but sample 0 has shape \(2,\); mend: give all",
    ),
    "tensors": (
        [(0, tg.zeros(2)), (0, tg.zeros((2, 1)))],
        ValueError,
        r"sample 1\[1\] has shape \(2, 1\), but sample 0\[1\] has shape \(2,\)",
    ),
    "deep": (
        [{"a": [array(1)]}, {"a": [array(4)]}],
        ValueError,
        r"sample 1\['a'\]\[0\] has shape \(4,\), but sample 0\['a'\]\[0\] has",
    ),
    "lengths": (
        [[1, 2], [1, 2, 3]],
        ValueError,
        "sample 1 has 3 entries, but sample 0 has 2; mend: give DataLoader",
    ),
    "keys": (
        [{"a": 1}, {"b": 1}],
        ValueError,
        r"sample 1 has the keys \['b'\], but sample 0 has \['a'\]",
    ),
    "none": ([None, None], TypeError, "sample 0 is of type NoneType; expected tensors"),
    "mixed": (
        [array(2), tg.zeros(2)],
        TypeError,
        "sample 1 is of type Tensor, but sample 0 is of type ndarray",
    ),
    "a number and text": (
        [(1, 2), (1, "a")],
        TypeError,
        r"sample 1\[1\] is of type str, but sample 0\[1\] is of type int",
    ),
    "text arrays": (
        [np.array(["a"]), np.array(["b"])],
        TypeError,
        "sample 0 is an array of <U1; expected numbers or bools",
    ),
    "complex": ([1j, 2j], TypeError, "sample 0 is of type complex"),
    "empty": ([], ValueError, "the batch has no samples"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stacked_is_named(case):
    batch, error, words = REFUSED[case]
    with pytest.raises(error, match="default_collate: .*" + words):
        default_collate(batch)


def test_a_single_sample_is_converted():
    sample = default_convert(
        (np.ones(2), np.float32(2), 3, "s", {"k": np.zeros(1)}, Point(np.ones(1), None))
    )
    assert isinstance(sample, list)
    same(sample[0], [1.0, 1.0], "float64")
    same(sample[1], 2.0, "float32")
    assert sample[2:4] == [3, "s"]
    same(sample[4]["k"], [0.0], "float64")
    assert isinstance(sample[5], Point)
    assert sample[5].y is None
    words = np.array(["a"])
    assert default_convert(words) is words


def test_tensors_are_found_in_every_container():
    x = tg.tensor([1.0])
    batch = (x, [x, "s"], {"k": x}, Point(x, 3), defaultdict(int, {"d": x}))
    seen = map_tensors(lambda tensor: tensor.tolist(), batch)
    assert seen == ([1.0], [[1.0], "s"], {"k": [1.0]}, ([1.0], 3), {"d": [1.0]})
    assert isinstance(seen[3], Point)
    assert isinstance(seen[4], defaultdict)
