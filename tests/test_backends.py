"""Backends as such: what a third party registers, device strings, and what is said
where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import op_checks as checks
import pytest
import strict_cupy
from op_table import ROWS

import tinygrad_softmax as tg
from tinygrad_softmax.backends import (
    Backend,
    backend_of,
    cuda_is_available,
    register_backend,
    registry,
)
from tinygrad_softmax.backends.cupy import CupyBackend, make_backend
from tinygrad_softmax.backends.targets import Targets

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Backends that a test registers are forgotten after it."""
    tables: list[Any] = [registry._by_name, registry._by_type]
    tables.append(registry.several_devices)
    before = [table.copy() for table in tables]
    yield
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


# -- a third party's backend -----------------------------------------------------------


class ThinBackend(Backend):
    """All that a backend with arrays of its own must say; every kernel is inherited.

    Its arrays are those of the strict double of CuPy: nothing of NumPy's may be done
    to them, and NumPy can't read them.
    """

    name = "thin"

    def __init__(self):
        self.xp = strict_cupy.make_modules()[0]
        cupys = self.xp.where  # unlike NumPy's it takes no plain bool
        self.xp.where = lambda c, x, y: cupys(
            np.bool_(c) if isinstance(c, bool) else c, x, y
        )

    def to_host(self, array):
        return array.get()

    def native_generator(self, seed):
        host, asarray = np.random.default_rng(seed), self.xp.asarray
        return SimpleNamespace(
            random=lambda shape, dtype: asarray(host.random(shape, dtype))
        )


@pytest.fixture
def thin(clean_registry) -> str:
    register_backend(ThinBackend(), strict_cupy.ndarray)
    return "thin"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_third_partys_backend_has_every_op(row, thin):
    for k in range(len(row.cases)):
        checks.check_value(row, k, thin)
        if row.differentiable and row.floating[k]:
            inputs = {
                device: checks.prepared(row, k, device) for device in ("cpu", thin)
            }
            found, wanted = (checks.gradients(row, k, inputs[d]) for d in (thin, "cpu"))
            for got, want in zip(found, wanted, strict=True):
                assert got.device == thin
                close = dict(rtol=1e-12, atol=1e-12, err_msg=str(row.cases[k]))
                np.testing.assert_allclose(checks.host(got), checks.host(want), **close)


def test_a_third_partys_device(thin):
    x = tg.ones((2, 2), device=thin, requires_grad=True)
    assert x.device == "thin"
    assert type(x.array) is strict_cupy.ndarray
    assert isinstance(backend_of(x.array), ThinBackend)
    with tg.use_device("thin"):
        assert tg.zeros(2).device == "thin"
    with pytest.raises(ValueError, match=r"'thin'.*'cpu'"):
        x + tg.ones(2)
    with pytest.raises(ValueError, match="only one 'thin'"):
        tg.ones(2, device="thin:1")
    with pytest.raises(IndexError, match="row 1 is 2"):
        tg.softmax_cross_entropy(x, tg.tensor([0, 2], device=thin))
    assert x.to("cpu").device == "cpu"
    assert "device='thin'" in repr(x)


def test_a_kernel_of_a_third_party_is_used(clean_registry):
    shapes = []

    class Overriding(ThinBackend):
        def softmax_cross_entropy(self, logits, targets, grad=None, scale=1.0):
            shapes.append(logits.shape)
            return super().softmax_cross_entropy(logits, targets, grad, scale)

    register_backend(Overriding(), strict_cupy.ndarray)
    logits = tg.tensor([[1.0, 2.0], [0.0, 0.0]], device="thin", requires_grad=True)
    loss = tg.softmax_cross_entropy(logits, tg.tensor([1, 0], device="thin"))
    loss.backward()
    assert shapes == [(2, 2)]
    assert logits.grad.device == "thin"
    on_cpu = tg.softmax_cross_entropy(logits.to("cpu"), tg.tensor([1, 0]))
    assert loss.item() == on_cpu.item()


def test_registering_what_is_no_backend():
    with pytest.raises(TypeError, match="got a type; it needs an instance"):
        register_backend(ThinBackend, strict_cupy.ndarray)  # type: ignore[arg-type]


