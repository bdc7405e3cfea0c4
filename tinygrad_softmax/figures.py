"""Pictures of a training run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from .extras import require

__all__ = ["history_figure", "png", "training_figure"]

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
    history: Mapping[str, list[float]],
    confusion: np.ndarray,
    class_names: tuple[str, ...],
    title: str,
) -> bytes:
    """The learning curve and the confusion matrix as one PNG.

    Args:
        history: loss and accuracy of each epoch, and the same of the held-out rows
            (`val_loss`, `val_accuracy`), as `Trainer.fit` returns it.
        confusion: counts of held-out rows, shape (classes, classes): a row for each
            true class, a column for each predicted one.
        class_names: in the order of `confusion`.
        title: what was trained on what.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with _style():
        figure = _empty_figure((13, 6.4))
        figure.suptitle(title, fontsize=13)
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.25))
        left, right = halves
        above, below = left.subplots(2, 1, sharex=True)
        for axes, name in ((above, "loss"), (below, "accuracy")):
            curves = {"training rows": name, "held-out rows": f"val_{name}"}
            _curve(axes, name, {key: history[v] for key, v in curves.items()})
        above.legend(frameon=False, loc="best")
        below.set_xlabel("epoch")
        _matrix(right.subplots(), confusion, class_names)
        return png(figure)


def history_figure(history: Mapping[str, list[float]]) -> Any:
    """A panel for each thing measured, over the epochs: a matplotlib Figure.

    Args:
        history: lists by name; "val_loss" is drawn in the panel of "loss".

    Raises:
        MissingExtraError: matplotlib is not installed.
        ValueError: nothing was measured yet.
    """
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not any(history.values()):
        raise ValueError("the history is empty: call fit first")
    with _style():
        figure = _empty_figure((7, 0.6 + 2.4 * len(panels)))
        stack = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(stack, panels):
            found = {"training": name, "validation": f"val_{name}"}
            curves = {k: history[v] for k, v in found.items() if v in history}
            _curve(axes, name, curves)
            if len(curves) > 1:
                axes.legend(frameon=False, loc="best")
        stack[-1].set_xlabel("epoch")
        figure.draw_without_rendering()  # its fonts and colours, while they are set
    return figure


def _style() -> Any:
    """The fonts and colours of every picture, for a `with` block."""
    require("matplotlib", "matplotlib", "the picture")
    from matplotlib import font_manager, rc_context

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
    return rc_context(style)


def _empty_figure(size: tuple[float, float]) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=120, layout="constrained")


def png(figure: Any) -> bytes:
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


def _curve(axes: Any, name: str, curves: Mapping[str, list[float]]) -> None:
    """One quantity over the epochs: on the data it was trained on, and held out."""
    last = [values[-1] for values in curves.values()]
    for (label, values), colour, shift in zip(
        curves.items(), (TRAIN, TEST), (-1, 1), strict=False
    ):
        epochs = np.arange(1, len(values) + 1)
        marker = "o" if len(values) == 1 else ""
        axes.plot(epochs, values, color=colour, marker=marker, label=label)
        if not np.isfinite(values[-1]):
            continue
        # The curve that ends higher has its number above its end, the other below.
        above = values[-1] >= max(last) if last[0] != last[-1] else shift > 0
        axes.annotate(
            f"{values[-1]:.3g}" if name == "lr" else f"{values[-1]:.3f}",
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
