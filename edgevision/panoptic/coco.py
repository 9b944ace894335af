"""COCO's panoptic format: a json of segments, and a PNG for each image whose colours are their numbers.

The keys are those of https://cocodataset.org/#format-data, section 4; other keys of a file are left alone.

Example:
    >>> one = PanopticMap(np.array([[0, 7, 7]], np.int32), (Segment(7, "car", True, 2, 0.9),))
    >>> cars = PanopticCategory(id=3, name="car", isthing=1)
    >>> describe(one, 1, "000001.png", {"car": cars}).segments_info[0].bbox
    [1, 0, 2, 1]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.drawing.overlay import palette
from edgevision.errors import DataError
from edgevision.panoptic.join import PanopticMap, Segment

LARGEST_ID = 256**3 - 1
"""Of a segment: three bytes."""
_PNG = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6
"""Colour types (PNG specification, 11.2.1)."""


class PanopticImage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image that has a map.

    Attributes:
        id: that annotations name it by; a text in some data sets.
        file_name: of the image.
        width, height: in pixels.
        frame_id: of a recording: position of the frame, from 0.
        time_s: of a recording: presentation time, in seconds.
    """

    id: int | str
    file_name: str
    width: int = 0
    height: int = 0
    frame_id: int | None = None
    time_s: float | None = None


class PanopticSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment of a map.

    Attributes:
        id: its number in the PNG.
        category_id: of its class.
        area: pixels.
        bbox: ``[x, y, width, height]`` around its pixels.
        iscrowd: 1 for several objects that nobody told apart.
        score: of the object, 0..1; 1 for stuff, and in a truth.
    """

    id: int
    category_id: int
    area: int = 0
    bbox: list[int | float] = []
    iscrowd: int = 0
    score: float = 1.0


class PanopticAnnotation(msgspec.Struct, frozen=True, kw_only=True):
    """The segments of one image.

    Attributes:
        image_id: of the image.
        file_name: of its PNG.
        segments_info: all of them.
    """

    image_id: int | str
    file_name: str
    segments_info: list[PanopticSegment]


class PanopticCategory(msgspec.Struct, frozen=True, kw_only=True):
    """A class.

    Attributes:
        id: 1 or more.
        name: of the class.
        supercategory: ``thing`` or ``stuff`` where edgevision wrote it.
        isthing: 1 where it is counted, 0 for stuff.
        color: RGB, 0..255, for those who draw it.
    """

    id: int
    name: str
    supercategory: str = ""
    isthing: int
    color: list[int] = []


class PanopticDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The json.

    Attributes:
        info: what the maps were made from; another program's may say anything.
        images: that have a map; a truth may leave them out.
        annotations: a map each.
        categories: all classes that there can be.
    """

    info: dict[str, object] = {}
    images: list[PanopticImage] = []
    annotations: list[PanopticAnnotation]
    categories: list[PanopticCategory]


def categories_of(things: Sequence[str], stuff: Sequence[str]) -> list[PanopticCategory]:
    """Numbers and colours for classes, things first; a name that both have is a thing."""
    kinds = dict.fromkeys(stuff, 0) | dict.fromkeys(things, 1)
    names = [*dict.fromkeys(things), *(name for name in dict.fromkeys(stuff) if not kinds[name])]
    return [
        PanopticCategory(
            id=number,
            name=name,
            supercategory="thing" if kinds[name] else "stuff",
            isthing=kinds[name],
            color=list(colour[::-1]),
        )
        for number, (name, colour) in enumerate(zip(names, palette(len(names)), strict=True), start=1)
    ]


def coloured(joined: PanopticMap, categories: Mapping[str, PanopticCategory]) -> PanopticMap:
    """The same map with numbers whose colours can be told apart by eye, as in COCO's own maps.

    Stuff has the colour of its class, and objects of one class have colours near it: up to 30 away in each
    of R, G and B.

    Args:
        joined: the map.
        categories: by name.

    Raises:
        KeyError: a segment is of another class.
    """
    numbers = {0: 0}
    for one in sorted(joined.segments, key=lambda one: one.is_thing):  # stuff first: its colours are fixed
        red, green, blue = categories[one.name].color or (128, 128, 128)
        step = 0
        while (number := _near(red, green, blue, step)) in numbers.values():
            step += 1
        numbers[one.number] = number
    segments = [replace(one, number=numbers[one.number]) for one in joined.segments]
    before = sorted(numbers)
    after = np.array([numbers[number] for number in before], np.int32)
    return PanopticMap(after[np.searchsorted(before, joined.ids)], tuple(segments))


