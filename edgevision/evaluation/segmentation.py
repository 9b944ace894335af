"""Figures of a segmenter, all from one confusion matrix of pixels.

Matrices of single images add up: ``total += confusion_matrix(labels, result.class_map, 11, ignore_id=11)``.
Figures come from the sum, so every pixel weighs the same, as in the benchmarks of the field.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError

ConfusionMatrix = NDArray[np.int64]
"""int64 ``[C, C]``: pixels of class ``row`` that were called class ``column``."""


class SegmentationClassFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one class; None where the set has no pixel of it.

    Attributes:
        pixels: labelled as this class.
        iou: intersection over union of the labelled and the predicted area.
        dice: twice the intersection over the sum of both areas, the F1 score of pixels.
    """

    pixels: int
    iou: float | None = None
    dice: float | None = None


class SegmentationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a segmenter.

    Attributes:
        miou, dice: means over the classes that have labelled pixels. A class without any is left out: where
            it is predicted all the same, the classes that it was mistaken for pay.
        pixel_accuracy: share of the labelled pixels that are right.
        per_class: by class name.
    """

    miou: float
    dice: float
    pixel_accuracy: float
    per_class: dict[str, SegmentationClassFigures]


def confusion_matrix(
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    classes: int,
    ignore_id: int | None = None,
) -> ConfusionMatrix:
    """Counts the pixels of one image.

    Args:
        labels: ``[H, W]``, class ids 0..classes - 1, or ``ignore_id``.
        predicted: ``[H, W]``, class ids.
        classes: C.
        ignore_id: pixels with this label count nowhere, whatever is predicted there.

    Raises:
        DataError: the sizes differ, or an id is out of range.
    """
    if labels.shape != predicted.shape:
        raise DataError(
            f"labels are {list(labels.shape)} pixels, the prediction is {list(predicted.shape)}; "
            "expected the same size"
        )
    counted = np.ones(labels.shape, bool) if ignore_id is None else labels != ignore_id
    truth, guess = labels[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for what, ids in (("label", truth), ("predicted", guess)):
        wrong = ids[(ids < 0) | (ids >= classes)]
        if wrong.size:
            ignored = "" if ignore_id is None else f" (or {ignore_id}, which is ignored)"
            raise DataError(
                f"{what} id {wrong[0]} in {wrong.size} pixels; expected 0..{classes - 1}"
                f"{ignored if what == 'label' else ''}"
            )
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def worst_matrices(matrices: NDArray[np.int64], count: int) -> list[tuple[int, float]]:
    """The images with the largest share of wrong pixels, the worst first; those without any are left out.

    Args:
        matrices: int64 ``[I, C, C]``, one confusion matrix an image.
        count: the most to give.

    Returns:
        Position and share, 0 to 1.
    """
    right = np.trace(matrices, axis1=1, axis2=2)
    shares = 1 - right / np.maximum(matrices.sum(axis=(1, 2)), 1)
    shares[matrices.sum(axis=(1, 2)) == 0] = 0
    order = np.argsort(-shares, kind="stable")[:count]
    return [(int(place), float(shares[place])) for place in order if shares[place] > 0]


def segmentation_figures(matrix: ConfusionMatrix, classes: Sequence[str]) -> SegmentationFigures:
    """Figures from a summed confusion matrix ``[C, C]``.

    Raises:
        DataError: there is no labelled pixel, or the matrix does not fit the classes.
    """
    if matrix.shape != (len(classes), len(classes)):
        raise DataError(f"a confusion matrix of {list(matrix.shape)} does not fit {len(classes)} classes")
    if matrix.sum() == 0:
        raise DataError("nothing to evaluate: no labelled pixel in the set")
    right = np.diag(matrix)
    labelled, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    present = labelled > 0
    union = np.maximum(labelled + predicted - right, 1)
    iou = right / union
    dice = 2 * right / np.maximum(labelled + predicted, 1)
    per_class = {
        name: SegmentationClassFigures(pixels=int(labelled[k]), iou=float(iou[k]), dice=float(dice[k]))
        if present[k]
        else SegmentationClassFigures(pixels=0)
        for k, name in enumerate(classes)
    }
    return SegmentationFigures(
        miou=float(iou[present].mean()),
        dice=float(dice[present].mean()),
        pixel_accuracy=float(right.sum() / matrix.sum()),
        per_class=per_class,
    )
