"""Runs a segmenter over a labelled set, and counts its pixels picture by picture."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.data.segmentation.dataset import SegmentationSet
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import DataError
from edgevision.evaluation.predict import OnImage, class_lookup
from edgevision.evaluation.segmentation import confusion_matrix
from edgevision.model import Detector
from edgevision.types import IGNORE_ID, SegmentationMap

OTHER = "(other)"
"""The class of pixels that the model gives to a class which is not evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """What a segmenter said of a set, at source size.

    Attributes:
        matrices: int64 ``[I, C, C]``: the confusion matrix of each picture that could be read.
        classes: C names: those of the set, and :data:`OTHER` where the model knows more.
        skipped: one line for each picture or label file that could not be read.
        ms_per_image: median time from pixels to class map, reading the file left out.
    """

    matrices: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    ms_per_image: float


def count_pixels(
    detector: Detector, data: SegmentationSet, on_image: OnImage = lambda done: None
) -> PixelCounts:
    """Compares ``detector`` with the labels, one picture at a time.

    Raises:
        DataError: no picture can be read, or the model does not segment.
    """
    target = class_lookup(detector, data.classes)
    classes = (*data.classes, OTHER) if (target < 0).any() else data.classes
    target = np.where(target < 0, len(data.classes), target)
    matrices, skipped, times_ms = [], [], []
    for done, picture in enumerate(data.pictures, start=1):
        try:
            image, labels = read_pair(data, picture)
        except DataError as error:
            skipped.append(str(error))
        else:
            started = time.perf_counter()
            (result,) = detector([image])
            times_ms.append((time.perf_counter() - started) * 1e3)
            if not isinstance(result, SegmentationMap):
                raise DataError(f"{detector.manifest.name} is no segmentation model")
            predicted = target[result.class_map]
            matrices.append(confusion_matrix(labels, predicted, len(classes), IGNORE_ID))
        on_image(done)
    if not matrices:
        raise DataError(f"no picture could be evaluated: {skipped[0] if skipped else 'the set is empty'}")
    return PixelCounts(np.stack(matrices), classes, tuple(skipped), float(np.median(times_ms)))