def test_an_array_of_nobody():
    with pytest.raises(TypeError, match="no backend holds a range"):
        backend_of(range(3))


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 4.0])])
def test_dense_targets_are_zero_where_ignored(smoothing, weight):
    labels = np.array([2, -100, 0])
    u = Targets(np, labels, weight, -100, smoothing).dense(3, np.dtype("float64"))
    want = np.full((3, 3), smoothing / 3)
    want[[0, 2], [2, 0]] += 1.0 - smoothing
    want[1] = 0.0
    np.testing.assert_allclose(u, want if weight is None else want * weight)


# -- device strings -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "error", "text"),
    [
        ("gpu", ValueError, "'gpu' is not known; expected one of 'cpu', 'cuda'"),
        ("cpu:1", ValueError, "'cpu:1' was asked for, but there is only one 'cpu'"),
        ("cpu:", None, ""),
        ("cpu:0", None, ""),
        ("cuda:one", ValueError, "'cuda:one' is not known"),
        ("", ValueError, "'' is not known"),
        (1, TypeError, "device was given as 1; expected a string"),
    ],
)
def test_device_strings(device, error, text):
    if error is None:
        assert tg.ones(1, device=device).device == "cpu"
        return
    for use in (lambda: tg.ones(1, device=device), lambda: tg.use_device(device)):
        with pytest.raises(error, match=text):
            use()
    with pytest.raises(error, match=text):
        tg.ones(1).to(device)


def test_an_unknown_device_in_the_environment(monkeypatch):
    monkeypatch.setenv("TINYGRAD_SOFTMAX_DEVICE", "gpu")
    with pytest.raises(ValueError, match="device 'gpu' is not known"):
        tg.zeros(2)


# -- no GPU ---------------------------------------------------------------------------


class BrokenError(Exception):
    """An error of CUDA's runtime."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{text}\nand more lines")
        self.status = status


class DynamicLibNotFoundError(RuntimeError):
    """What cuda.pathfinder raises."""


def fake_cupy(**changes: Any) -> Any:
    """A module cupy that works, but for some changes of its runtime or functions."""
    runtime = SimpleNamespace(
        driverGetVersion=lambda: 13020,
        runtimeGetVersion=lambda: 13020,
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
    )
    cuda = SimpleNamespace(is_available=lambda: True, runtime=runtime)
    xp = strict_cupy.make_modules()[0]
    xp.cuda = cuda
    for name, value in changes.items():
        place = (
            runtime if hasattr(runtime, name) else cuda if hasattr(cuda, name) else xp
        )
        setattr(place, name, value)
    return xp


def raising(error: Exception) -> Any:
    def function(*args: Any, **keywords: Any) -> Any:
        raise error

    return function


NO_DRIVER = raising(
    BrokenError(35, "cudaErrorInsufficientDriver: CUDA driver version ...")
)
NO_DEVICE = raising(
    BrokenError(100, "cudaErrorNoDevice: no CUDA-capable device is detected")
)
NO_CUBLAS = raising(ImportError("libcublas.so.13: cannot open shared object file"))
NO_NVRTC = raising(DynamicLibNotFoundError("Failure finding libnvrtc.so\nin ..."))
UNAVAILABLE = {"is_available": lambda: False}

FOUND = {
    "an old CuPy": (
        fake_cupy(__version__="13.6.0"),
        ["CuPy 13.6.0 was found, but 14 or later is needed", "--upgrade"],
    ),
    "no driver": (
        fake_cupy(**UNAVAILABLE, getDeviceCount=NO_DRIVER, driverGetVersion=lambda: 0),
        ["CuPy 14.2.0 was found, but no NVIDIA driver", "install the driver"],
    ),
    "an old driver": (
        fake_cupy(
            **UNAVAILABLE, getDeviceCount=NO_DRIVER, driverGetVersion=lambda: 12040
        ),
        ["built for CUDA 13.2", "supports only CUDA 12.4", "softmax[cuda12]"],
    ),
    "no device": (
        fake_cupy(**UNAVAILABLE, getDeviceCount=NO_DEVICE),
        ["CuPy 14.2.0 was found and an NVIDIA driver, but no CUDA device", "GPU"],
    ),
    "a count of 0": (
        fake_cupy(**UNAVAILABLE, getDeviceCount=lambda: 0),
        ["and an NVIDIA driver, but no CUDA device"],
    ),
    "another error": (
        fake_cupy(
            **UNAVAILABLE, getDeviceCount=raising(BrokenError(999, "unknown error"))
        ),
        ["CUDA does not start: unknown error;", "nvidia-smi"],
    ),
    "no NVRTC": (
        fake_cupy(ones=NO_NVRTC),
        [
            "a CUDA device were found, but NVRTC",
            "does not work (DynamicLibNotFoundError: Failure finding libnvrtc.so)",
            '"tinygrad-softmax[cuda13]"',
        ],
    ),
    "no cuBLAS": (
        fake_cupy(matmul=NO_CUBLAS, runtimeGetVersion=lambda: 12090),
        ["but cuBLAS", "ImportError: libcublas.so.13", '"tinygrad-softmax[cuda12]"'],
    ),
    "a wrong product": (
        fake_cupy(matmul=lambda a, b: a),
        ["the product of two 2 x 2 matrices came out wrong"],
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_no_gpu_says_what_was_found(case):
    module, texts = FOUND[case]
    with pytest.raises(RuntimeError) as caught:
        make_backend(module)
    text = str(caught.value)
    assert text.startswith('device "cuda": ')
    assert "; mend: " in text
    assert "\n" not in text
    for each in texts:
        assert each in text


def test_hidden_devices_are_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RuntimeError, match="CUDA_VISIBLE_DEVICES is ''"):
        make_backend(fake_cupy(**UNAVAILABLE, getDeviceCount=NO_DEVICE))


def test_a_gpu_that_works():
    backend = make_backend(fake_cupy())
    assert isinstance(backend, CupyBackend)
    assert backend.device_name() == "cuda:0"


@pytest.mark.usefixtures("clean_registry")
def test_no_cupy(monkeypatch):
    """Every way to ask for a GPU says the same, and the question is answered no."""
    registry._by_name.pop("cuda", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    for ask in (
        lambda: tg.zeros(2, device="cuda"),
        lambda: tg.tensor([1.0], device="cuda:1"),
        lambda: tg.ones(2).to("cuda"),
        lambda: tg.use_device("cuda"),
    ):
        with pytest.raises(RuntimeError) as caught:
            ask()
        text = str(caught.value)
        assert text.startswith(
            'device "cuda" needs CuPy, which is not installed; mend: '
        )
        assert 'pip install "tinygrad-softmax[cuda13]", or [cuda12]' in text
    assert not cuda_is_available()
    monkeypatch.setenv("TINYGRAD_SOFTMAX_DEVICE", "cuda")
    with pytest.raises(RuntimeError, match="needs CuPy"):
        tg.zeros(2)


def run_python(tmp_path: Path, cupy: str, code: str) -> str:
    """Run code where `import cupy` runs the source `cupy`."""
    (tmp_path / "cupy.py").write_text(cupy, "utf-8")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("TINYGRAD_SOFTMAX_DEVICE", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_cupy_is_imported_only_when_asked_for(tmp_path):
    code = """
