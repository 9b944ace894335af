"""How far the final answers of two runs are apart: detections in pairs, class maps by pixels, labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.rotated import corners, rotated_iou
from edgevision.types import FloatArray

SHOWN_SCORE = 0.3
"""Detections of at least this score must have a partner; weaker ones may come and go."""
_SAME_OBJECT_IOU = 0.5
_SAME_PLACE_PX = 0.01
_CUT_MARGIN = 0.01  # of the score, for who comes last in a full output is decided by the last bits

Answers = Mapping[str, NDArray[Any]]
"""The contract's outputs by name."""


@dataclass(slots=True)
class AnswerError:
    """Adds up how far the answers of two runs are apart.

    Attributes:
        shown: detections of :data:`SHOWN_SCORE` or more, of both runs.
        unmatched: those without a partner.
        partners: pairs of which one is shown.
        labels: of them, pairs of different classes.
        overlap: sum of ``1 - IoU`` over pairs.
        score: sum of the differences of their scores.
        pixels, wrong_pixels: of class maps, all and those that differ.
        images, other_labels, probability: images that were classified, those whose best class differs, and
            the sum of the greatest difference of a probability.
        points, apart: key points of partners, and the sum of their distances, in sides of the box (the root
            of its area).
        masks, mask_error: squares of the grid values of partners' masks, and of their differences, summed.
    """

    shown: int = 0
    unmatched: int = 0
    partners: int = 0
    labels: int = 0
    overlap: float = 0.0
    score: float = 0.0
    pixels: int = 0
    wrong_pixels: int = 0
    images: int = 0
    other_labels: int = 0
    probability: float = 0.0
    points: int = 0
    apart: float = 0.0
    masks: float = 0.0
    mask_error: float = 0.0

    def add(self, reference: Answers, found: Answers) -> None:
        """Counts the contract's outputs of one batch.

        Raises:
            ValueError: two class maps have different shapes.
        """
        if "class_map" in reference:
            require_same_shape(reference["class_map"], found["class_map"])
            self.pixels += reference["class_map"].size
            self.wrong_pixels += int((reference["class_map"] != found["class_map"]).sum())
            return
        if "probabilities" in reference:
            first, second = reference["probabilities"], found["probabilities"]
            require_same_shape(first, second)
            self.images += len(first)
            self.other_labels += int((first.argmax(axis=1) != second.argmax(axis=1)).sum())
            self.probability += float(np.abs(first - second).max(axis=1).sum())
            return
        for image in range(len(reference["count"])):
            self._add_image(_rows(reference, image), _rows(found, image))

    def _add_image(self, reference: Answers, found: Answers) -> None:
        if "rotated_boxes" in reference:
            overlaps = rotated_overlap(reference["rotated_boxes"], found["rotated_boxes"])
        else:
            overlaps = overlap(reference["boxes"], found["boxes"])
        pairs = match(overlaps, reference["labels"], found["labels"])
        for side, rows, others in ((0, reference, found), (1, found, reference)):
            paired = {pair[side] for pair in pairs}
            shown = np.flatnonzero(rows["scores"] >= max(SHOWN_SCORE, _cut_off(others)))
            self.shown += len(shown)
            self.unmatched += sum(int(row) not in paired for row in shown)
        for i, j in pairs:
            scores = float(reference["scores"][i]), float(found["scores"][j])
            if max(scores) < SHOWN_SCORE:
                continue
            self.partners += 1
            self.labels += int(reference["labels"][i] != found["labels"][j])
            self.overlap += 1 - float(overlaps[i, j])
            self.score += abs(scores[0] - scores[1])
            if "keypoints" in reference:
                self._add_pose(reference, found, i, j)
            expected, other = _mask(reference, i), _mask(found, j)
            if expected is not None and other is not None:
                self.masks += float(np.square(expected, dtype=np.float64).sum())
                self.mask_error += float(np.square(expected - other, dtype=np.float64).sum())

    def _add_pose(self, reference: Answers, found: Answers, i: int, j: int) -> None:
        sides = reference["boxes"][i, 2:] - reference["boxes"][i, :2]
        size = max(float(np.sqrt(np.prod(sides, dtype=np.float64))), 1.0)
        distances = np.hypot(*(reference["keypoints"][i, :, :2] - found["keypoints"][j, :, :2]).T)
        self.points += len(distances)
        self.apart += float(distances.sum()) / size

    def measures(self) -> dict[str, float]:
        """Shares and means, by the fields of :class:`edgevision.export.parity.compare.Tolerances`."""
        if self.pixels:
            return {"pixels": self.wrong_pixels / self.pixels}
        if self.images:
            return {"labels": self.other_labels / self.images, "score": self.probability / self.images}
        pairs = max(self.partners, 1)
        measures = {
            "unmatched": self.unmatched / max(self.shown, 1),
            "labels": self.labels / pairs,
            "overlap": self.overlap / pairs,
            "score": self.score / pairs,
        }
        if self.points:
            measures["points"] = self.apart / self.points
        if self.masks:
            measures["masks"] = float(np.sqrt(self.mask_error / self.masks))
        return measures


