"""Figures of a classifier: of one label the share of images whose label is the best guess, of several mAP."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError
from edgevision.evaluation.detection_matching import Float64Array

TOP = 5


class LabelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one class; None where the set has no image of it, or where they mean nothing.

    Attributes:
        images: labelled as this class.
        top1: of one label: share of them for which it is the best guess.
        top5: of one label: share of them for which it is among the five best guesses.
        ap: of several labels: average precision.
    """

    images: int
    top1: float | None = None
    top5: float | None = None
    ap: float | None = None


class ClassificationFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a classifier; None for those of the other kind of label.

    Attributes:
        images: evaluated.
        top1, top5: of one label: share of the images whose label is the best guess, or among the five best.
        map: of several labels: mean of the average precision of the classes that have an image.
        per_class: by class name.
    """

    images: int
    top1: float | None = None
    top5: float | None = None
    map: float | None = None
    per_class: dict[str, LabelFigures]


def ranks_of(probabilities: Float64Array, labels: NDArray[np.intp]) -> NDArray[np.int64]:
    """The rank of the label among all guesses, from 0; of equal ones the earlier class comes first.

    Args:
        probabilities: ``[I, M]``, of all classes of the model.
        labels: ``[I]``, a column each.
    """
    own = np.take_along_axis(probabilities, labels[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1])[None] < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & earlier)
    return np.asarray(ahead.sum(axis=1), np.int64)


def one_label_figures(
    ranks: NDArray[np.int64], labels: NDArray[np.intp], classes: Sequence[str]
) -> ClassificationFigures:
    """Figures from the rank of each image's label, ``[I]``, and the label, ``[I]``."""
    if not len(ranks):
        raise DataError("nothing to evaluate: no labelled image in the set")
    per_class = {}
    for position, name in enumerate(classes):
        mine = ranks[labels == position]
        per_class[name] = LabelFigures(images=0)
        if len(mine):
            per_class[name] = LabelFigures(
                images=len(mine), top1=float((mine < 1).mean()), top5=float((mine < TOP).mean())
            )
    return ClassificationFigures(
        images=len(ranks),
        top1=float((ranks < 1).mean()),
        top5=float((ranks < TOP).mean()),
        per_class=per_class,
    )


def average_precisions(
    scores: Float64Array, labels: NDArray[np.bool_], weights: NDArray[np.int64]
) -> Float64Array:
    """Average precision of each class: the mean over its images of the precision at the image's score.

    Not interpolated, and images of equal score are taken together, as scikit-learn's
    ``average_precision_score`` does.

    Args:
        scores: ``[I, C]``.
        labels: ``[I, C]``.
        weights: int64 ``[R, I]``: how often each image counts.

    Returns:
        float64 ``[R, C]``; NaN where a class has no image.
    """
    result = np.full((len(weights), scores.shape[1]), np.nan)
    for k in range(scores.shape[1]):
        order = np.argsort(-scores[:, k], kind="stable")
        mine, hits = scores[order, k], labels[order, k]
        counted = weights[:, order]
        positives = counted @ hits
        found = np.cumsum(counted * hits, axis=1)
        everything = np.cumsum(counted, axis=1)
        # Where a run of equal scores ends: precision is that of the whole run.
        last = np.searchsorted(-mine, -mine, side="right") - 1
        precision = np.divide(found, everything, out=np.zeros(found.shape), where=everything > 0)[:, last]
        known = positives > 0
        result[known, k] = (precision * counted * hits).sum(axis=1)[known] / positives[known]
    return result


def several_label_figures(
    scores: Float64Array, labels: NDArray[np.bool_], classes: Sequence[str]
) -> ClassificationFigures:
    """Figures from the probabilities ``[I, C]`` and the labels ``[I, C]``."""
    once = np.ones((1, len(scores)), np.int64)
    found = average_precisions(scores, labels, once)[0]
    if not len(scores) or np.isnan(found).all():
        raise DataError("nothing to evaluate: no image is labelled as one of the classes wanted")
    counts = labels.sum(axis=0)
    per_class = {
        name: LabelFigures(images=int(count), ap=None if np.isnan(ap) else float(ap))
        for name, count, ap in zip(classes, counts, found, strict=True)
    }
    return ClassificationFigures(images=len(scores), map=float(np.nanmean(found)), per_class=per_class)
