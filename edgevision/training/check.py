"""Checks the data of a training run: fast before it starts, or whole for ``edgevision data check``."""

from __future__ import annotations

from collections.abc import Callable

from edgevision.data.classification.sources import ClassificationSource, read_raw
from edgevision.data.detection.check import DataReport, SetReport, check_set, check_sets
from edgevision.data.detection.sources import DetectionSource, read_source
from edgevision.data.segmentation.check import report_segmentation
from edgevision.data.segmentation.dataset import SegmentationSource, load_source
from edgevision.training.config import ClassifierTraining, DetectorTraining, SegmenterTraining

OnImage = Callable[[str, int], None]
"""Called with the name of a set and the number of its images that are done."""


def check_detector_data(
    run: DetectorTraining, read_images: bool, on_image: OnImage = lambda name, done: None
) -> DataReport:
    """Every source of a detector's training, and what is wrong between training and validation.

    Args:
        run: the training.
        read_images: decode every image and compare contents; False only looks whether files exist.
        on_image: called after each image.

    Raises:
        DataError: label files are missing or are not of their kind.
    """

    def check(source: DetectionSource) -> SetReport:
        raw = read_source(source)
        return check_set(raw, run.classes, read_images, lambda done: on_image(raw.name, done))

    return check_sets([check(source) for source in run.data.train], [check(run.data.val)], run.classes)


def check_segmenter_data(run: SegmenterTraining, on_image: OnImage = lambda name, done: None) -> DataReport:
    """Every source of a segmenter's training, and what is wrong between training and validation.

    Raises:
        DataError: a part of the layout is missing, or a set has no usable image.
    """

    def check(source: SegmentationSource) -> SetReport:
        data = load_source(source, run.classes)
        return report_segmentation(data, lambda done: on_image(data.name, done))

    return check_sets([check(source) for source in run.data.train], [check(run.data.val)], run.classes)


def check_classifier_data(
    run: ClassifierTraining, read_images: bool, on_image: OnImage = lambda name, done: None
) -> DataReport:
    """Every source of a classifier's training, and what is wrong between training and validation.

    Args:
        run: the training.
        read_images: decode every image and compare contents; False only looks whether files exist.
        on_image: called after each image.

    Raises:
        DataError: label files or folders are missing or are not of their kind.
    """

    def check(source: ClassificationSource) -> SetReport:
        raw = read_raw(source)
        return check_set(raw, run.classes, read_images, lambda done: on_image(raw.name, done))

    return check_sets([check(source) for source in run.data.train], [check(run.data.val)], run.classes)
