"""`explore` of the command line, and the page that `train` writes."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from explored import array_of, data_of

from tinygrad_softmax.cli import main
from tinygrad_softmax.data import load_digits

ROOT = Path(__file__).resolve().parent.parent
FLOWERS = """\
width,height,kind
1.0,2.0,small
1.2,1.9,small
0.9,2.2,small
1.1,2.1,small
5.0,6.0,large
5.2,6.1,large
4.9,5.8,large
5.1,6.3,large
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Commands run where they may write."""
    monkeypatch.chdir(tmp_path)
    Path("flowers.csv").write_text(FLOWERS)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def error_of(capsys, *arguments: object) -> str:
    """The one line on stderr of a command that is a mistake."""
    capsys.readouterr()
    assert run("explore", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("error: ").rstrip("\n")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A model of the digits and one of the flowers."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "flowers.csv").write_text(FLOWERS)
    quick = ["--no-figure", "--no-page", "--epochs", "4"]
    assert run("train", *quick, "--hidden", 5, "--output", folder / "digits") == 0
    data = ["--data", folder / "flowers.csv", "--target", "kind"]
    assert run("train", *quick, *data, "--output", folder / "flowers") == 0
    return folder


def label_of(data) -> int:
    node = next(node for node in data["nodes"] if node["label"] == "label")
    return int(array_of(data, node["value"])[0])


def test_explore_needs_nothing(capsys):
    """The lecture's example: dz = y-hat - y."""
    assert run("explore") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[-1] == "saved explore.html: open it in a browser"
    data = data_of("explore.html")
    assert data["title"] == "The lecture's example"
    nodes = {node["label"]: node for node in data["nodes"] if "." not in node["id"]}
    dz = array_of(data, nodes["z"]["gradient"]).ravel()
    np.testing.assert_allclose(dz, [0.3, -0.8, 0.1, 0.4], atol=1e-15)
    dw = array_of(data, nodes["W"]["gradient"])
    np.testing.assert_allclose(dw, np.outer(dz, [1, 2]), atol=1e-15)
    assert nodes["loss"]["source"][0] == "lecture.py:9"
    assert nodes["loss"]["source"][1] == "tg.softmax_cross_entropy(z, y, axis=0)"


def test_the_page_may_go_elsewhere(capsys):
    assert run("explore", "--output", "new/page.html") == 0
    assert os.listdir("new") == ["page.html"]
    assert "saved new/page.html" in capsys.readouterr().out.replace(os.sep, "/")


def test_explore_a_digit(capsys, models):
    assert run("explore", models / "digits", "--row", 2) == 0
    line = capsys.readouterr().out.splitlines()[0]
    row, digit = map(
        int, re.fullmatch(r"held-out digit (\d+), digit (\d)", line).groups()
    )
    assert load_digits().target[row] == digit
    data = data_of("explore.html")
    assert data["title"] == line
    assert label_of(data) == digit
    logits = next(node for node in data["nodes"] if node["label"] == "logits")
    assert logits["shape"] == [1, 10]
    gradient = array_of(data, logits["gradient"]).ravel()
    scores = np.exp(array_of(data, logits["value"]).ravel().astype(float))
    np.testing.assert_allclose(
        gradient, scores / scores.sum() - np.eye(10)[digit], atol=1e-6
    )


def test_explore_a_row_of_a_table(capsys, models):
    """Its class stands in the target column."""
    options = [models / "flowers" / "model.safetensors", "--data", "flowers.csv"]
    assert run("explore", *options, "--row", 5) == 0
    assert capsys.readouterr().out.splitlines()[0] == "flowers.csv, line 6, kind large"
    assert label_of(data_of("explore.html")) == 0  # large, small
    assert run("explore", *options, "--row", 5, "--label", "small") == 0
    assert label_of(data_of("explore.html")) == 1


def test_a_row_whose_class_nobody_says(capsys, models):
    Path("new.csv").write_text("height,width\n6.0,5.0\n")
    assert run("predict", models / "flowers", "--data", "new.csv") == 0
    name = capsys.readouterr().out.strip()
    assert run("explore", models / "flowers", "--data", "new.csv") == 0
    assert (
        capsys.readouterr().out.splitlines()[0] == f"new.csv, line 2, taken for {name}"
    )
    assert label_of(data_of("explore.html")) == ["large", "small"].index(name)


