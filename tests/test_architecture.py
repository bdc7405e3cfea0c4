"""What docs/architecture.md says about the shape of the source, held as tests.

Imports are read from the source and not by importing, so that one inside a function
counts too.
"""

from __future__ import annotations

import ast
import io
import os
import statistics
import subprocess
import sys
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tinygrad_softmax"
OPTIONAL = ["cupy", "hypothesis", "ml_dtypes", "scipy", "sklearn", "safetensors"]
OPTIONAL += ["rich", "matplotlib"]

# The floor of each room. The package's __init__.py is the roof over floors 0 to 5.
FLOORS = {
    "extras": 0,
    "pytorch_names": 0,
    "signatures": 0,
    "backends": 0,
    "cuda": 0,
    "autograd": 1,
    "ops": 2,
    "tensor": 3,
    "creation": 3,
    "clipping": 3.5,
    "nn": 4,
    "optim": 4,
    "data": 4,
    "testing": 4,
    "explaining": 4,
    "training": 5,
    "saving": 5,
    "figures": 5,
    "classifier": 5,
    "classifier_file": 5,
    "estimator": 5,
    "": 5.5,
    "cli": 6,
    "cli_options": 6,
    "__main__": 6,
}


def module_files() -> dict[str, Path]:
    """Every module of the package by its name below it: "", "autograd.graph", ..."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = module_files()


def imports_of(name: str, source: str, at_import: bool = False) -> set[str]:
    """The modules of the package that `source`, module `name`, imports.

    at_import: only what runs when the module is imported, so neither what is inside a
        function nor what is there for type checkers alone.
    """
    is_package = name in MODULES and MODULES[name].name == "__init__.py"
    home = name.split(".") if name else []
    home = home if is_package else home[:-1]
    found: set[str] = set()
    for node in _import_statements(ast.parse(source), at_import):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
            found |= {n.partition(".")[2] for n in names if _is_ours(n)}
            continue
        if node.level:
            base = [*home[: len(home) - node.level + 1]]
            base += node.module.split(".") if node.module else []
        elif _is_ours(node.module or ""):
            base = (node.module or "").split(".")[1:]
        else:
            continue
        for each in node.names:
            inner = ".".join([*base, each.name])
            found.add(inner if inner in MODULES else ".".join(base))
    return found - {name}


def _is_ours(dotted: str) -> bool:
    return dotted.partition(".")[0] == "tinygrad_softmax"


def _import_statements(tree: ast.AST, at_import: bool):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (at_import and _runs_later_or_never(node)):
            yield from _import_statements(node, at_import)


def _runs_later_or_never(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.dump(node.test)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def climbs(name: str, imported: set[str]) -> list[str]:
    """The imports of module `name` that go up or, on floor 4, next door."""
    room = name.partition(".")[0]
    found = []
    for other in sorted(imported):
        other_room = other.partition(".")[0]
        goes_down = FLOORS[other_room] < FLOORS[room]
        next_door = FLOORS[other_room] == FLOORS[room] != 4
        if not (goes_down or next_door or other_room == room):
            found.append(f"{name or 'the package'} imports {other or 'the package'}")
    return found


def test_every_room_has_a_floor():
    rooms = {name.partition(".")[0] for name in MODULES}
    assert rooms <= set(FLOORS), "give the new room its floor, here and in the docs"


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    assert climbs(name, imports_of(name, MODULES[name].read_text("utf-8"))) == []


def test_an_import_that_climbs_is_seen():
    source = (
        "from ..tensor import Tensor\n"
        "def f():\n    from tinygrad_softmax import nn\n"
        "import tinygrad_softmax.cli\nfrom . import graph\nimport numpy\n"
    )
    imported = imports_of("autograd.primitive", source)
    assert imported == {"tensor", "nn", "cli", "autograd.graph"} - ({"nn"} - {*MODULES})
    assert len(climbs("autograd.primitive", imported)) == len(imported) - 1
    assert climbs("nn.layers", {"optim"}) == ["nn.layers imports optim"]
    assert climbs("saving", {"training", "nn.module"}) == []


def test_no_import_cycles():
    def order(graph):
        return list(TopologicalSorter(graph).static_order())

    with pytest.raises(CycleError):
        order({"a": imports_of("a", "import tinygrad_softmax.a.b"), "a.b": {"a"}})
    order(
        {
            name: imports_of(name, path.read_text("utf-8"), at_import=True)
            for name, path in MODULES.items()
        }
    )


def lines_of_code(source: str) -> int:
    """The lines that are neither blank nor part of a comment or a docstring."""
    silent = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
    silent += (tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def test_lines_of_code_are_counted():
    source = (
        '"""Doc.\n\nMore."""\nimport a\n\n# why\ndef f(\n    x,\n):\n'
        '    """Doc."""\n    # why\n    return g(\n        x\n    )  # why\n'
    )
    assert lines_of_code(source) == 7


def test_the_engine_can_be_read_in_one_sitting():
    """docs/decisions/how-long-is-the-engine.md says what is counted, and why."""

    def count(names):
        return sum(lines_of_code(MODULES[name].read_text("utf-8")) for name in names)

    assert count(["autograd.graph", "autograd.primitive", "autograd.walk"]) < 600
    assert count(n for n in MODULES if 1 <= FLOORS[n.partition(".")[0]] <= 3) < 4000


# Here the file and the function it is about have one name. Their packages import the
# file before the function takes its name, so that no later import can take it back.
SAME_NAME = {"tensor", "autograd.primitive"}


def hidden_submodules(package: str, source: str) -> set[str]:
    """Names that `package`, whose __init__.py is `source`, gives to something else
    than its submodule of that name."""
    prefix = f"{package}." if package else ""
    bound: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            home = f"{prefix}{node.module or ''}" if node.level else node.module or ""
            home = home.rstrip(".")
            for each in node.names:
                bound[each.asname or each.name] = f"{home}.{each.name}".lstrip(".")
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound[node.name] = f"{prefix}__init__.{node.name}"
        elif isinstance(node, ast.Assign):
            targets = [each.id for each in node.targets if isinstance(each, ast.Name)]
            bound |= dict.fromkeys(targets, "a value")
    return {
        name
        for name, origin in bound.items()
        if prefix + name in MODULES and origin != prefix + name
    }


def test_no_public_name_hides_a_submodule():
    """Importing `package.name` sets the attribute `name`, whatever it was before."""
    hidden = set()
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            prefix = f"{name}." if name else ""
            names = hidden_submodules(name, path.read_text("utf-8"))
            hidden |= {prefix + each for each in names}
    assert hidden == SAME_NAME


def test_no_import_replaces_a_public_name():
    code = """
