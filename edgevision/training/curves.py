"""Curves of a training as PNG. matplotlib is imported only when something is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.evaluation.plots import blank_figure, save_figure

_RATE, _SPEED = "lr", "images_per_second"
_POINTS = 200


def plot_curves(log: Path, path: Path) -> None:
    """Draws losses, learning rate and figures over the images seen.

    Args:
        log: a run's ``log.jsonl``.
        path: the PNG file.

    Raises:
        UsageError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    steps, figures = read_log(log)
    losses = [key for key in _keys(steps) if key not in (_RATE, _SPEED)]
    figure = blank_figure(8, 9)
    loss_axes, rate_axes, figure_axes = figure.subplots(3, sharex=True)
    for key in losses:
        seen, values = _column(steps, key)
        line = loss_axes.plot(seen, values, lw=0.5, alpha=0.3)[0]
        loss_axes.plot(*_smoothed(seen, values), lw=1.5, color=line.get_color(), label=key)
    rate_axes.plot(*_column(steps, _RATE), lw=1.2)
    for key in _keys(figures):
        figure_axes.plot(*_column(figures, key), "o-", ms=3, lw=1.2, label=key)
    loss_axes.set(ylabel="loss", yscale="log")
    rate_axes.set(ylabel="learning rate")
    figure_axes.set(ylabel="validation", xlabel="images seen")
    for axes in (loss_axes, figure_axes):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    for axes in (loss_axes, rate_axes, figure_axes):
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def read_log(log: Path) -> tuple[dict[int, dict[str, float]], dict[int, dict[str, float]]]:
    """Steps and validations of a log, by images seen.

    Where a run was cut off and resumed, the later of two lines counts. A line cut off by a kill is left out.
    """
    steps: dict[int, dict[str, float]] = {}
    figures: dict[int, dict[str, float]] = {}
    for text in log.read_text(encoding="utf-8").splitlines():
        try:
            line: dict[str, Any] = json.loads(text)
        except ValueError:
            continue
        if "note" in line:
            continue
        line.pop("time", None)
        seen = int(line.pop("seen"))
        (steps if _RATE in line else figures)[seen] = line
    return dict(sorted(steps.items())), dict(sorted(figures.items()))


def _keys(rows: dict[int, dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows.values() for key in row))


def _column(rows: dict[int, dict[str, float]], key: str) -> tuple[list[int], list[float]]:
    found = {seen: row[key] for seen, row in rows.items() if key in row}
    return list(found), list(found.values())


def _smoothed(seen: list[int], values: list[float]) -> tuple[list[int], list[float]]:
    """Means of neighbouring steps, about 200 points at the most."""
    width = max(len(values) // _POINTS, min(len(values), 5), 1)
    kernel = np.ones(width) / width
    return seen[width - 1 :], np.convolve(values, kernel, mode="valid").tolist()
