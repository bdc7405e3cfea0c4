"""IDX files: there and back, and every way in which one can be damaged."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_softmax as tg
from tinygrad_softmax.data import DataError, read_idx, write_idx

DTYPES = ["u1", "i1", "i2", "i4", "f4", "f8"]


def read_or_error(path) -> np.ndarray | str:
    """The array, or what the one error that is allowed says."""
    try:
        return read_idx(path)
    except DataError as error:
        return str(error)


def arrays():
    shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
    return st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, shapes))


@given(array=arrays(), suffix=st.sampled_from(["", ".gz"]))
def test_what_was_written_is_read_back(tmp_path_factory, array, suffix):
    path = tmp_path_factory.mktemp("idx") / f"a{suffix}"
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()  # nan and -0.0 too
    assert back.flags.writeable
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == bool(suffix)


def test_the_bytes_are_those_of_the_format(tmp_path):
    # Written out by hand from the description of the format.
    path = tmp_path / "a"
    path.write_bytes(b"\0\0\x0b\x02\0\0\0\x02\0\0\0\x03\0\1\0\2\0\3\xff\xff\x01\0\0\0")
    expected = [[1, 2, 3], [-1, 256, 0]]
    assert read_idx(path).tolist() == expected
    write_idx(tmp_path / "b", np.array(expected, np.int16))
    assert (tmp_path / "b").read_bytes() == path.read_bytes()
    path.write_bytes(b"\0\0\x0d\x01\0\0\0\x01\x3f\xc0\0\0")
    assert read_idx(path).tolist() == [1.5]


def test_other_layouts_and_tensors_are_written(tmp_path):
    path = tmp_path / "a"
    x = np.arange(6, dtype=">i4").reshape(2, 3).T
    write_idx(path, x)
    np.testing.assert_array_equal(read_idx(path), x)
    write_idx(path, tg.tensor([1.5, 2.5]))
    assert read_idx(path).tolist() == [1.5, 2.5]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    write_idx(whole, np.arange(12, dtype=np.int16).reshape(3, 4))
    content = whole.read_bytes()
    for n in range(len(content)):
        cut.write_bytes(content[:n])
        with pytest.raises(DataError, match=rf"^cut{suffix}, byte \d+: "):
            read_idx(cut)
    cut.write_bytes(content)
    assert read_idx(cut).shape == (3, 4)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_goes_on_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    raw = b"\0\0\x08\x01\0\0\0\x02\x07\x02" + b"\x05"
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    words = r"byte 10: the file goes on after the 2 elements of 1 bytes that the header"
    with pytest.raises(DataError, match=words):
        read_idx(path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_any_bit_of_the_header_may_flip(tmp_path, suffix):
    """An error, or an array of another type and shape; never anything else, and never
    more memory than the file has to give."""
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / f"a{suffix}"
    write_idx(tmp_path / "plain", array)
    raw = (tmp_path / "plain").read_bytes()
    header = 4 + 4 * 3
    refused = 0
    for bit in range(8 * header):
        content = bytearray(raw)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(gzip.compress(content) if suffix else content)
        tracemalloc.start()
        back = read_or_error(path)
        if isinstance(back, str):
            refused += 1
            assert back.startswith(f"a{suffix}, byte ")
        else:
            assert back.nbytes <= len(raw)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()
    assert refused >= 8 * header - 8  # a flipped type of the same size goes unseen


@given(content=st.binary(max_size=60))
def test_any_bytes_are_an_array_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "a"
    for begun in (content, b"\0\0" + content, b"\x1f\x8b\x08" + content):
        path.write_bytes(begun)
        back = read_or_error(path)
        assert isinstance(back, np.ndarray) or back.startswith("a, byte ")


def header_of(code: int, *shape: int) -> bytes:
    return bytes([0, 0, code, len(shape)]) + np.array(shape, ">u4").tobytes()


HOSTILE = {
    "2^60 elements": (
        header_of(0x08, 2**30, 2**30),
        "byte 12: the header claims 1073741824 x 1073741824 elements of 1 bytes, "
        "1152921504606846976 bytes, but the file holds ",
    ),
    "2^96 elements": (
        header_of(0x0E, *[2**32 - 1] * 3),
        "byte 4: the header claims 4294967295 x 4294967295 x 4294967295 elements; no "
        "array is so large",
    ),
    "hidden by a 0": (
        header_of(0x0E, 0, *[2**32 - 1] * 3),
        "byte 4: the header claims 0 x 4294967295 x 4294967295 x 4294967295 elements",
    ),
    "many axes": (
        header_of(0x08, *[1] * 255) + b"\0",
        "byte 3: the header claims 255 axes; an array has at most 64",
    ),
    "one too many": (
        header_of(0x08, 3) + b"\1\2",
        "byte 8: the header claims 3 elements of 1 bytes, 3 bytes, but the file holds ",
    ),
    "a type": (
        header_of(0x0A, 1) + b"\0",
        "byte 2: expected the code of an element type, 0x08 (uint8), 0x09 (int8), 0x0b "
        "(int16), 0x0c (int32), 0x0d (float32), 0x0e (float64); found 0x0a",
    ),
    "another format": (
        b"PK\x03\x04",
        "byte 0: an IDX file begins with two zero bytes, found 50 4b",
    ),
    "half a header": (
        header_of(0x08, 1, 1)[:9],
        "byte 9: the file ends in the middle of the lengths of 2 axes: it is cut off",
    ),
    "nothing": (
        b"",
        "byte 0: the file ends in the middle of the four bytes that an IDX file begins",
    ),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_header_claims_is_not_believed(tmp_path, case, suffix):
    content, words = HOSTILE[case]
    if case == "one too many" and suffix:
        words = "byte 10: the file ends, but the header claims 3 elements of 1 bytes, 3"
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert str(caught.value).startswith(f"a{suffix}, {words}")


def test_damaged_gzip_data(tmp_path):
    path = tmp_path / "a.gz"
    write_idx(path, np.random.default_rng(0).integers(0, 255, 500).astype(np.uint8))
    content = path.read_bytes()
    damaged = 0
    for place in (3, 30, len(content) // 2, len(content) - 6, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(DataError, match=r"^a\.gz, byte \d+: ") as caught:
            read_idx(path)
        damaged += "from here on the gzip data is damaged" in str(caught.value)
    assert damaged >= 3


def test_files_that_cannot_be_read(tmp_path):
    write_idx(tmp_path / "train-images", np.zeros(2))
    with pytest.raises(DataError, match=r"did you mean 'train-images'\?"):
        read_idx(tmp_path / "train-image")
    with pytest.raises(DataError, match="is a folder: name the file that is in it"):
        read_idx(tmp_path)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16", "uint16", "S1"])
def test_dtypes_that_have_no_code_are_refused(tmp_path, dtype):
    words = r"write_idx: the dtype is .*; an IDX file holds uint8, int8, int16, int32"
    with pytest.raises(TypeError, match=words):
        write_idx(tmp_path / "a", np.zeros(2, dtype))
    assert list(tmp_path.iterdir()) == []
