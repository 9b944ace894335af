"""What a training ends with: the best model as a file, measured through the runtime, a card and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.data.detection.sources import CocoSource, load_source
from edgevision.data.images import decode_image
from edgevision.data.segmentation.dataset import SegmentationSet, SegmentationSource
from edgevision.data.segmentation.dataset import load_source as load_segmentation_source
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.engines import load_engine
from edgevision.errors import DataError
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.mistaken import detection_confusion, score_text
from edgevision.evaluation.page import Page, thumbnail
from edgevision.evaluation.predict import ground_truth
from edgevision.evaluation.segmentation import worst_matrices
from edgevision.evaluation.sizes import SizeFigures, figures_by_size
from edgevision.evaluation.worst import draw_errors, draw_maps
from edgevision.evaluation.yardstick import (
    DetectionMeasurement,
    DetectionYardstick,
    SegmentationMeasurement,
    SegmentationYardstick,
)
from edgevision.export.to_onnx import export_checkpoint
from edgevision.files import atomic_path, write_json
from edgevision.finetune.prepare import FEW, Prepared
from edgevision.model import DEFAULT_CONF_THRESHOLD, Model
from edgevision.progress import OnDone
from edgevision.training.checkpoint import load_checkpoint
from edgevision.training.config import DetectorTraining, TrainingRun
from edgevision.types import SegmentationMap

_WORST = 12
_FEW_VALIDATION = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run left.

    Attributes:
        model: the ONNX file.
        report: the page.
        card: the model's card.
        figure: the name and value of the figure that says how good it is, from the model file.
        warnings: what makes the figure worthless, or the model.
    """

    model: Path
    report: Path
    card: Path
    figure: tuple[str, float]
    warnings: tuple[str, ...]


def finish_run(
    folder: Path, run: TrainingRun, prepared: Prepared, on_image: OnDone = lambda done: None
) -> Finished:
    """Exports the best checkpoint of a run, measures it in the engine that will run it, and reports.

    Args:
        folder: of the run, with ``best.pt``; gets ``model.onnx``, ``model.md``, ``figures.json`` and
            ``report.html``.
        run: its configuration.
        prepared: its data.
        on_image: called with the number of validation images that are measured.

    Raises:
        CheckpointError, ExportError, SinkError: the model cannot be read, exported or written.
    """
    model = folder / "model.onnx"
    export_checkpoint(load_checkpoint(folder / "best.pt"), model)
    page = Page(f"{run.name}: how good it is, and what its data lack")
    page.text(prepared.headline)
    if isinstance(run, DetectorTraining):
        figure, figures = _measure_detector(run, model, page, prepared, on_image)
    else:
        figure, figures = _measure_segmenter(run, model, page, prepared, on_image)
    warnings = []
    if figure[1] == 0:
        warnings.append(
            f"{figure[0]} is 0: the model finds nothing of what is labelled in the validation images; look "
            "at the labels with 'edgevision data check', or train for longer"
        )
    write_json(folder / "figures.json", {"figure": figure[0], "value": figure[1], **figures})
    curves = folder / "curves.png"
    if curves.is_file():
        page.section("Curves of the training")
        page.image(curves.read_bytes(), "losses, learning rate and validation over the images seen")
    page.section("Images and boxes")
    for account in prepared.accounts:
        page.text(str(account))
    for note in prepared.notes:
        if note not in prepared.lacking:
            page.text(note.replace("`", ""))
    page.write(folder / "report.html")
    card = folder / "model.md"
    with atomic_path(card) as partial:
        partial.write_text(_card(run, prepared, figure, figures), encoding="utf-8")
    return Finished(model, folder / "report.html", card, figure, tuple(warnings))


