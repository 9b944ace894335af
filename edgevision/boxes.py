"""Operations on boxes: float arrays ``[N, 4]`` of ``(x1, y1, x2, y2)``, continuous pixel coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.types import FloatArray

LEAST_CROP_PX = 2
"""Boxes with a shorter side, in pixels, are not cut out: nothing can be seen in them."""


def xywh_to_xyxy(boxes: FloatArray) -> FloatArray:
    """``(left, top, width, height)``, COCO's form, to corners. ``[N, 4] -> [N, 4]``."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: FloatArray) -> FloatArray:
    """Corners to ``(left, top, width, height)``. ``[N, 4] -> [N, 4]``."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def area(boxes: FloatArray) -> FloatArray:
    """Areas in square pixels: ``[N, 4] -> [N]``."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def intersection(first: FloatArray, second: FloatArray) -> FloatArray:
    """Overlap of each pair in square pixels: ``[N, 4], [M, 4] -> [N, M]``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float32)


def iou(first: FloatArray, second: FloatArray) -> FloatArray:
    """Intersection over union of each pair: ``[N, 4], [M, 4] -> [N, M]``; 0 where the union is empty."""
    shared = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    result: FloatArray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def clip(boxes: FloatArray, width: float, height: float) -> FloatArray:
    """Boxes clipped to an image of ``width`` x ``height`` pixels. ``[N, 4] -> [N, 4]``."""
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def pixel_edges(boxes: FloatArray, width: int, height: int) -> NDArray[np.int64]:
    """The whole pixels of an image that hold each box: the edges of what is cut out of it.

    What an image classifier sees of an object, in training, evaluation and behind a detector alike.

    Args:
        boxes: float32 ``[N, 4]``, corners in pixels.
        width, height: of the image.

    Returns:
        int64 ``[N, 4]``: first column and row, and those after the last.

    Example:
        >>> pixel_edges(np.array([[-1.5, 2.2, 5.1, 9.9]], np.float32), 8, 8).tolist()
        [[0, 2, 6, 8]]
    """
    edges = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    return np.asarray(np.clip(edges, 0, [width, height, width, height]), np.int64)
