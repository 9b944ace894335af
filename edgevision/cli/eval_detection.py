"""``edgevision eval`` for detectors: figures, table, plots, worst pictures, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from edgevision.data.detection.dataset import DetectionSet, select_classes
from edgevision.data.formats.coco import read_coco
from edgevision.evaluation.bootstrap import Interval, ap50_mean_interval, compare_ap50_mean
from edgevision.evaluation.detection import DetectionEvaluation, DetectionFigures, evaluate_detections
from edgevision.evaluation.plots import plot_precision_recall
from edgevision.evaluation.predict import Predictions, ground_truth, predict_readable
from edgevision.evaluation.report import detection_report, write_report
from edgevision.evaluation.worst import save_worst


def evaluate_detection(
    request: Request, models: Sequence[OpenModel], out: Console, notes: Console
) -> tuple[str, ...]:
    """Evaluates one detector or compares two; returns a line for each picture that was skipped."""
    raw = read_coco(request.data, request.images or Path())
    paths = [image.path for image in raw.images]
    check_pictures(paths, request)
    classes = choose_classes(request, models, raw.classes, notes)
    data = select_classes(raw, classes)
    runs = [_run(model, data, request, notes) for model in models]
    predictions, evaluations = [run[0] for run in runs], [run[1] for run in runs]
    skipped = predictions[-1].skipped
    say_skipped(skipped, len(paths), notes)
    figures = [evaluation.figures for evaluation in evaluations]
    empty = [name for name, one in figures[-1].per_class.items() if not one.boxes]
    if empty:
        say(notes, f"note: no box of {', '.join(empty)} in the data; left out of every mean")

    interval = ap50_mean_interval(evaluations[0]) if len(runs) == 1 else compare_ap50_mean(*evaluations)
    out.print(_table(figures, request.models))
    for line in _summary(figures, request, interval, predictions):
        say(out, line)

    origins = [
        provenance(request, model, [request.data, *paths], one.ms_per_image, one.skipped)
        for model, one in zip(models, predictions, strict=True)
    ]
    if request.json is not None:
        compared = origins[0] if len(runs) == 2 else None
        write_report(request.json, detection_report(figures[-1], origins[-1], interval, compared))
    if request.plots is not None:
        make_folder(request.plots)
        for model, evaluation, name in zip(models, evaluations, _file_names(len(models)), strict=True):
            _plot(request.plots / f"{name}.png", evaluation, model.text)
    if request.worst is not None:
        by_id = {image.image_id: image.path for image in data.images}
        truth = ground_truth(data, predictions[-1].found)
        save_worst(request.worst, evaluations[-1], by_id, predictions[-1].found, truth)
    return skipped


def _run(
    model: OpenModel, data: DetectionSet, request: Request, notes: Console
) -> tuple[Predictions, DetectionEvaluation]:
    with counting(notes, model.text, len(data.images)) as progress:
        predictions = predict_readable(model.detector(0.0), data, progress)
    truth = ground_truth(data, predictions.found)
    return predictions, evaluate_detections(predictions.found, truth, data.classes, request.min_boxes)


def _table(figures: Sequence[DetectionFigures], models: Sequence[str]) -> Table:
    """A row for each class that the data have; two models side by side."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    single = len(models) == 1
    columns = ("boxes", "AP50", "AP", "AR") if single else ("boxes", "A: AP50", "B: AP50", "B - A")
    for column in columns:
        table.add_column(column, justify="right")
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


def _summary(
    figures: Sequence[DetectionFigures],
    request: Request,
    interval: Interval | None,
    predictions: Sequence[Predictions],
) -> list[str]:
    lines = []
    for letter, name, one, said in zip("AB", request.models, figures, predictions, strict=False):
        counted = sum(figure.boxes >= one.min_boxes for figure in one.per_class.values())
        mean = "none" if one.ap50_mean is None else f"{one.ap50_mean:.3f}"
        ci = f" ({interval.low:.3f} to {interval.high:.3f})" if interval and len(figures) == 1 else ""
        label = name if len(figures) == 1 else f"{letter} = {name}"
        lines.append(
            f"{label}: ap50_mean {mean}{ci} over the {counted} classes with {one.min_boxes} boxes or more; "
            f"ap50 {one.ap50:.3f}, ap {one.ap:.3f}, ar {one.ar:.3f}, mar {one.mar:.3f}; "
            f"{one.images} images, {said.ms_per_image:.1f} ms each"
        )
    if len(figures) == 2:
        lines.append(difference_line("ap50_mean", interval))
    return lines


def difference_line(figure: str, interval: Interval | None) -> str:
    """What B gains over A, in words."""
    if interval is None:
        return f"B - A: no class has boxes enough for {figure}; lower --min-boxes"
    verdict = (
        "more than chance" if interval.excludes_zero else "0 lies inside: this data cannot tell them apart"
    )
    return (
        f"B - A: {figure} {interval.value:+.3f}, 95 % interval {interval.low:+.3f} to {interval.high:+.3f} "
        f"({verdict}; paired bootstrap, {interval.resamples} resamples)"
    )


def _plot(path: Path, evaluation: DetectionEvaluation, title: str) -> None:
    curves = {}
    for class_id, name in enumerate(evaluation.classes):
        ap50 = evaluation.figures.per_class[name].ap50
        if ap50 is not None:
            curves[f"{name} {ap50:.2f}"] = evaluation.curve(class_id)
    plot_precision_recall(path, curves, f"{Path(title).name}: precision and recall at IoU 0.5")


def _file_names(models: int) -> tuple[str, ...]:
    return ("precision_recall",) if models == 1 else ("precision_recall_a", "precision_recall_b")
