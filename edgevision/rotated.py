"""Rotated boxes: float arrays ``[N, 5]`` of ``(cx, cy, width, height, angle)``, continuous pixel coordinates.

The angle is in radians, from the x axis to the side of length ``width``, clockwise as one sees an image,
whose y axis points down. The same rectangle has many forms: a turn by pi changes nothing, and one by pi/2
with the sides exchanged neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.types import FloatArray

Float64Array = NDArray[np.float64]


def canonical(boxes: FloatArray) -> FloatArray:
    """The same boxes with the angle in -pi/2 (included) to pi/2; sides stay as they are. ``[N, 5]``."""
    turned = np.mod(boxes[:, 4:].astype(np.float64) + np.pi / 2, np.pi) - np.pi / 2
    return np.asarray(np.concatenate([boxes[:, :4], turned], axis=1), np.float32)


def corners(boxes: FloatArray) -> FloatArray:
    """Corners, clockwise as one sees them, the first at the start of both sides. ``[N, 5] -> [N, 4, 2]``."""
    rows: Float64Array = np.asarray(boxes, np.float64).reshape(-1, 5)
    cosine, sine = np.cos(rows[:, 4]), np.sin(rows[:, 4])
    along = np.stack([cosine, sine], axis=1) * (rows[:, 2:3] / 2)
    across = np.stack([-sine, cosine], axis=1) * (rows[:, 3:4] / 2)
    around = np.stack([-along - across, along - across, along + across, across - along], axis=1)
    return np.asarray(rows[:, None, :2] + around, np.float32)


def upright(boxes: FloatArray) -> FloatArray:
    """The upright box around each, ``(x1, y1, x2, y2)``. ``[N, 5] -> [N, 4]``."""
    points = corners(boxes)
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def rotated_iou(first: FloatArray, second: FloatArray) -> Float64Array:
    """Intersection over union of each pair: ``[N, 5], [M, 5] -> [N, M]``; 0 where the union is empty.

    The intersection is the polygon of one rectangle cut at the four sides of the other (Sutherland and
    Hodgman 1974). Only pairs whose upright boxes meet are computed.
    """
    shared = rotated_intersection(first, second)
    areas = [np.prod(np.asarray(boxes, np.float64)[:, 2:4], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    found: Float64Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def rotated_intersection(first: FloatArray, second: FloatArray) -> Float64Array:
    """Overlap of each pair in square pixels: ``[N, 5], [M, 5] -> [N, M]``."""
    shapes, others = (corners(boxes).astype(np.float64) for boxes in (first, second))
    shared = np.zeros((len(shapes), len(others)))
    around, others_around = (np.concatenate([s.min(axis=1), s.max(axis=1)], axis=1) for s in (shapes, others))
    low = np.maximum(around[:, None, :2], others_around[None, :, :2])
    high = np.minimum(around[:, None, 2:], others_around[None, :, 2:])
    for i, j in zip(*np.nonzero((low < high).all(axis=2)), strict=True):
        shared[i, j] = _area(_clipped(shapes[i], others[j]))
    return shared


def _clipped(shape: Float64Array, window: Float64Array) -> Float64Array:
    """The part of one convex polygon that lies in another, both clockwise on the screen. ``[P, 2]``."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(shape):
            break
        side = end - start
        depth = side[0] * (shape[:, 1] - start[1]) - side[1] * (shape[:, 0] - start[0])
        following, next_depth = np.roll(shape, -1, axis=0), np.roll(depth, -1)
        crosses = (depth >= 0) != (next_depth >= 0)
        step = np.divide(depth, depth - next_depth, out=np.zeros_like(depth), where=crosses)
        cuts = shape + (following - shape) * step[:, None]
        kept = np.stack([shape, cuts], axis=1).reshape(-1, 2)
        shape = kept[np.stack([depth >= 0, crosses], axis=1).reshape(-1)]
    return shape


def _area(shape: Float64Array) -> float:
    """Area of a polygon, by the shoelace formula."""
    if len(shape) < 3:
        return 0.0
    x, y = shape[:, 0] - shape[0, 0], shape[:, 1] - shape[0, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
