"""CSV files as people have them, the digits, the split and the scaling."""

from __future__ import annotations

import csv
import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import preprocessing

from tinygrad_softmax.data import (
    DataError,
    StandardScaler,
    feature_matrix,
    labelled_rows,
    load_digits,
    read_table,
    stratified_split,
)

PETS = "weight,height,kind\n4.1,25,cat\n9.5,40,dog\n3.9,24,cat\n8.7,41,dog\n"


@pytest.fixture
def write(tmp_path):
    """Write text or bytes to pets.csv and return its path."""

    def write_file(content: str | bytes, encoding: str = "utf-8"):
        path = tmp_path / "pets.csv"
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode(encoding)
        )
        return path

    return write_file


def message(excinfo: pytest.ExceptionInfo[DataError]) -> str:
    return str(excinfo.value)


# -- what is read ----------------------------------------------------------------


def test_a_table_becomes_features_and_classes(write):
    rows = labelled_rows(read_table(write(PETS)), "kind")
    np.testing.assert_array_equal(
        rows.features, [[4.1, 25], [9.5, 40], [3.9, 24], [8.7, 41]]
    )
    assert rows.features.dtype == np.float64
    assert rows.class_names == ("cat", "dog")
    assert rows.target.tolist() == [0, 1, 0, 1]
    assert rows.target.dtype == np.int64
    assert rows.feature_names == ("weight", "height")
    assert rows.target_name == "kind"


@pytest.mark.parametrize(
    ("encoding", "used", "guessed"),
    [
        ("utf-8", "utf-8", False),
        ("utf-8-sig", "utf-8-sig", False),
        ("utf-16", "utf-16", False),
        ("utf-32", "utf-32", False),
        ("cp1252", "cp1252", True),
    ],
)
def test_common_encodings_are_recognised(write, encoding, used, guessed):
    path = write(PETS.replace("cat", "Kätzchen").replace("weight", "größe"), encoding)
    table = read_table(path)
    assert table.columns == ("größe", "height", "kind")
    assert table.rows[0] == ["4.1", "25", "Kätzchen"]
    assert (table.encoding, table.guessed) == (used, guessed)


@pytest.mark.parametrize("order", ["le", "be"])
def test_both_byte_orders_of_utf16(write, order):
    mark = {"le": b"\xff\xfe", "be": b"\xfe\xff"}[order]
    path = write(mark + PETS.encode(f"utf-16-{order}"))
    assert read_table(path).columns == ("weight", "height", "kind")


def test_chinese_windows_files_are_recognised(write):
    text = PETS.replace("cat", "猫").replace("dog", "小狗").replace("kind", "种类")
    table = read_table(write(text, "gb18030"))
    assert table.columns[2] == "种类"
    assert {cells[2] for cells in table.rows} == {"猫", "小狗"}
    assert table.guessed


def test_bytes_that_cp1252_lacks_are_still_read(write):
    table = read_table(write(b"a,kind\n1,\x81x\n2,y\n"))
    assert table.rows[0][1] == "\x81x"
    assert table.encoding == "latin-1"


def test_a_given_encoding_is_used(write):
    text = PETS.replace("cat", "кот")
    assert read_table(write(text, "cp1251"), encoding="cp1251").rows[0][2] == "кот"
    marked = write(PETS, "utf-8-sig")
    assert read_table(marked, encoding="utf-8").columns[0] == "weight"


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_delimiters_are_found(write, mark):
    table = read_table(write(PETS.replace(",", mark)))
    assert table.delimiter == mark
    assert table.columns == ("weight", "height", "kind")


def test_a_header_with_commas_does_not_hide_the_semicolons(write):
    text = "length, cm;width, cm;kind\n1;2;a\n3;4;b\n"
    assert read_table(write(text)).columns == ("length, cm", "width, cm", "kind")


def test_more_commas_than_semicolons_in_the_header_do_not_either(write):
    text = "size, in m, cm or mm;kind\n1;a\n3;b\n"
    assert read_table(write(text)).columns == ("size, in m, cm or mm", "kind")


@pytest.mark.parametrize("word", ["semicolon", ";"])
def test_a_delimiter_can_be_named(write, word):
    table = read_table(write(PETS.replace(",", ";")), delimiter=word)
    assert table.columns == ("weight", "height", "kind")


def test_runs_of_blanks_separate_values_on_request(write):
    text = "a   b kind\n1.5  2  x\n 3    4  y \n"
    table = read_table(write(text), delimiter="space")
    assert table.rows == [["1.5", "2", "x"], ["3", "4", "y"]]


