"""The scripts that begin from nothing: what they say where they cannot."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FROM_NOTHING = ["demo", "test", "_environment.py", "_package.py"]
OLD, NEW = ((3, 9, 18), True), ((3, 13, 0), True)
WITHOUT_VENV = ((3, 12, 1), False)


@pytest.fixture
def environment(monkeypatch):
    """scripts/_environment.py, imported anew, with no __pycache__ left beside it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = ROOT / "scripts" / "_environment.py"
    spec = importlib.util.spec_from_file_location("_environment", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def pythons(environment, monkeypatch):
    """Pretend that the Python running is one thing and that PATH has others."""

    def pretend(running, **on_path):
        answers = {sys.executable: running, **on_path}
        monkeypatch.setattr(environment, "_ask", lambda path: answers[path])
        monkeypatch.setattr(
            environment.shutil, "which", lambda name: name if name in on_path else None
        )

    return pretend


@pytest.mark.parametrize("name", FROM_NOTHING)
def test_an_old_python_can_read_the_scripts(name):
    """Or it would end in a SyntaxError before it could say that it is too old."""
    source = (ROOT / "scripts" / name).read_text("utf-8")
    ast.parse(source, feature_version=(3, 6))


def test_the_running_python_is_taken_if_it_will_do(environment, pythons):
    pythons(((3, 11, 0), True), **{"python3.13": NEW})
    assert environment.find_python() == sys.executable


@pytest.mark.parametrize("running", [OLD, WITHOUT_VENV, (None, False)])
def test_else_a_newer_one_on_the_path(environment, pythons, running):
    pythons(running, **{"python3.13": NEW, "python3.12": WITHOUT_VENV})
    assert environment.find_python() == "python3.13"


def test_only_an_old_python(environment, pythons):
    pythons(OLD)
    said = re.escape("needs Python 3.11 or later, and found only Python 3.9.18 (")
    with pytest.raises(environment.ScriptError, match=said):
        environment.find_python()


def test_a_python_without_venv(environment, pythons):
    pythons(OLD, **{"python3.12": WITHOUT_VENV})
    said = r"python3.12 is Python 3.12.1, .* apt-get install python3.12-venv"
    with pytest.raises(environment.ScriptError, match=said):
        environment.find_python()


def test_a_python_that_does_not_run(environment):
    assert environment._ask("/nonexistent/python3") == (None, False)


def test_a_warning_is_not_a_failure(environment, capfd):
    """pip warns on stderr about many things and exits 0."""
    code = "import sys; print('WARNING: old pip', file=sys.stderr); print('done')"
    printed = environment.quietly([sys.executable, "-c", code], "pip install")
    assert "done" in printed
    assert capfd.readouterr() == ("", "")


def test_a_failure_shows_what_was_printed(environment, capfd):
    code = "print('no such package'); raise SystemExit(3)"
    with pytest.raises(environment.ScriptError, match=r"pip install failed .* 3"):
        environment.quietly([sys.executable, "-c", code], "pip install")
    assert "no such package" in capfd.readouterr().out


def test_nothing_half_made_is_left(environment, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(environment.ScriptError):
        environment.make_environment(sys.executable, str(tmp_path / "file" / "venv"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_damaged_stamp_counts_as_none(environment, tmp_path, monkeypatch):
    stamp = tmp_path / "stamp.json"
    monkeypatch.setattr(environment, "STAMP", str(stamp))
    for text in (None, "", "[1]", "{"):
        if text is not None:
            stamp.write_text(text, "utf-8")
        assert environment._read_stamp() == {}


def run_test_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "test"), *arguments],
        cwd=os.sep,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_python_that_is_not_there_fails():
    done = run_test_script("--python", "/nonexistent/python3")
    assert done.returncode == 1
    assert "--python /nonexistent/python3: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_device_that_is_not_there_fails():
    """With a Python that is used as it is, and no environment made."""
    code = "from tinygrad_softmax.backends import cuda_is_available as a; print(a())"
    has_cuda = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    python = ["--python", sys.executable]
    chosen = ["-q", "-p", "no:cacheprovider", "-k", "test_every_room_has_a_floor"]
    done = run_test_script("--device", "cuda", *python, *chosen)
    if has_cuda.stdout.strip() == "True":
        assert done.returncode == 0
    else:
        assert done.returncode not in (0, 5)
        assert "--device cuda can't run" in done.stderr
