"""The house rules of the test suite: one device, strict errors, no switch left on."""

from __future__ import annotations

import functools
import os
import sys
from contextvars import ContextVar

import cuda_shim
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tinygrad_softmax.backends import dtypes

os.environ.setdefault("MPLBACKEND", "Agg")  # draw without a screen
os.environ.pop("TINYGRAD_SOFTMAX_DEVICE", None)  # the option --device decides

# No deadlines: the time of one example says more about the machine than about the code.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


# Those that run on a GPU with `--device cuda`: they take cuda_checks.kernels_on.
KERNELS_ON_A_GPU = {
    "test_cuda_activations.py",
    "test_cuda_attention.py",
    "test_cuda_channels.py",
    "test_cuda_convolution.py",
    "test_cuda_cross_entropy.py",
    "test_cuda_dropout.py",
    "test_cuda_kernels.py",
    "test_cuda_matmul.py",
    "test_cuda_norms.py",
    "test_cuda_optimizers.py",
    "test_cuda_scatter.py",
}


def pytest_ignore_collect(collection_path, config) -> bool | None:
    """These run CUDA kernels on the CPU. Where no compiler is, the run says so at its
    end; those that can run on a GPU do with `--device cuda`."""
    if cuda_shim.available() or not collection_path.name.startswith("test_cuda_"):
        return None
    on_a_gpu = collection_path.name in KERNELS_ON_A_GPU
    return not (on_a_gpu and config.getoption("device") == "cuda")


def pytest_collection_modifyitems(config, items) -> None:
    """Leave out, on a GPU, what is asked of the double of CuPy."""
    if config.getoption("device") != "cuda":
        return
    left_out = [item for item in items if item.get_closest_marker("double")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter) -> None:
    if not cuda_shim.available():
        terminalreporter.write_line("CUDA kernels on the CPU: not run: no g++")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="where the tests that take the fixture `device` run (default: cpu)",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to start, rather than skip, if the device asked for does not work."""
    device = session.config.getoption("device")
    if device == "cpu":
        return
    import tinygrad_softmax as tg

    try:
        one = tg.ones(2, device=device) + 1.0
        works = one.numpy().tolist() == [2.0, 2.0]
    except Exception as error:
        raise pytest.UsageError(f"--device {device} can't run: {error}") from error
    if not works:
        raise pytest.UsageError(f"--device {device} can't run: 1 + 1 gave {one!r}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"device: {config.getoption('device')}, numpy {np.__version__}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """A skip is a failure: what was asked for and cannot run must not look green."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _without_skip((yield))


def _without_skip(report):
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr
        reason = reason[2] if isinstance(reason, tuple) else str(reason)
        report.outcome = "failed"
        report.longrepr = f"This suite never skips, and this was skipped. {reason}"
    return report


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device under test: "cpu", or "cuda" with `--device cuda`."""
    return request.config.getoption("device")


@pytest.fixture(autouse=True)
def strict_floating_point():
    """NumPy's floating-point warnings are errors in every test, but for underflow.

    Underflow is declared harmless here: exp(-800) is meant to be 0.
    """
    with np.errstate(all="raise", under="ignore"):
        yield


@pytest.fixture(autouse=True)
def no_switch_left_on():
    """Fail a test that leaves a mode changed: grad mode, an observer, a default, ...

    The library keeps its modes in ContextVars at the top of its modules; the default
    dtype is one for the process. What was left on is put back, so only one test fails.
    """
    dtype = dtypes.get_default_dtype()
    before = {variable: variable.get(None) for variable in _switches()}
    yield
    left_on = []
    for variable in _switches():
        old, new = before.get(variable, variable.get(None)), variable.get(None)
        if new is not old:
            variable.set(old)
            left_on.append(f"{variable.name} was {old!r} and is {new!r}")
    if dtypes.get_default_dtype() != dtype:
        left_on.append(f"the default dtype was {dtype}")
        dtypes.set_default_dtype(dtype)
    if left_on:
        pytest.fail("the test left a switch on: " + "; ".join(left_on))


@functools.cache
def _module_switches(name: str, module_id: int) -> list[ContextVar]:
    return [v for v in vars(sys.modules[name]).values() if isinstance(v, ContextVar)]


def _switches() -> list[ContextVar]:
    """Every ContextVar at the top of a module of the library."""
    return [
        switch
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] == "tinygrad_softmax"
        for switch in _module_switches(name, id(module))
    ]
