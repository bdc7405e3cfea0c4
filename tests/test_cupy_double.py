"""The library on the strict double of CuPy: no host/device mistake, and no waiting.

It is no GPU: these tests say that the code around CuPy is right, never what CuPy or a
GPU computes. `scripts/test --device cuda` does.
"""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import op_checks as checks
import pytest
import strict_cupy
from op_table import ROWS, Row
from strict_cupy import Seen, StrictCuda, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax.backends import registry
from tinygrad_softmax.nn.functional import cross_entropy
from tinygrad_softmax.optim import SGD, Adam

# What may wait, and what may copy from the host, in every op.
MASKED = "only a mask may be waited for: the shape of x[mask] depends on its values"
LISTED = "only an index that was given as a list, or made on the host, may be copied"


@pytest.fixture
def cuda():
    with strict_cuda() as cuda:
        yield cuda


@pytest.fixture
def xp(cuda: StrictCuda):
    return strict_cupy.make_modules()[0]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# -- the double refuses what it should -------------------------------------------------


def test_it_refuses_numpy_arrays(xp):
    x, host = xp.ones(3), np.ones(3)
    for mixed in (
        lambda: x + host,
        lambda: host + x,
        lambda: x.__iadd__(host),
        lambda: xp.maximum(x, host),
        lambda: xp.concatenate([x, host]),
        lambda: xp.where(x > 0, x, host),
        lambda: xp.full(3, host),
        lambda: x.__setitem__(slice(None), host),
        lambda: x[np.array([0, 1])],
        lambda: np.sum(x),
        lambda: np.asarray(x),
        lambda: np.add(x, 1.0, out=x),
        lambda: xp.sum(host),
        lambda: xp.sum([1.0, 2.0]),
    ):
        with pytest.raises(TypeError):
            mixed()


def test_it_takes_numpy_scalars(xp):
    x = xp.ones(2, "float32")
    for out in (np.float32(2) * x, x * np.float32(2), 2.0 * x, np.float32(1) / x):
        assert isinstance(out, strict_cupy.ndarray)
        assert out.dtype == np.float32


def test_reductions_are_arrays(xp):
    x = xp.ones((2, 2))
    results = [x.sum(), xp.max(x), x.argmax(), x[0, 0], x[0, 0] * 2.0, xp.all(x)]
    assert all(isinstance(r, strict_cupy.ndarray) and r.shape == () for r in results)
    assert not isinstance(x, np.ndarray)


def test_it_counts_what_waits(cuda, xp):
    x = xp.ones(3)
    waiting = {
        "get": x.get,
        "float": lambda: float(x[0]),
        "bool": lambda: bool(x[0]),
        "int": lambda: int(x[0]),
        "item": lambda: x[0].item(),
        "tolist": x.tolist,
        "mask read": lambda: x[x > 0],
        "mask write": lambda: x.__setitem__(x > 0, 1.0),
        "nonzero": lambda: xp.nonzero(x),
        "where": lambda: xp.where(x > 0),
        "synchronize": lambda: xp.cuda.Device().synchronize(),
    }
    for name, wait in waiting.items():
        with cuda.counting() as seen:
            wait()
        assert len(seen.waits) == 1, name
        assert "test_cupy_double.py" in seen.waits[0]
    with cuda.counting() as seen:
        (x * 2 + xp.exp(x)).sum()
        x[xp.asarray(1)] += x[0]
        xp.where(x > 0, x, 0.0)
    assert not seen.waits
    assert not seen.uploads
    with cuda.counting() as seen:
        xp.asarray(np.ones(3))
        xp.asarray([1.0])
        x.get()
    assert (len(seen.uploads), len(seen.downloads)) == (2, 1)


