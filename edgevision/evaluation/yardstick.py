"""Labelled data with the figure that is measured on them: one interface for every task."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.data.detection.dataset import DetectionSet
from edgevision.data.images import decode_image, image_size
from edgevision.data.segmentation.dataset import SegmentationSet
from edgevision.engines.base import Engine
from edgevision.errors import DataError
from edgevision.evaluation.average_precision import Curve
from edgevision.evaluation.bootstrap import (
    Interval,
    ap50_mean_interval,
    compare_ap50_mean,
    compare_miou,
    miou_interval,
)
from edgevision.evaluation.comparisons import (
    MaskComparison,
    PoseComparison,
    RotatedComparison,
    rotated_truth,
)
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES, DetectionEvaluation, evaluate_detections
from edgevision.evaluation.detection_matching import Comparison, GroundTruth
from edgevision.evaluation.largest_object import LargestObjectFigures, largest_object_figures
from edgevision.evaluation.mistaken import (
    NOTHING,
    Threshold,
    detection_confusion,
    score_text,
    taken_for,
    thresholds_of,
)
from edgevision.evaluation.plots import plot_confusion_matrix, plot_precision_recall, plot_recall_over_iou
from edgevision.evaluation.predict import (
    OTHER,
    PixelCounts,
    Predictions,
    count_pixels,
    ground_truth,
    pose_truth,
    predict_readable,
)
from edgevision.evaluation.report import (
    BoxTask,
    DetectionReport,
    Provenance,
    Report,
    SegmentationReport,
    detection_report,
    segmentation_report,
)
from edgevision.evaluation.segmentation import SegmentationFigures, segmentation_figures
from edgevision.model import Model
from edgevision.progress import OnDone
from edgevision.tiling import TiledModel, Tiling
from edgevision.types import Detections, Image


class Measurement(ABC):
    """What one model's answers on labelled images come to."""

    @property
    @abstractmethod
    def skipped(self) -> tuple[str, ...]:
        """One line for each image that could not be read."""

    @property
    @abstractmethod
    def ms_per_image(self) -> float:
        """Median time from pixels to answer, reading the file left out."""

    @property
    @abstractmethod
    def value(self) -> float | None:
        """The figure; None where no class has enough labels for it."""

    @abstractmethod
    def required(self) -> float:
        """The figure.

        Raises:
            DataError: there is none.
        """

    @property
    @abstractmethod
    def absent(self) -> tuple[str, ...]:
        """Classes that nothing is labelled as; they are left out of every mean."""

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Classes with too few labels to be in the figure."""
        return self.absent

    @abstractmethod
    def interval(self) -> Interval | None:
        """The figure with its 95 % interval (bootstrap); None where there is none."""

    @abstractmethod
    def gain_over(self, first: Measurement) -> Interval | None:
        """The figure less that of ``first``, with its 95 % interval (paired bootstrap); None where one is.

        Args:
            first: of the same yardstick.

        Raises:
            UsageError: the two were not measured on the same images, labels and classes.
        """

    @abstractmethod
    def report(
        self, origin: Provenance, interval: Interval | None, compared_with: Provenance | None
    ) -> Report:
        """The figures with where they come from, for a file."""

    def curves(self) -> dict[str, Curve]:
        """Precision over recall of each class that something is labelled as.

        None for a segmenter and a classifier of one label, which have no threshold.
        """
        return {}

    @abstractmethod
    def plot(self, folder: Path, title: str, suffix: str, at: Threshold) -> None:
        """Draws what the figure is made of as a PNG in ``folder``.

        Args:
            folder: exists.
            title: the model's name.
            suffix: at the end of the file's name; empty for none.
            at: of a detector, the score from which boxes count in what is taken for what.

        Raises:
            UsageError: matplotlib is not installed.
            SinkError: the file cannot be written.
        """


class Yardstick(ABC):
    """Labelled data.

    Attributes:
        task: of the models that can be measured.
        figure: the name of what is measured.
        unit: what is labelled: a box or a pixel.
        source: what the user called the data.
        is_labelled: False where another model's answers stand in for labels.
    """

    is_labelled = True
    task: str
    figure: str
    unit: str
    source: str

    @property
    @abstractmethod
    def images(self) -> int:
        """How many images there are."""

    @property
    @abstractmethod
    def files(self) -> list[Path]:
        """Labels and images."""

    @abstractmethod
    def measure(self, engine: Engine, on_image: OnDone = lambda done: None) -> Measurement:
        """Evaluates one model on all images.

        Raises:
            DataError: no image can be read, or the model is for another task.
        """

    @abstractmethod
    def sample(self, count: int) -> list[Image]:
        """Images spread over the data, at most ``count``; unreadable ones are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectionMeasurement(Measurement):
    """What a detector said, and the figures of it."""

    predictions: Predictions
    evaluation: DetectionEvaluation
    task: BoxTask = "detection"
    boxes: DetectionEvaluation | None = None
    """The figures of the upright boxes, where something else is compared."""
    largest: LargestObjectFigures | None = None
    """Of a model that names one object an image."""
    truth: Mapping[int, GroundTruth] = field(default_factory=dict)
    """What was compared with, by image id."""

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.predictions.skipped

    @property
    def ms_per_image(self) -> float:
        return self.predictions.ms_per_image

    @property
    def value(self) -> float | None:
        return self.evaluation.figures.ap50_mean

    def required(self) -> float:
        figures = self.evaluation.figures
        if figures.ap50_mean is None:
            raise DataError(
                f"no class has {figures.min_boxes} labelled boxes, so ap50_mean cannot be measured; "
                "lower `min_boxes`"
            )
        return figures.ap50_mean

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(name for name, one in self.evaluation.figures.per_class.items() if not one.boxes)

    @property
    def uncounted(self) -> tuple[str, ...]:
        figures = self.evaluation.figures
        return tuple(name for name, one in figures.per_class.items() if one.boxes < figures.min_boxes)

    def interval(self) -> Interval | None:
        return ap50_mean_interval(self.evaluation)

    def gain_over(self, first: Measurement) -> Interval | None:
        assert isinstance(first, DetectionMeasurement)
        return compare_ap50_mean(first.evaluation, self.evaluation)

    def report(
        self, origin: Provenance, interval: Interval | None, compared_with: Provenance | None
    ) -> DetectionReport:
        return detection_report(
            self.evaluation.figures,
            origin,
            interval,
            compared_with,
            task=self.task,
            boxes=None if self.boxes is None else self.boxes.figures,
            largest=self.largest,
        )

    def plot(self, folder: Path, title: str, suffix: str, at: Threshold) -> None:
        per_class, likeness = self.evaluation.figures.per_class, LIKENESS[self.task]
        curves = {f"{name} {per_class[name].ap50:.2f}": curve for name, curve in self.curves().items()}
        path = folder / f"precision_recall{suffix}.png"
        plot_precision_recall(path, curves, f"{title}: precision and recall at {likeness} 0.5")
        overlaps = {
            f"{name} {per_class[name].mar:.2f}": found.overlaps
            for name, found in zip(self.evaluation.classes, self.evaluation.matches, strict=True)
            if len(found.overlaps)
        }
        path = folder / f"recall_over_iou{suffix}.png"
        plot_recall_over_iou(path, overlaps, f"{title}: recall at most 100 detections an image", likeness)
        if self.task == "detection":
            classes = self.evaluation.classes
            plot_confusion_matrix(
                folder / f"confusion{suffix}.png",
                self._confusion(at),
                (*classes, NOTHING),
                f"{title}: what each object was taken for at {score_text(at)}, per cent",
            )

    def _confusion(self, at: Threshold) -> NDArray[np.int64]:
        classes = self.evaluation.classes
        least = thresholds_of(at, classes)
        return detection_confusion(self.predictions.found, self.truth, len(classes), least)

    def taken_for(self, at: Threshold) -> dict[str, dict[str, int]]:
        """By labelled class, how many of its objects were taken for which.

        Empty where other things than boxes are compared, and where there is one class only.

        Args:
            at: weaker detections are left out.
        """
        classes = self.evaluation.classes
        if self.task != "detection" or self.largest is not None or len(classes) == 1:
            return {}
        return taken_for(self._confusion(at), classes)

    def curves(self) -> dict[str, Curve]:
        per_class = self.evaluation.figures.per_class
        return {
            name: self.evaluation.curve(class_id)
            for class_id, name in enumerate(self.evaluation.classes)
            if per_class[name].ap50 is not None
        }


