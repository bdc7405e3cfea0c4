"""Builds the wheel and the sdist, looks inside, and tries the wheel as a user would."""

import glob
import os
import subprocess
import tarfile
import tempfile
import zipfile

import _environment as env

_MISSING_EXTRA = 'pip install "tinygrad-softmax[demo]"'


def check(python):
    """Build with `python` and check; raises env.ScriptError at the first fault."""
    with tempfile.TemporaryDirectory(prefix="tinygrad-softmax-") as folder:
        folder = os.path.realpath(folder)
        command = [python, "-m", "build", "--outdir", folder, env.ROOT]
        env.quietly(command, "building the wheel and the sdist")
        (wheel,) = glob.glob(os.path.join(folder, "*.whl"))
        (sdist,) = glob.glob(os.path.join(folder, "*.tar.gz"))
        _check_wheel(wheel)
        _check_sdist(sdist)
        _try_wheel(python, wheel, folder)


def _package_files():
    """Every file of the package in this checkout, as a path with slashes."""
    package = os.path.join(env.ROOT, "tinygrad_softmax")
    return {
        os.path.relpath(os.path.join(folder, name), env.ROOT).replace(os.sep, "/")
        for folder, _, names in os.walk(package)
        for name in names
        if "__pycache__" not in folder
    }


def _check_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    _expect_same(os.path.basename(wheel), names - metadata, _package_files())
    for end in ("/licenses/LICENSE", "/entry_points.txt", "/METADATA"):
        if not any(name.endswith(end) for name in metadata):
            raise env.ScriptError(f"the wheel has no {end[1:]}")
    if "tinygrad_softmax/py.typed" not in names:
        raise env.ScriptError(
            "the wheel has no py.typed: type checkers would ignore it"
        )


def _check_sdist(sdist):
    with tarfile.open(sdist) as archive:
        names = {each.name.partition("/")[2] for each in archive if each.isfile()}
    in_package = {name for name in names if name.startswith("tinygrad_softmax/")}
    _expect_same(os.path.basename(sdist), in_package, _package_files())
    for name in ("pyproject.toml", "LICENSE", "README.md", "tests/conftest.py"):
        if name not in names:
            raise env.ScriptError(f"the sdist has no {name}")
    clutter = [n for n in names if "__pycache__" in n or n.startswith(".venv")]
    if clutter:
        raise env.ScriptError(f"the sdist carries clutter: {sorted(clutter)[:5]}")


def _expect_same(what, got, expected):
    if got != expected:
        raise env.ScriptError(
            f"{what} lacks {sorted(expected - got)} of the checkout, and has "
            f"{sorted(got - expected)} beyond it"
        )


def _try_wheel(python, wheel, folder):
    """Install the wheel, bare and then with its demo, into a new empty environment."""
    place = os.path.join(folder, "environment")
    env.make_environment(python, place)
    installed = env.python_of(place)
    outside = os.path.join(folder, "outside the checkout")
    os.mkdir(outside)

    env.install(installed, wheel)
    show = "import tinygrad_softmax as tg; print(tg.__file__, tg.__version__)"
    printed = env.quietly([installed, "-c", show], "importing the wheel", outside)
    if not os.path.realpath(printed.split(" ")[0]).startswith(place):
        raise env.ScriptError("not the installed package was imported: " + printed)
    train = [installed, "-m", "tinygrad_softmax", "train"]
    printed = _output(train, outside)
    if _MISSING_EXTRA not in printed or "Traceback" in printed:
        raise env.ScriptError(
            f"training without the demo's libraries should say {_MISSING_EXTRA}, and "
            f"said:\n{printed}"
        )

    env.install(installed, wheel + "[demo]")
    env.quietly([installed, "-m", "pip", "check"], "pip check of the wheel", outside)
    printed = env.quietly(train, "the installed demo", outside)
    if "test accuracy 0.9" not in printed:
        raise env.ScriptError("the installed demo did not reach 0.9:\n" + printed)
    script = os.path.join(os.path.dirname(installed), "tinygrad-softmax")
    env.quietly([script, "--help"], "the tinygrad-softmax command", outside)


def _output(command, cwd):
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env.child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout.decode("utf-8", "replace")