def test_it_lacks_what_cupy_lacks(xp):
    x = xp.ones(3)
    assert not hasattr(xp, "errstate")
    assert not hasattr(xp, "vecdot")
    assert not hasattr(x, "__index__")
    for refused in (
        lambda: xp.max(x, initial=0.0),
        lambda: xp.sum(x, where=x > 0),
        lambda: xp.add(x, 1.0, where=x > 0),
        lambda: xp.zeros(3, device="cpu"),
        lambda: xp.var(x, correction=1),
        lambda: xp.where(True, x, 0.0),
        lambda: xp.minimum.at(x, 0, 1.0),
        lambda: xp.argsort(x, kind="quicksort"),
        lambda: xp.add.at(xp.ones(3, "int8"), xp.arange(2), 1),
    ):
        with pytest.raises(
            (TypeError, ValueError, AttributeError, NotImplementedError)
        ):
            refused()


def test_indices_wrap_as_cupys_do(xp):
    x = xp.arange(3)
    assert x[xp.asarray([0, 3, -4])].get().tolist() == [0, 0, 2]
    x[xp.asarray([4])] = 9
    assert x.get().tolist() == [0, 9, 2]
    with pytest.raises(IndexError):
        x[3]


def test_memory_is_not_cleared_and_views_share_it(xp):
    assert np.isnan(xp.empty(2).get()).all()
    x = xp.zeros((2, 2))
    assert x.base is None
    assert (x + 1).base is None
    assert x.T.base is x
    assert x.reshape(4)[1:].base is x
    x.reshape(4)[1:] = 1.0
    assert x.get().tolist() == [[0.0, 1.0], [1.0, 1.0]]


def test_a_contiguous_array_has_an_axis(xp):
    assert xp.ascontiguousarray(xp.ones(())).shape == (1,)
    x = xp.ones((2, 3))
    assert xp.ascontiguousarray(x) is x
    assert xp.ascontiguousarray(x.T).shape == (3, 2)


def test_devices_of_the_double(xp):
    with xp.cuda.Device(1):
        there = xp.ones(3)
    assert there.device.id == 1
    for mixed in (lambda: there * 2, lambda: there + xp.ones(3), there.sum):
        with pytest.raises(ValueError, match="resides \\(1\\)"):
            mixed()
    with pytest.raises(AssertionError, match="before the array is computed"):
        there.copy()
    with xp.cuda.Device(1):
        computed = xp.cuda.get_current_stream().record()
    xp.cuda.get_current_stream().wait_event(computed)
    assert there.copy().device.id == 0
    with pytest.raises(NotImplementedError, match="copy non-contiguous"):
        there[::2].copy()
    with pytest.raises(strict_cupy.CUDARuntimeError), xp.cuda.Device(2):
        pass


def test_the_registry_is_restored():
    before = dict(registry._by_name), dict(registry._by_type)
    with strict_cuda():
        assert tg.ones(1, device="cuda").device == "cuda:0"
    assert (registry._by_name, registry._by_type) == before
    assert strict_cupy.ndarray not in registry.several_devices


# -- every op --------------------------------------------------------------------------


def every(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=str)


def given(value: Any) -> list[Any]:
    """The parts of a static: index=(0, mask) is 0 and the mask."""
    return [p for v in value for p in given(v)] if isinstance(value, tuple) else [value]


@every(ROWS)
def test_op_equals_the_cpus_without_waiting(row, cuda):
    """Values, gradients and recorded gradients are the CPU's; nothing is waited for and
    nothing is copied, but for masks and lists."""
    for k in range(len(row.cases)):
        found = {}
        for device in ("cpu", "cuda"):
            inputs = checks.prepared(row, k, device)
            with cuda.counting() as seen:
                results = checks.called(row, k, inputs, device)
                if row.differentiable and row.floating[k]:
                    results = results + checks.gradients(row, k, inputs)
                    results += checks.gradients(row, k, inputs, create_graph=True)
            found[device] = results
        parts = given((*row.cases[k].statics.values(), *row.cases[k].inputs))
        has_mask = any(isinstance(p, np.ndarray) and p.dtype == bool for p in parts)
        has_list = any(isinstance(p, list) for p in parts) or row.name == "pad"
        assert not seen.waits or has_mask, (MASKED, row.cases[k], seen.waits)
        uploads = [line for line in seen.uploads if "creation.py" not in line]
        assert not uploads or has_list, (LISTED, row.cases[k], uploads)
        assert not seen.downloads, (row.cases[k], seen.downloads)
        for got, want in zip(found["cuda"], found["cpu"], strict=True):
            assert got.device == "cuda:0"
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            close = dict(rtol=1e-13, atol=1e-13, err_msg=str(row.cases[k]))
            np.testing.assert_allclose(checks.host(got), checks.host(want), **close)


