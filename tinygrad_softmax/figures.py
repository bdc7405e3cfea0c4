"""Pictures of a training run."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .extras import require
from .training import History

__all__ = ["training_figure"]

TRAIN, TEST = "#9a6324", "#1f5fa8"
INK, GRID = "#333333", "#e4e4e4"
# Matplotlib's own font has no Chinese, Japanese or Korean; the first of these that is
# installed fills in.
WIDER_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Arial Unicode MS",
)
MOST_COUNTS = 30  # classes up to which each cell of the matrix shows its number
MOST_NAMES = 40  # classes up to which each is named


def training_figure(
    history: History,
    confusion: np.ndarray,
    class_names: tuple[str, ...],
    title: str,
) -> bytes:
    """The learning curve and the confusion matrix as one PNG.

    Args:
        history: loss and accuracy after each epoch.
        confusion: counts of held-out rows, shape (classes, classes): a row for each
            true class, a column for each predicted one.
        class_names: in the order of `confusion`.
        title: what was trained on what.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "matplotlib", "the picture")
    from matplotlib import font_manager, rc_context
    from matplotlib.figure import Figure

    installed = set(font_manager.fontManager.get_font_names())
    fonts = ["DejaVu Sans", *[font for font in WIDER_FONTS if font in installed][:1]]
    style: Any = {
        "font.family": fonts,
        "font.size": 10,
        "text.parse_math": False,  # a class may be named "$5"
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": "#999999",
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with rc_context(style):
        figure = Figure(figsize=(13, 6.4), dpi=120, layout="constrained")
        figure.suptitle(title, fontsize=13)
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.25))
        left, right = halves
        above, below = left.subplots(2, 1, sharex=True)
        _curve(above, "loss", history.train_loss, history.test_loss)
        _curve(below, "accuracy", history.train_accuracy, history.test_accuracy)
        above.legend(frameon=False, loc="best")
        below.set_xlabel("epoch")
        _matrix(right.subplots(), confusion, class_names)
        return _png(figure)


def _png(figure: Any) -> bytes:
    """The figure drawn; a character that no font has becomes a box, silently."""
    import logging
    import warnings

    logger, file = logging.getLogger("matplotlib"), io.BytesIO()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure.savefig(file, format="png", facecolor="white")
    finally:
        logger.setLevel(level)
    return file.getvalue()


def _curve(axes: Any, name: str, train: list[float], test: list[float]) -> None:
    """One quantity over the epochs, on the training rows and on those held out."""
    epochs = np.arange(1, len(train) + 1)
    marker = "o" if len(train) == 1 else ""
    axes.plot(epochs, train, color=TRAIN, marker=marker, label="training rows")
    axes.plot(epochs, test, color=TEST, marker=marker, label="held-out rows")
    for values, colour, shift in ((train, TRAIN, -1), (test, TEST, 1)):
        # The curve that ends higher has its number above its end, the other below.
        higher = values[-1] >= max(train[-1], test[-1])
        above = higher if train[-1] != test[-1] else shift > 0
        axes.annotate(
            f"{values[-1]:.3f}",
            (epochs[-1], values[-1]),
            xytext=(5, 5 if above else -5),
            textcoords="offset points",
            va="center",
            color=colour,
            annotation_clip=False,
        )
    axes.set_ylabel(name)
    axes.grid(color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.margins(x=0.02, y=0.1)


def _matrix(axes: Any, confusion: np.ndarray, class_names: tuple[str, ...]) -> None:
    """Counts by true and predicted class, shaded by the share of the true class."""
    count = len(class_names)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    # The square root brings out the few mistakes beside the many right answers.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1.15)
    if count <= MOST_COUNTS:
        size = float(np.clip(170 / count, 6, 12))
        for true, predicted in np.argwhere(confusion > 0):
            axes.text(
                predicted,
                true,
                f"{confusion[true, predicted]}",
                ha="center",
                va="center",
                fontsize=size,
                color="white" if share[true, predicted] > 0.3 else INK,
            )
    shown = np.arange(0, count, -(-count // MOST_NAMES))
    names = [_short(class_names[i]) for i in shown]
    crowded = max(map(len, names)) * len(names) > 60
    size = float(np.clip(260 / len(names), 6, 10))
    axes.set_xticks(shown, names, rotation=90 if crowded else 0, fontsize=size)
    axes.set_yticks(shown, names, fontsize=size)
    axes.tick_params(length=0)
    if count <= MOST_COUNTS:
        axes.set_xticks(np.arange(1, count) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, count) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    right, total = int(np.trace(confusion)), int(confusion.sum())
    axes.set_title(
        f"{total} held-out rows, {right} right: accuracy {right / max(total, 1):.3f}",
        fontsize=11,
    )
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= 18 else name[:17] + "…"
