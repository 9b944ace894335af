"""Panoptic maps drawn on their images."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from edgevision.drawing.overlay import DEFAULT_OPACITY, Colour, line_unit, paste, text_plate
from edgevision.panoptic.join import PanopticMap
from edgevision.types import Image

_UNKNOWN: Colour = (160, 160, 160)
"""Of a class that has no colour."""


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
    painting = {0: _UNKNOWN} | {one.number: colours.get(one.name, _UNKNOWN) for one in found.segments}
    numbers = sorted(painting)
    table = np.array([painting[number] for number in numbers], np.uint8)
    painted = cv2.addWeighted(table[np.searchsorted(numbers, found.ids)], opacity, canvas, 1 - opacity, 0)
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
