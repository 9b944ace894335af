"""What a label has beyond its box: the mask, pose or rotated box of a detection, as COCO writes it."""

from __future__ import annotations

from typing import Any

from edgevision.rotated import corners
from edgevision.types import Detections, Skeleton

UNITS = {"instance-segmentation": "masks", "pose": "poses", "obb": "rotated boxes"}
"""What a model of each task labels; boxes otherwise."""

LABELLED_KEYPOINT = 0.3
"""Least score of a key point that is labelled (as visible); the others are marked as not labelled."""


def shape_of(found: Detections, row: int) -> dict[str, Any]:
    """Fields of the COCO annotation of one detection; empty where it is a box alone.

    A mask is written as compressed run lengths with its area, a rotated box as the polygon of its four
    corners, clockwise, with its area (as DOTA's conversions to COCO do), a pose as x, y and visibility (2, or
    0 with x and y of 0) of each key point. Lengths are in pixels of the image.

    Args:
        found: of one image.
        row: of the detection.
    """
    if found.masks is not None:
        height, width = found.masks.size
        pixels = int(found.masks[[row]].areas()[0])
        return {"segmentation": {"size": [height, width], "counts": found.masks.rle(row)}, "area": pixels}
    if found.rotated_boxes is not None:
        (around,) = corners(found.rotated_boxes[[row]])
        area = float(found.rotated_boxes[row, 2] * found.rotated_boxes[row, 3])
        polygon = [round(float(value), 2) for value in around.reshape(-1)]
        return {"segmentation": [polygon], "area": round(area, 2)}
    if found.keypoints is not None:
        numbers: list[float] = []
        for x, y, score in found.keypoints[row].tolist():
            is_labelled = round(score, 4) >= LABELLED_KEYPOINT
            numbers += [round(x, 2), round(y, 2), 2] if is_labelled else [0, 0, 0]
        return {"keypoints": numbers, "num_keypoints": numbers[2::3].count(2)}
    return {}


def pose_fields(skeleton: Skeleton | None) -> dict[str, Any]:
    """Fields of the COCO category of a pose: names, and bones by positions from 1; empty without one."""
    if skeleton is None:
        return {}
    bones = [[first + 1, second + 1] for first, second in skeleton.bones]
    return {"keypoints": list(skeleton.names), "skeleton": bones}
