"""Reports: the figures with what they were measured on, as JSON."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

import edgevision
from edgevision.contract.manifest import Task
from edgevision.errors import DataError
from edgevision.evaluation.bootstrap import Interval
from edgevision.evaluation.classification import ClassificationFigures, LabelFigures
from edgevision.evaluation.detection import ClassFigures, DetectionFigures
from edgevision.evaluation.largest_object import LargestObjectFigures
from edgevision.evaluation.operating_points import ClassPoints
from edgevision.evaluation.segmentation import SegmentationClassFigures, SegmentationFigures
from edgevision.files import write_json

REPORT_SCHEMA = 1


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, on what, by which command: enough to do it again.

    Attributes:
        model: the name or path that the user gave.
        model_hash: SHA-256 of the model file, of an ONNX file with its metadata cleared.
        data: the annotations or folder that the user gave.
        data_hash: from :func:`hash_files` over annotations and images.
        command: as typed.
        version: of edgevision.
        engine: that ran the model.
        ms_per_image: median time from pixels to answer on that machine.
        skipped: one line for each image that could not be read; the figures are without it.
    """

    model: str
    model_hash: str
    data: str
    data_hash: str
    command: str
    version: str = edgevision.__version__
    engine: str = ""
    ms_per_image: float | None = None
    skipped: tuple[str, ...] = ()


BoxTask = Literal["detection", "instance-segmentation", "pose", "obb"]


class DetectionReport(Provenance, frozen=True, kw_only=True):
    """The JSON report of a detector; for the figures see :class:`DetectionFigures`.

    Attributes:
        task: what is compared: boxes, masks (``instance-segmentation``), key points (``pose``, where OKS
            stands for IoU) or rotated boxes (``obb``).
        box_ap50, box_ap: of the upright boxes, beside masks, key points and rotated boxes.
        ap50_mean_ci: 95 % interval, of ``ap50_mean`` or, beside ``compared_with``, of the difference.
        compared_with: the model that the difference is taken from.
        largest_object: of a model that names one object an image.
        points: precision and recall at the best threshold of each class, and at the one that was asked for.
        taken_for: of a model that gives boxes alone, by labelled class, how many of its objects were taken
            for which class; "(nothing)" stands for objects that were missed, and for boxes where nothing is
            labelled. Each object takes the strongest box of any class that overlaps it by IoU 0.5.
        taken_for_at: the score that a box needs for that, of all classes or of each; 0.35 for those without.
    """

    task: BoxTask = "detection"
    box_ap50: float | None = None
    box_ap: float | None = None
    schema: int = REPORT_SCHEMA
    ap50: float
    ap: float
    ar: float
    ap50_mean: float | None
    ap50_mean_ci: Interval | None = None
    compared_with: Provenance | None = None
    ap50_voc07: float
    ap50_voc: float
    mar: float
    min_boxes: int
    images: int
    per_class: dict[str, ClassFigures]
    largest_object: LargestObjectFigures | None = None
    points: dict[str, ClassPoints] = {}
    taken_for: dict[str, dict[str, int]] = {}
    taken_for_at: float | dict[str, float] | None = None


class SegmentationReport(Provenance, frozen=True, kw_only=True):
    """The JSON report of a segmenter; for the figures see :class:`SegmentationFigures`.

    Attributes:
        miou_ci: 95 % interval, of ``miou`` or, beside ``compared_with``, of the difference.
        compared_with: the model that the difference is taken from.
    """

    task: Literal["segmentation"] = "segmentation"
    schema: int = REPORT_SCHEMA
    miou: float
    miou_ci: Interval | None = None
    compared_with: Provenance | None = None
    dice: float
    pixel_accuracy: float
    images: int
    per_class: dict[str, SegmentationClassFigures]
    confusion_matrix: list[list[int]]


