"""Precision, recall and the three ways to average them.

Only the ranks at which an object is found matter: between two of them recall stands still and precision
falls. So a curve here is its values at the hits, and averages take the envelope of those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.evaluation.detection_matching import BoolArray, Float64Array

RECALL_POINTS: Float64Array = np.linspace(0, 1, 101)
"""Recall levels at which COCO samples precision."""

ELEVEN_POINTS: Float64Array = np.arange(11) / 10
"""Recall levels of PASCAL VOC 2007."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision over recall as the score threshold falls.

    Attributes:
        scores, precision, recall: float64 ``[D]``, one point a detection that is not ignored, best first.
    """

    scores: Float64Array
    precision: Float64Array
    recall: Float64Array


def curve(scores: Float64Array, hits: BoolArray, ignored: BoolArray, positives: int) -> Curve:
    """The whole curve at one IoU threshold: ``[D], [D], [D] -> Curve``; empty without positives."""
    counted = ~ignored if positives else np.zeros_like(ignored)
    found = np.cumsum(hits[counted])
    precision = found / np.arange(1, len(found) + 1)
    return Curve(scores[counted], precision, found / max(positives, 1))


def at_hits(
    hits: BoolArray, ignored: BoolArray, weights: NDArray[np.int64], positives: NDArray[np.int64]
) -> tuple[Float64Array, Float64Array]:
    """Recall and precision at each hit, for weighted detections.

    A detection of weight w counts w times, which is what drawing its image w times does.

    Args:
        hits, ignored: bool ``[D]``, best first.
        weights: int64 ``[R, D]``.
        positives: int64 ``[R]``, weighted as well.

    Returns:
        Recall and precision, each float64 ``[R, K]`` for K hits; NaN where there are no positives.
    """
    where = np.flatnonzero(hits)
    found = np.cumsum(weights[:, where], axis=1)
    counted = np.cumsum(weights * ~ignored, axis=1)[:, where]
    # 0 / 0 comes before the first detection of weight.
    precision = np.divide(found, counted, out=np.zeros(found.shape), where=counted > 0)
    wanted = np.where(positives > 0, positives, np.nan)
    return found / wanted[:, None], precision


def sampled_average(recall: Float64Array, precision: Float64Array, points: Float64Array) -> Float64Array:
    """Mean over ``points`` of the best precision at that recall or more.

    With ``RECALL_POINTS`` this is COCO's AP, with ``ELEVEN_POINTS`` that of PASCAL VOC 2007 (Everingham et
    al. 2010, section 4.2). Each row is one curve: ``[R, K], [R, K], [P] -> [R]``.
    """
    envelope = _envelope(precision)
    beyond_the_end = np.zeros((len(envelope), 1))
    padded = np.concatenate([envelope, beyond_the_end], axis=1)
    result = np.empty(len(recall))
    for row, levels in enumerate(recall):
        result[row] = padded[row, np.searchsorted(levels, points, side="left")].mean()
    return result


def area_under(recall: Float64Array, precision: Float64Array) -> Float64Array:
    """Area under the envelope, PASCAL's AP since VOC 2010: ``[R, K], [R, K] -> [R]``."""
    steps = np.diff(recall, axis=1, prepend=0)
    area: Float64Array = (steps * _envelope(precision)).sum(axis=1)
    return area


def mean_recall_over_iou(overlaps: Float64Array) -> float:
    """Twice the area under recall over IoU from 0.5 to 1 (Hosang et al. 2016, section 5).

    Recall at overlap o is the share of objects whose detection overlaps them by o or more, so the integral
    has the closed form ``2 / n * sum(max(iou - 0.5, 0))``. ``[G] ->`` 0..1.
    """
    return float(2 * np.clip(overlaps - 0.5, 0, None).mean())


def _envelope(precision: Float64Array) -> Float64Array:
    """The best precision at this hit or a later one."""
    return np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
