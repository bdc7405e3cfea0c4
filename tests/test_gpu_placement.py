"""Where arrays are made, with two GPUs that the strict double of CuPy pretends: every
op and module on one that is not current, two devices in one call, streams, `tg.cuda`.

Nothing here ran on a GPU; see strict_cupy.py.
"""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import op_checks as checks
import pytest
import strict_cupy
from op_table import ROWS, Row
from parity.harness import FAMILIES, Case, Ours, assert_same, cases_of, kept_answers
from parity.harness import run as run_case
from strict_cupy import StrictCuda, strict_cuda

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim
from tinygrad_softmax.backends import registry
from tinygrad_softmax.data import CharDataset, DataLoader, TensorDataset
from tinygrad_softmax.nn.functional import cross_entropy, nll_loss
from tinygrad_softmax.optim.optimizer import Optimizer
from tinygrad_softmax.testing import check_grads

HERE, THERE = "cuda:0", "cuda:1"  # the current device, and another one
OPTIMIZERS = [
    each
    for each in vars(optim).values()
    if isinstance(each, type) and issubclass(each, Optimizer) and each is not Optimizer
]


@pytest.fixture
def cuda() -> Iterator[StrictCuda]:
    with strict_cuda() as cuda:
        yield cuda
        assert cuda.backend.device_name() == HERE, "the current device was left changed"


def named(first: str, second: str) -> Any:
    """A context that expects an error naming both devices and the mend."""
    text = rf"(?s)^(?=.*'{first}')(?=.*'{second}').*; mend: "
    return pytest.raises(ValueError, match=text)


def model(device: str) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).to(device)


def batch(device: str) -> tuple[tg.Tensor, tg.Tensor]:
    return tg.randn(8, 4, device=device), tg.tensor(np.arange(8) % 3, device=device)


def devices_of(tensors: Any) -> set[str]:
    return {each.device for each in tensors}


# -- every op and every module ---------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_op_on_a_device_that_is_not_current(row: Row, cuda):
    """Value, gradient, recorded gradient and Hessian product: all of them there."""
    for k in range(len(row.cases)):
        made = checks.called(row, k, checks.prepared(row, k, THERE), THERE)
        for got, want in zip(made, checks.expected(row, k), strict=True):
            np.testing.assert_allclose(checks.host(got), want, rtol=1e-7, atol=1e-7)
        if row.differentiable and row.floating[k]:
            for record in (False, True):
                inputs = checks.prepared(row, k, THERE)
                made += checks.gradients(row, k, inputs, create_graph=record)
            inputs, weights = checks.prepared(row, k, THERE), checks.cotangents(row, k)
            checks._hessian_products(row, k, inputs, weights)
        assert devices_of(made) == {THERE}, row.cases[k]


