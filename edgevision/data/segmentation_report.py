"""A segmentation set in the form of ``edgevision data check``."""

from __future__ import annotations

from collections.abc import Callable

from edgevision.data.copies import find_copies
from edgevision.data.detection.check import EXAMPLES, Fault, Finding, SetReport
from edgevision.data.segmentation.check import check_segmentation
from edgevision.data.segmentation.dataset import SegmentationSet


def report_segmentation(
    data: SegmentationSet, on_image: Callable[[int], None] = lambda done: None
) -> SetReport:
    """Looks at every picture and label map; counts are labelled pixels.

    Raises:
        DataError: not a single picture can be used.
    """
    check = check_segmentation(data, on_image)
    pictures = tuple(picture.image for picture in check.usable.pictures)
    found = {
        Fault.UNUSABLE: list(check.problems),
        Fault.DUPLICATE: [f"{copy.name} is {first.name}" for copy, first in find_copies(pictures)],
        Fault.BOXLESS: list(check.absent),
    }
    findings = tuple(
        Finding(fault, len(texts), tuple(texts[:EXAMPLES])) for fault, texts in found.items() if texts
    )
    counts = {name: int(count) for name, count in zip(data.classes, check.pixels, strict=True)}
    return SetReport(data.name, len(data.pictures), counts, findings, pictures)
