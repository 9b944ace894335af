"""Pseudo-labels: confident detections of a teacher become boxes, doubtful ones regions to ignore.

Between two thresholds a detection is as likely wrong as right: as a box it would teach errors, and left out
it would teach that nothing is there. As a region to ignore (COCO's ``iscrowd``) it teaches neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgevision.errors import UsageError
from edgevision.evaluation.detection_matching import GroundTruth, pairwise_iou
from edgevision.tiling import SAME_IOU
from edgevision.types import Detection, Detections


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Which detections become labels.

    Attributes:
        positive: a box from this score on.
        ignore: a region to ignore from this score on, below ``positive``.

    Raises:
        UsageError: they are out of order or outside 0..1.
    """

    positive: float = 0.42
    ignore: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.ignore <= self.positive <= 1:
            raise UsageError(
                f"`ignore` {self.ignore:g} and `positive` {self.positive:g} are not possible; "
                "expected 0 < ignore <= positive <= 1"
            )


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    Attributes:
        box: corners in pixels.
        class_id: index into the teacher's classes.
        score: the teacher's.
        ignore: a region to ignore.
        row: of the detection that it comes from.
    """

    box: tuple[float, float, float, float]
    class_id: int
    score: float
    ignore: bool
    row: int = field(default=-1, compare=False)


def new_labels(found: Detections, rule: LabelRule) -> list[Label]:
    """Labels of an image that has none yet."""
    labels = [replace(_label(one), row=row) for row, one in enumerate(found)]
    return [replace(one, ignore=one.score < rule.positive) for one in labels if one.score >= rule.ignore]


def missing_labels(found: Detections, existing: GroundTruth, rule: LabelRule) -> list[Label]:
    """Regions to ignore for an image that is labelled already, perhaps not completely.

    Existing boxes are kept as they are. What the teacher sees elsewhere may be an object without a
    label; it must not count as background, and is not trusted either.

    Args:
        found: what the teacher sees.
        existing: with class ids of the teacher, -1 for classes that it does not know.
        rule: its ``ignore`` threshold decides.
    """
    overlaps = pairwise_iou(found.boxes.astype(np.float64), existing.boxes, existing.ignore)
    same_class = found.class_ids[:, None] == existing.class_ids[None, :]
    known = ((overlaps >= SAME_IOU) & same_class).any(axis=1)
    labels = [_label(one) for one in found[~known]]
    return [one for one in labels if one.score >= rule.ignore]


def _label(found: Detection) -> Label:
    """A region to ignore, in the digits that are written, so that thresholds hold for what a file shows."""
    x1, y1, x2, y2 = (round(side, 2) for side in found.box)
    return Label((x1, y1, x2, y2), found.class_id, round(found.score, 4), ignore=True)
