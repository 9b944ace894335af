"""How sure a figure is: intervals from resampling the images (Efron and Tibshirani 1993).

Matching looks at one image at a time, so it is done once; a resample only changes how often each
image counts.

AP comes out too high on small sets, because its envelope takes the best of what is noisy, and a resample has
fewer different images still. The intervals are therefore bias-corrected (chapter 14 there). Measured on
made-up sets of 60 images, the 95 % interval of one model held the truth in 88 % of the cases (75 % without
the correction), that of a difference in 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.errors import UsageError
from edgevision.evaluation.average_precision import RECALL_POINTS, at_hits, sampled_average
from edgevision.evaluation.classification import average_precisions
from edgevision.evaluation.detection import DetectionEvaluation
from edgevision.evaluation.detection_matching import ClassMatches, Float64Array

_CELLS = 2_000_000  # of one block of resamples by detections: bounds memory at some 50 MB


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % interval.

    Attributes:
        value: on the set itself.
        low, high: bias-corrected percentiles over the resamples.
        resamples, seed: how it was made.
    """

    value: float
    low: float
    high: float
    resamples: int
    seed: int

    @property
    def excludes_zero(self) -> bool:
        """For a difference: it is unlikely to be chance."""
        return self.low > 0 or self.high < 0


def ap50_mean_interval(
    evaluation: DetectionEvaluation, *, resamples: int = 1000, seed: int = 0
) -> Interval | None:
    """``ap50_mean`` of one model with its interval; None where no class has enough objects."""
    value = evaluation.figures.ap50_mean
    chosen = _counted_classes(evaluation)
    if value is None or not chosen:
        return None
    weights = _draw(len(evaluation.image_ids), resamples, seed)
    return _interval(value, _resampled(evaluation.matches, chosen, weights), resamples, seed)


def compare_ap50_mean(
    first: DetectionEvaluation, second: DetectionEvaluation, *, resamples: int = 1000, seed: int = 0
) -> Interval | None:
    """``ap50_mean`` of the second model less that of the first, with the interval of the difference.

    Both are evaluated on the same resamples, so what makes an image hard for both cancels out.

    Raises:
        UsageError: the two were not evaluated on the same images, objects and classes.
    """
    same = (
        first.image_ids == second.image_ids
        and first.classes == second.classes
        and first.figures.min_boxes == second.figures.min_boxes
        and all(
            np.array_equal(a.positives, b.positives)
            for a, b in zip(first.matches, second.matches, strict=True)
        )
    )
    if not same:
        raise UsageError(
            "two models can be compared only on the same images, labels, classes and `min_boxes`; "
            "evaluate both again on one data set"
        )
    chosen = _counted_classes(first)
    before, after = first.figures.ap50_mean, second.figures.ap50_mean
    if before is None or after is None or not chosen:
        return None
    weights = _draw(len(first.image_ids), resamples, seed)
    difference = _resampled(second.matches, chosen, weights) - _resampled(first.matches, chosen, weights)
    return _interval(after - before, difference, resamples, seed)


def miou_interval(matrices: NDArray[np.int64], *, resamples: int = 1000, seed: int = 0) -> Interval:
    """Mean IoU of one segmenter with its interval, from the matrix of each image: ``[I, C, C]``."""
    value = float(_miou(matrices.sum(axis=0)[None])[0])
    weights = _draw(len(matrices), resamples, seed)
    return _interval(value, _miou(_weighted(matrices, weights)), resamples, seed)


