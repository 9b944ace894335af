"""Runs a model over a labelled set: what it found, and what is there, in the form that is compared."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.data.classes import NO_GROUPS, ClassGroups, map_classes
from edgevision.data.classification.dataset import ClassificationSet
from edgevision.data.detection.dataset import DetectionSet
from edgevision.data.images import decode_image
from edgevision.data.segmentation.dataset import SegmentationSet
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import DataError
from edgevision.evaluation.comparisons import MaskRuns
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.segmentation import confusion_matrix
from edgevision.model import Model
from edgevision.progress import OnDone
from edgevision.types import IGNORE_ID, Classification, Detections, FloatArray, Image, SegmentationMap


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a detector found in a set.

    Attributes:
        found: by image id, in the set's classes; images that could not be read are not in it.
        skipped: one line for each image that could not be read.
        ms_per_image: median time from pixels to boxes, reading the file left out.
        masks: by image id, of a model that gives masks; ``found`` is without them.
    """

    found: dict[int, Detections]
    skipped: tuple[str, ...]
    ms_per_image: float
    masks: dict[int, MaskRuns] = field(default_factory=dict)


def predict_readable(
    detector: Model, images: DetectionSet, on_image: OnDone = lambda done: None
) -> Predictions:
    """What ``detector`` finds in each image, one image at a time as in a stream.

    Its classes are mapped to those of the set by name and alias; detections of others are left out.

    Args:
        detector: with its threshold at 0, for a threshold cuts the end of every curve off.
        images: the labelled set.
        on_image: called with the number of images done.

    Raises:
        DataError: no image can be read, or the model does not detect.
    """
    target = class_lookup(detector, images.classes)
    found: dict[int, Detections] = {}
    masks: dict[int, MaskRuns] = {}
    skipped, times_ms = [], []
    for done, entry in enumerate(images.images, start=1):
        try:
            image = decode_image(entry.path)
        except DataError as error:
            skipped.append(str(error))
        else:
            started = time.perf_counter()
            found[entry.image_id] = _detect(detector, image, target)
            times_ms.append((time.perf_counter() - started) * 1e3)
            of_image = found[entry.image_id].masks
            if of_image is not None:
                runs = tuple(of_image.rle(row) for row in range(len(of_image)))
                masks[entry.image_id] = MaskRuns(of_image.size, runs)
                found[entry.image_id] = replace(found[entry.image_id], masks=None)
        on_image(done)
    if not found:
        raise DataError(f"no image could be evaluated: {skipped[0] if skipped else 'the set is empty'}")
    return Predictions(found, tuple(skipped), float(np.median(times_ms)), masks)


def predict_set(
    detector: Model, images: DetectionSet, on_image: OnDone = lambda done: None
) -> dict[int, Detections]:
    """As :func:`predict_all`, without masks."""
    return predict_all(detector, images, on_image).found


def predict_all(detector: Model, images: DetectionSet, on_image: OnDone = lambda done: None) -> Predictions:
    """As :func:`predict_readable`, but an image that cannot be read ends it.

    Raises:
        DataError: an image cannot be read, or the model does not detect.
    """
    predictions = predict_readable(detector, images, on_image)
    if predictions.skipped:
        raise DataError(predictions.skipped[0])
    return predictions


def ground_truth(images: DetectionSet, wanted: Iterable[int] | None = None) -> dict[int, GroundTruth]:
    """The labels of a set by image id; only of the ids ``wanted``, where given."""
    ids = None if wanted is None else set(wanted)
    return {
        one.image_id: GroundTruth(one.boxes.astype(np.float64), one.labels.astype(np.int32), one.ignore)
        for one in images.images
        if ids is None or one.image_id in ids
    }


def pose_truth(images: DetectionSet, wanted: Iterable[int]) -> dict[int, GroundTruth]:
    """As :func:`ground_truth`, for poses: an object without a labelled key point counts neither way."""
    shapes = {one.image_id: one.shapes for one in images.images}
    truth = {}
    for image_id, there in ground_truth(images, wanted).items():
        bare = np.array(
            [one.keypoints is None or not (one.keypoints[:, 2] > 0).any() for one in shapes[image_id]], bool
        )
        truth[image_id] = replace(there, ignore=there.ignore | bare, once=bare & ~there.ignore)
    return truth


def class_lookup(model: Model, classes: Iterable[str], groups: ClassGroups = NO_GROUPS) -> NDArray[np.int32]:
    """For each class of the model the index of the same class in ``classes``, or -1: int32 ``[C]``."""
    group_of = groups.mapping(model.manifest.classes)
    known = [group_of[name] for name in model.manifest.classes]
    index = map_classes(known, classes)
    return np.array([index.get(name, -1) for name in known], np.int32)


