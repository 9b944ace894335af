"""What the page draws: positions as shares of the image, masks and counts."""

from __future__ import annotations

import msgspec
import numpy as np

from edgevision.tracking import ZoneLayout
from edgevision.tracking.zones import Line, Units, Zone
from edgevision.types import (
    Classification,
    Detections,
    FrameResult,
    LineCount,
    SegmentationMap,
    Skeleton,
    ZoneCount,
    ZoneReport,
)
from edgevision.web.drawings import Describer, Drawing, PlacedLine, Places, drawing, places
from tests.support.web import numbered_result


def test_a_drawing_holds_shares_of_the_image_masks_and_counts() -> None:
    result = numbered_result(3)
    zones = ZoneReport(
        (ZoneCount("yard", {"red": 2}, {"red": 3}, {"red": 1}),), (LineCount("gate", {"red": 1}, {}),)
    )
    class_map = SegmentationMap(np.zeros((240, 320), np.uint8), ("road",))
    label = Classification(np.array([0.8, 0.2], np.float32), ("day", "night"))
    found = drawing(FrameResult(result.frame, (*result.results, class_map, label), zones))
    assert found.labels == [("day", 0.8)]
    assert found.boxes == [("red", 0.9, 0.03125, 0.54167, 0.1875, 0.83333, 7)]
    assert (found.zones, found.lines) == ([("yard", 2, 3, 1)], [("gate", 1, 0)])
    ((names, png),) = found.masks
    assert names == ("road",)
    assert png[:4] == b"\x89PNG"


def test_where_zones_lie_is_said_once_a_second_and_where_they_change() -> None:
    report = ZoneReport((ZoneCount("yard", {}, {}, {}),))
    yard = Zone(name="yard", polygon=[(0, 0), (32, 0), (160, 24)])
    in_pixels = ZoneLayout(units=Units.PIXELS, zones=[yard])
    in_shares = ZoneLayout(units=Units.RELATIVE, lines=[Line(name="gate", start=(0.1, 0.2), end=(1, 1))])
    layout: ZoneLayout | None = None
    describe = Describer(lambda: layout)

    def said(number: int) -> Places | None:
        result = numbered_result(number, 10.0)
        return msgspec.json.decode(describe(FrameResult(result.frame, (), report)), type=Drawing).places

    assert said(0) is None
    layout = in_pixels
    assert [said(number) is not None for number in range(1, 23)] == [i % 10 == 0 for i in range(22)]
    layout = in_shares
    changed = said(23)
    assert changed is not None
    assert (changed.zones, changed.lines) == ([], [PlacedLine("gate", (0.1, 0.2), (1.0, 1.0))])
    assert places(in_pixels, 320, 240).zones[0].polygon == [(0.0, 0.0), (0.1, 0.0), (0.5, 0.1)]
    layout = None
    assert said(24) is None


def test_rotated_boxes_and_key_points_are_shares_too() -> None:
    found = Detections(
        np.array([[100, 100, 140, 120]], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int32),
        ("ship",),
        rotated_boxes=np.array([[120, 110, 40, 20, 0]], np.float32),
        keypoints=np.array([[[160, 120, 0.9], [32, 24, 0.1]]], np.float32),
        skeleton=Skeleton(("bow", "stern"), ((0, 1),)),
    )
    drawn = drawing(FrameResult(numbered_result(0).frame, (found,)))
    assert sorted(drawn.outlines[0])[0] == (0.3125, 0.41667)
    assert drawn.points == {0: [(0.5, 0.5, 0.9), (0.1, 0.1, 0.1)]}
    assert drawn.limbs == [(0, 1)]
