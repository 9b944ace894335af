"""Class accuracy and distance on the largest object, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.evaluation.largest_object import largest_object_figures
from edgevision.types import Detections


def there(boxes: list[list[float]], labels: list[int], ignore: list[bool]) -> GroundTruth:
    return GroundTruth(
        np.array(boxes, np.float64).reshape(-1, 4), np.array(labels, np.int32), np.array(ignore, bool)
    )


def said(box: list[float], label: int) -> Detections:
    return Detections(np.array([box], np.float32), np.array([0.5], np.float32), np.array([label], np.int32))


def test_class_and_distance() -> None:
    truth = {
        1: there([[0, 0, 10, 10], [0, 0, 56, 112]], [0, 1], [False, False]),
        2: there([[0, 0, 50, 50], [0, 0, 20, 10]], [1, 0], [True, False]),
        3: there([[0, 0, 50, 50]], [1], [True]),  # shows no object
    }
    # Image 1 is 112x224: x counts twice. The right edge is 14 off, 28 at 224; the others are right: mean 7.
    # Image 2 has the wrong class and the right place.
    found = {1: said([0, 0, 70, 112], 1), 2: said([0, 0, 20, 10], 1), 3: said([0, 0, 1, 1], 0)}
    figures = largest_object_figures(found, truth, {1: (112, 224), 2: (224, 224), 3: (9, 9)})
    assert figures is not None
    assert figures.images == 2
    assert figures.class_accuracy == 0.5
    assert figures.l1 == pytest.approx(3.5)


def test_no_answer_is_a_wrong_one() -> None:
    truth = {1: there([[0, 0, 112, 112]], [0], [False])}
    figures = largest_object_figures({1: Detections.empty()}, truth, {1: (224, 224)})
    assert figures is not None
    assert (figures.class_accuracy, figures.l1) == (0.0, 56.0)
    assert largest_object_figures({}, {}, {}) is None
