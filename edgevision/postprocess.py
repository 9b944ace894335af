"""An engine's outputs for one image as its result: checked, cut at the threshold, and in source pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.contract.letterbox import Letterbox
from edgevision.contract.manifest import Manifest, MaskForm
from edgevision.errors import EngineError
from edgevision.masks import InstanceMasks, Mask
from edgevision.rotated import canonical, upright
from edgevision.types import Classification, Detections, FloatArray, Result, SegmentationMap

Outputs = Mapping[str, NDArray[Any]]

_BROKEN = "the model file is damaged, or this engine computes it incorrectly"


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """Reads outputs as the contract of one model says.

    Attributes:
        manifest: the contract.
        engine: what computed the outputs, for messages.
        conf_threshold: detections and labels below this are left out, 0..1; labels whose class has a
            threshold in the manifest go by that.
        wanted: bool ``[C]``: classes that are kept.
    """

    manifest: Manifest
    engine: str
    conf_threshold: float
    wanted: NDArray[np.bool_]

    def read(self, outputs: Outputs, i: int, letterbox: Letterbox) -> Result:
        """The result of image ``i`` of a batch.

        Args:
            outputs: the contract's outputs by name.
            i: position in the batch.
            letterbox: how the image lies in its input.

        Raises:
            EngineError: a value is not finite, a box is inverted, or a label, count or probability is out of
                range.
        """
        if self.manifest.task == "segmentation":
            class_map = letterbox.source_class_map(outputs["class_map"][i])
            return SegmentationMap(class_map, self.manifest.classes, self.manifest.name)
        if self.manifest.task == "classification":
            return self._classification(outputs["probabilities"][i])
        return self._detections(outputs, i, letterbox)

    def _classification(self, probabilities: FloatArray) -> Classification:
        if not (np.isfinite(probabilities).all() and (np.abs(probabilities - 0.5) <= 0.5 + 1e-3).all()):
            raise self._broken("probabilities that are not from 0 to 1")
        manifest = self.manifest
        names = tuple(manifest.classes[i] for i in np.flatnonzero(self.wanted))
        values = np.clip(probabilities[self.wanted], 0, 1)  # FP16 sums to a little more than 1
        own = manifest.class_thresholds
        limits = tuple(own.get(name, self.conf_threshold) for name in names) if own else ()
        return Classification(values, names, manifest.name, manifest.multi_label, self.conf_threshold, limits)

    def _detections(self, outputs: Outputs, i: int, letterbox: Letterbox) -> Detections:
        manifest = self.manifest
        is_rotated = manifest.task == "obb"
        count = int(outputs["count"][i])
        if not 0 <= count <= outputs["scores"].shape[1]:
            raise self._broken(f"a count of {count} detections")
        boxes: FloatArray = outputs["rotated_boxes" if is_rotated else "boxes"][i, :count]
        scores: FloatArray = outputs["scores"][i, :count]
        labels: NDArray[np.int32] = outputs["labels"][i, :count]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise self._broken("numbers that are not finite")
        if (boxes[:, 2:4] < 0).any() if is_rotated else (boxes[:, 2:] < boxes[:, :2]).any():
            raise self._broken("an inverted box")
        if count and not (labels.min() >= 0 and labels.max() < len(self.wanted)):
            raise self._broken("a class id that does not exist")
        rows = np.flatnonzero((scores >= self.conf_threshold) & self.wanted[labels])
        rotated = None
        if is_rotated:
            rotated = canonical(letterbox.source_rotated_boxes(boxes[rows]))
            around = upright(rotated)
            limits = np.array([letterbox.source_width, letterbox.source_height] * 2, np.float32)
            in_source = np.clip(around, 0, limits)
        else:
            in_source = letterbox.source_boxes(boxes[rows])
        # A box that lies entirely in the padding is clipped to zero size.
        visible: NDArray[np.bool_] = np.all(in_source[:, 2:] > in_source[:, :2], axis=1)
        if not visible.all():
            rows, in_source = rows[visible], in_source[visible]
            rotated = None if rotated is None else rotated[visible]
        return Detections(
            in_source,
            scores[rows],
            labels[rows],
            manifest.classes,
            manifest.name,
            masks=self._masks(outputs, i, rows, in_source, letterbox),
            keypoints=self._keypoints(outputs, i, rows, letterbox),
            skeleton=manifest.skeleton,
            rotated_boxes=rotated,
        )

    def _keypoints(
        self, outputs: Outputs, i: int, rows: NDArray[np.intp], letterbox: Letterbox
    ) -> FloatArray | None:
        if self.manifest.task != "pose":
            return None
        points: FloatArray = outputs["keypoints"][i, rows]
        if not np.isfinite(points).all():
            raise self._broken("key points that are not finite")
        places = letterbox.source_points(points[..., :2])
        return np.concatenate([places, np.clip(points[..., 2:], 0, 1)], axis=2)

    def _masks(
        self,
        outputs: Outputs,
        i: int,
        rows: NDArray[np.intp],
        boxes: FloatArray,
        letterbox: Letterbox,
    ) -> InstanceMasks | None:
        form = self.manifest.masks
        if form is None or self.manifest.task != "instance-segmentation":
            return None
        grids: FloatArray
        if form.form == "prototypes":
            prototypes = outputs["prototypes"][i].reshape(form.channels, -1)
            grids = (outputs["coefficients"][i, rows] @ prototypes).reshape(-1, form.height, form.width)
        else:
            grids = outputs["masks"][i, rows]
        if not np.isfinite(grids).all():
            raise self._broken("masks that are not finite")
        return masks_in_boxes(grids, boxes, form, letterbox)

    def _broken(self, what: str) -> EngineError:
        return EngineError(f"{self.engine} returned {what}; {_BROKEN}")


def masks_in_boxes(
    grids: FloatArray, boxes: FloatArray, form: MaskForm, letterbox: Letterbox
) -> InstanceMasks:
    """Grids of mask values as masks in source pixels: one rule for every form of mask.

    The grid's values are taken to lie at the centres of its cells. The value at the centre of each source
    pixel is interpolated bilinearly between the four nearest cells; beyond the outermost centres the border
    value goes on. The pixel belongs to the object where the value is above the threshold and the pixel's
    centre is inside the box.

    Args:
        grids: float32 ``[N, h, w]``: over the whole input, or each over its own box.
        boxes: float32 ``[N, 4]``, corners in source pixels, inside the image.
        form: what the grids cover, and the threshold.
        letterbox: how the image lies in the input.
    """
    crops: list[Mask] = []
    # Pixels whose centres, at .5, are inside.
    low = np.ceil(boxes[:, :2] - 0.5).astype(int)
    high = np.ceil(boxes[:, 2:] - 0.5).astype(int)
    for grid, box, start, end in zip(grids, boxes.astype(np.float64), low, high, strict=True):
        if form.form == "box":
            scale = np.array([form.width, form.height]) / (box[2:] - box[:2])
            shift = -box[:2] * scale
        else:
            cells = np.array([form.width / letterbox.width, form.height / letterbox.height])
            scale = cells * (letterbox.scale_x, letterbox.scale_y)
            shift = cells * (letterbox.left, letterbox.top)
        columns, rows = (
            (np.arange(start[axis], end[axis]) + 0.5) * scale[axis] + shift[axis] - 0.5 for axis in (0, 1)
        )
        crops.append(_interpolated(grid, rows, columns) > form.threshold)
    return InstanceMasks(tuple(crops), low, (letterbox.source_height, letterbox.source_width))


def _interpolated(grid: FloatArray, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> FloatArray:
    """Bilinear values at cell coordinates: ``[h, w]``, ``[R]`` and ``[C]`` to ``[R, C]``."""
    top, row_share = _neighbours(rows, grid.shape[0])
    left, column_share = _neighbours(columns, grid.shape[1])
    below, beside = np.minimum(top + 1, grid.shape[0] - 1), np.minimum(left + 1, grid.shape[1] - 1)
    above = grid[top]
    lines = above + (grid[below] - above) * row_share[:, None]
    first = lines[:, left]
    values: FloatArray = first + (lines[:, beside] - first) * column_share
    return values


def _neighbours(places: NDArray[np.float64], cells: int) -> tuple[NDArray[np.intp], FloatArray]:
    """The cell before each place, and how far the place is from it to the next, 0..1."""
    inside = np.clip(places, 0, cells - 1)
    before = inside.astype(np.intp)
    return before, (inside - before).astype(np.float32)