def _measure_detector(
    run: DetectorTraining, model: Path, page: Page, prepared: Prepared, on_image: OnDone
) -> tuple[tuple[str, float], dict[str, object]]:
    if not isinstance(prepared.val, CocoSource):
        raise DataError("a detector is measured on boxes")
    data = load_source(prepared.val, run.classes)
    yardstick = DetectionYardstick(data, str(prepared.val.annotations), 1, Path(prepared.val.annotations))
    engine = load_engine(model)
    try:
        measured = yardstick.measure(engine, on_image)
    finally:
        engine.close()
    truth = ground_truth(data, measured.predictions.found)
    sizes = figures_by_size(measured.predictions.found, truth, run.classes)
    confusion = detection_confusion(measured.predictions.found, truth, len(run.classes))
    figures = measured.evaluation.figures
    page.table(
        ("figure", "value"),
        [
            ("AP at IoU 0.5 (ap50)", f"{figures.ap50:.3f}"),
            ("AP at IoU 0.5 to 0.95 (ap)", f"{figures.ap:.3f}"),
            ("average recall (ar)", f"{figures.ar:.3f}"),
            ("validation images", str(figures.images)),
            ("time of an image on this machine", f"{measured.ms_per_image:.1f} ms"),
        ],
    )
    _say_lacking(page, prepared, sizes)
    page.section("By class")
    page.table(
        ("class", "training boxes", "validation boxes", "AP50", "recall"),
        [
            (
                name,
                str((prepared.counts or {}).get(name, (0, 0))[0]),
                str(one.boxes),
                "-" if one.ap50 is None else f"{one.ap50:.3f}",
                "-" if one.ar is None else f"{one.ar:.3f}",
            )
            for name, one in figures.per_class.items()
        ],
        bar=3,
    )
    page.section("By size")
    page.table(
        ("size (side in pixels)", "validation boxes", "AP50"),
        [(_size_name(one), str(one.boxes), "-" if one.ap50 is None else f"{one.ap50:.3f}") for one in sizes],
        bar=2,
    )
    page.section(f"What is taken for what, from {score_text(DEFAULT_CONF_THRESHOLD)} on")
    _add_matrix(page, confusion, (*run.classes, "missed"), (*run.classes, "false alarm"))
    _add_worst(page, measured, data.classes, {one.image_id: one.path for one in data.images}, truth)
    return ("ap50", round(figures.ap50, 4)), {
        "per_class": msgspec.to_builtins(figures.per_class),
        "by_size": {one.name: {"boxes": one.boxes, "ap50": one.ap50} for one in sizes},
        "confusion": confusion.tolist(),
    }


def _size_name(one: SizeFigures) -> str:
    return {"small": "small (below 32)", "medium": "medium (32 to 96)", "large": "large (from 96)"}[one.name]


def _add_matrix(page: Page, matrix: NDArray[np.int64], columns: Sequence[str], rows: Sequence[str]) -> None:
    page.table(
        ("labelled \\ detected", *columns),
        [(name, *(str(count) for count in line)) for name, line in zip(rows, matrix.tolist(), strict=True)],
    )


def _say_lacking(page: Page, prepared: Prepared, sizes: Sequence[SizeFigures]) -> None:
    """What the data lack, each with what to do."""
    page.section("What the data lack")
    lines = list(prepared.lacking)
    counts = prepared.counts or {}
    unsure = [name for name, (_, val) in counts.items() if 0 < val < _FEW_VALIDATION]
    if unsure:
        lines.append(
            f"fewer than {_FEW_VALIDATION} validation boxes of {', '.join(unsure)}: their figures are chance"
        )
    most, least = max(counts.values(), default=(0, 0)), min(counts.values(), default=(0, 0))
    if most[0] > 20 * max(least[0], 1):
        rare = next(name for name, count in counts.items() if count == least)
        lines.append(f"{rare} has {least[0]} training boxes where another class has {most[0]}")
    weak = [one for one in sizes if one.ap50 is not None and one.boxes >= FEW and one.ap50 < 0.2]
    lines += [
        f"{one.name} objects are found badly (AP50 {one.ap50:.2f}): label more, or take a larger input"
        for one in weak
        if one.ap50 is not None
    ]
    for line in lines:
        page.warning(line.replace("`", ""))
    if not lines:
        page.text("Nothing that counting can find.")


