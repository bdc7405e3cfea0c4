"""Finds a Python, makes .venv and installs this package into it, once.

It needs the standard library only, and is written so that Python 3.6 can run it:
far enough to say that it is too old.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "tinygrad-softmax.json")
OLDEST = (3, 11)

# Prints on one line what a candidate is: its version, and whether it can make an
# environment (Debian ships venv and ensurepip apart from Python itself).
_ASK = """
import sys
try:
    import ensurepip, venv
    can = "yes" if ensurepip.version() else "no"
except Exception:
    can = "no"
print("%d.%d.%d" % sys.version_info[:3], can)
"""


class ScriptError(Exception):
    """What is wrong and how to mend it, in words for a person."""


def run_script(main):
    """Run `main()` and leave with its status; a ScriptError needs no traceback."""
    try:
        status = main()
        sys.stdout.flush()
    except ScriptError as trouble:
        script = os.path.basename(sys.argv[0])
        print(f"\n{script}: {trouble}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader of our output has seen enough: `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)


def say(text):
    """Print at once, so that the lines of child processes come in their order."""
    print(text, flush=True)


def shortest(path):
    """A path from the current directory, or from the root if that is shorter."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # on another drive
        return path
    return min(relative, path, key=len)


def child_environment():
    """The environment variables for child processes.

    Without those that would put foreign packages into .venv or install outside it.
    """
    environment = dict(os.environ)
    for name in (
        "PYTHONPATH",
        "PYTHONHOME",
        "PIP_USER",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_REQUIRE_VIRTUALENV",
        "__PYVENV_LAUNCHER__",
    ):
        environment.pop(name, None)
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    environment["PIP_NO_INPUT"] = "1"
    return environment


def quietly(command, what, cwd=ROOT):
    """Run a command and return what it printed, showing it only if it failed.

    Exit status 0 is success whatever was printed: pip warns about many things.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        say(printed.rstrip())
        raise ScriptError(
            f"{what} failed (exit status {done.returncode}); the lines above say why"
        )
    return printed


def require_compiler():
    """Raise if there is no g++, by which the tests run the CUDA kernels on the CPU."""
    if not sys.platform.startswith("linux") or not shutil.which("g++"):
        raise ScriptError(
            "the full tests run the CUDA kernels on the CPU, which needs Linux and "
            "g++, and there is none; mend: apt-get install g++, or run scripts/test "
            "without --full"
        )


def environment_python(*extras):
    """The Python of .venv, with this package (editable) and `extras` installed in it.

    Makes .venv if there is none. Does nothing more if pyproject.toml, the place of the
    checkout and the Python are those of the last installation, and it had the extras.
    """
    if not os.path.exists(VENV):
        make_environment(find_python(), VENV)
    python = python_of(VENV)
    version = _version_in_venv(python)
    wanted = _wanted(version)
    stamp = _read_stamp()
    installed = stamp.get("extras", []) if stamp.get("for") == wanted else []
    if not set(extras) <= set(installed):
        extras = sorted(set(extras) | set(installed))
        what = " and ".join(extras)
        say(f"Installing this package and its {what} libraries (once; a minute)")
        install(python, "--editable", ".[" + ",".join(extras) + "]")
        with open(STAMP, "w", encoding="utf-8") as file:
            json.dump({"for": wanted, "extras": extras}, file, indent=1)
    return python


def install(python, *arguments):
    """pip install into the environment of `python`."""
    pip = [python, "-m", "pip", "install", *arguments]
    try:
        quietly(pip, "pip install " + " ".join(arguments))
    except ScriptError as trouble:
        raise ScriptError(
            f"{trouble}. If it could not reach the package index, mend the network or "
            "pip's settings and run this again"
        ) from None


def make_environment(python, path):
    """Make a virtual environment, leaving nothing half made behind."""
    say(f"Making {shortest(path)} with {python}")
    try:
        quietly([python, "-m", "venv", path], "making the environment")
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def python_of(environment):
    """The interpreter inside a virtual environment."""
    if os.name == "nt":
        return os.path.join(environment, "Scripts", "python.exe")
    return os.path.join(environment, "bin", "python")


def find_python():
    """A Python of at least the oldest version supported that can make environments.

    The one that runs this script if it will do, else the newest one on PATH.
    """
    names = [f"python3.{minor}" for minor in range(14, OLDEST[1] - 1, -1)]
    candidates = [sys.executable, *map(shutil.which, names)]
    found = []
    for candidate in filter(None, candidates):
        version, can = _ask(candidate)
        if version is None:
            continue
        found.append((candidate, version, can))
        if version >= OLDEST and can:
            return candidate
    raise ScriptError(_why_no_python(found))


def _ask(python):
    """(version, whether it can make environments) of an interpreter that runs."""
    try:
        answer = subprocess.run(
            [python, "-c", _ASK],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None, False
    words = answer.stdout.decode("utf-8", "replace").split()
    if answer.returncode != 0 or len(words) != 2:
        return None, False
    return tuple(int(part) for part in words[0].split(".")), words[1] == "yes"


def _why_no_python(found):
    for path, version, _ in found:
        if version >= OLDEST:
            return (
                f"{path} is Python {_dotted(version)}, but its parts that make "
                "environments (venv and ensurepip) are missing. On Debian and Ubuntu: "
                f"apt-get install python{_dotted(version[:2])}-venv"
            )
    seen = " and ".join(f"{_dotted(version)} ({path})" for path, version, _ in found)
    return (
        f"this needs Python {_dotted(OLDEST)} or later, and found only Python {seen}. "
        "Install a newer one, from your system's packages or "
        "https://www.python.org/downloads/, and run this again: it is found on PATH by "
        "its name, such as python3.13"
    )


def _dotted(version):
    return ".".join(map(str, version))


def _version_in_venv(python):
    """The version of the Python in .venv, after making sure that it has pip."""
    version, _ = _ask(python)
    mend = f"delete {VENV} and run this again"
    if version is None:
        raise ScriptError(f"the Python in .venv does not run; {mend}")
    if version < OLDEST:
        raise ScriptError(
            f".venv holds Python {_dotted(version)}, and this needs {_dotted(OLDEST)} "
            f"or later; {mend}"
        )
    has_pip = [python, "-c", "import pip"]
    if subprocess.call(has_pip, env=child_environment(), stderr=subprocess.DEVNULL):
        try:
            quietly([python, "-m", "ensurepip"], "putting pip into .venv")
        except ScriptError as trouble:
            raise ScriptError(f"{trouble}; or {mend}") from None
    return version


def _wanted(version):
    """What an installation depends on."""
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {"pyproject": digest, "checkout": ROOT, "python": list(version)}


def _read_stamp():
    """What the last installation wrote; nothing if there was none, or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
        if isinstance(stamp, dict):
            return stamp
    return {}
