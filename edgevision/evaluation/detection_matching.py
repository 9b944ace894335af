"""Which detection found which object: COCO's rule, PASCAL's rule, and the closest pairs.

COCO's rule is that of ``COCOeval.evaluateImg`` in pycocotools, and a test holds the two equal. It is
written here because the bootstrap needs the outcome of every detection, because its inner loop runs over
all thresholds at once, and because it makes evaluation possible on a device without pycocotools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError
from edgevision.types import Detections

Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

COCO_THRESHOLDS: Float64Array = np.linspace(0.5, 0.95, 10)
"""IoU thresholds of COCO's AP: 0.50, 0.55 .. 0.95."""

PASCAL_THRESHOLD = 0.5
"""IoU from which on PASCAL takes a detection for an object's."""

MAX_DETECTIONS = 100
"""Best detections of a class in one image that are looked at, as in COCO."""


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """What is known to be in one image.

    Attributes:
        boxes: float64 ``[G, 4]``, ``(x1, y1, x2, y2)`` in source pixels.
        class_ids: int32 ``[G]``, indices into the evaluated classes.
        ignore: bool ``[G]``: regions that count neither for nor against, COCO's ``iscrowd``.
        once: bool ``[G]``: of these, single objects, such as a person without a labelled key point: one
            detection may be that object, and a second one is a false alarm. None where there are none.

    Raises:
        DataError: on a wrong shape or an inverted box.
    """

    boxes: Float64Array
    class_ids: NDArray[np.int32]
    ignore: BoolArray
    once: BoolArray | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "boxes", np.asarray(self.boxes, np.float64).reshape(-1, 4))
        set_field(self, "class_ids", np.asarray(self.class_ids, np.int32))
        set_field(self, "ignore", np.asarray(self.ignore, bool))
        count = len(self.boxes)
        if self.class_ids.shape != (count,) or self.ignore.shape != (count,):
            raise DataError(
                f"ground truth has {count} boxes, {self.class_ids.size} class ids and {self.ignore.size} "
                "ignore flags; expected one of each a box"
            )
        if not (self.boxes[:, 2:] >= self.boxes[:, :2]).all():
            raise DataError("ground truth boxes are (x1, y1, x2, y2) with x1 <= x2 and y1 <= y2")


@dataclass(frozen=True, slots=True, eq=False)
class MatchOutcome:
    """What became of each detection at each threshold: a hit, ignored, or else a false alarm.

    Attributes:
        hits: bool ``[T, D]``: it found an object that counts.
        ignored: bool ``[T, D]``: it lies on an ignored region and counts neither way.
        found: bool ``[T, G]``: objects that were found; False for ignored regions.
    """

    hits: BoolArray
    ignored: BoolArray
    found: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class ClassMatches:
    """Everything that the figures of one class need, over all images.

    Attributes:
        scores: float64 ``[D]``, best first.
        images: int64 ``[D]``: position of the image that each detection is in.
        coco: outcomes by COCO's rule at ``COCO_THRESHOLDS``.
        pascal: outcomes by PASCAL's rule at 0.5 (``T`` is 1).
        positives: int64 ``[I]``: objects that count, per image.
        overlaps: float64 ``[G]``: for each object that counts, IoU with the detection paired to it, or 0.
    """

    scores: Float64Array
    images: NDArray[np.int64]
    coco: MatchOutcome
    pascal: MatchOutcome
    positives: NDArray[np.int64]
    overlaps: Float64Array


class Comparison(Protocol):
    """How much detections and objects of one class in one image are alike.

    Attributes:
        most: best detections of a class in one image that are looked at.
    """

    most: int

    def likeness(
        self, image_id: int, rows: NDArray[np.intp], targets: NDArray[np.intp], ignore: BoolArray
    ) -> Float64Array:
        """0..1 for each pair: ``[D, G]``.

        Args:
            image_id: of the image.
            rows: ``[D]``, rows of its detections, best first.
            targets: ``[G]``, rows of its objects.
            ignore: bool ``[G]``: objects that are regions, of which the share of the detection that lies
                inside counts.
        """
        ...


class BoxComparison:
    """IoU of boxes.

    Args:
        predictions, truth: as :func:`match_classes` takes them.
    """

    most = MAX_DETECTIONS

    def __init__(self, predictions: Mapping[int, Detections], truth: Mapping[int, GroundTruth]) -> None:
        self._predictions, self._truth = predictions, truth

    def likeness(
        self, image_id: int, rows: NDArray[np.intp], targets: NDArray[np.intp], ignore: BoolArray
    ) -> Float64Array:
        """:func:`pairwise_iou` of the boxes."""
        boxes = self._predictions[image_id].boxes[rows].astype(np.float64)
        return pairwise_iou(boxes, self._truth[image_id].boxes[targets], ignore)


