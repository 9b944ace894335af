"""Runs a detector over a labelled set: what it found, and what is there, in the form that is compared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgevision.data.detection import DetectionSet
from edgevision.data.loading import read_image
from edgevision.detector import Detector
from edgevision.errors import DataError
from edgevision.evaluation.matching import GroundTruth
from edgevision.types import Detections


def predict_set(
    detector: Detector, images: DetectionSet, on_image: Callable[[int], None] = lambda done: None
) -> dict[int, Detections]:
    """What ``detector`` finds in each picture, by image id, one picture at a time as in a stream.

    Args:
        detector: its classes are those of ``images``, in the same order.
        images: the labelled set.
        on_image: called with the number of pictures done.

    Raises:
        DataError: a picture cannot be read, or the model does not detect.
    """
    found: dict[int, Detections] = {}
    for done, entry in enumerate(images.images, start=1):
        (result,) = detector([read_image(entry.path)])
        if not isinstance(result, Detections):
            raise DataError(f"{detector.manifest.name} is no detection model; boxes cannot be evaluated")
        found[entry.image_id] = result
        on_image(done)
    return found


def ground_truth(images: DetectionSet) -> dict[int, GroundTruth]:
    """The labels of a set by image id."""
    return {
        one.image_id: GroundTruth(one.boxes.astype(np.float64), one.labels.astype(np.int32), one.ignore)
        for one in images.images
    }