UNITS: dict[BoxTask, str] = {
    "detection": "box",
    "instance-segmentation": "mask",
    "pose": "pose",
    "obb": "rotated box",
}
"""What is labelled and compared."""

LIKENESS: dict[BoxTask, str] = {
    "detection": "IoU",
    "instance-segmentation": "mask IoU",
    "pose": "OKS",
    "obb": "rotated IoU",
}
"""What the thresholds are of."""


class DetectionYardstick(Yardstick):
    """``ap50_mean`` on a labelled set, of boxes, masks, poses or rotated boxes.

    Args:
        data: the set, in the classes that are evaluated; with shapes for other tasks than detection.
        source: what the user called it.
        min_boxes: labelled boxes that a class needs to count.
        label_file: that the set was read from.
        task: what is compared.

    Attributes:
        figure: ``ap50`` where every class with a labelled box counts, which is its definition.
        tiling: look at tiles of each image too.
    """

    def __init__(
        self,
        data: DetectionSet,
        source: str,
        min_boxes: int = DEFAULT_MIN_BOXES,
        label_file: Path | None = None,
        task: BoxTask = "detection",
    ) -> None:
        self.data, self.source, self.min_boxes = data, source, min_boxes
        self.figure = "ap50" if min_boxes <= 1 else "ap50_mean"
        self.box_task: BoxTask = task
        self.task, self.unit = task, UNITS[task]
        self._label_file = label_file
        self.tiling: Tiling | None = None

    @property
    def images(self) -> int:
        return len(self.data.images)

    @property
    def files(self) -> list[Path]:
        labels = [] if self._label_file is None else [self._label_file]
        return [*labels, *(image.path for image in self.data.images)]

    def measure(self, engine: Engine, on_image: OnDone = lambda done: None) -> DetectionMeasurement:
        model = Model(engine, 0.0) if self.tiling is None else TiledModel(engine, 0.0, tiling=self.tiling)
        predictions = predict_readable(model, self.data, on_image)
        truth = ground_truth(self.data, predictions.found)
        upright = evaluate_detections(predictions.found, truth, self.data.classes, self.min_boxes)
        if self.box_task == "detection":
            largest = None
            if engine.manifest.max_detections == 1:
                largest = measure_largest_object(self.data, predictions.found)
            return DetectionMeasurement(predictions, upright, largest=largest, truth=truth)
        compared = truth if self.box_task != "pose" else pose_truth(self.data, predictions.found)
        comparison = self._comparison(predictions, compared, engine)
        found = predictions.found
        evaluation = evaluate_detections(found, compared, self.data.classes, self.min_boxes, comparison)
        return DetectionMeasurement(predictions, evaluation, self.box_task, upright)

    def _comparison(
        self, predictions: Predictions, truth: dict[int, GroundTruth], engine: Engine
    ) -> Comparison:
        shapes = {one.image_id: one.shapes for one in self.data.images if one.image_id in truth}
        if self.box_task == "instance-segmentation":
            return MaskComparison(predictions.masks, truth, shapes)
        if self.box_task == "obb":
            there = {
                one.image_id: rotated_truth(one.boxes, one.shapes)
                for one in self.data.images
                if one.image_id in truth
            }
            return RotatedComparison(predictions.found, there)
        skeleton = engine.manifest.skeleton
        names = () if skeleton is None else skeleton.names
        return PoseComparison(predictions.found, truth, shapes, names, self.data.keypoints)

    def sample(self, count: int) -> list[Image]:
        return readable_images([image.path for image in self.data.images], count)


