"""Shapes of labelled objects as masks, for networks that learn them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.data.formats.raw import Shape
from edgevision.extras import needs_extra


def draw_shapes(
    shapes: Sequence[Shape], width: int, height: int, scale_x: float, scale_y: float
) -> NDArray[np.uint8]:
    """Masks of G objects in an image that was read at another size: uint8 ``[G, height, width]``, 0 or 1.

    An object without a segmentation has a mask of zeros.

    Args:
        shapes: of the objects, in pixels of the labels.
        width, height: of the image that was read.
        scale_x, scale_y: its pixels for each pixel of the labels.

    Raises:
        UsageError: pycocotools is not installed.
    """
    masks = np.zeros((len(shapes), height, width), np.uint8)
    for mask, shape in zip(masks, shapes, strict=True):
        mask[:] = _drawn(shape, width, height, scale_x, scale_y)
    return masks


def _drawn(shape: Shape, width: int, height: int, scale_x: float, scale_y: float) -> NDArray[np.uint8]:
    if shape.segmentation is None:
        return np.zeros((height, width), np.uint8)
    with needs_extra("train", "training on masks"):
        from pycocotools import mask as coco_mask
    if isinstance(shape.segmentation, list):
        polygons = [
            (np.array(points, np.float64).reshape(-1, 2) * (scale_x, scale_y)).ravel().tolist()
            for points in shape.segmentation
        ]
        runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        return np.asarray(coco_mask.decode(runs), np.uint8)
    runs = shape.segmentation
    if isinstance(runs["counts"], list):
        runs = coco_mask.frPyObjects(runs, *runs["size"])
    found = np.asarray(coco_mask.decode(runs), np.uint8)
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