class ClassificationReport(Provenance, frozen=True, kw_only=True):
    """The JSON report of a classifier; for the figures see :class:`ClassificationFigures`.

    Attributes:
        figure: ``top1``, or ``map`` of a model of several labels.
        ci: 95 % interval, of ``figure`` or, beside ``compared_with``, of the difference.
        compared_with: the model that the difference is taken from.
        points: of several labels, as in :class:`DetectionReport`.
    """

    task: Literal["classification"] = "classification"
    schema: int = REPORT_SCHEMA
    figure: Literal["top1", "map"]
    ci: Interval | None = None
    compared_with: Provenance | None = None
    images: int
    top1: float | None = None
    top5: float | None = None
    map: float | None = None
    per_class: dict[str, LabelFigures]
    points: dict[str, ClassPoints] = {}


Report = DetectionReport | SegmentationReport | ClassificationReport


def detection_report(
    figures: DetectionFigures,
    provenance: Provenance,
    interval: Interval | None = None,
    compared_with: Provenance | None = None,
    *,
    task: BoxTask = "detection",
    boxes: DetectionFigures | None = None,
    largest: LargestObjectFigures | None = None,
) -> DetectionReport:
    """Puts a detector's figures and their origin together; ``boxes`` are those of its upright boxes."""
    return DetectionReport(
        **_fields(provenance),
        **_fields(figures),
        ap50_mean_ci=interval,
        compared_with=compared_with,
        task=task,
        box_ap50=None if boxes is None else boxes.ap50,
        box_ap=None if boxes is None else boxes.ap,
        largest_object=largest,
    )


def classification_report(
    figures: ClassificationFigures,
    provenance: Provenance,
    figure: Literal["top1", "map"],
    interval: Interval | None = None,
    compared_with: Provenance | None = None,
) -> ClassificationReport:
    """Puts a classifier's figures and their origin together."""
    return ClassificationReport(
        **_fields(provenance), **_fields(figures), figure=figure, ci=interval, compared_with=compared_with
    )


def segmentation_report(
    figures: SegmentationFigures,
    provenance: Provenance,
    images: int,
    matrix: list[list[int]],
    interval: Interval | None = None,
    compared_with: Provenance | None = None,
) -> SegmentationReport:
    """Puts a segmenter's figures and their origin together; ``matrix`` is ``ndarray.tolist()``."""
    return SegmentationReport(
        **_fields(provenance),
        **_fields(figures),
        images=images,
        confusion_matrix=matrix,
        miou_ci=interval,
        compared_with=compared_with,
    )


def write_report(path: str | os.PathLike[str], report: Report) -> None:
    """Writes a report as JSON, whole or not at all.

    Raises:
        SinkError: the file cannot be written.
    """
    write_json(path, report)


def read_report(path: str | os.PathLike[str]) -> Report:
    """Reads a report back.

    Raises:
        DataError: the file is missing or not a report of this version.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        kind = msgspec.json.decode(content, type=_Header)
        if kind.schema != REPORT_SCHEMA:
            raise DataError(f"{path}: report schema {kind.schema}; expected {REPORT_SCHEMA}, evaluate again")
        if kind.task == "segmentation":
            return msgspec.json.decode(content, type=SegmentationReport)
        if kind.task == "classification":
            return msgspec.json.decode(content, type=ClassificationReport)
        return msgspec.json.decode(content, type=DetectionReport)
    except OSError as error:
        raise DataError(f"cannot read report {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise DataError(f"{path} is not a report of 'edgevision eval' ({error})") from error


def best_thresholds(path: str | os.PathLike[str]) -> dict[str, float]:
    """The threshold of the highest F1 that each class had in an evaluation, by class name.

    Raises:
        DataError: the file is missing, or not a report of this version, or one without thresholds.
    """
    report = read_report(path)
    points = {} if isinstance(report, SegmentationReport) else report.points
    found = {name: one.best.threshold for name, one in points.items() if one.best is not None}
    if not found:
        raise DataError(
            f"{path}: that report has no thresholds; expected one of a detector or of a classifier of "
            "several labels"
        )
    return found


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> str:
    """SHA-256 over names and contents, whatever the order given; folders may move, files may not change.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: (path.name, str(path))):
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        digest.update(f"{path.name}\0{content}\n".encode())
    return digest.hexdigest()


class _Header(msgspec.Struct):
    task: Task
    schema: int


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}