@every(ROWS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_op_in_half_precision(row, dtype, cuda):
    for k in range(len(row.cases)):
        if row.takes(k, dtype):
            checks.check_value(row, k, "cuda", dtype)


@every([row for row in ROWS if row.differentiable])
def test_gradient_in_half_precision(row, cuda):
    for k in range(len(row.cases)):
        if row.takes(k, ml_dtypes.bfloat16) and row.floating[k]:
            checks.check_dtypes(row, k, "cuda", ml_dtypes.bfloat16)


def test_products_stay_two_dimensional(cuda, monkeypatch):
    """Many matrices times one are a single product in CuPy.

    16-bit ones are not: parts of their sums could be rounded to 16 bits.
    """
    shapes = []

    def matmul(a, b, product=cuda.xp.matmul):
        shapes.append((a.ndim, b.ndim, a.dtype.name))
        return product(a, b)

    monkeypatch.setattr(cuda.xp, "matmul", matmul)
    a, b = random(2, 3, 4), random(4, 5)
    got = tg.matmul(tg.tensor(a, device="cuda"), tg.tensor(b, device="cuda"))
    np.testing.assert_allclose(got.numpy(), a @ b, rtol=1e-14)
    for dtype in ("float16", "bfloat16"):
        tg.ones((2, 3), dtype, "cuda") @ tg.ones((3, 2), dtype, "cuda")
        assert (tg.ones((1, 3), dtype, "cuda") @ tg.ones((3, 1), dtype, "cuda")).dtype
    assert shapes == [(2, 2, "float64")]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "bool", "int64"])
def test_index_add_of_types_that_cuda_cannot_add(dtype, cuda):
    host = np.array([1, 0, 1], dtype)
    values = np.array([1, 1], dtype)
    want = tg.index_add(tg.tensor(host), [0, 0], tg.tensor(values))
    x = tg.tensor(host, device="cuda")
    got = tg.index_add(x, [0, 0], tg.tensor(values, device="cuda"))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got.numpy(), want.numpy())


# -- the softmax cross-entropy ---------------------------------------------------------

OPTIONS = list(
    itertools.product(
        ("mean", "sum", "none"),
        ("labels", "values"),
        (0.0, 0.1),
        (False, True),
        (0, -1),
    )
)


@pytest.mark.parametrize(("reduction", "kind", "smoothing", "extra", "axis"), OPTIONS)
def test_cross_entropy(reduction, kind, smoothing, extra, axis, cuda):
    """`extra`: with class weights and, for labels, ignored rows."""
    shape = (4, 3, 5) if axis == 0 else (3, 5, 4)
    labels = np.random.default_rng(1).integers(0, 4, (3, 5))
    labels[1] = -1 if extra and kind == "labels" else labels[1]
    target = labels if kind == "labels" else random(*shape, seed=2)
    options: dict = dict(axis=axis, reduction=reduction, label_smoothing=smoothing)
    if extra:
        options["ignore_index"] = -1 if kind == "labels" else None
    results = {}
    for device in ("cpu", "cuda"):
        logits = tg.tensor(random(*shape), None, device, True)
        y = tg.tensor(target, None, device, kind == "values")
        if extra:
            options["weight"] = tg.tensor([1.0, 0.5, 2.0, 0.0], "float64", device)
        with cuda.counting() as seen:
            loss = tg.softmax_cross_entropy(logits, y, **options)
            loss.sum().backward()
        results[device] = [loss, logits.grad, *([y.grad] if kind == "values" else [])]
        assert seen == Seen()
    for got, want in zip(results["cuda"], results["cpu"], strict=True):
        np.testing.assert_allclose(
            got.detach().numpy(), want.detach().numpy(), rtol=1e-13, atol=1e-15
        )


