"""The figure that the gate watches, through the project's own evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgevision.data.detection.dataset import DetectionSet
from edgevision.data.pictures import decode_picture
from edgevision.data.segmentation.dataset import SegmentationSet
from edgevision.engines.base import Engine
from edgevision.errors import DataError
from edgevision.evaluation.bootstrap import Interval, compare_ap50_mean, compare_miou
from edgevision.evaluation.detection import DEFAULT_MIN_BOXES, DetectionEvaluation, evaluate_detections
from edgevision.evaluation.predict import PixelCounts, count_pixels, ground_truth, predict_readable
from edgevision.evaluation.segmentation import segmentation_figures
from edgevision.model import Model
from edgevision.types import Image

OnImage = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """A model's figure, and what it is compared by: of use to the yardstick that made it only."""

    value: float
    detail: Any


class Yardstick(Protocol):
    """Labelled data, and the figure that is measured on them.

    Attributes:
        figure: its name.
        pictures: how many there are.
        source: what the user called the data.
    """

    figure: str
    source: str

    @property
    def pictures(self) -> int: ...

    def measure(self, engine: Engine, on_image: OnImage = ...) -> Measured:
        """Evaluates one model on all pictures."""
        ...

    def compare(self, first: Measured, second: Measured) -> Interval:
        """The second figure less the first, with its 95 % interval (paired bootstrap)."""
        ...

    def sample(self, count: int) -> list[Image]:
        """Pictures spread over the data, at most ``count``; unreadable ones are left out."""
        ...


class DetectionYardstick:
    """``ap50_mean`` on a labelled set.

    Args:
        data: the set, in the model's classes.
        source: what the user called it.
        min_boxes: objects that a class needs to count.
    """

    figure = "ap50_mean"

    def __init__(self, data: DetectionSet, source: str, min_boxes: int = DEFAULT_MIN_BOXES) -> None:
        self.data, self.source, self.min_boxes = data, source, min_boxes

    @property
    def pictures(self) -> int:
        return len(self.data.images)

    def measure(self, engine: Engine, on_image: OnImage = lambda done: None) -> Measured:
        """Evaluates one detector.

        Raises:
            DataError: no picture can be read, or no class has enough objects.
        """
        found = predict_readable(Model(engine, 0.0), self.data, on_image).found
        result = evaluate_detections(found, ground_truth(self.data, found), self.data.classes, self.min_boxes)
        if result.figures.ap50_mean is None:
            raise DataError(
                f"{self.source}: no class has {self.min_boxes} objects, so there is no ap50_mean to hold; "
                "lower --min-boxes"
            )
        return Measured(result.figures.ap50_mean, result)

    def compare(self, first: Measured, second: Measured) -> Interval:
        before, after = first.detail, second.detail
        assert isinstance(before, DetectionEvaluation)
        assert isinstance(after, DetectionEvaluation)
        interval = compare_ap50_mean(before, after)
        assert interval is not None  # measure() refuses what has no figure
        return interval

    def sample(self, count: int) -> list[Image]:
        return _readable([image.path for image in self.data.images], count)


class SegmentationYardstick:
    """Mean IoU on a labelled set.

    Args:
        data: the set, in the model's classes.
        source: what the user called it.
    """

    figure = "miou"

    def __init__(self, data: SegmentationSet, source: str) -> None:
        self.data, self.source = data, source

    @property
    def pictures(self) -> int:
        return len(self.data.pictures)

    def measure(self, engine: Engine, on_image: OnImage = lambda done: None) -> Measured:
        """Evaluates one segmenter.

        Raises:
            DataError: no picture can be read.
        """
        counts = count_pixels(Model(engine, 0.0), self.data, on_image)
        return Measured(segmentation_figures(counts.matrices.sum(axis=0), counts.classes).miou, counts)

    def compare(self, first: Measured, second: Measured) -> Interval:
        before, after = first.detail, second.detail
        assert isinstance(before, PixelCounts)
        assert isinstance(after, PixelCounts)
        return compare_miou(before.matrices, after.matrices)

    def sample(self, count: int) -> list[Image]:
        return _readable([picture.image for picture in self.data.pictures], count)


def _readable(paths: list[Any], count: int) -> list[Image]:
    pictures = []
    for i in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int):
        with contextlib.suppress(DataError):  # evaluation names what it cannot read
            pictures.append(decode_picture(paths[i]))
    return pictures