def overlap(first: FloatArray, second: FloatArray) -> FloatArray:
    """IoU of each pair, and 1 where two boxes lie in one place.

    A box that was clipped at the image's edge may have no area, so that its IoU with itself is 0.

    Args:
        first, second: boxes ``[N, 4]`` and ``[M, 4]``.
    """
    apart = np.abs(first[:, None] - second[None]).max(axis=-1, initial=0)
    return np.where(apart <= _SAME_PLACE_PX, np.float32(1), iou(first, second))


def rotated_overlap(first: FloatArray, second: FloatArray) -> FloatArray:
    """As :func:`overlap`, of rotated boxes ``[N, 5]`` and ``[M, 5]``."""
    places, others = (corners(boxes).reshape(-1, 8) for boxes in (first, second))
    apart = np.abs(places[:, None] - others[None]).max(axis=-1, initial=0)
    return np.where(apart <= _SAME_PLACE_PX, 1, rotated_iou(first, second)).astype(np.float32)


def match(
    overlaps: FloatArray, labels: NDArray[np.int32], others: NDArray[np.int32]
) -> list[tuple[int, int]]:
    """Pairs boxes one to one: those of one class first, the greatest overlap first, down to an IoU of 0.5.

    Args:
        overlaps: IoU ``[N, M]``.
        labels, others: classes, ``[N]`` and ``[M]``.

    Returns:
        Pairs of a row and a column.
    """
    same = labels[:, None] == others[None, :]
    order = np.argsort(-(overlaps + same), axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for i, j in zip(*(axis.tolist() for axis in np.unravel_index(order, overlaps.shape)), strict=True):
        if overlaps[i, j] >= _SAME_OBJECT_IOU and i not in rows and j not in columns:
            pairs.append((i, j))
            rows.add(i)
            columns.add(j)
    return pairs


def _rows(answers: Answers, image: int) -> dict[str, NDArray[Any]]:
    count = int(answers["count"][image])
    rows = {name: values[image, :count] for name, values in answers.items() if name in _ROWS}
    if "prototypes" in answers:
        rows["prototypes"] = answers["prototypes"][image]
    return {**rows, "full": np.array(count == answers["scores"].shape[1])}


_ROWS = ("boxes", "rotated_boxes", "scores", "labels", "keypoints", "coefficients", "masks")
"""Outputs of the contract with a row for each detection."""


def _mask(rows: Answers, row: int) -> FloatArray | None:
    """The grid of a detection's mask; None where the model gives none."""
    if "prototypes" in rows:
        return np.asarray(np.tensordot(rows["coefficients"][row], rows["prototypes"], 1), np.float32)
    return rows["masks"][row] if "masks" in rows else None


def _cut_off(rows: Answers) -> float:
    """The score below which detections may be missing because the output is full; 0 where it is not."""
    return float(rows["scores"].min()) + _CUT_MARGIN if rows["full"] and len(rows["scores"]) else 0.0


def require_same_shape(expected: NDArray[Any], found: NDArray[Any]) -> None:
    """Raises :class:`ValueError` where two arrays differ in shape."""
    if expected.shape != found.shape:
        raise ValueError(f"expected shape {list(expected.shape)}, found {list(found.shape)}")
