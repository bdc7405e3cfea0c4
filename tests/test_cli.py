"""The command line as a newcomer meets it, mistakes included."""

from __future__ import annotations

import contextlib
import csv
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors
from matplotlib import image
from sklearn.datasets import load_iris

import tinygrad_softmax as tg
from tinygrad_softmax.cli import main
from tinygrad_softmax.data import load_digits

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "tinygrad_softmax"]
QUICK = ["--epochs", "2", "--no-figure", "--no-page"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Commands run where they may write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def iris() -> Path:
    """The iris flowers as people have them: names, text classes, an extra column."""
    bunch = load_iris()
    with open("iris.csv", "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "sepal length", "sepal width", "petal length"])
        file.seek(file.tell() - 2)
        file.write(",petal width,species\r\n")
        for number, (row, kind) in enumerate(
            zip(bunch.data, bunch.target, strict=True)
        ):
            writer.writerow([f"flower {number}", *row, bunch.target_names[kind]])
    return Path("iris.csv")


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def train(*arguments: object) -> int:
    return run("train", *QUICK, *arguments)


def error_of(capsys, *arguments: object) -> str:
    """The one line on stderr of a command that is a mistake."""
    capsys.readouterr()
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


# -- train -----------------------------------------------------------------------


def test_train_needs_no_options(capsys):
    assert run("train") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"^test accuracy 0\.9[5-9]\d$", out, re.MULTILINE)
    assert "1348 rows to train on, 449 held out" in out
    found = sorted(os.listdir("trained"))
    expected = ["checkpoint.safetensors", "explore.html", "model.safetensors"]
    assert found == [*expected, "training.png"]
    assert image.imread("trained/training.png").shape[2] == 4


def test_the_report_is_true(capsys):
    train("--hidden", 6, 5, "--seed", 3, "--output", "here")
    out = capsys.readouterr().out
    assert "network 64-6-5-10 on cpu" in out
    found = sorted(os.listdir("here"))
    assert found == ["checkpoint.safetensors", "model.safetensors"]
    run("predict", "here", "--data", _digits_csv())
    labels = np.array(capsys.readouterr().out.split(), dtype=int)
    from tinygrad_softmax.data import stratified_split

    digits = load_digits()
    parts = dict(zip(("train", "test"), stratified_split(digits.target, seed=3)))
    for part, rows in parts.items():
        accuracy = (labels[rows] == digits.target[rows]).mean()
        assert f"{part} accuracy {accuracy:.3f}\n" in out


def _digits_csv() -> str:
    digits = load_digits()
    with open("digits.csv", "w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(digits.feature_names)
        writer.writerows(digits.features)
    return "digits.csv"


def test_train_on_a_table(capsys, iris):
    options = ["--data", iris, "--target", "species", "--drop", "row"]
    assert run("train", *options, "--seed", 1) == 0
    out = capsys.readouterr().out
    assert "iris.csv: 150 rows, 4 columns, 3 classes" in out
    assert float(re.search(r"test accuracy (\S+)", out)[1]) >= 0.9


def test_every_option_of_training_has_its_effect(capsys):
    def result(*options):
        run("train", "--no-figure", "--epochs", 1, *options)
        return re.search(r"train loss \S+", capsys.readouterr().out)[0]

    plain = result()
    assert plain == result()
    for options in (
        ["--seed", 1],
        ["--lr", 0.01],
        ["--batch-size", 64],
        ["--weight-decay", 0.5],
        ["--epochs", 2],
        ["--hidden", 8],
    ):
        assert result(*options) != plain, options


# -- predict ---------------------------------------------------------------------


def test_predict_shows_digits_that_were_held_out(capsys):
    train("--seed", 2)
    capsys.readouterr()
    assert run("predict", "trained/model.safetensors") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["held-out", "row", "digit", "predicted", "probability"]
    from tinygrad_softmax.data import stratified_split

    digits = load_digits()
    held_out = set(stratified_split(digits.target, seed=2)[1].tolist())
    assert len(lines) == 10
    for line in lines:
        row, digit, _, probability = line.split()
        assert int(row) in held_out
        assert digits.target[int(row)] == int(digit)
        assert 0 <= float(probability) <= 1


def test_predict_labels_rows_by_column_names(capsys, iris):
    run("train", "--no-figure", "--data", iris, "--target", "species", "--drop", "row")
    Path("new.csv").write_text(
        "petal width\tnote\tpetal length\tsepal width\tsepal length\n"
        "0.2\tshort\t1.4\t3.5\t5.1\n"
        "2.3\tlong\t5.9\t3.0\t6.8\n"
    )
    capsys.readouterr()
    assert run("predict", "trained", "--data", "new.csv") == 0
    assert capsys.readouterr().out == "setosa\nvirginica\n"
    assert run("predict", "trained", "--data", "new.csv", "--proba") == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == ["species", "setosa", "versicolor", "virginica"]
    assert [row[0] for row in rows[1:]] == ["setosa", "virginica"]
    for label, *probabilities in rows[1:]:
        values = [float(value) for value in probabilities]
        assert sum(values) == pytest.approx(1, abs=1e-5)
        assert rows[0][1 + int(np.argmax(values))] == label


def test_labels_stay_on_one_line_and_csv_keeps_them(capsys):
    text = 'x,y\n1,"a\nb"\n2,"c, d"\n1.1,"a\nb"\n2.1,"c, d"\n'
    Path("t.csv").write_text(text)
    run("train", "--no-figure", "--data", "t.csv", "--target", "y")
    Path("new.csv").write_text("x\n1\n2\n")
    capsys.readouterr()
    run("predict", "trained", "--data", "new.csv")
    assert capsys.readouterr().out == "a b\nc, d\n"
    run("predict", "trained", "--data", "new.csv", "--proba")
    out = capsys.readouterr().out
    rows = list(csv.reader(out.splitlines(keepends=True)))
    assert rows[0] == ["y", "a\nb", "c, d"]
    assert [row[0] for row in rows[1:]] == ["a\nb", "c, d"]


# -- mistakes --------------------------------------------------------------------

MISTAKES = {
    "no command": ([], "no command is given: begin with"),
    "a misspelt command": (["trian"], "did you mean train?"),
    "a misspelt option": (["train", "--epoch", "3"], "did you mean --epochs?"),
    "its first letter": (["explore", "-o", "x"], "-o: did you mean --output?"),
    "a letter of no option": (["train", "-z"], "there is no option -z ("),
    "with its value": (["train", "--batchsize=3"], "did you mean --batch-size?"),
    "an unknown option": (["train", "--zzz"], "there is no option --zzz ("),
    "an option first": (["--seed", "1", "train"], "the command comes first"),
    "one argument too many": (["train", "digits"], "'digits' is one too many"),
    "no epochs": (["train", "--epochs", "0"], "'0' is not a whole number from 1 on"),
    "half an epoch": (["train", "--epochs", "1.5"], "'1.5' is not a whole number"),
    "no units": (["train", "--hidden", "4", "0"], "'0' is not a whole number from 1"),
    "a negative seed": (["train", "--seed", "-1"], "'-1' is not a whole number from 0"),
    "a rate of 0": (["train", "--lr", "0"], "'0' is not a number above 0"),
    "no rate": (["train", "--lr", "nan"], "'nan' is not a number from 0 on"),
    "an endless rate": (["train", "--lr", "inf"], "'inf' is not a number from 0 on"),
    "a device": (["train", "--device", "gpu"], "device 'gpu' is not known"),
    "a target alone": (["train", "--target", "x"], "--target goes with --data FILE"),
    "a drop alone": (["train", "--drop", "x"], "--drop goes with --data FILE"),
    "a delimiter alone": (
        ["train", "--delimiter", ";"],
        "--delimiter goes with --data",
    ),
    "no file": (
        ["train", "--data", "no.csv", "--target", "x"],
        "there is no file no.csv",
    ),
    "no model": (["predict"], "required: MODEL"),
    "no such model": (["predict", "none"], "there is no model file none"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(capsys, name):
    arguments, words = MISTAKES[name]
    assert words in error_of(capsys, *arguments)
    assert os.listdir() == []


def test_mistakes_about_a_table(capsys, iris):
    data = ["train", "--no-figure", "--data", iris]
    error = error_of(capsys, *data)
    assert "--target is not given: which column of iris.csv" in error
    assert "'species'" in error
    error = error_of(capsys, *data, "--target", "specie")
    assert "did you mean 'species'?" in error
    error = error_of(capsys, *data, "--target", "species")
    assert "iris.csv, line 2, column 'row': the column holds text" in error
    assert "--drop row" in error
    error = error_of(capsys, *data, "--target", "species", "--delimiter", "tab")
    assert "a comma occurs in it" in error
    error = error_of(capsys, *data, "--target", "petal length", "--drop", "row")
    assert "is a measurement and not a class" in error
    assert not Path("trained").exists()


def test_mistakes_about_a_model(capsys, iris):
    assert "is not a model file" in error_of(capsys, "predict", iris)
    run("train", *QUICK, "--data", iris, "--target", "species", "--drop", "row")
    assert "trained on iris.csv: give the rows" in error_of(
        capsys, "predict", "trained"
    )
    Path("new.csv").write_text("sepal length,sepal width,petal length\n1,2,3\n")
    error = error_of(capsys, "predict", "trained", "--data", "new.csv")
    assert "new.csv has no column 'petal width'" in error
    Path("new.csv").write_text(
        "sepal length,sepal width,petal length,petal width\n1,2,3,4\n1,2,1e300,4\n"
    )
    error = error_of(capsys, "predict", "trained", "--data", "new.csv")
    assert "new.csv, line 3: a value is too far from what the model" in error


def test_an_output_that_cannot_be(capsys):
    Path("file").write_text("")
    assert "--output file is a file" in error_of(capsys, "train", "--output", "file")
    inside = os.path.join("file", "inside")
    assert "is a file" in error_of(capsys, "train", "--output", inside)


def test_a_loss_that_is_lost(capsys):
    error = error_of(capsys, "train", *QUICK, "--lr", "1e38")
    assert "lower the learning rate with --lr" in error
    assert os.listdir("trained") == []


@pytest.mark.parametrize(
    ("module", "needs", "arguments"),
    [
        ("sklearn", "scikit-learn", ["train"]),
        ("matplotlib", "matplotlib", ["train"]),
        ("safetensors", "safetensors", ["train"]),
        ("safetensors", "safetensors", ["predict", "model"]),
    ],
)
def test_a_missing_library_is_named(capsys, monkeypatch, module, needs, arguments):
    for name in [module, *(n for n in sys.modules if n.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    error = error_of(capsys, *arguments)
    assert f"the library {needs}, which is not installed" in error
    assert 'pip install "tinygrad-softmax[demo]"' in error


def test_a_table_needs_neither_scikit_learn_nor_matplotlib(capsys, monkeypatch, iris):
    for name in list(sys.modules):
        if name.partition(".")[0] in ("sklearn", "matplotlib", "rich"):
            monkeypatch.setitem(sys.modules, name, None)
    options = ["--data", iris, "--target", "species", "--drop", "row"]
    assert train(*options) == 0


def test_a_guessed_encoding_is_told(capsys):
    Path("t.csv").write_bytes("x,y\n1,é\n2,b\n1,é\n2,b\n".encode("cp1252"))
    assert train("--data", "t.csv", "--target", "y") == 0
    note = capsys.readouterr().err
    assert note.startswith("note: t.csv is not UTF-8 and was read as cp1252")
    assert train("--data", "t.csv", "--target", "y", "--encoding", "cp1252") == 0
    assert capsys.readouterr().err == ""


def test_help_and_version(capsys):
    for arguments in (["--help"], ["train", "--help"], ["predict", "--help"]):
        with pytest.raises(SystemExit) as end:
            run(*arguments)
        assert end.value.code == 0
        out, err = capsys.readouterr()
        assert "usage:" in out
        assert err == ""
    with pytest.raises(SystemExit):
        run("--version")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


# -- as a process ----------------------------------------------------------------


def test_a_pipe_that_closes_is_no_error():
    train()
    _digits_csv()
    process = subprocess.Popen(
        [*COMMAND, "predict", "trained", "--data", "digits.csv", "--proba"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline().startswith(b"digit,0,1")
    process.stdout.close()  # as `head -1` does: more than a pipe holds is unread
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_a_closed_stdout_is_no_error():
    command = " ".join(COMMAND) + " train --epochs 1 --no-figure --no-page >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = sorted(os.listdir("trained"))
    assert found == ["checkpoint.safetensors", "model.safetensors"]


def test_a_full_disk_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "train", *QUICK], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "error: cannot write the output (No space left on device)\n"


def test_ctrl_c_saves_and_resume_goes_on():
    """To the bit what a run gives that was not interrupted."""
    options = ["--epochs", "400", "--hidden", "16", "--no-figure"]
    process = subprocess.Popen(
        [*COMMAND, "train", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The folder is made just before training begins.
    while process.poll() is None and not Path("trained").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    checkpoint = Path("trained", "checkpoint.safetensors")
    assert (out, process.returncode) == ("", 130)
    assert err == (
        f"saved {checkpoint}: the same command with --resume goes on\ninterrupted\n"
    )
    assert os.listdir("trained") == [checkpoint.name]
    assert 0 <= tg.load(checkpoint)["epoch"] < 400

    options[1] = str(tg.load(checkpoint)["epoch"] + 2)
    assert run("train", *options, "--resume") == 0
    assert run("train", *options, "--output", "whole") == 0
    for name in ("model", "checkpoint"):
        resumed, whole = (
            contents(Path(folder, f"{name}.safetensors"))
            for folder in ("trained", "whole")
        )
        assert resumed == whole


def contents(path: Path) -> tuple[dict, dict]:
    """The bytes of every tensor, and the metadata: its order in the file is chance."""
    with safetensors.safe_open(path, "numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return {key: t.tobytes() for key, t in tensors.items()}, file.metadata()


def test_resume_needs_the_same_run(capsys):
    assert run("train", *QUICK, "--resume") == 2
    assert "there is no trained" in capsys.readouterr().err
    assert train() == 0
    assert train("--resume") == 0
    assert train("--resume", "--lr", "0.1") == 2
    message = "lr was 0.005 and is 0.1; give the same, or leave out --resume"
    assert message in capsys.readouterr().err
    Path("trained", "checkpoint.safetensors").write_bytes(b"not one")
    assert train("--resume") == 2
    assert "checkpoint.safetensors" in capsys.readouterr().err


def test_tensorboard_is_told():
    assert train("--log-dir", "runs") == 0
    assert len(os.listdir("runs")) == 1
    more = ["train", "--epochs", "3", "--no-figure", "--resume"]
    assert run(*more) == 0  # it may come and go
    more[2] = "4"
    assert run(*more, "--log-dir", "runs") == 0


def read_until_closed(terminal: int, seen: bytearray) -> None:
    with contextlib.suppress(OSError):  # the other end is gone
        while part := os.read(terminal, 65536):
            seen += part


def test_a_terminal_sees_a_progress_bar():
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "train", "--epochs", "30", "--no-figure"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    seen = bytearray()
    reader = threading.Thread(target=read_until_closed, args=(ours, seen))
    reader.start()
    out = process.communicate()[0]
    reader.join()
    os.close(ours)
    assert process.returncode == 0
    assert b"epoch" in seen
    assert b"held-out loss" in seen
    assert "epoch" not in out
    assert "test accuracy" in out


def test_an_ascii_terminal_is_no_reason_to_fail():
    Path("t.csv").write_text("x,y\n1,猫\n2,狗\n1,猫\n2,狗\n", encoding="utf-8")
    train("--data", "t.csv", "--target", "y")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*COMMAND, "predict", "trained", "--data", "t.csv"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "\\u732b"


def test_help_imports_no_optional_library():
    code = (
        "import sys\n"
        "from tinygrad_softmax.cli import main\n"
        "try:\n    main(['train', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "bad = {'sklearn', 'scipy', 'rich', 'matplotlib', 'safetensors'}\n"
        "sys.exit(', '.join(bad & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
