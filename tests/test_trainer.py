"""The training loop: what it computes, measures, saves, and how it is gone on with."""

from __future__ import annotations

import math
import signal
import threading

import numpy as np
import pytest
from matplotlib import image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix as reference_confusion_matrix
from sklearn.metrics import log_loss, top_k_accuracy_score
from strict_cupy import strict_cuda
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tinygrad_softmax as tg
from tinygrad_softmax import nn, optim, training
from tinygrad_softmax.backends.random import default_generator
from tinygrad_softmax.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    TensorDataset,
)
from tinygrad_softmax.nn.functional import cross_entropy, dropout, mse_loss
from tinygrad_softmax.optim import lr_scheduler
from tinygrad_softmax.saving import CheckpointError
from tinygrad_softmax.training import (
    Callback,
    DivergedError,
    EarlyStopping,
    History,
    ModelCheckpoint,
    TensorBoard,
    Trainer,
    accuracy,
    confusion_matrix,
    top_k_accuracy,
)

ROWS, CLASSES = 44, 3


def clouds(device="cpu", rows=ROWS, dtype="float32", seed=0) -> TensorDataset:
    """Points around three centres, which overlap."""
    rng = np.random.default_rng(seed)
    target = np.arange(rows) % CLASSES
    centres = np.random.default_rng(99).normal(size=(CLASSES, 2))
    points = centres[target] + rng.normal(size=(rows, 2))
    return TensorDataset(
        tg.tensor(points.astype(dtype), device=device), tg.tensor(target, device=device)
    )


def network(device="cpu", dropout=0.3, dtype=None) -> nn.Module:
    tg.manual_seed(1)
    model = nn.Sequential(
        nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(8, CLASSES),
    )  # fmt: skip
    return model.to(device, dtype)


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {k: v.to("cpu").numpy().copy() for k, v in model.state_dict().items()}


def assert_identical(one: dict, two: dict) -> None:
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert value.tobytes() == two[key].tobytes(), key


# -- what it computes ------------------------------------------------------------


def test_it_is_the_loop_that_one_would_write(device):
    model = network(device)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(clouds(device), 8, shuffle=True)
    history = Trainer(model, optimizer, progress=False).fit(loader, epochs=3)

    by_hand = network(device)
    optimizer = optim.SGD(by_hand.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(3):
        total = 0.0
        for x, y in DataLoader(clouds(device), 8, shuffle=True):
            optimizer.zero_grad()
            loss = cross_entropy(by_hand(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / ROWS)
    assert_identical(weights_of(model), weights_of(by_hand))
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-12)
    assert list(history) == ["loss", "lr"]
    assert history["lr"] == [0.1] * 3


def test_it_reaches_the_optimum_of_logistic_regression(device):
    data = clouds(device, 120)
    model = nn.Linear(2, CLASSES, device=device)
    optimizer = optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    trainer = Trainer(model, optimizer, progress=False)
    trainer.fit(DataLoader(data, 120), epochs=500)
    x, y = (each.to("cpu").numpy() for each in data.tensors)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    ours = tg.softmax(trainer.predict(DataLoader(data, 50)), axis=1).to("cpu").numpy()
    np.testing.assert_allclose(ours, reference.predict_proba(x), atol=2e-3)


@pytest.mark.parametrize("precision", [None, "bfloat16", "float16"])
def test_every_precision_learns(device, precision):
    model = network(device, dropout=0.0)
    trainer = Trainer(
        model,
        optim.Adam(model.parameters(), 0.02),
        metrics=[accuracy],
        precision=precision,
        clip_grad_norm=10.0,
        progress=False,
    )
    history = trainer.fit(DataLoader(clouds(device), 8, shuffle=True), epochs=20)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert history["accuracy"][-1] > history["accuracy"][0]
    assert all(p.dtype == tg.float32 for p in model.parameters())
    assert (trainer.scaler is not None) == (precision == "float16")


def test_lower_precision_is_used(device):
    seen = []

    class Spy(nn.Linear):
        def forward(self, input):
            out = super().forward(input)
            seen.append(out.dtype)
            return out

    model = Spy(2, CLASSES, device=device)
    trainer = Trainer(
        model, optim.SGD(model.parameters()), precision="float16", progress=False
    )
    loader = DataLoader(clouds(device), 22)
    trainer.fit(loader, loader, epochs=1)
    trainer.predict(loader)
    assert seen == [tg.float16] * 6


def test_accumulated_batches_are_one_batch(device):
    """Of one size: the mean of their means is the mean. The rest is a step too."""
    results = []
    for batch_size, accumulate in ((16, 1), (4, 4)):
        tg.manual_seed(3)
        model = nn.Linear(2, CLASSES, device=device, dtype="float64")
        trainer = Trainer(
            model,
            optim.Adam(model.parameters(), 0.1),
            accumulate_grad_batches=accumulate,
            progress=False,
        )
        loader = DataLoader(clouds(device, 40, "float64"), batch_size)
        trainer.fit(loader, epochs=3)
        results.append(weights_of(model))
        assert trainer.step == 9
    for key, value in results[0].items():
        np.testing.assert_allclose(value, results[1][key], rtol=1e-10)


def test_accumulation_needs_no_length(device):
    model = nn.Linear(2, CLASSES, device=device)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters()),
        accumulate_grad_batches=2,
        progress=False,
    )

    class Stream:
        def __iter__(self):
            return iter(DataLoader(clouds(device), 9))

    trainer.fit(Stream(), epochs=1)
    assert trainer.step == 3


