"""Answers of several detectors about one image as one: weighted boxes fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.boxes import iou
from edgevision.types import Detections, FloatArray

FUSE_IOU = 0.6
"""Two boxes of one class that overlap more than this are taken for one object."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one detector sees in an image.

    Attributes:
        found: in the image's own pixels.
        knows: bool ``[C]``: the classes that it can find at all, by class id.
    """

    found: Detections
    knows: NDArray[np.bool_]


def fuse(views: Sequence[View], iou_threshold: float = FUSE_IOU) -> Detections:
    """All views as one, by weighted boxes fusion (Solovyev et al. 2021, arXiv:1910.13302, section 3).

    From the best score down, each box joins the cluster of its class whose fused box it overlaps most, if by
    more than the threshold, and else begins one. Of a cluster of T boxes with scores ``c`` and corners ``x``

        x = sum(c_i x_i) / sum(c_i)          c = sum(c_i) / T * min(T, N) / N

    where N is the number of views that know the class; in the paper all do.

    Args:
        views: one or more, whose class ids mean the same.
        iou_threshold: see above.

    Returns:
        Best first, with the class names of the first view.
    """
    names = views[0].found.names
    boxes = np.concatenate([view.found.boxes for view in views]).astype(np.float64)
    scores = np.concatenate([view.found.scores for view in views]).astype(np.float64)
    class_ids = np.concatenate([view.found.class_ids for view in views])
    order = np.argsort(-scores, kind="stable")
    corners, confidence, kinds = [], [], []
    for class_id in np.unique(class_ids):
        own = order[class_ids[order] == class_id]
        fused, total, count = _cluster(boxes[own], scores[own], iou_threshold)
        possible = max(1, sum(bool(view.knows[class_id]) for view in views))
        corners.append(fused)
        confidence.append(total / count * np.minimum(count, possible) / possible)
        kinds.append(np.full(len(fused), class_id, np.int32))
    if not corners:
        return Detections.empty(names)
    score = np.concatenate(confidence)
    best = np.argsort(-score, kind="stable")
    return Detections(
        np.concatenate(corners)[best].astype(np.float32),
        score[best].astype(np.float32),
        np.concatenate(kinds)[best],
        names,
    )


def _cluster(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], iou_threshold: float
) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.int64]]:
    """Fused boxes ``[K, 4]``, sums of scores ``[K]`` and sizes ``[K]`` of the clusters of one class.

    Args:
        boxes: ``[N, 4]`` corners, best first.
        scores: ``[N]``, falling.
        iou_threshold: overlap above which a box joins.
    """
    fused = np.zeros((len(boxes), 4), np.float32)
    weighted, total = np.zeros((len(boxes), 4)), np.zeros(len(boxes))
    count = np.zeros(len(boxes), np.int64)
    clusters = 0
    for box, score in zip(boxes, scores, strict=True):
        overlaps = iou(box[None].astype(np.float32), fused[:clusters])[0]
        place = int(overlaps.argmax()) if clusters else 0
        if not clusters or overlaps[place] <= iou_threshold:
            place, clusters = clusters, clusters + 1
        weighted[place] += score * box
        total[place] += score
        count[place] += 1
        fused[place] = weighted[place] / total[place] if total[place] > 0 else box
    return fused[:clusters], total[:clusters], count[:clusters]
