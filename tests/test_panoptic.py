"""Objects joined with a class map, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.masks import InstanceMasks
from edgevision.panoptic import PanopticMap, Segment, draw_panoptic, join_panoptic, panoptic_colours
from edgevision.types import Detections, SegmentationMap

NAMES = ("person", "car")


def objects(*rows: tuple[float, int, tuple[int, int, int, int]]) -> Detections:
    """Score, class and rectangle of each, in an image of 4 rows and 10 columns."""
    boxes = [row[2] for row in rows]
    crops = tuple(np.ones((y2 - y1, x2 - x1), np.bool_) for x1, y1, x2, y2 in boxes)
    masks = InstanceMasks(crops, np.array([box[:2] for box in boxes]).reshape(-1, 2), (4, 10))
    scores, labels = [row[0] for row in rows], [row[1] for row in rows]
    return Detections(np.array(boxes).reshape(-1, 4), scores, labels, NAMES, masks=masks)


def ground() -> SegmentationMap:
    """Road on the left, sky on the right, and a column of persons between them."""
    classes = np.zeros((4, 10), np.uint8)
    classes[:, 6:] = 1
    classes[:, 5] = 2
    return SegmentationMap(classes, ("road", "sky", "person"))


def test_the_best_object_has_the_pixels_and_stuff_the_rest() -> None:
    found = join_panoptic(objects((0.7, 0, (2, 0, 6, 4)), (0.9, 1, (0, 0, 3, 4))), ground(), least_area=1)
    assert found.ids[0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    named = [(one.name, one.is_thing, one.area) for one in found.segments]
    assert named == [("car", True, 12), ("person", True, 12), ("sky", False, 16)]
    assert found.segments[0].score == pytest.approx(0.9)


def test_what_is_mostly_hidden_faint_or_small_is_left_out() -> None:
    hidden = objects((0.9, 1, (0, 0, 4, 4)), (0.8, 0, (1, 0, 5, 4)), (0.4, 0, (6, 0, 10, 4)))
    found = join_panoptic(hidden, ground(), least_area=17)
    # Of the second only a quarter is free, the third is below 0.5; road has 4 pixels left and sky 16.
    assert [one.name for one in found.segments] == ["car"]
    assert np.count_nonzero(found.ids) == 16
    kept = join_panoptic(hidden, ground(), overlap=0.2, least_area=17)
    assert [one.area for one in kept.segments] == [16, 4]


def test_things_that_were_not_found_stay_open() -> None:
    found = join_panoptic(objects(), ground(), least_area=1)
    assert [one.name for one in found.segments] == ["road", "sky"]
    assert (found.ids[:, 5] == 0).all()
    assert [one.name for one in join_panoptic(objects(), ground(), things=["sky"]).segments] == []


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(ValueError, match="without masks"):
        join_panoptic(Detections.empty(), ground())
    with pytest.raises(ValueError, match="of an image of"):
        join_panoptic(objects(), SegmentationMap(np.zeros((3, 3), np.uint8), ("road",)))
    with pytest.raises(ValueError, match="by their names"):
        join_panoptic(objects(), SegmentationMap(np.zeros((4, 10), np.uint8)))
    with pytest.raises(ValueError, match="int32"):
        PanopticMap(np.zeros((2, 2), np.uint8), ())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are stated"):
        PanopticMap(np.ones((2, 2), np.int32), (Segment(1, "car", True, 3),))


def test_colours_hold_the_numbers() -> None:
    ids = np.array([[0, 1, 256 + 2, 65536 * 3]], np.int32)
    numbers = (1, 258, 65536 * 3)
    colours = panoptic_colours(PanopticMap(ids, tuple(Segment(n, "car", True, 1) for n in numbers)))
    assert colours[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 0, 0]]


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
