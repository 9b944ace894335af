"""Precision and recall at thresholds, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.evaluation.average_precision import Curve, curve
from edgevision.evaluation.operating_points import (
    ClassPoints,
    OperatingPoint,
    best_point,
    class_points,
    point_at,
)

NONE = np.zeros(0)


def three_of_four() -> Curve:
    """Right, wrong, right, wrong of scores .9, .8, .7, .4; three are there."""
    hits = np.array([True, False, True, False])
    return curve(np.array([0.9, 0.8, 0.7, 0.4]), hits, np.zeros(4, bool), 3)


@pytest.mark.parametrize(
    ("threshold", "precision", "recall", "f1"),
    [
        (0.95, None, 0.0, 0.0),
        (0.9, 1.0, 1 / 3, 1 / 2),
        (0.75, 1 / 2, 1 / 3, 2 / 5),
        (0.7, 2 / 3, 2 / 3, 2 / 3),
        (0.0, 1 / 2, 2 / 3, 4 / 7),
    ],
)
def test_a_threshold(threshold: float, precision: float | None, recall: float, f1: float) -> None:
    found = point_at(three_of_four(), threshold)
    assert found.precision == (None if precision is None else pytest.approx(precision))
    assert (found.recall, found.f1) == pytest.approx((recall, f1))


def test_the_best_threshold_has_the_highest_f1() -> None:
    best = best_point(three_of_four())
    assert best is not None
    assert (best.threshold, best.f1) == pytest.approx((0.7, 2 / 3))
    assert best_point(Curve(NONE, NONE, NONE)) is None


def test_equal_scores_count_together() -> None:
    """The first of two equal scores alone would be right: no threshold separates them."""
    both = curve(np.array([0.5, 0.5]), np.array([True, False]), np.zeros(2, bool), 1)
    best = best_point(both)
    assert best is not None
    assert best.precision == 0.5


def test_points_of_each_class() -> None:
    curves = {"car": three_of_four(), "dog": Curve(NONE, NONE, NONE)}
    assert class_points(curves)["car"].at is None
    found = class_points(curves, 0.9)
    assert list(found) == ["car", "dog"], "a class of which nothing is found has a recall, 0"
    assert found["dog"] == ClassPoints(
        best=None, at=OperatingPoint(threshold=0.9, precision=None, recall=0.0, f1=0.0)
    )
    given = class_points(curves, {"car": 0.9})["car"].at
    assert given is not None
    assert given.recall == pytest.approx(1 / 3)
    assert class_points(curves, {"dog": 0.9})["car"].at is None
