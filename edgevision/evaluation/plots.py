"""Plots for reports. matplotlib comes with the 'train' extra and is imported only when a plot is made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgevision.evaluation.average_precision import Curve
from edgevision.evaluation.detection_matching import Float64Array
from edgevision.evaluation.segmentation import ConfusionMatrix
from edgevision.extras import needs_extra
from edgevision.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLES = ("-", "--", ":")  # ten colours, so more than ten classes need a second trait


def plot_precision_recall(path: str | os.PathLike[str], curves: Mapping[str, Curve], title: str = "") -> None:
    """Writes precision over recall, one line a class, as PNG.

    Args:
        path: the PNG file.
        curves: by label; classes without a point are left out.

    Raises:
        UsageError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    figure = blank_figure(8, 6)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
    axes.grid(alpha=0.3)
    shown = {name: curve for name, curve in curves.items() if len(curve.recall)}
    for position, (name, curve) in enumerate(shown.items()):
        line = _STYLES[position // 10 % len(_STYLES)]
        recall, precision = np.append(0, curve.recall), np.append(curve.precision[0], curve.precision)
        axes.plot(recall, precision, line, lw=1.4, label=name)
    if shown:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save_figure(figure, path)


def plot_recall_over_iou(
    path: str | os.PathLike[str],
    overlaps: Mapping[str, Float64Array],
    title: str = "",
    likeness: str = "IoU",
) -> None:
    """Writes recall over the IoU that is asked for, 0.5 to 1, one line a class, as PNG.

    Twice the area under a line is mean average recall (Hosang et al. 2016, section 5).

    Args:
        path: the PNG file.
        overlaps: by label, float64 ``[G]``: the overlap of each object with its detection, 0 for one that was
            not found.
        title: above the plot.
        likeness: what the overlaps are.

    Raises:
        UsageError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    figure = blank_figure(8, 6)
    axes = figure.add_subplot(xlim=(0.5, 1), ylim=(0, 1.02), xlabel=likeness, ylabel="recall", title=title)
    axes.grid(alpha=0.3)
    steps = np.linspace(0.5, 1, 101)
    for position, (name, found) in enumerate(overlaps.items()):
        recall = (found[None] >= steps[:, None]).mean(axis=1)
        axes.plot(steps, recall, _STYLES[position // 10 % len(_STYLES)], lw=1.4, label=name)
    if overlaps:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    save_figure(figure, path)


def plot_confusion_matrix(
    path: str | os.PathLike[str], matrix: ConfusionMatrix, classes: Sequence[str], title: str = ""
) -> None:
    """Writes a confusion matrix as PNG; each row shows what was predicted for a class, in per cent.

    Args:
        path: the PNG file.
        matrix: ``[C, C]``, rows are labels, columns predictions; of pixels, objects or images.
        classes: C names.

    Raises:
        UsageError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    side = 2.5 + 0.5 * len(classes)
    figure = blank_figure(side, side)
    axes = figure.add_subplot(xlabel="predicted", ylabel="labelled", title=title)
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(classes)), labels=list(classes), rotation=90)
    axes.set_yticks(range(len(classes)), labels=list(classes))
    for (row, column), value in np.ndenumerate(share):
        if value >= 0.5:
            colour = "white" if value > 60 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    save_figure(figure, path)


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with needs_extra("train", "a plot"):
        from matplotlib.figure import Figure
    # A bare Figure draws with Agg and needs neither pyplot nor a display.
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG.

    Raises:
        SinkError: the file cannot be written.
    """
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