def _near(red: int, green: int, blue: int, step: int) -> int:
    """The number of a colour, and with more steps of one near it."""
    moved = zip((red, green, blue), (37, 23, 11), (61, 59, 53), strict=True)
    r, g, b = (
        min(max(value + (step * stride + span // 2) % span - span // 2, 0), 255)
        for value, stride, span in moved
    )
    return r + 256 * g + 65536 * b


def describe(
    joined: PanopticMap, image_id: int, file_name: str, categories: Mapping[str, PanopticCategory]
) -> PanopticAnnotation:
    """What the json says of a map.

    Args:
        joined: the map.
        image_id: of its image.
        file_name: of its PNG.
        categories: by name.

    Raises:
        KeyError: a segment is of another class.
        ValueError: a segment's number has more than three bytes.
    """
    return PanopticAnnotation(
        image_id=image_id,
        file_name=file_name,
        segments_info=[
            PanopticSegment(
                id=one.number,
                category_id=categories[one.name].id,
                area=one.area,
                bbox=_bounds(joined.ids, one),
                iscrowd=int(one.is_crowd),
                score=round(one.score, 4),
            )
            for one in joined.segments
        ],
    )


def _bounds(ids: NDArray[np.int32], segment: Segment) -> list[int | float]:
    if not 0 < segment.number <= LARGEST_ID:
        raise ValueError(f"a segment's number is 1 to {LARGEST_ID}; found {segment.number}")
    return list(map(int, cv2.boundingRect((ids == segment.number).astype(np.uint8))))


def panoptic_colours(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Numbers as colours: uint8 ``[H, W, 3]``, BGR, from int32 ``[H, W]``, with id = R + 256 G + 65536 B."""
    return np.stack([ids >> 16 & 255, ids >> 8 & 255, ids & 255], axis=-1).astype(np.uint8)


def panoptic_ids(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The inverse of :func:`panoptic_colours`."""
    blue, green, red = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 65536 * blue


def read_map(
    path: Path, annotation: PanopticAnnotation, categories: Mapping[int, PanopticCategory]
) -> PanopticMap:
    """Reads a map from its PNG and what the json says of it.

    Args:
        path: of the PNG.
        annotation: of this map.
        categories: by their numbers.

    Raises:
        DataError: the PNG is missing or damaged, or the json says something else than it.
    """
    ids = _read_ids(path)
    numbers, areas = np.unique(ids, return_counts=True)
    there = dict(zip(numbers.tolist(), areas.tolist(), strict=True))
    there.pop(0, None)
    for number, count in Counter(one.id for one in annotation.segments_info).items():
        if count > 1 or number not in there:
            problem = "in the json twice" if count > 1 else "in the json, and not in the PNG"
            raise DataError(f"{path}: segment {number} is {problem}; expected each once in both")
    segments = []
    for one in annotation.segments_info:
        category = categories.get(one.category_id)
        if category is None:
            raise DataError(
                f"{path}: segment {one.id} is of category {one.category_id}, which the json does not name; "
                f"expected one of its {len(categories)}"
            )
        area = there.pop(one.id)
        is_thing, is_crowd = bool(category.isthing), bool(one.iscrowd)
        segments.append(Segment(one.id, category.name, is_thing, area, one.score, is_crowd))
    if there:
        raise DataError(
            f"{path}: segment {min(there)} is in the PNG, and not in the json; expected each once in both"
        )
    return PanopticMap(ids, tuple(segments))


def _read_ids(path: Path) -> NDArray[np.int32]:
    """The numbers of a panoptic PNG: int32 ``[H, W]``."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    is_png = content.startswith(_PNG) and len(content) > 33
    if not is_png or content[24] != 8 or content[25] not in (_RGB, _RGBA):
        raise DataError(f"{path} is no panoptic map; expected a PNG of 8-bit RGB, whose colours are numbers")
    try:
        colours = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        colours = None
    if colours is None or colours.ndim != 3:
        raise DataError(f"{path} cannot be decoded; it is damaged")
    return panoptic_ids(np.asarray(colours, np.uint8))
