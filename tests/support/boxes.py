"""Labelled and detected boxes in one line each."""

from __future__ import annotations

import numpy as np

from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.types import Detections


def labels(*rows: tuple[int, int, int, int, int], ignore: tuple[int, ...] = ()) -> GroundTruth:
    """Rows of class, left, top, right, bottom; ``ignore`` names the rows that do not count."""
    flags = np.array([number in ignore for number in range(len(rows))])
    return GroundTruth(np.array([row[1:] for row in rows]), np.array([row[0] for row in rows]), flags)


def found(*rows: tuple[int, float, int, int, int, int]) -> Detections:
    """Rows of class, score, left, top, right, bottom."""
    return Detections(
        np.array([row[2:] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[0] for row in rows], np.int32),
    )
