"""Panoptic maps drawn on images."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.panoptic.draw import draw_panoptic
from edgevision.panoptic.join import PanopticMap, Segment


def test_each_segment_has_its_colour_and_each_object_an_outline() -> None:
    ids = np.full((120, 160), 3, np.int32)
    ids[40:80, 20:60], ids[40:80, 60:100], ids[110:, :] = 1, 2, 0
    areas = {number: int((ids == number).sum()) for number in (1, 2, 3)}
    found = PanopticMap(
        ids,
        (
            Segment(1, "car", True, areas[1], 0.9),
            Segment(2, "car", True, areas[2], 0.8),
            Segment(3, "road", False, areas[3]),
        ),
    )
    canvas = np.full((120, 160, 3), 100, np.uint8)
    draw_panoptic(canvas, found, {"car": (0, 0, 255)}, opacity=0.5)
    assert canvas[60, 40].tolist() == canvas[60, 80].tolist() == [50, 50, 178]
    assert canvas[60, 59].tolist() == canvas[60, 60].tolist() == [255, 255, 255]  # two cars, side by side
    assert canvas[100, 130].tolist() == [130, 130, 130]  # a class without a colour is grey
    assert canvas[115, 130].tolist() == [100, 100, 100]  # what belongs to nothing stays
    assert canvas[30, 40].tolist() != [130, 130, 130]  # the name above the first
    with pytest.raises(ValueError, match="one size"):
        draw_panoptic(canvas[:100], found, {})