import sys, tinygrad_softmax as tg
x = tg.tensor([[1.0, 2.0]], requires_grad=True)
tg.softmax_cross_entropy(x, tg.tensor([1])).backward()
with tg.use_device("cpu"):
    tg.zeros(2).to("cpu").numpy()
try:
    tg.zeros(2, device="gpu")
except ValueError:
    pass
asked = [name for name in sys.modules if name.startswith("cupy")]
print(asked, tg.cuda.is_available())
try:
    tg.zeros(2, device="cuda")
except RuntimeError as error:
    print(error)
"""
    fake = "print('CuPy is imported'); __version__ = '1.0'"
    lines = run_python(tmp_path, fake, code).splitlines()
    assert lines[:2] == ["CuPy is imported", "[] False"]
    assert "CuPy 1.0 was found, but 14 or later is needed" in lines[2]


def test_a_broken_cupy(tmp_path):
    code = """
import tinygrad_softmax as tg
try:
    tg.zeros(2, device="cuda")
except RuntimeError as error:
    print(error)
"""
    for cupy in ("import no_such_module", "raise ImportError('libcudart.so is bad')"):
        text = run_python(tmp_path, cupy, code)
        assert text.startswith(
            'device "cuda": CuPy is installed but can\'t be imported'
        )
        assert "--force-reinstall" in text


def test_no_two_groups_of_kernels_share_a_private_name():
    """The backend inherits them all: one would silently replace the other's."""
    groups = [each for each in CupyBackend.__mro__ if ".cupy_" in each.__module__]
    assert len(groups) > 3
    names = [
        name
        for each in groups
        for name in vars(each)
        if name.startswith("_") and not name.startswith("__")
    ]
    assert sorted(names) == sorted(set(names))
