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

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.drawing.overlay import DEFAULT_OPACITY, Colour, line_unit, paste, text_plate
from edgevision.masks import InstanceMasks
from edgevision.types import Detections, Image, SegmentationMap

__all__ = ["PanopticMap", "Segment", "draw_panoptic", "join_panoptic", "panoptic_colours"]

_UNKNOWN: Colour = (160, 160, 160)
"""Of a class that has no colour."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One object, or all of one kind of stuff.

    Attributes:
        number: its value in the map, 1 or more.
        name: of the class.
        is_thing: it is one object; otherwise stuff.
        area: pixels.
        score: of the object, 0..1; 1 for stuff.
    """

    number: int
    name: str
    is_thing: bool
    area: int
    score: float = 1.0


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
        things: classes of ``stuff`` that are things, beside those that ``objects`` names.
        min_score: objects below it are left out.
        overlap: the smallest share of an object's mask that must be free.
        least_area: the smallest stuff, in pixels; the paper takes 64 * 64 for COCO.

    Raises:
        ValueError: the objects have no masks, the images differ in size, or a class has no name.
    """
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
    countable = {*objects.names, *things}
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


def panoptic_colours(found: PanopticMap) -> NDArray[np.uint8]:
    """COCO's form of a panoptic map: uint8 ``[H, W, 3]``, BGR, with id = R + 256 G + 65536 B."""
    ids = found.ids
    return np.stack([ids >> 16 & 255, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)


def draw_panoptic(
    canvas: Image, found: PanopticMap, colours: Mapping[str, Colour], opacity: float = DEFAULT_OPACITY
) -> None:
    """Draws a panoptic map on its image, in place.

    Every segment has the colour of its class. An object is outlined in white, so that two of one class are
    told apart, and named where its highest pixel is; stuff is named in a legend in the upper left corner.

    Args:
        canvas: uint8 ``[H, W, 3]``, BGR.
        found: of this image.
        colours: of the classes, by their names.
        opacity: of the segments, 0 to 1.

    Raises:
        ValueError: the image and the map differ in size.
    """
    if canvas.shape[:2] != found.ids.shape:
        raise ValueError(
            f"the image is {canvas.shape[:2]}, its panoptic map {found.ids.shape}; expected one size"
        )
    table = np.zeros((len(found.segments) + 1, 3), np.uint8)
    for one in found.segments:
        table[one.number] = colours.get(one.name, _UNKNOWN)
    painted = cv2.addWeighted(table[found.ids], opacity, canvas, 1 - opacity, 0)
    np.copyto(canvas, painted, where=(found.ids > 0)[:, :, None])
    unit = line_unit(canvas)
    things = [one for one in found.segments if one.is_thing]
    shapes = [(found.ids == one.number).astype(np.uint8) for one in things]
    for shape in shapes:
        edges, _ = cv2.findContours(shape, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, edges, -1, (255, 255, 255), max(1, unit // 2))
    for one, shape in reversed(list(zip(things, shapes, strict=True))):  # the best label on top
        rows, columns = np.nonzero(shape)
        plate = text_plate(f"{one.name} {one.score:.2f}", colours.get(one.name, _UNKNOWN), unit)
        paste(canvas, plate, int(columns[0]) - plate.shape[1] // 2, int(rows[0]) - plate.shape[0])
    top = 0
    for one in found.segments:
        if not one.is_thing:
            plate = text_plate(one.name, colours.get(one.name, _UNKNOWN), unit)
            paste(canvas, plate, 0, top)
            top += plate.shape[0]