def test_blanks_around_values_and_quotes_are_no_part_of_them(write):
    text = 'a, "b, c" ,kind\n 1 , 2 ,"x"\n 3 , 4 , y\n'.replace('" ,', '",')
    table = read_table(write(text))
    assert table.columns == ("a", "b, c", "kind")
    assert table.rows == [["1", "2", "x"], ["3", "4", "y"]]


def test_line_numbers_are_those_of_an_editor(write):
    text = 'a,kind\n\n1,"two\nlines"\n\n\n2,b\n'
    table = read_table(write(text))
    assert table.lines == [3, 7]
    assert table.rows[0][1] == "two\nlines"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_endings_of_three_systems(write, newline):
    table = read_table(write(PETS.replace("\n", newline)))
    assert table.lines == [2, 3, 4, 5]
    assert table.columns == ("weight", "height", "kind")


def test_a_file_without_a_last_newline(write):
    assert len(read_table(write(PETS.rstrip())).rows) == 4


cells = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
    | st.sampled_from('",;\n'),
    min_size=1,
    max_size=6,
).filter(lambda text: text == text.strip())


@given(
    data=st.data(),
    width=st.integers(2, 5),
    height=st.integers(1, 6),
    mark=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_the_csv_module_wrote_is_read_back(
    tmp_path_factory, data, width, height, mark, encoding
):
    header = [f"column {i}" for i in range(width)]
    row = st.lists(cells, min_size=width, max_size=width)
    rows = data.draw(st.lists(row, min_size=height, max_size=height))
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=mark, quoting=csv.QUOTE_ALL, lineterminator="\n"
    )
    expected_lines = []
    for cells_of_row in [header, *rows]:
        expected_lines.append(text.getvalue().count("\n") + 1)
        writer.writerow(cells_of_row)
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    table = read_table(path, delimiter=mark)
    assert table.columns == tuple(header)
    assert table.rows == rows
    assert table.lines == expected_lines[1:]


def test_whole_numbers_sort_as_numbers_and_text_as_text(write):
    lines = "".join(f"{i},{label}\n" for i, label in enumerate([10, 9, 2] * 2))
    assert labelled_rows(read_table(write("x,y\n" + lines)), "y").class_names == (
        "2",
        "9",
        "10",
    )
    lines = "".join(f"{i},{label}\n" for i, label in enumerate(["b", "10", "2"] * 2))
    assert labelled_rows(read_table(write("x,y\n" + lines)), "y").class_names == (
        "10",
        "2",
        "b",
    )


def test_columns_are_found_by_name(write):
    table = read_table(write("kind,extra,height,weight\ncat,text,25,4.1\n"))
    np.testing.assert_array_equal(
        feature_matrix(table, ["weight", "height"]), [[4.1, 25.0]]
    )


def test_dropped_columns_may_hold_anything(write):
    text = "name,weight,kind\nTom,4,cat\nRex,9,dog\nTim,4.5,cat\nMax,8,dog\n"
    rows = labelled_rows(read_table(write(text)), "kind", drop=["name"])
    assert rows.feature_names == ("weight",)


# -- what is refused, and in which words -----------------------------------------

