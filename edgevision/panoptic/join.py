"""One answer for every pixel: the objects of one model joined with the class map of another.

Kirillov et al. 2019, "Panoptic Segmentation" (arXiv:1801.00868): things can be counted (people, cars), stuff
cannot (road, sky).

Example:
    >>> masks = InstanceMasks((np.ones((1, 2), np.bool_),), [[0, 0]], (1, 3))
    >>> found = Detections([[0, 0, 2, 1]], [0.9], [0], ("car",), masks=masks)
    >>> ground = SegmentationMap(np.zeros((1, 3), np.uint8), ("road",))
    >>> joined = join_panoptic(found, ground, least_area=1)
    >>> joined.ids.tolist(), [one.name for one in joined.segments]
    ([[1, 1, 2]], ['car', 'road'])
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.contract.class_names import same_classes
from edgevision.errors import UsageError
from edgevision.masks import InstanceMasks
from edgevision.types import Detections, SegmentationMap


@dataclass(frozen=True, slots=True)
class Segment:
    """One object, or all of one kind of stuff.

    Attributes:
        number: its value in the map, 1 or more.
        name: of the class.
        is_thing: it is one object; otherwise stuff.
        area: pixels.
        score: of the object, 0..1; 1 for stuff.
        is_crowd: several objects of a truth that nobody told apart.
    """

    number: int
    name: str
    is_thing: bool
    area: int
    score: float = 1.0
    is_crowd: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PanopticMap:
    """Which segment each pixel of one image belongs to.

    Attributes:
        ids: int32 ``[H, W]``; 0 belongs to none.
        segments: those that there are, objects first, best first.

    Raises:
        ValueError: the map is not int32 ``[H, W]``, or a segment's area is not that of its pixels.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if self.ids.dtype != np.int32 or self.ids.ndim != 2:
            raise ValueError(f"a panoptic map is int32 [H, W]; found {self.ids.dtype} {list(self.ids.shape)}")
        numbers, areas = np.unique(self.ids, return_counts=True)
        there = dict(zip(numbers.tolist(), areas.tolist(), strict=True))
        there.pop(0, None)
        stated = {one.number: one.area for one in self.segments}
        if stated != there:
            raise ValueError(f"the map has segments of {there} pixels, but {stated} are stated")


def join_panoptic(
    objects: Detections,
    stuff: SegmentationMap,
    *,
    things: Collection[str] = (),
    min_score: float = 0.5,
    overlap: float = 0.5,
    least_area: int = 256,
) -> PanopticMap:
    """Joins objects with a class map as the paper's heuristic does (Kirillov et al. 2019, section 7).

    Objects are laid down from the best score on; each gets the pixels of its mask that are still free, or
    none if too many are taken. What stays free gets the class map's stuff: all of its classes but those that
    are things, since an object that was not found is not known to be one object or several.

    Args:
        objects: with masks, in source pixels.
        stuff: the class map of the same image.
        things: classes of ``stuff`` that are things, beside those that mean a class of ``objects``
            (:func:`edgevision.contract.class_names.canonical`), as ``pedestrian`` means ``person``.
        min_score: objects below it are left out, 0..1.
        overlap: the smallest share of an object's mask that must be free, 0..1.
        least_area: the smallest stuff, in pixels; the paper takes 64 * 64 for COCO.

    Returns:
        A map whose pixels are 0 where a thing is that was not found, or stuff below ``least_area``.

    Raises:
        UsageError: a share is not one.
        ValueError: the objects have no masks, the images differ in size, or a class has no name.
    """
    for name, share in (("min_score", min_score), ("overlap", overlap)):
        if not 0 <= share <= 1:  # nor NaN
            raise UsageError(f"`{name}` {share} is not valid; expected a share, 0 to 1")
    if objects.masks is None:
        raise ValueError("objects without masks cannot be joined with a class map; use a model with masks")
    if objects.masks.size != stuff.class_map.shape:
        raise ValueError(
            f"the objects are of an image of {objects.masks.size}, the class map of {stuff.class_map.shape}"
        )
    if not objects.names or not stuff.names:
        raise ValueError("classes are told apart by their names; expected names in both results")
    ids = np.zeros(stuff.class_map.shape, np.int32)
    segments: list[Segment] = []
    order = np.argsort(-objects.scores, kind="stable")
    for row in order[objects.scores[order] >= min_score].tolist():
        area = _lay_down(ids, objects.masks, row, overlap, len(segments) + 1)
        if area:
            name, score = objects.names[int(objects.class_ids[row])], float(objects.scores[row])
            segments.append(Segment(len(segments) + 1, name, True, area, score))
    countable = {*same_classes(stuff.names, objects.names), *things}
    for number, name in enumerate(stuff.names):
        free = (stuff.class_map == number) & (ids == 0)
        area = int(np.count_nonzero(free))
        if name not in countable and area >= max(least_area, 1):
            ids[free] = len(segments) + 1
            segments.append(Segment(len(segments) + 1, name, False, area))
    return PanopticMap(ids, tuple(segments))


def _lay_down(ids: NDArray[np.int32], masks: InstanceMasks, row: int, overlap: float, number: int) -> int:
    """Gives the free pixels of a mask to a segment; returns how many, or 0 where too few are free."""
    crop, (x, y) = masks.crops[row], masks.origins[row].tolist()
    area = ids[y : y + crop.shape[0], x : x + crop.shape[1]]
    free = crop & (area == 0)
    count = int(np.count_nonzero(free))
    if not count or count < overlap * np.count_nonzero(crop):
        return 0
    area[free] = number
    return count
