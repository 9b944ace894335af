"""A straight line through measurements, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

_ENOUGH = 400
"""Points; more are joined, for the work grows with their square."""


class Slope(msgspec.Struct, frozen=True):
    """Growth an hour, as the median of the slopes between all pairs of points.

    Attributes:
        per_hour: growth an hour.
        low, high: its 95 % interval. It takes the points for independent; where memory stays for a while at
            one of several levels, it is rather too narrow.
        points: how many there were.
    """

    per_hour: float
    low: float
    high: float
    points: int


def fit_slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The line through ``(seconds, value)``, with its growth an hour and how sure that is.

    The estimator of Theil and Sen, which up to 29 % of wild points do not move, with the interval from the
    variance of Kendall's statistic, ``n (n - 1) (2 n + 5) / 18`` (P. K. Sen, Estimates of the regression
    coefficient based on Kendall's tau, Journal of the American Statistical Association 63, 1968). Too few
    points say nothing about the interval, which is then without end.

    Args:
        points: at moments that differ.
    """
    n = len(points)
    if n < 2:
        return Slope(0.0, -math.inf, math.inf, n)
    points = _joined(points)
    hours, values = np.array(points).T / np.array([[3600.0], [1.0]])
    first, second = np.triu_indices(len(points), 1)
    slopes = np.sort((values[second] - values[first]) / (hours[second] - hours[first]))
    m = len(points)
    spread = statistics.NormalDist().inv_cdf(0.975) * math.sqrt(m * (m - 1) * (2 * m + 5) / 18)
    rank = math.floor((len(slopes) - spread) / 2)  # of the lowest slope inside, from 1
    low, high = (slopes[rank - 1], slopes[-rank]) if rank >= 1 else (-math.inf, math.inf)
    return Slope(float(np.median(slopes)), float(low), float(high), n)


def _joined(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours as one: their mean time and median value."""
    size = math.ceil(len(points) / _ENOUGH)
    groups = (points[start : start + size] for start in range(0, len(points), size))
    return [
        (statistics.fmean(t for t, _ in group), statistics.median(y for _, y in group)) for group in groups
    ]
