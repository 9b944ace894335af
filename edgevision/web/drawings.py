"""What the page draws over one image, as it is sent to the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgevision.rotated import corners
from edgevision.tracking import ZoneLayout
from edgevision.types import Detections, FrameResult, SegmentationMap

_MASK_WIDTH = 320
_NO_CLASS = 255
_PLACES_NS = 1_000_000_000


class PlacedZone(msgspec.Struct, frozen=True):
    """A zone; its corners are shares of the image."""

    name: str
    polygon: list[tuple[float, float]]


class PlacedLine(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A line; its ends are shares of the image."""

    name: str
    start: tuple[float, float]
    end: tuple[float, float]


class Places(msgspec.Struct, frozen=True):
    """Where zones and lines lie."""

    zones: list[PlacedZone]
    lines: list[PlacedLine]


class Drawing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the page draws over one image. Positions are shares of the image, 0 to 1.

    Attributes:
        index: of the frame.
        boxes: class name, score, left, top, right, bottom, and the track id or None.
        outlines: for some boxes, by their position in the list, the corners of a rotated box.
        points: for some boxes, by their position, key points with a score.
        limbs: pairs of key points that a line joins.
        labels: name and score of what the whole image shows, for models that classify.
        masks: for each model that segments, the class names and a PNG of class ids, at most 320 wide.
        zones: name, and how many are inside, entered and left.
        lines: name, and how many crossed in and out.
        places: where these zones and lines lie; in recordings, once a second and where they change.
    """

    index: int
    boxes: list[tuple[str, float, float, float, float, float, int | None]] = []
    outlines: dict[int, list[tuple[float, float]]] = {}
    points: dict[int, list[tuple[float, float, float]]] = {}
    limbs: list[tuple[int, int]] = []
    labels: list[tuple[str, float]] = []
    masks: list[tuple[tuple[str, ...], bytes]] = []
    zones: list[tuple[str, int, int, int]] = []
    lines: list[tuple[str, int, int]] = []
    places: Places | None = None


def places(layout: ZoneLayout, width: int, height: int) -> Places:
    """Where zones and lines lie in an image of this size, in pixels."""

    def shares(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        placed = layout.pixels(points, width, height) / np.array([width, height])
        return [(round(x, 5), round(y, 5)) for x, y in placed.tolist()]

    return Places(
        zones=[PlacedZone(one.name, shares(one.polygon)) for one in layout.zones],
        lines=[PlacedLine(one.name, *shares((one.start, one.end))) for one in layout.lines],
    )


class Describer:
    """What was found in the images of one recording, as :class:`Drawing` in JSON, with where its zones lie.

    Args:
        layout: the zones in force; None where there are none.
    """

    def __init__(self, layout: Callable[[], ZoneLayout | None]) -> None:
        self._layout = layout
        self._placed: tuple[ZoneLayout | None, int] = (None, 0)

    def __call__(self, result: FrameResult) -> bytes:
        """A frame's; they come in order."""
        layout = None if result.zones is None else self._layout()
        before, at_ns = self._placed
        frame, now_ns = result.frame, result.frame.timestamp_ns
        is_due = layout is not before or not 0 <= now_ns - at_ns < _PLACES_NS
        if layout is None or not is_due:
            self._placed = (layout, at_ns)
            return msgspec.json.encode(drawing(result))
        self._placed = (layout, now_ns)
        return msgspec.json.encode(drawing(result, places(layout, frame.width, frame.height)))


def drawing(result: FrameResult, where: Places | None = None) -> Drawing:
    """The results of a frame as the page draws them, and where its zones lie."""
    frame = result.frame
    scale_x, scale_y = 1 / frame.width, 1 / frame.height
    boxes: list[tuple[str, float, float, float, float, float, int | None]] = []
    masks, labels = [], []
    outlines: dict[int, list[tuple[float, float]]] = {}
    points: dict[int, list[tuple[float, float, float]]] = {}
    limbs: list[tuple[int, int]] = []
    scale = np.array([scale_x, scale_y])
    for one in result.results:
        if isinstance(one, Detections):
            if one.rotated_boxes is not None:
                shares = np.round(corners(one.rotated_boxes) * scale, 5).tolist()
                outlines |= {len(boxes) + i: list(map(tuple, shape)) for i, shape in enumerate(shares)}
            if one.keypoints is not None:
                placed = np.round(one.keypoints * np.array([scale_x, scale_y, 1.0]), 5).tolist()
                points |= {
                    len(boxes) + i: [(x, y, sure) for x, y, sure in row] for i, row in enumerate(placed)
                }
                limbs = [] if one.skeleton is None else list(one.skeleton.bones)
            if one.masks is not None:
                masks.append((one.names, _mask_png(_instance_map(one, frame.width, frame.height))))
            for row in one:
                x1, y1, x2, y2 = row.box
                place = (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y)
                left, top, right, bottom = (round(share, 5) for share in place)
                boxes.append((row.name, round(row.score, 3), left, top, right, bottom, row.track_id))
        elif isinstance(one, SegmentationMap):
            masks.append((one.names, _mask_png(one.class_map)))
        else:
            labels += [(label.name, round(label.score, 3)) for label in one.labels()]
    zones = result.zones
    return Drawing(
        index=frame.index,
        boxes=boxes,
        outlines=outlines,
        points=points,
        limbs=limbs,
        labels=labels,
        masks=masks,
        places=where,
        zones=[]
        if zones is None
        else [
            (one.name, sum(one.inside.values()), sum(one.entries.values()), sum(one.exits.values()))
            for one in zones.zones
        ],
        lines=[]
        if zones is None
        else [(one.name, sum(one.inward.values()), sum(one.outward.values())) for one in zones.lines],
    )


def _instance_map(found: Detections, width: int, height: int) -> NDArray[np.uint8]:
    """The class of each pixel that lies on an object: uint8 ``[H, W]``, 255 elsewhere; the best on top."""
    canvas = np.full((height, width), _NO_CLASS, np.uint8)
    if found.masks is not None:
        places = zip(found.masks.crops, found.masks.origins.tolist(), found.class_ids.tolist(), strict=True)
        for crop, (left, top), class_id in reversed(list(places)):
            part = canvas[top : top + crop.shape[0], left : left + crop.shape[1]]
            part[np.asarray(crop[: part.shape[0], : part.shape[1]], bool)] = class_id
    return canvas


def _mask_png(class_map: NDArray[np.uint8]) -> bytes:
    height, width = class_map.shape
    scale = min(1.0, _MASK_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(class_map, size, interpolation=cv2.INTER_NEAREST)
    _, data = cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()
