"""What a run leaves to look at: ``log.jsonl``, ``curves.png`` and TensorBoard events."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevision.closeable import Closeable
from edgevision.errors import SinkError
from edgevision.evaluation.plots import blank_figure, save_figure
from edgevision.extras import needs_extra

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunRecords(Closeable):
    """Appends to the records of a run, so that a resumed run continues them.

    Args:
        folder: of the run.
        seen: images trained on before.
        tensorboard: write events too.

    Raises:
        UsageError: TensorBoard is wanted and not installed.
        SinkError: the log cannot be written, also from :meth:`write` and :meth:`note`.
    """

    def __init__(self, folder: Path, seen: int, tensorboard: bool) -> None:
        self._log = folder / "log.jsonl"
        self._curves = folder / "curves.png"
        try:
            self._stream = self._log.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise self._unwritable(error) from error
        self._events = _open_events(folder, seen) if tensorboard else None

    def write(self, seen: int, **values: float) -> None:
        """Records numbers after ``seen`` images."""
        rounded = {key: round(value, 6) for key, value in values.items()}
        self._line(seen=seen, **rounded)
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(key, value, seen)

    def note(self, seen: int, text: str) -> None:
        """Records an event after ``seen`` images."""
        self._line(seen=seen, note=text)

    def draw(self) -> None:
        """Draws the curves of the whole run so far."""
        plot_curves(self._log, self._curves)

    def _line(self, **values: float | str) -> None:
        try:
            self._stream.write(json.dumps({"time": round(time.time(), 1), **values}) + "\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> SinkError:
        return SinkError(f"cannot write {self._log}: {error.strerror or error}")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # on a full disk, the line that _line could not write
            self._stream.close()
        if self._events is not None:
            self._events.close()


def _open_events(folder: Path, seen: int) -> SummaryWriter:
    with needs_extra("train", "loop.tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(folder), purge_step=seen)


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
    has_scale = any(value > 0 for key in losses for value in _column(steps, key)[1])
    loss_axes.set(ylabel="loss", yscale="log" if has_scale else "linear")
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
    """Means of neighbouring steps, about 200 points at most."""
    width = max(len(values) // _POINTS, min(len(values), 5), 1)
    kernel = np.ones(width) / width
    return seen[width - 1 :], np.convolve(values, kernel, mode="valid").tolist()