def pairwise_iou(detected: Float64Array, truth: Float64Array, ignore: BoolArray) -> Float64Array:
    """Overlap of each detection with each object, ``[D, 4], [G, 4], [G] -> [D, G]``.

    For an ignored region it is the share of the detection that lies inside, as in COCO: such a region may
    stand for many objects.
    """
    low = np.maximum(detected[:, None, :2], truth[None, :, :2])
    high = np.minimum(detected[:, None, 2:], truth[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    shared = sides[..., 0] * sides[..., 1]
    detected_area, truth_area = _areas(detected), _areas(truth)
    union = detected_area[:, None] + np.where(ignore, 0, truth_area - shared)
    result: Float64Array = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return result


def match_coco(
    overlaps: Float64Array, ignore: BoolArray, thresholds: Float64Array, once: BoolArray | None = None
) -> MatchOutcome:
    """COCO's rule for one class in one image.

    In order of score, each detection takes the free object that it overlaps most, the threshold reached;
    failing that, an ignored region. Ignored regions are never used up, except by ``once``.

    Args:
        overlaps: ``[D, G]`` from :func:`pairwise_iou`, best detection first.
        ignore: ``[G]``.
        thresholds: ``[T]``.
        once: ``[G]``, see :class:`GroundTruth`.

    Returns:
        Outcomes ``[T, D]``.
    """
    count, levels = len(overlaps), len(thresholds)
    hits = np.zeros((levels, count), bool)
    ignored = np.zeros((levels, count), bool)
    found = np.zeros((levels, overlaps.shape[1]), bool)
    if overlaps.shape[1] == 0:
        return MatchOutcome(hits, ignored, found)
    needed = np.minimum(thresholds, 1 - 1e-10)
    real = np.flatnonzero(~ignore)
    # Equal overlaps go to the later object, so objects are looked at from the last to the first.
    backwards = overlaps[:, real[::-1]]
    free = np.ones((levels, len(real)), bool)
    rows = np.arange(levels)
    if ignore.any():
        ignored = overlaps[:, ignore].max(axis=1)[None] >= needed[:, None]
    for position in np.flatnonzero(backwards.max(axis=1, initial=0) >= needed.min()):
        candidates = np.where(free, backwards[position], -1.0)
        best = candidates.argmax(axis=1)
        reached = candidates[rows, best] >= needed
        hits[:, position] = reached
        free[rows[reached], best[reached]] = False
    found[:, real[::-1]] = ~free
    if once is not None and once.any():
        ignored = _ignored_once(overlaps[:, ignore], once[ignore], needed, hits)
    return MatchOutcome(hits, ignored & ~hits, found)


def _ignored_once(
    overlaps: Float64Array, once: BoolArray, needed: Float64Array, hits: BoolArray
) -> BoolArray:
    """Which detections lie on ignored objects, of which some can be used up: ``[T, D]``.

    Args:
        overlaps: ``[D, G]`` with the ignored objects.
        once: ``[G]``: those that one detection uses up.
        needed: ``[T]``.
        hits: ``[T, D]``: detections that found an object that counts.
    """
    ignored = np.zeros_like(hits)
    for level, least in enumerate(needed):
        free = np.ones(len(once), bool)
        for position in np.flatnonzero(~hits[level]):
            candidates = np.where(free, overlaps[position], -1.0)
            best = len(once) - 1 - int(candidates[::-1].argmax())  # of equal ones the later
            if candidates[best] >= least:
                ignored[level, position] = True
                free[best] &= ~once[best]
    return ignored


def match_pascal(overlaps: Float64Array, ignore: BoolArray, covered: BoolArray) -> MatchOutcome:
    """PASCAL's rule for one class in one image (VOC development kit, ``VOCevaldet``).

    Each detection belongs to the object that it overlaps most, taken or not: the second one on an object
    is a false alarm, even where it would also have reached another. What belongs to an ignored object
    counts neither way, and neither does what belongs to none and lies in an ignored region, for such a
    region may stand for many objects. Boxes are continuous here, without the kit's extra pixel.

    Args:
        overlaps: IoU ``[D, G]``, of ignored objects too; best detection first.
        ignore: ``[G]``.
        covered: ``[D]``: the detection lies in an ignored region.

    Returns:
        Outcomes ``[1, D]``.
    """
    hits = np.zeros((1, len(overlaps)), bool)
    owned = overlaps.max(axis=1, initial=0) >= PASCAL_THRESHOLD
    ignored = (covered & ~owned)[None]
    found = np.zeros((1, overlaps.shape[1]), bool)
    for position in np.flatnonzero(owned):
        best = int(overlaps[position].argmax())
        if ignore[best]:
            ignored[0, position] = True
        elif not found[0, best]:
            hits[0, position] = found[0, best] = True
    return MatchOutcome(hits, ignored, found)


def pair_closest(overlaps: Float64Array) -> Float64Array:
    """IoU of each object with its own detection, closest pairs first, one to one: ``[D, G] -> [G]``."""
    closest = np.zeros(overlaps.shape[1])
    remaining = overlaps.copy()
    while remaining.size and remaining.max() > 0:
        detection, target = np.unravel_index(remaining.argmax(), remaining.shape)
        closest[target] = remaining[detection, target]
        remaining[detection, :] = 0
        remaining[:, target] = 0
    return closest


def match_classes(
    predictions: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    classes: Sequence[str],
    comparison: Comparison | None = None,
) -> tuple[ClassMatches, ...]:
    """Matches every class in every image; images are taken in the order of their ids.

    Args:
        predictions: for each image id, what the model found; ``Detections.empty()`` where it found nothing.
        truth: for each image id, what is there.
        classes: names of the classes that the ids index.
        comparison: how detections and objects are compared; by default by the IoU of their boxes.

    Raises:
        DataError: the two name different images, or a class id is out of range.
    """
    _check(predictions, truth, len(classes))
    by = comparison or BoxComparison(predictions, truth)
    return tuple(_match_class(predictions, truth, k, by) for k in range(len(classes)))


def _match_class(
    predictions: Mapping[int, Detections],
    truth: Mapping[int, GroundTruth],
    class_id: int,
    by: Comparison,
) -> ClassMatches:
    coco, pascal, closest, scores, positives = [], [], [], [], []
    for image_id in sorted(truth):
        found, there = predictions[image_id], truth[image_id]
        rows = _best_rows(found, class_id, by.most)
        targets = np.flatnonzero(there.class_ids == class_id)
        ignore = there.ignore[targets]
        once = None if there.once is None else there.once[targets]
        overlaps = by.likeness(image_id, rows, targets, ignore)
        coco.append(match_coco(overlaps, ignore, COCO_THRESHOLDS, once))
        plain = overlaps
        if ignore.any():
            plain = by.likeness(image_id, rows, targets, np.zeros_like(ignore))
        covered: BoolArray = overlaps[:, ignore].max(axis=1, initial=0) >= PASCAL_THRESHOLD
        pascal.append(match_pascal(plain, ignore, covered))
        closest.append(pair_closest(overlaps[:, ~ignore]))
        scores.append(found.scores[rows].astype(np.float64))
        positives.append(np.count_nonzero(~ignore))
    every = np.concatenate(scores)
    image_ids = np.repeat(np.arange(len(scores)), list(map(len, scores)))
    best_first = np.argsort(-every, kind="stable")
    return ClassMatches(
        scores=every[best_first],
        images=image_ids[best_first],
        coco=_join(coco, best_first),
        pascal=_join(pascal, best_first),
        positives=np.array(positives, np.int64),
        overlaps=np.concatenate(closest),
    )


def _best_rows(found: Detections, class_id: int, most: int) -> NDArray[np.intp]:
    """Rows of one class, best first, at most ``most``."""
    mine = np.flatnonzero(found.class_ids == class_id)
    return mine[np.argsort(-found.scores[mine], kind="stable")[:most]]


def _join(parts: Sequence[MatchOutcome], order: NDArray[np.int64]) -> MatchOutcome:
    hits = np.concatenate([part.hits for part in parts], axis=1)
    ignored = np.concatenate([part.ignored for part in parts], axis=1)
    found = np.concatenate([part.found for part in parts], axis=1)
    return MatchOutcome(hits[:, order], ignored[:, order], found)


def _areas(boxes: Float64Array) -> Float64Array:
    sides = boxes[:, 2:] - boxes[:, :2]
    areas: Float64Array = sides[:, 0] * sides[:, 1]
    return areas


def _check(predictions: Mapping[int, Detections], truth: Mapping[int, GroundTruth], classes: int) -> None:
    if not truth:
        raise DataError("nothing to evaluate: the set has no images")
    missing = truth.keys() - predictions.keys()
    if missing:
        raise DataError(
            f"no predictions for {len(missing)} of {len(truth)} images (id {min(missing)} is one); "
            "give Detections.empty() where nothing was found"
        )
    surplus = predictions.keys() - truth.keys()
    if surplus:
        raise DataError(f"predictions for image {min(surplus)}, which the ground truth does not have")
    for whose, ids in (("ground truth", [t.class_ids for t in truth.values()]),
                       ("predictions", [p.class_ids for p in predictions.values()])):  # fmt: skip
        every = np.concatenate(ids)
        wrong = every[(every < 0) | (every >= classes)]
        if wrong.size:
            raise DataError(f"{whose} have class id {wrong[0]}; expected 0..{classes - 1}")
