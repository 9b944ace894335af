"""Average precision by the size of the objects, as COCO counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.errors import DataError
from edgevision.evaluation.detection import evaluate_detections
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.types import Detections, FloatArray

SIZES = (("small", 0.0, 32.0), ("medium", 32.0, 96.0), ("large", 96.0, float("inf")))
"""COCO's: the square root of the area in source pixels (https://cocodataset.org/#detection-eval)."""

_IOU = 0.5


class SizeFigures(NamedTuple):
    """AP at IoU 0.5 over the objects of one size; None where there is no such object.

    Attributes:
        name: of the size.
        boxes: objects that count.
        ap50: mean over the classes that have one.
    """

    name: str
    boxes: int
    ap50: float | None


def figures_by_size(
    found: Mapping[int, Detections], truth: Mapping[int, GroundTruth], classes: Sequence[str]
) -> tuple[SizeFigures, ...]:
    """AP at IoU 0.5 for small, medium and large objects.

    Objects of another size count neither for nor against, nor do detections of another size that found no
    object of this one.

    Args:
        found, truth: by image id, as for :func:`~edgevision.evaluation.detection.evaluate_detections`.
        classes: names.
    """
    return tuple(_of_size(found, truth, classes, name, low, high) for name, low, high in SIZES)


def _of_size(
    found: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    classes: Sequence[str],
    name: str,
    low: float,
    high: float,
) -> SizeFigures:
    kept, counted = {}, {}
    for number, labels in truth.items():
        other = ~_within(labels.boxes, low, high)
        counted[number] = GroundTruth(labels.boxes, labels.class_ids, labels.ignore | other)
        one = found[number]
        ours = labels.boxes[~other & ~labels.ignore].astype(np.float32)
        hits = iou(one.boxes, ours).max(axis=1, initial=0) >= _IOU
        kept[number] = one[_within(one.boxes, low, high) | hits]
    boxes = int(sum((~one.ignore).sum() for one in counted.values()))
    try:
        ap50 = evaluate_detections(kept, counted, classes, min_boxes=1).figures.ap50
    except DataError:  # no object of this size
        return SizeFigures(name, 0, None)
    return SizeFigures(name, boxes, ap50)


def _within(boxes: FloatArray | NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return np.asarray((sides >= low) & (sides < high))
