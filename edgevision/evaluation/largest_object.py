"""Figures of a model that names one object an image: its class and place against the largest one there."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from edgevision.boxes import area
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.types import Detections

SIDE = 224
"""Side in pixels that every image is stretched to before distances are taken."""


class LargestObjectFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over the images that show an object.

    Attributes:
        images: that show one.
        class_accuracy: share of them whose best detection has the class of the largest object.
        l1: mean distance of its four corners from that object's, in pixels of an image of 224x224.
    """

    images: int
    class_accuracy: float
    l1: float


def largest_object_figures(
    found: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    sizes: Mapping[int, tuple[int, int]],
) -> LargestObjectFigures | None:
    """Compares the best detection of each image with its largest object.

    Where nothing was detected the class counts as wrong, and the box as one of no size at the origin.

    Args:
        found: by image id.
        truth: by image id; regions to ignore are no objects.
        sizes: by image id, width and height in pixels.

    Returns:
        None where no image shows an object.
    """
    hits, distances = [], []
    for image_id, there in truth.items():
        rows = np.flatnonzero(~there.ignore)
        if not len(rows):
            continue
        row = rows[int(area(there.boxes[rows].astype(np.float32)).argmax())]
        box, label = np.zeros(4), -1
        one = found[image_id]
        if len(one):
            best = int(one.scores.argmax())
            box, label = one.boxes[best].astype(np.float64), int(one.class_ids[best])
        scale = SIDE / np.array([*sizes[image_id], *sizes[image_id]], np.float64)
        hits.append(label == there.class_ids[row])
        distances.append(np.abs((box - there.boxes[row]) * scale).mean())
    if not hits:
        return None
    return LargestObjectFigures(
        images=len(hits), class_accuracy=float(np.mean(hits)), l1=float(np.mean(distances))
    )
