"""What the numbers were measured on. No host name and no path is taken down."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "torch", "autograd", "mygrad")
# They choose OpenBLAS's kernels and blocks, and the number of threads.
VARIABLES = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TINYGRAD_SOFTMAX_NUM_THREADS",
)


def describe() -> dict[str, Any]:
    """Processor, cores, memory, versions, BLAS and its threads, for the results."""
    versions = {"Python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gb": memory_gb(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "commit": commit(),
        "threads": thread_pools(),
        "environment": {v: os.environ[v] for v in VARIABLES if v in os.environ},
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(reversed([_split(line) for line in lines if ":" in line]))
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    return f"{fields['model name']} (family {family}, model {model})"


def _split(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gb() -> float | None:
    """The machine's memory, where the system says it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def load() -> float | None:
    """The load average of the last minute; a run adds what it uses itself."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def commit() -> str | None:
    """The checkout that was measured, "+" if it had changes; None without one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def thread_pools() -> list[dict[str, Any]] | None:
    """BLAS and OpenMP, as threadpoolctl finds them; None where that is missing."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    wanted = ("internal_api", "version", "architecture", "num_threads")
    return [{k: each[k] for k in wanted if each.get(k)} for each in threadpool_info()]
