"""The figures of ``edgevision eval`` for people: a table of the classes, and a line for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from edgevision.cli.console import say
from edgevision.evaluation.bootstrap import Interval
from edgevision.evaluation.detection import DetectionFigures
from edgevision.evaluation.job import Evaluation
from edgevision.evaluation.label_yardstick import ClassificationMeasurement
from edgevision.evaluation.mistaken import NOTHING, Threshold, mistaken, score_text
from edgevision.evaluation.operating_points import ClassPoints
from edgevision.evaluation.panoptic_data import PanopticReport
from edgevision.evaluation.segmentation import SegmentationFigures
from edgevision.evaluation.yardstick import (
    LIKENESS,
    DetectionMeasurement,
    Measurement,
    SegmentationMeasurement,
)

_PAIRS = 5  # of classes that are named


def show_figures(evaluation: Evaluation, out: Console) -> None:
    """Prints the figures of one model, or of two side by side and what the second gains."""
    measured, single = evaluation.measured, len(evaluation.measured) == 1
    detections = [one.evaluation.figures for one in measured if isinstance(one, DetectionMeasurement)]
    segments = [one.figures for one in measured if isinstance(one, SegmentationMeasurement)]
    labels = [one for one in measured if isinstance(one, ClassificationMeasurement)]
    if detections:
        out.print(_detection_table(detections))
    elif segments:
        out.print(_segmentation_table(segments))
    else:
        out.print(_label_table(labels))
    if evaluation.at is not None:
        out.print(_points_table(evaluation.points()))
    interval = evaluation.interval
    ci = f" ({interval.low:.3f} to {interval.high:.3f})" if single and interval is not None else ""
    for letter, model, one in zip("AB", evaluation.models, measured, strict=False):
        label = model.text if single else f"{letter} = {model.text}"
        say(out, f"{label}: {_summary(one, ci)} images, {one.ms_per_image:.1f} ms each")
    if single and (taken := evaluation.taken_for()):
        say(out, mistaken_line(taken, evaluation.taken_for_at))
    if not single:
        say(out, difference_line(evaluation.yardstick.figure, interval))


def difference_line(figure: str, interval: Interval | None) -> str:
    """What B gains over A, in words."""
    if interval is None:
        return f"B - A: no class has enough boxes for {figure}; lower --min-boxes"
    verdict = (
        "more than chance" if interval.excludes_zero else "0 lies inside: this data cannot tell them apart"
    )
    return (
        f"B - A: {figure} {interval.value:+.3f}, 95 % interval {interval.low:+.3f} to {interval.high:+.3f} "
        f"({verdict}; paired bootstrap, {interval.resamples} resamples)"
    )


def mistaken_line(taken: Mapping[str, Mapping[str, int]], at: Threshold) -> str:
    """How many objects are missed or taken for another class, and how many boxes show nothing, in words."""
    objects = {name: row for name, row in taken.items() if name != NOTHING}
    labelled = sum(sum(row.values()) for row in objects.values())
    missed = sum(row.get(NOTHING, 0) for row in objects.values())
    alarms = sum(taken.get(NOTHING, {}).values())
    pairs = mistaken(taken)
    shown = [f"{label} for {detected} {count}" for label, detected, count in pairs[:_PAIRS]]
    if len(pairs) > _PAIRS:
        shown.append(f"{len(pairs) - _PAIRS} more pairs (--json)")
    return (
        f"from {score_text(at)} on: {missed} of {labelled} objects missed, "
        f"{alarms} boxes where nothing is labelled, taken for another class: {', '.join(shown) or 'none'}"
    )


def _summary(one: Measurement, ci: str) -> str:
    """The figures of one model, up to the number of its images."""
    if isinstance(one, DetectionMeasurement):
        found = one.evaluation.figures
        counted = sum(figure.boxes >= found.min_boxes for figure in found.per_class.values())
        mean = "none" if found.ap50_mean is None else f"{found.ap50_mean:.3f}"
        boxes = (
            ""
            if one.boxes is None
            else f"; boxes ap50 {one.boxes.figures.ap50:.3f}, ap {one.boxes.figures.ap:.3f}"
        )
        what = "" if one.task == "detection" else f"{LIKENESS[one.task]}: "
        if one.largest is not None:
            what = (
                f"largest object of {one.largest.images} images: class {one.largest.class_accuracy:.3f}, box "
                f"{one.largest.l1:.2f} pixels off at 224; all objects: "
            )
        return (
            f"{what}ap50_mean {mean}{ci} over the {counted} classes with {found.min_boxes} boxes or more; "
            f"ap50 {found.ap50:.3f}, ap {found.ap:.3f}, ar {found.ar:.3f}, mar {found.mar:.3f}{boxes}; "
            f"{found.images}"
        )
    if isinstance(one, ClassificationMeasurement):
        if one.multi_label:
            return f"map {one.value:.3f}{ci}; {one.figures.images}"
        return f"top1 {one.value:.3f}{ci}, top5 {one.figures.top5 or 0:.3f}; {one.figures.images}"
    assert isinstance(one, SegmentationMeasurement)
    figures = one.figures
    return (
        f"miou {figures.miou:.3f}{ci}, dice {figures.dice:.3f}, "
        f"pixel accuracy {figures.pixel_accuracy:.3f}; {len(one.counts.matrices)}"
    )


def show_panoptic(report: PanopticReport, out: Console) -> None:
    """Prints panoptic quality: a row for each class, then the means."""
    table = _table(("segments", "PQ", "SQ", "RQ"))
    means = {"all": report.all, "things": report.things, "stuff": report.stuff}
    rows = [(name, one, None) for name, one in report.per_class.items()]
    for name, one, style in (*rows, *((name, one, "bold") for name, one in means.items())):
        if one is not None:
            figures = (f"{value:.3f}" for value in (one.pq, one.sq, one.rq))
            table.add_row(name, str(one.segments), *figures, style=style)
    out.print(table)
    pq = "none" if report.all is None else f"{report.all.pq:.3f}"
    say(out, f"{report.maps}: pq {pq} over {len(report.per_class)} classes; {report.images} images")


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _detection_table(figures: Sequence[DetectionFigures]) -> Table:
    """A row for each class that the data have; two models side by side."""
    single = len(figures) == 1
    table = _table(("boxes", "AP50", "AP", "AR") if single else ("boxes", "A: AP50", "B: AP50", "B - A"))
    for name, last in figures[-1].per_class.items():
        if not last.boxes:
            continue
        first = figures[0].per_class[name]
        values = (last.ap50, last.ap, last.ar) if single else (first.ap50, last.ap50)
        cells = [f"{value:.3f}" for value in values if value is not None]
        if not single and first.ap50 is not None and last.ap50 is not None:
            cells.append(f"{last.ap50 - first.ap50:+.3f}")
        table.add_row(name, str(last.boxes), *cells)
    return table


def _label_table(measured: Sequence[ClassificationMeasurement]) -> Table:
    """A row for each class that the data have; two models side by side."""
    single, several = len(measured) == 1, measured[-1].multi_label
    columns = ("images", "AP") if several else ("images", "top 1", "top 5")
    table = _table(columns if single else ("images", "A", "B", "B - A"))
    for name, last in measured[-1].figures.per_class.items():
        first = measured[0].figures.per_class[name]
        if several:
            values = (last.ap,) if single else (first.ap, last.ap)
        else:
            values = (last.top1, last.top5) if single else (first.top1, last.top1)
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            continue
        cells = [f"{value:.3f}" for value in known]
        if not single:
            cells.append(f"{known[1] - known[0]:+.3f}")
        table.add_row(name, str(last.images), *cells)
    return table


def _points_table(points: Mapping[str, ClassPoints]) -> Table:
    """Precision and recall of each class at the threshold that was asked for."""
    table = _table(("threshold", "precision", "recall", "F1", "best threshold"))
    for name, one in points.items():
        if one.at is None:
            continue
        precision = "none found" if one.at.precision is None else f"{one.at.precision:.3f}"
        best = "" if one.best is None else f"{one.best.threshold:.3f}"
        values = (f"{one.at.recall:.3f}", f"{one.at.f1:.3f}", best)
        table.add_row(name, f"{one.at.threshold:.3f}", precision, *values)
    return table


def _segmentation_table(figures: Sequence[SegmentationFigures]) -> Table:
    """A row for each class that the data have; two models side by side."""
    single = len(figures) == 1
    table = _table(("pixels", "IoU", "Dice") if single else ("pixels", "A: IoU", "B: IoU", "B - A"))
    for name, last in figures[-1].per_class.items():
        first = figures[0].per_class.get(name)
        if first is None or first.iou is None or last.iou is None or last.dice is None:
            continue
        cells = (last.iou, last.dice) if single else (first.iou, last.iou)
        gain = () if single else (f"{last.iou - first.iou:+.3f}",)
        table.add_row(name, str(last.pixels), *(f"{value:.3f}" for value in cells), *gain)
    return table