def measure_largest_object(
    data: DetectionSet, found: Mapping[int, Detections]
) -> LargestObjectFigures | None:
    """What the best detection of each image comes to beside its largest object.

    Args:
        data: the set.
        found: by image id, in the set's classes.
    """
    sizes = {one.image_id: image_size(one.path) or (1, 1) for one in data.images if one.image_id in found}
    return largest_object_figures(found, ground_truth(data, found), sizes)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationMeasurement(Measurement):
    """What a segmenter said, and the figures of it."""

    counts: PixelCounts
    figures: SegmentationFigures

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.counts.skipped

    @property
    def ms_per_image(self) -> float:
        return self.counts.ms_per_image

    @property
    def value(self) -> float:
        return self.figures.miou

    def required(self) -> float:
        return self.figures.miou

    @property
    def absent(self) -> tuple[str, ...]:
        return tuple(name for name, one in self.figures.per_class.items() if not one.pixels and name != OTHER)

    def interval(self) -> Interval:
        return miou_interval(self.counts.matrices)

    def gain_over(self, first: Measurement) -> Interval:
        assert isinstance(first, SegmentationMeasurement)
        # Either may have the class of all others; to compare, both get it.
        size = max(one.counts.matrices.shape[1] for one in (first, self))
        return compare_miou(_padded(first.counts.matrices, size), _padded(self.counts.matrices, size))

    def report(
        self, origin: Provenance, interval: Interval | None, compared_with: Provenance | None
    ) -> SegmentationReport:
        matrices = self.counts.matrices
        return segmentation_report(
            self.figures, origin, len(matrices), matrices.sum(axis=0).tolist(), interval, compared_with
        )

    def plot(self, folder: Path, title: str, suffix: str, at: Threshold) -> None:
        plot_confusion_matrix(
            folder / f"confusion{suffix}.png",
            self.counts.matrices.sum(axis=0),
            self.counts.classes,
            f"{title}: where the pixels of each class went, per cent",
        )