def test_gradients_are_clipped(device):
    def step(**limits):
        tg.manual_seed(0)
        model = nn.Linear(2, CLASSES, device=device)
        before = weights_of(model)
        trainer = Trainer(
            model, optim.SGD(model.parameters(), lr=1.0), progress=False, **limits
        )
        trainer.fit([clouds(device)[:]], epochs=1)
        after = weights_of(model)
        return np.concatenate([(after[k] - before[k]).ravel() for k in before])

    free, by_norm = step(), step(clip_grad_norm=0.01)
    assert np.linalg.norm(free) > 0.1
    np.testing.assert_allclose(np.linalg.norm(by_norm), 0.01, rtol=1e-3)
    np.testing.assert_allclose(by_norm, free * (0.01 / np.linalg.norm(free)), rtol=2e-3)
    by_value = step(clip_grad_value=0.05)
    np.testing.assert_allclose(by_value, np.clip(free, -0.05, 0.05), atol=1e-6)


def test_schedulers_step_when_asked(device):
    def rates(make, **options):
        model = nn.Linear(2, CLASSES, device=device)
        optimizer = optim.SGD(model.parameters(), lr=1e-3)
        trainer = Trainer(
            model, optimizer, scheduler=make(optimizer), progress=False, **options
        )
        loader = DataLoader(clouds(device), 22)
        return trainer.fit(loader, loader, epochs=4)["lr"]

    def halves(optimizer):
        return lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    np.testing.assert_allclose(rates(halves), [1e-3, 5e-4, 2.5e-4, 1.25e-4])
    by_step = rates(halves, scheduler_interval="step")
    np.testing.assert_allclose(by_step, [1e-3 / 4**n for n in range(1, 5)])

    def plateau(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", patience=0)

    watched = rates(plateau, monitor="lr")  # never grows
    np.testing.assert_allclose(watched, [1e-3, 1e-3, 1e-4, 1e-5])
    with pytest.raises(ValueError, match=r"watch 'val_f1', which is not measured; the"):
        rates(plateau, monitor="val_f1")


def test_other_batches_and_losses(device):
    """Several inputs, a dict by compute_loss, a target that is no label."""

    class Sum(nn.Module):
        def __init__(self):
            self.scale = nn.Parameter(tg.ones(1, device=device))

        def forward(self, a, b):
            return (a + b) * self.scale

    a = tg.arange(4, dtype="float32", device=device)
    model = Sum()
    trainer = Trainer(
        model, optim.SGD(model.parameters(), lr=0.01), mse_loss, progress=False
    )
    trainer.fit([(a, a, 6.0 * a)], epochs=200)
    np.testing.assert_allclose(model.scale.tolist(), [3.0], rtol=1e-4)

    class OfDicts(Trainer):
        def compute_loss(self, batch):
            output = self.model(batch["a"], batch["b"])
            return mse_loss(output, batch["sum"]), output, batch["sum"]

    trainer = OfDicts(model, optim.SGD(model.parameters(), lr=0.01), progress=False)
    batch = {"a": a.to("cpu").numpy(), "b": a, "sum": 4.0 * a}
    trainer.fit([batch], epochs=200)
    np.testing.assert_allclose(model.scale.tolist(), [2.0], rtol=1e-4)


# -- what it measures ------------------------------------------------------------


def test_evaluate_is_the_mean_over_samples(device):
    model, data = network(device), clouds(device)
    trainer = Trainer(
        model, optim.SGD(model.parameters()), metrics=[accuracy], progress=False
    )
    model[1].training = False
    measured = trainer.evaluate(DataLoader(data, 20))  # 20, 20 and 4
    assert [module.training for module in model] == [True, False, True, True, True]
    x, y = (each.to("cpu").numpy() for each in data.tensors)
    outputs = trainer.predict(DataLoader(tg.tensor(x), 7)).to("cpu").numpy()
    probabilities = np.exp(outputs.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert measured["loss"] == pytest.approx(log_loss(y, probabilities), rel=1e-6)
    assert measured["accuracy"] == (outputs.argmax(axis=1) == y).mean()


def test_metrics_are_those_of_scikit_learn(device):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(50, 6)), rng.integers(0, 6, 50)
    ours = [tg.tensor(each, device=device) for each in (scores, labels)]
    assert top_k_accuracy(*ours, k=6).item() == 1.0
    for k in range(1, 6):
        expected = top_k_accuracy_score(labels, scores, k=k, labels=range(6))
        assert top_k_accuracy(*ours, k=k).item() == pytest.approx(expected, abs=1e-12)
    assert accuracy(*ours).item() == top_k_accuracy(*ours, k=1).item()
    pixels = tg.moveaxis(ours[0].reshape(5, 10, 6), -1, 1)
    image_labels = ours[1].reshape(5, 10)
    assert accuracy(pixels, image_labels).item() == accuracy(*ours).item()
    assert top_k_accuracy(pixels, image_labels, k=2).item() == pytest.approx(
        top_k_accuracy(*ours, k=2).item()
    )
    with pytest.raises(ValueError, match=r"accuracy: the target is float64 of shape"):
        accuracy(ours[0], ours[0])
    with pytest.raises(ValueError, match="k is 7; expected 1 to 6 classes"):
        top_k_accuracy(*ours, k=7)


def test_confusion_counts_true_by_predicted():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 4, (2, 100))
    ours = confusion_matrix(true, predicted, 5)
    reference = reference_confusion_matrix(true, predicted, labels=range(5))
    np.testing.assert_array_equal(ours, reference)