import importlib, pkgutil, sys
import tinygrad_softmax as tg
def names():
    found = {}
    for name, module in list(sys.modules.items()):
        if name.startswith("tinygrad_softmax"):
            for each in getattr(module, "__all__", ()):
                found[name, each] = getattr(module, each)
    return found
before = names()
for each in pkgutil.walk_packages(tg.__path__, "tinygrad_softmax."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
after = names()
print(*(".".join(key) for key in before if before[key] is not after[key]))
"""
    assert run_python(code).split() == []


def test_a_hidden_submodule_is_seen():
    assert hidden_submodules("", "from .backends import nothing as autograd")
    assert hidden_submodules("", "def autograd(): pass") == {"autograd"}
    assert hidden_submodules("autograd", "from .primitive import graph") == {"graph"}
    assert hidden_submodules("", "from . import autograd, backends") == set()
    assert hidden_submodules("autograd", "from . import graph") == set()


def run_python(code: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_importing_it_imports_nothing_optional():
    code = (
        "import sys, tinygrad_softmax; print(*{m.split('.')[0] for m in sys.modules})"
    )
    imported = run_python(code).split()
    assert "numpy" in imported
    assert set(OPTIONAL).isdisjoint(imported)
    for unused in ("importlib.metadata", "asyncio", "unittest", "doctest"):
        assert unused not in imported


def test_importing_it_takes_little_more_than_numpy(tmp_path):
    """At most 1.3 times `import numpy`: medians of interleaved runs, byte code cached.

    A busy machine can spoil one round of measurements, so the best of five counts.
    """
    code = "from time import perf_counter as t; s = t(); import {}; print(t() - s)"
    variables = {"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}

    def seconds(module):
        return float(run_python(code.format(module), **variables))

    seconds("tinygrad_softmax")  # fills the cache
    ratios = []
    for _ in range(5):
        pairs = [(seconds("numpy"), seconds("tinygrad_softmax")) for _ in range(9)]
        base, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratios.append(ours / base)
        if ratios[-1] <= 1.3:
            return
    pytest.fail(f"import took {min(ratios):.2f} times that of numpy at best: {ratios}")
