"""Measuring one model on labelled data, or comparing two: what ``edgevision eval`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from edgevision.data.classes import parse_classes
from edgevision.engines import describe
from edgevision.engines.base import Engine
from edgevision.errors import UsageError
from edgevision.evaluation.bootstrap import Interval
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES
from edgevision.evaluation.labelled import LabelledData, chosen_classes
from edgevision.evaluation.mistaken import Threshold
from edgevision.evaluation.operating_points import ClassPoints, class_points
from edgevision.evaluation.predict import ground_truth
from edgevision.evaluation.report import Provenance, Report, hash_files
from edgevision.evaluation.worst import save_worst
from edgevision.evaluation.yardstick import (
    DetectionMeasurement,
    DetectionYardstick,
    Measurement,
    Yardstick,
)
from edgevision.files import make_folder
from edgevision.model import DEFAULT_CONF_THRESHOLD
from edgevision.progress import Note, Progress, no_note, no_progress
from edgevision.tiling import Tiling


class NamedModel(Protocol):
    """A model that is open.

    Attributes:
        text: the name or path that the user gave.
        sha256: of the file; of an ONNX file with its metadata cleared.
        engine: that runs it.
    """

    @property
    def text(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def engine(self) -> Engine: ...


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result.

    Attributes:
        yardstick: the labelled data.
        models: one, or two that are compared.
        measured: one for each model.
        interval: of the figure, or, of two models, of the second figure less the first; None where no class
            has enough labels.
    """

    yardstick: Yardstick
    models: tuple[NamedModel, ...]
    measured: tuple[Measurement, ...]
    interval: Interval | None
    at: Threshold | None = None
    """The score threshold that was asked for, of all classes or of each."""

    @property
    def skipped(self) -> tuple[str, ...]:
        """One line for each image that could not be read."""
        return self.measured[-1].skipped

    def report(self, command: str = "") -> Report:
        """The figures of the last model with where they come from; reads every file to hash it.

        Args:
            command: how the evaluation was called.
        """
        data_hash = hash_files(self.yardstick.files)
        origins = [
            Provenance(
                model=model.text,
                model_hash=model.sha256,
                data=self.yardstick.source,
                data_hash=data_hash,
                command=command,
                engine=describe(model.engine),
                ms_per_image=round(one.ms_per_image, 2),
                skipped=one.skipped,
            )
            for model, one in zip(self.models, self.measured, strict=True)
        ]
        compared = origins[0] if len(origins) == 2 else None
        report = self.measured[-1].report(origins[-1], self.interval, compared)
        points = self.points()
        if points:
            report = msgspec.structs.replace(report, points=points)
        if taken := self.taken_for():
            at = self.taken_for_at
            at = dict(at) if isinstance(at, Mapping) else at
            report = msgspec.structs.replace(report, taken_for=taken, taken_for_at=at)
        return report

    def points(self) -> dict[str, ClassPoints]:
        """Of the last model, by class; empty for one that has no threshold."""
        return class_points(self.measured[-1].curves(), self.at)

    @property
    def taken_for_at(self) -> Threshold:
        """The score that a box needs to be in :meth:`taken_for`: what was asked for, or 0.35."""
        return DEFAULT_CONF_THRESHOLD if self.at is None else self.at

    def taken_for(self) -> dict[str, dict[str, int]]:
        """What the last model takes for what; see :meth:`DetectionMeasurement.taken_for`."""
        last = self.measured[-1]
        return last.taken_for(self.taken_for_at) if isinstance(last, DetectionMeasurement) else {}

    def plot(self, folder: Path) -> None:
        """Draws precision over recall or the confusion matrix of each model into ``folder``.

        Raises:
            UsageError: matplotlib is not installed.
            SinkError: the folder or a file cannot be written.
        """
        make_folder(folder, parents=True)
        suffixes = ("",) if len(self.models) == 1 else ("_a", "_b")
        for model, one, suffix in zip(self.models, self.measured, suffixes, strict=True):
            one.plot(folder, Path(model.text).name, suffix, self.taken_for_at)

    def save_worst(self, folder: Path) -> list[Path]:
        """Draws the images with the most errors of the last model; see :func:`save_worst`.

        Raises:
            UsageError: it is a segmenter or classifier, which has no boxes to draw.
        """
        last = self.measured[-1]
        if not isinstance(last, DetectionMeasurement) or not isinstance(self.yardstick, DetectionYardstick):
            raise UsageError("`worst` draws boxes, so it needs a detection model")
        data, found = self.yardstick.data, last.predictions.found
        paths = {image.image_id: image.path for image in data.images}
        return save_worst(folder, last.evaluation, paths, found, ground_truth(data, found))


def evaluate(
    models: Sequence[NamedModel],
    labelled: LabelledData,
    *,
    classes: str | None = None,
    min_boxes: int = DEFAULT_MIN_BOXES,
    tiling: Tiling | None = None,
    at: float | Mapping[str, float] | None = None,
    note: Note = no_note,
    progress: Progress = no_progress,
) -> Evaluation:
    """Measures one model, or compares two, through the same code that runs them.

    Args:
        models: one or two.
        labelled: the data.
        classes: evaluate these only, see :func:`edgevision.data.classes.parse_classes`; None for every
            class that all models and the data have.
        min_boxes: labelled boxes that a class needs to count in ``ap50_mean``.
        tiling: detectors look at tiles of each image too.
        at: the score threshold at which precision and recall are taken, or one for each class.
        note: called with what the user should know.
        progress: shows how many images are done.

    Raises:
        UsageError: a model is for another task or lacks a class that was asked for, or has no threshold.
        DataError: the data are incomplete or lack a class, or no image can be read.
    """
    for model in models:
        labelled.check_task(model.text, model.engine.manifest.task)
    first = models[0].engine.manifest
    for model in models[1:]:
        if model.engine.manifest.task != first.task:
            raise UsageError(
                f"{models[0].text} is a model for {first.task} and {model.text} one for "
                f"{model.engine.manifest.task}; expected two for the same task"
            )
    if at is not None and (
        first.task == "segmentation" or (first.task == "classification" and not first.multi_label)
    ):
        raise UsageError("`at` is a score threshold, for detectors and classifiers of several labels")
    known = {model.text: labelled.groups.names(model.engine.manifest.classes) for model in models}

    def choose(names: Sequence[str]) -> tuple[str, ...]:
        if classes is not None:
            own = (model.engine.manifest.classes for model in models)
            labelled.groups.refuse_members(parse_classes(classes), *own)
        return chosen_classes(classes, known, names, labelled.data, note)

    yardstick = labelled.open(choose, min_boxes, first)
    labelled.check_groups(model.engine.manifest.classes for model in models)
    if tiling is not None:
        if not isinstance(yardstick, DetectionYardstick) or yardstick.box_task != "detection":
            raise UsageError(f"`tiles` are for models that give boxes alone; these are for {yardstick.task}")
        yardstick.tiling = tiling
    measured = []
    for model in models:
        with progress(model.text, yardstick.images) as on_image:
            measured.append(yardstick.measure(model.engine, on_image))
    for model, one in zip(models, measured, strict=True):
        if one.value == 0:
            note(
                f"{model.text}: {yardstick.figure} is 0, so it finds nothing of what is labelled here; are "
                "these its classes, and its kind of images?"
            )
    absent = measured[-1].absent
    if absent:
        note(f"no {yardstick.unit} of {', '.join(absent)} in the data; left out of every mean")
    interval = measured[0].interval() if len(measured) == 1 else measured[1].gain_over(measured[0])
    return Evaluation(yardstick, tuple(models), tuple(measured), interval, at)
