"""CSV files with typed columns."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_softmax as tg
from tinygrad_softmax.data import DataError, DataLoader, read_csv

PETS = """weight,age,kind,name,tame
4.1,3,cat,Tom,true
9.5,7,dog,Rex,True
3,1,cat,Tim,FALSE
8,2,dog,Max,false
"""


@pytest.fixture
def write(tmp_path):
    def write_file(*lines: str):
        path = tmp_path / "pets.csv"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write_file


def column(write, *cells: str, **options) -> np.ndarray:
    return read_csv(write("x,y", *(f"{cell},1" for cell in cells)), **options)["x"]


def test_types_are_found_out(write):
    pets = read_csv(write(PETS))
    assert pets.dtypes == {
        "weight": "float64",
        "age": "int64",
        "kind": "category",
        "name": "str",
        "tame": "bool",
    }
    assert pets["weight"].tolist() == [4.1, 9.5, 3.0, 8.0]
    assert pets["age"].tolist() == [3, 7, 1, 2]
    assert pets["kind"].tolist() == [0, 1, 0, 1]
    assert pets.categories == {"kind": ("cat", "dog")}
    assert pets["name"].tolist() == ["Tom", "Rex", "Tim", "Max"]
    assert pets["tame"].tolist() == [True, True, False, False]
    assert pets["age"].dtype == np.int64
    assert pets["tame"].dtype == bool
    assert (pets.shape, pets.name, list(pets)) == (
        (4, 5),
        "pets.csv",
        list(pets.keys()),
    )
    assert repr(pets) == (
        "Columns('pets.csv', 4 rows: weight float64, age int64, kind category (2), "
        "name str, tame bool)"
    )


@pytest.mark.parametrize(
    ("dtype", "expected", "result"),
    [
        (float, [1.0, 2.0], "float64"),
        ("float32", [1.0, 2.0], "float32"),
        (int, [1, 2], "int64"),
        (np.uint8, [1, 2], "uint8"),
        ("int16", [1, 2], "int16"),
        (str, ["1", "2"], "object"),
        ("str", ["1", "2"], "object"),
        ("category", [0, 1], "int64"),
    ],
)
def test_types_can_be_given(write, dtype, expected, result):
    for wanted in (dtype, {"x": dtype}):
        found = column(write, "1", "2", dtype=wanted)
        assert found.tolist() == expected
        assert found.dtype == result
    assert column(write, "1", "0", "TRUE", dtype=bool).tolist() == [True, False, True]


def test_columns_can_be_chosen_and_delimiters_found(write):
    path = write(PETS.replace(",", ";"))
    pets = read_csv(path, usecols=["kind", "age"])
    assert list(pets) == ["kind", "age"]
    assert read_csv(path, usecols=["age"], delimiter="semicolon")["age"][1] == 7
    latin = write("x,y")
    latin.write_bytes("x,y\né,1\né,2\n".encode("latin-1"))
    assert read_csv(latin, encoding="latin-1").categories["x"] == ("é",)


def test_categories_are_in_numerical_order_if_they_are_numbers(write):
    pets = read_csv(write("x", "10", "9", "10", "2"), dtype="category")
    assert pets.categories["x"] == ("2", "9", "10")
    assert pets["x"].tolist() == [2, 1, 2, 0]


def test_text_is_categories_if_it_repeats(write):
    assert read_csv(write("x", "a", "b", "a", "b")).dtypes == {"x": "category"}
    assert read_csv(write("x", "a", "b", "a", "c")).dtypes == {"x": "str"}


def test_missing_values(write):
    assert read_csv(write("x,y", "1,1", "NA,2"), missing="nan").dtypes["x"] == "float64"
    found = column(write, "1.5", "", "nan", missing="nan")
    np.testing.assert_array_equal(found, [1.5, np.nan, np.nan])
    assert np.isnan(column(write, "?", "NA", missing="nan")).all()
    assert column(write, "a", "NA", dtype=str).tolist() == ["a", "NA"]
    with pytest.raises(
        ValueError, match="missing was given as 'drop'; expected 'error'"
    ):
        column(write, "1", missing="drop")


def after(*cells: str) -> tuple[str, ...]:
    return ("1", "2", "3", "4", *cells)


BAD = {
    "missing": (after(""), {}, "line 6, column 'x': the value is missing; fill it in"),
    "how to get nan": (after("1.5", "NA"), {}, r"NA' marks .* missing='nan'"),
    "text": (after("six"), {}, "line 6, column 'x': 'six' is not a number; correct it"),
    "read it as text": (after("six"), {}, r"as text, dtype=\{'x': str\}"),
    "comma": (
        after('"6,5"'),
        {},
        "line 6, column 'x': '6,5' has a decimal comma; .* 6.5",
    ),
    "infinite": (after("inf"), {}, "'inf' is infinite or too large for a number"),
    "underscore": (after("1_000"), {}, "'1_000' is not a number"),
    "fraction": (
        after("1.5"),
        dict(dtype=int),
        "'1.5' is not a whole number; read the",
    ),
    "int is missing": (
        after("NA"),
        dict(dtype=int, missing="nan"),
        r"'NA' marks a missing value; .* \(only a column of floats can hold nan\)",
    ),
    "int is text": (after("a"), dict(dtype=int), "'a' is not a number"),
    "too large": (
        after("300"),
        dict(dtype="uint8"),
        "'300' does not fit uint8, 0 to 255",
    ),
    "negative": (after("-1"), dict(dtype="uint8"), "'-1' does not fit uint8"),
    "beyond int64": (after("9" * 5000), dict(dtype=int), "does not fit int64"),
    "beyond float32": (after("1e39"), dict(dtype="float32"), "too large for float32"),
    "no bool": (after("no"), dict(dtype=bool), "neither true nor false"),
    "bool missing": (("true", ""), {}, "line 3, column 'x': the value is missing"),
    "category missing": (
        ("a", "NA"),
        dict(dtype="category", missing="nan"),
        "line 3, column 'x': 'NA' marks a missing value",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_cell_is_named_by_line_and_column(write, case):
    cells, options, words = BAD[case]
    with pytest.raises(DataError, match=words) as caught:
        column(write, *cells, **options)
    assert str(caught.value).startswith("pets.csv, line ")


def test_numbers_that_no_int64_holds_are_floats(write):
    assert column(write, str(2**63), "1").dtype == np.float64
    assert column(write, str(2**63 - 1), str(-(2**63))).tolist() == [
        2**63 - 1,
        -(2**63),
    ]


def test_names_and_types_that_are_not_there(write):
    path = write(PETS)
    with pytest.raises(DataError, match="no column 'wieght': did you mean 'weight'"):
        read_csv(path, usecols=["wieght"])
    with pytest.raises(DataError, match="no column 'agee'"):
        read_csv(path, dtype={"agee": int})
    for dtype in (complex, "M8[s]", "number", list):
        with pytest.raises(
            TypeError, match=r"the type .* is not known; expected int, flo"
        ):
            read_csv(path, dtype=dtype)
    pets = read_csv(path)
    with pytest.raises(KeyError, match="no column 'Weight': did you mean 'weight'"):
        pets["Weight"]
    assert "Weight" not in pets


# -- to tensors --------------------------------------------------------------------


def test_a_dataset_of_features_and_target(write, device):
    with tg.use_device(device):
        pets = read_csv(write(PETS))
        dataset = pets.to_dataset(["weight", "age", "tame"], target="kind")
        ((x, y),) = DataLoader(dataset, 4)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(
        x.numpy(), np.float32([[4.1, 3, 1], [9.5, 7, 1], [3, 1, 0], [8, 2, 0]])
    )
    assert y.tolist() == [0, 1, 0, 1]
    assert y.dtype == np.int64
    assert x.device == tg.zeros(1, device=device).device


def test_other_choices_of_columns(write):
    pets = read_csv(write(PETS), usecols=["weight", "age", "tame"])
    (row,) = pets.to_dataset()[0]
    assert row.tolist() == [np.float32(4.1), 3.0, 1.0]
    x, y = pets.to_dataset("age", "weight")[:]
    assert (x.shape, y.shape, y.dtype) == ((4, 1), (4,), np.dtype("float32"))
    x, y = pets.to_dataset(target=["weight", "age"])[:]
    assert (x.shape, y.shape) == ((4, 1), (4, 2))
    assert pets.to_dataset(target="tame")[:][1].dtype == np.int64


def test_columns_that_are_no_numbers(write):
    pets = read_csv(write(PETS))
    with pytest.raises(DataError, match=r"'kind': it holds categories.* np\.eye\(2\)"):
        pets.to_dataset(["kind"])
    with pytest.raises(
        DataError, match=r"'name': it holds text.*\{'name': 'category'\}"
    ):
        pets.to_dataset(["age"], target="name")
    with pytest.raises(DataError, match="no column 'colour'; its columns: 'weight'"):
        pets.to_dataset(["colour"])
    with pytest.raises(DataError, match="needs a column of features"):
        pets.to_dataset([])


# -- what was written is read --------------------------------------------------------

COLUMNS = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
}


@given(kinds=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4),
       rows=st.integers(1, 6), data=st.data())  # fmt: skip
def test_numbers_come_back_exactly(tmp_path_factory, kinds, rows, data):
    values = [
        data.draw(st.lists(COLUMNS[kind], min_size=rows, max_size=rows))
        for kind in kinds
    ]
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"c{i}" for i in range(len(kinds))])
        writer.writerows(zip(*values, strict=True))
    given_types = {f"c{i}": kind for i, kind in enumerate(kinds)}
    for options in ({}, {"dtype": given_types}):
        table = read_csv(path, delimiter=",", **options)
        for i, kind in enumerate(kinds):
            found = table[f"c{i}"]
            assert found.dtype == kind
            assert found.tolist() == values[i]