def test_means_do_not_drift():
    """A mean of float32 losses over many batches keeps float64's digits."""
    means = training.metrics.Means()
    for _ in range(1000):
        means.add({"loss": tg.tensor(0.1)}, 3)
    assert means.read()["loss"] == pytest.approx(float(np.float32(0.1)), rel=1e-13)


def test_a_loss_that_is_lost_stops_the_training(device):
    model = network(device)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=1e30), progress=False)
    with pytest.raises(DivergedError, match="in epoch 1: lower the learning rate"):
        trainer.fit(DataLoader(clouds(device), 8), epochs=3)


def test_history_is_a_table(tmp_path):
    history = History()
    history.append({"loss": 3.0, "accuracy": 0.5})
    history.append({"loss": 1.0, "val_loss": 2.0})
    assert history["accuracy"][0] == 0.5
    assert math.isnan(history["accuracy"][1])
    assert math.isnan(history["val_loss"][0])
    assert history.best("loss") == (2, 1.0)
    assert history.best("loss", "max") == (1, 3.0)
    assert history.best("val_loss") == (2, 2.0)
    assert repr(history) == "History(2 epochs: loss 1, accuracy nan, val_loss 2)"
    assert History(history.state_dict())["loss"] == [3.0, 1.0]
    with pytest.raises(KeyError, match="'f1' was not measured; there are loss, accu"):
        history["f1"]
    with pytest.raises(ValueError, match="its lists have different lengths"):
        History({"a": [1.0], "b": []})
    with pytest.raises(ValueError, match="the history is empty: call fit first"):
        History().plot()


def test_history_plots_itself(tmp_path):
    history = History()
    for epoch in range(1, 6):
        history.append({"loss": 1 / epoch, "val_loss": 1.2 / epoch, "lr": 1e-3 / epoch})
    figure = history.plot(tmp_path / "history.png")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "lr"]
    drawn = [list(line.get_ydata()) for line in figure.axes[0].lines]
    assert drawn == [history["loss"], history["val_loss"]]
    assert image.imread(tmp_path / "history.png").std() > 0.05
    assert history._repr_png_() == (tmp_path / "history.png").read_bytes()


# -- callbacks -------------------------------------------------------------------


class Diary(Callback):
    def __init__(self):
        self.lines: list[str] = []

    def on_fit_start(self, trainer):
        self.lines.append("start")

    def on_epoch_start(self, trainer):
        self.lines.append(f"epoch {trainer.epoch + 1}")

    def on_step_end(self, trainer, loss):
        assert not loss.requires_grad
        self.lines.append(f"step {trainer.step} {trainer.batch}")

    def on_epoch_end(self, trainer):
        self.lines.append(f"end {trainer.epoch} {trainer.history.epochs}")

    def on_fit_end(self, trainer):
        self.lines.append(f"over {trainer.finished}")


def test_callbacks_are_called_in_turn():
    diary, model = Diary(), nn.Linear(2, CLASSES)
    trainer = Trainer(
        model, optim.SGD(model.parameters()), callbacks=[diary], progress=False
    )
    trainer.fit(DataLoader(clouds(), 22), epochs=2)
    assert diary.lines == [
        "start",
        *("epoch 1", "step 1 1", "step 2 2", "end 1 1"),
        *("epoch 2", "step 3 1", "step 4 2", "end 2 2"),
        "over True",
    ]


def test_a_callback_hears_of_the_end_when_training_fails():
    diary, model = Diary(), nn.Linear(2, CLASSES)
    trainer = Trainer(
        model, optim.SGD(model.parameters()), callbacks=[diary], progress=False
    )
    with pytest.raises(ValueError, match="nothing to train on: no batches came"):
        trainer.fit([], epochs=1)
    assert diary.lines[-1] == "over False"


class Measured(Callback):
    """Puts values of a test's own choosing in place of what was measured."""

    def __init__(self, *values):
        self.values = values

    def on_epoch_end(self, trainer):
        trainer.history["val_loss"][-1] = self.values[trainer.epoch - 1]


def stopped_early(stopping, *values):
    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        callbacks=[Measured(*values), stopping],
        progress=False,
    )
    loader = DataLoader(clouds(), 22)
    trainer.fit(loader, loader, epochs=len(values))
    return trainer