def compare_miou(
    first: NDArray[np.int64], second: NDArray[np.int64], *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Mean IoU of the second segmenter less that of the first, with the interval of the difference.

    Args:
        first, second: ``[I, C, C]``, of the same images in the same order.

    Raises:
        UsageError: the two were not evaluated on the same images, labels and classes.
    """
    if first.shape != second.shape or not np.array_equal(first.sum(axis=2), second.sum(axis=2)):
        raise UsageError(
            "two models can be compared only on the same images, labels and classes; "
            "evaluate both again on one data set"
        )
    weights = _draw(len(first), resamples, seed)
    difference = _miou(_weighted(second, weights)) - _miou(_weighted(first, weights))
    value = _miou(second.sum(axis=0)[None]) - _miou(first.sum(axis=0)[None])
    return _interval(float(value[0]), difference, resamples, seed)


def label_interval(
    hits: NDArray[np.bool_], first: NDArray[np.bool_] | None = None, *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Share of images that are right, or the gain over another model's, with its interval.

    Args:
        hits, first: bool ``[I]``, of the same images.
    """
    values = hits.astype(np.float64) if first is None else hits.astype(np.float64) - first
    weights = _draw(len(hits), resamples, seed)
    return _interval(float(values.mean()), weights @ values / len(hits), resamples, seed)


def map_interval(
    scores: Float64Array,
    labels: NDArray[np.bool_],
    first: Float64Array | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Mean average precision of labels, or the gain over another model's, with its interval.

    Args:
        scores, first: ``[I, C]``, of the same images.
        labels: ``[I, C]``.
    """
    weights = np.concatenate([np.ones((1, len(scores)), np.int64), _draw(len(scores), resamples, seed)])
    values = _mean_known(average_precisions(scores, labels, weights))
    if first is not None:
        values = values - _mean_known(average_precisions(first, labels, weights))
    return _interval(float(values[0]), values[1:], resamples, seed)


def _mean_known(values: Float64Array) -> Float64Array:
    """Mean over the columns that are known: ``[R, C] -> [R]``."""
    known = ~np.isnan(values)
    mean: Float64Array = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return mean


def weighted_ap50(found: ClassMatches, weights: NDArray[np.int64]) -> Float64Array:
    """AP50 of a class where image i counts ``weights[r, i]`` times.

    ``[R, I] -> [R]``; NaN for a resample without an object of the class.
    """
    hits, ignored = found.coco.hits[0], found.coco.ignored[0]
    result = np.empty(len(weights))
    rows = max(1, _CELLS // max(len(hits), 1))
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows]
        points = at_hits(hits, ignored, block[:, found.images], block @ found.positives)
        result[start : start + rows] = sampled_average(*points, RECALL_POINTS)
    result[weights @ found.positives == 0] = np.nan
    return result


def _weighted(matrices: NDArray[np.int64], weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Summed matrices where image i counts ``weights[r, i]`` times: ``[I, C, C], [R, I] -> [R, C, C]``."""
    summed: NDArray[np.int64] = np.einsum("ri,icd->rcd", weights, matrices, optimize=True)
    return summed


def _miou(matrices: NDArray[np.int64]) -> Float64Array:
    """Mean IoU over the classes that have a labelled pixel: ``[R, C, C] -> [R]``."""
    right = np.diagonal(matrices, axis1=1, axis2=2)
    labelled, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    present = labelled > 0
    iou = np.where(present, right / np.maximum(labelled + predicted - right, 1), 0)
    mean: Float64Array = iou.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean


def _counted_classes(evaluation: DetectionEvaluation) -> list[int]:
    least = max(evaluation.figures.min_boxes, 1)
    return [k for k, found in enumerate(evaluation.matches) if found.positives.sum() >= least]


def _draw(images: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each image is drawn in each resample: ``[R, I]``, every row summing to I."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(images, np.full(images, 1 / images), size=resamples)


def _resampled(
    matches: Sequence[ClassMatches], chosen: Sequence[int], weights: NDArray[np.int64]
) -> Float64Array:
    """``ap50_mean`` of each resample, over the chosen classes that it has an object of: ``[R]``."""
    ap50 = np.stack([weighted_ap50(matches[k], weights) for k in chosen])
    known = ~np.isnan(ap50)
    total: Float64Array = np.where(known, ap50, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return total


def _interval(value: float, values: Float64Array, resamples: int, seed: int) -> Interval:
    normal = NormalDist()
    below = np.count_nonzero(values < value) + np.count_nonzero(values == value) / 2
    share = min(max(float(below) / len(values), 1 / len(values)), 1 - 1 / len(values))
    shift, half = 2 * normal.inv_cdf(share), normal.inv_cdf(0.975)
    low, high = np.percentile(values, [100 * normal.cdf(shift - half), 100 * normal.cdf(shift + half)])
    return Interval(value=value, low=float(low), high=float(high), resamples=resamples, seed=seed)
