"""What a detector takes for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.evaluation.detection_matching import GroundTruth
from edgevision.model import DEFAULT_CONF_THRESHOLD
from edgevision.types import Detections, FloatArray

NOTHING = "(nothing)"
"""Stands for no object, or for no detection."""

Threshold = float | Mapping[str, float]
"""The score that a detection needs: for all classes, or for each by name; those without have the default."""

_IOU = 0.5


def detection_confusion(
    found: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    classes: int,
    conf_threshold: float | FloatArray = DEFAULT_CONF_THRESHOLD,
) -> NDArray[np.int64]:
    """What is taken for what: int64 ``[C + 1, C + 1]``.

    Rows are labelled classes, columns detected ones; the last row holds false alarms and the last column
    missed objects. Each object takes the strongest detection of any class that overlaps it by IoU 0.5.

    Args:
        found, truth: by image id.
        classes: how many there are.
        conf_threshold: weaker detections are left out; one for all classes, or ``[C]``.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    least = np.broadcast_to(np.asarray(conf_threshold), (classes,))
    for number, labels in truth.items():
        one = found[number]
        strong = one[one.scores >= least[one.class_ids]]
        order = np.argsort(-strong.scores, kind="stable")
        overlaps = iou(strong.boxes, labels.boxes.astype(np.float32))
        free = np.ones(len(labels.boxes), bool)
        for position in order:
            candidates = np.where(free, overlaps[position], 0)
            best = int(candidates.argmax()) if len(candidates) else -1
            predicted = int(strong.class_ids[position])
            if best < 0 or candidates[best] < _IOU:
                on_ignored = (overlaps[position][labels.ignore] >= _IOU).any()
                matrix[classes, predicted] += not on_ignored
                continue
            free[best] = False
            if not labels.ignore[best]:
                matrix[int(labels.class_ids[best]), predicted] += 1
        for missed in np.flatnonzero(free & ~labels.ignore):
            matrix[int(labels.class_ids[missed]), classes] += 1
    return matrix


def thresholds_of(at: Threshold, classes: Sequence[str]) -> FloatArray:
    """The threshold of each class: float32 ``[C]``."""
    known = at if isinstance(at, Mapping) else dict.fromkeys(classes, at)
    return np.array([known.get(name, DEFAULT_CONF_THRESHOLD) for name in classes], np.float32)


def score_text(at: Threshold) -> str:
    """A threshold in words."""
    return "the score of its class" if isinstance(at, Mapping) else f"a score of {at:g}"


def taken_for(matrix: NDArray[np.int64], classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """The counts of :func:`detection_confusion` that are not 0, by name, the largest first.

    Example:
        >>> taken_for(np.array([[7, 2, 1], [0, 0, 0], [0, 3, 0]]), ["cat", "dog"])
        {'cat': {'cat': 7, 'dog': 2, '(nothing)': 1}, '(nothing)': {'dog': 3}}

    Args:
        matrix: int64 ``[C + 1, C + 1]``.
        classes: the names of C.
    """
    names = (*classes, NOTHING)
    rows = {
        name: {names[i]: int(row[i]) for i in np.argsort(-row, kind="stable") if row[i]}
        for name, row in zip(names, matrix, strict=True)
    }
    return {name: row for name, row in rows.items() if row}


def mistaken(rows: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    """The classes that are taken for another one, of :func:`taken_for`: labelled, detected, how often."""
    pairs = [
        (labelled, detected, count)
        for labelled, row in rows.items()
        for detected, count in row.items()
        if labelled != detected and NOTHING not in (labelled, detected)
    ]
    return sorted(pairs, key=lambda pair: -pair[2])
