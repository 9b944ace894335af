"""Boxes and scores in one tensor, told apart by their numbers.

Many detectors put both into one output: boxes in hundreds of pixels beside scores below 1. An error over the
whole tensor is that of the boxes alone, and scores could be lost without a sign in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-3  # by which a score may leave 0..1
_PIXELS = 1.5  # no score is above, and hardly a box in pixels below


def units_apart(values: NDArray[Any]) -> tuple[tuple[int, NDArray[np.intp]], ...]:
    """The parts of a tensor that have a unit of their own, such as pixels and scores.

    Args:
        values: float ``[N, C, cells]`` or ``[N, cells, C]``, of the float model.

    Returns:
        For each part its axis and its places along it, as :func:`numpy.take` uses them. One part, the whole
        tensor, unless along one axis some places hold scores (all within 0..1, not all 0), the others more.
    """
    whole = ((0, np.arange(values.shape[0] if values.ndim else 0)),)
    if values.ndim != 3 or not np.isfinite(values).all():
        return whole
    for axis in (1, 2):
        others = tuple(place for place in range(3) if place != axis)
        low, high = values.min(axis=others), values.max(axis=others)
        scores = (low >= -_SLACK) & (high <= 1 + _SLACK)
        rest = (low < -_PIXELS) | (high > _PIXELS)
        if scores.any() and rest.any() and (scores | rest).all() and high[scores].max() > 0:
            return (axis, np.flatnonzero(rest)), (axis, np.flatnonzero(scores))
    return whole