REFUSED = {
    "no bytes": ("", "pets.csv is empty"),
    "blank lines": ("\n  \n\n", "pets.csv is empty"),
    "only a mark": ("\ufeff", "pets.csv is empty"),
    "only a header": ("a,b\n", "holds a header and no rows"),
    "a nameless column": (",a,kind\n0,1,x\n", "line 1: column 1 has no name"),
    "a name twice": (
        "a,b,a\n1,2,3\n",
        "line 1: the name 'a' is given to columns 1 and 3",
    ),
    "too few values": ("a,b,c\n1,2,3\n1,2\n", "line 3: there are 2 values where"),
    "too many values": ("a,b\n1,2\n1,2,3\n", "line 3: there are 3 values where"),
    "an open quote": ('a,b\n1,2\n1,"2\n3,4\n', "line 3: a quotation mark is opened"),
    "a line of commas": ("a,b\n1,2\n,\n", "line 3: the line holds no values"),
    "an Excel file": (b"PK\x03\x04rest", "is an Excel workbook or a zip archive"),
    "a gzip file": (b"\x1f\x8b\x08", "is a gzip archive"),
    "bytes": (b"a,b\n\x00\x01", "is not a text file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_table_is_refused(write, case):
    content, words = REFUSED[case]
    with pytest.raises(DataError) as excinfo:
        read_table(write(content))
    assert words in message(excinfo)


def test_a_missing_file_names_the_nearest(write, tmp_path):
    write(PETS)
    with pytest.raises(DataError, match=r"did you mean 'pets\.csv'\?"):
        read_table(tmp_path / "pest.csv")
    with pytest.raises(DataError, match="there is no file"):
        read_table(tmp_path / "nowhere" / "x.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


def test_a_wrong_encoding_names_the_line(write):
    path = write("a,kind\n1,x\n2,é\n", "latin-1")
    with pytest.raises(DataError, match=r"pets\.csv, line 3: the bytes are not utf-8"):
        read_table(path, encoding="utf-8")
    with pytest.raises(DataError, match="there is no encoding 'utf8000'"):
        read_table(path, encoding="utf8000")


@pytest.mark.parametrize("mark", ["", "ab", '"', "\n"])
def test_a_delimiter_is_one_character(write, mark):
    with pytest.raises(DataError, match="is not one character"):
        read_table(write(PETS), delimiter=mark)


def after_good_rows(*lines: str) -> str:
    """A header and four good rows on lines 1 to 5, then `lines`."""
    return "\n".join(["x,z,kind", "1,2,a", "3,4,b", "5,6,a", "7,8,b", *lines]) + "\n"


CELLS = {
    "missing": ("5,,a", "line 6, column 'z': the value is missing"),
    "NA": ("5,NA,a", "line 6, column 'z': 'NA' marks a missing value"),
    "nan": ("5,nan,a", "line 6, column 'z': 'nan' marks a missing value"),
    "inf": ("-inf,1,a", "line 6, column 'x': '-inf' is infinite"),
    "overflow": ("1e999,1,a", "line 6, column 'x': '1e999' is infinite or too large"),
    "text": ("5,six,a", "line 6, column 'z': 'six' is not a number"),
    "comma": ('5,"6,5",a', "line 6, column 'z': '6,5' has a decimal comma"),
    "underscore": ("5,1_000,a", "line 6, column 'z': '1_000' is not a number"),
    "no class": ("5,6,", "line 6, column 'kind': no class"),
    "NA class": ("5,6,NA", "line 6, column 'kind': 'NA' marks a missing class"),
    "lone class": ("5,6,c", "line 6, column 'kind': 'c' is the only row of its class"),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_bad_cell_is_named_by_line_and_column(write, case):
    cell, words = CELLS[case]
    table = read_table(write(after_good_rows(cell)))
    with pytest.raises(DataError) as excinfo:
        labelled_rows(table, "kind")
    assert words in message(excinfo)
    assert message(excinfo).startswith("pets.csv, ")


def test_the_first_bad_cell_is_named_below_a_value_of_several_lines(write):
    text = 'x,note,kind\n1,"a\nb\nc",u\n2,d,v\n\nthree,e,u\n4,f,v\n'
    table = read_table(write(text))
    with pytest.raises(DataError, match="line 7, column 'x': 'three'"):
        labelled_rows(table, "kind", drop=["note"])


def test_several_lines_with_missing_values_are_counted(write):
    table = read_table(write(after_good_rows(",6,a", "7,?,b")))
    with pytest.raises(DataError, match=r"line 6, .*\(one of 2 such lines\)"):
        labelled_rows(table, "kind")


def test_a_column_of_text_can_be_dropped(write):
    text = "pet name,weight,kind\nTom,4,cat\nRex,9,dog\nTim,4.5,cat\nMax,8,dog\n"
    with pytest.raises(DataError, match=r'line 2.*holds text.*--drop "pet name"'):
        labelled_rows(read_table(write(text)), "kind")


TARGETS = {
    "one class": ("x,y\n1,a\n2,a\n", "y", "every row is 'a'"),
    "measurement": (
        "x,y\n" + "".join(f"{i},{i / 7:.3f}\n" for i in range(60)),
        "y",
        "so this is a measurement and not a class",
    ),
    "names": (
        "x,y\n" + "".join(f"{i},name{i}\n" for i in range(30)),
        "y",
        "30 different values in 30 rows",
    ),
    "misspelt": ("width,species\n1,a\n2,b\n", "speces", "did you mean 'species'?"),
    "other case": ("width,Species\n1,a\n2,b\n", "species", "did you mean 'Species'?"),
    "far off": (
        "width,species\n1,a\n2,b\n",
        "zzz",
        "; its columns: 'width', 'species'",
    ),
    "no header": ("1,2\n3,4\n5,6\n", "kind", "its first line must name the columns"),
    "nothing else": ("y\na\nb\na\nb\n", "y", "no column to learn from"),
    "constant": ("x,y\n1,a\n1,b\n1,a\n1,b\n", "y", "holds the same value in all rows"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_that_is_no_target_is_refused(write, case):
    content, target, words = TARGETS[case]
    table = read_table(write(content))
    with pytest.raises(DataError) as excinfo:
        labelled_rows(table, target)
    assert words in message(excinfo)


def test_a_wrong_delimiter_is_recognised_by_the_header(write):
    table = read_table(write(PETS), delimiter=";")
    with pytest.raises(DataError, match="a comma occurs in it"):
        labelled_rows(table, "kind")


def test_numbers_as_column_names_are_allowed(write):
    table = read_table(write("0,1,2\n5,6,0\n7,8,1\n5,5,0\n7,7,1\n"))
    assert labelled_rows(table, "2").feature_names == ("0", "1")


def test_missing_columns_are_named(write):
    table = read_table(write(PETS))
    with pytest.raises(DataError, match=r"no column 'wieght'.*did you mean 'weight'"):
        feature_matrix(table, ["wieght", "height"])
    with pytest.raises(DataError, match=r"'length' \(and 1 more are missing\)"):
        feature_matrix(table, ["length", "breadth", "height"])


def test_a_dropped_column_must_be_there_and_not_the_target(write):
    table = read_table(write(PETS))
    with pytest.raises(DataError, match="no column 'colour'"):
        labelled_rows(table, "kind", drop=["colour"])
    with pytest.raises(DataError, match="is the target"):
        labelled_rows(table, "kind", drop=["kind"])


# -- digits ----------------------------------------------------------------------


def test_digits_are_the_ones_of_scikit_learn():
    rows = load_digits()
    assert rows.features.shape == (1797, 64)
    assert rows.features.min() == 0
    assert rows.features.max() == 16
    assert rows.class_names == tuple("0123456789")
    # The counts that the data set's own description gives for this part.
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(rows.target).tolist() == counts
    assert len(set(rows.feature_names)) == 64


def test_importing_data_imports_nothing_optional():
    code = (
        "import sys, tinygrad_softmax.data;"
        "bad = {'sklearn', 'scipy', 'pandas', 'rich', 'matplotlib', 'safetensors'};"
        "sys.exit(', '.join(bad & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- splitting -------------------------------------------------------------------


@given(
    counts=st.lists(st.integers(2, 60), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_split_takes_its_share_of_each_class(counts, fraction, seed):
    target = np.repeat(np.arange(len(counts)), counts)
    train, test = stratified_split(target, test_size=fraction, seed=seed)
    assert sorted([*train, *test]) == list(range(len(target)))
    for label, count in enumerate(counts):
        held = int((target[test] == label).sum())
        assert 1 <= held <= count - 1
        assert abs(held - count * fraction) <= 1
    if min(counts) * min(fraction, 1 - fraction) >= 1:  # no class is at its limit
        assert abs(len(test) - len(target) * fraction) <= 0.5


def test_the_split_is_shuffled_and_follows_its_seed():
    target = np.repeat([0, 1], 50)
    first, again, other = (stratified_split(target, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert len(set(np.diff(target[first[0]]))) == 3  # classes interleave


def test_the_split_refuses_what_it_cannot_split():
    with pytest.raises(ValueError, match="class 7 has a single row"):
        stratified_split(np.array([1, 1, 7]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        stratified_split(np.array([1, 1]), test_size=1.0)


# -- scaling ---------------------------------------------------------------------


def test_scaling_agrees_with_scikit_learn():
    features = np.random.default_rng(0).normal(3.0, 20.0, (40, 5))
    other = np.random.default_rng(1).normal(3.0, 20.0, (7, 5))
    features[:, 2] = 0.1
    ours = StandardScaler.fit(features)
    theirs = preprocessing.StandardScaler().fit(features)
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-12)
    np.testing.assert_allclose(
        ours.transform(other), theirs.transform(other), rtol=1e-6, atol=1e-6
    )
    assert ours.transform(other).dtype == np.float32


def test_a_constant_column_becomes_zero():
    features = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 4.0]])
    scaler = StandardScaler.fit(features)
    assert scaler.scale[0] == 1.0
    assert (scaler.transform(features)[:, 0] == 0).all()


def test_rounding_alone_makes_no_column_vary():
    features = np.array([[1e9], [np.nextafter(1e9, 2e9)], [1e9]])
    scaler = StandardScaler.fit(features)
    assert scaler.scale[0] == 1.0
    np.testing.assert_allclose(scaler.transform(features), 0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_scaling_neither_overflows_nor_vanishes(size):
    features = np.array([[1.0], [2.0], [3.0]]) * size
    scaled = StandardScaler.fit(features).transform(features)
    np.testing.assert_allclose(scaled[:, 0], [-(1.5**0.5), 0.0, 1.5**0.5], rtol=1e-6)


def test_scaling_needs_rows():
    with pytest.raises(ValueError, match=r"got shape \(0, 3\)"):
        StandardScaler.fit(np.empty((0, 3)))
