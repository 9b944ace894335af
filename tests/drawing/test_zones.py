"""Zones and lines drawn on images: pixels looked at."""

from __future__ import annotations

import numpy as np

from edgevision.drawing.zones import draw_zones
from edgevision.tracking import ZoneMonitor
from tests.support.zones import DOOR, YARD, at, layout_of

AMBER, GREY = [0, 200, 255], [200, 200, 200]


def drawn(layout, seen):
    canvas = np.full((100, 100, 3), 90, np.uint8)
    draw_zones(canvas, layout, ZoneMonitor(layout).update(seen, 0.0, (100, 100)))
    return canvas


def test_a_zone_is_grey_and_turns_amber_with_somebody_inside(tmp_path):
    layout = layout_of(tmp_path, YARD)
    assert drawn(layout, [])[80, 50].tolist() == GREY
    assert drawn(layout, [at(50, 50)])[80, 50].tolist() == AMBER


def test_the_arrow_of_a_line_points_in(tmp_path):
    """From left to right, in is downward."""
    canvas = drawn(layout_of(tmp_path, DOOR), [])
    assert (canvas[53:60, 50] == GREY).all(axis=1).any()
    assert (canvas[35:47, 50] == 90).all()


def test_a_relative_zone_follows_the_size_and_nothing_outside_the_image_breaks(tmp_path):
    layout = layout_of(
        tmp_path, "units: relative\nzones: [{name: a, polygon: [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]}]"
    )
    canvas = np.full((200, 300, 3), 90, np.uint8)
    draw_zones(canvas, layout, ZoneMonitor(layout).update([], 0.0, (300, 200)))
    assert canvas[100, 150].tolist() == GREY
    far = layout_of(tmp_path, YARD.replace("80", "8000"))
    draw_zones(canvas, far, ZoneMonitor(far).update([], 0.0, (300, 200)))
