"""The main job: from labelled rows to a classifier, and its picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from blobs import blobs
from matplotlib import image

import tinygrad_softmax as tg
from tinygrad_softmax.classifier import (
    Classifier,
    OtherRunError,
    default_epochs,
    make_model,
    predict_proba,
    train_classifier,
)
from tinygrad_softmax.data import (
    LabelledRows,
    StandardScaler,
    load_digits,
    stratified_split,
)
from tinygrad_softmax.figures import training_figure
from tinygrad_softmax.training import Callback, DivergedError, History


@pytest.fixture(scope="module")
def digits() -> LabelledRows:
    return load_digits()


def test_make_model_refuses_sizes_that_are_none():
    for sizes in ([3], [3, 0, 2]):
        with pytest.raises(ValueError, match="each at least 1"):
            make_model(sizes)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hidden", [(), (64,)])
def test_digits_reach_95_percent(digits, hidden, seed, device):
    run = train_classifier(digits, hidden=hidden, seed=seed, device=device)
    assert run.test["accuracy"] >= (0.97 if hidden else 0.95)
    assert len(run.test_rows) == 449
    right = np.trace(run.confusion)
    assert run.test["accuracy"] == pytest.approx(right / 449)


def test_held_out_rows_teach_nothing(device):
    """Whatever stands in the held-out rows, the model is the same."""
    rows = blobs()
    _, test = stratified_split(rows.target, seed=1)
    features = rows.features.copy()
    features[test] = 1e3
    other = LabelledRows(**{**vars(rows), "features": features})
    one, two = (
        train_classifier(each, epochs=2, seed=1, device=device).classifier
        for each in (rows, other)
    )
    np.testing.assert_array_equal(one.scaler.mean, two.scaler.mean)
    for key, value in one.model.state_dict().items():
        np.testing.assert_array_equal(
            value.numpy(), two.model.state_dict()[key].numpy()
        )


def test_one_seed_gives_one_result():
    runs = [train_classifier(blobs(), hidden=[4], epochs=3, seed=s) for s in (5, 5, 6)]
    assert runs[0].history == runs[1].history
    assert runs[0].history != runs[2].history


def test_small_tables_get_more_epochs():
    assert default_epochs(1348, 32) == 40
    assert default_epochs(10**6, 32) == 40
    assert default_epochs(32, 32) == default_epochs(3, 32) == 1600


def test_constant_and_enormous_columns_are_harmless():
    rows = blobs()
    features = np.column_stack([rows.features * 1e200, np.full(120, 3.0)])
    names = ("x", "y", "constant")
    other = LabelledRows(**{**vars(rows), "features": features, "feature_names": names})
    one, two = (train_classifier(each, epochs=30) for each in (rows, other))
    assert two.test["accuracy"] >= one.test["accuracy"] - 0.1
    assert np.isfinite(two.classifier.predict_proba(features)).all()


def test_a_loss_that_is_lost_stops_the_training():
    with pytest.raises(DivergedError, match="in epoch 1: lower the learning rate"):
        train_classifier(blobs(), hidden=[8], lr=1e30)


def test_predict_proba_goes_block_by_block(device, monkeypatch):
    x = blobs().features.astype(np.float32)
    model = make_model([2, 5, 3]).to(device)
    whole = predict_proba(model, x)
    monkeypatch.setattr("tinygrad_softmax.classifier.ROWS_AT_ONCE", 50)
    blocks = predict_proba(model, x)
    assert blocks.shape == (120, 3)
    np.testing.assert_allclose(blocks, whole, rtol=1e-5)
    np.testing.assert_allclose(blocks.sum(axis=1), 1, rtol=1e-5)


class Stop(Callback):
    """Ends a run as Ctrl-C would, at the end of an epoch."""

    def __init__(self, epoch=None):
        self.epoch = epoch

    def on_epoch_end(self, trainer):
        if trainer.epoch == self.epoch:
            trainer.save_checkpoint(trainer.checkpoint)
            raise KeyboardInterrupt


def test_a_run_goes_on_where_it_was_stopped(tmp_path, device):
    path = tmp_path / "checkpoint.safetensors"

    def run(stop=None, **options):
        return train_classifier(
            blobs(), hidden=[4], epochs=6, device=device, callbacks=[Stop(stop)],
            checkpoint=path, **options,
        )  # fmt: skip

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(stop=3)
    assert tg.load(path)["epoch"] == 3
    resumed = run(resume=True)
    assert resumed.history == whole.history
    for key, value in whole.classifier.model.state_dict().items():
        other = resumed.classifier.model.state_dict()[key]
        assert value.numpy().tobytes() == other.numpy().tobytes()
    assert (resumed.train, resumed.test) == (whole.train, whole.test)


def test_it_does_not_go_on_with_another_run(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train_classifier(blobs(), epochs=1, checkpoint=path)
    for options, text in (
        ({"lr": 0.5}, "another run: lr was 0.005 and is 0.5$"),
        ({"batch_size": 7, "seed": 1}, "batch_size was 32 and is 7; seed was 0 and is"),
    ):
        with pytest.raises(OtherRunError, match=text):
            train_classifier(blobs(), epochs=1, checkpoint=path, resume=True, **options)
    with pytest.raises(OtherRunError, match="rows was 120 and is 60"):
        train_classifier(blobs(rows=60), epochs=1, checkpoint=path, resume=True)


# -- the picture -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "epochs"), [(2, 1), (3, 5), (10, 40), (40, 3), (150, 3)]
)
def test_the_picture_is_a_png_of_its_size(classes, epochs):
    rng = np.random.default_rng(0)
    confusion = rng.integers(0, 9, (classes, classes))
    confusion[0] = 0  # a class without held-out rows
    curve = np.linspace(1.0, 0.1, epochs).tolist()
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    history = History(dict.fromkeys(names, curve))
    names = tuple(rf"$\frac{i}$ 猫" for i in range(classes))
    png = training_figure(history, confusion, names, "a $title$")
    picture = image.imread(io.BytesIO(png), format="png")
    assert picture.shape == (768, 1560, 4)
    assert picture[..., :3].std() > 0.05  # something is drawn


def test_scaling_is_part_of_prediction():
    model = make_model([1, 2])
    model.load_state_dict(
        {"0.weight": np.array([[1.0], [0.0]]), "0.bias": np.array([0.0, 0.0])}
    )
    scaler = StandardScaler(np.array([10.0]), np.array([2.0]))
    classifier = Classifier(model, (1, 2), scaler, ("x",), ("a", "b"), "y", "test")
    # (14 - 10) / 2 = 2 against 0: the logistic function at 2.
    expected = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(
        classifier.predict_proba(np.array([[14.0]]))[0, 0], expected, rtol=1e-6
    )
