"""Precision and recall at a score threshold, and the threshold of each class that suits it best."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from edgevision.evaluation.average_precision import Curve


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a class comes to where everything of a score of ``threshold`` or more counts.

    Attributes:
        threshold: least score.
        precision: share of what is found that is right; None where nothing is found.
        recall: share of what is there that is found.
        f1: harmonic mean of the two, 0 where nothing is found.
    """

    threshold: float
    precision: float | None
    recall: float
    f1: float


class ClassPoints(msgspec.Struct, frozen=True, kw_only=True):
    """Two thresholds of a class.

    Attributes:
        best: that of the highest F1 on these data; on other data it comes to less. None where nothing was
            found of the class.
        at: the one that was asked for; None where none was.
    """

    best: OperatingPoint | None
    at: OperatingPoint | None = None


def point_at(curve: Curve, threshold: float) -> OperatingPoint:
    """The point of a threshold.

    Example:
        >>> curve = Curve(np.array([0.9, 0.8, 0.3]), np.array([1, 0.5, 2 / 3]), np.array([0.5, 0.5, 1.0]))
        >>> point = point_at(curve, 0.8)
        >>> point.precision, point.recall
        (0.5, 0.5)
    """
    count = int(np.searchsorted(-curve.scores, -threshold, side="right"))
    if not count:
        return OperatingPoint(threshold=threshold, precision=None, recall=0.0, f1=0.0)
    precision, recall = float(curve.precision[count - 1]), float(curve.recall[count - 1])
    return OperatingPoint(threshold=threshold, precision=precision, recall=recall, f1=_f1(precision, recall))


def best_point(curve: Curve) -> OperatingPoint | None:
    """The point of the highest F1, at the score of one of the answers; None where nothing was found.

    Of equal scores all count or none.
    """
    if not len(curve.scores):
        return None
    last = np.append(np.flatnonzero(np.diff(curve.scores)), len(curve.scores) - 1)
    values = [_f1(float(curve.precision[i]), float(curve.recall[i])) for i in last]
    chosen = int(last[int(np.argmax(values))])
    return point_at(curve, float(curve.scores[chosen]))


def class_points(
    curves: Mapping[str, Curve], at: float | Mapping[str, float] | None = None
) -> dict[str, ClassPoints]:
    """Both points of each class.

    Args:
        curves: by class name.
        at: a threshold for all classes, or one for each by name; classes that it lacks have none.
    """
    found = {}
    for name, curve in curves.items():
        wanted = at.get(name) if isinstance(at, Mapping) else at
        found[name] = ClassPoints(
            best=best_point(curve), at=None if wanted is None else point_at(curve, wanted)
        )
    return found


def _f1(precision: float, recall: float) -> float:
    """``2 p r / (p + r)``, 0 where both are."""
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0
