"""What is wrong with a segmentation set, and what it holds: looks at every image and label map once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.data.copies import find_copies
from edgevision.data.detection.check import EXAMPLES, DataFinding, Fault, SetReport
from edgevision.data.segmentation.dataset import LabelledImage, SegmentationSet
from edgevision.data.segmentation.label_maps import read_pair
from edgevision.errors import DataError, printable
from edgevision.types import IGNORE_ID


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationCheck:
    """What a check of a whole set found.

    Attributes:
        usable: the set without the images that cannot be used.
        problems: one line for each image that cannot be used.
        pixels: int64 ``[C]``: labelled pixels of each class.
        shared: int64 ``[C]``: labelled pixels of any class in the images that have the class.
    """

    usable: SegmentationSet
    problems: tuple[str, ...]
    pixels: NDArray[np.int64]
    shared: NDArray[np.int64]

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without a pixel; none of a set that nobody has labelled."""
        if all(image.labels is None for image in self.usable.images):
            return ()
        return tuple(name for name, count in zip(self.usable.classes, self.pixels, strict=True) if count == 0)


def check_segmentation(
    data: SegmentationSet, on_image: Callable[[int], None] = lambda done: None
) -> SegmentationCheck:
    """Reads the whole set.

    Args:
        data: the set.
        on_image: called with the number of images done.

    Raises:
        DataError: not a single image can be used; the message shows the first problem.
    """
    problems: list[str] = []
    usable: list[LabelledImage] = []
    classes = len(data.classes)
    pixels, shared = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for done, image in enumerate(data.images, start=1):
        try:
            _, labels = read_pair(data, image)
        except DataError as error:
            problems.append(str(error))
        else:
            usable.append(image)
            counts = np.bincount(labels[labels != IGNORE_ID], minlength=classes)
            pixels += counts
            shared += np.where(counts > 0, counts.sum(), 0)
        on_image(done)
    if not usable:
        raise DataError(f"{data.name}: none of {len(data.images)} images can be used: {problems[0]}")
    return SegmentationCheck(dataclasses.replace(data, images=tuple(usable)), tuple(problems), pixels, shared)


def class_frequencies(checks: Sequence[SegmentationCheck]) -> list[float]:
    """For each class its pixels over all labelled pixels of the images that have it; 0 for an absent one.

    Args:
        checks: of sets with equal classes, which count as one.
    """
    pixels = np.sum([check.pixels for check in checks], axis=0)
    shared = np.sum([check.shared for check in checks], axis=0)
    return [float(value) for value in pixels / np.maximum(shared, 1)]


def report_segmentation(
    data: SegmentationSet, on_image: Callable[[int], None] = lambda done: None
) -> SetReport:
    """Looks at every image and label map; counts are labelled pixels.

    Raises:
        DataError: not a single image can be used.
    """
    check = check_segmentation(data, on_image)
    images = tuple(image.image for image in check.usable.images)
    found = {
        Fault.UNUSABLE: list(check.problems),
        Fault.DUPLICATE: [f"{copy.name} is {first.name}" for copy, first in find_copies(images)],
        Fault.BOXLESS: list(check.absent),
    }
    findings = tuple(
        DataFinding(fault, len(texts), tuple(map(printable, texts[:EXAMPLES])))
        for fault, texts in found.items()
        if texts
    )
    counts = {name: int(count) for name, count in zip(data.classes, check.pixels, strict=True)}
    return SetReport(data.name, len(data.images), counts, findings, images)
