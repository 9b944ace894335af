"""What stands for the IoU of boxes where masks, poses or rotated boxes are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import xyxy_to_xywh
from edgevision.data.formats.raw import Shape
from edgevision.errors import DataError
from edgevision.evaluation.detection_matching import (
    MAX_DETECTIONS,
    BoolArray,
    Float64Array,
    GroundTruth,
)
from edgevision.extras import needs_extra
from edgevision.rotated import rotated_intersection, rotated_iou
from edgevision.types import Detections, FloatArray

MAX_POSES = 20
"""Best poses of one image that are looked at, as in COCO."""

COCO_SIGMAS: Float64Array = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64) / 1000
)
"""How far people's labels of COCO's 17 key points scatter, from nose to ankles, as shares of the object's
size (``Params.kpt_oks_sigmas`` of pycocotools)."""


class MaskRuns(NamedTuple):
    """Masks of one image, small enough to keep those of a whole set.

    Attributes:
        size: ``(height, width)`` of the image.
        counts: COCO's compressed run lengths of each mask.
    """

    size: tuple[int, int]
    counts: tuple[str, ...]


class MaskComparison:
    """IoU of masks, computed by pycocotools.

    Args:
        found: of each image, in the order of its detections.
        truth: as :func:`~edgevision.evaluation.detection_matching.match_classes` takes it. The region of an
            ignored object without a segmentation is its box.
        shapes: of each image, in the order of its objects.

    Raises:
        UsageError: pycocotools is not installed.
        DataError: an object that counts has no segmentation, or one has one of another image size.
    """

    most = MAX_DETECTIONS

    def __init__(
        self,
        found: Mapping[int, MaskRuns],
        truth: Mapping[int, GroundTruth],
        shapes: Mapping[int, Sequence[Shape]],
    ) -> None:
        with needs_extra("train", "the evaluation of masks"):
            from pycocotools import mask
        self._iou = mask.iou
        self._found = {
            image_id: [{"size": list(one.size), "counts": text.encode("ascii")} for text in one.counts]
            for image_id, one in found.items()
        }
        self._there = {
            image_id: [
                _run_lengths(shape, box if is_ignored else None, found[image_id].size, mask)
                for shape, box, is_ignored in zip(
                    shapes[image_id], xyxy_to_xywh(there.boxes.astype(np.float32)), there.ignore, strict=True
                )
            ]
            for image_id, there in truth.items()
        }

    def likeness(
        self, image_id: int, rows: NDArray[np.intp], targets: NDArray[np.intp], ignore: BoolArray
    ) -> Float64Array:
        """IoU of the masks; of an ignored region the share of the detection that lies inside."""
        if not len(rows) or not len(targets):
            return np.zeros((len(rows), len(targets)))
        found, there = self._found[image_id], self._there[image_id]
        overlaps = self._iou([found[i] for i in rows], [there[i] for i in targets], ignore.tolist())
        return np.asarray(overlaps, np.float64)


def _run_lengths(shape: Shape, box: FloatArray | None, size: tuple[int, int], mask: Any) -> Any:
    segmentation, (height, width) = shape.segmentation, size
    if segmentation is None and box is not None:
        return mask.frPyObjects(box[None].astype(np.float64), height, width)[0]
    if segmentation is None:
        raise DataError("an object has no segmentation; expected polygons or run lengths to evaluate masks")
    if isinstance(segmentation, list):
        return mask.merge(mask.frPyObjects(segmentation, height, width))
    if segmentation["size"] != [height, width]:
        raise DataError(
            f"a segmentation is of an image of {segmentation['size'][1]}x{segmentation['size'][0]} pixels; "
            f"the image has {width}x{height}"
        )
    if isinstance(segmentation["counts"], list):
        return mask.frPyObjects(segmentation, height, width)
    return segmentation


class PoseComparison:
    """Object key point similarity: how near each labelled key point is, on the scale of the object.

    ``computeOks`` of pycocotools: the mean over the labelled points of ``exp(-d^2 / (2 area (2 sigma)^2))``.
    Of an object without one, the distance is how far points lie outside twice its box.

    Args:
        predictions, truth: as :func:`~edgevision.evaluation.detection_matching.match_classes` takes them.
        shapes: of each image, in the order of its objects.
        names: key points of the model.
        labelled: key points of the labels; where they are the model's in another order, they are put into
            the model's.

    Raises:
        DataError: an object has another number of key points, or no area.
    """

    most = MAX_POSES

    def __init__(
        self,
        predictions: Mapping[int, Detections],
        truth: Mapping[int, GroundTruth],
        shapes: Mapping[int, Sequence[Shape]],
        names: Sequence[str],
        labelled: Sequence[str] = (),
    ) -> None:
        self._predictions, self._truth, self._shapes = predictions, truth, shapes
        count = len(names)
        same = sorted(names) == sorted(labelled)
        self._order = [list(labelled).index(name) for name in names] if same else list(range(count))
        # Other skeletons have no measured scatter; ultralytics measures with 1 / J for all points.
        sigmas = COCO_SIGMAS if count == len(COCO_SIGMAS) else np.full(count, 1 / count)
        self._variances = (2 * sigmas) ** 2
        for shape in (one for image_id in truth for one in shapes[image_id]):
            if shape.keypoints is not None and len(shape.keypoints) != count:
                raise DataError(
                    f"an object has {len(shape.keypoints)} labelled key points; "
                    f"expected {count}, as the model has"
                )
            if shape.area is None:
                raise DataError("an object has no area, by which the distances of key points are judged")

    def likeness(
        self, image_id: int, rows: NDArray[np.intp], targets: NDArray[np.intp], ignore: BoolArray
    ) -> Float64Array:
        """Object key point similarity, of ignored objects too."""
        points = self._predictions[image_id].keypoints
        found = np.zeros((0, len(self._variances), 3)) if points is None else points[rows].astype(np.float64)
        result = np.zeros((len(rows), len(targets)))
        boxes = xyxy_to_xywh(self._truth[image_id].boxes.astype(np.float32)).astype(np.float64)
        for column, target in enumerate(targets.tolist()):
            shape = self._shapes[image_id][target]
            result[:, column] = self._similarity(found, shape, boxes[target])
        return result

    def _similarity(self, found: Float64Array, shape: Shape, box: Float64Array) -> Float64Array:
        """``[D, J, 3]`` and one object to ``[D]``; its box is left, top, width and height."""
        points = np.zeros((0, 3)) if shape.keypoints is None else shape.keypoints[self._order]
        labelled = np.flatnonzero(points[:, 2] > 0)
        variances = self._variances
        if len(labelled):
            apart = found[:, labelled, :2] - points[labelled, :2]
            variances = variances[labelled]
        else:
            low, high = box[:2] - box[2:], box[:2] + 2 * box[2:]
            apart = np.maximum(0, low - found[..., :2]) + np.maximum(0, found[..., :2] - high)
        size = float(shape.area or 0) + np.spacing(1)
        error = (apart**2).sum(axis=2) / variances / size / 2
        mean: Float64Array = np.exp(-error).mean(axis=1)
        return mean


class RotatedComparison:
    """IoU of rotated boxes.

    Args:
        predictions: with rotated boxes.
        there: rotated boxes ``[G, 5]`` of the objects of each image.
    """

    most = MAX_DETECTIONS

    def __init__(self, predictions: Mapping[int, Detections], there: Mapping[int, FloatArray]) -> None:
        self._predictions, self._there = predictions, there

    def likeness(
        self, image_id: int, rows: NDArray[np.intp], targets: NDArray[np.intp], ignore: BoolArray
    ) -> Float64Array:
        """IoU of the rotated boxes; of an ignored region the share of the detection that lies inside."""
        boxes = self._predictions[image_id].rotated_boxes
        found = np.zeros((0, 5), np.float32) if boxes is None else boxes[rows]
        there = self._there[image_id][targets]
        overlaps = rotated_iou(found, there)
        if ignore.any():
            areas = np.prod(found[:, 2:4].astype(np.float64), axis=1, keepdims=True)
            shared = rotated_intersection(found, there[ignore])
            overlaps[:, ignore] = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
        return overlaps


def rotated_truth(boxes: FloatArray, shapes: Sequence[Shape]) -> FloatArray:
    """Rotated boxes of labelled objects: ``[G, 4]`` corners and G shapes to ``[G, 5]``.

    The segmentation's smallest rectangle, as data sets of rotated boxes in COCO's form have its four corners;
    an object without one has its upright box.

    Raises:
        DataError: a segmentation is of run lengths.
    """
    rows = np.zeros((len(boxes), 5), np.float32)
    rows[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
    rows[:, 2:4] = boxes[:, 2:] - boxes[:, :2]
    for row, shape in zip(rows, shapes, strict=False):
        if shape.segmentation is None:
            continue
        if not isinstance(shape.segmentation, list):
            raise DataError("a segmentation is of run lengths; expected the four corners of a rotated box")
        points = np.concatenate([np.array(one, np.float32).reshape(-1, 2) for one in shape.segmentation])
        centre, sides, degrees = cv2.minAreaRect(points)
        row[:] = (*centre, *sides, np.radians(degrees))
    return rows