def test_a_list_of_weights_and_a_weight_elsewhere(cuda):
    logits, y = tg.ones((2, 2), device="cuda"), tg.tensor([0, 1], device="cuda")
    tg.softmax_cross_entropy(logits, y, weight=[1.0, 2.0]).item()
    with pytest.raises(ValueError, match=r"'cuda:0'.*'cpu'"):
        tg.softmax_cross_entropy(logits, y, weight=tg.ones(2))


# -- labels out of range ---------------------------------------------------------------


def error_on_the_cpu(logits: np.ndarray, labels: Any, **options: Any) -> str:
    with pytest.raises(IndexError) as caught:
        tg.softmax_cross_entropy(tg.tensor(logits), tg.tensor(labels), **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "labels", "options"),
    [
        ((4, 3), [0, 3, -7, 1], {}),
        ((4, 3), [0, -100, 2, -1], {"ignore_index": -100}),
        ((2, 2, 3), [[0, 1], [2, 9]], {"reduction": "none"}),
        ((2, 3, 2), [[0, 1], [5, 1]], {"axis": 1, "reduction": "sum"}),
        ((3,), 4, {}),
        ((2, 3), [1, 2**40], {"label_smoothing": 0.1}),
    ],
)
def test_bad_label(shape, labels, options, cuda):
    """nan at once, in its row only; the CPU's error at the next read; then nothing."""
    text = error_on_the_cpu(random(*shape), labels, **options)
    logits = tg.tensor(random(*shape), None, "cuda", True)
    y = tg.tensor(labels, None, "cuda")
    with cuda.counting() as seen:
        loss = tg.softmax_cross_entropy(logits, y, **options)
        loss.sum().backward()
    assert not seen.waits
    with pytest.raises(IndexError) as caught:
        loss.tolist()
    assert str(caught.value) == text
    assert np.isnan(loss.detach().numpy()).any()  # forgotten
    axis, classes = options.get("axis", -1), 3
    flat, rows = np.ravel(labels), np.moveaxis(logits.grad.numpy(), axis, -1)
    bad = (flat != options.get("ignore_index")) & ((flat < 0) | (flat >= classes))
    is_nan = np.isnan(rows.reshape(-1, classes))
    np.testing.assert_array_equal(is_nan, np.repeat(bad[:, None], classes, axis=1))


@pytest.mark.parametrize(
    "read",
    [lambda t: t.item(), float, repr, tg.Tensor.numpy, bool, str, tg.Tensor.tolist],
)
def test_every_read_tells_of_a_bad_label(read, cuda):
    y = tg.tensor([7], device="cuda")
    loss = tg.softmax_cross_entropy(tg.ones((1, 3), device="cuda"), y)
    other = tg.ones((), device="cuda")
    with pytest.raises(IndexError, match="the label in row 0 is 7"):
        read(other)
    read(other)
    assert np.isnan(loss.item())


def test_the_first_bad_label_wins(cuda):
    logits = tg.ones((3, 2), device="cuda")
    for labels in ([0, 1, 1], [0, 5, 6], [8, 0, 0]):
        tg.softmax_cross_entropy(logits, tg.tensor(labels, device="cuda"))
    with pytest.raises(IndexError, match="row 1 is 5, but with 2 classes"):
        logits.numpy()
    logits.numpy()
    wide, y = tg.ones((3, 3), device="cuda"), tg.tensor([0, 1, 4], device="cuda")
    loss = tg.softmax_cross_entropy(wide, y)
    with pytest.raises(IndexError, match="row 2 is 4, but with 3 classes"):
        loss.item()


def test_the_first_bad_label_of_nothing(cuda):
    y = tg.zeros(0, "int64", "cuda")
    loss = tg.softmax_cross_entropy(tg.ones((0, 3), device="cuda"), y, reduction="sum")
    assert loss.item() == 0.0