def _add_worst(
    page: Page,
    measured: DetectionMeasurement,
    classes: Sequence[str],
    paths: dict[int, Path],
    truth: dict[int, GroundTruth],
) -> None:
    page.section("The images with the most errors")
    page.text(
        "Green: found. Red: a false alarm, or an object that nobody labelled. Blue: missed, with the overlap "
        "of the closest detection of its class."
    )
    drawn = []
    for number, error in measured.evaluation.worst_images(_WORST):
        found = measured.predictions.found[number]
        image = draw_errors(decode_image(paths[number]), found, truth[number], classes)
        drawn.append((thumbnail(image), f"{paths[number].name}, error {error:.2f}"))
    if drawn:
        page.images(drawn)
    else:
        page.text("None: every object is found, and nothing else.")


def _measure_segmenter(
    run: TrainingRun, model: Path, page: Page, prepared: Prepared, on_image: OnDone
) -> tuple[tuple[str, float], dict[str, object]]:
    if not isinstance(prepared.val, SegmentationSource):
        raise DataError("a segmenter is measured on label maps")
    data = load_segmentation_source(prepared.val, run.classes)
    engine = load_engine(model)
    try:
        measured: SegmentationMeasurement = SegmentationYardstick(data, data.name).measure(engine, on_image)
        worst = _worst_maps(Model(engine, 0.0), data, measured)
    finally:
        engine.close()
    figures = measured.figures
    page.table(
        ("figure", "value"),
        [
            ("mean IoU (miou)", f"{figures.miou:.3f}"),
            ("pixel accuracy", f"{figures.pixel_accuracy:.3f}"),
            ("validation images", str(len(data.images))),
            ("time of an image on this machine", f"{measured.ms_per_image:.1f} ms"),
        ],
    )
    _say_lacking(page, prepared, ())
    page.section("By class")
    page.table(
        ("class", "validation pixels", "IoU"),
        [
            (name, str(one.pixels), "-" if one.iou is None else f"{one.iou:.3f}")
            for name, one in figures.per_class.items()
        ],
        bar=2,
    )
    page.section("What is taken for what, in pixels")
    _add_matrix(page, measured.counts.matrices.sum(axis=0), measured.counts.classes, measured.counts.classes)
    page.section("The images with the most wrong pixels")
    if worst:
        page.images(worst)
    else:
        page.text("None: every labelled pixel is right.")
    return ("miou", round(figures.miou, 4)), {"per_class": msgspec.to_builtins(figures.per_class)}


def _worst_maps(
    model: Model, data: SegmentationSet, measured: SegmentationMeasurement
) -> list[tuple[bytes, str]]:
    """The worst images as they are labelled and as the model sees them, each with a caption."""
    drawn = []
    for number, share in worst_matrices(measured.counts.matrices, _WORST):
        pair = data.images[measured.counts.places[number]]
        image, labels = read_pair(data, pair)
        result = model(image)
        if not isinstance(result, SegmentationMap):
            raise DataError(f"{model.name} is not a segmentation model")
        canvas = draw_maps(image, labels, result.class_map, model.manifest)
        drawn.append((thumbnail(canvas), f"{pair.image.name}, {share:.1%} of the labelled pixels wrong"))
    return drawn


def _card(run: TrainingRun, prepared: Prepared, figure: tuple[str, float], figures: dict[str, object]) -> str:
    kind = "Object detection" if isinstance(run, DetectorTraining) else "Segmentation"
    start = run.initial or "ImageNet's weights"
    lines = [
        f"# {run.name}",
        "",
        f"{kind}, {len(run.classes)} classes: {', '.join(run.classes)}.",
        "",
        "## Figures",
        "",
        f"`{figure[0]}` {figure[1]:.4f} on {prepared.val_images} validation images, measured through the "
        "runtime. The figures of each class are in `figures.json`, the errors in `report.html`.",
        "",
        "## Training",
        "",
        f"{prepared.train_images} images, {run.loop.images} seen in all, started from {start}.",
        "",
        prepared.headline,
        "",
        *(f"- {account}" for account in prepared.accounts),
        "",
        "## Licence",
        "",
        f"{run.data.licence}.",
        "",
        "## Known weaknesses",
        "",
        *(f"- {note.replace('`', '')}" for note in prepared.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"