@pytest.mark.parametrize("other", [THERE, "cpu"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_op_of_two_devices(row: Row, other, cuda):
    for k in range(len(row.cases)):
        inputs = checks.prepared(row, k, HERE)
        places = [i for i, x in enumerate(inputs) if isinstance(x, tg.Tensor)]
        for place in places if len(places) > 1 else ():
            mixed = list(inputs)
            mixed[place] = checks.prepared(row, k, other)[place]
            with named(HERE, other):
                checks.called(row, k, mixed, HERE)


class Elsewhere(Ours):
    """This library on a device that is not current."""

    def fill(self, tensor: Any, array: np.ndarray) -> None:
        with tg.no_grad():
            tensor[...] = self.tensor(array)

    def array(self, tensor: Any) -> np.ndarray:
        assert tensor.device == self.device
        return tensor.detach().numpy().copy()


CASES = [(family, case) for family in FAMILIES for case in cases_of(family)]
# These make a tensor of no other, on the default device, as in PyTorch.
ON_THE_DEFAULT_DEVICE = {"causal mask"}
# Here a mask is given that is not looked at.
HINTED = {("heads, causal hint", 3), ("encoder layer, causal", 1)}


@pytest.mark.parametrize(
    ("family", "case"), CASES, ids=[f"{family}-{case}" for family, case in CASES]
)
def test_a_module_on_a_device_that_is_not_current(family: str, case: Case, cuda):
    device = "cpu" if case.name in ON_THE_DEFAULT_DEVICE else THERE
    with np.errstate(all="ignore"):
        found = run_case(case, Elsewhere(device))
    assert_same(found, kept_answers(family)[case.name])


class Ran(Exception):  # noqa: N818  (it is none: the call came to its end)
    pass


class Mixed(Ours):
    """This library on one device, but for the input of a number, which is elsewhere."""

    def __init__(self, place: int, other: str) -> None:
        super().__init__(HERE)
        self.place, self.other, self.count = place, other, 0

    def tensor(self, array: np.ndarray, requires_grad: bool = False) -> tg.Tensor:
        device = self.other if self.count == self.place else HERE
        self.count += 1
        return tg.tensor(array, device=device, requires_grad=requires_grad)

    def fill(self, tensor: Any, array: np.ndarray) -> None:
        tensor.array[...] = tg.tensor(array, device=HERE).array

    def array(self, tensor: Any) -> np.ndarray:
        raise Ran


@pytest.mark.parametrize("other", [THERE, "cpu"])
@pytest.mark.parametrize(
    ("family", "case"), CASES, ids=[f"{family}-{case}" for family, case in CASES]
)
def test_a_module_of_two_devices(family: str, case: Case, other: str, cuda):
    options = (case.options or {}).values()
    count = len(case.inputs) + sum(isinstance(v, np.ndarray) for v in options)
    made = case.make(tg)
    has_weights = isinstance(made, nn.Module) and any(True for _ in made.parameters())
    has_buffers = isinstance(made, nn.Module) and any(True for _ in made.buffers())
    if count == 1 and not (has_weights or has_buffers):
        return
    for place in range(count):
        if (case.name, place) not in HINTED:
            with np.errstate(all="ignore"), named(HERE, other):
                run_case(case, Mixed(place, other))


# -- losses, labels and what is written in place ---------------------------------------


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_targets_and_weights_elsewhere(loss, cuda):
    scores, labels = tg.randn(2, 3, device=HERE), tg.tensor([0, 2], device=HERE)
    for device in ("cpu", THERE):
        with named(HERE, device):
            loss(scores, labels.to(device))
        with named(HERE, device):
            loss(scores, labels, weight=tg.ones(3, device=device))


def test_a_bad_label_of_nll_loss_elsewhere(cuda):
    scores = tg.tensor([[0.5, 0.5], [0.5, 0.5]], device=THERE, requires_grad=True)
    loss = nll_loss(scores, tg.tensor([0, 2], device=THERE))
    loss.backward()
    with pytest.raises(IndexError, match=r"^nll_loss: the label in row 1 is 2"):
        loss.item()


def test_writing_in_place(cuda):
    x = tg.zeros((2, 2), device=THERE)
    with tg.no_grad():
        x += 1.0
        x[0] = 5.0
        x[:, 1] = tg.ones(2, device=THERE)
        x[[1]] = 3.0
        assert x.tolist() == [[5.0, 1.0], [3.0, 3.0]]
        for device in ("cpu", HERE):
            other, row = tg.ones((2, 2), device=device), tg.tensor([0], device=device)
            for write in (
                lambda x, y=other: x.__iadd__(y),
                lambda x, y=other: x.__setitem__(..., y),
                lambda x, y=other: x.__setitem__(0, y[0]),
                lambda x, i=row: x.__setitem__(i, 1.0),
                lambda x, y=other: x.__isub__(y.array),
                lambda x, y=other: x.__setitem__(..., y.array),
            ):
                with named(THERE, device):
                    write(x)
    assert x.tolist() == [[5.0, 1.0], [3.0, 3.0]]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8", "bool"])
def test_integers_become_floats_where_they_are(dtype, cuda):
    x = tg.tensor([1, 1], dtype, THERE)
    made = [tg.exp(x), 1 / x, x.astype("float32").mean()]
    assert devices_of(made) == {THERE}
    assert made[0].dtype == tg.float32


def test_raw_arrays_elsewhere(cuda):
    """Arrays of CuPy's that are in no tensor, as inputs and as indices."""
    x, y = tg.ones(2, device=HERE), tg.tensor([1, 0], device=THERE)
    with named(HERE, THERE):
        x * y.array
    with named(HERE, THERE):
        x[y.array]
    with named(HERE, THERE):
        tg.where(x > 0, x, y.array)
    assert x[y.to(HERE).array].tolist() == [1.0, 1.0]
    assert y[y.array].tolist() == [0, 1]


# -- gradients -------------------------------------------------------------------------


def test_a_gradient_that_is_given(cuda):
    for seed in (np.ones(2), np.ones(2, np.float32), [1.0, 1.0]):
        x = tg.tensor([1.0, 2.0], device=THERE, requires_grad=True)
        (x * x).backward(seed)
        assert (x.grad.device, x.grad.tolist()) == (THERE, [2.0, 4.0])
    for device in ("cpu", HERE):
        seed = tg.ones(2, device=device)
        with named(THERE, device):
            (x * x).backward(seed)
        with named(THERE, device):
            tg.hvp(lambda x: (x**3).sum(), x, seed)


def test_a_gradient_that_a_hook_returns(cuda):
    for dtype in ("float64", "float32", "float16"):
        x = tg.tensor([1.0, 2.0], device=THERE, requires_grad=True)
        x.register_hook(lambda g, dtype=dtype: (g * 2.0).astype(dtype))
        (x * 3.0).sum().backward()
        assert (x.grad.device, x.grad.tolist()) == (THERE, [6.0, 6.0])
    for device in ("cpu", HERE):
        x = tg.tensor([1.0, 2.0], device=THERE, requires_grad=True)
        x.register_hook(lambda g, device=device: tg.ones(2, device=device))
        with named(THERE, device):
            (x * 3.0).sum().backward()


def test_anomalies_are_looked_for_there(cuda):
    x = tg.tensor([1.0, 2.0], device=THERE, requires_grad=True)
    with tg.detect_anomaly():
        (tg.exp(x) * x).sum().backward()
        with pytest.raises(RuntimeError, match="log made a nan"):
            tg.log(x - 5.0)


def test_checking_gradients_there(cuda):
    x = tg.tensor([1.0, 2.0], "float64", THERE, requires_grad=True)
    check_grads(lambda x: tg.exp(x) * x, x)


def test_checkpoint_and_dropout_there(cuda):
    x = tg.ones((4, 4), device=THERE, requires_grad=True)
    drop = nn.Dropout(0.5)
    out = tg.checkpoint(lambda x: drop(x) * x, x)
    out.sum().backward()
    assert x.grad.device == THERE
    np.testing.assert_array_equal(x.grad.numpy(), 2.0 * out.detach().numpy())


def test_random_numbers_do_not_depend_on_the_device(cuda):
    drawn = []
    for device in (HERE, THERE):
        tg.manual_seed(7)
        drawn.append([tg.rand(5, device=device), tg.randn(5, device=device)])
        assert devices_of(drawn[-1]) == {device}
    for one, two in zip(*drawn, strict=True):
        assert one.tolist() == two.tolist()
    tg.manual_seed(0)


# -- moving ----------------------------------------------------------------------------


def test_arrays_that_are_not_contiguous_move(cuda):
    """CuPy can't copy them from device to device."""
    x = tg.randn(4, 6, device=THERE).requires_grad_()
    for part in (x.T, x[:, ::2], x[::-1], x[1:, 1:]):
        for device in (HERE, "cpu"):
            np.testing.assert_array_equal(
                part.to(device).detach().numpy(), part.detach().numpy()
            )
    (x[:, ::2].to(HERE) * 2.0).sum().backward()
    assert x.grad.device == THERE


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_an_optimizer_follows_its_parameters(kind, cuda):
    net, first = model("cpu"), True
    steps = kind(net.parameters(), lr=0.1)
    for device in ("cpu", THERE, HERE, THERE):
        net.to(device)
        if not first:
            assert devices_of(p.grad for p in net.parameters()) == {device}
        x, y = batch(device)
        steps.zero_grad()
        cross_entropy(net(x), y).backward()
        steps.step()
        assert devices_of(net.parameters()) == {device}
        first = False
    other = model(HERE)
    again = kind(other.parameters(), lr=0.1)
    again.load_state_dict(copy.deepcopy(steps.state_dict()))
    x, y = batch(HERE)
    cross_entropy(other(x), y).backward()
    again.step()
    arrays = [v for entry in again.state.values() for v in entry.values() if v.ndim]
    assert devices_of(arrays) <= {HERE}


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_an_optimizer_of_two_devices(kind, cuda):
    """One model on each: clipping and steps serve both."""
    one, two = model(HERE), model(THERE)
    parameters = [*one.parameters(), *two.parameters()]
    steps, scaler = kind(parameters, lr=0.1), tg.GradScaler("cuda", init_scale=4.0)
    x, y = batch(HERE)
    loss = cross_entropy(one(x), y).to(THERE)
    loss = loss + cross_entropy(two(x.to(THERE)), y.to(THERE))
    scaler.scale(loss).backward()
    scaler.unscale_(steps)
    want = np.sqrt(sum((p.grad.numpy() ** 2).sum() for p in parameters))
    norm = nn.utils.clip_grad_norm_(parameters, 0.01)
    assert norm.device == HERE
    np.testing.assert_allclose(norm.item(), want, rtol=1e-5)
    nn.utils.clip_grad_value_(parameters, 0.005)
    scaler.step(steps)
    scaler.update()
    assert devices_of(one.parameters()) == {HERE}
    assert devices_of(two.parameters()) == {THERE}


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_a_gradient_elsewhere(kind, cuda):
    net = model(THERE)
    for device in ("cpu", HERE):
        for p in net.parameters():
            p.grad = tg.ones(p.shape, device=device)
        with named(THERE, device):
            kind(net.parameters(), lr=0.1).step()


def test_a_state_is_loaded_where_the_model_is(cuda):
    net = model(THERE)
    for device in ("cpu", HERE, THERE):
        state = model(device).state_dict()
        for given in (state, {key: value.numpy() for key, value in state.items()}):
            net.load_state_dict(given)
            assert devices_of(net.parameters()) == {THERE}
            for key, value in net.state_dict().items():
                np.testing.assert_array_equal(value.numpy(), state[key].numpy())


def test_a_checkpoint_is_loaded_where_it_is_asked_for(cuda, tmp_path):
    path, net = tmp_path / "state.safetensors", model(THERE)
    tg.save(net.state_dict(), path)
    for device in (None, "cpu", HERE, THERE):
        found = tg.load(path, device=device)
        assert devices_of(found.values()) == {device or "cpu"}
    with tg.use_device(THERE):
        assert devices_of(tg.load(path).values()) == {THERE}
    model(HERE).load_state_dict(tg.load(path, device=THERE))


# -- data and training -----------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("pinned", [False, True])
def test_batches_go_where_they_are_asked_for(workers, pinned, cuda):
    x, y = tg.randn(10, 4), tg.tensor(np.arange(10) % 3)
    options = dict(batch_size=4, num_workers=workers, pin_memory=pinned)
    for home in ("cpu", HERE, THERE):
        rows = TensorDataset(x.to(home), y.to(home))
        for device in (None, "cpu", HERE, THERE):
            batches = list(DataLoader(rows, device=device, **options))
            assert devices_of(t for each in batches for t in each) == {device or home}
            back = np.concatenate([each[0].numpy() for each in batches])
            np.testing.assert_array_equal(back, x.numpy())


def test_samples_of_two_devices(cuda):
    samples = [tg.ones(3, device=HERE), tg.ones(3, device=THERE)]
    with named(HERE, THERE):
        list(DataLoader(samples, batch_size=2))


def test_text_on_a_device_that_is_not_current(cuda):
    with tg.use_device(THERE):
        text = CharDataset("abcabcabc", block_size=3)
    for x, y in DataLoader(text, batch_size=2):
        assert devices_of((x, y)) == {THERE}
        assert x[:, 1:].tolist() == y[:, :-1].tolist()


def test_metrics(cuda):
    output, target = tg.eye(3, device=THERE), tg.tensor([0, 1, 1], device=THERE)
    for metric in (tg.training.accuracy, lambda *a: tg.training.top_k_accuracy(*a, 1)):
        found = metric(output, target)
        assert found.device == THERE
        assert found.item() == 2 / 3
        for device in ("cpu", HERE):
            with named(THERE, device):
                metric(output, target.to(device))


def test_a_run_goes_on_with_another_device(cuda, tmp_path):
    x, y = batch("cpu")
    file = tmp_path / "run.safetensors"
    for epochs, device in ((1, THERE), (2, HERE), (3, "cpu"), (4, THERE)):
        loader = DataLoader(TensorDataset(x, y), 4, shuffle=True, pin_memory=True)
        net = model("cpu")
        trainer = tg.Trainer(
            net,
            optim.AdamW(net.parameters()),
            metrics=[tg.training.accuracy],
            device=device,
            clip_grad_norm=1.0,
            checkpoint=file,
            progress=False,
        )
        resume = file if epochs > 1 else None
        history = trainer.fit(loader, loader, epochs=epochs, resume=resume)
        assert len(history["val_accuracy"]) == epochs
        assert devices_of(net.parameters()) == {device}


def test_a_program_on_the_device_of_the_environment(cuda, monkeypatch):
    monkeypatch.setenv("TINYGRAD_SOFTMAX_DEVICE", THERE)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.GELU())
    net = nn.Sequential(net, nn.LayerNorm(8), nn.Linear(8, 3))
    assert devices_of([*net.parameters(), *net.buffers()]) == {THERE}
    rows = [(np.full(4, i, np.float32), i % 3) for i in range(8)]
    for workers in (0, 1):
        loader = DataLoader(rows, 4, shuffle=True, num_workers=workers)
        steps = optim.Adam(net.parameters())
        trainer = tg.Trainer(net, steps, precision="float16", progress=False)
        trainer.fit(loader, loader, epochs=1)
        assert devices_of(tensor for each in loader for tensor in each) == {THERE}


# -- streams ---------------------------------------------------------------------------


def test_a_copy_between_devices_keeps_its_turn(cuda):
    """The stream it goes to waits for the one it comes from; that, for the copy."""
    xp, x = cuda.xp, tg.ones(3, device=HERE)
    with xp.cuda.Device(1):
        there = xp.cuda.Stream()
    here = xp.cuda.Stream()
    with here, xp.cuda.Device(1), there, xp.cuda.Device(0):
        assert x.to(THERE).device == THERE
    assert [event.stream for event in there.waited] == [here]
    assert [event.stream for event in here.waited] == [there]


def test_the_record_of_labels_is_used_in_turn(cuda):
    one, two = cuda.xp.cuda.Stream(), cuda.xp.cuda.Stream()
    null = cuda.xp.cuda.get_current_stream()
    logits, labels = tg.ones((2, 3), device=HERE), tg.tensor([0, 3], device=HERE)
    with cuda.counting() as seen:
        with one:
            tg.softmax_cross_entropy(logits, labels)
            tg.softmax_cross_entropy(logits, labels)
        with two:
            loss = tg.softmax_cross_entropy(logits, labels)
    assert not seen.waits
    assert one.waited == []  # it made the record
    assert [event.stream for event in two.waited] == [one]
    before = len(null.waited)
    with pytest.raises(IndexError, match="row 1 is 3"):
        loss.item()
    assert [event.stream for event in null.waited[before:]] == [two]
    logits.numpy()
    assert len(null.waited) == before + 1


def test_a_step_is_captured_whatever_stream_was_used_before(cuda):
    stream = cuda.xp.cuda.Stream()
    logits, labels = tg.ones((2, 3), device=HERE), tg.tensor([0, 3], device=HERE)
    tg.softmax_cross_entropy(logits, tg.tensor([0, 1], device=HERE)).item()
    with stream:
        stream.begin_capture()
        loss = tg.softmax_cross_entropy(logits, labels)
        stream.end_capture()
    assert stream.waited == []
    with pytest.raises(IndexError, match="row 1 is 3"):
        loss.item()


def test_a_thread_works_on_the_streams_of_its_consumer(cuda):
    """On every device, not only on the current one."""
    cupy, seen = cuda.xp.cuda, []

    class Rows:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> float:
            seen.append([cupy.get_current_stream(device) for device in (0, 1)])
            return float(number)

    with cupy.Device(1):
        there = cupy.Stream()
    here = cupy.Stream()
    with here, cupy.Device(1), there, cupy.Device(0):
        list(DataLoader(Rows(), batch_size=1, num_workers=1))
    assert seen == [[here, there]] * 2


def test_two_threads_upload(cuda):
    """What the one is copying is not forgotten by the other."""
    backend, threads = cuda.backend, []

    def upload(value: float) -> None:
        backend.upload(backend.pinned(np.full(2, value)), HERE)

    class Asked:
        """An event that another thread comes in between of, when it is looked at."""

        @property
        def done(self) -> bool:
            if not threads:
                threads.append(threading.Thread(target=upload, args=(2.0,)))
                threads[0].start()
                threads[0].join(0.2)
            return False

    backend._uploading.append((Asked(), np.zeros(2)))
    upload(1.0)
    threads[0].join()
    kept = sorted(float(array[0]) for _, array in backend._uploading)
    assert kept == [0.0, 1.0, 2.0]


# -- tg.cuda ---------------------------------------------------------------------------


def test_what_there_is(cuda):
    assert tg.cuda.is_available()
    assert tg.cuda.device_count() == 2
    assert tg.cuda.current_device() == 0
    with tg.use_device(THERE):
        assert tg.cuda.current_device() == 1
        assert tg.cuda.get_device_name() == "Double 1"
    for device in (1, "cuda:1"):
        found = tg.cuda.get_device_properties(device)
        assert found.name == tg.cuda.get_device_name(device) == "Double 1"
        assert tg.cuda.get_device_capability(device) == (9, 0)
        assert (found.multi_processor_count, found.total_memory) == (132, 8 << 30)
        assert found.L2_cache_size == 50 << 20
    assert tg.cuda.get_device_name("cuda") == tg.cuda.get_device_name() == "Double 0"


def test_memory_of_each_device(cuda):
    for index, device in enumerate((HERE, THERE)):
        for given in (index, device):
            stats = tg.cuda.memory_stats(given)
            assert tg.cuda.memory_allocated(given) == (1 + index) << 20
            assert tg.cuda.memory_reserved(given) == (1 + index) << 21
            assert list(stats.values()) == [(1 + index) << 20, (1 + index) << 21]
            assert tg.cuda.mem_get_info(given) == (3 << 30, (1 + index) << 32)
    assert tg.cuda.memory_allocated() == 1 << 20
    with tg.use_device(THERE):
        assert tg.cuda.memory_allocated() == 2 << 20


def test_synchronize(cuda, monkeypatch):
    waited = []
    device = cuda.xp.cuda.Device
    monkeypatch.setattr(device, "synchronize", lambda self: waited.append(self.id))
    for given in (None, 1, "cuda:1", "cuda"):
        tg.cuda.synchronize(given)
    with tg.use_device(THERE):
        tg.cuda.synchronize()
    assert waited == [0, 1, 1, 0, 1]


def test_empty_cache(cuda):
    """On every device; and of the host what no upload needs any more."""
    backend = cuda.backend
    for _ in range(2):
        backend.upload(backend.pinned(np.ones(2)), THERE)
    backend._uploading[0][0].done = True
    tg.cuda.empty_cache()
    assert cuda.xp.get_default_memory_pool().freed == [0, 1]
    assert len(cuda.xp.get_default_pinned_memory_pool().freed) == 1
    assert len(backend._uploading) == 1


@pytest.mark.parametrize(
    ("device", "error", "text"),
    [
        ("cpu", ValueError, "device 'cpu' is no GPU; expected a number, 'cuda'"),
        (-1, ValueError, "the GPU was given as -1; expected a number >= 0"),
        (2, ValueError, "'cuda:2' was asked for, but there are 2 CUDA devices"),
        ("cuda:x", ValueError, "'cuda:x' is not known"),
        (True, TypeError, "device was given as True"),
    ],
)
def test_a_gpu_that_is_not_there(device, error, text, cuda):
    with pytest.raises(error, match=text):
        tg.cuda.synchronize(device)


ASKING: list[Callable[[], Any]] = [
    tg.cuda.current_device,
    tg.cuda.synchronize,
    tg.cuda.memory_stats,
    tg.cuda.memory_allocated,
    tg.cuda.memory_reserved,
    tg.cuda.mem_get_info,
    tg.cuda.get_device_name,
    tg.cuda.get_device_properties,
    tg.cuda.get_device_capability,
]


def test_without_cupy(monkeypatch):
    before = dict(registry._by_name)
    registry._by_name.pop("cuda", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    try:
        assert tg.cuda.is_available() is False
        assert tg.cuda.device_count() == 0
        tg.cuda.empty_cache()
        for ask in ASKING:
            with pytest.raises(RuntimeError, match='"cuda" needs CuPy, which is not'):
                ask()
    finally:
        registry._by_name.update(before)


def test_empty_cache_where_cuda_was_not_used(monkeypatch):
    """It does not import CuPy for that."""
    monkeypatch.setattr(registry, "_by_name", {"cpu": registry._by_name["cpu"]})
    tg.cuda.empty_cache()
    assert set(registry._by_name) == {"cpu"}


def test_the_double_enters_a_stream_on_its_device_only(cuda):
    stream = cuda.xp.cuda.Stream()
    with cuda.xp.cuda.Device(1):
        with pytest.raises(RuntimeError, match=r"created on \(0\) does not match"):
            stream.__enter__()
        with pytest.raises(strict_cupy.CUDARuntimeError):
            stream.record()
