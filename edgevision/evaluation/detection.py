"""Figures of a detector: COCO's and PASCAL's average precision, and average recall.

Example:
    >>> truth = {1: GroundTruth(np.array([[0, 0, 10, 10]]), np.array([0]), np.array([False]))}
    >>> found = {1: Detections(np.array([[0, 0, 10, 6]]), np.array([0.9]), np.array([0]))}
    >>> figures = evaluate_detections(found, truth, ["person"], min_boxes=1).figures
    >>> round(figures.ap50, 3), round(figures.ap, 3)  # IoU 0.6 passes 0.50, 0.55 and 0.60 of ten thresholds
    (1.0, 0.3)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edgevision.errors import DataError
from edgevision.evaluation import average_precision as precision
from edgevision.evaluation.detection_matching import (
    ClassMatches,
    Comparison,
    Float64Array,
    GroundTruth,
    MatchOutcome,
    match_classes,
)
from edgevision.types import Detections

DEFAULT_MIN_BOXES = 10


class ClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one class; None where the set has no object of it.

    Attributes:
        boxes: objects that count.
        ap50, ap: COCO's AP at IoU 0.5, and averaged over 0.5 to 0.95.
        ar: recall averaged over IoU 0.5 to 0.95, at most 100 detections an image.
        ap50_voc07, ap50_voc: PASCAL's 11-point and all-point AP at IoU 0.5.
        mar: twice the area under recall over IoU from 0.5 to 1.
    """

    boxes: int
    ap50: float | None = None
    ap: float | None = None
    ar: float | None = None
    ap50_voc07: float | None = None
    ap50_voc: float | None = None
    mar: float | None = None


class DetectionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a detector: means over the classes that have an object, unless said otherwise.

    Attributes:
        ap50_mean: mean of ``ap50`` over the classes with at least ``min_boxes`` objects, which keeps
            classes of a handful of objects from deciding the figure; None where no class has as many.
        min_boxes: see there.
        images: images evaluated.
        per_class: by class name. For the other figures see :class:`ClassFigures`.
    """

    ap50: float
    ap: float
    ar: float
    ap50_mean: float | None
    ap50_voc07: float
    ap50_voc: float
    mar: float
    min_boxes: int
    images: int
    per_class: dict[str, ClassFigures]


@dataclass(frozen=True, slots=True, eq=False)
class DetectionEvaluation:
    """A finished evaluation: the figures, and what curves, intervals and error lists are made from.

    Attributes:
        figures: see :class:`DetectionFigures`.
        classes: names.
        image_ids: in the order that ``matches`` counts images.
        matches: one per class.
    """

    figures: DetectionFigures
    classes: tuple[str, ...]
    image_ids: tuple[int, ...]
    matches: tuple[ClassMatches, ...]

    def curve(self, class_id: int) -> precision.Curve:
        """Precision and recall of a class at IoU 0.5."""
        found = self.matches[class_id]
        outcome = found.coco
        return precision.curve(found.scores, outcome.hits[0], outcome.ignored[0], int(found.positives.sum()))

    def worst_images(self, count: int = 20) -> list[tuple[int, float]]:
        """The images with the most to answer for: ``(image id, error)``, worst first.

        The error needs no threshold (it is a sum of Brier scores): an object costs the square of 1 less the
        score of the detection that found it at IoU 0.5, a false alarm the square of its score, so that the
        many faint ones hardly count. Images without any error are left out.
        """
        error = np.zeros(len(self.image_ids))
        for found in self.matches:
            hit, alarm = found.coco.hits[0], ~(found.coco.hits[0] | found.coco.ignored[0])
            cost = alarm * found.scores**2 + hit * ((1 - found.scores) ** 2 - 1)
            error += found.positives + np.bincount(found.images, cost, minlength=len(error))
        order = np.argsort(-error, kind="stable")[:count]
        return [(self.image_ids[i], float(error[i])) for i in order if error[i] > 0]


def evaluate_detections(
    predictions: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    classes: Sequence[str],
    min_boxes: int = DEFAULT_MIN_BOXES,
    comparison: Comparison | None = None,
) -> DetectionEvaluation:
    """Evaluates a detector on a set of images.

    Args:
        predictions: for each image id, what the model found, with scores down to 0.05 or so: a threshold
            cuts the end of every curve off.
        truth: for each image id, what is there.
        classes: names of the classes that the class ids index.
        min_boxes: objects that a class needs to count in ``ap50_mean``.
        comparison: what stands for the IoU of boxes, see :mod:`edgevision.evaluation.comparisons`.

    Raises:
        DataError: the two name different images, a class id is out of range, or nothing is labelled.
    """
    matches = match_classes(predictions, truth, classes, comparison)
    per_class = {name: _figures(found) for name, found in zip(classes, matches, strict=True)}
    present = [figures for figures in per_class.values() if figures.boxes]
    if not present:
        raise DataError(f"nothing to evaluate: {len(truth)} images without one object of the classes wanted")
    figures = DetectionFigures(
        ap50=_mean(c.ap50 for c in present),
        ap=_mean(c.ap for c in present),
        ar=_mean(c.ar for c in present),
        ap50_mean=_mean_or_none(c.ap50 for c in present if c.boxes >= min_boxes),
        ap50_voc07=_mean(c.ap50_voc07 for c in present),
        ap50_voc=_mean(c.ap50_voc for c in present),
        mar=_mean(c.mar for c in present),
        min_boxes=min_boxes,
        images=len(truth),
        per_class=per_class,
    )
    return DetectionEvaluation(figures, tuple(classes), tuple(sorted(truth)), matches)


def _figures(found: ClassMatches) -> ClassFigures:
    boxes = int(found.positives.sum())
    if boxes == 0:
        return ClassFigures(boxes=0)
    coco = [_points(found.coco, level, boxes) for level in range(len(found.coco.hits))]
    ap = [float(precision.sampled_average(*points, precision.RECALL_POINTS)[0]) for points in coco]
    pascal = _points(found.pascal, 0, boxes)
    return ClassFigures(
        boxes=boxes,
        ap50=ap[0],
        ap=float(np.mean(ap)),
        ar=float(found.coco.hits.sum(axis=1).mean() / boxes),
        ap50_voc07=float(precision.sampled_average(*pascal, precision.ELEVEN_POINTS)[0]),
        ap50_voc=float(precision.area_under(*pascal)[0]),
        mar=precision.mean_recall_over_iou(found.overlaps),
    )


def _points(outcome: MatchOutcome, level: int, boxes: int) -> tuple[Float64Array, Float64Array]:
    """Recall and precision at the hits of one threshold, each ``[1, K]``."""
    hits, ignored = outcome.hits[level], outcome.ignored[level]
    once = np.ones((1, len(hits)), np.int64)
    return precision.at_hits(hits, ignored, once, np.array([boxes]))


def _mean_or_none(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