def test_early_stopping_waits_for_its_patience():
    values = (3.0, 2.0, 2.0, 2.5, 1.0, 1.5, 1.5, 1.5, 0.5)
    assert stopped_early(EarlyStopping(), *values).epoch == 3
    assert stopped_early(EarlyStopping(patience=1), *values).epoch == 4
    stopping = EarlyStopping(patience=2)
    assert stopped_early(stopping, *values).epoch == 8
    assert (stopping.best, stopping.best_epoch) == (1.0, 5)
    assert stopped_early(EarlyStopping(patience=3), *values).epoch == 9
    assert stopped_early(EarlyStopping(min_delta=1.5, patience=2), *values).epoch == 4
    assert stopped_early(EarlyStopping(patience=9, mode="max"), *values).epoch == 9
    assert stopped_early(EarlyStopping(patience=2), math.nan, *values[:3]).epoch == 4


def test_early_stopping_gives_back_the_best_weights():
    kept = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer):
            kept[trainer.epoch] = weights_of(trainer.model)

    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        callbacks=[
            Measured(3.0, 1.0, 2.0, 2.0),
            EarlyStopping(patience=1, restore_best_weights=True),
            Keep(),
        ],
        progress=False,
    )
    loader = DataLoader(clouds(), 22)
    trainer.fit(loader, loader, epochs=10)
    assert trainer.epoch == 4
    assert_identical(weights_of(model), kept[2])
    assert not np.array_equal(kept[2]["weight"], kept[4]["weight"])


def test_the_best_model_is_saved(tmp_path):
    path = tmp_path / "best.safetensors"
    kept = {}

    class Keep(Callback):
        def on_epoch_end(self, trainer):
            kept[trainer.epoch] = weights_of(trainer.model)

    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        callbacks=[Measured(3.0, 1.0, 2.0), ModelCheckpoint(path), Keep()],
        progress=False,
    )
    loader = DataLoader(clouds(), 22)
    trainer.fit(loader, loader, epochs=3)
    assert_identical(weights_of(model), kept[3])
    model.load_state_dict(tg.load(path))
    assert_identical(weights_of(model), kept[2])


def test_tensorboard_reads_the_events(tmp_path):
    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        callbacks=[TensorBoard(tmp_path, every=2)],
        progress=False,
    )
    loader = DataLoader(clouds(), 22)
    history = trainer.fit(loader, loader, epochs=3)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "lr", "step_loss", "val_loss"]
    for name, values in history.items():
        read = events.Scalars(name)
        assert [each.step for each in read] == [1, 2, 3]
        np.testing.assert_array_equal([e.value for e in read], np.float32(values))
    assert [each.step for each in events.Scalars("step_loss")] == [2, 4, 6]


# -- stopping and going on ---------------------------------------------------------


class CtrlC(Callback):
    """Presses Ctrl-C in some event, the n-th time."""

    def __init__(self, event="on_step_end", count=0):
        self.left = count
        setattr(self, event, self.press)

    def press(self, *arguments):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def a_run(path, device, presses=None, resume=False, workers=0, generator=False, **more):
    """A run in which everything has a state of its own: (its end, its weights)."""
    model = network(device)
    optimizer = optim.Adam(model.parameters(), lr=0.05, amsgrad=True)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=30)
    stopping = EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    trainer = Trainer(
        model,
        optimizer,
        metrics=[accuracy],
        scheduler=scheduler,
        scheduler_interval="step",
        accumulate_grad_batches=2,
        callbacks=[stopping, presses or CtrlC()],
        checkpoint=path,
        progress=False,
        **more,
    )
    loader = DataLoader(
        clouds(device),
        8,
        shuffle=True,
        num_workers=workers,
        generator=tg.Generator(7) if generator else None,
    )
    trainer.fit(
        loader,
        DataLoader(clouds(device, seed=5), 16),
        epochs=4,
        resume=path if resume else None,
    )
    history = trainer.history.state_dict()
    moments = trainer.optimizer.state_dict()["state"]
    flat = {
        f"{i} {k}": v.to("cpu").numpy() if isinstance(v, tg.Tensor) else np.array(v)
        for i, state in moments.items()
        for k, v in state.items()
    }
    return history, weights_of(model) | flat


PRESSES = [("on_step_end", n) for n in range(1, 12)]
PRESSES += [("on_epoch_start", 2), ("on_epoch_end", 1), ("on_epoch_end", 3)]


@pytest.mark.parametrize(("event", "count"), PRESSES)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_and_resumed_run_is_bit_identical(
    tmp_path, device, event, count, workers
):
    path = tmp_path / "checkpoint.safetensors"
    expected = a_run(None, device, generator=bool(workers))
    tg.manual_seed(123).state = (5, 5)  # nothing of it is left to chance
    with pytest.raises(KeyboardInterrupt):
        a_run(path, device, CtrlC(event, count), False, workers, bool(workers))
    tg.manual_seed(321)
    resumed = a_run(path, device, None, True, workers, bool(workers))
    assert resumed[0] == expected[0]
    assert_identical(resumed[1], expected[1])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_so_it_is_in_mixed_precision(tmp_path, device, precision):
    path = tmp_path / "checkpoint.safetensors"
    expected = a_run(None, device, precision=precision)
    with pytest.raises(KeyboardInterrupt):
        a_run(path, device, CtrlC("on_step_end", 4), precision=precision)
    resumed = a_run(path, device, None, True, precision=precision)
    assert resumed[0] == expected[0]
    assert_identical(resumed[1], expected[1])


