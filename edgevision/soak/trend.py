"""A straight line through measurements, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import msgspec


class Slope(msgspec.Struct, frozen=True):
    """A straight line through block medians, by least squares.

    Attributes:
        per_hour: growth an hour.
        low, high: its 95 % interval, by Student's t on the residuals of the blocks. Blocks are taken as
            independent; memory moves in steps, so the interval is rather too narrow.
        blocks: how many medians the line goes through.
    """

    per_hour: float
    low: float
    high: float
    blocks: int


def fit_slope(points: Sequence[tuple[float, float]]) -> Slope:
    """The line through ``(seconds, value)``, with its growth an hour and how sure that is.

    Ordinary least squares; the standard error of the slope is ``s / sqrt(sum (t - mean t)^2)`` with
    ``s^2`` the residuals' squares over n - 2. Fewer than three points say nothing about the interval, which
    is then without end.
    """
    n = len(points)
    if n < 2:
        return Slope(0.0, -math.inf, math.inf, n)
    hours = [seconds / 3600 for seconds, _ in points]
    values = [value for _, value in points]
    slope, intercept = statistics.linear_regression(hours, values)
    if n < 3:
        return Slope(slope, -math.inf, math.inf, n)
    mean = statistics.fmean(hours)
    spread = sum((hour - mean) ** 2 for hour in hours)
    squares = sum((y - intercept - slope * x) ** 2 for x, y in zip(hours, values, strict=True))
    margin = student_t(n - 2) * math.sqrt(squares / (n - 2) / spread)
    return Slope(slope, slope - margin, slope + margin, n)


def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, for 95 % intervals; within 1 % from three degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = statistics.NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, start=1)))
