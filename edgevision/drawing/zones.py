"""Zones and lines drawn on an image, with what they have counted."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.drawing.overlay import Colour, line_unit, paste, text_plate
from edgevision.tracking import ZoneLayout
from edgevision.types import FloatArray, Image, LineCount, ZoneCount, ZoneReport

_EMPTY: Colour = (200, 200, 200)
_OCCUPIED: Colour = (0, 200, 255)
"""Of a zone with an object inside."""


def draw_zones(canvas: Image, layout: ZoneLayout, report: ZoneReport) -> None:
    """Draws on ``canvas``, uint8 ``[H, W, 3]``, in place.

    A zone is amber while an object is inside, and grey otherwise; its plate shows how many are inside,
    and how many entered and left. A line has an arrow that points *in*, and a plate with both counts.

    Args:
        canvas: the image.
        layout: where zones and lines lie.
        report: the counts after this frame.
    """
    height, width = canvas.shape[:2]
    unit = line_unit(canvas)
    for zone, count in zip(layout.zones, report.zones, strict=False):
        corners = _corners(layout.pixels(zone.polygon, width, height))
        colour = _OCCUPIED if count.inside else _EMPTY
        _trace(canvas, corners, colour, unit, closed=True)
        left, top = corners[np.argmin(corners.sum(axis=1))].tolist()
        paste(canvas, text_plate(_zone_text(count), colour, unit), left, top)
    for line, crossed in zip(layout.lines, report.lines, strict=False):
        ends = layout.pixels((line.start, line.end), width, height)
        _trace(canvas, _corners(ends), _EMPTY, unit, closed=False)
        _draw_arrow(canvas, ends, unit)
        x, y = _corners(ends)[0].tolist()
        paste(canvas, text_plate(_line_text(crossed), _EMPTY, unit), x, y)


def _zone_text(count: ZoneCount) -> str:
    inside, entries, exits = (sum(numbers.values()) for numbers in (count.inside, count.entries, count.exits))
    return f"{count.name}: {inside} inside, {entries} entered, {exits} left"


def _line_text(count: LineCount) -> str:
    return f"{count.name}: {sum(count.inward.values())} in, {sum(count.outward.values())} out"


def _draw_arrow(canvas: Image, ends: FloatArray, unit: int) -> None:
    """From the middle of the line to its right, which is *in*."""
    along = ends[1] - ends[0]
    right = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1.0)  # the y axis points down
    middle = ends.mean(axis=0)
    tip = middle + right * 12 * unit
    start, end = _corners(np.stack([middle, tip])).tolist()
    cv2.arrowedLine(canvas, start, end, (0, 0, 0), unit + 2, tipLength=0.4)
    cv2.arrowedLine(canvas, start, end, _EMPTY, unit, tipLength=0.4)


def _trace(canvas: Image, corners: NDArray[np.int32], colour: Colour, unit: int, *, closed: bool) -> None:
    cv2.polylines(canvas, [corners], closed, (0, 0, 0), unit + 2)
    cv2.polylines(canvas, [corners], closed, colour, unit)


def _corners(points: FloatArray) -> NDArray[np.int32]:
    return np.rint(points).astype(np.int32)