def test_ctrl_c_while_measuring(tmp_path):
    """In the middle of validation: the epoch's steps are not made again."""
    path = tmp_path / "checkpoint.safetensors"

    def fit(press, resume):
        model = network()
        trainer = Trainer(
            model,
            optim.SGD(model.parameters(), lr=0.1),
            checkpoint=path,
            progress=False,
        )
        validation = list(DataLoader(clouds(seed=5), 16))

        class Pressing:
            def __iter__(self):
                if press and trainer.epoch == 1:
                    signal.raise_signal(signal.SIGINT)
                return iter(validation)

        loader = DataLoader(clouds(), 8, shuffle=True)
        resume = path if resume else None
        history = trainer.fit(loader, Pressing(), epochs=3, resume=resume)
        return dict(history), weights_of(model), trainer.step

    expected = fit(False, False)
    with pytest.raises(KeyboardInterrupt):
        fit(True, False)
    resumed = fit(False, True)
    assert resumed[0] == expected[0]
    assert resumed[2] == expected[2]
    assert_identical(resumed[1], expected[1])


class Stream(IterableDataset):
    """Samples one after the other, of a length that is not known."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __iter__(self):
        return (self.dataset[i] for i in range(len(self.dataset)))


LOADERS = {
    "a stream": lambda data: DataLoader(Stream(data), 8),
    "a sampler of its own": lambda data: DataLoader(
        data, 8, sampler=RandomSampler(data), generator=tg.Generator(1)
    ),
    "a sampler with a generator": lambda data: DataLoader(
        data, 8, sampler=RandomSampler(data, generator=tg.Generator(2)),
        generator=tg.Generator(1),
    ),
    "batches of a sampler": lambda data: DataLoader(
        data, batch_sampler=BatchSampler(RandomSampler(data), 8, True)
    ),
    "shuffled by the default": lambda data: DataLoader(data, 8, shuffle=True),
    "shuffled by its own": lambda data: DataLoader(
        data, 8, shuffle=True, generator=tg.Generator(4)
    ),
}  # fmt: skip
SCHEDULERS = {
    "none": lambda optimizer: None,
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [1, 3]),
    "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer,
        [
            lr_scheduler.LinearLR(optimizer, total_iters=2),
            lr_scheduler.MultiStepLR(optimizer, [1]),
        ],
        [2],
    ),
    "ReduceLROnPlateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=0, threshold=0.5
    ),
}


class InMeasuring:
    """Validation batches that press Ctrl-C in the n-th epoch, after the first batch."""

    def __init__(self, loader, epoch):
        self.loader, self.left = loader, epoch
        if hasattr(loader, "state_dict"):
            self.state_dict = loader.state_dict
            self.load_state_dict = loader.load_state_dict

    def __iter__(self):
        self.left -= 1
        for i, batch in enumerate(self.loader):
            if i == 1 and self.left == 0:
                signal.raise_signal(signal.SIGINT)
            yield batch


def another_run(
    path, device, *, press=(), resume=False, train="shuffled by the default",
    validation="shuffled by its own", scheduler="none", in_measuring=0, same=False,
):  # fmt: skip
    """(history, weights, state of the default generator) at the end of a run."""
    tg.manual_seed(3)

    class Noisy(nn.Module):
        """With a generator of its own, and a base that is not trained."""

        def __init__(self):
            self.base, self.head = nn.Linear(2, 6), nn.Linear(6, CLASSES)
            self.noise = tg.Generator(9)

        def forward(self, x):
            x = dropout(self.base(x), 0.3, self.training, generator=self.noise)
            return self.head(x)

    class Weighted(nn.Module):
        """A loss that learns too."""

        def __init__(self):
            self.scale = nn.Parameter(tg.ones(1))

        def forward(self, output, target):
            scale = self.scale.sum()
            return cross_entropy(output * scale, target) + 0.1 * scale * scale

    model, loss = Noisy(), Weighted()
    optimizer = optim.Adam([*model.head.parameters(), *loss.parameters()], lr=0.05)
    trainer = Trainer(
        model,
        optimizer,
        loss,
        device=device,
        scheduler=SCHEDULERS[scheduler](optimizer),
        clip_grad_norm=0.5,
        callbacks=[CtrlC(*press)],
        checkpoint=path,
        progress=False,
    )
    batches = LOADERS[train](clouds(device))
    measured = batches if same else LOADERS[validation](clouds(device, seed=5))
    trainer.fit(
        batches,
        measured if same else InMeasuring(measured, in_measuring),
        epochs=5,
        resume=path if resume else None,
    )
    weights = weights_of(model) | {f"loss {k}": v for k, v in weights_of(loss).items()}
    return trainer.history.state_dict(), weights, default_generator.state


@pytest.mark.parametrize(
    "options",
    [
        *({"train": name} for name in LOADERS),
        *({"validation": name} for name in LOADERS),
        *({"scheduler": name} for name in SCHEDULERS),
        {"same": True},
        {"same": True, "train": "shuffled by its own"},
    ],
    ids=str,
)
@pytest.mark.parametrize("moment", [("on_step_end", 8), ("on_epoch_end", 2), "val"])
def test_so_it_is_whatever_the_parts_are(tmp_path, device, options, moment):
    path = tmp_path / "checkpoint.safetensors"
    expected = another_run(None, device, **options)
    how = {"in_measuring": 3} if moment == "val" else {"press": moment}
    if moment == "val" and options.get("same"):
        return  # its batches can't press
    with pytest.raises(KeyboardInterrupt):
        another_run(path, device, **how, **options)
    resumed = another_run(path, device, resume=True, **options)
    assert resumed[0] == expected[0]
    assert_identical(resumed[1], expected[1])
    assert resumed[2] == expected[2]


def test_measuring_on_the_training_batches_begins_anew(tmp_path):
    """Ctrl-C while the very loader that is trained on is measured."""
    path = tmp_path / "checkpoint.safetensors"

    def fit(press, resume):
        tg.manual_seed(0)
        model = nn.Linear(2, CLASSES)
        loader = DataLoader(clouds(), 8, shuffle=True, generator=tg.Generator(4))
        seen = []

        class Pressing(Trainer):
            def compute_loss(self, batch):
                if not self.model.training and self.epoch == 1:
                    seen.append(batch)
                    if press and len(seen) == 3:
                        signal.raise_signal(signal.SIGINT)
                return super().compute_loss(batch)

        trainer = Pressing(
            model, optim.SGD(model.parameters(), 0.1), checkpoint=path, progress=False
        )
        trainer.fit(loader, loader, epochs=3, resume=path if resume else None)
        return dict(trainer.history), weights_of(model)

    expected = fit(False, False)
    with pytest.raises(KeyboardInterrupt):
        fit(True, False)
    resumed = fit(False, True)
    assert resumed[0] == expected[0]
    assert_identical(resumed[1], expected[1])


def test_ctrl_c_at_the_very_end_is_not_lost(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters()),
        callbacks=[CtrlC("on_epoch_end", 2)],
        checkpoint=path,
        progress=False,
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DataLoader(clouds(), 22), epochs=2)
    assert tg.load(path)["epoch"] == 2


def test_a_stream_has_no_length(device):
    model = nn.Linear(2, CLASSES, device=device)
    trainer = Trainer(model, optim.SGD(model.parameters()), progress=False)
    trainer.fit(DataLoader(Stream(clouds(device)), 8), epochs=2)
    assert (trainer.step, trainer.batches) == (12, None)


def test_what_the_optimizer_has_not_is_left_alone(device):
    """Its gradients neither add up nor count in the norm."""
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, CLASSES)).to(device)
    base = weights_of(model[0])
    trainer = Trainer(
        model,
        optim.SGD(model[1].parameters(), lr=1.0),
        clip_grad_norm=0.01,
        progress=False,
    )
    for _ in range(5):
        before = weights_of(model[1])
        trainer.fit([clouds(device)[:]], epochs=trainer.epoch + 1)
        after = weights_of(model[1])
        moved = np.concatenate([(after[k] - before[k]).ravel() for k in before])
        np.testing.assert_allclose(np.linalg.norm(moved), 0.01, rtol=1e-3)
    assert_identical(weights_of(model[0]), base)
    # Where nothing moves, every step leaves the same gradients behind.
    still = Trainer(model, optim.SGD(model[1].parameters(), lr=0.0), progress=False)
    left = []
    for epochs in (1, 3):
        still.fit([clouds(device)[:]], epochs=epochs)
        left.append(model[0].weight.grad.to("cpu").numpy().copy())
    np.testing.assert_array_equal(*left)
    assert np.abs(left[0]).max() > 0


def test_a_step_that_is_left_out_moves_no_rate():
    """The first steps of float16 overflow: the scale is too large."""
    tg.manual_seed(0)
    model = nn.Linear(2, CLASSES)
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    trainer = Trainer(
        model,
        optimizer,
        lambda output, target: cross_entropy(output * 100.0, target),
        scheduler=lr_scheduler.StepLR(optimizer, 1, gamma=0.5),
        scheduler_interval="step",
        precision="float16",
        progress=False,
    )
    scales = []

    class Watch(Callback):
        def on_step_end(self, trainer, loss):
            scales.append(trainer.scaler.get_scale())

    trainer.callbacks.append(Watch())
    trainer.fit(DataLoader(clouds(), 4), epochs=1)
    left_out = sum(b < a for a, b in zip([65536.0, *scales], scales))
    assert 0 < left_out < len(scales) == 11
    assert optimizer.param_groups[0]["lr"] == 1e-3 * 0.5 ** (11 - left_out)


def test_a_second_fit_does_not_stay_stopped():
    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters(), lr=0.1),
        callbacks=[Measured(*[1.0] * 9), EarlyStopping(patience=1)],
        progress=False,
    )
    loader = DataLoader(clouds(), 22)
    trainer.fit(loader, loader, epochs=9)
    assert trainer.epoch == 3
    trainer.fit(loader, loader, epochs=9)
    assert trainer.epoch == 4


def test_a_second_ctrl_c_does_not_wait():
    model, steps = nn.Linear(2, CLASSES), []

    class Impatient(Callback):
        def on_step_end(self, trainer, loss):
            signal.raise_signal(signal.SIGINT)
            steps.append("once")
            signal.raise_signal(signal.SIGINT)
            steps.append("never here")

    trainer = Trainer(
        model, optim.SGD(model.parameters()), callbacks=[Impatient()], progress=False
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(DataLoader(clouds(), 8), epochs=1)
    assert steps == ["once"]
    assert signal.getsignal(signal.SIGINT) is before


def test_it_runs_in_another_thread():
    model, errors = nn.Linear(2, CLASSES), []

    def fit():
        try:
            trainer = Trainer(model, optim.SGD(model.parameters()), progress=False)
            trainer.fit(DataLoader(clouds(), 8), epochs=1)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert errors == []


def test_a_longer_run_goes_on_from_the_end(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def fit(epochs, resume):
        model = network()
        trainer = Trainer(
            model,
            optim.SGD(model.parameters(), lr=0.1),
            checkpoint=path,
            progress=False,
        )
        trainer.fit(
            DataLoader(clouds(), 8, shuffle=True),
            epochs=epochs,
            resume=path if resume else None,
        )
        return weights_of(model)

    fit(2, False)
    assert_identical(fit(5, True), fit(5, False))
    assert_identical(fit(5, True), fit(5, False))  # nothing is left to do


def test_checkpoints_come_when_asked(tmp_path):
    path, seen = tmp_path / "checkpoint.safetensors", []

    class Look(Callback):
        def on_epoch_start(self, trainer):
            seen.append(tg.load(path)["epoch"] if path.exists() else None)

    model = nn.Linear(2, CLASSES)
    trainer = Trainer(
        model,
        optim.SGD(model.parameters()),
        callbacks=[Look()],
        checkpoint=path,
        checkpoint_every=2,
        progress=False,
    )
    trainer.fit(DataLoader(clouds(), 22), epochs=5)
    assert seen == [None, None, 2, 2, 4]
    assert tg.load(path)["epoch"] == 5


def test_another_run_s_checkpoint_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def trainer(model, **options):
        return Trainer(model, optim.SGD(model.parameters()), progress=False, **options)

    model = nn.Linear(2, CLASSES)
    trainer(model).save_checkpoint(path)
    trainer(nn.Linear(2, CLASSES)).load_checkpoint(path)
    with pytest.raises(RuntimeError, match=r"wrong shapes: weight has shape \(3, 2\)"):
        trainer(nn.Linear(5, CLASSES)).load_checkpoint(path)
    with pytest.raises(ValueError, match="the scaler was none and is GradScaler; mend"):
        trainer(model, precision="float16").load_checkpoint(path)
    with pytest.raises(ValueError, match="the callbacks was none and is EarlyStopping"):
        trainer(model, callbacks=[EarlyStopping()]).load_checkpoint(path)
    trainer(model, callbacks=[Callback(), TensorBoard(tmp_path)]).load_checkpoint(path)
    adam = Trainer(model, optim.Adam(model.parameters()), progress=False)
    with pytest.raises(ValueError, match="run: the optimizer was SGD and is Adam"):
        adam.load_checkpoint(path)
    tg.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="is no checkpoint of a Trainer"):
        trainer(model).load_checkpoint(path)
    state = trainer(model).state_dict()
    del state["step"]
    tg.save(state, path)
    with pytest.raises(CheckpointError, match="damaged checkpoint: it lacks 'step'"):
        trainer(model).load_checkpoint(path)


DAMAGES = {
    "callbacks": 5,
    "model": 3,
    "means": 4,
    "history": {"loss": 3},
    "epoch": "x",
    "step": -1,
    "batch": True,
    "should_stop": 0,
    "loader": "zzz",
    "rng": ["a", "b"],
    "optimizer": {"state": {}},
    "scheduler": {"last_epoch": 3},
    "classes": None,
    "generators": [],
    "validation": 1,
}


@pytest.mark.parametrize("key", DAMAGES)
def test_a_damaged_checkpoint_is_one_error_and_changes_nothing(key, tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def trainer(lr):
        model = network()
        optimizer = optim.Adam(model.parameters(), lr)
        scheduler = lr_scheduler.StepLR(optimizer, 1)
        made = Trainer(model, optimizer, scheduler=scheduler, progress=False)
        made.fit(DataLoader(clouds(), 22), epochs=2)
        return made

    state = trainer(0.1).state_dict()
    state[key] = DAMAGES[key]
    tg.save(state, path)
    other = trainer(0.2)
    before, random = weights_of(other.model), tg.manual_seed(5).state
    rates = [group["lr"] for group in other.optimizer.param_groups]
    with pytest.raises(CheckpointError):
        other.load_checkpoint(path)
    assert_identical(weights_of(other.model), before)
    assert [group["lr"] for group in other.optimizer.param_groups] == rates
    assert other.epoch == 2
    assert default_generator.state == random


def test_a_refused_run_changes_nothing(tmp_path):
    """Also where it is found out late: another model, after the callbacks were read."""
    path = tmp_path / "checkpoint.safetensors"

    def trainer(width):
        model = nn.Linear(2, width)
        stopping = EarlyStopping("loss")
        made = Trainer(
            model, optim.SGD(model.parameters()), callbacks=[stopping], progress=False
        )
        return made, stopping

    one, stopping = trainer(CLASSES)
    one.fit([clouds()[:]], epochs=2)
    one.save_checkpoint(path)
    other, waiting = trainer(CLASSES + 1)
    before = waiting.state_dict()
    with pytest.raises(RuntimeError, match="wrong shapes"):
        other.load_checkpoint(path)
    assert waiting.state_dict() == before
    assert stopping.best < math.inf
    assert (other.epoch, len(other.history)) == (0, 0)


# -- on a device ------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_its_steps_wait_for_nothing(workers, clip):
    """On the strict double of CuPy: only what was measured is waited for, once an
    epoch; and the numbers are the CPU's."""

    def fit(device, callbacks=()):
        model = network(dropout=0.0).to(device)
        # The norm behind it takes any shift away: this gradient is 0 but for rounding,
        # of which Adam makes whole steps.
        model[0].bias.requires_grad = False
        trainer = Trainer(
            model,
            optim.Adam(model.parameters(), 0.05),
            metrics=[accuracy],
            clip_grad_norm=clip,
            callbacks=callbacks,
            progress=False,
        )
        loader = DataLoader(
            clouds(),
            8,
            shuffle=True,
            num_workers=workers,
            pin_memory=True,
            device=device,
        )
        trainer.fit(loader, DataLoader(clouds(seed=5), 16), epochs=3)
        return dict(trainer.history), weights_of(model)

    class Count(Callback):
        def on_epoch_start(self, trainer):
            self.before = len(seen.waits)

        def on_step_end(self, trainer, loss):
            assert seen.waits[self.before :] == []

    expected = fit("cpu")
    with strict_cuda() as cuda, cuda.counting() as seen:
        history, weights = fit("cuda", [Count()])
    assert len(seen.waits) >= 3  # what was measured is read at the end of an epoch
    for name, values in expected[0].items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4)
    for name, value in expected[1].items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-3, atol=1e-4)


