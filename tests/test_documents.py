"""What is written is run: doctests, the blocks of every Markdown file, the examples."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_softmax as tg
from tinygrad_softmax.autograd import PRIMITIVES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
PAGES = sorted(PAGES)
EXAMPLES = sorted(ROOT.glob("examples/**/*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(autouse=True)
def ops_of_examples_are_forgotten():
    """An op that an example defines is not one of the library's."""
    before = list(PRIMITIVES)
    yield
    PRIMITIVES[:] = before


# -- Markdown --------------------------------------------------------------------


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line it begins on."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a Markdown page, indented ones too."""
    found = []
    fence = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
    for match in fence.finditer(page):
        indent, language, text = match.groups()
        text = "".join(line.removeprefix(indent) for line in text.splitlines(True))
        found.append(Block(language, text, page.count("\n", 0, match.start(3)) + 1))
    return found


def run_page(page: str, name: str) -> None:
    """Run the Python blocks of a page in order, in one namespace.

    What a block prints must be the `text` block that comes next, to the letter.
    """
    blocks = blocks_of(page)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for i, block in enumerate(blocks):
        if block.language != "python":
            continue
        source = "\n" * (block.line - 1) + block.text  # for tracebacks
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name, "exec"), namespace)
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        shown = following.text if following and following.language == "text" else ""
        assert printed.getvalue() == shown, (
            f"{name}, line {block.line}: left is what the block prints, right is "
            "what the page shows"
        )


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_blocks_of_a_page_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(path.read_text("utf-8"), named(path))


@pytest.mark.parametrize(
    "page",
    [
        "```python\nprint(1)\n```\nprints\n```text\n2\n```\n",
        "```python\nprint(1)\n```\n",
        "```python\npass\n```\n```text\n1\n```\n",
        "- item\n\n  ```python\n  print(1)\n  ```\n",
    ],
)
def test_a_wrong_output_is_seen(page):
    with pytest.raises(AssertionError, match="what the page shows"):
        run_page(page, "page.md")


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_links_of_a_page_lead_somewhere(path):
    page = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", page):
        if not re.match(r"\w+:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


# -- docstrings ------------------------------------------------------------------


def every_module() -> list[str]:
    walk = pkgutil.walk_packages(tg.__path__, "tinygrad_softmax.")
    names = ["tinygrad_softmax", *(each.name for each in walk)]
    return [name for name in names if not name.endswith("__main__")]  # it runs


def doctests_of(module: ModuleType) -> list[doctest.DocTest]:
    """The doctests of a module, those of its primitives included.

    The finder of the standard library knows functions and classes only.
    """
    names = {"tg": tg, "np": np}
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {test.name: test for test in finder.find(module, extraglobs=names)}
    for name, value in vars(module).items():
        full = f"{module.__name__}.{name}"
        text = getattr(value, "__doc__", None)
        ours = getattr(value, "__module__", None) == module.__name__
        if ours and full not in found and text and ">>>" in text:
            parser = doctest.DocTestParser()
            everything = {**vars(module), **names}
            found[full] = parser.get_doctest(text, everything, full, None, 0)
    return [test for test in found.values() if test.examples]


class NumberChecker(doctest.OutputChecker):
    """Compares the numbers of an output as numbers, and all between them as text.

    The last digit of a float32 depends on the processor (NumPy takes other code for exp
    with AVX-512), so 1e-6 is allowed; and spaces, which align columns, may differ.
    """

    number = re.compile(r"-?\d+\.\d*(?:e[-+]?\d+)?")

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        def text(output: str) -> str:
            return re.sub(r"\s+", "", self.number.sub("#", output))

        def values(output: str) -> list[float]:
            return [float(each) for each in self.number.findall(output)]

        if super().check_output(want, got, optionflags):
            return True
        if text(want) != text(got) or not values(want):
            return False
        return np.allclose(values(want), values(got), rtol=1e-6, atol=0.0)


def run_doctest(test: doctest.DocTest) -> None:
    report = io.StringIO()
    runner = doctest.DocTestRunner(
        NumberChecker(), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    if runner.run(test, out=report.write).failed:
        pytest.fail(report.getvalue(), pytrace=False)


@pytest.mark.parametrize("name", every_module())
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for test in doctests_of(importlib.import_module(name)):
        run_doctest(test)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1 + 1", "3"),
        ("0.11395685", "0.1139570"),
        ("[1.0, 2.0]", "[1.0, 2.0, 3.0]"),
        ("1.5", "x1.5"),
        ("-0.5", "0.5"),
        ("None", "0.5"),
        ("1 / 0", "1.0"),
    ],
)
def test_a_wrong_docstring_is_seen(code, shown):
    source = f">>> {code}\n{shown}\n"
    test = doctest.DocTestParser().get_doctest(source, {}, "wrong", None, 0)
    with pytest.raises(pytest.fail.Exception, match="Failed example"):
        run_doctest(test)


@pytest.mark.parametrize(
    ("code", "shown"),
    [("0.11395685", "0.11395684"), ("[0.5, 1.25]", "[0.5 ,  1.25]"), ("2.0", "2.0")],
)
def test_the_last_digit_is_the_processors(code, shown):
    source = f">>> {code}\n{shown}\n"
    run_doctest(doctest.DocTestParser().get_doctest(source, {}, "right", None, 0))


def public_names() -> dict[str, object]:
    """What a user can name: `tg.name`, and `tg.room.name` for the public rooms."""
    found = {}
    rooms = ("", ".nn", ".nn.functional", ".nn.init", ".optim", ".optim.lr_scheduler")
    more = (".data", ".training", ".saving", ".testing", ".explaining")
    for room in (*rooms, *more):
        module = importlib.import_module("tinygrad_softmax" + room)
        found |= {f"tg{room}.{name}": getattr(module, name) for name in module.__all__}
    return found


def is_documented_by_example(value: object) -> bool:
    if isinstance(value, ModuleType) or not callable(value):
        return True  # rooms and constants
    text = inspect.getdoc(value) or ""
    if isinstance(value, type) and issubclass(value, BaseException):
        return bool(text)
    return ">>>" in text


@pytest.mark.parametrize("name", public_names())
def test_every_export_is_documented_by_an_example(name):
    assert is_documented_by_example(public_names()[name])


def test_every_example_in_a_docstring_is_run():
    """No export's example escapes the finder above, however the export was made."""
    run = {
        example.source.strip()
        for name in every_module()
        for test in doctests_of(importlib.import_module(name))
        for example in test.examples
    }
    parser = doctest.DocTestParser()
    for name, value in public_names().items():
        if callable(value) and not isinstance(value, ModuleType):
            for example in parser.get_examples(inspect.getdoc(value) or ""):
                assert example.source.strip() in run, name


def test_every_method_and_property_of_tensor_has_a_docstring():
    missing = [
        name
        for name, value in inspect.getmembers(tg.Tensor)
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property))
        and not inspect.getdoc(value)
    ]
    assert missing == []


# -- examples --------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_an_example_runs(path, tmp_path):
    """Each in a process of its own, with `--toy` where it knows that option."""
    toy = ["--toy"] if '"--toy"' in path.read_text("utf-8") else []
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path), *toy],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