class SegmentationYardstick(Yardstick):
    """Mean IoU on a labelled set.

    Args:
        data: the set, in the classes that are evaluated.
        source: what the user called it.
        label_file: that its classes were read from.
    """

    task, figure, unit = "segmentation", "miou", "pixel"

    def __init__(self, data: SegmentationSet, source: str, label_file: Path | None = None) -> None:
        self.data, self.source = data, source
        self._label_file = label_file

    @property
    def images(self) -> int:
        return len(self.data.images)

    @property
    def files(self) -> list[Path]:
        labels = [] if self._label_file is None else [self._label_file]
        return [*labels, *(path for one in self.data.images for path in (one.image, one.labels) if path)]

    def measure(self, engine: Engine, on_image: OnDone = lambda done: None) -> SegmentationMeasurement:
        counts = count_pixels(Model(engine, 0.0), self.data, on_image)
        return SegmentationMeasurement(
            counts, segmentation_figures(counts.matrices.sum(axis=0), counts.classes)
        )

    def sample(self, count: int) -> list[Image]:
        return readable_images([image.image for image in self.data.images], count)


def _padded(matrices: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    more = size - matrices.shape[1]
    return np.pad(matrices, ((0, 0), (0, more), (0, more)))


def readable_images(paths: Sequence[Path], count: int) -> list[Image]:
    """At most ``count`` of the images, spread over all; unreadable ones are left out."""
    images = []
    for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int):
        with contextlib.suppress(DataError):  # evaluation names what it cannot read
            images.append(decode_image(paths[i]))
    return images