# -- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scheduler_interval": "batch"}, "scheduler_interval was given as 'batch'"),
        ({"precision": "float64"}, "precision was given as 'float64'; expected None"),
        ({"accumulate_grad_batches": 0}, "accumulate_grad_batches was given as 0"),
        ({"checkpoint_every": 0}, "checkpoint_every was given as 0; expected >= 1"),
    ],
)
def test_wrong_options_are_refused(options, text):
    model = nn.Linear(2, CLASSES)
    with pytest.raises(ValueError, match=text):
        Trainer(model, optim.SGD(model.parameters()), **options)


def test_wrong_calls_are_refused():
    model = nn.Linear(2, CLASSES)
    trainer = Trainer(model, optim.SGD(model.parameters()), progress=False)
    with pytest.raises(ValueError, match="epochs was given as 0; expected >= 1"):
        trainer.fit([], epochs=0)
    with pytest.raises(TypeError, match="a batch is a Tensor; expected a tuple"):
        trainer.fit([tg.ones((2, 2))], epochs=1)
    with pytest.raises(ValueError, match="nothing to measure on: no batches came"):
        trainer.evaluate([])
    with pytest.raises(ValueError, match="predict: there are no batches"):
        trainer.predict([])
    for wrong, text in (
        (lambda: EarlyStopping(mode="best"), "EarlyStopping: mode was given as 'best'"),
        (lambda: EarlyStopping(patience=-1), "patience was given as -1; expected >= 0"),
        (lambda: EarlyStopping(min_delta=-1), "min_delta was given as -1; expected"),
        (lambda: TensorBoard("x", every=0), "every was given as 0; expected >= 1"),
    ):
        with pytest.raises(ValueError, match=text):
            wrong()
    for parts in ((clouds(), None), ([clouds()[:]], clouds())):
        with pytest.raises(TypeError, match=r"TensorDataset was given, .*; mend: D"):
            trainer.fit(*parts, epochs=1)
    with pytest.raises(TypeError, match=r"a tuple was given; .*TensorDataset\(inputs"):
        trainer.fit(clouds()[:], epochs=1)

    class Typo(Callback):
        def on_epoch_ends(self, trainer):
            pass

    made = optim.SGD(model.parameters())
    for options, text in (
        ({"optimizer": optim.Adam}, "the optimizer is the class Adam; expected an Op"),
        ({"loss_fn": nn.MSELoss}, "loss_fn is the class MSELoss; expected a function"),
        ({"metrics": ["accuracy"]}, "a metric is 'accuracy'; expected functions; mend"),
        ({"callbacks": EarlyStopping()}, "callbacks is one Callback; expected a list"),
        ({"callbacks": [EarlyStopping]}, "a callback is the class EarlyStopping; exp"),
        ({"callbacks": [Typo()]}, "Typo defines on_epoch_ends, which is never called"),
    ):
        with pytest.raises(TypeError, match=text):
            Trainer(model, **{"optimizer": made, **options})
    other = optim.SGD(nn.Linear(1, 1).parameters())
    with pytest.raises(ValueError, match=r"none of the model's.*; mend: SGD\(model\.p"):
        Trainer(model, other)
    trainer.callbacks.append(EarlyStopping("val_f1"))
    with pytest.raises(ValueError, match="watches 'val_f1', which is not measured; th"):
        trainer.fit([clouds()[:]], epochs=1)