def test_bad_labels_elsewhere(cuda):
    """On another device, in chunks, and through PyTorch's signature."""
    for call in (
        tg.softmax_cross_entropy,
        cross_entropy,
        lambda x, y: tg.linear_cross_entropy(x, tg.eye(3, device=x.device), y, chunk=1),
    ):
        for device in ("cuda:0", "cuda:1"):
            y = tg.tensor([0, 3], device=device)
            loss = call(tg.ones((2, 3), device=device), y)
            with pytest.raises(IndexError, match="row 1 is 3, but with 3 classes"):
                loss.item()
            assert np.isnan(loss.item())


# -- training --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
        lambda p: Adam(p, 0.1, weight_decay=0.1),
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_training_steps_of_an_mlp(optimizer, cuda):
    """Three steps with nothing waited for and nothing copied, and the CPU's result."""
    x, y = random(8, 4), np.arange(8) % 3
    trained = {}
    for device in ("cpu", "cuda"):
        tg.manual_seed(0)
        model = tg.nn.Sequential(tg.nn.Linear(4, 5), tg.nn.ReLU(), tg.nn.Linear(5, 3))
        model.to(device)
        steps = optimizer(model.parameters())
        data = tg.tensor(x, "float32", device), tg.tensor(y, device=device)
        with cuda.counting() as seen:
            for _ in range(3):
                loss = cross_entropy(model(data[0]), data[1], label_smoothing=0.1)
                steps.zero_grad()
                loss.backward()
                steps.step()
        assert seen == Seen()
        trained[device] = [p.detach().numpy() for p in model.parameters()]
        assert all(p.device.startswith(device) for p in model.parameters())
    for got, want in zip(trained["cuda"], trained["cpu"], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_training_on_a_device_that_is_not_current(optimizer, cuda):
    model = tg.nn.Linear(3, 2).to("cuda:1")
    steps = optimizer(model.parameters(), 0.1)
    x = tg.tensor(random(4, 3), "float32", "cuda:1")
    for _ in range(2):
        steps.zero_grad()
        cross_entropy(model(x), tg.tensor([0, 1, 1, 0], device="cuda:1")).backward()
        steps.step()
    assert {p.device for p in model.parameters()} == {"cuda:1"}


def test_linear_cross_entropy_without_waiting(cuda):
    found = {}
    for device in ("cpu", "cuda"):
        x, w = (tg.tensor(random(*s), None, device, True) for s in ((6, 4), (3, 4)))
        y = tg.tensor([0, 1, 2, 2, -100, 0], device=device)
        with cuda.counting() as seen:
            tg.linear_cross_entropy(x, w, y, chunk=2, ignore_index=-100).backward()
        assert seen == Seen()
        found[device] = x.grad.numpy(), w.grad.numpy()
    for got, want in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


# -- devices ---------------------------------------------------------------------------


def test_mixing_devices_names_both(cuda):
    here, there = tg.ones((2, 2), device="cuda:0"), tg.ones((2, 2), device="cuda:1")
    labels = tg.tensor([0, 1], device="cuda:1")
    for mixed in (
        lambda: here + there,
        lambda: tg.concatenate([here, there]),
        lambda: tg.where(here > 0, there, 0.0),
        lambda: here @ there,
        lambda: here[labels],
        lambda: tg.softmax_cross_entropy(here, labels),
    ):
        with pytest.raises(ValueError, match=r"'cuda:0'.*'cuda:1'") as caught:
            mixed()
        assert "mend: move one of them, x.to('cuda:0')" in str(caught.value)
    for mixed in (
        lambda: here + tg.ones(2),
        lambda: here * np.ones(2),
        lambda: tg.einsum("ij,ij->", here, tg.ones((2, 2))),
        lambda: tg.softmax_cross_entropy(here, tg.tensor([0, 1])),
        lambda: here[tg.tensor([0, 1])],
    ):
        with pytest.raises(ValueError, match=r"'cuda:0'.*'cpu'"):
            mixed()
    with pytest.raises(ValueError, match=r"'cpu'.*'cuda:0'"):
        np.ones(2) * here


def test_host_indices_are_placed(cuda):
    """A list or a NumPy array has no device: it goes to the tensor's."""
    for device in ("cuda:0", "cuda:1"):
        x = tg.tensor([1.0, 2.0, 3.0], device=device, requires_grad=True)
        for index in ([2, 0, 2], np.array([2, 0, 2])):
            x.grad = None
            x[index].sum().backward()
            assert x.grad.device == device
            assert x.grad.numpy().tolist() == [1.0, 0.0, 2.0]
    assert x[[]].shape == (0,)


def test_integer_on_the_device_as_an_index(cuda):
    x = tg.tensor([1.0, 2.0, 3.0], device="cuda", requires_grad=True)
    with cuda.counting() as seen:
        picked = x[x.argmax()]
        picked.backward()
    assert not seen.waits
    assert picked.item() == 3.0
    assert x.grad.numpy().tolist() == [0.0, 0.0, 1.0]


def test_repeats_on_the_device(cuda):
    x, repeats = tg.tensor([1.0, 2.0], device="cuda"), tg.tensor([2, 1], device="cuda")
    with cuda.counting() as seen:
        out = tg.repeat(x, repeats)
    assert len(seen.waits) == 1  # the result's shape depends on them
    assert out.numpy().tolist() == [1.0, 1.0, 2.0]


def test_to_and_back_with_gradients(cuda):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert (y.device, y.requires_grad) == ("cuda:0", True)
    z = (y * y).to("cuda:1").to("cpu") * 3.0
    assert z.device == "cpu"
    z.sum().backward()
    assert x.grad.device == "cpu"
    assert x.grad.numpy().tolist() == [6.0, 12.0]
    assert y.to("cuda:0") is y
    (second,) = tg.grad(x.to("cuda").sum(), [x])
    assert second.device == "cpu"
    for origin in ("cpu", "cuda:0", "cuda:1"):  # two ways to one tensor
        x = tg.tensor([1.0, 2.0], device=origin, requires_grad=True)
        (x.to("cuda:1") * x.to("cuda:1")).sum().to("cuda:0").backward()
        assert x.grad.device == origin
        assert x.grad.tolist() == [2.0, 4.0]


def test_everything_stays_on_a_device_that_is_not_current(cuda):
    x = tg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
    y = tg.exp(x) * 2 + x @ x
    y.sum().backward()
    z = tg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
    (z + 1.0).sum().backward()  # its gradient is copied as it is handed out
    made = [y, x.grad, z.grad, x.clone(), copy.deepcopy(x), tg.tensor(x)]
    made += [tg.zeros_like(x), tg.jacobian(tg.exp, x.detach())]
    made += [tg.jacobian(tg.exp, x), tg.hvp(lambda x: (x**3).sum(), x.detach(), x.grad)]
    made += [tg.arange(3, device="cuda:1"), tg.randn(2, device="cuda:1")]
    made += [tg.eye(2, device="cuda:1"), tg.tensor([1, 2], device="cuda:1") / 2]
    made += [tg.asarray(np.ones(2), device="cuda:1")]
    with tg.no_grad():
        x -= 1.0
    assert {each.device for each in [*made, x]} == {"cuda:1"}
    assert cuda.backend.device_name() == "cuda:0"


def test_use_device(cuda):
    with tg.use_device("cuda:1"):
        assert tg.zeros(2).device == tg.tensor([1.0]).device == "cuda:1"
        assert tg.tensor(np.ones(2), device="cuda").device == "cuda:1"
        assert tg.asarray(tg.ones(2, device="cuda:0")).device == "cuda:0"
        with tg.use_device("cpu"):
            assert tg.zeros(2).device == "cpu"
    assert tg.zeros(2).device == "cpu"
    assert tg.zeros(2, device="cuda").device == "cuda:0"


def test_default_device_from_the_environment(cuda, monkeypatch):
    monkeypatch.setenv("TINYGRAD_SOFTMAX_DEVICE", "cuda")
    assert tg.zeros(2).device == "cuda:0"
    assert tg.tensor([1.0, 2.0]).device == "cuda:0"
    with tg.use_device("cpu"):
        assert tg.zeros(2).device == "cpu"


@pytest.mark.parametrize(
    ("device", "error", "text"),
    [
        ("cuda:2", ValueError, "2 CUDA devices, 'cuda:0' to 'cuda:1'"),
        ("cuda:x", ValueError, "'cuda:x' is not known"),
        ("cuda:-1", ValueError, "'cuda:-1' is not known"),
        ("gpu", ValueError, "'gpu' is not known.*'cuda', 'cuda:1'"),
        ("cpu:1", ValueError, "only one 'cpu'"),
        (0, TypeError, "expected a string"),
    ],
)
def test_device_string_errors(device, error, text, cuda):
    with pytest.raises(error, match=text):
        tg.zeros(2, device=device)


def test_one_device(cuda, monkeypatch):
    monkeypatch.setattr(cuda.xp.cuda.runtime, "getDeviceCount", lambda: 1)
    with pytest.raises(ValueError, match="there is 1 CUDA device, 'cuda:0'; mend"):
        tg.zeros(2, device="cuda:1")


# -- what a user sees ------------------------------------------------------------------


def test_cuda_is_available(cuda):
    assert tg.cuda.is_available()


def test_numpy_does_not_copy_silently(cuda):
    x = tg.ones(2, device="cuda")
    for silent in (np.asarray, np.array, lambda x: np.ones(2) @ np.asarray(x)):
        with pytest.raises(TypeError, match=r"on 'cuda:0'.*x\.numpy\(\)"):
            silent(x)
    assert isinstance(x.numpy(), np.ndarray)
    x.numpy()[0] = 5.0
    assert x.tolist() == [1.0, 1.0]  # a copy


def test_repr(cuda):
    x = tg.tensor([1.0, 2.5], device="cuda:1", requires_grad=True)
    assert repr(x) == "tensor([1. , 2.5], device='cuda:1', requires_grad=True)"
    assert f"{x.sum():.2f}" == "3.50"


def test_pickle(cuda):
    x = tg.tensor([1.0, 2.0], device="cuda:1", requires_grad=True)
    again = pickle.loads(pickle.dumps(x))
    assert (again.device, again.requires_grad) == ("cuda:1", True)
    assert again.tolist() == [1.0, 2.0]


def test_random_numbers_repeat(cuda):
    state = tg.manual_seed(3).state
    with cuda.counting() as seen:
        first = (
            tg.rand(2, 3, device="cuda"),
            tg.randn(4, device="cuda", dtype="float64"),
        )
    assert seen == Seen()
    assert first[0].device == "cuda:0"
    assert (first[0].dtype, first[1].dtype) == (np.float32, np.float64)
    tg.manual_seed(3)
    again = tg.rand(2, 3, device="cuda"), tg.randn(4, device="cuda", dtype="float64")
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert (tg.rand(2, 3, device="cuda").numpy() != first[0].numpy()).any()
    assert tg.manual_seed(3).state == state
    tg.manual_seed(0)


def test_creation_copies_nothing(cuda):
    with cuda.counting() as seen:
        for make in (tg.zeros, tg.ones, tg.rand, tg.randn):
            assert make((2, 3), device="cuda").shape == (2, 3)
        x = tg.full((2,), 7, device="cuda")
        tg.eye(3, device="cuda")
        tg.zeros_like(x), tg.ones_like(x)
    assert seen == Seen()
    assert x.tolist() == [7, 7]


def test_memory_and_synchronize(cuda):
    stats = cuda.backend.memory_stats()
    assert set(stats) == {"pool_used", "pool_total", "device_used", "device_total"}
    assert 0 < stats["device_used"] < stats["device_total"]
    with cuda.counting() as seen:
        cuda.backend.synchronize()
    assert len(seen.waits) == 1


def test_detect_anomaly(cuda):
    x = tg.tensor([-1.0], device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match="log made a nan"), tg.detect_anomaly():
        tg.log(x)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_checkpoint_and_hooks(device, cuda):
    """A hook on an argument of a checkpoint runs once, in the outer walk."""
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    with cuda.counting() as counted:
        x.register_hook(lambda g: g * 2.0)
        tg.checkpoint(lambda x: tg.exp(x) * x, x).sum().backward()
    assert not counted.waits
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]) * [4, 6], rtol=1e-6)
