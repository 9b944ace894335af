"""``edgevision eval`` for segmenters: figures, table, confusion matrix, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from edgevision.cli.any_model import OpenModel
from edgevision.cli.console import counting, say
from edgevision.cli.eval_common import (
    Request,
    check_pictures,
    choose_classes,
    make_folder,
    provenance,
    say_skipped,
)
from edgevision.cli.eval_detection import difference_line
from edgevision.data.segmentation.dataset import SegmentationSet, load_segmentation
from edgevision.errors import DataError
from edgevision.evaluation.bootstrap import Interval, compare_miou, miou_interval
from edgevision.evaluation.plots import plot_confusion_matrix
from edgevision.evaluation.predict import PixelCounts, count_pixels
from edgevision.evaluation.report import segmentation_report, write_report
from edgevision.evaluation.segmentation import SegmentationFigures, segmentation_figures


def evaluate_segmentation(
    request: Request, models: Sequence[OpenModel], out: Console, notes: Console
) -> tuple[str, ...]:
    """Evaluates one segmenter or compares two; returns a line for each picture that was skipped."""
    split = request.split or ""
    labelled = load_segmentation(request.data, split).classes
    data = load_segmentation(request.data, split, choose_classes(request, models, labelled, notes))
    files = [path for one in data.pictures for path in (one.image, one.labels)]
    check_pictures([one.image for one in data.pictures], request)
    _check_label_maps(data, request)
    counts = [_run(model, data, notes) for model in models]
    skipped = counts[-1].skipped
    say_skipped(skipped, len(data.pictures), notes)
    figures = [segmentation_figures(one.matrices.sum(axis=0), one.classes) for one in counts]
    empty = [name for name in data.classes if not figures[-1].per_class[name].pixels]
    if empty:
        say(notes, f"note: no pixel of {', '.join(empty)} in the data; left out of every mean")

    interval = _interval(counts)
    out.print(_table(figures, data.classes))
    for letter, name, one, said in zip("AB", request.models, figures, counts, strict=False):
        label = name if len(figures) == 1 else f"{letter} = {name}"
        ci = f" ({interval.low:.3f} to {interval.high:.3f})" if len(figures) == 1 else ""
        say(
            out,
            f"{label}: miou {one.miou:.3f}{ci}, dice {one.dice:.3f}, "
            f"pixel accuracy {one.pixel_accuracy:.3f}; "
            f"{len(said.matrices)} images, {said.ms_per_image:.1f} ms each",
        )
    if len(figures) == 2:
        say(out, difference_line("miou", interval))

    hashed = [request.data / "classes.json", *files]
    origins = [
        provenance(request, model, hashed, one.ms_per_image, one.skipped)
        for model, one in zip(models, counts, strict=True)
    ]
    if request.json is not None:
        last = counts[-1].matrices
        compared = origins[0] if len(counts) == 2 else None
        report = segmentation_report(
            figures[-1], origins[-1], len(last), last.sum(axis=0).tolist(), interval, compared
        )
        write_report(request.json, report)
    if request.plots is not None:
        make_folder(request.plots)
        names = ("confusion",) if len(models) == 1 else ("confusion_a", "confusion_b")
        for name, model, count in zip(names, models, counts, strict=True):
            title = f"{Path(model.text).name}: where the pixels of each class went, per cent"
            matrix = count.matrices.sum(axis=0)
            plot_confusion_matrix(request.plots / f"{name}.png", matrix, count.classes, title)
    return skipped


def _check_label_maps(data: SegmentationSet, request: Request) -> None:
    missing = [one for one in data.pictures if not one.labels.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(data.pictures)} label maps of {request.data} are missing; the first, of "
            f"{missing[0].image}, is expected at {missing[0].labels}: a PNG of class ids of that name"
        )


def _run(model: OpenModel, data: SegmentationSet, notes: Console) -> PixelCounts:
    with counting(notes, model.text, len(data.pictures)) as progress:
        return count_pixels(model.detector(0.0), data, progress)


def _interval(counts: Sequence[PixelCounts]) -> Interval:
    if len(counts) == 1:
        return miou_interval(counts[0].matrices)
    # Either may have the class of all others; to compare, both get it.
    size = max(one.matrices.shape[1] for one in counts)
    return compare_miou(*(_padded(one.matrices, size) for one in counts))


def _padded(matrices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    more = size - matrices.shape[1]
    return np.pad(matrices, ((0, 0), (0, more), (0, more)))


def _table(figures: Sequence[SegmentationFigures], classes: Sequence[str]) -> Table:
    """A row for each class that the data have; two models side by side."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    single = len(figures) == 1
    for column in ("pixels", "IoU", "Dice") if single else ("pixels", "A: IoU", "B: IoU", "B - A"):
        table.add_column(column, justify="right")
    for name in classes:
        first, last = figures[0].per_class[name], figures[-1].per_class[name]
        if first.iou is None or last.iou is None or last.dice is None:
            continue
        cells = (last.iou, last.dice) if single else (first.iou, last.iou)
        gain = () if single else (f"{last.iou - first.iou:+.3f}",)
        table.add_row(name, str(last.pixels), *(f"{value:.3f}" for value in cells), *gain)
    return table
