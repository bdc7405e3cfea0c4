"""What the machine has: prints one line of JSON, with what is missing or what is there.

python -m benchmarks.gpu.probe
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from typing import Any

# Distributions whose versions belong to the figures; CuPy has a name for each CUDA.
PACKAGES = (
    "numpy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "cupy",
    "torch",
    "triton",
    "liger-kernel",
    "pytest",
)


def missing(parts: list[str]) -> list[str]:
    """A sentence for each thing without which those parts can't run."""
    found = []
    try:
        tg = importlib.import_module("tinygrad_softmax")
        tg.ones(2, device="cuda")
    except Exception as error:
        return [_line(error)]  # there is no GPU, so what else is missing is no matter
    if "tests" in parts and importlib.util.find_spec("pytest") is None:
        found.append("part tests needs pytest, which is not installed")
    if set(parts) - {"tests"}:
        try:
            torch = importlib.import_module("torch")
            if not torch.cuda.is_available():
                found.append(f"PyTorch {torch.__version__} sees no CUDA device")
        except ImportError as error:
            needs = " and ".join(part for part in parts if part != "tests")
            found.append(f"part {needs} needs PyTorch, the yardstick ({_line(error)})")
    return found


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def conditions() -> dict[str, Any]:
    """The device, the versions and the commit; no host name and no path."""
    from ..machine import commit

    cupy = importlib.import_module("cupy")
    device = cupy.cuda.Device()
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(device.id)
    name = properties["name"]
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions["CUDA runtime"] = _version(runtime.runtimeGetVersion())
    versions["CUDA driver"] = _version(runtime.driverGetVersion())
    capability = str(device.compute_capability)
    return {
        "device": {
            "name": name.decode() if isinstance(name, bytes) else str(name),
            "capability": f"{capability[:-1]}.{capability[-1]}",
            "multiprocessors": properties["multiProcessorCount"],
            "l2": properties["l2CacheSize"],
            "memory": properties["totalGlobalMem"],
        },
        "versions": versions,
        "cores": os.cpu_count(),
        "commit": commit(),
        "spread": importlib.util.find_spec("xdist") is not None,
    }


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def main(parts: list[str]) -> None:
    gone = missing(parts)
    print(json.dumps({"missing": gone} if gone else conditions()))


if __name__ == "__main__":
    main(sys.argv[1:])