def _detect(detector: Model, image: Image, target: NDArray[np.int32]) -> Detections:
    (result,) = detector([image])
    if not isinstance(result, Detections):
        raise DataError(f"{detector.manifest.name} is not a detection model; boxes cannot be evaluated")
    class_ids = target[result.class_ids]
    kept = class_ids >= 0
    return replace(result[kept], class_ids=class_ids[kept], names=(), model="")


OTHER = "(other)"
"""The class of pixels that the model gives to a class which is not evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """What a segmenter predicted for a set, at source size.

    Attributes:
        matrices: int64 ``[I, C, C]``: the confusion matrix of each image that could be read.
        classes: C names: those of the set, and :data:`OTHER` where the model knows more.
        skipped: one line for each image or label file that could not be read.
        ms_per_image: median time from pixels to class map, reading the file left out.
        places: which images of the set the matrices are of, by position; empty for all of them.
    """

    matrices: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...]
    ms_per_image: float
    places: tuple[int, ...] = ()


def count_pixels(model: Model, data: SegmentationSet, on_image: OnDone = lambda done: None) -> PixelCounts:
    """Compares ``model`` with the labels, one image at a time.

    Raises:
        DataError: no image can be read, or the model does not segment.
    """
    target = class_lookup(model, data.classes, data.groups)
    classes = (*data.classes, OTHER) if (target < 0).any() else data.classes
    target = np.where(target < 0, len(data.classes), target)
    matrices, places, skipped, times_ms = [], [], [], []
    for done, pair in enumerate(data.images, start=1):
        try:
            image, labels = read_pair(data, pair)
        except DataError as error:
            skipped.append(str(error))
        else:
            started = time.perf_counter()
            (result,) = model([image])
            times_ms.append((time.perf_counter() - started) * 1e3)
            if not isinstance(result, SegmentationMap):
                raise DataError(f"{model.manifest.name} is not a segmentation model")
            predicted = target[result.class_map]
            matrices.append(confusion_matrix(labels, predicted, len(classes), IGNORE_ID))
            places.append(done - 1)
        on_image(done)
    if not matrices:
        raise DataError(f"no image could be evaluated: {skipped[0] if skipped else 'the set is empty'}")
    median_ms = float(np.median(times_ms))
    return PixelCounts(np.stack(matrices), classes, tuple(skipped), median_ms, tuple(places))


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """What a classifier said of a set.

    Attributes:
        probabilities: float64 ``[I, M]``, of all M classes of the model.
        columns: int64 ``[C]``: for each class of the set the class of the model that is the same.
        labels: bool ``[I, C]``.
        skipped: one line for each image that could not be read.
        ms_per_image: median time from pixels to answer, reading the file left out.
    """

    probabilities: NDArray[np.float64]
    columns: NDArray[np.int64]
    labels: NDArray[np.bool_]
    skipped: tuple[str, ...]
    ms_per_image: float


def guess_labels(model: Model, data: ClassificationSet, on_image: OnDone = lambda done: None) -> Guesses:
    """Shows each image, or each labelled part of one, to a classifier, one at a time.

    Raises:
        DataError: no image can be read, the model does not classify, or it lacks a class of the set.
    """
    lookup = class_lookup(model, data.classes)
    lacking = [name for i, name in enumerate(data.classes) if i not in lookup]
    if lacking:
        raise DataError(f"{model.manifest.name} has no class '{lacking[0]}'")
    columns = np.array([int(np.flatnonzero(lookup == i)[0]) for i in range(len(data.classes))], np.int64)
    rows: list[FloatArray] = []
    kept, skipped, times_ms = [], [], []
    last: tuple[Path, Image] | None = None  # several crops of one image follow each other
    for done, path in enumerate(data.paths, start=1):
        try:
            if last is None or last[0] != path:
                last = path, decode_image(path)
            image = data.cut(done - 1, last[1])
        except DataError as error:
            skipped.append(str(error))
        else:
            started = time.perf_counter()
            (result,) = model([image])
            times_ms.append((time.perf_counter() - started) * 1e3)
            if not isinstance(result, Classification):
                raise DataError(f"{model.manifest.name} is not a classification model")
            rows.append(result.probabilities)
            kept.append(done - 1)
        on_image(done)
    if not rows:
        raise DataError(f"no image could be evaluated: {skipped[0] if skipped else 'the set is empty'}")
    answers = np.stack(rows).astype(np.float64)
    return Guesses(answers, columns, data.labels[kept], tuple(skipped), float(np.median(times_ms)))