def test_train_writes_a_page_of_one_batch(capsys):
    assert run("train", "--epochs", 2, "--no-figure") == 0
    assert "saved trained/explore.html" in capsys.readouterr().out.replace(os.sep, "/")
    data = data_of("trained/explore.html")
    assert data["title"] == "4 rows of scikit-learn's digits"
    logits = next(node for node in data["nodes"] if node["label"] == "logits")
    assert logits["shape"] == [4, 10]
    assert Path("trained/explore.html").stat().st_size < 400_000


def test_no_page_is_asked_for():
    options = ["--no-figure", "--no-page", "--epochs", 2]
    data = ["--data", "flowers.csv", "--target", "kind"]
    assert run("train", *options, *data) == 0
    assert "explore.html" not in os.listdir("trained")


# -- mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--data", "--row", "--label", "--encoding"])
def test_what_goes_with_a_model(capsys, option):
    value = "1" if option == "--row" else "x"
    expected = (
        f"{option} goes with a MODEL, which is not given: explore MODEL {option} ..."
    )
    assert error_of(capsys, option, value) == expected


def test_a_model_that_is_not_there(capsys):
    assert "there is no model file nowhere" in error_of(capsys, "nowhere")


def test_a_row_that_is_not_there(capsys, models):
    error = error_of(capsys, models / "digits", "--row", 11)
    assert error == "--row 11: there are 10 held-out digits that the model names"
    options = [models / "flowers", "--data", "flowers.csv", "--row", 9]
    assert error_of(capsys, *options) == "--row 9: there are 8 rows of flowers.csv"
    assert "is not a whole number from 1" in error_of(capsys, "--row", 0)


def test_a_model_that_needs_a_row(capsys, models):
    error = error_of(capsys, models / "flowers")
    assert error.startswith("the model was trained on flowers.csv: give a file with")


def test_reading_options_without_a_file(capsys, models):
    error = error_of(capsys, models / "digits", "--delimiter", ";")
    assert error == "--delimiter goes with --data FILE, which is not given"


def test_a_class_that_the_model_does_not_know(capsys, models):
    error = error_of(capsys, models / "digits", "--label", "cat")
    assert error.startswith(
        "--label cat: there is no such class; the model knows '0', '1'"
    )
    Path("new.csv").write_text("height,width,kind\n6.0,5.0,huge\n")
    error = error_of(capsys, models / "flowers", "--data", "new.csv")
    assert error.startswith(
        "new.csv, line 2: the model knows no class 'huge'; give one"
    )


def test_a_value_that_cannot_be_computed_with(capsys, models):
    Path("new.csv").write_text("height,width\n1e300,-1e300\n")
    error = error_of(
        capsys, models / "flowers", "--data", "new.csv", "--label", "small"
    )
    assert error.startswith("new.csv, line 2, kind small: a value is too far from what")
    assert not Path("explore.html").exists()


def test_a_column_that_is_missing(capsys, models):
    with open("new.csv", "w", newline="") as file:
        csv.writer(file).writerows([["height"], [1.0]])
    assert "width" in error_of(capsys, models / "flowers", "--data", "new.csv")


@pytest.mark.parametrize("command", ["explore", "predict"])
def test_a_value_that_is_no_number(capsys, models, command):
    """A trained model needs the column, so there is no --drop to be told of."""
    Path("new.csv").write_text("height,width\n6.0,wide\n")
    assert run(command, models / "flowers", "--data", "new.csv") == 2
    error = capsys.readouterr().err.strip()
    place = "new.csv, line 2, column 'width'"
    assert error == f"error: {place}: 'wide' is not a number; correct it"


def test_a_page_that_cannot_be_written(capsys, tmp_path):
    error = error_of(capsys, "--output", tmp_path)
    assert error == f"cannot write {tmp_path} (is a folder)"


def test_help_says_where_to_begin(capsys):
    with pytest.raises(SystemExit):
        run("explore", "--help")
    text = capsys.readouterr().out
    assert "explore trained/model.safetensors --data new.csv --row 7" in text
    assert "Open the file that it writes in a browser" in text
    with pytest.raises(SystemExit):
        run("--help")
    assert "explore" in capsys.readouterr().out


def test_an_unknown_command_names_all_three(capsys):
    assert run("explor") == 2
    error = capsys.readouterr().err
    assert "did you mean explore?" in error
    assert "(the commands are train, predict and explore)" in error


def test_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_softmax", "explore"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert Path("explore.html").stat().st_size <= 150_000
